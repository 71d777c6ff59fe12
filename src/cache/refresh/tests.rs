//! Tests of the refresh loop: which cached secrets it fetches, and how often.

use crate::cache::fixture::{Answer, Fixture, SECOND, Setup, arn, key, ok, rule};
use crate::cache::freshness::{BACK_OFF_MAX, Policy, Refresh};
use crate::cache::policies::Rule;
use crate::cache::prefetch::Mode;
use crate::cache::{How, refresh};
use crate::clock::{Clock, Moment};
use crate::source::FetchErrorKind;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn timers_refresh_only_listed_secrets_that_were_read() {
    let fixture = Setup { listed: vec!["busy", "idle"], ..Setup::default() }.build();
    fixture.script("busy", Answer::Version(1));
    fixture.script("idle", Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!(fixture.calls(), 2);
    for _ in 0..1000 {
        assert_eq!(fixture.read("busy").await, ok("v1", How::Hit), "a reader must never wait");
        fixture.pass(SECOND).await;
    }
    let calls = fixture.source.calls.lock().unwrap().clone();
    assert_eq!(calls.iter().filter(|id| **id == "idle").count(), 1);
    let busy = calls.iter().filter(|id| **id == "busy").count();
    assert!(
        (11..=15).contains(&busy),
        "the cache must refresh the secret every 70 to 90 s, but made {busy} calls in 1,000 s"
    );
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn permanently_refused_secret_costs_no_calls_unless_it_is_listed() {
    let rules = vec![Rule { refresh: Some(Refresh::Always), ..rule("always") }];
    let fixture = Setup { rules, listed: vec!["listed"], ..Setup::default() }.build();
    for name in ["listed", "read", "always"] {
        fixture.script(name, Answer::Version(1));
        fixture.read(name).await.unwrap();
        fixture.script(name, Answer::Fail(FetchErrorKind::Denied));
    }
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.pass(300 * SECOND).await;
    let calls = || fixture.source.calls.lock().unwrap().clone();
    let before = calls().len();
    fixture.pass(600 * SECOND).await;
    let later = &calls()[before..];
    assert!(later.len() > 10 && later.iter().all(|name| name == "listed"), "{later:?}");
    fixture.script("read", Answer::Version(2));
    assert_eq!(fixture.read("read").await, ok("v2", How::Miss));
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_busy_secret_never_wait_and_never_get_an_older_or_expired_version() {
    const TTL: Duration = Duration::from_secs(10);
    const ROTATION: Duration = Duration::from_secs(3);
    let policy = Policy { ttl: TTL, ..Policy::default() };
    let fixture = Setup { policy, listed: vec!["busy"], ..Setup::default() }.build();
    fixture.script("busy", Answer::Version(0));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    let started = fixture.clock.now();
    let since = |then: Moment| fixture.clock.now().since(then).unwrap();
    let (mut rotations, mut newest) = (vec![started], 0);
    while since(started) < 12 * TTL {
        if since(*rotations.last().unwrap()) >= ROTATION {
            fixture.script("busy", Answer::Version(u32::try_from(rotations.len()).unwrap()));
            rotations.push(fixture.clock.now());
        }
        let before = fixture.clock.now();
        let (id, how) = fixture.read("busy").await.unwrap();
        assert_eq!((how, fixture.clock.now()), (How::Hit, before), "readers must not wait");
        let version: usize = id[1..].parse().unwrap();
        assert!(
            version >= newest,
            "readers must not get the older version v{version} after the version v{newest}"
        );
        newest = version;
        if let Some(replaced) = rotations.get(version + 1) {
            assert!(
                since(*replaced) <= TTL,
                "readers must not get the version v{version} {:?} after AWS replaced it",
                since(*replaced)
            );
        }
        fixture.pass(Duration::from_millis(1)).await;
    }
    // The cache may make one call at start, and one call for each 70 % of the TTL.
    assert!(
        fixture.calls() <= 12 * 10 / 7 + 2,
        "the cache must make at most 19 calls, but made {}",
        fixture.calls()
    );
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn after_a_thaw_only_entries_that_were_read_are_fetched() {
    let fixture = Setup { listed: vec!["read", "unread"], ..Setup::default() }.build();
    fixture.script("read", Answer::Version(1));
    fixture.script("unread", Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.read("read").await.unwrap();
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    fixture.pass(SECOND).await;
    let calls = fixture.source.calls.lock().unwrap().clone();
    assert_eq!(calls[2..], ["read"]);
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn policy_known_only_from_the_answer_causes_no_loop_of_calls() {
    // The rule matches an ARN, so Sidekey cannot tell from the name alone that the rule applies.
    let rules = vec![Rule { ttl: Some(Duration::ZERO), ..rule(&arn("live")) }];
    let fixture = Setup { rules, listed: vec!["live"], ..Setup::default() }.build();
    fixture.script("live", Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    assert!(fixture.cache.missing().is_empty());
    fixture.pass(60 * SECOND).await;
    assert_eq!(fixture.calls(), 1);
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn secret_that_is_always_refreshed_stays_fresh_without_readers() {
    let rules = vec![Rule { refresh: Some(Refresh::Always), ..rule("warm") }];
    let fixture = Setup { rules, listed: vec!["warm", "idle"], ..Setup::default() }.build();
    let calls = |name: &str| {
        let calls = fixture.source.calls.lock().unwrap();
        calls.iter().filter(|id| **id == *name).count()
    };
    fixture.script("warm", Answer::Version(1));
    fixture.script("idle", Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.pass(1000 * SECOND).await;
    let refreshed = calls("warm");
    assert!(
        (12..=15).contains(&refreshed),
        "the cache must refresh the secret every 70 to 90 s, but made {refreshed} calls in 1,000 s"
    );
    assert_eq!(calls("idle"), 1);
    fixture.script("warm", Answer::Version(2));
    fixture.pass(95 * SECOND).await;
    assert_eq!(fixture.read("warm").await, ok("v2", How::Hit));

    // During an outage, the wait between calls for this secret grows as for any other secret.
    fixture.script("warm", Answer::Fail(FetchErrorKind::Connection));
    fixture.pass(100 * SECOND).await;
    let before = calls("warm");
    fixture.pass(3600 * SECOND).await;
    let tries = calls("warm") - before;
    assert!(
        (120..=480).contains(&tries),
        "the cache must retry every 7.5 to 30 s, but made {tries} calls in one hour"
    );
    fixture.script("warm", Answer::Version(3));
    fixture.pass(BACK_OFF_MAX + SECOND).await;
    assert_eq!(fixture.read("warm").await, ok("v3", How::Hit));
    refreshing.abort();
}

fn listed_path() -> Fixture {
    let fixture = Setup { listed: vec!["ssm:/app/*"], ..Setup::default() }.build();
    fixture.script("ssm:/app/a", Answer::Version(1));
    fixture.script("ssm:/app/b", Answer::Version(1));
    fixture
}

/// Reads both parameters of the listed path, so that the loop refreshes them. Returns their
/// versions.
async fn both(fixture: &Fixture) -> Vec<String> {
    let mut versions = Vec::new();
    for name in ["ssm:/app/a", "ssm:/app/b"] {
        let read = fixture.cache.read(key(name)).await.expect("the parameter must be readable");
        versions.push(read.entry.version.id.to_string());
    }
    versions
}

#[tokio::test(start_paused = true)]
async fn parameters_of_a_listed_path_are_refreshed_by_the_call_for_the_path() {
    let fixture = listed_path();
    fixture.prefetch(Mode::Get, SECOND).await;
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    assert_eq!(both(&fixture).await, ["1", "1"]);
    fixture.script("ssm:/app/a", Answer::Version(2));
    fixture.pass(95 * SECOND).await;
    assert_eq!(both(&fixture).await, ["2", "1"]);
    assert_eq!(*fixture.source.calls.lock().unwrap(), ["ssm:/app/*#path", "ssm:/app/*#path"]);
    assert!(fixture.source.batches.lock().unwrap().is_empty());
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn parameters_are_refreshed_by_name_if_aws_refuses_their_path() {
    let fixture = listed_path();
    fixture.prefetch(Mode::Get, SECOND).await;
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    both(&fixture).await;
    fixture.script("ssm:/app/*#path", Answer::Fail(FetchErrorKind::Denied));
    fixture.script("ssm:/app/a", Answer::Version(2));
    fixture.pass(99 * SECOND).await;
    assert_eq!(both(&fixture).await, ["2", "1"]);
    assert_eq!(*fixture.source.batches.lock().unwrap(), [2]);
    refreshing.abort();
}
