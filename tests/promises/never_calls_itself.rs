//! Tests of an agent whose environment points AWS SDKs at Sidekey itself. The agent must still call
//! AWS and never itself.

use crate::port::Port;
use crate::support::agent::{Setup, Sidekey};
use crate::support::clock::ManualClock;
use crate::support::{TempFolder, eventually, fake};
use fake_aws::Fake;
use fake_aws::Operation::{AssumeRoleWithWebIdentity, GetSecretValue};
use std::sync::Arc;
use std::time::Duration;

const ROLE: &str = "arn:aws:iam::123456789012:role/app";

async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    fake
}

/// Checks that Sidekey received only `reads` reads, and this request for metrics. A call of Sidekey
/// to itself would also be counted.
async fn check_unasked(sidekey: &Sidekey, reads: f64) {
    let metrics = eventually("the connections of the test itself are closed", async || {
        let metrics = sidekey.metrics().await;
        (metrics.get("sidekey_connections") == 1.0).then_some(metrics)
    })
    .await;
    assert_eq!(metrics.sum("sidekey_reads_total"), reads);
    assert_eq!(metrics.sum("sidekey_gate_refusals_total"), 0.0);
}

/// Makes STS the agent's only source of credentials.
fn with_web_identity(setup: Setup, folder: &TempFolder) -> Setup {
    setup
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .with("AWS_ROLE_ARN", ROLE)
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", folder.write("token", "an identity").display())
}

/// Every variable that changes the endpoint of an AWS SDK contains Sidekey's own address. The agent
/// must still call the configured endpoint.
#[tokio::test]
async fn endpoint_variables_of_the_function_are_ignored() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let port = Port::reserve();
        let own = format!("http://{host}:{port}");
        let sidekey = Setup::for_fake(&fake, &clock)
            .with("SIDEKEY_PORT", &port)
            .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &own)
            .with("AWS_ENDPOINT_URL", &own)
            .with("SIDEKEY_SECRETS", "app/db")
            .start()
            .await;
        assert_eq!(sidekey.read("app/db").await.value(), "hunter2", "{own}");
        sidekey.advance(Duration::from_secs(1));
        assert_eq!(sidekey.read("app/db&refreshNow=1").await.value(), "hunter2", "{own}");
        check_unasked(&sidekey, 2.0).await;
    }
    assert_eq!(fake.calls().count(GetSecretValue), 6);
}

/// The agent calls STS at the URL in `AWS_ENDPOINT_URL_STS`, and not at the endpoint of other
/// services, which is Sidekey itself.
#[tokio::test]
async fn sts_is_never_reached_at_sidekeys_own_address() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.session_tokens().accept_only(Vec::<String>::new());
    let folder = TempFolder::new();
    let port = Port::reserve();
    let own = format!("http://127.0.0.1:{port}");
    let sidekey = with_web_identity(Setup::for_fake(&fake, &clock), &folder)
        .with("SIDEKEY_PORT", &port)
        .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &own)
        .with("AWS_ENDPOINT_URL", &own)
        .with("AWS_ENDPOINT_URL_STS", fake.url())
        .start()
        .await;
    assert_eq!(sidekey.read("app/db").await.value(), "hunter2");
    assert_eq!(fake.calls().count(AssumeRoleWithWebIdentity), 1);
    check_unasked(&sidekey, 1.0).await;
}

/// A profile contains Sidekey's own address as the endpoint of AWS. The agent must ignore it, or
/// fail at once if the profile is the only source of the STS endpoint.
#[tokio::test]
async fn endpoint_in_a_profile_is_ignored() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
    let identity = folder.write("token", "an identity").display().to_string();
    let web_identity = format!("role_arn = {ROLE}\nweb_identity_token_file = {identity}\n");
    let keys = "aws_access_key_id = AKIATESTS\naws_secret_access_key = of-these-tests\n";
    for (credentials, status, kind) in
        [(keys, 200, None), (&*web_identity, 500, Some("InternalFailure"))]
    {
        let port = Port::reserve();
        let own = format!("http://localhost:{port}");
        let profile = format!(
            "[default]\nendpoint_url = {own}\nservices = moved\n{credentials}\
             [services moved]\nsecrets_manager =\n  endpoint_url = {own}\n\
             sts =\n  endpoint_url = {own}\n"
        );
        let sidekey = Setup::for_fake(&fake, &clock)
            .with("SIDEKEY_PORT", &port)
            .with("AWS_CONFIG_FILE", folder.write("config", &profile).display())
            .without("AWS_ACCESS_KEY_ID")
            .without("AWS_SECRET_ACCESS_KEY")
            .start()
            .await;
        let answer = sidekey.read("app/db").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.json()["__type"].as_str(), kind);
        check_unasked(&sidekey, 1.0).await;
    }
    assert_eq!(fake.calls().count(GetSecretValue), 1);
}

/// The endpoint of STS is another notation of Sidekey's own address. Sidekey must notice this
/// before it sends a request.
#[tokio::test]
async fn alias_of_the_own_address_is_detected() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
    let port = Port::reserve();
    let sidekey = with_web_identity(Setup::for_fake(&fake, &clock), &folder)
        .with("SIDEKEY_PORT", &port)
        // The C library resolves `127.1` to 127.0.0.1.
        .with("AWS_ENDPOINT_URL_STS", format!("http://127.1:{port}"))
        .start()
        .await;
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind()), (500, "InternalFailure".into()));
    check_unasked(&sidekey, 1.0).await;
    assert_eq!(fake.calls().count(GetSecretValue), 0);
}

/// `SIDEKEY_ENDPOINT` contains the agent's own address by mistake. Reads fail with an error that
/// says so.
#[tokio::test]
async fn own_address_as_endpoint_is_an_error() {
    let clock = ManualClock::new();
    for host in ["127.0.0.1", "localhost", "[::1]", "127.1.2.3"] {
        let port = Port::reserve();
        let sidekey = Setup::for_endpoint(&format!("http://{host}:{port}"), &clock)
            .with("SIDEKEY_PORT", &port)
            .start()
            .await;
        let answer = sidekey.read("app/db").await;
        assert_eq!(answer.kind(), "InvalidConfigurationException", "{host}");
        assert!(answer.text().contains("Sidekey itself"), "{}", answer.text());
        check_unasked(&sidekey, 1.0).await;
    }
    let probes = Port::reserve();
    let sidekey = Setup::for_endpoint(&format!("http://127.0.0.1:{probes}"), &clock)
        .with("SIDEKEY_METRICS_LISTEN", format!("0.0.0.0:{probes}"))
        .start()
        .await;
    assert_eq!(sidekey.read("app/db").await.kind(), "InvalidConfigurationException");
    check_unasked(&sidekey, 1.0).await;
}
