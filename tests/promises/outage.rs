//! Tests in which AWS fails for longer than the TTL. The agent serves cached values, marked as
//! stale, up to a limit, and new values soon after AWS answers again.

use crate::support::agent::{Setup, Sidekey, read_request};
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake, with_calls_timing_out};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Match};
use sidekey::cache::freshness::FAILING_MAX;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);

/// The setting `SIDEKEY_STALE_IF_ERROR` of one of the two agents: how long it serves a value after
/// the TTL.
const STALE_IF_ERROR: Duration = Duration::from_secs(300);

/// The ages of the cached value at which the tests read it. The intervals are longer than every
/// back-off, the pause after a failed call to AWS.
const AGES: [Duration; 4] =
    [TTL, Duration::from_secs(130), Duration::from_secs(240), Duration::from_secs(359)];

/// The reason why all calls to the fake AWS server fail.
#[derive(Clone, Debug)]
enum Outage {
    Fault(Fault),
    /// AWS throttles every call.
    Throttled,
    /// AWS's responses are valid, but arrive after the timeout.
    Late,
    /// AWS accepts no connections.
    Refused,
}

impl Outage {
    async fn begin(&self, fake: &Fake) {
        match self {
            Self::Fault(fault) => fake.faults().always(Match::any(), fault.clone()),
            Self::Throttled => fake.faults().throttle_above(0),
            Self::Late => fake.faults().set_latency(Duration::from_secs(600)),
            Self::Refused => fake.pause().await.expect("the listener must stop without an error"),
        }
    }

    async fn end(&self, fake: &Fake) {
        match self {
            Self::Fault(_) | Self::Throttled | Self::Late => fake.faults().clear(),
            Self::Refused => {
                fake.resume().await.expect("no other process may take the reserved port")
            }
        }
    }

    /// Returns whether AWS receives calls, but sends no complete response before the timeout.
    fn is_silent(&self) -> bool {
        matches!(self, Self::Late | Self::Fault(Fault::Stall | Fault::Drip(_)))
    }
}

/// The timeout of a call to AWS. It is so short that the ages of values, in seconds, stay the same.
const UPSTREAM_TIMEOUT: Duration = Duration::from_millis(10);

/// The same as [`UPSTREAM_TIMEOUT`], as a setting.
const UPSTREAM_TIMEOUT_SETTING: &str = "10ms";

/// The number of reads at each age.
const READERS: u16 = 20;

/// Reads the secret several times. Each read must return the cached value, marked as stale. Only
/// the first read may wait for a call to AWS.
async fn serves_stale_value(sidekey: &Sidekey, age: Duration, outage: &Outage) {
    let mut connection = sidekey.connect().await;
    let mut read = async || {
        let answer = connection.exchange(read_request("app/db")).await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"), "{outage:?}");
        assert_eq!(answer.header("age"), Some(&*age.as_secs().to_string()), "{outage:?}");
    };
    read().await;
    wait_until_idle(sidekey).await;
    let before = sidekey.metrics().await;
    for _ in 1..READERS {
        read().await;
    }
    let after = sidekey.metrics().await;
    assert_eq!(after.since(&before, "sidekey_upstream_requests_total"), [], "{outage:?}");
    assert_eq!(after.since(&before, "sidekey_flights_joined_total"), [], "{outage:?}");
}

/// Waits until no call to AWS is in progress, because a call that began during the outage still
/// fails.
async fn wait_until_idle(sidekey: &Sidekey) {
    eventually("no call is in progress", async || {
        (sidekey.agent.status().flights == 0).then_some(())
    })
    .await;
}

/// Checks that a read returns the new value of the secret.
async fn serves_new_value(sidekey: &Sidekey, outage: &Outage) {
    let answer = sidekey.read("app/db").await;
    assert_eq!(answer.value(), "new", "{outage:?}");
    assert!(["hit", "miss"].contains(&answer.cache()), "{outage:?}: {}", answer.cache());
}

/// Runs one outage with two agents. Failed calls must be counted as `outcome`. Readers without a
/// cached value must get an error with `status` and `kind`.
async fn survives(outage: Outage, outcome: &str, status: u16, kind: &str) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_SECRETS", "app/db")
        .with("SIDEKEY_TTL", format!("{}s", TTL.as_secs()))
        .with("SIDEKEY_UPSTREAM_TIMEOUT", UPSTREAM_TIMEOUT_SETTING);
    let lenient = setup.clone().start().await;
    let stale_if_error = format!("{}s", STALE_IF_ERROR.as_secs());
    let strict = setup.with("SIDEKEY_STALE_IF_ERROR", stale_if_error).start().await;
    for sidekey in [&lenient, &strict] {
        assert_eq!(
            sidekey.read("app/db").await.cache(),
            "hit",
            "the prefetch must have cached the secret"
        );
    }
    let before = [lenient.metrics().await, strict.metrics().await];
    fake.secrets().put("app/db", "new").expect("the secret exists");
    outage.begin(&fake).await;

    let during = async {
        let mut age = Duration::ZERO;
        for next in AGES {
            clock.advance(next - age);
            age = next;
            tokio::join!(
                serves_stale_value(&lenient, age, &outage),
                serves_stale_value(&strict, age, &outage)
            );
        }
        // The strict agent's value is too old, so this read gets the last failure at once, without a
        // wait for the back-off.
        clock.advance(SECOND);
        let answer = strict.read("app/db").await;
        assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{outage:?}");
        assert_ne!(answer.json()["hint"], "", "{outage:?}");
        serves_stale_value(&lenient, age + SECOND, &outage).await;

        tokio::join!(wait_until_idle(&lenient), wait_until_idle(&strict));
    };
    let silent = || if outage.is_silent() { fake.calls().list().len() } else { 0 };
    with_calls_timing_out(&clock, UPSTREAM_TIMEOUT, silent, during).await;

    let failed = format!("sidekey_refreshes_total{{outcome=\"{outcome}\"}}");
    let called = format!(
        "sidekey_upstream_requests_total{{operation=\"GetSecretValue\",outcome=\"{outcome}\"}}"
    );
    for ((sidekey, before), times) in [&lenient, &strict].into_iter().zip(&before).zip([5, 4]) {
        let metrics = sidekey.metrics().await;
        let stale = "sidekey_stale_reads_total{reason=\"failing\"}";
        let count = f64::from(READERS * times);
        assert_eq!(
            metrics.since(before, "sidekey_stale_reads_total"),
            [(stale.to_owned(), count)],
            "{outage:?}"
        );
        let reads =
            |result: &str, count| (format!("sidekey_reads_total{{result=\"{result}\"}}"), count);
        // The last reader of the strict agent got an error.
        let reported = (times == 4).then(|| reads("error", 1.0));
        let expected: Vec<_> = reported.into_iter().chain([reads("stale", count)]).collect();
        assert_eq!(metrics.since(before, "sidekey_reads_total"), expected, "{outage:?}");
        let refreshes = metrics.since(before, "sidekey_refreshes_total");
        let [(series, count)] = &*refreshes else { panic!("{outage:?}: {refreshes:?}") };
        // One call for each age. The back-off decides whether another call follows in the last
        // second.
        assert_eq!(*series, failed, "{outage:?}");
        assert!((4.0..=5.0).contains(count), "{outage:?}: {count}");
        let calls = metrics.since(before, "sidekey_upstream_requests_total");
        assert_eq!(calls, [(called.clone(), *count)], "{outage:?}");
    }

    outage.end(&fake).await;
    clock.advance(FAILING_MAX);
    tokio::join!(serves_new_value(&lenient, &outage), serves_new_value(&strict, &outage));
}

#[tokio::test]
async fn every_upstream_failure_is_survived() {
    let fault = Outage::Fault;
    survives(fault(Fault::Throttle), "throttled", 400, "ThrottlingException").await;
    survives(Outage::Throttled, "throttled", 400, "ThrottlingException").await;
    survives(fault(Fault::InternalError), "service", 500, "InternalServiceError").await;
    survives(fault(Fault::Reset), "connection", 502, "ConnectionError").await;
    survives(fault(Fault::Truncated), "unreadable", 502, "ConnectionError").await;
    survives(fault(Fault::Garbage), "unreadable", 502, "ConnectionError").await;
    survives(Outage::Refused, "connection", 502, "ConnectionError").await;
}

/// AWS rejects the agent's credentials for longer than the TTL. When the outage ends, AWS accepts
/// the same credentials again.
#[tokio::test]
async fn every_credentials_failure_is_survived() {
    for kind in [
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "IncompleteSignature",
        "MissingAuthenticationTokenException",
    ] {
        let message = "as AWS says it".to_owned();
        let fault = Fault::Error { status: 400, kind: kind.to_owned(), message };
        survives(Outage::Fault(fault), "credentials", 400, kind).await;
    }
}

/// Each call to AWS fails in a different way. The agent serves the cached value until a call
/// succeeds.
#[tokio::test]
async fn mixed_failures_are_survived() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let sidekey = setup.with("SIDEKEY_TTL", format!("{}s", TTL.as_secs())).start().await;
    assert_eq!(
        sidekey.read("app/db").await.cache(),
        "hit",
        "the prefetch must have cached the secret"
    );
    let before = sidekey.metrics().await;
    fake.secrets().put("app/db", "new").expect("the secret exists");
    let faults = [Fault::Throttle, Fault::InternalError, Fault::Reset, Fault::Truncated];
    fake.faults().script(Match::secret("app/db"), faults);
    let outage = Outage::Refused;
    clock.advance(TTL);
    let mut age = TTL;
    for left in [3, 2, 1, 0] {
        serves_stale_value(&sidekey, age, &outage).await;
        assert_eq!(fake.faults().remaining_scripted(), left);
        clock.advance(FAILING_MAX);
        age += FAILING_MAX;
    }
    serves_new_value(&sidekey, &outage).await;
    let refreshes = sidekey.metrics().await.since(&before, "sidekey_refreshes_total");
    let outcomes = ["connection", "ok", "service", "throttled", "unreadable"];
    let expected = outcomes.map(|it| (format!("sidekey_refreshes_total{{outcome=\"{it}\"}}"), 1.0));
    assert_eq!(refreshes, expected);
}

/// AWS answers too late, does not answer at all, or never completes its answer.
#[tokio::test]
async fn every_timeout_is_survived() {
    tokio::join!(
        survives(Outage::Late, "timeout", 504, "TimeoutError"),
        survives(Outage::Fault(Fault::Stall), "timeout", 504, "TimeoutError"),
        survives(Outage::Fault(Fault::Drip(SECOND)), "timeout", 504, "TimeoutError"),
    );
}

#[tokio::test]
async fn wrong_content_type_is_not_a_failure() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("the fake AWS server must create the secret");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let sidekey = setup.with("SIDEKEY_TTL", format!("{}s", TTL.as_secs())).start().await;
    assert_eq!(sidekey.read("app/db").await.value(), "old");
    let outage = Outage::Fault(Fault::ContentType("text/html".to_owned()));
    fake.secrets().put("app/db", "new").expect("the secret exists");
    outage.begin(&fake).await;
    clock.advance(TTL);
    serves_new_value(&sidekey, &outage).await;
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.sum("sidekey_stale_reads_total"), 0.0);
    assert_eq!(metrics.sum("sidekey_refreshes_total"), 1.0);
    assert_eq!(metrics.get("sidekey_refreshes_total{outcome=\"ok\"}"), 1.0);
}

/// AWS denies access to one of two secrets. The agent serves this secret for a limited time, and
/// refreshes the other secret as usual.
#[tokio::test]
async fn revoked_access_to_one_secret_leaves_others_unaffected() {
    const GRACE: Duration = Duration::from_secs(90);
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["app/db", "app/mail"] {
        fake.secrets().create(name, "old").expect("the fake AWS server must create the secret");
    }
    let sidekey = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_SECRETS", "app/db,app/mail")
        .with("SIDEKEY_TTL", format!("{}s", TTL.as_secs()))
        .with("SIDEKEY_DENIED_GRACE", format!("{}s", GRACE.as_secs()))
        .start()
        .await;
    for name in ["app/db", "app/mail"] {
        assert_eq!(sidekey.read(name).await.cache(), "hit", "{name}");
        fake.secrets().put(name, "new").expect("the secret exists");
    }
    fake.faults().deny_secret("app/db");

    // The grace begins with the first refusal, which is the first call after the TTL.
    clock.advance(TTL);
    for wait in [Duration::ZERO, GRACE / 2, GRACE / 2 - SECOND] {
        clock.advance(wait);
        let answer = sidekey.read("app/db").await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"));
        assert_eq!(sidekey.read("app/mail").await.value(), "new");
    }
    clock.advance(SECOND);
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (400, "AccessDeniedException"));
    let hint = answer.json()["hint"].as_str().expect("the error must contain a hint").to_owned();
    assert!(hint.contains("grant secretsmanager:GetSecretValue"), "{hint}");
    let answer = sidekey.read("app/mail").await;
    assert_eq!(answer.value(), "new");
    assert!(["hit", "miss"].contains(&answer.cache()), "{}", answer.cache());
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"refused\"}"), 3.0);
    assert_eq!(
        metrics.sum("sidekey_stale_reads_total"),
        3.0,
        "only the reads of app/db must be stale"
    );

    fake.faults().allow_secret("app/db");
    clock.advance(FAILING_MAX);
    serves_new_value(&sidekey, &Outage::Refused).await;
}

/// AWS denies access to all secrets. The agent serves each cached secret for a limited time, and
/// then refuses reads until access is allowed again.
#[tokio::test]
async fn role_without_the_permission_loses_every_secret() {
    const GRACE: Duration = Duration::from_secs(90);
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let names = ["app/db", "app/mail"];
    for name in names {
        fake.secrets().create(name, "old").expect("the fake AWS server must create the secret");
    }
    let sidekey = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_SECRETS", names.join(","))
        .with("SIDEKEY_TTL", format!("{}s", TTL.as_secs()))
        .with("SIDEKEY_DENIED_GRACE", format!("{}s", GRACE.as_secs()))
        .start()
        .await;
    for name in names {
        assert_eq!(sidekey.read(name).await.cache(), "hit", "{name}");
        fake.secrets().put(name, "new").expect("the secret exists");
    }
    fake.faults().deny_operation(GetSecretValue);
    for wait in [TTL, GRACE - SECOND] {
        clock.advance(wait);
        for name in names {
            let answer = sidekey.read(name).await;
            assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"), "{name}");
        }
    }
    clock.advance(SECOND);
    for name in names {
        assert_eq!(sidekey.read(name).await.kind(), "AccessDeniedException", "{name}");
    }
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"refused\"}"), 4.0);
    assert_eq!(metrics.get("sidekey_reads_total{result=\"error\"}"), 2.0);
    fake.faults().allow_operation(GetSecretValue);
    clock.advance(FAILING_MAX);
    for name in names {
        assert_eq!(sidekey.read(name).await.value(), "new", "{name}");
    }
}
