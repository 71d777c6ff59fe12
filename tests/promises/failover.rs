//! Tests with a failover region: the agent reads replicas of secrets while its own region fails.
//!
//! One fake AWS server plays both regions. The region in the signature of a call decides which
//! secrets the call finds, and which faults it meets.

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN, TOKEN_HEADER};
use crate::support::client::request;
use crate::support::clock::ManualClock;
use crate::support::gateway::Gateway;
use crate::support::{eventually, fake, with_calls_timing_out};
use fake_aws::{Fake, Fault, Match};
use serde_json::Value;
use sidekey::cache::freshness::BACK_OFF_MAX;
use std::sync::Arc;
use std::time::Duration;

/// The failover region of all agents in this file.
const FAILOVER: &str = "eu-west-1";
const SECOND: Duration = Duration::from_secs(1);

/// A fake AWS server with the secret `app/db` and its replica, and a gateway that allows calls to
/// both regions.
struct Regions {
    clock: Arc<ManualClock>,
    fake: Fake,
    gateway: Gateway,
    arn: String,
}

impl Regions {
    async fn start() -> Self {
        let clock = ManualClock::new();
        let fake = fake(&clock).await;
        let arn = fake.secrets().create("app/db", "one").expect("the name must be new");
        fake.secrets().replicate("app/db", FAILOVER).expect("the secret must exist");
        let gateway = Gateway::start(&fake).await;
        Self { clock, fake, gateway, arn }
    }

    /// Returns the settings of an agent whose endpoint has the placeholder `{region}` in its path.
    fn setup(&self) -> Setup {
        Setup::for_endpoint(&self.gateway.regional_url(), &self.clock)
            .with("SIDEKEY_FAILOVER_REGION", FAILOVER)
            .with("SIDEKEY_TTL", "60s")
    }

    fn fail_home(&self, fault: Fault) {
        self.fake.faults().always(Match::region(REGION), fault);
    }

    /// Returns the number of calls in the failover region.
    fn replica_calls(&self) -> usize {
        self.gateway.regions().iter().filter(|region| *region == FAILOVER).count()
    }

    /// Returns the number of calls in the home region.
    fn home_calls(&self) -> usize {
        self.gateway.regions().iter().filter(|region| *region == REGION).count()
    }
}

/// Returns the regions of all cached entries, as the status page shows them.
async fn regions(sidekey: &Sidekey) -> Vec<String> {
    let status = sidekey.get("/status").await.json();
    let entries = status["entries"].as_array().expect("the status must list the entries");
    entries.iter().map(|entry| entry["region"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn replica_is_read_while_home_fails_and_home_replaces_it() {
    for fault in [Fault::InternalError, Fault::Throttle, Fault::Reset, Fault::Garbage] {
        let regions_of_aws = Regions::start().await;
        let sidekey = regions_of_aws.setup().start().await;
        regions_of_aws.fail_home(fault.clone());

        let answer = sidekey.read("app/db").await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("one", "miss"), "{fault:?}");
        assert_eq!(answer.header("x-sidekey-region"), Some(FAILOVER), "{fault:?}");
        assert_eq!(answer.json()["ARN"], *regions_of_aws.arn, "the ARN must be that of the secret");
        let cached = sidekey.read(&regions_of_aws.arn).await;
        assert_eq!((cached.cache(), cached.header("x-sidekey-region")), ("hit", Some(FAILOVER)));
        assert_eq!(regions(&sidekey).await, [FAILOVER]);
        let ok = "sidekey_failover_requests_total{outcome=\"ok\"}";
        assert_eq!(sidekey.metrics().await.get(ok), 1.0);
        assert_eq!(regions_of_aws.replica_calls(), 1, "{fault:?}");

        regions_of_aws.fake.faults().clear();
        regions_of_aws.fake.secrets().put("app/db", "two").expect("the secret must exist");
        sidekey.advance(BACK_OFF_MAX);
        eventually("the home region replaces the replica", async || {
            let answer = sidekey.read("app/db").await;
            let is_home = answer.header("x-sidekey-region").is_none();
            is_home.then(|| assert_eq!(answer.value(), "two"))
        })
        .await;
        assert_eq!(regions(&sidekey).await, [REGION]);
        assert_eq!(regions_of_aws.replica_calls(), 1, "{fault:?}");
    }
}

/// Callers with an AWS SDK and callers of `/v1/` get the replica's value too.
#[tokio::test]
async fn all_ways_of_reading_fail_over() {
    let regions = Regions::start().await;
    regions.fail_home(Fault::InternalError);
    for path in ["/v1/app/db", "/secretsmanager/get?secretId=app/db", "/v1/app/db?refreshNow=true"]
    {
        let sidekey = regions.setup().start().await;
        let answer = sidekey.get(path).await;
        assert_eq!((answer.status, answer.header("x-sidekey-region")), (200, Some(FAILOVER)));
    }
    let sidekey = regions.setup().start().await;
    let headers = [
        ("X-Amz-Target", "secretsmanager.GetSecretValue"),
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Security-Token", TOKEN),
    ];
    let call = request("POST", "/", &headers, r#"{"SecretId":"app/db"}"#);
    let answer = sidekey.connect().await.exchange(call).await;
    assert_eq!((answer.status, answer.header("x-sidekey-region")), (200, Some(FAILOVER)));
    assert_eq!(
        (&answer.json()["SecretString"], &answer.json()["ARN"]),
        (&Value::from("one"), &Value::from(&*regions.arn))
    );
    let body = r#"{"references":["app/db"]}"#;
    let resolved =
        sidekey.connect().await.exchange(request("POST", "/resolve", &[TOKEN_HEADER], body)).await;
    assert_eq!(resolved.status, 200, "{}", resolved.text());
    let credential = r#""value":"one""#;
    assert!(resolved.text().contains(credential), "{}", resolved.text());
    assert!(resolved.text().contains(r#""region":"eu-west-1""#), "{}", resolved.text());
}

/// A new environment starts while the home region is down: it becomes ready, with all secrets from
/// their replicas.
#[tokio::test]
async fn start_fails_over() {
    for (mode, fault, timeout) in [
        ("get", Fault::Reset, "10m"),
        ("get", Fault::Stall, "1s"),
        ("batch", Fault::InternalError, "10m"),
        ("batch", Fault::Stall, "1s"),
        ("auto", Fault::Throttle, "10m"),
    ] {
        let regions = Regions::start().await;
        let names: Vec<String> = (0..45).map(|number| format!("app/{number}")).collect();
        for name in &names {
            regions.fake.secrets().create(name, name.as_str()).expect("the name must be new");
            regions.fake.secrets().replicate(name, FAILOVER).expect("the secret must exist");
        }
        regions.fail_home(fault.clone());
        let setup = regions.setup().with("SIDEKEY_SECRETS", names.join(" "));
        let setup = setup.with("SIDEKEY_PREFETCH", mode).with("SIDEKEY_UPSTREAM_TIMEOUT", timeout);
        let stalled = || if fault == Fault::Stall { regions.home_calls() } else { 0 };
        let sidekey = with_calls_timing_out(&regions.clock, SECOND, stalled, setup.start()).await;
        assert_eq!(sidekey.get("/ready").await.status, 200, "{mode} {fault:?}");
        for name in &names {
            let answer = sidekey.read(name).await;
            assert_eq!((answer.value().as_str(), answer.cache()), (&**name, "hit"));
            assert_eq!(answer.header("x-sidekey-region"), Some(FAILOVER));
        }
        assert_eq!(regions.replica_calls(), names.len(), "{mode} {fault:?}");
        // The first 32 calls wait for the timeout at the same time. The others do not wait.
        if fault == Fault::Stall {
            let home = regions.home_calls();
            assert!(home <= 32, "{mode}: {home} calls");
        }
    }
}

#[tokio::test]
async fn refusal_of_home_is_final() {
    let regions = Regions::start().await;
    let sidekey = regions.setup().start().await;
    let faults = regions.fake.faults();
    faults.deny_secret("app/db");
    assert_eq!(sidekey.read("app/db").await.kind(), "AccessDeniedException");
    assert_eq!(sidekey.read("absent").await.kind(), "ResourceNotFoundException");
    // Home denied the secret, and only then fails.
    regions.fail_home(Fault::InternalError);
    sidekey.advance(10 * SECOND);
    let answer = sidekey.read("app/db").await;
    assert!(answer.status >= 400, "{}", answer.text());
    assert_eq!(regions.replica_calls(), 0);
}

/// Home denies access to a secret whose replica is cached. The denial counts, as for any cached
/// secret.
#[tokio::test]
async fn revocation_at_home_counts_after_a_failover() {
    let regions = Regions::start().await;
    let sidekey = regions.setup().with("SIDEKEY_DENIED_GRACE", "0s").start().await;
    regions.fail_home(Fault::InternalError);
    assert_eq!(sidekey.read("app/db").await.value(), "one");
    regions.fake.faults().clear();
    regions.fake.faults().deny_secret("app/db");
    sidekey.advance(BACK_OFF_MAX);
    eventually("the denial of the home region counts", async || {
        let answer = sidekey.read("app/db").await;
        (answer.status != 200).then(|| assert_eq!(answer.kind(), "AccessDeniedException"))
    })
    .await;
    assert_eq!(regions.replica_calls(), 1);
}

#[tokio::test]
async fn older_replica_does_not_undo_a_rotation() {
    let regions = Regions::start().await;
    let setup = regions.setup().with("SIDEKEY_STALE_IF_ERROR", "10m");
    let sidekey = setup.start().await;
    sidekey.advance(SECOND);
    regions.clock.advance(SECOND);
    regions.fake.secrets().put("app/db", "two").expect("the secret must exist");
    assert_eq!(sidekey.read("app/db").await.value(), "two");
    regions.fail_home(Fault::InternalError);
    for _ in 0..4 {
        sidekey.advance(61 * SECOND);
        let answer = sidekey.read("app/db").await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("two", "stale"));
        assert_eq!(answer.header("x-sidekey-region"), None);
    }
    assert!(regions.replica_calls() > 0);
    // The replica catches up.
    regions.fake.secrets().replicate("app/db", FAILOVER).expect("the secret must exist");
    sidekey.advance(61 * SECOND);
    eventually("the replica's value becomes fresh", async || {
        let answer = sidekey.read("app/db").await;
        assert_eq!(answer.value(), "two");
        (answer.header("x-sidekey-region") == Some(FAILOVER)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn secret_without_a_replica_fails_with_the_error_of_home() {
    let regions = Regions::start().await;
    regions.fake.secrets().remove_replica("app/db", FAILOVER).expect("the replica must exist");
    regions.fail_home(Fault::InternalError);
    let sidekey = regions.setup().with("SIDEKEY_SECRETS", "app/db").start().await;
    let answer = sidekey.read("app/db").await;
    assert_eq!(answer.kind(), "InternalServiceError");
    let status = sidekey.get("/status").await.json();
    let hint = status["missing"][0]["problem"]["hint"].as_str().unwrap_or_default().to_owned();
    assert!(hint.contains("the failover region eu-west-1 has no replica of this secret"), "{hint}");
    let missing = "sidekey_failover_requests_total{outcome=\"not_found\"}";
    assert!(sidekey.metrics().await.get(missing) > 0.0);
}

/// An agent whose AWS SDK finds the region, for example in a profile, checks the failover region at
/// its start. All other agents check it when they read their configuration.
#[tokio::test]
async fn invalid_failover_region_is_named_at_start() {
    let regions = Regions::start().await;
    for (region, expected) in [
        (REGION, "which is also the agent's own region"),
        ("cn-north-1", "in the partition aws-cn"),
        ("Ireland", "the value must be a region like eu-north-1"),
    ] {
        let mistakes = regions.setup().with("SIDEKEY_FAILOVER_REGION", region).load().mistakes;
        let text = mistakes.to_string();
        assert!(text.contains("SIDEKEY_FAILOVER_REGION") && text.contains(expected), "{text}");
    }
    let plain = Setup::for_fake(&regions.fake, &regions.clock);
    let warnings = plain.with("SIDEKEY_FAILOVER_REGION", FAILOVER).load().warnings;
    let is_named =
        |warning: &String| warning.contains("SIDEKEY_ENDPOINT does not contain {region}");
    assert!(warnings.iter().any(is_named), "{warnings:?}");
}
