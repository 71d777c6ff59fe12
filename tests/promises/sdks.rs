//! Tests that programs with AWS's SDK for Rust can call Sidekey without a change, and get the same
//! responses and errors as from AWS.

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::gateway::CannedUpstream;
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

/// The maximum number of attempts that the SDK makes.
const ATTEMPTS_MAX: u32 = 3;

/// Returns an SDK client that calls `endpoint` with the session token `session`. Its pause between
/// two attempts is shorter than by default.
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

/// Returns the SDK client of a function that calls the agent `sidekey`.
fn sdk_at(sidekey: &Sidekey) -> Client {
    sdk(&format!("http://{}", sidekey.address), Some(TOKEN))
}

/// Starts a fake AWS server and an agent. The clock shows a time with milliseconds, as AWS's times
/// have them.
async fn start_agent() -> (Fake, Sidekey) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_569_534_789_046));
    let fake = fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    (fake, sidekey)
}

/// Returns all fields of an SDK response, so that tests can compare two responses.
fn fields_of(answer: GetSecretValueOutput) -> impl PartialEq + std::fmt::Debug {
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

/// Reads secret values by name, ARN, partial ARN, version and staging label. Sidekey's responses
/// equal those of the fake AWS server.
#[tokio::test]
async fn answers_equal_those_of_secrets_manager() {
    let (fake, sidekey) = start_agent().await;
    let secrets = fake.secrets();
    let arn = secrets
        .create("app/text", "a \"quoted\" <b>&ä🦀\n\u{1}")
        .expect("the fake AWS server must create the secret");
    let first = secrets.version_id("app/text", "AWSCURRENT").expect("the secret exists");
    secrets.put("app/text", "the second").expect("the secret exists");
    secrets
        .create("app/bytes", vec![0, 255, 16, 251])
        .expect("the fake AWS server must create the secret");
    secrets
        .create("app/longest", "x\"".repeat(32_768))
        .expect("the fake AWS server must create the secret");
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
                let call = client.get_secret_value().secret_id(id);
                let (version, stage) = (version.map(str::to_owned), stage.map(str::to_owned));
                let call = call.set_version_id(version).set_version_stage(stage);
                fields_of(call.send().await.expect("the read succeeds"))
            };
            assert_eq!(ask(&own).await, ask(&direct).await, "{id} {version:?} {stage:?}");
        }
    }
}

#[tokio::test]
async fn hundred_reads_cause_one_call() {
    let (fake, sidekey) = start_agent().await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let client = sdk_at(&sidekey);
    let read = async |client: Client| {
        let answer = client.get_secret_value().secret_id("app/db").send().await;
        assert_eq!(answer.expect("the read succeeds").secret_string(), Some("hunter2"));
    };
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..90 {
        readers.spawn(read(client.clone()));
    }
    while let Some(read) = readers.join_next().await {
        read.expect("the task that reads must not panic");
    }
    for _ in 0..10 {
        read(client.clone()).await;
    }
    assert_eq!(fake.calls().total(), 1);
    assert_eq!(sidekey.metrics().await.sum("sidekey_reads_total"), 100.0);
}

/// A batch call returns each existing secret once, and an error for each other id. The agent
/// fetches only secrets that are not cached.
#[tokio::test]
async fn batch_returns_values_and_errors() {
    let (fake, sidekey) = start_agent().await;
    let secrets = fake.secrets();
    let arn = secrets.create("app/a", "one").expect("the fake AWS server must create the secret");
    secrets
        .create("app/b", json!({"user": "ann"}).to_string())
        .expect("the fake AWS server must create the secret");
    secrets.create("app/c", vec![0, 255]).expect("the fake AWS server must create the secret");
    secrets.create("app/denied", "no").expect("the fake AWS server must create the secret");
    fake.faults().deny_secret("app/denied");
    let ask = async |ids: &[&str]| {
        let call = sdk_at(&sidekey).batch_get_secret_value();
        call.set_secret_id_list(Some(ids.iter().map(|id| (*id).to_owned()).collect())).send().await
    };
    let ids = ["app/a", "app/missing", &arn, "app/b#user", "app/c", "app/a", "app/denied", "arn:x"];
    let answer = ask(&ids).await.expect("an answer arrives");
    let values = answer.secret_values().iter().map(|value| {
        let bytes = value.secret_binary().map(|bytes| bytes.as_ref().to_vec());
        (value.name().expect("the secret value must have a name"), value.secret_string(), bytes)
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
    // The full ARN causes its own call, because the agent does not yet know that the name means the
    // same secret.
    assert_eq!(
        (fake.calls().count(GetSecretValue), fake.calls().count(BatchGetSecretValue)),
        (6, 0)
    );
    ask(&["app/a", "app/b", "app/c"]).await.expect("an answer arrives");
    assert_eq!(fake.calls().total(), 6);

    let many: Vec<String> = (0..21).map(|n| format!("s{n}")).collect();
    let many: Vec<&str> = many.iter().map(|id| &**id).collect();
    let refused = ask(&many).await.expect_err("the agent must refuse a batch of 21 ids");
    assert_eq!(refused.code(), Some("ValidationException"));
    let filter = aws_sdk_secretsmanager::types::Filter::builder().build();
    let refused = sdk_at(&sidekey).batch_get_secret_value().filters(filter).send().await;
    let refused =
        refused.expect_err("the agent must refuse a batch with filters").into_service_error();
    assert!(refused.is_invalid_parameter_exception(), "{refused:?}");
    assert!(refused.message().is_some_and(|words| words.contains("SecretIdList")), "{refused:?}");
}

/// AWS's caching libraries call `DescribeSecret`. The agent answers with the right staging labels,
/// from one `GetSecretValue` call for each label.
#[tokio::test]
async fn description_lists_the_labels_of_aws() {
    let (fake, sidekey) = start_agent().await;
    let secrets = fake.secrets();
    let arn = secrets.create("app/db", "one").expect("the fake AWS server must create the secret");
    let first = secrets.version_id("app/db", "AWSCURRENT").expect("the secret exists");
    let client = sdk_at(&sidekey);
    let describe = async |id: &str| {
        let answer =
            client.describe_secret().secret_id(id).send().await.expect("DescribeSecret succeeds");
        assert_eq!((answer.arn(), answer.name()), (Some(&*arn), Some("app/db")));
        assert_eq!(answer.created_date().map(|date| date.secs()), Some(1_569_534_789));
        let stages =
            answer.version_ids_to_stages.expect("the response must contain staging labels");
        stages.into_iter().collect::<BTreeMap<_, _>>()
    };
    let get = async |version: &str| {
        let call = client.get_secret_value().secret_id("app/db").version_id(version);
        call.send()
            .await
            .expect("the read succeeds")
            .secret_string
            .expect("the JSON value must be a string")
    };
    let labels = |pairs: &[(&str, &str)]| {
        let pair = |(id, label): &(&str, &str)| ((*id).to_owned(), vec![(*label).to_owned()]);
        pairs.iter().map(pair).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(describe("app/db").await, labels(&[(&first, "AWSCURRENT")]));
    assert_eq!(get(&first).await, "one");
    assert_eq!(describe(&arn).await, labels(&[(&first, "AWSCURRENT")]));
    assert_eq!((fake.calls().count(GetSecretValue), fake.calls().count(DescribeSecret)), (3, 0));

    let second = secrets.put("app/db", "two").expect("the secret exists");
    sidekey.advance(Duration::from_secs(301));
    let both = labels(&[(&first, "AWSPREVIOUS"), (&second, "AWSCURRENT")]);
    for id in [&*arn, "app/db"] {
        assert_eq!(describe(id).await, both);
    }
    assert_eq!((get(&first).await.as_str(), get(&second).await.as_str()), ("one", "two"));
    assert_eq!(fake.calls().total(), 6);
}

/// Returns the error code of an SDK call, and the number of requests that Sidekey received.
async fn error_and_attempts(
    sidekey: &Sidekey,
    client: &Client,
    id: &str,
) -> (GetSecretValueError, Option<String>, f64) {
    let before = sidekey.metrics().await.sum("sidekey_reads_total");
    let refused = client.get_secret_value().secret_id(id).send().await;
    let refused = refused.map(|answer| answer.name).expect_err("the call fails");
    assert!(matches!(refused, SdkError::ServiceError(_)), "typed: {refused:?}");
    let refused = refused.into_service_error();
    let code = refused.code().map(str::to_owned);
    (refused, code, sidekey.metrics().await.sum("sidekey_reads_total") - before)
}

/// For a permanent error of Secrets Manager, the SDK raises its own error type and makes only one
/// attempt.
#[tokio::test]
async fn permanent_errors_are_typed_and_not_retried() {
    let (fake, sidekey) = start_agent().await;
    let (secrets, faults) = (fake.secrets(), fake.faults());
    for name in ["deleted", "broken", "denied", "odd"] {
        secrets.create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    secrets
        .mark_for_deletion("deleted", Duration::from_secs(7 * 86_400))
        .expect("the secret exists");
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
        let (refused, own, attempts) = error_and_attempts(&sidekey, &client, id).await;
        assert!(is_typed(&refused), "{id}: {refused:?}");
        assert_eq!((own.as_deref(), attempts), (Some(code), 1.0), "{id}");
        assert_eq!(fake.calls().count(GetSecretValue), 1, "{id}");
        let from_aws = direct.get_secret_value().secret_id(id).send().await;
        let from_aws =
            from_aws.map(|answer| answer.name).expect_err("the call fails").into_service_error();
        assert_eq!(refused.message(), from_aws.message(), "{id}");
    }
    for (id, code) in
        [("denied", "AccessDeniedException"), ("arn:aws:s3:::x", "ValidationException")]
    {
        let (_, own, attempts) = error_and_attempts(&sidekey, &client, id).await;
        assert_eq!((own.as_deref(), attempts), (Some(code), 1.0), "{id}");
    }
    let put = client.put_secret_value().secret_id("odd").secret_string("new").send().await;
    let put = put
        .map(|answer| answer.name)
        .expect_err("the command must refuse to write")
        .into_service_error();
    assert_eq!(put.code(), Some("UnsupportedOperationException"));
    assert!(put.message().is_some_and(|words| words.contains("reach AWS directly")), "{put:?}");
}

/// For a temporary error, such as a throttled call, the SDK makes several attempts, but the agent
/// calls AWS only once.
#[tokio::test]
async fn transient_errors_are_retried_by_the_sdk() {
    let (fake, sidekey) = start_agent().await;
    for name in ["throttled", "failing"] {
        fake.secrets().create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    fake.faults().always(Match::secret("throttled"), Fault::Throttle);
    fake.faults().always(Match::secret("failing"), Fault::Reset);
    let client = sdk_at(&sidekey);
    for (id, code) in [("throttled", "ThrottlingException"), ("failing", "InternalServiceError")] {
        fake.calls().clear();
        let (refused, own, attempts) = error_and_attempts(&sidekey, &client, id).await;
        assert_eq!((own.as_deref(), attempts), (Some(code), f64::from(ATTEMPTS_MAX)), "{id}");
        assert_eq!(refused.is_internal_service_error(), id == "failing");
        assert_eq!(fake.calls().count(GetSecretValue), 1, "{id}: the agent must cache the error");
    }
}

/// The agent refuses a wrong session token, and static keys without a session token. The SDK makes
/// only one attempt.
#[tokio::test]
async fn wrong_session_tokens_are_refused_without_a_retry() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_ALLOW", "app/*").start().await;
    let endpoint = format!("http://{}", sidekey.address);
    let words = "Sidekey knows no session token, because it has static keys";
    for session in [Some("wrong"), None] {
        let (refused, code, attempts) =
            error_and_attempts(&sidekey, &sdk(&endpoint, session), "app/db").await;
        assert_eq!((code.as_deref(), attempts), (Some("UnrecognizedClientException"), 1.0));
        assert!(refused.message().is_some_and(|own| own.contains(words)), "{refused:?}");
    }
    let (refused, code, attempts) = error_and_attempts(&sidekey, &sdk_at(&sidekey), "other").await;
    assert_eq!((code.as_deref(), attempts), (Some("AccessDeniedException"), 1.0));
    assert!(refused.message().is_some_and(|own| own.contains("Sidekey refused")), "{refused:?}");
    assert_eq!(fake.calls().total(), 0);
}

/// The agent accepts the current and the previous session token of its own AWS credentials. For an
/// unknown token, it requests its credentials again, at most once a second.
#[tokio::test]
async fn session_tokens_of_the_agent_are_accepted() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let credentials = |session: &str| {
        json!({"AccessKeyId": "AKIATESTS", "SecretAccessKey": "key", "Token": session,
            "Expiration": "2100-01-01T00:00:00Z"})
        .to_string()
    };
    let vendor = CannedUpstream::with_json("200 OK", &credentials("first")).await;
    let sidekey = Setup::for_fake(&fake, &clock)
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", vendor.url())
        .start()
        .await;
    assert_eq!(vendor.calls(), 0, "the agent must not have requested credentials yet");
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
    let calls_before = vendor.calls();
    assert_eq!(read("first").await, served);
    assert_eq!(
        vendor.calls(),
        calls_before,
        "a known token must not cause a request for credentials"
    );

    vendor.set_json("200 OK", &credentials("second"));
    assert_eq!(
        read("second").await,
        refused,
        "the agent must request credentials at most once a second"
    );
    sidekey.advance(Duration::from_secs(1));
    assert_eq!((read("second").await, vendor.calls()), (served.clone(), calls_before + 1));
    assert_eq!(
        read("first").await,
        served,
        "the agent must still accept the previous session token"
    );
    for _ in 0..5 {
        assert_eq!(read("wrong").await, refused);
    }
    assert_eq!(
        vendor.calls(),
        calls_before + 1,
        "wrong tokens must cause no further request for credentials"
    );
    sidekey.advance(Duration::from_secs(1));
    assert_eq!(read("wrong").await, refused);
    assert_eq!(vendor.calls(), calls_before + 2);
    vendor.set_json("500 Internal Server Error", "{}");
    sidekey.advance(Duration::from_secs(1));
    assert_eq!(read("wrong").await, refused);
    assert_eq!(
        read("second").await,
        served,
        "a known token must stay valid if the source of credentials fails"
    );
}
