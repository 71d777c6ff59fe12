//! Tests of the searches for the patterns in `SIDEKEY_SECRETS`: what they cache, and when they run.

use crate::cache::fixture::{Answer, Fixture, LATENCY, SECOND, Setup, key, ok, rule};
use crate::cache::freshness::{Policy, Refresh};
use crate::cache::policies::Rule;
use crate::cache::prefetch::Mode;
use crate::cache::{How, refresh, search};
use crate::source::FetchErrorKind;
use std::time::Duration;
use tokio::task::JoinHandle;

const INTERVAL: Duration = Duration::from_secs(300);

/// Makes a cache that searches for `patterns` every five minutes, with a TTL that does not end
/// during a test.
fn setup(patterns: &[&'static str]) -> Setup {
    Setup {
        patterns: patterns.to_vec(),
        interval: INTERVAL,
        policy: Policy { ttl: 10_000 * SECOND, ..Policy::default() },
        ..Setup::default()
    }
}

fn start(fixture: &Fixture) -> JoinHandle<()> {
    tokio::spawn(search::run(fixture.writer.clone()))
}

impl Fixture {
    fn searches(&self) -> usize {
        self.source.searches.lock().unwrap().len()
    }

    fn fail_searches(&self, failure: Option<FetchErrorKind>) {
        *self.source.search_fails.lock().unwrap() = failure;
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|own| own == line)
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_that_match_are_cached_at_start_by_few_calls() {
    for (pattern, batches) in [("app/*", 0), ("tag:channel=sms", 3), ("*/3", 1)] {
        let fixture = setup(&[pattern]).build();
        for name in ["app/1", "app/2", "app/3", "app/4", "app/5"] {
            fixture.script(name, Answer::Version(1));
        }
        let searching = start(&fixture);
        let report = fixture.prefetch(Mode::Get, SECOND).await;
        let found = if pattern == "*/3" { 1 } else { 5 };
        assert_eq!((report.found, report.is_settled), (found, true), "{pattern}");
        assert_eq!(fixture.read("app/3").await, ok("v1", How::Hit), "{pattern}");
        assert_eq!(fixture.calls(), 0, "{pattern}");
        assert_eq!(fixture.source.batches.lock().unwrap().len(), batches, "{pattern}");
        assert!(fixture.metric("sidekey_searches_total{result=\"complete\"} 1"), "{pattern}");
        assert!(fixture.metric(&format!("sidekey_found_secrets {found}")), "{pattern}");
        searching.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn start_waits_for_searches_until_the_deadline() {
    let fixture = setup(&["app/*"]).build();
    for number in 0..200 {
        fixture.script(&format!("app/{number}"), Answer::Version(1));
    }
    let searching = start(&fixture);
    let report = fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!((report.took, report.is_settled), (SECOND, false));
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn new_secret_is_cached_before_its_first_read_and_a_deleted_one_goes() {
    let fixture = setup(&["app/*"]).build();
    fixture.script("app/old", Answer::Version(1));
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.script("app/new", Answer::Version(1));
    fixture.script("app/old", Answer::Fail(FetchErrorKind::NotFound));
    fixture.pass(INTERVAL).await;
    assert_eq!(fixture.searches(), 2);
    assert_eq!(fixture.read("app/new").await, ok("v1", How::Hit));
    assert_eq!(fixture.read("app/old").await, Err("not_found".to_owned()));
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn secret_that_no_pattern_finds_any_more_stays_if_it_is_listed_by_name() {
    let fixture = Setup { listed: vec!["app/old"], ..setup(&["app/*"]) }.build();
    fixture.script("app/old", Answer::Version(1));
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.script("app/old", Answer::Fail(FetchErrorKind::NotFound));
    fixture.pass(INTERVAL).await;
    assert_eq!(fixture.read("app/old").await, ok("v1", How::Hit));
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn failed_searches_back_off_and_change_nothing() {
    let fixture = setup(&["app/*"]).build();
    fixture.script("app/1", Answer::Version(1));
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.fail_searches(Some(FetchErrorKind::Throttled));
    fixture.pass(INTERVAL + 100 * SECOND).await;
    let searches = fixture.searches();
    assert!(
        (5..=8).contains(&searches),
        "the cache must make 5 to 8 searches, but made {searches}"
    );
    assert_eq!(fixture.read("app/1").await, ok("v1", How::Hit));
    fixture.fail_searches(None);
    fixture.script("app/2", Answer::Version(1));
    fixture.pass(INTERVAL).await;
    assert_eq!(fixture.read("app/2").await, ok("v1", How::Hit));
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn missing_permission_is_counted_and_reads_by_name_go_on() {
    let fixture = setup(&["app/*"]).build();
    fixture.script("app/1", Answer::Version(1));
    fixture.fail_searches(Some(FetchErrorKind::Denied));
    let searching = start(&fixture);
    let report = fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!((report.took, report.is_settled), (LATENCY, true));
    assert_eq!(fixture.read("app/1").await, ok("v1", How::Miss));
    assert!(fixture.metric("sidekey_searches_total{result=\"denied\"} 1"));
    let patterns = serde_json::to_value(fixture.cache.status()).unwrap()["patterns"].clone();
    assert_eq!(patterns[0]["pattern"], "app/*");
    assert_eq!(patterns[0]["age_seconds"], serde_json::Value::Null);
    assert_eq!(patterns[0]["problem"]["kind"], "denied");
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn searches_fill_only_free_room() {
    let listed = vec!["listed"];
    let fixture = Setup { listed, entries_max: 4, ..setup(&["app/*"]) }.build();
    for name in ["listed", "read", "app/1", "app/2", "app/3"] {
        fixture.script(name, Answer::Version(1));
    }
    fixture.read("read").await.unwrap();
    fixture.read("listed").await.unwrap();
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    for (name, how) in [("listed", How::Hit), ("read", How::Hit), ("app/1", How::Hit)] {
        assert_eq!(fixture.read(name).await, ok("v1", how), "{name}");
    }
    assert_eq!(fixture.cache.status().entries.len(), 4);
    assert!(fixture.metric("sidekey_searches_total{result=\"limited\"} 1"));
    assert!(fixture.metric("sidekey_evictions_total 0"));
    // A read that needs room evicts a secret that only a search has cached.
    assert_eq!(fixture.read("app/3").await, ok("v1", How::Miss));
    assert_eq!(fixture.read("app/1").await, ok("v1", How::Hit));
    assert_eq!(fixture.read("read").await, ok("v1", How::Hit));
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn full_cache_fetches_no_values_of_tagged_secrets() {
    let fixture = Setup { entries_max: 3, ..setup(&["tag:channel"]) }.build();
    for name in ["app/1", "app/2", "app/3", "app/4", "app/5"] {
        fixture.script(name, Answer::Version(1));
    }
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!(*fixture.source.batches.lock().unwrap(), [2, 1]);
    assert_eq!(fixture.cache.status().entries.len(), 3);
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn refused_batch_falls_back_to_calls_for_single_secrets() {
    let batch_fails = Some(FetchErrorKind::Denied);
    let fixture = Setup { batch_fails, ..setup(&["tag:channel"]) }.build();
    fixture.script("app/1", Answer::Version(1));
    fixture.script("app/2", Answer::Fail(FetchErrorKind::Denied));
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!(fixture.calls(), 2);
    assert_eq!(fixture.read("app/1").await, ok("v1", How::Hit));
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn found_secrets_are_refreshed_only_if_they_were_read() {
    let policy = Policy { ttl: 100 * SECOND, refresh: Refresh::Always, ..Policy::default() };
    let (interval, listed) = (Duration::ZERO, vec!["app/listed"]);
    let fixture = Setup { policy, interval, listed, ..setup(&["app/*"]) }.build();
    for name in ["app/listed", "app/read", "app/unread"] {
        fixture.script(name, Answer::Version(1));
    }
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.read("app/read").await.unwrap();
    fixture.source.calls.lock().unwrap().clear();
    fixture.pass(95 * SECOND).await;
    let mut calls = fixture.source.calls.lock().unwrap().clone();
    calls.sort();
    assert_eq!(calls, ["app/listed", "app/read"]);
    searching.abort();
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn secrets_outside_of_the_scope_are_not_cached() {
    let fixture = Setup { allow: vec!["app/a*"], ..setup(&["app/*", "tag:channel"]) }.build();
    fixture.script("app/a", Answer::Version(1));
    fixture.script("app/b", Answer::Version(1));
    let searching = start(&fixture);
    assert_eq!(fixture.prefetch(Mode::Get, SECOND).await.found, 1);
    assert_eq!(fixture.cache.status().entries.len(), 1);
    assert_eq!(fixture.read("app/b").await, Err("out of scope".to_owned()));
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_no_values_are_fetched() {
    let rules = vec![Rule { ttl: Some(Duration::ZERO), ..rule("app/*") }];
    let fixture = Setup { rules, ..setup(&["tag:channel"]) }.build();
    fixture.script("app/1", Answer::Version(1));
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!(fixture.source.batches.lock().unwrap().len(), 0);
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn unread_path_of_parameters_is_listed_again() {
    let fixture = Setup { listed: vec!["ssm:/app/*"], ..setup(&[]) }.build();
    fixture.script("ssm:/app/old", Answer::Version(1));
    fixture.prefetch(Mode::Get, SECOND).await;
    let searching = start(&fixture);
    fixture.script("ssm:/app/new", Answer::Version(1));
    fixture.script("ssm:/app/old", Answer::Fail(FetchErrorKind::NotFound));
    fixture.pass(INTERVAL).await;
    assert_eq!(fixture.calls(), 2);
    assert_eq!(fixture.read("ssm:/app/new").await, ok("1", How::Hit));
    fixture.pass(INTERVAL).await;
    assert_eq!(fixture.calls(), 3);
    assert!(fixture.cache.snapshot().exact(&key("ssm:/app/old")).is_none());
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn path_that_was_refreshed_recently_is_not_listed_again() {
    let fixture = Setup { listed: vec!["ssm:/app/*"], ..setup(&[]) }.build();
    fixture.script("ssm:/app/url", Answer::Version(1));
    fixture.prefetch(Mode::Get, SECOND).await;
    let searching = start(&fixture);
    fixture.pass(200 * SECOND).await;
    drop(fixture.cache.read_now(key("ssm:/app/*")).await);
    fixture.pass(100 * SECOND).await;
    assert_eq!(fixture.calls(), 2);
    searching.abort();
}

#[tokio::test(start_paused = true)]
async fn pages_of_later_searches_are_spread_out() {
    let fixture = setup(&["app/*"]).build();
    for number in 0..8 {
        fixture.script(&format!("app/{number}"), Answer::Version(1));
    }
    let searching = start(&fixture);
    fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!(fixture.searches(), 4);
    // Each pause lasts a second, so the second page comes at least a second after the first.
    while fixture.searches() < 5 {
        fixture.pass(SECOND / 10).await;
    }
    fixture.pass(SECOND / 2).await;
    assert_eq!(fixture.searches(), 5);
    fixture.pass(4 * SECOND).await;
    assert_eq!(fixture.searches(), 8);
    searching.abort();
}

/// Two patterns are due at the same time, and each search reads several pages. The second search
/// starts after the last page of the first search.
#[tokio::test(start_paused = true)]
async fn only_one_search_runs_at_a_time() {
    let fixture = setup(&["app/*", "web/*"]).build();
    for number in 0..6 {
        fixture.script(&format!("app/{number}"), Answer::Version(1));
        fixture.script(&format!("web/{number}"), Answer::Version(1));
    }
    let searching = start(&fixture);
    for later in [false, true] {
        if later {
            fixture.clock.step_forward(INTERVAL);
        }
        fixture.pass(20 * SECOND).await;
        let mut searches = std::mem::take(&mut *fixture.source.searches.lock().unwrap());
        assert_eq!(searches.len(), 6, "each search must read three pages: {searches:?}");
        searches.dedup();
        assert_eq!(searches.len(), 2, "no search may interrupt another search: {searches:?}");
    }
    searching.abort();
}

/// While Lambda freezes the process, the wall clock runs on. The search is due soon after the
/// process runs again, although its timer shows less than five minutes.
#[tokio::test(start_paused = true)]
async fn search_that_became_due_during_a_freeze_starts_soon() {
    let fixture = setup(&["app/*"]).build();
    let searching = start(&fixture);
    fixture.pass(SECOND).await;
    assert_eq!(fixture.searches(), 1);
    fixture.clock.step_forward(INTERVAL);
    fixture.pass(2 * SECOND).await;
    assert_eq!(fixture.searches(), 2);
    searching.abort();
}
