//! Tests that callers of AWS's Parameters and Secrets Lambda Extension can call Sidekey without a
//! change.

use crate::support::agent::{Setup, Sidekey, TOKEN_HEADER, read_path};
use crate::support::client::{Answer, get, request};
use crate::support::clock::ManualClock;
use crate::support::fake;
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Match};
use std::time::{Duration, UNIX_EPOCH};

const FAILED: &str = "an unexpected error occurred while executing request: ";

/// Starts a fake AWS server, and an agent with the environment variables `vars`, at a fixed time.
async fn start_agent(vars: &[(&str, &str)]) -> (Fake, Sidekey) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_668_586_960_499));
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    secrets
        .create("app/db", r#"{"user":"<ann> & co"}"#)
        .expect("the fake AWS server must create the secret");
    secrets
        .create("app/bytes", vec![0, 255, 16])
        .expect("the fake AWS server must create the secret");
    let setup =
        Setup::for_fake(&fake, &clock).with("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "INFO");
    let setup = vars.iter().fold(setup, |setup, (name, value)| setup.with(name, value));
    (fake, setup.start().await)
}

/// Compares response bodies with those of AWS's Lambda extension, for reads by name, by ARN and
/// with unknown query parameters.
#[tokio::test]
async fn bodies_equal_those_of_awss_extension() {
    let (fake, sidekey) = start_agent(&[]).await;
    for (name, value) in [
        (
            "app/db",
            r#""SecretBinary":null,"SecretString":"{\"user\":\"\u003cann\u003e \u0026 co\"}""#,
        ),
        ("app/bytes", r#""SecretBinary":"AP8Q","SecretString":null"#),
    ] {
        let arn = fake.secrets().arn(name).expect("the secret exists");
        let id = fake.secrets().version_id(name, "AWSCURRENT").expect("the secret exists");
        let expected = format!(
            r#"{{"ARN":"{arn}","CreatedDate":"2022-11-16T08:22:40.499Z","Name":"{name}",{value},"VersionId":"{id}","VersionStages":["AWSCURRENT"],"ResultMetadata":{{}}}}"#
        );
        for query in [
            name.to_owned(),
            name.replace('/', "%2F"),
            arn.replace(':', "%3A"),
            format!("{name}&versionStage=AWSCURRENT"),
            format!("{name}&versionId={id}"),
            format!("{name}&withDecryption=true&secretid=x&%FF=%FF"),
        ] {
            let answer = sidekey.read(&query).await;
            assert_eq!((answer.status, answer.text()), (200, &*expected), "{query}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        assert_eq!(sidekey.get(&format!("/v1/{name}")).await.text(), expected);
    }
    let field = sidekey.read("app/db%23user").await;
    assert_eq!((field.status, field.text()), (200, "<ann> & co"));
}

/// Checks the HTTP status and the error type of an error response, and the beginning of its text.
#[track_caller]
fn assert_error(answer: &Answer, status: u16, kind: &str, text: &str) {
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (status, Some(kind)));
    assert!(answer.text().starts_with(text), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
}

/// Error responses have the format of AWS's Lambda extension: plain text, with the error type in a
/// header. Sidekey adds the cause of the error to the text.
#[tokio::test]
async fn errors_equal_those_of_awss_extension_plus_the_cause() {
    let (fake, sidekey) = start_agent(&[("SIDEKEY_ALLOW", "app/*")]).await;
    fake.secrets()
        .create("app/denied", "hunter2")
        .expect("the fake AWS server must create the secret");
    fake.faults().deny_secret("app/denied");
    let ask = async |sent: String| sidekey.connect().await.exchange(sent).await;
    let path = read_path("app/db");
    for headers in [vec![], vec![(TOKEN_HEADER.0, "wrong")]] {
        let answer = ask(get(&path, &headers)).await;
        assert_error(&answer, 401, "AccessDeniedException", "bad session token or header key");
        assert_eq!(answer.text().len(), "bad session token or header key".len());
    }
    let arn = fake.secrets().arn("app/db").expect("the secret exists");
    for (id, kind, cause) in [
        ("app/missing", "ResourceNotFoundException", "Secrets Manager can't find"),
        ("app/denied", "AccessDeniedException", ""),
        ("other", "AccessDeniedException", "Sidekey refused this read"),
        ("", "ValidationException", "missing parameter secretId"),
        (
            "app/db%23",
            "ValidationException",
            "secretId: expected a field's name after the '#' at character 7",
        ),
        (
            "arn:aws:s3:::x",
            "ValidationException",
            "secretId: expected 'secretsmanager' or 'ssm' at character 9",
        ),
        (
            &*format!("{arn}:a:b:c:d"),
            "ValidationException",
            "secretId: expected only FIELD:STAGE:VERSION_ID",
        ),
        (
            &*format!("{arn}:user::&field=user"),
            "ValidationException",
            "secretId: the field at character",
        ),
        (
            "app/db%23nope",
            "FieldNotFoundException",
            "the secret has no field 'nope'; it has 'user'",
        ),
        ("app/db&refreshNow=maybe", "ValidationException", "invalid refreshNow value"),
        ("app/db&roleArn=app", "ValidationException", "invalid roleArn format, expected arn:"),
    ] {
        let answer = sidekey.read(id).await;
        assert_error(&answer, 400, kind, &format!("{FAILED}{kind}: {cause}"));
        assert!(answer.text().ends_with(')'), "a hint: {}", answer.text());
    }
    for (sent, status, kind) in [
        (get(&path, &[TOKEN_HEADER, ("Origin", "null")]), 400, "ForbiddenException"),
        (get(&path, &[TOKEN_HEADER, ("X-Forwarded-For", "x")]), 400, "ForbiddenException"),
        (request("GET", &path, &[TOKEN_HEADER], &"x".repeat(65_537)), 400, "BadRequestException"),
        (request("POST", &path, &[TOKEN_HEADER], "{}"), 405, "MethodNotAllowedException"),
        (get("/nowhere", &[TOKEN_HEADER]), 404, "NotFoundException"),
    ] {
        assert_error(&ask(sent).await, status, kind, FAILED);
    }
    let many: Vec<(&str, &str)> = [("X-Many", "x")].repeat(128);
    let too_many = format!("{FAILED}BadRequestException: the request has more than 128 headers");
    assert_error(&ask(get(&path, &many)).await, 400, "BadRequestException", &too_many);
}

#[tokio::test]
async fn cached_value_is_served_during_a_failure() {
    let (fake, sidekey) = start_agent(&[("SECRETS_MANAGER_TTL", "10")]).await;
    fake.faults().always(Match::any(), Fault::Throttle);
    assert_error(&sidekey.read("app/db").await, 400, "ThrottlingException", FAILED);
    fake.faults().clear();
    sidekey.advance(Duration::from_secs(60));
    assert_eq!(sidekey.read("app/db").await.status, 200);
    fake.faults().always(Match::any(), Fault::Throttle);
    sidekey.advance(Duration::from_secs(11));
    let stale = sidekey.read("app/db").await;
    assert_eq!((stale.status, stale.cache()), (200, "stale"));
}

#[tokio::test]
async fn variables_of_awss_extension_are_honoured() {
    for (name, value, calls) in [
        ("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED", "FALSE", 3),
        ("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "0", 3),
        ("SECRETS_MANAGER_TTL", "0", 3),
        ("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED", "TRUE", 1),
        ("SECRETS_MANAGER_TTL", "300", 1),
    ] {
        let (fake, sidekey) = start_agent(&[(name, value)]).await;
        for _ in 0..3 {
            assert_eq!(sidekey.read("app/db").await.status, 200);
        }
        assert_eq!(fake.calls().count(GetSecretValue), calls, "{name}={value}");
    }
}

/// `SIDEKEY_DIALECT` selects the API that Sidekey imitates, even if variables of AWS's Lambda
/// extension are set.
#[tokio::test]
async fn dialect_can_be_chosen() {
    let (_fake, sidekey) = start_agent(&[("SIDEKEY_DIALECT", "agent")]).await;
    assert_eq!(sidekey.read("app/db").await.json()["CreatedDate"], "1668586960.499");
    let answer = sidekey.connect().await.exchange(get(&read_path("app/db"), &[])).await;
    assert_eq!((answer.status, answer.text()), (403, "Bad Token"));
    let status = sidekey.get("/status").await.json();
    assert_eq!(status["dialect"], "agent");
}
