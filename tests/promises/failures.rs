//! Tests in which AWS fails. The agent still serves cached values, returns an error with a hint for
//! other secrets, and limits its calls to AWS.

use crate::support::agent::{Setup, Sidekey, read_request};
use crate::support::client::{Answer, get};
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake, with_calls_timing_out};
use fake_aws::Operation::GetSecretValue;
use fake_aws::{Fake, Fault, Match};
use std::sync::Arc;
use std::time::Duration;

/// A duration that is longer than every back-off, the pause after a failed call to AWS.
const BACK_OFF_OVER: Duration = Duration::from_secs(31);

/// The timeout of a call to AWS, for tests in which a call must time out.
const UPSTREAM_TIMEOUT: Duration = Duration::from_millis(50);

/// The same as [`UPSTREAM_TIMEOUT`], as a setting.
const UPSTREAM_TIMEOUT_SETTING: &str = "50ms";

async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    fake.secrets().create("app/db", "old").expect("the fake AWS server must create the secret");
    fake
}

/// Starts an agent with a TTL of five minutes, which has cached the secret `app/db`.
async fn start_with_cached_secret(fake: &Fake, clock: &Arc<ManualClock>) -> Sidekey {
    let setup = Setup::for_fake(fake, clock).with("SIDEKEY_TTL", "5m");
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db").start().await;
    assert_eq!(sidekey.read("app/db").await.cache(), "hit", "it was prefetched");
    sidekey
}

/// Waits until a refresh in the background has failed. Returns the type of the error.
async fn failed_refresh(sidekey: &Sidekey) -> String {
    eventually("a background refresh fails", async || {
        let entry = sidekey.agent.status().entries.pop().expect("the cache must contain a secret");
        entry.problem.map(|problem| problem.code.into())
    })
    .await
}

/// Creates a fault that makes the fake AWS server return an error with this HTTP status and error
/// type.
fn error(status: u16, kind: &str) -> Fault {
    Fault::Error { status, kind: kind.to_owned(), message: "as AWS says it".to_owned() }
}

/// Reads a secret. If `fault` leaves calls to AWS without a response, these calls time out.
async fn read_with_timeout(
    sidekey: &Sidekey,
    fault: &Fault,
    fake: &Fake,
    clock: &ManualClock,
) -> Answer {
    let stalled = || if *fault == Fault::Stall { fake.calls().list().len() } else { 0 };
    with_calls_timing_out(clock, UPSTREAM_TIMEOUT, stalled, sidekey.read("app/db")).await
}

/// AWS accepts no connections, but the TTL is not over. Reads return the cached value without
/// marking it as stale.
#[tokio::test]
async fn outage_within_the_ttl_is_invisible() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = start_with_cached_secret(&fake, &clock).await;
    fake.pause().await.expect("the listener must stop without an error");
    let mut connection = sidekey.connect().await;
    for _ in 0..50 {
        let answer = connection.exchange(read_request("app/db")).await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("old", "hit"));
    }
    sidekey.advance(Duration::from_secs(299));
    assert_eq!(connection.exchange(read_request("app/db")).await.cache(), "hit");
    assert_eq!(failed_refresh(&sidekey).await, "ConnectionError");
    let answer = connection.exchange(read_request("app/db")).await;
    assert_eq!((answer.value().as_str(), answer.cache()), ("old", "hit"));
}

/// AWS fails in several ways after the TTL. Reads return the cached value, marked as stale, and the
/// new value as soon as AWS answers again.
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
        let fake = start_fake(&clock).await;
        let mut setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
        if fault == Fault::Stall {
            setup = setup.with("SIDEKEY_UPSTREAM_TIMEOUT", UPSTREAM_TIMEOUT_SETTING);
        }
        let sidekey = setup.with("SIDEKEY_TTL", "1m").start().await;
        assert_eq!(sidekey.read("app/db").await.cache(), "hit", "it was prefetched");
        fake.secrets().put("app/db", "new").expect("the secret exists");
        fake.faults().always(Match::any(), fault.clone());

        sidekey.advance(Duration::from_secs(61));
        let answer = read_with_timeout(&sidekey, &fault, &fake, &clock).await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"), "{fault:?}");
        let metrics = sidekey.metrics().await;
        assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"failing\"}"), 1.0);
        assert_eq!(metrics.get("sidekey_reads_total{result=\"stale\"}"), 1.0);

        fake.faults().clear();
        eventually("the agent serves the new value", async || {
            sidekey.advance(BACK_OFF_OVER);
            let answer = sidekey.read("app/db").await;
            (answer.value() == "new").then_some(())
        })
        .await;
    }
}

/// A read waits for a call to AWS that never ends. After ten minutes, which are the limit of a read and
/// of a call, the read returns the cached value, or an error if no value is cached.
#[tokio::test]
async fn reader_waits_no_longer_than_its_limit() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = start_with_cached_secret(&fake, &clock).await;
    sidekey.advance(Duration::from_secs(301));
    fake.faults().always(Match::any(), Fault::Stall);
    for (id, status, cache) in [("app/db", 200, "stale"), ("app/other", 504, "no such header")] {
        let before = fake.calls().count(GetSecretValue);
        let mut reader = sidekey.connect().await;
        reader.send(read_request(id)).await;
        fake.calls().wait_for(GetSecretValue, before + 1).await;
        // The call may come from a timer. An answer to this later request shows that the read has
        // begun to wait.
        sidekey.connect().await.exchange(get("/ping", &[])).await;
        sidekey.advance(Duration::from_secs(600));
        let answer = reader.receive().await;
        assert_eq!((answer.status, answer.cache()), (status, cache), "{id}");
        if status == 504 {
            assert_eq!(answer.kind(), "TimeoutError");
        }
    }
}

/// The agent serves a stale value (a value whose TTL is over) only until `SIDEKEY_STALE_IF_ERROR`
/// has passed. Then reads get AWS's error.
#[tokio::test]
async fn stale_value_expires() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", "app/db");
    let setup = setup.with("SIDEKEY_TTL", "5m").with("SIDEKEY_STALE_IF_ERROR", "10m");
    let sidekey = setup.start().await;
    fake.pause().await.expect("the listener must stop without an error");
    sidekey.advance(Duration::from_secs(15 * 60 - 1));
    assert_eq!(sidekey.read("app/db").await.cache(), "stale");
    sidekey.advance(Duration::from_secs(1));
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (502, "ConnectionError"));
}

/// If no value is cached, each kind of AWS failure has its own HTTP status, error type and hint.
#[tokio::test]
async fn failures_have_distinct_statuses_and_types() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let cases = [
        (Fault::Throttle, 400, "ThrottlingException", "Secrets Manager throttles Sidekey"),
        (Fault::InternalError, 500, "InternalServiceError", "Sidekey retries automatically"),
        (error(503, "ServiceUnavailable"), 500, "ServiceUnavailable", "retries automatically"),
        (error(400, "AccessDeniedException"), 400, "AccessDeniedException", "GetSecretValue on"),
        (error(400, "DecryptionFailure"), 400, "DecryptionFailure", "kms:Decrypt"),
        (error(400, "InvalidRequestException"), 400, "InvalidRequestException", "restore"),
        (error(400, "ExpiredTokenException"), 400, "ExpiredTokenException", "check the role"),
        (
            error(403, "UnrecognizedClientException"),
            400,
            "UnrecognizedClientException",
            "the variables AWS_ACCESS_KEY_ID",
        ),
        (error(403, "InvalidSignatureException"), 400, "InvalidSignatureException", "the profile"),
        (error(403, "IncompleteSignature"), 400, "IncompleteSignature", "environment variables"),
        (error(403, "MissingAuthenticationToken"), 400, "MissingAuthenticationToken", "the role"),
        (error(403, "SignatureDoesNotMatch"), 400, "SignatureDoesNotMatch", "the role"),
        (error(400, "SomethingNew"), 400, "SomethingNew", "check the secret's name"),
        (Fault::Reset, 502, "ConnectionError", "check the network"),
        (Fault::Truncated, 502, "ConnectionError", ""),
        (Fault::Garbage, 502, "ConnectionError", "check the endpoint"),
    ];
    for (number, (fault, status, kind, hint)) in cases.into_iter().enumerate() {
        let name = format!("app/{number}");
        fake.secrets()
            .create(&name, "hunter2")
            .expect("the fake AWS server must create the secret");
        fake.faults().always(Match::secret(&name), fault.clone());
        let answer = sidekey.read(&name).await;
        assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{fault:?}");
        let reported =
            answer.json()["hint"].as_str().expect("the error must contain a hint").to_owned();
        assert!(!reported.is_empty() && reported.contains(hint), "{fault:?}: {reported}");
        if let Fault::Error { message, .. } = &fault {
            assert_eq!(
                answer.json()["message"],
                **message,
                "the error must contain AWS's own message"
            );
        }
    }
}

/// The agent accepts valid responses of AWS with any content type, because emulators of AWS send
/// wrong content types.
#[tokio::test]
async fn content_type_of_upstream_answers_is_ignored() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.faults().always(Match::any(), Fault::ContentType("text/html".to_owned()));
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    assert_eq!(sidekey.read("app/db").await.value(), "old");
}

#[tokio::test]
async fn refusals_by_aws_keep_their_text() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let (secrets, faults) = (fake.secrets(), fake.faults());
    for name in ["denied", "deleted", "locked", "there"] {
        secrets.create(name, "hunter2").expect("the fake AWS server must create the secret");
    }
    faults.deny_secret("denied");
    secrets.mark_for_deletion("deleted", Duration::from_secs(1)).expect("the secret exists");
    faults.break_key("locked", true);
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
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

#[tokio::test]
async fn stalled_call_times_out() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.faults().always(Match::any(), Fault::Stall);
    let setup =
        Setup::for_fake(&fake, &clock).with("SIDEKEY_UPSTREAM_TIMEOUT", UPSTREAM_TIMEOUT_SETTING);
    let sidekey = setup.start().await;
    let answer = read_with_timeout(&sidekey, &Fault::Stall, &fake, &clock).await;
    assert_eq!((answer.status, answer.kind().as_str()), (504, "TimeoutError"));
    assert_eq!(answer.json()["message"], "Timeout");
}

/// AWS denies access to a cached secret. The agent serves the cached value until
/// `SIDEKEY_DENIED_GRACE` has passed. Then reads get AWS's error.
#[tokio::test]
async fn revoked_access_takes_effect_after_the_grace() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = start_with_cached_secret(&fake, &clock).await;
    fake.faults().deny_secret("app/db");
    sidekey.advance(Duration::from_secs(299));
    assert_eq!(failed_refresh(&sidekey).await, "AccessDeniedException");
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"));
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_stale_reads_total{reason=\"refused\"}"), 1.0);

    sidekey.advance(Duration::from_secs(59));
    assert_eq!(sidekey.read("app/db").await.cache(), "stale");
    sidekey.advance(Duration::from_secs(1));
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.status, answer.kind().as_str()), (400, "AccessDeniedException"));

    fake.faults().allow_secret("app/db");
    eventually("the agent can read the secret again", async || {
        sidekey.advance(BACK_OFF_OVER);
        (sidekey.read("app/db").await.status == 200).then_some(())
    })
    .await;
}

/// A caller reads a missing secret and a throttled secret in a loop. The agent calls AWS only once
/// for each, because it caches failures for several seconds.
#[tokio::test]
async fn loop_of_readers_does_not_hammer_upstream() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
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
    // A refusal is cached for at least three seconds.
    sidekey.advance(Duration::from_millis(2900));
    fake.secrets().create("app/new", "new").expect("the fake AWS server must create the secret");
    assert_eq!(sidekey.read("app/new").await.status, 400);
    assert_eq!(fake.calls().count_for(GetSecretValue, "app/new"), 1);
    sidekey.advance(BACK_OFF_OVER);
    assert_eq!(sidekey.read("app/new").await.value(), "new");
    assert_eq!(fake.calls().count_for(GetSecretValue, "app/new"), 2);
}

/// Reads many unknown names, so that the agent caches many errors. These errors must not evict the
/// configured secret.
#[tokio::test]
async fn forged_names_evict_nothing() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_CACHE_SIZE", 1);
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
