//! Tests of reads while the home region fails and another region has replicas.

use crate::cache::fixture::{
    Answer, FAILOVER_REGION, Fixture, LATENCY, SECOND, Setup, arn, failed, key, key_with_role, ok,
    outcome, version,
};
use crate::cache::freshness::{BACK_OFF_MAX, Policy, Reason};
use crate::cache::prefetch::Mode;
use crate::cache::{How, refresh};
use crate::secret::key::Key;
use crate::secret::selector::Selector;
use crate::secret::version::{Details, Version};
use crate::source::FetchErrorKind;
use std::time::Duration;

const DOWN: Answer = Answer::Fail(FetchErrorKind::Service);

fn setup() -> Setup {
    Setup { has_failover: true, ..Setup::default() }
}

/// Returns the AWS region of the only cached entry, as the status page shows it.
fn region(fixture: &Fixture) -> String {
    fixture.cache.status().entries[0].region.to_string()
}

/// Lets the refresh loop run beside the test.
fn refreshing(fixture: &Fixture) {
    drop(tokio::spawn(refresh::run(fixture.writer.clone())));
}

#[tokio::test(start_paused = true)]
async fn replica_is_read_if_home_fails_and_home_replaces_it_when_it_answers() {
    let fixture = setup().build();
    refreshing(&fixture);
    fixture.script("app", DOWN);
    fixture.script_replica("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    assert_eq!((fixture.replica_calls(), region(&fixture).as_str()), (1, FAILOVER_REGION));
    for _ in 0..20 {
        fixture.pass(4 * SECOND).await;
        assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    }
    assert_eq!(
        fixture.replica_calls(),
        1,
        "the cache must not call the replica again while the value is fresh"
    );
    assert!(fixture.calls() > 4, "the cache must call the home region again after each back-off");
    fixture.script("app", Answer::Version(1));
    fixture.pass(BACK_OFF_MAX + LATENCY).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    assert_eq!(region(&fixture), "eu-north-1");
}

#[tokio::test(start_paused = true)]
async fn rotation_and_refusal_at_home_count_after_a_failover() {
    for (answer, expected) in [
        (Answer::Version(2), ok("v2", How::Hit)),
        (Answer::Fail(FetchErrorKind::Denied), ok("v1", How::Stale(Reason::Refused))),
    ] {
        let fixture = setup().build();
        refreshing(&fixture);
        fixture.script("app", DOWN);
        fixture.script_replica("app", Answer::Version(1));
        assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
        fixture.script("app", answer);
        fixture.pass(SECOND).await;
        assert_eq!(fixture.read("app").await, expected, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn read_of_a_replicas_value_asks_home_again_in_the_background() {
    let fixture = setup().build();
    fixture.script("app", DOWN);
    fixture.script_replica("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    fixture.script("app", Answer::Version(2));
    fixture.pass(SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    fixture.pass(SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn replica_replaces_a_stale_value_but_not_a_fresh_one() {
    let fixture = setup().build();
    fixture.script("app", Answer::Version(1));
    fixture.script_replica("app", Answer::Version(2));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    fixture.script("app", DOWN);
    fixture.pass(95 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    fixture.pass(SECOND).await;
    assert_eq!(
        (fixture.calls(), fixture.replica_calls()),
        (2, 0),
        "the cache must not call the replica while the value is fresh"
    );
    fixture.pass(4 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Stale(Reason::Failing)));
    fixture.pass(SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Hit));
    assert_eq!(region(&fixture), FAILOVER_REGION);
}

#[tokio::test(start_paused = true)]
async fn refusal_never_leads_to_a_replica() {
    for kind in [FetchErrorKind::Denied, FetchErrorKind::NotFound, FetchErrorKind::Decryption] {
        let fixture = setup().build();
        fixture.script_replica("app", Answer::Version(1));
        fixture.script("app", Answer::Fail(kind));
        assert_eq!(fixture.read("app").await, failed(kind.label()));
        // The home region refused the last call that it answered, so the replica must not be read.
        fixture.script("app", DOWN);
        fixture.pass(60 * SECOND).await;
        assert_eq!(fixture.read("app").await, failed("service"));
        assert_eq!(fixture.replica_calls(), 0);
    }
    // The same holds if the secret was cached before the home region refused it.
    let fixture = setup().build();
    fixture.script("app", Answer::Version(1));
    fixture.script_replica("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.script("app", Answer::Fail(FetchErrorKind::Denied));
    fixture.read_now("app").await.unwrap_err();
    fixture.script("app", DOWN);
    fixture.pass(200 * SECOND).await;
    assert_eq!(fixture.read("app").await, failed("service"));
    assert_eq!(fixture.replica_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn older_version_of_a_replica_never_replaces_a_newer_one() {
    let policy = Policy { ttl: 100 * SECOND, stale_if_error: 10 * SECOND, ..Policy::default() };
    let fixture = Setup { policy, ..setup() }.build();
    fixture.script("app", Answer::Version(2));
    fixture.script_replica("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
    fixture.script("app", DOWN);
    fixture.pass(105 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Stale(Reason::Failing)));
    for _ in 0..5 {
        fixture.pass(20 * SECOND).await;
        assert_eq!(fixture.read("app").await, failed("service"));
    }
    assert!(fixture.replica_calls() > 4);
    assert_eq!(region(&fixture), "eu-north-1");
    fixture.script_replica("app", Answer::Version(2));
    fixture.pass(20 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
    assert_eq!(region(&fixture), FAILOVER_REGION);
}

/// The cache has version 2, which a request by version id fetched and which has the label
/// `AWSCURRENT`. Version 1 of the replica must not replace it.
#[tokio::test(start_paused = true)]
async fn older_version_of_a_replica_never_replaces_a_newer_one_that_is_held_by_its_id() {
    let policy = Policy { ttl: 100 * SECOND, stale_if_error: 10 * SECOND, ..Policy::default() };
    let fixture = Setup { policy, ..setup() }.build();
    fixture.script("app", Answer::Version(1));
    fixture.script_replica("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    let by_id = Key { selector: Selector::new(None, Some("v2")), ..key("app") };
    let current = Details::Secret { labels: vec!["AWSCURRENT".into()] };
    let newer = Version { details: current, ..version("app", 2, &by_id) };
    let sent = fixture.writer.upstream().sending();
    fixture.writer.settle(&by_id, sent, Ok(newer)).unwrap();
    fixture.script("app", DOWN);
    fixture.pass(200 * SECOND).await;
    assert_eq!(fixture.read("app").await, failed("service"));
    assert!(fixture.replica_calls() > 0);
}

/// The secret was deleted and created again, so it has another ARN. The replica belongs to the
/// deleted secret.
#[tokio::test(start_paused = true)]
async fn replica_of_a_deleted_secret_never_replaces_the_secret_that_was_created_again() {
    let policy = Policy { ttl: 100 * SECOND, stale_if_error: 10 * SECOND, ..Policy::default() };
    let fixture = Setup { policy, ..setup() }.build();
    let again = Version {
        arn: arn("app").replace("AbC123", "DeF456").into(),
        ..version("app", 2, &key("app"))
    };
    let sent = fixture.writer.upstream().sending();
    fixture.writer.settle(&key("app"), sent, Ok(again)).unwrap();
    fixture.script("app", DOWN);
    fixture.script_replica("app", Answer::Version(1));
    fixture.pass(200 * SECOND).await;
    assert_eq!(fixture.read("app").await, failed("service"));
    assert!(fixture.replica_calls() > 0);
}

#[tokio::test(start_paused = true)]
async fn value_of_a_replica_is_renewed_by_the_replica_without_a_gap() {
    for ttl in [SECOND, 20 * SECOND] {
        let policy = Policy { ttl, stale_if_error: Duration::ZERO, ..Policy::default() };
        let fixture = Setup { policy, ..setup() }.build();
        refreshing(&fixture);
        fixture.script("app", DOWN);
        fixture.script_replica("app", Answer::Version(1));
        for _ in 0..200 {
            assert!(fixture.read("app").await.is_ok());
            fixture.pass(ttl / 7).await;
        }
        let expected = 200 / 7;
        assert!(fixture.replica_calls() <= expected + 2, "{}", fixture.replica_calls());
        fixture.script("app", Answer::Version(2));
        fixture.pass(BACK_OFF_MAX + SECOND).await;
        fixture.read("app").await.unwrap();
        assert_eq!(region(&fixture), "eu-north-1");
    }
}

#[tokio::test(start_paused = true)]
async fn secret_that_is_not_cached_is_read_from_its_replica_each_time() {
    let policy = Policy { ttl: Duration::ZERO, ..Policy::default() };
    let fixture = Setup { policy, ..setup() }.build();
    fixture.script("app", DOWN);
    fixture.script_replica("app", Answer::Version(1));
    for n in 1..4 {
        assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
        assert_eq!((fixture.calls(), fixture.replica_calls()), (n, n));
    }
    assert!(fixture.cache.status().entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn slow_replica_gets_the_rest_of_the_readers_wait() {
    let fixture = setup().build();
    fixture.script("app", Answer::TimeOut);
    fixture.script_replica("app", Answer::Hang);
    assert_eq!(fixture.read("app").await, failed("wait over"));
    fixture.pass(LATENCY).await;
    assert_eq!(
        fixture.cache.status().flights,
        0,
        "the call must end when the reader's maximum wait is over"
    );
    let timeouts = "sidekey_failover_requests_total{outcome=\"timeout\"} 1";
    assert!(fixture.metrics.render().contains(timeouts));
}

#[tokio::test(start_paused = true)]
async fn missing_replica_leaves_the_error_of_home_with_advice() {
    let fixture = setup().build();
    fixture.script("app", Answer::Fail(FetchErrorKind::Throttled));
    let error = fixture.cache.read(key("app")).await.unwrap_err();
    let crate::cache::ReadError::Upstream(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind, FetchErrorKind::Throttled);
    assert!(error.hint().contains("eu-west-1 has no replica of this secret"), "{}", error.hint());
    let metrics = fixture.metrics.render();
    assert!(metrics.contains("sidekey_failover_requests_total{outcome=\"not_found\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn parameter_has_no_replica() {
    let fixture = setup().build();
    fixture.script("ssm:/app", DOWN);
    assert_eq!(fixture.read("ssm:/app").await, failed("service"));
    assert_eq!(fixture.replica_calls(), 0);
}

/// A call by name reads the replica, while an earlier call by ARN still waits for the home region.
/// When the home region answers, its version replaces the replica's version.
#[tokio::test(start_paused = true)]
async fn home_replaces_a_replica_even_if_home_was_asked_earlier() {
    let fixture = setup().build();
    let (by_name, by_arn) = (key("app"), key(&arn("app")));
    let early = fixture.writer.upstream().sending();
    fixture.pass(SECOND).await;
    fixture.script("app", DOWN);
    fixture.script_replica("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    fixture.writer.settle(&by_arn, early, Ok(version("app", 2, &by_arn))).unwrap();
    assert_eq!(outcome(fixture.cache.read(by_name).await), ok("v2", How::Hit));
    assert_eq!(region(&fixture), "eu-north-1");
}

/// The home region answers a call by ARN, and fails the next call by name for the same secret. The
/// cache must not read the replica, because the cached version is fresh: a normal request by name
/// gets this version. Only a request with `refreshNow` fails, because it needs a new answer.
#[tokio::test(start_paused = true)]
async fn version_that_is_fresh_by_another_id_needs_no_replica() {
    let fixture = setup().build();
    fixture.script("app", DOWN);
    fixture.script_replica("app", Answer::Version(2));
    let by_arn = key(&arn("app"));
    let early = fixture.writer.upstream().sending();
    fixture.writer.settle(&by_arn, early, Ok(version("app", 2, &by_arn))).unwrap();
    assert_eq!(fixture.read_now("app").await, failed("service"));
    assert_eq!(fixture.read("app").await, ok("v2", How::Hit));
    assert_eq!(region(&fixture), "eu-north-1");
}

/// The home region responds to no call, so each call to it times out after 2 s. Only the first
/// calls wait for this timeout.
#[tokio::test(start_paused = true)]
async fn prefetch_of_many_secrets_fails_over_within_its_deadline() {
    let names: Vec<&'static str> =
        (0..100).map(|n| &*Box::leak(format!("s{n}").into_boxed_str())).collect();
    for (mode, batch_fails) in [
        (Mode::Get, None),
        (Mode::Batch, Some(FetchErrorKind::Timeout)),
        (Mode::Auto, Some(FetchErrorKind::Service)),
    ] {
        let fixture = Setup { listed: names.clone(), batch_fails, ..setup() }.build();
        for name in &names {
            fixture.script(name, Answer::TimeOut);
            fixture.script_replica(name, Answer::Version(1));
        }
        let report = fixture.prefetch(mode, 3 * SECOND).await;
        assert!(report.is_settled && report.missing.is_empty(), "{mode:?} {report:?}");
        assert_eq!(fixture.replica_calls(), 100);
        assert_eq!(fixture.read("s99").await, ok("v1", How::Hit));
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_finds_out_whether_home_works_again() {
    let fixture = setup().build();
    for name in ["a", "b", "c", "d", "e"] {
        fixture.script(name, Answer::TimeOut);
        fixture.script_replica(name, Answer::Version(1));
    }
    fixture.read("a").await.unwrap();
    assert_eq!(fixture.read("b").await, ok("v1", How::Miss));
    assert_eq!((fixture.calls(), fixture.replica_calls()), (1, 2));
    fixture.pass(6 * SECOND).await;
    let (c, d) = tokio::join!(fixture.read("c"), fixture.read("d"));
    assert_eq!((c, d), (ok("v1", How::Miss), ok("v1", How::Miss)));
    assert_eq!((fixture.calls(), fixture.replica_calls()), (2, 4));
    fixture.pass(6 * SECOND).await;
    fixture.script("e", Answer::Version(1));
    fixture.read("e").await.unwrap();
    assert_eq!((fixture.calls(), fixture.replica_calls()), (3, 4));
}

/// Only one call got no response. A secret without a replica must not fail because of this call.
#[tokio::test(start_paused = true)]
async fn home_is_called_for_a_secret_without_a_replica_although_another_call_got_no_response() {
    let fixture = setup().build();
    fixture.script("replicated", Answer::TimeOut);
    fixture.script_replica("replicated", Answer::Version(1));
    fixture.script("single", Answer::Version(1));
    assert_eq!(fixture.read("replicated").await, ok("v1", How::Miss));
    assert_eq!(fixture.read("single").await, ok("v1", How::Miss));
    assert_eq!((fixture.calls(), fixture.replica_calls()), (2, 2));
}

/// The cache makes one call to the home region for each secret, and then remembers the failure of
/// this call.
#[tokio::test(start_paused = true)]
async fn home_is_called_once_for_a_secret_without_a_replica_during_an_outage() {
    let fixture = setup().build();
    fixture.script("replicated", Answer::TimeOut);
    fixture.script_replica("replicated", Answer::Version(1));
    fixture.script("single", Answer::TimeOut);
    assert_eq!(fixture.read("replicated").await, ok("v1", How::Miss));
    let error = fixture
        .cache
        .read(key("single"))
        .await
        .expect_err("the read must fail, because both regions fail");
    let crate::cache::ReadError::Upstream(error) = error else { panic!("{error:?}") };
    assert!(error.hint().contains("eu-west-1 has no replica of this secret"), "{}", error.hint());
    assert_eq!((fixture.calls(), fixture.replica_calls()), (2, 2));
    fixture.pass(SECOND).await;
    assert_eq!(fixture.read("single").await, failed("timeout"));
    assert_eq!(fixture.calls(), 2, "the cache must not call the home region again at once");
}

/// The failover region throttles the call, so it may still have a replica. The cache must not call
/// the home region again.
#[tokio::test(start_paused = true)]
async fn transient_failure_of_a_replica_during_an_outage_is_no_reason_to_call_home() {
    let fixture = setup().build();
    fixture.script("a", Answer::TimeOut);
    fixture.script_replica("a", Answer::Version(1));
    fixture.script("b", Answer::Version(1));
    fixture.script_replica("b", Answer::Fail(FetchErrorKind::Throttled));
    assert_eq!(fixture.read("a").await, ok("v1", How::Miss));
    assert_eq!(fixture.read("b").await, failed("timeout"));
    assert_eq!((fixture.calls(), fixture.replica_calls()), (1, 2));
}

/// The batch call succeeds, but the home region throttles one of the secrets in the batch.
#[tokio::test(start_paused = true)]
async fn secret_that_fails_within_a_batch_is_read_from_its_replica_at_once() {
    let fixture = Setup { listed: vec!["a", "b", "c"], ..setup() }.build();
    fixture.script("a", Answer::Version(1));
    fixture.script("b", Answer::Fail(FetchErrorKind::Throttled));
    fixture.script_replica("b", Answer::Version(1));
    fixture.script("c", Answer::Fail(FetchErrorKind::Denied));
    fixture.script_replica("c", Answer::Version(1));
    let report = fixture.prefetch(Mode::Batch, SECOND).await;
    let missing: Vec<&str> = report.missing.iter().map(|missing| missing.key.id.as_str()).collect();
    assert_eq!(missing, ["c"]);
    assert_eq!(report.took, 2 * LATENCY);
    assert_eq!(fixture.read("b").await, ok("v1", How::Hit));
    assert_eq!((fixture.calls(), fixture.replica_calls()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn success_with_a_role_shows_that_home_works_again() {
    let fixture = setup().build();
    fixture.script("a", Answer::TimeOut);
    fixture.script_replica("a", Answer::Version(1));
    for name in ["b", "c", "d"] {
        fixture.script(name, Answer::Version(2));
        fixture.script_replica(name, Answer::Version(1));
    }
    fixture.read("a").await.unwrap();
    assert_eq!((fixture.calls(), fixture.replica_calls()), (1, 1));
    fixture.pass(6 * SECOND).await;
    fixture.cache.read(key_with_role("b")).await.expect("the home region must answer");
    let (c, d) = tokio::join!(fixture.read("c"), fixture.read("d"));
    assert_eq!((c, d), (ok("v2", How::Miss), ok("v2", How::Miss)));
    assert_eq!((fixture.calls(), fixture.replica_calls()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn failure_with_a_role_is_no_outage_of_home() {
    let fixture = setup().build();
    fixture.script("a", Answer::TimeOut);
    fixture.script("b", Answer::Version(1));
    assert!(fixture.cache.read(key_with_role("a")).await.is_err());
    let replica_calls = fixture.replica_calls();
    assert_eq!(fixture.read("b").await, ok("v1", How::Miss));
    assert_eq!(fixture.replica_calls(), replica_calls);
}

/// The failure of a call with a role does not show that the home region is down. So the next call
/// must still find out whether the home region works again.
#[tokio::test(start_paused = true)]
async fn failure_with_a_role_does_not_take_the_call_that_finds_out_whether_home_works_again() {
    let fixture = setup().build();
    for name in ["a", "b"] {
        fixture.script(name, Answer::TimeOut);
        fixture.script_replica(name, Answer::Version(1));
    }
    fixture.script("c", Answer::Version(2));
    fixture.script_replica("c", Answer::Version(1));
    fixture.read("a").await.unwrap();
    fixture.pass(6 * SECOND).await;
    fixture.cache.read(key_with_role("b")).await.expect("the replica must answer");
    assert_eq!(fixture.read("c").await, ok("v2", How::Miss));
    assert_eq!((fixture.calls(), fixture.replica_calls()), (3, 2));
}

/// A freeze interrupts the call for the replica, so the answer may be old and must not count.
#[tokio::test(start_paused = true)]
async fn call_for_a_replica_that_a_freeze_interrupts_is_no_answer() {
    let fixture = setup().build();
    fixture.script("app", DOWN);
    fixture.script_replica("app", Answer::Version(1));
    let cache = fixture.cache.clone();
    let reading = tokio::spawn(async move { outcome(cache.read(key("app")).await) });
    fixture.pass(LATENCY + LATENCY / 2).await;
    tokio::time::advance(3600 * SECOND).await;
    fixture.script("app", Answer::Version(2));
    assert_eq!(reading.await.expect("the task must not panic"), ok("v2", How::Miss));
    assert_eq!((fixture.calls(), fixture.replica_calls()), (2, 1));
}
