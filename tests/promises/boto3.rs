//! Tests that Python functions with boto3 can call Sidekey without a change, and get the same
//! responses and exceptions as from Secrets Manager.

use crate::clients::Clients;
use crate::support::agent::{Setup, Sidekey, TOKEN};
use crate::support::boto3::{Service, call};
use crate::support::clock::ManualClock;
use crate::support::fake;
use fake_aws::Operation::{DescribeSecret, GetSecretValue};
use fake_aws::{Fake, Fault, Match};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

async fn boto3(clients: &Clients, endpoint: &str, session: Option<&str>, calls: &Value) -> Value {
    call(clients, Service::SecretsManager, endpoint, session, calls).await
}

/// Starts a fake AWS server with several secrets, and an agent that calls this server.
async fn start_agent() -> (Fake, Sidekey) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_569_534_789_046));
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    secrets.create("app/text", "the first").expect("the fake AWS server must create the secret");
    secrets.put("app/text", "a \"quoted\" <b>&ä🦀\n\u{1}").expect("the secret exists");
    secrets
        .create("app/bytes", vec![0, 255, 16, 251])
        .expect("the fake AWS server must create the secret");
    secrets
        .create("app/longest", "x\"".repeat(32_768))
        .expect("the fake AWS server must create the secret");
    for name in ["deleted", "broken", "denied"] {
        secrets.create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    secrets
        .mark_for_deletion("deleted", Duration::from_secs(7 * 86_400))
        .expect("the secret exists");
    fake.faults().break_key("broken", true);
    fake.faults().deny_secret("denied");
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    (fake, sidekey)
}

/// Makes the same boto3 calls to Sidekey and to the fake AWS server. Both must give the same
/// responses, exceptions and numbers of attempts.
#[tokio::test]
async fn calls_get_the_answers_of_secrets_manager() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let (fake, sidekey) = start_agent().await;
    let arn = fake.secrets().arn("app/text").expect("the secret exists");
    let first = fake.secrets().version_id("app/text", "AWSPREVIOUS").expect("the secret exists");
    let get = |parameters: Value| json!(["get_secret_value", parameters]);
    let batch = |ids: Value| json!(["batch_get_secret_value", {"SecretIdList": ids}]);
    let calls = json!([
        get(json!({"SecretId": "app/text"})),
        get(json!({"SecretId": arn})),
        get(json!({"SecretId": arn[..arn.len() - 7]})),
        get(json!({"SecretId": "app/text", "VersionId": first})),
        get(json!({"SecretId": "app/text", "VersionStage": "AWSPREVIOUS"})),
        get(json!({"SecretId": "app/bytes"})),
        get(json!({"SecretId": "app/longest"})),
        batch(json!(["app/bytes", "missing"])),
        get(json!({"SecretId": "missing"})),
        get(json!({"SecretId": "deleted"})),
        get(json!({"SecretId": "broken"})),
        get(json!({"SecretId": "denied"})),
        get(json!({"SecretId": "app/text", "VersionStage": "NONE"})),
        batch(json!(vec!["x"; 21])),
    ]);
    let endpoint = format!("http://{}", sidekey.address);
    let mut own = boto3(&clients, &endpoint, Some(TOKEN), &calls).await;
    let mut upstream = boto3(&clients, &fake.url(), Some("any"), &calls).await;
    // AWS's message quotes the refused ids. Sidekey's message does not, so the messages are
    // compared only in part.
    for answers in [&mut own, &mut upstream] {
        let refused = answers
            .as_array_mut()
            .expect("the JSON value must be an array")
            .last_mut()
            .expect("the batch of 21");
        let words = refused["message"].take();
        assert!(words.as_str().is_some_and(|words| words.contains("less than or equal to 20")));
    }
    assert_eq!(own, upstream);
    let exceptions: Vec<&Value> = own.as_array().expect("the JSON value must be an array")[8..]
        .iter()
        .map(|reported| &reported["error"])
        .collect();
    let expected = [
        "ResourceNotFoundException",
        "InvalidRequestException",
        "DecryptionFailure",
        "ClientError",
        "ResourceNotFoundException",
        "ClientError",
    ];
    assert_eq!(exceptions, expected);

    fake.secrets()
        .create("app/new", "hunter2")
        .expect("the fake AWS server must create the secret");
    let hundred = vec![get(json!({"SecretId": "app/new"})); 100];
    let answers = boto3(&clients, &endpoint, Some(TOKEN), &json!(hundred)).await;
    assert!(
        answers
            .as_array()
            .expect("the JSON value must be an array")
            .iter()
            .all(|reported| reported["attempts"] == 1)
    );
    assert_eq!(fake.calls().count_for(GetSecretValue, "app/new"), 1);
}

/// If Sidekey refuses a request, boto3 makes only one attempt, and raises an exception with AWS's
/// error code and Sidekey's message.
#[tokio::test]
async fn refusals_are_exceptions_that_say_what_to_do() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let (fake, sidekey) = start_agent().await;
    let endpoint = format!("http://{}", sidekey.address);
    let get = json!([["get_secret_value", {"SecretId": "app/text"}]]);
    let others = json!([
        ["put_secret_value", {"SecretId": "app/text", "SecretString": "new"}],
        ["batch_get_secret_value", {"Filters": [{"Key": "name", "Values": ["app"]}]}],
        ["get_secret_value", {"SecretId": "arn:aws:s3:::bucket"}],
    ]);
    for (session, calls, expected) in [
        (
            Some("wrong"),
            &get,
            vec![("UnrecognizedClientException", "set AWS_SESSION_TOKEN of this client")],
        ),
        (
            None,
            &get,
            vec![("UnrecognizedClientException", "static access keys have no session token")],
        ),
        (
            Some(TOKEN),
            &others,
            vec![
                ("UnsupportedOperationException", "reach AWS directly"),
                ("InvalidParameterException", "name the secrets in SecretIdList"),
                ("ValidationException", "expected 'secretsmanager' or 'ssm' at character 9"),
            ],
        ),
    ] {
        let reported = boto3(&clients, &endpoint, session, calls).await;
        for (reported, (code, words)) in
            reported.as_array().expect("the JSON value must be an array").iter().zip(expected)
        {
            assert_eq!(
                (&reported["code"], &reported["attempts"]),
                (&json!(code), &json!(1)),
                "{reported}"
            );
            assert!(
                reported["message"].as_str().is_some_and(|own| own.contains(words)),
                "{reported}"
            );
        }
    }
    assert_eq!(fake.calls().total(), 0);
    fake.faults().always(Match::any(), Fault::Throttle);
    let reported = boto3(&clients, &endpoint, Some(TOKEN), &get).await;
    assert_eq!(reported[0]["code"], "ThrottlingException");
    assert!(reported[0]["attempts"].as_u64().is_some_and(|attempts| attempts > 1), "{reported}");
    assert_eq!(
        fake.calls().count(GetSecretValue),
        1,
        "the agent must answer repeated reads with the cached error"
    );
}

/// AWS's caching library calls `DescribeSecret`. The agent answers from `GetSecretValue` calls, one
/// for each staging label, so it needs no further permission.
#[tokio::test]
async fn caching_library_of_aws_causes_one_call_for_each_label() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let (fake, sidekey) = start_agent().await;
    fake.faults().deny_operation(DescribeSecret);
    let endpoint = format!("http://{}", sidekey.address);
    let cached = json!(["cached", {"SecretId": "app/text"}]);
    let calls = json!([cached, cached, ["get_secret_value", {"SecretId": "app/text"}]]);
    let reported = boto3(&clients, &endpoint, Some(TOKEN), &calls).await;
    assert_eq!(
        (&reported[0], &reported[1]),
        (&reported[2]["answer"]["SecretString"], &reported[0])
    );
    assert_eq!(fake.calls().total(), 3);
    let before = reported[0].clone();
    fake.secrets().put("app/text", "the newest").expect("the secret exists");
    sidekey.advance(Duration::from_secs(301));
    let previous = json!(["cached", {"SecretId": "app/text", "VersionStage": "AWSPREVIOUS"}]);
    let calls = json!([previous, cached]);
    let reported = boto3(&clients, &endpoint, Some(TOKEN), &calls).await;
    assert_eq!((&reported[0], &reported[1]), (&before, &json!("the newest")));
    assert_eq!(fake.calls().count(DescribeSecret), 0);
}
