//! A program that asks Secrets Manager through AWS's SDK for Rust asks Sidekey without a change: it
//! gets the same answers, the same typed errors, and tries again only where that may help.

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::gateway::Parrot;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueOutput,
};
use fake_aws::Operation::{BatchGetSecretValue, DescribeSecret, GetSecretValue};
use fake_aws::{Fake, Fault, Match};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// How often the SDK tries at most.
const ATTEMPTS_MAX: u32 = 3;

/// An SDK that is pointed at `endpoint` and signs with `session`, as it is out of the box but for the
/// time between two attempts.
fn sdk(endpoint: &str, session: Option<&str>) -> Client {
    let session = session.map(str::to_owned);
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(Duration::from_millis(1));
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("AKIATESTS", "key", session, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(retries)
        .build();
    Client::from_conf(config)
}

/// The SDK of a function beside `sidekey`.
fn sdk_at(sidekey: &Sidekey) -> Client {
    sdk(&format!("http://{}", sidekey.address), Some(TOKEN))
}

/// A fake at a time that AWS would tell to the millisecond, and an agent in front of it.
async fn started() -> (Fake, Sidekey) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_569_534_789_046));
    let fake = fake(&clock).await;
    let sidekey = Setup::of(&fake, &clock).start().await;
    (fake, sidekey)
}

/// Returns all that an answer says.
fn said(answer: GetSecretValueOutput) -> impl PartialEq + std::fmt::Debug {
    (
        answer.arn,
        answer.name,
        answer.version_id,
        answer.secret_string,
        answer.secret_binary,
        answer.version_stages,
        answer.created_date,
    )
}

/// Text, bytes and the longest value there can be, by name, ARN and partial ARN, by version and by
/// stage, are what Secrets Manager itself answers, on a kept connection and with a path of slashes.
#[tokio::test]
async fn answers_equal_those_of_secrets_manager() {
    let (fake, sidekey) = started().await;
    let secrets = fake.secrets();
    let arn = secrets.create("app/text", "a \"quoted\" <b>&ä🦀\n\u{1}").expect("a new name");
    let first = secrets.version_id("app/text", "AWSCURRENT").expect("it is there");
    secrets.put("app/text", "the second").expect("it is there");
    secrets.create("app/bytes", vec![0, 255, 16, 251]).expect("a new name");
    secrets.create("app/longest", "x\"".repeat(32_768)).expect("a new name");
    let direct = sdk(&fake.url(), Some("any"));
    let slashed = sdk(&format!("http://{}/", sidekey.address), Some(TOKEN));
    for own in [sdk_at(&sidekey), slashed] {
        for (id, version, stage) in [
            ("app/text", None, None),
            (&*arn, None, None),
            (&arn[..arn.len() - 7], None, None),
            ("app/text", None, Some("AWSPREVIOUS")),
            ("app/text", Some(&*first), None),
            ("app/text", Some(&*first), Some("AWSPREVIOUS")),
            ("app/bytes", None, Some("AWSCURRENT")),
            ("app/longest", None, None),
        ] {
            let ask = async |client: &Client| {
                let asked = client.get_secret_value().secret_id(id);
                let (version, stage) = (version.map(str::to_owned), stage.map(str::to_owned));
                let asked = asked.set_version_id(version).set_version_stage(stage);
                said(asked.send().await.expect("a value"))
            };
            assert_eq!(ask(&own).await, ask(&direct).await, "{id} {version:?} {stage:?}");
        }
    }
}

/// A hundred reads, most of them at once, cause one upstream call.
#[tokio::test]
async fn hundred_reads_cause_one_call() {
    let (fake, sidekey) = started().await;
    fake.secrets().create("app/db", "hunter2").expect("a new name");
    let client = sdk_at(&sidekey);
    let read = async |client: Client| {
        let answer = client.get_secret_value().secret_id("app/db").send().await;
        assert_eq!(answer.expect("a value").secret_string(), Some("hunter2"));
    };
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..90 {
        readers.spawn(read(client.clone()));
    }
    while let Some(read) = readers.join_next().await {
        read.expect("no panic");
    }
    for _ in 0..10 {
        read(client.clone()).await;
    }
    assert_eq!(fake.calls().total(), 1);
    assert_eq!(sidekey.metrics().await.sum("sidekey_reads_total"), 100.0);
}

/// A batch has the values that there are, once each, and says of the others what is wrong; upstream
/// is asked for single secrets, and not again for what is held.
#[tokio::test]
async fn batch_returns_values_and_errors() {
    let (fake, sidekey) = started().await;
    let secrets = fake.secrets();
    let arn = secrets.create("app/a", "one").expect("a new name");
    secrets.create("app/b", json!({"user": "ann"}).to_string()).expect("a new name");
    secrets.create("app/c", vec![0, 255]).expect("a new name");
    secrets.create("app/denied", "no").expect("a new name");
    fake.faults().deny_secret("app/denied");
    let ask = async |ids: &[&str]| {
        let asked = sdk_at(&sidekey).batch_get_secret_value();
        asked.set_secret_id_list(Some(ids.iter().map(|id| (*id).to_owned()).collect())).send().await
    };
    let ids = ["app/a", "app/missing", &arn, "app/b#user", "app/c", "app/a", "app/denied", "arn:x"];
    let answer = ask(&ids).await.expect("an answer");
    let values = answer.secret_values().iter().map(|value| {
        let bytes = value.secret_binary().map(|bytes| bytes.as_ref().to_vec());
        (value.name().expect("a name"), value.secret_string(), bytes)
    });
    let values: Vec<_> = values.collect();
    let expected = [
        ("app/a", Some("one"), None),
        ("app/b", Some("ann"), None),
        ("app/c", None, Some(vec![0, 255])),
    ];
    assert_eq!(values, expected);
    let errors = answer.errors().iter().map(|error| (error.secret_id(), error.error_code()));
    let errors: Vec<_> = errors.collect();
    let expected = [
        (Some("app/missing"), Some("ResourceNotFoundException")),
        (Some("app/denied"), Some("AccessDeniedException")),
        (Some("arn:x"), Some("ValidationException")),
    ];
    assert_eq!(errors, expected);
    assert_eq!(
        answer.errors()[0].message(),
        Some("Secrets Manager can't find the specified secret.")
    );
    assert!(answer.errors()[2].message().is_some_and(|message| message.contains("character 5")));
    // The full ARN is asked for on its own: nobody knows yet that the name leads there.
    assert_eq!(
        (fake.calls().count(GetSecretValue), fake.calls().count(BatchGetSecretValue)),
        (6, 0)
    );
    ask(&["app/a", "app/b", "app/c"]).await.expect("an answer");
    assert_eq!(fake.calls().total(), 6);

    let many: Vec<String> = (0..21).map(|n| format!("s{n}")).collect();
    let many: Vec<&str> = many.iter().map(|id| &**id).collect();
    let refused = ask(&many).await.expect_err("too many");
    assert_eq!(refused.code(), Some("ValidationException"));
    let filter = aws_sdk_secretsmanager::types::Filter::builder().build();
    let refused = sdk_at(&sidekey).batch_get_secret_value().filters(filter).send().await;
    let refused = refused.expect_err("no filters here").into_service_error();
    assert!(refused.is_invalid_parameter_exception(), "{refused:?}");
    assert!(refused.message().is_some_and(|words| words.contains("SecretIdList")), "{refused:?}");
}

/// AWS's caching libraries describe a secret and then ask for the version that they found: both are
/// answered from one call, and what a description says of labels is right through a rotation.
#[tokio::test]
async fn description_lists_labels_of_cached_versions() {
    let (fake, sidekey) = started().await;
    let secrets = fake.secrets();
    let arn = secrets.create("app/db", "one").expect("a new name");
    let first = secrets.version_id("app/db", "AWSCURRENT").expect("it is there");
    let client = sdk_at(&sidekey);
    let describe = async |id: &str| {
        let answer = client.describe_secret().secret_id(id).send().await.expect("a description");
        assert_eq!((answer.arn(), answer.name()), (Some(&*arn), Some("app/db")));
        assert_eq!(answer.created_date().map(|date| date.secs()), Some(1_569_534_789));
        let stages = answer.version_ids_to_stages.expect("labels");
        stages.into_iter().collect::<BTreeMap<_, _>>()
    };
    let get = async |version: &str| {
        let asked = client.get_secret_value().secret_id("app/db").version_id(version);
        asked.send().await.expect("a value").secret_string.expect("a text")
    };
    let labels = |pairs: &[(&str, &str)]| {
        let pair = |(id, label): &(&str, &str)| ((*id).to_owned(), vec![(*label).to_owned()]);
        pairs.iter().map(pair).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(describe("app/db").await, labels(&[(&first, "AWSCURRENT")]));
    assert_eq!(get(&first).await, "one");
    assert_eq!((fake.calls().count(GetSecretValue), fake.calls().count(DescribeSecret)), (1, 0));

    let second = secrets.put("app/db", "two").expect("it is there");
    sidekey.pass(Duration::from_secs(301));
    assert_eq!(describe(&arn).await, labels(&[(&second, "AWSCURRENT")]));
    assert_eq!((get(&first).await.as_str(), get(&second).await.as_str()), ("one", "two"));
    let both = labels(&[(&first, "AWSPREVIOUS"), (&second, "AWSCURRENT")]);
    assert_eq!(describe("app/db").await, both);
    assert_eq!(fake.calls().total(), 3);
}

/// Returns an error's code, and how many requests Sidekey got for it.
async fn tried(
    sidekey: &Sidekey,
    client: &Client,
    id: &str,
) -> (GetSecretValueError, Option<String>, f64) {
    let before = sidekey.metrics().await.sum("sidekey_reads_total");
    let refused = client.get_secret_value().secret_id(id).send().await;
    let refused = refused.map(|answer| answer.name).expect_err("an error");
    assert!(matches!(refused, SdkError::ServiceError(_)), "typed: {refused:?}");
    let refused = refused.into_service_error();
    let code = refused.code().map(str::to_owned);
    (refused, code, sidekey.metrics().await.sum("sidekey_reads_total") - before)
}

/// Each of Secrets Manager's errors is the SDK's own typed one, with its words, and is tried once where
/// another attempt cannot help. Upstream sees one call at most.
#[tokio::test]
async fn permanent_errors_are_typed_and_not_retried() {
    let (fake, sidekey) = started().await;
    let (secrets, faults) = (fake.secrets(), fake.faults());
    for name in ["deleted", "broken", "denied", "odd"] {
        secrets.create(name, "hunter2").expect("a new name");
    }
    secrets.mark_for_deletion("deleted", Duration::from_secs(7 * 86_400)).expect("it is there");
    faults.break_key("broken", true);
    faults.deny_secret("denied");
    let odd =
        Fault::Error { status: 400, kind: "InvalidParameterException".into(), message: "m".into() };
    faults.always(Match::secret("odd"), odd);
    let client = sdk_at(&sidekey);
    type IsTyped = fn(&GetSecretValueError) -> bool;
    let is_missing: IsTyped = GetSecretValueError::is_resource_not_found_exception;
    let modelled: [(&str, &str, IsTyped); 4] = [
        ("missing", "ResourceNotFoundException", is_missing),
        ("deleted", "InvalidRequestException", GetSecretValueError::is_invalid_request_exception),
        ("broken", "DecryptionFailure", GetSecretValueError::is_decryption_failure),
        ("odd", "InvalidParameterException", GetSecretValueError::is_invalid_parameter_exception),
    ];
    let direct = sdk(&fake.url(), Some("any"));
    for (id, code, is_typed) in modelled {
        fake.calls().clear();
        let (refused, own, attempts) = tried(&sidekey, &client, id).await;
        assert!(is_typed(&refused), "{id}: {refused:?}");
        assert_eq!((own.as_deref(), attempts), (Some(code), 1.0), "{id}");
        assert_eq!(fake.calls().count(GetSecretValue), 1, "{id}");
        let from_aws = direct.get_secret_value().secret_id(id).send().await;
        let from_aws =
            from_aws.map(|answer| answer.name).expect_err("an error").into_service_error();
        assert_eq!(refused.message(), from_aws.message(), "{id}");
    }
    for (id, code) in
        [("denied", "AccessDeniedException"), ("arn:aws:s3:::x", "ValidationException")]
    {
        let (_, own, attempts) = tried(&sidekey, &client, id).await;
        assert_eq!((own.as_deref(), attempts), (Some(code), 1.0), "{id}");
    }
    let put = client.put_secret_value().secret_id("odd").secret_string("new").send().await;
    let put = put.map(|answer| answer.name).expect_err("Sidekey only reads").into_service_error();
    assert_eq!(put.code(), Some("UnsupportedOperationException"));
    assert!(put.message().is_some_and(|words| words.contains("reach AWS directly")), "{put:?}");
}

/// What may pass is tried again, by the SDK's own rules: throttling is AWS's own error, and everything
/// that is nobody's answer is the service's failure. Sidekey asks upstream once meanwhile.
#[tokio::test]
async fn transient_errors_are_retried_by_the_sdk() {
    let (fake, sidekey) = started().await;
    for name in ["throttled", "failing"] {
        fake.secrets().create(name, "hunter2").expect("a new name");
    }
    fake.faults().always(Match::secret("throttled"), Fault::Throttle);
    fake.faults().always(Match::secret("failing"), Fault::Reset);
    let client = sdk_at(&sidekey);
    for (id, code) in [("throttled", "ThrottlingException"), ("failing", "InternalServiceError")] {
        fake.calls().clear();
        let (refused, own, attempts) = tried(&sidekey, &client, id).await;
        assert_eq!((own.as_deref(), attempts), (Some(code), f64::from(ATTEMPTS_MAX)), "{id}");
        assert_eq!(refused.is_internal_service_error(), id == "failing");
        assert_eq!(fake.calls().count(GetSecretValue), 1, "{id}: the failure is remembered");
    }
}

/// A wrong session token, and static keys without one, are told so in AWS's words and with what to do,
/// in one attempt; what `SIDEKEY_ALLOW` does not cover says that Sidekey refused.
#[tokio::test]
async fn wrong_session_tokens_are_refused_without_a_retry() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let sidekey = Setup::of(&fake, &clock).with("SIDEKEY_ALLOW", "app/*").start().await;
    let endpoint = format!("http://{}", sidekey.address);
    for (session, words) in [
        (Some("wrong"), "sign with the credentials that Sidekey runs with"),
        (None, "static keys have no session token"),
    ] {
        let (refused, code, attempts) = tried(&sidekey, &sdk(&endpoint, session), "app/db").await;
        assert_eq!((code.as_deref(), attempts), (Some("UnrecognizedClientException"), 1.0));
        assert!(refused.message().is_some_and(|own| own.contains(words)), "{refused:?}");
    }
    let (refused, code, attempts) = tried(&sidekey, &sdk_at(&sidekey), "other").await;
    assert_eq!((code.as_deref(), attempts), (Some("AccessDeniedException"), 1.0));
    assert!(refused.message().is_some_and(|own| own.contains("Sidekey refused")), "{refused:?}");
    assert_eq!(fake.calls().total(), 0);
}

/// The session tokens of the agent's own credentials open the gate: the current one, the one before,
/// and one that the agent has not needed yet, for which it gets its credentials anew, once a second.
#[tokio::test]
async fn session_tokens_of_the_agent_are_accepted() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("a new name");
    let credentials = |session: &str| {
        json!({"AccessKeyId": "AKIATESTS", "SecretAccessKey": "key", "Token": session,
            "Expiration": "2100-01-01T00:00:00Z"})
        .to_string()
    };
    let vendor = Parrot::saying_json("200 OK", &credentials("first")).await;
    let sidekey = Setup::of(&fake, &clock)
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", vendor.url())
        .start()
        .await;
    assert_eq!(vendor.calls(), 0, "nobody has needed any yet");
    let endpoint = format!("http://{}", sidekey.address);
    let read = async |session: &str| {
        let client = sdk(&endpoint, Some(session));
        let answer = client.get_secret_value().secret_id("app/db").send().await;
        answer
            .map(|answer| answer.name)
            .map_err(|error| error.into_service_error().code().map(str::to_owned))
    };
    let served = Ok(Some("app/db".to_owned()));
    let refused = Err(Some("UnrecognizedClientException".to_owned()));
    assert_eq!(read("first").await, served);
    let asked = vendor.calls();
    assert_eq!(read("first").await, served);
    assert_eq!(vendor.calls(), asked, "it is known");

    vendor.say_json("200 OK", &credentials("second"));
    assert_eq!(read("second").await, refused, "credentials were got less than a second ago");
    sidekey.pass(Duration::from_secs(1));
    assert_eq!((read("second").await, vendor.calls()), (served.clone(), asked + 1));
    assert_eq!(read("first").await, served, "what was signed just before still counts");
    for _ in 0..5 {
        assert_eq!(read("wrong").await, refused);
    }
    assert_eq!(vendor.calls(), asked + 1, "a wrong token makes nobody busy");
    sidekey.pass(Duration::from_secs(1));
    assert_eq!(read("wrong").await, refused);
    assert_eq!(vendor.calls(), asked + 2);
    vendor.say_json("500 Internal Server Error", "{}");
    sidekey.pass(Duration::from_secs(1));
    assert_eq!(read("wrong").await, refused);
    assert_eq!(read("second").await, served, "what is known stays known");
}
