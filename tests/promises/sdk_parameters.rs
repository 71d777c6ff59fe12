//! Tests that programs with AWS's SDK for Rust can read parameters through Sidekey without a change,
//! and get the same responses and errors as from AWS.

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::fake;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ssm::error::ProvideErrorMetadata;
use fake_aws::Operation::{GetParameter, GetParameters, GetParametersByPath};
use fake_aws::{Fake, Fault, Match, ParameterValue};
use std::time::{Duration, UNIX_EPOCH};

/// The maximum number of attempts that the SDK makes.
const ATTEMPTS_MAX: u32 = 3;

/// Returns an SDK client that calls `endpoint`. Its pause between two attempts is shorter than by
/// default.
fn sdk(endpoint: &str) -> Client {
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(Duration::from_millis(1));
    let config = aws_sdk_ssm::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(
            "AKIATESTS",
            "key",
            Some(TOKEN.to_owned()),
            None,
            "tests",
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(retries)
        .build();
    Client::from_conf(config)
}

/// Starts a fake AWS server with several parameters, and an agent that calls this server.
async fn start_agent() -> (Fake, Sidekey, Client) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_569_534_789_046));
    let fake = fake(&clock).await;
    let parameters = fake.parameters();
    let put = |name: &str, value: ParameterValue| {
        parameters.put(name, value).expect("the name must be valid");
    };
    put("/app/url", "one".into());
    put("/app/url", "a \"quoted\" <b>&ä🦀\n\u{1}".into());
    parameters.move_label("/app/url", "live", 1).expect("the version must exist");
    put("/app/hosts", ParameterValue::list(["a", "b"]));
    put("/app/password", ParameterValue::secure("hunter2"));
    for number in 10..22 {
        put(&format!("/many/{number}"), "x".into());
    }
    for name in ["/denied", "/throttled"] {
        put(name, "hunter2".into());
    }
    fake.faults().deny_parameter("/denied");
    fake.faults().always(Match::parameter("/throttled"), Fault::Throttle);
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let own = sdk(&format!("http://{}", sidekey.address));
    (fake, sidekey, own)
}

#[tokio::test]
async fn answers_equal_those_of_parameter_store() {
    let (fake, _sidekey, own) = start_agent().await;
    let direct = sdk(&fake.url());
    let arn = fake.parameters().arn("/app/url").expect("the parameter must exist");
    for (name, is_decrypted) in [
        ("/app/url", true),
        (&*arn, true),
        ("/app/url:1", true),
        ("/app/url:live", true),
        ("/app/hosts", false),
        ("/app/password", true),
        ("/app/password", false),
    ] {
        let ask = async |client: &Client| {
            let call = client.get_parameter().name(name).with_decryption(is_decrypted);
            call.send().await.expect("the read must succeed").parameter
        };
        assert_eq!(ask(&own).await, ask(&direct).await, "{name} {is_decrypted}");
    }
    let names = ["/absent", "/app/password", "/app/url"].map(str::to_owned).to_vec();
    let ask = async |client: &Client| {
        let call = client.get_parameters().set_names(Some(names.clone())).with_decryption(true);
        let answer = call.send().await.expect("the read must succeed");
        (answer.parameters, answer.invalid_parameters)
    };
    assert_eq!(ask(&own).await, ask(&direct).await);
    let list = async |client: &Client| {
        let mut pages = client.get_parameters_by_path().path("/many").into_paginator().send();
        let mut lengths = Vec::new();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.expect("the read must succeed").parameters.unwrap_or_default();
            lengths.push(page.len());
            all.extend(page);
        }
        assert_eq!(lengths, [10, 2]);
        all
    };
    assert_eq!(list(&own).await, list(&direct).await);
}

#[tokio::test]
async fn hundred_reads_cause_one_call() {
    let (fake, sidekey, own) = start_agent().await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let call = own.get_parameter().name("/app/hosts");
        readers.spawn(async move { call.send().await.expect("the read must succeed").parameter });
    }
    while let Some(read) = readers.join_next().await {
        let parameter = read.expect("the task that reads must not panic");
        assert_eq!(parameter.and_then(|it| it.value).as_deref(), Some("a,b"));
    }
    let calls = [GetParameter, GetParameters, GetParametersByPath].map(|it| fake.calls().count(it));
    assert_eq!(calls.iter().sum::<u64>(), 1);
    assert_eq!(sidekey.metrics().await.sum("sidekey_reads_total"), 100.0);
}

/// The SDK finds its own error types, and retries only throttled calls.
#[tokio::test]
async fn errors_are_those_of_the_sdk() {
    let (_fake, sidekey, own) = start_agent().await;
    for (name, code, attempts) in [
        ("/absent", "ParameterNotFound", 1),
        ("/app/url:9", "ParameterVersionNotFound", 1),
        ("/app/url:none", "ParameterVersionNotFound", 1),
        ("/denied", "AccessDeniedException", 1),
        ("/throttled", "ThrottlingException", ATTEMPTS_MAX),
    ] {
        let before = sidekey.metrics().await.sum("sidekey_reads_total");
        let error = own.get_parameter().name(name).send().await.expect_err("the read must fail");
        let error = error.into_service_error();
        assert_eq!(error.code(), Some(code), "{error:?}");
        assert_eq!(error.is_parameter_not_found(), code == "ParameterNotFound", "{error:?}");
        let is_version = error.is_parameter_version_not_found();
        assert_eq!(is_version, code == "ParameterVersionNotFound", "{error:?}");
        let requests = sidekey.metrics().await.sum("sidekey_reads_total") - before;
        assert_eq!(requests, f64::from(attempts), "{name}");
    }
    let put = own.put_parameter().name("/app/url").value("new").send().await;
    let error = put.expect_err("Sidekey must refuse the operation").into_service_error();
    assert_eq!(error.code(), Some("UnsupportedOperationException"), "{error:?}");
}
