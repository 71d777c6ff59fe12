//! Tests of the comparison of typical IAM policies with the least-privilege policy.

use super::super::arn_pattern::Needed;
use super::super::document::statements;
use super::super::key_arn::KeyArn;
use super::super::parse;
use super::*;
use crate::hostile::mangled;
use proptest::prelude::*;
use serde_json::{Value, json};

const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";
const KEY: &str = "arn:aws:kms:eu-north-1:123456789012:key/1";
const VIA: &str = "secretsmanager.eu-north-1.amazonaws.com";

/// The names, and patterns of names, of the secrets that the policies in these tests must allow.
const READS: [&str; 2] = ["whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp"];

fn arns(ends: &[&str]) -> Vec<String> {
    ends.iter().map(|end| format!("{HERE}{end}")).collect()
}

fn least(is_batch: bool, has_key: bool) -> Vec<Statement> {
    let keys: Vec<_> = has_key.then(key).into_iter().collect();
    statements("S", needed_secrets(), &keys, is_batch)
}

fn key() -> KeyArn {
    KEY.parse().expect("the test must use a valid ARN of a KMS key")
}

fn needed_secrets() -> Needed {
    let secrets = READS.map(|name| format!("{HERE}{name}{SUFFIX}")).to_vec();
    Needed { secrets, ..Needed::default() }
}

/// Returns the differences between a policy and the least-privilege policy, as lines that begin
/// with `missing:`, `unneeded:` or `not judged:`.
fn verdict_lines(policy: &[Value], least: &[Statement]) -> Vec<String> {
    let policy = parse::parse(&json!({ "Statement": policy }).to_string())
        .expect("the policy must be valid");
    let verdict = verify(&policy, least);
    let lacks = verdict.lacks.iter().map(|lack| {
        let action = lack.action.rsplit_once(':').map_or("", |(_, name)| name);
        format!("missing: {action} on {}: {}", lack.resource.replace(HERE, ""), lack.reason)
    });
    let beyond = verdict.beyond.iter().map(|one| {
        let condition = if one.is_conditional { " in a statement with a condition" } else { "" };
        format!(
            "unneeded: {} on {}{condition}: {}",
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

const MISSING_BOTH: [&str; 2] = [
    "missing: GetSecretValue on openai-api-key/whatsapp-??????: no statement grants this permission",
    "missing: GetSecretValue on whatsapp-credentials/*/*/twilio-??????: no statement grants this permission",
];

#[test]
fn least_policy_is_exact() {
    check(&[exact()], &[]);
    let document = super::super::document::Document::of(&least(true, true)).json();
    let policy = parse::parse(&document).expect("the policy must be valid");
    assert!(verify(&policy, &least(true, true)).is_exact());
    let shouted = with(exact(), "Action", json!("SECRETSMANAGER:getsecretvalue"));
    check(&[shouted], &[]);
}

#[test]
fn permission_that_is_not_granted_is_missing() {
    check(&[], &MISSING_BOTH);
    let one = allow(json!(GET), json!(arns(&["openai-api-key/whatsapp-??????"])));
    check(std::slice::from_ref(&one), &MISSING_BOTH[1..]);
    check(
        &[with(one, "Action", json!("secretsmanager:DescribeSecret"))],
        &[
            MISSING_BOTH[0],
            MISSING_BOTH[1],
            "unneeded: secretsmanager:describesecret on openai-api-key/whatsapp-??????: the action is not needed to read these secrets",
        ],
    );
    // The policy must allow the secrets of every company, so a pattern for one company is not
    // enough.
    check(
        &[allow(json!(GET), json!(arns(&["whatsapp-credentials/acme/*/twilio-??????"])))],
        &MISSING_BOTH,
    );
}

/// The user often gives the name of a secret, but the policy contains the secret's full ARN, which
/// ends in a random suffix. The result of the comparison then names this ARN.
#[test]
fn full_arn_that_may_be_the_secret_is_named() {
    let rest = || allow(json!(GET), json!(arns(&["whatsapp-credentials/*/*/twilio-??????"])));
    let may_be = |arns: &str| {
        let needed = "missing: GetSecretValue on openai-api-key/whatsapp-??????";
        format!(
            "{needed}: the statement A grants this permission on {arns}, which may be this secret; give --verify the secret's full ARN instead of its name"
        )
    };
    for (ends, expected) in [
        (&["openai-api-key/whatsapp-AbC123"][..], vec!["openai-api-key/whatsapp-AbC123"]),
        (&["openai-api-key/whatsapp-AbC1??"], vec!["openai-api-key/whatsapp-AbC1??"]),
        (
            &["openai-api-key/whatsapp-AbC123", "openai-api-key/whatsapp-XyZ789"],
            vec!["openai-api-key/whatsapp-AbC123", "openai-api-key/whatsapp-XyZ789"],
        ),
    ] {
        let full: Vec<String> = expected.iter().map(|end| format!("{HERE}{end}")).collect();
        check(&[rest(), allow(json!([GET]), json!(arns(ends)))], &[&may_be(&full.join(", "))]);
    }
    // The policy also grants the action on another secret, whose name only begins alike.
    let other = "openai-api-key/whatsapp-old-AbC123";
    let found =
        verdict_lines(&[rest(), allow(json!(GET), json!(arns(&[other])))], &least(false, false));
    assert_eq!(found[0], MISSING_BOTH[0]);
    // A wildcard elsewhere in the ARN does not matter.
    let everywhere = "arn:aws:secretsmanager:*:123456789012:secret:openai-api-key/whatsapp-AbC123";
    let found =
        verdict_lines(&[rest(), allow(json!(GET), json!(everywhere))], &least(false, false));
    assert_eq!(found[0], may_be(everywhere));
    // One ARN cannot be all secrets that a pattern matches.
    let one = allow(json!(GET), json!(arns(&["whatsapp-credentials/a/b/twilio-AbC123"])));
    check(&[one], &MISSING_BOTH);
    // With the full ARN, the comparison is exact.
    let target = format!("{HERE}app/db-AbC123");
    let needed = Needed { secrets: vec![target.clone()], ..Needed::default() };
    let least = statements("S", needed, &[], false);
    assert_eq!(verdict_lines(&[allow(json!(GET), json!(target))], &least), [""; 0]);
}

#[test]
fn star_in_place_of_the_suffix_is_unneeded() {
    let ends = ["whatsapp-credentials/*/*/twilio-*", "openai-api-key/whatsapp-*"];
    check(
        &[allow(json!([GET]), json!(arns(&ends)))],
        &[
            "unneeded: secretsmanager:GetSecretValue on whatsapp-credentials/*/*/twilio-*: the ending -* of the ARN also matches longer names of secrets; write -?????? instead",
            "unneeded: secretsmanager:GetSecretValue on openai-api-key/whatsapp-*: the ending -* of the ARN also matches longer names of secrets; write -?????? instead",
        ],
    );
}

#[test]
fn wildcards_are_unneeded() {
    check(
        &[allow(json!("*"), json!("*"))],
        &[
            "unneeded: * on *: the action contains a wildcard; write the names of the needed actions instead",
        ],
    );
    for action in ["secretsmanager:*", "secretsmanager:get*", "s*", "secretsmanager:getsecretvalu?"]
    {
        let expected = format!(
            "unneeded: {action} on *: the action contains a wildcard; write the names of the needed actions instead"
        );
        check(&[allow(json!(action), json!("*"))], &[&expected]);
    }
    check(
        &[allow(json!(GET), json!("*"))],
        &[
            "unneeded: secretsmanager:GetSecretValue on *: the resource pattern can also match resources that are not needed",
        ],
    );
    let ends = ["whatsapp-credentials/*", "openai-api-key/*-??????"];
    check(
        &[allow(json!(GET), json!(arns(&ends)))],
        &[
            "unneeded: secretsmanager:GetSecretValue on whatsapp-credentials/*: the resource pattern can also match resources that are not needed",
            "unneeded: secretsmanager:GetSecretValue on openai-api-key/*-??????: the resource pattern can also match resources that are not needed",
        ],
    );
}

#[test]
fn other_secrets_and_actions_are_unneeded() {
    let other = allow(json!(GET), json!(arns(&["sms-credentials/acme/x/twilio-??????"])));
    check(
        &[exact(), other],
        &[
            "unneeded: secretsmanager:GetSecretValue on sms-credentials/acme/x/twilio-??????: the resource is not one of the needed secrets, parameters, keys or roles",
        ],
    );
    let more =
        json!([GET, "secretsmanager:PutSecretValue", BATCH, DECRYPT, "logs:PutLogEvents", "sqs:*"]);
    check(
        &[with(exact(), "Action", more), allow(json!("logs:PutLogEvents"), json!("*"))],
        &[
            "unneeded: secretsmanager:putsecretvalue on whatsapp-credentials/*/*/twilio-??????, openai-api-key/whatsapp-??????: the action is not needed to read these secrets",
            "unneeded: secretsmanager:batchgetsecretvalue on whatsapp-credentials/*/*/twilio-??????, openai-api-key/whatsapp-??????: the action is not needed to read these secrets",
            "unneeded: kms:decrypt on whatsapp-credentials/*/*/twilio-??????, openai-api-key/whatsapp-??????: the action is not needed to read these secrets",
            "not judged: logs:putlogevents",
            "not judged: sqs:*",
        ],
    );
    // A policy may allow fewer secrets than the pattern of a needed resource. This is not an
    // unneeded permission.
    let narrow = allow(json!(GET), json!(arns(&["whatsapp-credentials/a/b/twilio-AbC123"])));
    check(&[exact(), narrow], &[]);
}

#[test]
fn permission_that_may_be_denied_is_missing() {
    let deny =
        |resource: Value| with(allow(json!("secretsmanager:*"), resource), "Effect", json!("Deny"));
    check(
        &[exact(), deny(json!(arns(&["openai-api-key/*"])))],
        &[
            "missing: GetSecretValue on openai-api-key/whatsapp-??????: the statement A denies this permission",
        ],
    );
    check(
        &[exact(), deny(json!(arns(&["whatsapp-credentials/acme/*"])))],
        &[
            "missing: GetSecretValue on whatsapp-credentials/*/*/twilio-??????: the statement A may deny this permission",
        ],
    );
    let insecure = json!({"Bool": {"aws:SecureTransport": "false"}});
    check(
        &[exact(), with(deny(json!("*")), "Condition", insecure)],
        &[
            "missing: GetSecretValue on openai-api-key/whatsapp-??????: the statement A may deny this permission",
            "missing: GetSecretValue on whatsapp-credentials/*/*/twilio-??????: the statement A may deny this permission",
        ],
    );
    check(&[exact(), deny(json!(arns(&["sms-credentials/*"])))], &[]);
    let variable = json!(arns(&["openai-api-key/${aws:PrincipalTag/channel}-*"]));
    check(
        &[exact(), deny(variable)],
        &[
            "missing: GetSecretValue on openai-api-key/whatsapp-??????: the statement A may deny this permission",
        ],
    );
    let other =
        json!({"Effect": "Deny", "NotAction": ["secretsmanager:GetSecretValue"], "Resource": "*"});
    check(&[exact(), other], &[]);
    let all_else =
        json!({"Effect": "Deny", "Action": "*", "NotResource": arns(&["openai-api-key/*"])});
    check(
        &[exact(), all_else],
        &[
            "missing: GetSecretValue on whatsapp-credentials/*/*/twilio-??????: statement 2 denies this permission",
        ],
    );
}

#[test]
fn permission_under_condition_or_by_exclusion_is_missing() {
    let tagged = json!({"StringEquals": {"aws:ResourceTag/team": "a"}});
    check(
        &[with(exact(), "Condition", tagged)],
        &[
            "missing: GetSecretValue on openai-api-key/whatsapp-??????: the statement A grants this permission only under a condition on aws:ResourceTag/team",
            "missing: GetSecretValue on whatsapp-credentials/*/*/twilio-??????: the statement A grants this permission only under a condition on aws:ResourceTag/team",
        ],
    );
    check(
        &[json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})],
        &[
            "missing: GetSecretValue on openai-api-key/whatsapp-??????: statement 1 grants this permission only by NotAction or NotResource; use Action and Resource instead",
            "missing: GetSecretValue on whatsapp-credentials/*/*/twilio-??????: statement 1 grants this permission only by NotAction or NotResource; use Action and Resource instead",
            "unneeded: all actions except iam:* on *: NotAction allows all actions that it does not list; use Action instead",
        ],
    );
    let but = json!({"Effect": "Allow", "Action": GET, "NotResource": arns(&["openai-api-key/*"])});
    check(
        &[but],
        &[
            MISSING_BOTH[0],
            "missing: GetSecretValue on whatsapp-credentials/*/*/twilio-??????: statement 1 grants this permission only by NotAction or NotResource; use Action and Resource instead",
            "unneeded: secretsmanager:GetSecretValue on all resources except openai-api-key/*: NotResource allows all resources that it does not list; use Resource instead",
        ],
    );
    // If another statement grants the permission exactly, the permission is not missing.
    let also = json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"});
    check(
        &[exact(), also],
        &[
            "unneeded: all actions except iam:* on *: NotAction allows all actions that it does not list; use Action instead",
        ],
    );
    // The value of `${aws:username}` is unknown. So the permission may be missing, and the policy
    // may also allow too much.
    check(
        &[allow(json!(GET), json!(arns(&["openai-api-key/${aws:username}-??????"])))],
        &[
            MISSING_BOTH[0],
            MISSING_BOTH[1],
            "unneeded: secretsmanager:GetSecretValue on openai-api-key/${aws:username}-??????: the resource pattern can also match resources that are not needed",
        ],
    );
}

#[test]
fn keys_and_batches_are_judged_if_requested() {
    let (batch, key) = (allow(json!(BATCH), json!("*")), allow(json!(DECRYPT), json!(KEY)));
    let least = least(true, true);
    assert_eq!(
        verdict_lines(&[exact()], &least),
        [
            "missing: BatchGetSecretValue on *: no statement grants this permission",
            &format!("missing: Decrypt on {KEY}: no statement grants this permission"),
        ]
    );
    assert_eq!(
        verdict_lines(&[exact(), batch.clone(), key.clone()], &least),
        [format!(
            "unneeded: kms:Decrypt on {KEY}: the KMS key can be used through other services; allow only the needed services in a condition on kms:ViaService"
        ),]
    );
    let via = |service: &str| json!({"StringEquals": {"KMS:viaservice": service}});
    let tied = with(key.clone(), "Condition", via(VIA));
    assert_eq!(verdict_lines(&[exact(), batch.clone(), tied], &least), [""; 0]);
    let more = json!({"StringEquals": {"kms:ViaService": [VIA, "s3.eu-north-1.amazonaws.com"]}});
    let loose = with(key.clone(), "Condition", more);
    assert_eq!(
        verdict_lines(&[exact(), batch.clone(), loose], &least),
        [format!(
            "unneeded: kms:Decrypt on {KEY} in a statement with a condition: the KMS key can be used through other services; allow only the needed services in a condition on kms:ViaService"
        )]
    );
    let elsewhere = with(key, "Condition", via("s3.eu-north-1.amazonaws.com"));
    assert_eq!(
        verdict_lines(&[exact(), batch, elsewhere], &least),
        [
            format!(
                "missing: Decrypt on {KEY}: the statement A grants this permission only under a condition on KMS:viaservice"
            ),
            format!(
                "unneeded: kms:Decrypt on {KEY} in a statement with a condition: the KMS key can be used through other services; allow only the needed services in a condition on kms:ViaService"
            ),
        ]
    );
}

const STORE: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";

fn least_with_parameters(secrets: Needed) -> Vec<Statement> {
    let needed = Needed {
        parameters: vec![format!("{STORE}/app/*")],
        paths: vec![format!("{STORE}/app"), format!("{STORE}/app/*")],
        ..secrets
    };
    statements("S", needed, &[key()], false)
}

#[test]
fn permissions_for_parameters_are_judged_if_parameters_are_needed() {
    let least = least_with_parameters(Needed::default());
    let document = super::super::document::Document::of(&least).json();
    let policy = parse::parse(&document).expect("the policy must be valid");
    assert!(verify(&policy, &least).is_exact());

    let reads = json!(["ssm:GetParameter", "ssm:GetParameters"]);
    let path = json!("ssm:GetParametersByPath");
    let below = json!(format!("{STORE}/app/*"));
    let decrypt = with(
        allow(json!(DECRYPT), json!(KEY)),
        "Condition",
        json!({"StringEquals": {"kms:ViaService": "ssm.eu-north-1.amazonaws.com"}}),
    );
    let most = [allow(reads, below.clone()), decrypt.clone()];
    let missing = |end: &str| {
        format!("missing: GetParametersByPath on {STORE}{end}: no statement grants this permission")
    };
    let loose = format!(
        "unneeded: kms:Decrypt on {KEY} in a statement with a condition: the KMS key can decrypt other parameters; allow only the needed parameters in a condition on kms:EncryptionContext:PARAMETER_ARN"
    );
    assert_eq!(verdict_lines(&most, &least), [missing("/app"), missing("/app/*"), loose]);

    let tied = |arn: &str| {
        let mut tied = decrypt.clone();
        tied["Condition"]["ArnLike"] = json!({"kms:EncryptionContext:PARAMETER_ARN": arn});
        tied
    };
    let both = json!([format!("{STORE}/app"), below]);
    let rest = [most[0].clone(), allow(path.clone(), both)];
    let policy = |decrypt: Value| [&rest[..], &[decrypt]].concat();
    assert_eq!(verdict_lines(&policy(tied(&format!("{STORE}/app/*"))), &least), [""; 0]);
    let narrow = verdict_lines(&policy(tied(&format!("{STORE}/app/url"))), &least);
    assert_eq!(
        narrow,
        [format!(
            "missing: Decrypt on {KEY}: the statement A grants this permission only under a condition on kms:EncryptionContext:PARAMETER_ARN, kms:ViaService"
        )]
    );

    let more = allow(json!(["ssm:PutParameter", "ssm:Get*", "ssm:SendCommand"]), json!("*"));
    let found = verdict_lines(
        &[&policy(tied(&format!("{STORE}/app/*")))[..], std::slice::from_ref(&more)].concat(),
        &least,
    );
    assert_eq!(
        found,
        [
            "unneeded: ssm:putparameter on *: the action is not needed to read these secrets",
            "unneeded: ssm:get* on *: the action contains a wildcard; write the names of the needed actions instead",
            "not judged: ssm:sendcommand",
        ]
    );
    check(
        &[exact(), more],
        &["not judged: ssm:get*", "not judged: ssm:putparameter", "not judged: ssm:sendcommand"],
    );
}

#[test]
fn key_of_secrets_and_parameters_may_be_used_through_both_services() {
    let least = least_with_parameters(needed_secrets());
    let document = super::super::document::Document::of(&least).json();
    let policy = parse::parse(&document).expect("the policy must be valid");
    assert!(verify(&policy, &least).is_exact());
    let via = json!([VIA, "ssm.eu-north-1.amazonaws.com"]);
    let condition = json!({"StringEquals": {"kms:ViaService": via}});
    let one = with(allow(json!(DECRYPT), json!(KEY)), "Condition", condition);
    let lines = verdict_lines(&[one], &least);
    assert!(lines.iter().all(|line| !line.contains("Decrypt")), "{lines:?}");
}

const MANY: &str = r#"{"Statement":[{"Sid":"S","Effect":"Allow","Action":["secretsmanager:Get*","kms:*"],
    "Resource":"arn:aws:secretsmanager:*:123456789012:secret:*/${a:b}/*-??????"},{"Effect":"Allow",
    "NotAction":"s3:*","NotResource":["r*"],"Condition":{"Bool":{"a":"b"}}}]}"#;

proptest! {
    #[test]
    fn for_any_policy_denying_everything_makes_everything_missing(text in mangled(MANY)) {
        let least = least(true, true);
        let Ok(mut policy) = parse::parse(&text) else { return Ok(()) };
        let _ = verify(&policy, &least);
        let deny = json!({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}});
        policy.extend(parse::parse(&deny.to_string()).expect("the policy must be valid"));
        let needed: usize = least.iter().map(|need| need.resources.len()).sum();
        prop_assert_eq!(verify(&policy, &least).lacks.len(), needed);
    }
}
