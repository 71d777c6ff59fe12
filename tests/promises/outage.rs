//! Upstream goes wrong for longer than the time to live: readers of what is held are served on,
//! marked, until a bound, and get the new value soon after the outage ends.

use crate::support::agent::{Setup, Sidekey, read_request};
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Match};
use sidekey::cache::freshness::FAILING_MAX;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);

/// How much longer the stricter of two agents serves what it holds.
const STALE_IF_ERROR: Duration = Duration::from_secs(300);

/// Ages at which readers ask during an outage. From one to the next is longer than any back-off.
const AGES: [Duration; 4] =
    [TTL, Duration::from_secs(130), Duration::from_secs(240), Duration::from_secs(359)];

/// What goes wrong.
#[derive(Clone, Debug)]
enum Outage {
    Fault(Fault),
    /// Every call is one too many.
    Throttled,
    /// Answers are right, and too late.
    Late,
    /// Nobody listens.
    Refused,
}

impl Outage {
    async fn begin(&self, fake: &Fake) {
        match self {
            Self::Fault(fault) => fake.faults().always(Match::any(), fault.clone()),
            Self::Throttled => fake.faults().throttle_above(0),
            Self::Late => fake.faults().set_latency(Duration::from_secs(600)),
            Self::Refused => fake.pause().await.expect("a listener that stops"),
        }
    }

    async fn end(&self, fake: &Fake) {
        match self {
            Self::Fault(_) | Self::Throttled | Self::Late => fake.faults().clear(),
            Self::Refused => fake.resume().await.expect("the port stayed ours"),
        }
    }

    /// What ends only when the time for a call does. That is the machine's time, and long enough
    /// for calls that go well.
    fn upstream_timeout(&self) -> &'static str {
        match self {
            Self::Late | Self::Fault(Fault::Stall | Fault::Drip(_)) => "1s",
            _ => "10m",
        }
    }
}

/// How many readers ask at each age.
const READERS: u16 = 20;

/// Lets readers ask one after the other, and checks that each is served what is held, marked, and
/// that nobody but the first can have waited: no call is made for them, and none is under way.
async fn is_served_stale(sidekey: &Sidekey, age: Duration, outage: &Outage) {
    let mut connection = sidekey.connect().await;
    let mut read = async || {
        let answer = connection.exchange(read_request("app/db")).await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"), "{outage:?}");
        assert_eq!(answer.header("age"), Some(&*age.as_secs().to_string()), "{outage:?}");
    };
    read().await;
    is_idle(sidekey).await;
    let before = sidekey.metrics().await;
    for _ in 1..READERS {
        read().await;
    }
    let after = sidekey.metrics().await;
    assert_eq!(after.since(&before, "sidekey_upstream_requests_total"), [], "{outage:?}");
    assert_eq!(after.since(&before, "sidekey_flights_joined_total"), [], "{outage:?}");
}

/// Waits until no call is under way: one that began during an outage ends as the outage has it.
async fn is_idle(sidekey: &Sidekey) {
    eventually("no call", async || (sidekey.agent.status().flights == 0).then_some(())).await;
}

async fn is_served_anew(sidekey: &Sidekey, outage: &Outage) {
    let answer = sidekey.read("app/db").await;
    assert_eq!(answer.value(), "new", "{outage:?}");
    assert!(["hit", "miss"].contains(&answer.cache()), "{outage:?}: {}", answer.cache());
}

/// Runs one outage for two agents, of which one gives up what it holds before the outage ends. Both
/// count calls that fail as `outcome`; readers who are told of it get `status` and `kind`.
async fn outlives(outage: Outage, outcome: &str, status: u16, kind: &str) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("a new name");
    let setup = Setup::of(&fake, &clock)
        .with("SIDEKEY_SECRETS", "app/db")
        .with("SIDEKEY_TTL", format!("{}s", TTL.as_secs()))
        .with("SIDEKEY_UPSTREAM_TIMEOUT", outage.upstream_timeout());
    let patient = setup.clone().start().await;
    let stale_if_error = format!("{}s", STALE_IF_ERROR.as_secs());
    let strict = setup.with("SIDEKEY_STALE_IF_ERROR", stale_if_error).start().await;
    for sidekey in [&patient, &strict] {
        assert_eq!(sidekey.read("app/db").await.cache(), "hit", "it was prefetched");
    }
    let before = [patient.metrics().await, strict.metrics().await];
    fake.secrets().put("app/db", "new").expect("it is there");
    outage.begin(&fake).await;

    let mut age = Duration::ZERO;
    for next in AGES {
        clock.pass(next - age);
        age = next;
        tokio::join!(
            is_served_stale(&patient, age, &outage),
            is_served_stale(&strict, age, &outage)
        );
    }
    // Nobody waits out the last back-off: what is too old is the reader's failure now.
    clock.pass(SECOND);
    let answer = strict.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{outage:?}");
    assert_ne!(answer.json()["hint"], "", "{outage:?}");
    is_served_stale(&patient, age + SECOND, &outage).await;

    tokio::join!(is_idle(&patient), is_idle(&strict));

    let failed = format!("sidekey_refreshes_total{{outcome=\"{outcome}\"}}");
    let called = format!(
        "sidekey_upstream_requests_total{{operation=\"GetSecretValue\",outcome=\"{outcome}\"}}"
    );
    for ((sidekey, before), times) in [&patient, &strict].into_iter().zip(&before).zip([5, 4]) {
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
        // The strict one's last reader was told.
        let told = (times == 4).then(|| reads("error", 1.0));
        let expected: Vec<_> = told.into_iter().chain([reads("stale", count)]).collect();
        assert_eq!(metrics.since(before, "sidekey_reads_total"), expected, "{outage:?}");
        let refreshes = metrics.since(before, "sidekey_refreshes_total");
        let [(series, count)] = &*refreshes else { panic!("{outage:?}: {refreshes:?}") };
        // A call for each age; whether one follows within the last second is up to the back-off.
        assert_eq!(*series, failed, "{outage:?}");
        assert!((4.0..=5.0).contains(count), "{outage:?}: {count}");
        let calls = metrics.since(before, "sidekey_upstream_requests_total");
        assert_eq!(calls, [(called.clone(), *count)], "{outage:?}");
    }

    outage.end(&fake).await;
    clock.pass(FAILING_MAX);
    tokio::join!(is_served_anew(&patient, &outage), is_served_anew(&strict, &outage));
}

/// Whatever goes wrong, and however each call ends.
#[tokio::test]
async fn every_upstream_failure_is_survived() {
    let fault = Outage::Fault;
    outlives(fault(Fault::Throttle), "throttled", 400, "ThrottlingException").await;
    outlives(Outage::Throttled, "throttled", 400, "ThrottlingException").await;
    outlives(fault(Fault::InternalError), "service", 500, "InternalServiceError").await;
    outlives(fault(Fault::Reset), "connection", 502, "ConnectionError").await;
    outlives(fault(Fault::Truncated), "unreadable", 502, "ConnectionError").await;
    outlives(fault(Fault::Garbage), "unreadable", 502, "ConnectionError").await;
    outlives(Outage::Refused, "connection", 502, "ConnectionError").await;
}

/// The agent's own credentials are dead or wrong for the service, for longer than the time to live,
/// whatever it calls that; and good again, the same ones, as the outage ends.
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
        outlives(Outage::Fault(fault), "credentials", 400, kind).await;
    }
}

/// Each call fails in its own way, one after the other: readers are served on through all of them,
/// and the call that goes well at last ends it.
#[tokio::test]
async fn mixed_failures_are_survived() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("a new name");
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let sidekey = setup.with("SIDEKEY_TTL", format!("{}s", TTL.as_secs())).start().await;
    assert_eq!(sidekey.read("app/db").await.cache(), "hit", "it was prefetched");
    let before = sidekey.metrics().await;
    fake.secrets().put("app/db", "new").expect("it is there");
    let faults = [Fault::Throttle, Fault::InternalError, Fault::Reset, Fault::Truncated];
    fake.faults().script(Match::secret("app/db"), faults);
    let outage = Outage::Refused;
    clock.pass(TTL);
    let mut age = TTL;
    for left in [3, 2, 1, 0] {
        is_served_stale(&sidekey, age, &outage).await;
        assert_eq!(fake.faults().remaining_scripted(), left);
        clock.pass(FAILING_MAX);
        age += FAILING_MAX;
    }
    is_served_anew(&sidekey, &outage).await;
    let refreshes = sidekey.metrics().await.since(&before, "sidekey_refreshes_total");
    let outcomes = ["connection", "ok", "service", "throttled", "unreadable"];
    let expected = outcomes.map(|it| (format!("sidekey_refreshes_total{{outcome=\"{it}\"}}"), 1.0));
    assert_eq!(refreshes, expected);
}

/// An answer that comes too late, none at all, and one that never ends.
#[tokio::test]
async fn every_timeout_is_survived() {
    tokio::join!(
        outlives(Outage::Late, "timeout", 504, "TimeoutError"),
        outlives(Outage::Fault(Fault::Stall), "timeout", 504, "TimeoutError"),
        outlives(Outage::Fault(Fault::Drip(SECOND)), "timeout", 504, "TimeoutError"),
    );
}

/// A wrong content type is no outage: past the time to live the new value is served.
#[tokio::test]
async fn wrong_content_type_is_not_a_failure() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "old").expect("a new name");
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let sidekey = setup.with("SIDEKEY_TTL", format!("{}s", TTL.as_secs())).start().await;
    assert_eq!(sidekey.read("app/db").await.value(), "old");
    let outage = Outage::Fault(Fault::ContentType("text/html".to_owned()));
    fake.secrets().put("app/db", "new").expect("it is there");
    outage.begin(&fake).await;
    clock.pass(TTL);
    is_served_anew(&sidekey, &outage).await;
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.sum("sidekey_stale_reads_total"), 0.0);
    assert_eq!(metrics.sum("sidekey_refreshes_total"), 1.0);
    assert_eq!(metrics.get("sidekey_refreshes_total{outcome=\"ok\"}"), 1.0);
}

/// Access to one of two secrets is revoked: that one is served for its grace and then refused, with
/// what to do about it, and the other is refreshed as ever.
#[tokio::test]
async fn revoked_access_to_one_secret_leaves_others_unaffected() {
    const GRACE: Duration = Duration::from_secs(90);
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["app/db", "app/mail"] {
        fake.secrets().create(name, "old").expect("a new name");
    }
    let sidekey = Setup::of(&fake, &clock)
        .with("SIDEKEY_SECRETS", "app/db,app/mail")
        .with("SIDEKEY_TTL", format!("{}s", TTL.as_secs()))
        .with("SIDEKEY_DENIED_GRACE", format!("{}s", GRACE.as_secs()))
        .start()
        .await;
    for name in ["app/db", "app/mail"] {
        assert_eq!(sidekey.read(name).await.cache(), "hit", "{name}");
        fake.secrets().put(name, "new").expect("it is there");
    }
    fake.faults().deny_secret("app/db");

    // The grace begins with the first refusal, which is the first call past the TTL.
    clock.pass(TTL);
    for wait in [Duration::ZERO, GRACE / 2, GRACE / 2 - SECOND] {
        clock.pass(wait);
        let answer = sidekey.read("app/db").await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"));
        assert_eq!(sidekey.read("app/mail").await.value(), "new");
    }
    clock.pass(SECOND);
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (400, "AccessDeniedException"));
    let hint = answer.json()["hint"].as_str().expect("a hint").to_owned();
    assert!(hint.contains("grant secretsmanager:GetSecretValue"), "{hint}");
    let answer = sidekey.read("app/mail").await;
    assert_eq!(answer.value(), "new");
    assert!(["hit", "miss"].contains(&answer.cache()), "{}", answer.cache());
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"refused\"}"), 3.0);
    assert_eq!(metrics.sum("sidekey_stale_reads_total"), 3.0, "of app/db, and of it alone");

    fake.faults().allow_secret("app/db");
    clock.pass(FAILING_MAX);
    is_served_anew(&sidekey, &Outage::Refused).await;
}

/// The role loses the operation itself: every secret is served for its grace and then refused, until
/// the role has it back.
#[tokio::test]
async fn role_without_the_permission_loses_every_secret() {
    const GRACE: Duration = Duration::from_secs(90);
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let names = ["app/db", "app/mail"];
    for name in names {
        fake.secrets().create(name, "old").expect("a new name");
    }
    let sidekey = Setup::of(&fake, &clock)
        .with("SIDEKEY_SECRETS", names.join(","))
        .with("SIDEKEY_TTL", format!("{}s", TTL.as_secs()))
        .with("SIDEKEY_DENIED_GRACE", format!("{}s", GRACE.as_secs()))
        .start()
        .await;
    for name in names {
        assert_eq!(sidekey.read(name).await.cache(), "hit", "{name}");
        fake.secrets().put(name, "new").expect("it is there");
    }
    fake.faults().deny_operation(GetSecretValue);
    for wait in [TTL, GRACE - SECOND] {
        clock.pass(wait);
        for name in names {
            let answer = sidekey.read(name).await;
            assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"), "{name}");
        }
    }
    clock.pass(SECOND);
    for name in names {
        assert_eq!(sidekey.read(name).await.kind(), "AccessDeniedException", "{name}");
    }
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"refused\"}"), 4.0);
    assert_eq!(metrics.get("sidekey_reads_total{result=\"error\"}"), 2.0);
    fake.faults().allow_operation(GetSecretValue);
    clock.pass(FAILING_MAX);
    for name in names {
        assert_eq!(sidekey.read(name).await.value(), "new", "{name}");
    }
}
