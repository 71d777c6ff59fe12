//! Tests of the prefetch, which caches the configured secrets before the first read. The agent
//! recovers from every failure of the prefetch.

use crate::support::agent::{REGION, Setup, Sidekey, TOKEN_HEADER, read_request};
use crate::support::client::get;
use crate::support::clock::ManualClock;
use crate::support::gateway::Gateway;
use crate::support::{eventually, fake, with_timeout};
use fake_aws::Operation::{BatchGetSecretValue, GetSecretValue};
use fake_aws::{Fake, Fault, Location, Match};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Starts a fake AWS server with `count` secrets. Returns the server and the names of the secrets.
async fn start_fake(clock: &Arc<ManualClock>, count: usize) -> (Fake, Vec<String>) {
    let fake = fake(clock).await;
    let names: Vec<String> = (0..count).map(|number| format!("app/{number}")).collect();
    for name in &names {
        fake.secrets()
            .create(name, name.as_str())
            .expect("the fake AWS server must create the secret");
    }
    (fake, names)
}

/// Returns the numbers of `BatchGetSecretValue` and `GetSecretValue` calls that the fake AWS server
/// received.
fn calls(fake: &Fake) -> (u64, u64) {
    (fake.calls().count(BatchGetSecretValue), fake.calls().count(GetSecretValue))
}

/// Checks that a read of each secret in `names` returns the right value from the cache.
async fn check_cached(sidekey: &Sidekey, names: &[String]) {
    for name in names {
        let answer = sidekey.read(name).await;
        assert_eq!((answer.value().as_str(), answer.cache()), (&**name, "hit"));
    }
}

/// The prefetch makes one call for each secret, or one batch call for up to twenty secrets.
#[tokio::test]
async fn every_listed_secret_is_cached() {
    for (mode, count, expected) in [
        ("get", 25, (0, 25)),
        ("batch", 25, (2, 0)),
        ("batch", 20, (1, 0)),
        ("batch", 1, (1, 0)),
        ("auto", 5, (0, 5)),
        ("auto", 6, (1, 0)),
        ("auto", 25, (2, 0)),
        ("auto", 0, (0, 0)),
    ] {
        let clock = ManualClock::new();
        let (fake, names) = start_fake(&clock, count).await;
        let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_PREFETCH", mode);
        let sidekey = setup.with("SIDEKEY_SECRETS", names.join(" ")).start().await;
        assert_eq!(
            calls(&fake),
            expected,
            "the prefetch made wrong calls, in mode {mode} with {count} secrets"
        );
        check_cached(&sidekey, &names).await;
        assert_eq!(
            calls(&fake),
            expected,
            "a read must cause no call, in mode {mode} with {count} secrets"
        );
        assert_eq!(sidekey.get("/ready").await.status, 200);
    }
}

/// A batch call fails as a whole. The agent then fetches its secrets by single calls, and in the
/// mode `auto` makes no further batch calls.
#[tokio::test]
async fn failed_batch_falls_back_to_single_calls() {
    type Break = fn(&Fake);
    let cases: [(&str, Break); 5] = [
        ("denied", |fake| fake.faults().deny_operation(BatchGetSecretValue)),
        ("throttled", |fake| {
            fake.faults().always(Match::operation(BatchGetSecretValue), Fault::Throttle);
        }),
        ("garbage", |fake| {
            fake.faults().always(Match::operation(BatchGetSecretValue), Fault::Garbage);
        }),
        ("reset", |fake| {
            fake.faults().always(Match::operation(BatchGetSecretValue), Fault::Reset);
        }),
        ("unknown", |fake| {
            let fault = Fault::Error {
                status: 400,
                kind: "UnknownOperationException".to_owned(),
                message: String::new(),
            };
            fake.faults().always(Match::operation(BatchGetSecretValue), fault);
        }),
    ];
    for (what, break_it) in cases {
        for (mode, expected) in [("batch", (2, 25)), ("auto", (1, 25))] {
            let clock = ManualClock::new();
            let (fake, names) = start_fake(&clock, 25).await;
            break_it(&fake);
            let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_PREFETCH", mode);
            let sidekey = setup.with("SIDEKEY_SECRETS", names.join(",")).start().await;
            assert_eq!(calls(&fake), expected, "{what}, {mode}");
            check_cached(&sidekey, &names).await;
        }
    }
}

/// With some IAM policies, one denied secret makes a batch call fail. The agent must still cache
/// all other secrets.
#[tokio::test]
async fn one_denied_secret_does_not_fail_the_others() {
    for (fails_whole, expected) in [(true, (1, 8)), (false, (1, 0))] {
        let clock = ManualClock::new();
        let (fake, mut names) = start_fake(&clock, 8).await;
        fake.faults().deny_secret("app/3");
        fake.faults().batch_fails_on_denied(fails_whole);
        let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_PREFETCH", "auto");
        let sidekey = setup.with("SIDEKEY_SECRETS", names.join(",")).start().await;
        assert_eq!(
            calls(&fake),
            expected,
            "wrong calls, if a denied secret fails the whole batch: {fails_whole}"
        );
        names.remove(3);
        check_cached(&sidekey, &names).await;
        let missing = sidekey.get("/status").await.json()["missing"].clone();
        assert_eq!(missing[0]["reference"], "app/3");
        assert_eq!(missing[0]["problem"]["code"], "AccessDeniedException");
        assert_eq!(missing.as_array().map(Vec::len), Some(1));
    }
}

/// A batch call can fetch only current versions in one region. The agent therefore fetches old
/// versions and secrets of other regions by single calls.
#[tokio::test]
async fn secrets_unsuited_to_a_batch_are_fetched_alone() {
    let clock = ManualClock::new();
    let (fake, names) = start_fake(&clock, 6).await;
    let secrets = fake.secrets();
    let arn = secrets.arn("app/0").expect("the secret exists");
    let first = secrets.version_id("app/0", "AWSCURRENT").expect("the secret exists");
    let stage = secrets.arn("app/1").expect("the secret exists");
    for name in ["app/0", "app/1"] {
        secrets.put(name, name).expect("the secret exists");
    }
    let abroad = Location::new("123456789012", "us-east-1");
    let abroad = secrets
        .create_in(&abroad, "abroad", "abroad")
        .expect("the fake AWS server must create the secret");
    let gateway = Gateway::start(&fake).await;
    let list = format!(
        "{}, {arn}:::{first} {stage}::AWSPREVIOUS: {abroad}#field missing",
        names.join(",")
    );
    let setup =
        Setup::for_endpoint(&gateway.regional_url(), &clock).with("SIDEKEY_PREFETCH", "batch");
    let sidekey = setup.with("SIDEKEY_SECRETS", list).start().await;
    assert_eq!(calls(&fake), (1, 3));
    assert_eq!(gateway.regions().iter().filter(|region| *region != REGION).count(), 1);
    check_cached(&sidekey, &names).await;
    for id in [&*format!("{arn}&versionId={first}"), &format!("{stage}&versionStage=AWSPREVIOUS")] {
        assert_eq!(sidekey.read(id).await.cache(), "hit", "{id}");
    }
    let answer = sidekey.read(&abroad).await;
    assert_eq!((answer.value().as_str(), answer.cache()), ("abroad", "hit"));
    let missing = sidekey.get("/status").await.json()["missing"][0]["problem"]["code"].clone();
    assert_eq!(missing, "ResourceNotFoundException");
    assert_eq!(calls(&fake), (1, 3));
}

/// `/ready` returns status 503 with the number of missing secrets, until all configured secrets are
/// cached. Only callers with the token get the names of the secrets.
#[tokio::test]
async fn readiness_counts_missing_secrets() {
    let clock = ManualClock::new();
    let (fake, names) = start_fake(&clock, 3).await;
    let gateway = Gateway::start(&fake).await;
    gateway.hold();
    let setup = Setup::for_endpoint(&gateway.url(), &clock);
    let sidekey = setup.with("SIDEKEY_SECRETS", names.join(",")).launch().await;
    let ask = async |headers: &[_]| sidekey.connect().await.exchange(get("/ready", headers)).await;
    let unready = ask(&[]).await;
    let body = json!({"ready": false, "listed_missing": 3});
    assert_eq!((unready.status, unready.json()), (503, body));
    let trusted = ask(&[TOKEN_HEADER]).await;
    assert_eq!((trusted.status, &trusted.json()["missing"]), (503, &json!(names)));
    let distrusted = ask(&[(TOKEN_HEADER.0, "wrong")]).await;
    assert_eq!((distrusted.status, distrusted.json()["missing"].is_null()), (503, true));
    assert_eq!(sidekey.metrics().await.get("sidekey_listed_missing"), 3.0);

    let mut reader = sidekey.connect().await;
    reader.send(read_request("app/1")).await;
    eventually("the read waits for the prefetch", async || {
        (sidekey.metrics().await.get("sidekey_flights_joined_total") == 1.0).then_some(())
    })
    .await;
    gateway.release();
    assert_eq!(reader.receive().await.value(), "app/1");
    with_timeout("the prefetch", sidekey.agent.prefetched())
        .await
        .expect("the prefetch must report its outcome");
    let ready = ask(&[]).await;
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "listed_missing": 0})));
    assert_eq!(calls(&fake), (0, 3));
}

/// The start of the agent waits for the prefetch at most for `SIDEKEY_PREFETCH_DEADLINE`. Secrets
/// that arrive later are still cached.
#[tokio::test]
async fn start_waits_no_longer_than_the_prefetch_deadline() {
    let clock = ManualClock::new();
    let (fake, names) = start_fake(&clock, 2).await;
    let gateway = Gateway::start(&fake).await;
    gateway.hold();
    let setup = Setup::for_endpoint(&gateway.url(), &clock).with("SIDEKEY_PREFETCH_DEADLINE", "3s");
    let sidekey = setup.with("SIDEKEY_SECRETS", names.join(",")).launch().await;
    eventually("AWS has received both calls", async || {
        (gateway.regions().len() == 2).then_some(())
    })
    .await;
    sidekey.advance(Duration::from_secs(3));
    let report = with_timeout("the prefetch ends at its deadline", sidekey.agent.prefetched())
        .await
        .expect("the prefetch must report its outcome");
    assert_eq!((report.listed, report.missing.len(), report.is_settled), (2, 2, false));
    assert_eq!(sidekey.get("/ready").await.status, 503);
    gateway.release();
    eventually("both secrets are cached", async || {
        (sidekey.get("/ready").await.status == 200).then_some(())
    })
    .await;
    check_cached(&sidekey, &names).await;
}

/// AWS is unreachable during the prefetch. The agent caches all configured secrets soon after AWS
/// is reachable again, without any read.
#[tokio::test]
async fn failed_prefetch_is_retried() {
    for mode in ["get", "batch", "auto"] {
        let clock = ManualClock::new();
        let (fake, names) = start_fake(&clock, 7).await;
        fake.pause().await.expect("the listener must stop without an error");
        let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_PREFETCH", mode);
        let sidekey = setup.with("SIDEKEY_SECRETS", names.join(",")).start().await;
        let ready = sidekey.get("/ready").await;
        assert_eq!((ready.status, &ready.json()["listed_missing"]), (503, &json!(7)), "{mode}");
        let answer = sidekey.read("app/1").await;
        assert_eq!((answer.status, answer.kind().as_str()), (502, "ConnectionError"), "{mode}");

        fake.resume().await.expect("no other process may take the reserved port");
        eventually("all secrets are cached", async || {
            sidekey.advance(Duration::from_secs(31));
            (sidekey.get("/ready").await.status == 200).then_some(())
        })
        .await;
        check_cached(&sidekey, &names).await;
    }
}
