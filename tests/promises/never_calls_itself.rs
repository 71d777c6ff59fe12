//! The function's variables point its own SDK at Sidekey, and Sidekey inherits them: it still calls
//! its own upstream, and never itself.

use crate::port::Port;
use crate::support::agent::{Setup, Sidekey};
use crate::support::clock::ManualClock;
use crate::support::{Folder, eventually, fake};
use fake_aws::Fake;
use fake_aws::Operation::{AssumeRoleWithWebIdentity, GetSecretValue};
use std::sync::Arc;
use std::time::Duration;

const ROLE: &str = "arn:aws:iam::123456789012:role/app";

async fn upstream(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    fake.secrets().create("app/db", "hunter2").expect("a new name");
    fake
}

/// Checks that nobody asked Sidekey anything but `reads` reads and this page: whatever Sidekey had
/// sent itself would be counted as a read or as a refusal, and its connection be open.
async fn check_unasked(sidekey: &Sidekey, reads: f64) {
    let metrics = eventually("the test's own connections end", async || {
        let metrics = sidekey.metrics().await;
        (metrics.get("sidekey_connections") == 1.0).then_some(metrics)
    })
    .await;
    assert_eq!(metrics.sum("sidekey_reads_total"), reads);
    assert_eq!(metrics.sum("sidekey_gate_refusals_total"), 0.0);
}

/// Has credentials got from STS, and from nowhere else.
fn with_web_identity(setup: Setup, folder: &Folder) -> Setup {
    setup
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .with("AWS_ROLE_ARN", ROLE)
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", folder.write("token", "an identity").display())
}

/// With every variable that moves an SDK's endpoint set to Sidekey's own address, in each way to
/// write it, a read is answered from Sidekey's own upstream.
#[tokio::test]
async fn endpoint_variables_of_the_function_are_ignored() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let port = Port::reserve();
        let own = format!("http://{host}:{port}");
        let sidekey = Setup::of(&fake, &clock)
            .with("SIDEKEY_PORT", &port)
            .with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &own)
            .with("AWS_ENDPOINT_URL", &own)
            .with("SIDEKEY_SECRETS", "app/db")
            .start()
            .await;
        assert_eq!(sidekey.read("app/db").await.value(), "hunter2", "{own}");
        sidekey.pass(Duration::from_secs(1));
        assert_eq!(sidekey.read("app/db&refreshNow=1").await.value(), "hunter2", "{own}");
        check_unasked(&sidekey, 2.0).await;
    }
    assert_eq!(fake.calls().count(GetSecretValue), 6);
}

/// Credentials for a web identity come from STS, whose endpoint the same variables would move to
/// Sidekey: it is asked where its own variable says, and signs with what it answered.
#[tokio::test]
async fn sts_is_never_reached_at_sidekeys_own_address() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    fake.session_tokens().accept_only(Vec::<String>::new());
    let folder = Folder::new();
    let port = Port::reserve();
    let own = format!("http://127.0.0.1:{port}");
    let sidekey = with_web_identity(Setup::of(&fake, &clock), &folder)
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

/// A profile can hold the function's endpoint as well. Secrets are read from Sidekey's own upstream
/// all the same; where only the profile says where STS is, and says Sidekey, the read fails with a
/// typed error at once.
#[tokio::test]
async fn endpoint_in_a_profile_is_ignored() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let folder = Folder::new();
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
        let sidekey = Setup::of(&fake, &clock)
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

/// A name may lead to Sidekey without looking like it: it is known once the connection is there,
/// before anything is said over it.
#[tokio::test]
async fn alias_of_the_own_address_is_detected() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let folder = Folder::new();
    let port = Port::reserve();
    let sidekey = with_web_identity(Setup::of(&fake, &clock), &folder)
        .with("SIDEKEY_PORT", &port)
        // The C library reads this as 127.0.0.1.
        .with("AWS_ENDPOINT_URL_STS", format!("http://127.1:{port}"))
        .start()
        .await;
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind()), (500, "InternalFailure".into()));
    check_unasked(&sidekey, 1.0).await;
    assert_eq!(fake.calls().count(GetSecretValue), 0);
}

/// Even `SIDEKEY_ENDPOINT` may be Sidekey's own address by mistake, or that of its probes: a read
/// fails with an error that says so, and no call is made.
#[tokio::test]
async fn own_address_as_endpoint_is_an_error() {
    let clock = ManualClock::new();
    for host in ["127.0.0.1", "localhost", "[::1]", "127.1.2.3"] {
        let port = Port::reserve();
        let sidekey = Setup::at(&format!("http://{host}:{port}"), &clock)
            .with("SIDEKEY_PORT", &port)
            .start()
            .await;
        let answer = sidekey.read("app/db").await;
        assert_eq!(answer.kind(), "InvalidConfigurationException", "{host}");
        assert!(answer.text().contains("Sidekey itself"), "{}", answer.text());
        check_unasked(&sidekey, 1.0).await;
    }
    let probes = Port::reserve();
    let sidekey = Setup::at(&format!("http://127.0.0.1:{probes}"), &clock)
        .with("SIDEKEY_METRICS_LISTEN", format!("0.0.0.0:{probes}"))
        .start()
        .await;
    assert_eq!(sidekey.read("app/db").await.kind(), "InvalidConfigurationException");
    check_unasked(&sidekey, 1.0).await;
}
