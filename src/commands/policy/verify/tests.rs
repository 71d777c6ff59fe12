//! Tests of the comparison of typical IAM policies with the least policy.

use super::super::document::statements;
use super::super::parse;
use super::*;
use crate::hostile::mangled;
use proptest::prelude::*;
use serde_json::{Value, json};

const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";
const KEY: &str = "arn:aws:kms:eu-north-1:123456789012:key/1";
const VIA: &str = "secretsmanager.eu-north-1.amazonaws.com";

/// The secrets that the example program reads. The program processes WhatsApp messages.
const READS: [&str; 2] = ["whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp"];

fn arns(ends: &[&str]) -> Vec<String> {
    ends.iter().map(|end| format!("{HERE}{end}")).collect()
}

fn least(is_batch: bool, has_key: bool) -> Vec<Statement> {
    let secrets = READS.map(|name| format!("{HERE}{name}{SUFFIX}"));
    let keys: Vec<_> =
        has_key.then(|| KEY.parse().expect("the ARN is a key")).into_iter().collect();
    statements("S", secrets, &keys, is_batch)
}

/// Compares policy statements with the least policy. Returns the result as lines that begin with
/// `lack:`, `beyond:` or `not judged:`.
fn verdict_lines(policy: &[Value], least: &[Statement]) -> Vec<String> {
    let policy =
        parse::parse(&json!({ "Statement": policy }).to_string()).expect("the policy is valid");
    let verdict = verify(&policy, least);
    let lacks = verdict.lacks.iter().map(|lack| {
        let action = lack.action.rsplit_once(':').map_or("", |(_, name)| name);
        format!("lack: {action} {}: {}", lack.resource.replace(HERE, ""), lack.reason)
    });
    let beyond = verdict.beyond.iter().map(|one| {
        let condition = if one.is_conditional { " (conditional)" } else { "" };
        format!(
            "beyond: {} {}: {:?}{condition}",
            one.action,
            one.resource.replace(HERE, ""),
            one.reason
        )
    });
    let rest = verdict.not_judged.iter().map(|action| format!("not judged: {action}"));
    let lines: Vec<String> = lacks.chain(beyond).chain(rest).collect();
    let is_exact = !lines.iter().any(|line| !line.starts_with("not"));
    assert_eq!(verdict.is_exact(), is_exact);
    lines
}

fn allow(action: Value, resource: Value) -> Value {
    json!({"Sid": "A", "Effect": "Allow", "Action": action, "Resource": resource})
}

fn with(mut statement: Value, name: &str, value: Value) -> Value {
    statement[name] = value;
    statement
}

/// The policy statement that grants exactly the needed permissions.
fn exact() -> Value {
    allow(
        json!(GET),
        json!(arns(&["whatsapp-credentials/*/*/twilio-??????", "openai-api-key/whatsapp-??????"])),
    )
}

#[track_caller]
fn check(policy: &[Value], expected: &[&str]) {
    assert_eq!(verdict_lines(policy, &least(false, false)), expected, "{policy:?}");
}

const LACKS_BOTH: [&str; 2] = [
    "lack: GetSecretValue openai-api-key/whatsapp-??????: not granted",
    "lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: not granted",
];

#[test]
fn least_policy_is_exact() {
    check(&[exact()], &[]);
    let document = super::super::document::Document::of(&least(true, true)).json();
    let policy = parse::parse(&document).expect("the policy is valid");
    assert!(verify(&policy, &least(true, true)).is_exact());
    let shouted = with(exact(), "Action", json!("SECRETSMANAGER:getsecretvalue"));
    check(&[shouted], &[]);
}

#[test]
fn permission_that_is_not_granted_is_lacking() {
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
    // A pattern for one company does not cover the needed pattern, which stands for every company.
    check(
        &[allow(json!(GET), json!(arns(&["whatsapp-credentials/acme/*/twilio-??????"])))],
        &LACKS_BOTH,
    );
}

#[test]
fn star_in_place_of_the_suffix_is_excessive() {
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
fn wildcards_are_excessive() {
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
fn other_secrets_and_actions_are_excessive() {
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
    // A resource that is narrower than a needed resource does not count as too much.
    let narrow = allow(json!(GET), json!(arns(&["whatsapp-credentials/a/b/twilio-AbC123"])));
    check(&[exact(), narrow], &[]);
}

#[test]
fn permission_that_may_be_denied_is_lacking() {
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
fn permission_under_condition_or_by_exclusion_is_lacking() {
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
            "lack: GetSecretValue openai-api-key/whatsapp-??????: granted by statement 1 only through NotAction or NotResource",
            "lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: granted by statement 1 only through NotAction or NotResource",
            "beyond: all but iam:* *: AllButActions",
        ],
    );
    let but = json!({"Effect": "Allow", "Action": GET, "NotResource": arns(&["openai-api-key/*"])});
    check(
        &[but],
        &[
            LACKS_BOTH[0],
            "lack: GetSecretValue whatsapp-credentials/*/*/twilio-??????: granted by statement 1 only through NotAction or NotResource",
            "beyond: secretsmanager:GetSecretValue all but openai-api-key/*: AllButResources",
        ],
    );
    // If another statement grants the permission exactly, the permission is not lacking.
    let also = json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"});
    check(&[exact(), also], &["beyond: all but iam:* *: AllButActions"]);
    // The value of a policy variable is unknown: the grant is not certain, and it may be too much.
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
fn keys_and_batches_are_judged_if_requested() {
    let (batch, key) = (allow(json!(BATCH), json!("*")), allow(json!(DECRYPT), json!(KEY)));
    let least = least(true, true);
    assert_eq!(
        verdict_lines(&[exact()], &least),
        ["lack: BatchGetSecretValue *: not granted", &format!("lack: Decrypt {KEY}: not granted"),]
    );
    assert_eq!(
        verdict_lines(&[exact(), batch.clone(), key.clone()], &least),
        [format!("beyond: kms:Decrypt {KEY}: AnyService"),]
    );
    let via = |service: &str| json!({"StringEquals": {"KMS:viaservice": service}});
    let tied = with(key.clone(), "Condition", via(VIA));
    assert_eq!(verdict_lines(&[exact(), batch.clone(), tied], &least), [""; 0]);
    let more = json!({"StringEquals": {"kms:ViaService": [VIA, "s3.eu-north-1.amazonaws.com"]}});
    let loose = with(key.clone(), "Condition", more);
    assert_eq!(
        verdict_lines(&[exact(), batch.clone(), loose], &least),
        [format!("beyond: kms:Decrypt {KEY}: AnyService (conditional)")]
    );
    let elsewhere = with(key, "Condition", via("s3.eu-north-1.amazonaws.com"));
    assert_eq!(
        verdict_lines(&[exact(), batch, elsewhere], &least),
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
    fn for_any_policy_denying_everything_makes_everything_lacking(text in mangled(MANY)) {
        let least = least(true, true);
        let Ok(mut policy) = parse::parse(&text) else { return Ok(()) };
        let _ = verify(&policy, &least);
        let deny = json!({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}});
        policy.extend(parse::parse(&deny.to_string()).expect("the policy is valid"));
        let needed: usize = least.iter().map(|need| need.resources.len()).sum();
        prop_assert_eq!(verify(&policy, &least).lacks.len(), needed);
    }
}
