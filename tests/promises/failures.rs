//! When upstream fails, readers of what is held go on, the others are told what to do, and upstream
//! is not hammered.

use crate::support::agent::{Setup, Sidekey, read_request};
use crate::support::client::get;
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Match};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any wait after a failure.
const BACK_OFF_OVER: Duration = Duration::from_secs(31);

/// The real time after which a stalled call is given up, where a test wants that to happen.
const UPSTREAM_TIMEOUT: &str = "50ms";

async fn upstream(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    fake.secrets().create("app/db", "old").expect("a new name");
    fake
}

/// An agent that has prefetched `app/db` for five minutes.
async fn holding(fake: &Fake, clock: &Arc<ManualClock>) -> Sidekey {
    let setup = Setup::of(fake, clock).with("SIDEKEY_TTL", "5m");
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db").start().await;
    assert_eq!(sidekey.read("app/db").await.cache(), "hit", "it was prefetched");
    sidekey
}

/// Waits until a refresh of what is held has failed, and returns how.
async fn failed_refresh(sidekey: &Sidekey) -> String {
    eventually("a refresh fails", async || {
        let entry = sidekey.agent.status().entries.pop().expect("one is held");
        entry.problem.map(|problem| problem.code.into())
    })
    .await
}

/// An error of AWS's.
fn error(status: u16, kind: &str) -> Fault {
    Fault::Error { status, kind: kind.to_owned(), message: "as AWS says it".to_owned() }
}

/// Upstream is gone from the moment the prefetch is over: until the time to live ends every reader
/// is served as if nothing had happened, also while refreshes fail in the background.
#[tokio::test]
async fn outage_within_the_ttl_is_invisible() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let sidekey = holding(&fake, &clock).await;
    fake.pause().await.expect("a listener that stops");
    let mut connection = sidekey.connect().await;
    for _ in 0..50 {
        let answer = connection.exchange(read_request("app/db")).await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("old", "hit"));
    }
    sidekey.pass(Duration::from_secs(299));
    assert_eq!(connection.exchange(read_request("app/db")).await.cache(), "hit");
    assert_eq!(failed_refresh(&sidekey).await, "ConnectionError");
    let answer = connection.exchange(read_request("app/db")).await;
    assert_eq!((answer.value().as_str(), answer.cache()), ("old", "hit"));
}

/// Once the time to live is over, whatever goes wrong upstream, the value that is held is served,
/// is marked and counted as stale, and gives way to the new one as soon as upstream answers.
#[tokio::test]
async fn cached_value_is_served_stale_through_every_failure() {
    for fault in [
        Fault::Throttle,
        Fault::InternalError,
        error(503, "ServiceUnavailable"),
        error(400, "ExpiredTokenException"),
        error(500, "AccessDeniedException"),
        Fault::Reset,
        Fault::Truncated,
        Fault::Garbage,
        Fault::Stall,
    ] {
        let clock = ManualClock::new();
        let fake = upstream(&clock).await;
        let mut setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
        if fault == Fault::Stall {
            setup = setup.with("SIDEKEY_UPSTREAM_TIMEOUT", UPSTREAM_TIMEOUT);
        }
        let sidekey = setup.with("SIDEKEY_TTL", "1m").start().await;
        // On a busy machine a good call may be given up too, where calls are given up so soon.
        eventually("it is held", async || {
            let is_held = sidekey.read("app/db").await.status == 200;
            if !is_held {
                sidekey.pass(BACK_OFF_OVER);
            }
            is_held.then_some(())
        })
        .await;
        fake.secrets().put("app/db", "new").expect("the secret is there");
        fake.faults().always(Match::any(), fault.clone());

        sidekey.pass(Duration::from_secs(61));
        let answer = sidekey.read("app/db").await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"), "{fault:?}");
        let metrics = sidekey.metrics().await;
        assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"failing\"}"), 1.0);
        assert_eq!(metrics.get("sidekey_reads_total{result=\"stale\"}"), 1.0);

        fake.faults().clear();
        eventually("the new value", async || {
            sidekey.pass(BACK_OFF_OVER);
            let answer = sidekey.read("app/db").await;
            (answer.value() == "new").then_some(())
        })
        .await;
    }
}

/// A reader who waits for a call that never ends gets what is held when its wait is over; where
/// nothing is held, an error that says how long it waited.
#[tokio::test]
async fn reader_waits_no_longer_than_its_limit() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let sidekey = holding(&fake, &clock).await;
    sidekey.pass(Duration::from_secs(301));
    fake.faults().always(Match::any(), Fault::Stall);
    for (id, status, cache) in [("app/db", 200, "stale"), ("app/other", 504, "no such header")] {
        let before = fake.calls().count(GetSecretValue);
        let mut reader = sidekey.connect().await;
        reader.send(read_request(id)).await;
        fake.calls().wait_for(GetSecretValue, before + 1).await;
        // That may be a timer's call. Who asks after the reader is answered after it has begun to wait.
        sidekey.connect().await.exchange(get("/ping", &[])).await;
        sidekey.pass(Duration::from_secs(600));
        let answer = reader.receive().await;
        assert_eq!((answer.status, answer.cache()), (status, cache), "{id}");
        if status == 504 {
            assert_eq!(answer.kind(), "TimeoutError");
            assert!(answer.text().contains("within 600s"), "{}", answer.text());
        }
    }
}

/// A value is not served for ever: past `SIDEKEY_STALE_IF_ERROR` readers get the error instead.
#[tokio::test]
async fn stale_value_expires() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let setup = setup.with("SIDEKEY_TTL", "5m").with("SIDEKEY_STALE_IF_ERROR", "10m");
    let sidekey = setup.start().await;
    fake.pause().await.expect("a listener that stops");
    sidekey.pass(Duration::from_secs(15 * 60 - 1));
    assert_eq!(sidekey.read("app/db").await.cache(), "stale");
    sidekey.pass(Duration::from_secs(1));
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (502, "ConnectionError"));
}

/// Each way in which upstream fails a reader for whom nothing is held has its status and its type,
/// and a hint at what to do.
#[tokio::test]
async fn failures_have_distinct_statuses_and_types() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let sidekey = Setup::of(&fake, &clock).start().await;
    let cases = [
        (Fault::Throttle, 400, "ThrottlingException", "Secrets Manager throttles Sidekey"),
        (Fault::InternalError, 500, "InternalServiceError", "Sidekey retries automatically"),
        (error(503, "ServiceUnavailable"), 500, "ServiceUnavailable", "retries automatically"),
        (error(400, "AccessDeniedException"), 400, "AccessDeniedException", "GetSecretValue on"),
        (error(400, "DecryptionFailure"), 400, "DecryptionFailure", "kms:Decrypt"),
        (error(400, "InvalidRequestException"), 400, "InvalidRequestException", "restore"),
        (error(400, "ExpiredTokenException"), 400, "ExpiredTokenException", "check the role"),
        (error(403, "UnrecognizedClientException"), 400, "UnrecognizedClientException", "the role"),
        (error(403, "InvalidSignatureException"), 400, "InvalidSignatureException", "the profile"),
        (error(403, "IncompleteSignature"), 400, "IncompleteSignature", "the variables"),
        (error(403, "MissingAuthenticationToken"), 400, "MissingAuthenticationToken", "the role"),
        (error(403, "SignatureDoesNotMatch"), 400, "SignatureDoesNotMatch", "the role"),
        (error(400, "SomethingNew"), 400, "SomethingNew", "check the name"),
        (Fault::Reset, 502, "ConnectionError", "check the network"),
        (Fault::Truncated, 502, "ConnectionError", ""),
        (Fault::Garbage, 502, "ConnectionError", "check the endpoint"),
    ];
    for (number, (fault, status, kind, hint)) in cases.into_iter().enumerate() {
        let name = format!("app/{number}");
        fake.secrets().create(&name, "hunter2").expect("a new name");
        fake.faults().always(Match::secret(&name), fault.clone());
        let answer = sidekey.read(&name).await;
        assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{fault:?}");
        let told = answer.json()["hint"].as_str().expect("a hint").to_owned();
        assert!(!told.is_empty() && told.contains(hint), "{fault:?}: {told}");
        if let Fault::Error { message, .. } = &fault {
            assert_eq!(answer.json()["message"], **message, "AWS's own words");
        }
    }
}

/// A right answer counts whatever its content type: emulators of AWS are careless with it.
#[tokio::test]
async fn content_type_of_upstream_answers_is_ignored() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    fake.faults().always(Match::any(), Fault::ContentType("text/html".to_owned()));
    let sidekey = Setup::of(&fake, &clock).start().await;
    assert_eq!(sidekey.read("app/db").await.value(), "old");
}

/// What the service itself says no to keeps AWS's words.
#[tokio::test]
async fn refusals_by_aws_keep_their_text() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let (secrets, faults) = (fake.secrets(), fake.faults());
    for name in ["denied", "deleted", "locked", "there"] {
        secrets.create(name, "hunter2").expect("a new name");
    }
    faults.deny_secret("denied");
    secrets.mark_for_deletion("deleted", Duration::from_secs(1)).expect("it is there");
    faults.break_key("locked", true);
    let sidekey = Setup::of(&fake, &clock).start().await;
    for (id, kind, words) in [
        ("denied", "AccessDeniedException", "is not authorized to perform"),
        ("deleted", "InvalidRequestException", "was marked for deletion"),
        ("locked", "DecryptionFailure", "KMS key"),
        ("missing", "ResourceNotFoundException", "can't find the specified secret."),
        ("there&versionStage=BLUE", "ResourceNotFoundException", "staging label: BLUE"),
        ("there&versionId=none", "ResourceNotFoundException", "VersionId: none"),
        ("a%20name", "ValidationException", "Invalid name"),
    ] {
        let answer = sidekey.read(id).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, kind), "{id}");
        assert!(answer.text().contains(words), "{id}: {}", answer.text());
    }
}

/// A call that takes longer than `SIDEKEY_UPSTREAM_TIMEOUT` is given up with a 504.
#[tokio::test]
async fn stalled_call_times_out() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    fake.faults().always(Match::any(), Fault::Stall);
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_UPSTREAM_TIMEOUT", UPSTREAM_TIMEOUT);
    let sidekey = setup.start().await;
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (504, "TimeoutError"));
    assert_eq!(answer.json()["message"], "Timeout");
}

/// A refusal shows within the time to live too: the value is served on for `SIDEKEY_DENIED_GRACE`,
/// marked stale, then readers get AWS's refusal, until a call succeeds.
#[tokio::test]
async fn revoked_access_takes_effect_after_the_grace() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let sidekey = holding(&fake, &clock).await;
    fake.faults().deny_secret("app/db");
    sidekey.pass(Duration::from_secs(299));
    assert_eq!(failed_refresh(&sidekey).await, "AccessDeniedException");
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"));
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"refused\"}"), 1.0);

    sidekey.pass(Duration::from_secs(59));
    assert_eq!(sidekey.read("app/db").await.cache(), "stale");
    sidekey.pass(Duration::from_secs(1));
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (400, "AccessDeniedException"));

    fake.faults().allow_secret("app/db");
    eventually("access is back", async || {
        sidekey.pass(BACK_OFF_OVER);
        (sidekey.read("app/db").await.status == 200).then_some(())
    })
    .await;
}

/// A loop of readers of a secret that is not there makes one call, and so does one while upstream
/// throttles: what it said is remembered for a moment. Then it is asked again, and a secret that
/// was made meanwhile is found.
#[tokio::test]
async fn loop_of_readers_does_not_hammer_upstream() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let sidekey = Setup::of(&fake, &clock).start().await;
    fake.faults().always(Match::secret("app/db"), Fault::Throttle);
    for (id, kind) in [("app/new", "ResourceNotFoundException"), ("app/db", "ThrottlingException")]
    {
        let mut connection = sidekey.connect().await;
        for _ in 0..50 {
            let answer = connection.exchange(read_request(id)).await;
            assert_eq!(answer.kind(), kind);
        }
        assert_eq!(fake.calls().count_for(GetSecretValue, id), 1, "{id}");
    }
    // The least time for which a refusal is remembered is three seconds.
    sidekey.pass(Duration::from_millis(2900));
    fake.secrets().create("app/new", "new").expect("a new name");
    assert_eq!(sidekey.read("app/new").await.status, 400);
    assert_eq!(fake.calls().count_for(GetSecretValue, "app/new"), 1);
    sidekey.pass(BACK_OFF_OVER);
    assert_eq!(sidekey.read("app/new").await.value(), "new");
    assert_eq!(fake.calls().count_for(GetSecretValue, "app/new"), 2);
}

/// Forged names push out nothing: with room for one entry, what was listed stays a hit through more
/// refusals than are remembered.
#[tokio::test]
async fn forged_names_evict_nothing() {
    let clock = ManualClock::new();
    let fake = upstream(&clock).await;
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_CACHE_SIZE", 1);
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db").start().await;
    let mut connection = sidekey.connect().await;
    for number in 0..1100 {
        let answer = connection.exchange(read_request(&format!("forged/{number}"))).await;
        assert_eq!(answer.status, 400);
    }
    assert_eq!(connection.exchange(read_request("app/db")).await.cache(), "hit");
    let metrics = sidekey.metrics().await;
    assert_eq!(
        (metrics.get("sidekey_evictions_total"), metrics.get("sidekey_entries")),
        (0.0, 1.0)
    );
}
