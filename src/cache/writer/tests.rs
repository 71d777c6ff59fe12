//! Tests how the cache handles the answers of AWS: older versions, refresh policies, and values
//! that break the rules for secrets of their name.

use crate::cache::fixture::{
    Answer, CONVENTIONAL, LATENCY, SECOND, Setup, arn, failed, key, ok, outcome, rule, version,
};
use crate::cache::freshness::{Policy, Reason, Refresh};
use crate::cache::policies::Rule;
use crate::cache::prefetch::Mode;
use crate::cache::{How, refresh};
use crate::convention::problem::Problem;
use crate::secret::version::Version;
use crate::source::FetchErrorKind;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn panic_ends_only_its_flight() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Panic);
    assert_eq!(fixture.read("app").await, failed("internal"));
    fixture.script("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn lagging_replica_does_not_undo_a_rotation() {
    let fixture = Setup { listed: vec!["app"], ..Setup::default() }.build();
    fixture.script("app", Answer::Version(2));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
    fixture.script("app", Answer::Version(1));
    while fixture.calls() < 2 {
        fixture.pass(LATENCY).await;
    }
    fixture.pass(2 * LATENCY).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Hit));
    fixture.script("app", Answer::Version(2));
    assert_eq!(fixture.calls(), 2, "the cache must not call AWS again within one second");
    fixture.pass(2 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Hit));
    assert_eq!(fixture.calls(), 3, "the cache must call AWS again after one second");
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn label_moved_back_to_an_older_version_is_accepted_at_the_second_answer() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(2));
    fixture.read("app").await.unwrap();
    fixture.script("app", Answer::Version(1));
    fixture.pass(2 * SECOND).await;
    let plain = async {
        fixture.pass(2 * LATENCY).await;
        (fixture.calls(), fixture.read("app").await)
    };
    let (refreshed, (calls, read)) = tokio::join!(fixture.read_now("app"), plain);
    assert_eq!(
        (calls, read),
        (2, ok("v2", How::Hit)),
        "the cache must keep a version until AWS has returned an older version twice"
    );
    assert_eq!((fixture.calls(), refreshed), (3, ok("v1", How::Refreshed)));
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn expired_value_is_served_stale_until_a_second_answer_confirms_the_older_version() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(2));
    fixture.read("app").await.unwrap();
    fixture.script("app", Answer::Version(1));
    fixture.pass(101 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Stale(Reason::Failing)));
    fixture.pass(SECOND).await;
    assert_eq!(
        fixture.read("app").await,
        ok("v2", How::Stale(Reason::Failing)),
        "the read must return the stale value, and start another call to AWS"
    );
    fixture.pass(2 * LATENCY).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn older_answer_is_accepted_if_the_cached_value_may_not_be_served() {
    let policy = Policy { ttl: 100 * SECOND, stale_if_error: Duration::ZERO, ..Policy::default() };
    let fixture = Setup { policy, ..Setup::default() }.build();
    fixture.script("app", Answer::Version(2));
    fixture.read("app").await.unwrap();
    fixture.script("app", Answer::Version(1));
    fixture.pass(101 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn slow_answer_does_not_replace_the_answer_of_a_later_call() {
    let fixture = Setup::default().build();
    let by_name = key("app");
    let by_arn = key(&arn("app"));
    let early = fixture.writer.upstream().sending();
    fixture.pass(SECOND).await;
    let late = fixture.writer.upstream().sending();
    fixture.writer.settle(&by_name, late, Ok(version("app", 2, &by_name))).unwrap();
    // Without creation dates, the version whose call to AWS was sent later counts as newer.
    let undated = Version { created: None, ..version("app", 1, &by_arn) };
    let cached = fixture.cache.snapshot().entry(&key("app")).unwrap().clone();
    assert!(cached.marks.claim_refresh());
    let slow = fixture.writer.settle(&by_arn, early, Ok(undated)).unwrap();
    assert_eq!(
        &*slow.version.id, "v2",
        "readers that wait for the slow call must get the newer version"
    );
    assert!(cached.marks.claim_refresh(), "the next reader must be able to start a new refresh");
    assert_eq!(fixture.read("app").await, ok("v2", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn each_secret_ages_by_its_own_policy_whichever_id_it_is_read_by() {
    let (ttl, denied_grace) = (Some(10 * SECOND), Some(Duration::ZERO));
    let rules = vec![Rule { ttl, denied_grace, ..rule("short/*") }];
    let fixture = Setup { rules, ..Setup::default() }.build();
    for name in ["short/app", "long/app"] {
        fixture.script(name, Answer::Version(1));
        fixture.read(name).await.unwrap();
        fixture.script(name, Answer::Version(2));
    }
    fixture.pass(11 * SECOND).await;
    assert_eq!(outcome(fixture.cache.read(key(&arn("short/app"))).await), ok("v2", How::Miss));
    assert_eq!(fixture.read("short/app").await, ok("v2", How::Hit));
    assert_eq!(fixture.read("long/app").await, ok("v1", How::Hit));

    for name in ["short/app", "long/app"] {
        fixture.script(name, Answer::Fail(FetchErrorKind::Denied));
    }
    fixture.pass(95 * SECOND).await;
    assert_eq!(fixture.read("short/app").await, failed("denied"));
    assert_eq!(fixture.read("long/app").await, ok("v1", How::Stale(Reason::Refused)));
}

#[tokio::test(start_paused = true)]
async fn one_secret_can_have_a_ttl_of_zero() {
    let rules = vec![Rule { ttl: Some(Duration::ZERO), ..rule("live") }];
    let listed = vec!["live", "other"];
    let fixture = Setup { rules, listed, ..Setup::default() }.build();
    fixture.script("live", Answer::Version(1));
    fixture.script("other", Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    assert!(fixture.cache.missing().is_empty());
    fixture.pass(60 * SECOND).await;
    assert_eq!(fixture.calls(), 2, "the cache must not refresh a secret whose TTL is 0");
    for _ in 0..3 {
        assert_eq!(fixture.read("live").await, ok("v1", How::Miss));
    }
    assert_eq!(fixture.read("other").await, ok("v1", How::Hit));
    assert_eq!((fixture.calls(), fixture.cache.snapshot().entries().count()), (5, 1));
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn entry_cached_before_the_account_was_known_is_removed_if_its_ttl_is_zero() {
    let rules = vec![Rule { ttl: Some(Duration::ZERO), ..rule("live") }];
    let fixture = Setup { rules, ..Setup::default() }.build();
    fixture.script("live", Answer::Version(1));
    fixture.script("other", Answer::Version(1));
    let by_arn = || fixture.cache.read(key(&arn("live")));
    assert_eq!(outcome(by_arn().await), ok("v1", How::Miss));
    assert_eq!(
        outcome(by_arn().await),
        ok("v1", How::Hit),
        "the cache must keep the secret while Sidekey does not know its own AWS account"
    );
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.read("other").await.unwrap();
    fixture.pass(95 * SECOND).await;
    let calls = fixture.source.calls.lock().unwrap().iter().filter(|id| **id != "other").count();
    assert_eq!(
        calls, 2,
        "the cache must not refresh the secret again after the cache learned that the TTL is 0"
    );
    assert_eq!(outcome(by_arn().await), ok("v1", How::Miss));
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn cached_version_is_checked_against_its_convention_once() {
    let fixture = Setup::default().build();
    let malformed =
        async || fixture.cache.read(key(CONVENTIONAL)).await.unwrap().entry.malformed.clone();
    fixture.script(CONVENTIONAL, Answer::Version(1));
    let first = malformed()
        .await
        .expect("the value must break the rule for its secret, because the value is not JSON");
    assert_eq!((first.kind(), first.is_withheld), ("openai-api-key", false));
    fixture.pass(101 * SECOND).await;
    let again = malformed()
        .await
        .expect("the same value must still break the rule after a second call to AWS");
    assert_eq!(fixture.calls(), 2, "the cache must have fetched the secret again");
    assert!(Arc::ptr_eq(&first, &again), "the cache must not check the same version a second time");
    let counts = fixture.cache.problems();
    assert_eq!(
        counts.iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(),
        [&("not-json", 1)]
    );

    fixture.script(CONVENTIONAL, Answer::WellFormed(2));
    fixture.pass(101 * SECOND).await;
    assert_eq!(malformed().await, None);
    assert_eq!(fixture.cache.problems().map(|(_, count)| count), [0; Problem::CODES.len()]);
    fixture.script("other", Answer::Version(1));
    fixture.read("other").await.unwrap();
    assert_eq!(
        fixture.cache.problems().map(|(_, count)| count),
        [0; Problem::CODES.len()],
        "the secret `other` must have no problems, because no rule applies to its name"
    );
}

#[tokio::test(start_paused = true)]
async fn withheld_value_is_fetched_again_within_seconds_if_it_is_read() {
    let always = Policy { ttl: 1000 * SECOND, refresh: Refresh::Always, ..Policy::default() };
    let setup = Setup { is_strict: true, policy: always, ..Setup::default() };
    let fixture = Setup { listed: vec![CONVENTIONAL], ..setup }.build();
    fixture.script(CONVENTIONAL, Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!(
        fixture.cache.missing(),
        [],
        "the cache must keep a secret even if Sidekey refuses to serve the value"
    );
    fixture.pass(3600 * SECOND).await;
    assert_eq!(
        fixture.calls(),
        1,
        "the cache must not call AWS while no reader asks for the secret"
    );

    let is_withheld = || {
        let snapshot = fixture.cache.snapshot();
        let entry = snapshot.entry(&key(CONVENTIONAL)).expect("the secret must be cached");
        entry.malformed.as_ref().is_some_and(|malformed| malformed.is_withheld)
    };
    for _ in 0..100 {
        fixture.read(CONVENTIONAL).await.unwrap();
        assert!(is_withheld());
        fixture.pass(SECOND).await;
    }
    let calls = fixture.calls();
    assert!(
        (20..=35).contains(&calls),
        "the cache must fetch the secret every 3.5 to 5 s, but made {calls} calls in 100 s"
    );

    fixture.pass(100 * SECOND).await;
    fixture.script(CONVENTIONAL, Answer::WellFormed(2));
    assert_eq!(
        fixture.read(CONVENTIONAL).await,
        ok("v2", How::Miss),
        "the first read after the correction must return the corrected value"
    );
    assert!(!is_withheld());
    let calls = fixture.calls();
    for _ in 0..69 {
        fixture.pass(10 * SECOND).await;
        assert_eq!(fixture.read(CONVENTIONAL).await, ok("v2", How::Hit));
    }
    assert_eq!(
        fixture.calls(),
        calls,
        "the cache must not fetch the corrected value again before the normal TTL is over"
    );
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn withheld_value_stays_withheld_and_backs_off_while_aws_fails() {
    let fixture = Setup { is_strict: true, ..Setup::default() }.build();
    fixture.script(CONVENTIONAL, Answer::Version(1));
    fixture.read(CONVENTIONAL).await.unwrap();
    fixture.pass(6 * SECOND).await;
    fixture.script(CONVENTIONAL, Answer::Fail(FetchErrorKind::Throttled));
    let stale = ok("v1", How::Stale(Reason::Failing));
    for _ in 0..10 {
        assert_eq!(fixture.read(CONVENTIONAL).await, stale);
    }
    assert_eq!(fixture.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn answer_that_names_another_secret_is_an_error_and_changes_nothing() {
    let fixture = Setup::default().build();
    for id in ["app", "missing"] {
        fixture.script(id, Answer::Version(1));
    }
    fixture.read("app").await.unwrap();
    for id in ["app", "missing", &*arn("app"), &*arn("missing")] {
        let sent = fixture.writer.upstream().sending();
        let other = version("other", 2, &key("other"));
        let settled = fixture.writer.settle(&key(id), sent, Ok(other));
        assert_eq!(
            settled.map(|_| ()).map_err(|error| error.kind),
            Err(FetchErrorKind::Mismatched),
            "{id}"
        );
    }
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    assert!(fixture.cache.snapshot().secret(&key("other")).is_none());
    assert!(fixture.cache.snapshot().secret(&key("missing")).is_none());
    assert_eq!(fixture.read("missing").await, failed("mismatched"));
}
