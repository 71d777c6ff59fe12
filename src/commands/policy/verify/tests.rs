//! Policies as people have them, and what is said of them.

use super::super::document::statements;
use super::super::granted;
use super::*;
use crate::hostile::mangled;
use proptest::prelude::*;
use serde_json::{Value, json};

const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";
const KEY: &str = "arn:aws:kms:eu-north-1:123456789012:key/1";
const VIA: &str = "secretsmanager.eu-north-1.amazonaws.com";

/// What the seed's WhatsApp processor reads.
const READS: [&str; 2] = ["whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp"];

fn arns(ends: &[&str]) -> Vec<String> {
    ends.iter().map(|end| format!("{HERE}{end}")).collect()
}

fn least(is_batch: bool, has_key: bool) -> Vec<Statement> {
    let secrets = READS.map(|name| format!("{HERE}{name}{SUFFIX}"));
    let keys: Vec<_> = has_key.then(|| KEY.parse().expect("a key")).into_iter().collect();
    statements("S", secrets, &keys, is_batch)
}

/// Judges statements, and returns what is said, shortened: `lack:`, `beyond:` and what it is about.
fn said(policy: &[Value], least: &[Statement]) -> Vec<String> {
    let policy = granted::parse(&json!({ "Statement": policy }).to_string()).expect("a policy");
    let verdict = verify(&policy, least);
    let short = |text: &str| text.replace(HERE, "");
    let lacks = verdict.lacks.iter().map(|lack| {
        let action = lack.action.rsplit_once(':').map_or("", |(_, name)| name);
        format!("lack: {action} {}: {}", short(&lack.resource), lack.why)
    });
    let beyond = verdict.beyond.iter().map(|one| {
        let condition = if one.is_conditional { " (conditional)" } else { "" };
        format!("beyond: {} {}: {:?}{condition}", one.action, short(&one.resource), one.why)
    });
    let rest = verdict.not_judged.iter().map(|action| format!("not judged: {action}"));
    let said: Vec<String> = lacks.chain(beyond).chain(rest).collect();
    let is_exact = !said.iter().any(|line| !line.starts_with("not"));
    assert_eq!(verdict.is_exact(), is_exact);
    said
}

fn allow(action: Value, resource: Value) -> Value {
    json!({"Sid": "A", "Effect": "Allow", "Action": action, "Resource": resource})
}

fn with(mut statement: Value, name: &str, value: Value) -> Value {
    statement[name] = value;
    statement
}

/// The statement that is needed.
fn exact() -> Value {
    allow(
        json!(GET),
        json!(arns(&["whatsapp-credentials/*/*/twilio-??????", "openai-api-key/whatsapp-??????"])),
    )
}

#[track_caller]
fn check(policy: &[Value], expected: &[&str]) {
    assert_eq!(said(policy, &least(false, false)), expected, "{policy:?}");
}

const LACKS_BOTH: [&str; 2] = [
    "lack: GetSecretValue openai-api-key/whatsapp-??????: not granted",
    "lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: not granted",
];

#[test]
fn the_least_policy_is_exact() {
    check(&[exact()], &[]);
    let document = super::super::document::Document::of(&least(true, true)).json();
    let policy = granted::parse(&document).expect("a policy");
    assert!(verify(&policy, &least(true, true)).is_exact());
    let shouted = with(exact(), "Action", json!("SECRETSMANAGER:getsecretvalue"));
    check(&[shouted], &[]);
}

#[test]
fn what_is_not_granted_is_lacking() {
    check(&[], &LACKS_BOTH);
    let one = allow(json!(GET), json!(arns(&["openai-api-key/whatsapp-??????"])));
    check(std::slice::from_ref(&one), &LACKS_BOTH[1..]);
    check(
        &[with(one, "Action", json!("secretsmanager:DescribeSecret"))],
        &[
            LACKS_BOTH[0],
            LACKS_BOTH[1],
            "beyond: secretsmanager:describesecret openai-api-key/whatsapp-??????: OtherAction",
        ],
    );
    // One company's secrets are not those of every company.
    check(
        &[allow(json!(GET), json!(arns(&["whatsapp-credentials/acme/*/twilio-??????"])))],
        &LACKS_BOTH,
    );
}

#[test]
fn the_seeds_own_pattern_is_wider_by_its_end() {
    let ends = ["whatsapp-credentials/*/*/twilio-*", "openai-api-key/whatsapp-*"];
    check(
        &[allow(json!([GET]), json!(arns(&ends)))],
        &[
            "beyond: secretsmanager:GetSecretValue whatsapp-credentials/*/*/twilio-*: LooseSuffix",
            "beyond: secretsmanager:GetSecretValue openai-api-key/whatsapp-*: LooseSuffix",
        ],
    );
}

#[test]
fn wildcards_are_named() {
    check(&[allow(json!("*"), json!("*"))], &["beyond: * *: WildAction"]);
    for action in ["secretsmanager:*", "secretsmanager:get*", "s*", "secretsmanager:getsecretvalu?"]
    {
        let expected = format!("beyond: {action} *: WildAction");
        check(&[allow(json!(action), json!("*"))], &[&expected]);
    }
    check(
        &[allow(json!(GET), json!("*"))],
        &["beyond: secretsmanager:GetSecretValue *: WildResource"],
    );
    let ends = ["whatsapp-credentials/*", "openai-api-key/*-??????"];
    check(
        &[allow(json!(GET), json!(arns(&ends)))],
        &[
            "beyond: secretsmanager:GetSecretValue whatsapp-credentials/*: WildResource",
            "beyond: secretsmanager:GetSecretValue openai-api-key/*-??????: WildResource",
        ],
    );
}

#[test]
fn other_secrets_and_actions_are_named() {
    let other = allow(json!(GET), json!(arns(&["sms-credentials/acme/x/twilio-??????"])));
    check(
        &[exact(), other],
        &[
            "beyond: secretsmanager:GetSecretValue sms-credentials/acme/x/twilio-??????: OtherResource",
        ],
    );
    let more =
        json!([GET, "secretsmanager:PutSecretValue", BATCH, DECRYPT, "logs:PutLogEvents", "sqs:*"]);
    check(
        &[with(exact(), "Action", more), allow(json!("logs:PutLogEvents"), json!("*"))],
        &[
            "beyond: secretsmanager:putsecretvalue whatsapp-credentials/*/*/twilio-??????, openai-api-key/whatsapp-??????: OtherAction",
            "beyond: secretsmanager:batchgetsecretvalue whatsapp-credentials/*/*/twilio-??????, openai-api-key/whatsapp-??????: OtherAction",
            "beyond: kms:decrypt whatsapp-credentials/*/*/twilio-??????, openai-api-key/whatsapp-??????: OtherAction",
            "not judged: logs:putlogevents",
            "not judged: sqs:*",
        ],
    );
    // A narrower one of what is needed is needed too.
    let narrow = allow(json!(GET), json!(arns(&["whatsapp-credentials/a/b/twilio-AbC123"])));
    check(&[exact(), narrow], &[]);
}

#[test]
fn what_is_denied_or_may_be_is_lacking() {
    let deny =
        |resource: Value| with(allow(json!("secretsmanager:*"), resource), "Effect", json!("Deny"));
    check(
        &[exact(), deny(json!(arns(&["openai-api-key/*"])))],
        &["lack: GetSecretValue openai-api-key/whatsapp-??????: denied by A"],
    );
    check(
        &[exact(), deny(json!(arns(&["whatsapp-credentials/acme/*"])))],
        &["lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: perhaps denied by A"],
    );
    let insecure = json!({"Bool": {"aws:SecureTransport": "false"}});
    check(
        &[exact(), with(deny(json!("*")), "Condition", insecure)],
        &[
            "lack: GetSecretValue openai-api-key/whatsapp-??????: perhaps denied by A",
            "lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: perhaps denied by A",
        ],
    );
    check(&[exact(), deny(json!(arns(&["sms-credentials/*"])))], &[]);
    let variable = json!(arns(&["openai-api-key/${aws:PrincipalTag/channel}-*"]));
    check(
        &[exact(), deny(variable)],
        &["lack: GetSecretValue openai-api-key/whatsapp-??????: perhaps denied by A"],
    );
    let other =
        json!({"Effect": "Deny", "NotAction": ["secretsmanager:GetSecretValue"], "Resource": "*"});
    check(&[exact(), other], &[]);
    let all_else =
        json!({"Effect": "Deny", "Action": "*", "NotResource": arns(&["openai-api-key/*"])});
    check(
        &[exact(), all_else],
        &["lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: denied by statement 2"],
    );
}

#[test]
fn conditions_and_exclusions_are_not_relied_upon() {
    let tagged = json!({"StringEquals": {"aws:ResourceTag/team": "a"}});
    check(
        &[with(exact(), "Condition", tagged)],
        &[
            "lack: GetSecretValue openai-api-key/whatsapp-??????: granted by A only under a condition (aws:ResourceTag/team)",
            "lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: granted by A only under a condition (aws:ResourceTag/team)",
        ],
    );
    check(
        &[json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})],
        &[
            "lack: GetSecretValue openai-api-key/whatsapp-??????: granted by statement 1 only by what it leaves out",
            "lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: granted by statement 1 only by what it leaves out",
            "beyond: all but iam:* *: AllButActions",
        ],
    );
    let but = json!({"Effect": "Allow", "Action": GET, "NotResource": arns(&["openai-api-key/*"])});
    check(
        &[but],
        &[
            LACKS_BOTH[0],
            "lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: granted by statement 1 only by what it leaves out",
            "beyond: secretsmanager:GetSecretValue all but openai-api-key/*: AllButResources",
        ],
    );
    // A grant without conditions beside it is enough.
    let also = json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"});
    check(&[exact(), also], &["beyond: all but iam:* *: AllButActions"]);
    // A variable may come out as anything: not relied upon, and too much.
    check(
        &[allow(json!(GET), json!(arns(&["openai-api-key/${aws:username}-??????"])))],
        &[
            LACKS_BOTH[0],
            LACKS_BOTH[1],
            "beyond: secretsmanager:GetSecretValue openai-api-key/${aws:username}-??????: WildResource",
        ],
    );
}

#[test]
fn keys_and_batches_are_judged_where_they_are_asked_for() {
    let (batch, key) = (allow(json!(BATCH), json!("*")), allow(json!(DECRYPT), json!(KEY)));
    let least = least(true, true);
    assert_eq!(
        said(&[exact()], &least),
        ["lack: BatchGetSecretValue *: not granted", &format!("lack: Decrypt {KEY}: not granted"),]
    );
    assert_eq!(
        said(&[exact(), batch.clone(), key.clone()], &least),
        [format!("beyond: kms:Decrypt {KEY}: AnyService"),]
    );
    let via = |service: &str| json!({"StringEquals": {"KMS:viaservice": service}});
    let tied = with(key.clone(), "Condition", via(VIA));
    assert_eq!(said(&[exact(), batch.clone(), tied], &least), [""; 0]);
    let more = json!({"StringEquals": {"kms:ViaService": [VIA, "s3.eu-north-1.amazonaws.com"]}});
    let loose = with(key.clone(), "Condition", more);
    assert_eq!(
        said(&[exact(), batch.clone(), loose], &least),
        [format!("beyond: kms:Decrypt {KEY}: AnyService (conditional)")]
    );
    let elsewhere = with(key, "Condition", via("s3.eu-north-1.amazonaws.com"));
    assert_eq!(
        said(&[exact(), batch, elsewhere], &least),
        [
            format!("lack: Decrypt {KEY}: granted by A only under a condition (KMS:viaservice)"),
            format!("beyond: kms:Decrypt {KEY}: AnyService (conditional)"),
        ]
    );
}

const MANY: &str = r#"{"Statement":[{"Sid":"S","Effect":"Allow","Action":["secretsmanager:Get*","kms:*"],
    "Resource":"arn:aws:secretsmanager:*:123456789012:secret:*/${a:b}/*-??????"},{"Effect":"Allow",
    "NotAction":"s3:*","NotResource":["r*"],"Condition":{"Bool":{"a":"b"}}}]}"#;

proptest! {
    #[test]
    fn for_any_policy_a_denial_of_all_takes_everything_away(text in mangled(MANY)) {
        let least = least(true, true);
        let Ok(mut policy) = granted::parse(&text) else { return Ok(()) };
        let _ = verify(&policy, &least);
        let deny = json!({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}});
        policy.extend(granted::parse(&deny.to_string()).expect("a policy"));
        let needed: usize = least.iter().map(|need| need.resources.len()).sum();
        prop_assert_eq!(verify(&policy, &least).lacks.len(), needed);
    }
}
