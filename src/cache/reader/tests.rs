//! Tests of reads: cache hits, shared calls, outages, refusals and `refreshNow`.

use crate::cache::fixture::{Answer, LATENCY, SECOND, Setup, arn, failed, key, ok, outcome};
use crate::cache::freshness::{
    BACK_OFF_BASE, BACK_OFF_MAX, EMPTY_BACK_OFF_MAX, Policy, REFUSAL_MEMORY, Reason,
};
use crate::cache::{How, refresh};
use crate::clock::Clock;
use crate::secret::key::Key;
use crate::secret::selector::Selector;
use crate::source::FetchErrorKind;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn readers_of_an_uncached_secret_share_one_call() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    let readers = (0..64).map(|_| {
        let cache = fixture.cache.clone();
        tokio::spawn(async move { outcome(cache.read(key("app")).await) })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap(), ok("v1", How::Miss));
    }
    assert_eq!(fixture.calls(), 1);
    assert_eq!(fixture.metrics.flights_joined.get(), 63);
    assert_eq!(outcome(fixture.cache.read(key(&arn("app"))).await), ok("v1", How::Hit));
    assert_eq!(fixture.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn reads_by_name_and_by_arn_share_a_flight_once_the_arn_of_the_name_is_known() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    fixture.pass(4000 * SECOND).await;
    fixture.script("app", Answer::Version(2));
    let by_arn = key(&arn("app"));
    let (name, arn) = tokio::join!(fixture.read("app"), fixture.cache.read(by_arn));
    assert_eq!((name, outcome(arn)), (ok("v2", How::Miss), ok("v2", How::Miss)));
    assert_eq!(fixture.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn due_entry_is_served_while_one_refresh_runs_in_the_background() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.pass(91 * SECOND).await;
    fixture.script("app", Answer::Version(2));
    for _ in 0..10 {
        assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    }
    fixture.pass(LATENCY + SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Hit));
    assert_eq!(fixture.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn transient_failure_leaves_the_old_value_in_place_until_its_limit() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.pass(101 * SECOND).await;
    fixture.script("app", Answer::Fail(FetchErrorKind::Throttled));
    let stale = ok("v1", How::Stale(Reason::Failing));
    assert_eq!(fixture.read("app").await, stale);
    let before = fixture.clock.now();
    assert_eq!(fixture.read("app").await, stale);
    assert_eq!(fixture.clock.now(), before, "the read must return without waiting for AWS");
    fixture.pass(3700 * SECOND).await;
    assert_eq!(fixture.read("app").await, failed("throttled"));
    fixture.script("app", Answer::Version(2));
    fixture.pass(BACK_OFF_MAX).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn hanging_upstream_counts_as_a_failure_for_readers_that_waited() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.pass(101 * SECOND).await;
    fixture.script("app", Answer::Hang);
    assert_eq!(fixture.read("app").await, ok("v1", How::Stale(Reason::Failing)));
    fixture.script("cold", Answer::Hang);
    assert_eq!(fixture.read("cold").await, failed("wait over"));
}

#[tokio::test(start_paused = true)]
async fn no_reader_waits_during_an_outage() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.script("app", Answer::TimeOut);
    fixture.pass(101 * SECOND).await;
    let stale = ok("v1", How::Stale(Reason::Failing));
    for _ in 0..3000 {
        let before = fixture.clock.now();
        assert_eq!(fixture.read("app").await, stale);
        assert_eq!(
            fixture.clock.now(),
            before,
            "the read must not wait for the running call to AWS"
        );
        fixture.pass(SECOND).await;
    }
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn readers_of_an_expired_entry_get_the_new_value_soon_after_an_outage() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.script("app", Answer::Fail(FetchErrorKind::Connection));
    fixture.pass(4000 * SECOND).await;
    for _ in 0..100 {
        assert_eq!(fixture.read("app").await, failed("connection"));
        fixture.pass(SECOND).await;
    }
    fixture.script("app", Answer::Version(2));
    fixture.pass(EMPTY_BACK_OFF_MAX).await;
    assert_eq!(fixture.read("app").await.map(|(id, _)| id), Ok("v2".to_owned()));
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn refusal_expires_the_value_after_the_grace_period_even_within_the_ttl() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.script("app", Answer::Fail(FetchErrorKind::Denied));
    fixture.pass(2 * SECOND).await;
    assert_eq!(fixture.read_now("app").await, failed("denied"));
    assert_eq!(fixture.read("app").await, ok("v1", How::Stale(Reason::Refused)));
    fixture.pass(60 * SECOND).await;
    assert_eq!(fixture.read("app").await, failed("denied"));
    fixture.script("app", Answer::Version(2));
    fixture.pass(BACK_OFF_MAX).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn reads_of_a_missing_secret_in_a_loop_make_one_call_in_three_seconds() {
    let fixture = Setup::default().build();
    for _ in 0..50 {
        assert_eq!(fixture.read("missing").await, failed("not_found"));
    }
    assert_eq!(fixture.calls(), 1);
    for calls in 2..12 {
        fixture.pass(REFUSAL_MEMORY).await;
        assert_eq!(fixture.read("missing").await, failed("not_found"));
        assert_eq!(fixture.calls(), calls);
    }
    fixture.script("missing", Answer::Version(1));
    fixture.pass(REFUSAL_MEMORY).await;
    assert_eq!(
        fixture.read("missing").await,
        ok("v1", How::Miss),
        "a secret must be readable within seconds after its creation"
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_now_calls_aws_once_a_second() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    fixture.pass(SECOND / 2).await;
    fixture.script("app", Answer::Version(2));
    let began = fixture.clock.now();
    let (one, two) = tokio::join!(fixture.read_now("app"), fixture.read_now("app"));
    assert_eq!((one, two), (ok("v2", How::Refreshed), ok("v2", How::Refreshed)));
    assert_eq!(
        fixture.calls(),
        2,
        "two reads with refreshNow at the same time must share one call to AWS"
    );
    let waited = fixture.clock.now().since(began);
    assert!(waited.is_some_and(|waited| waited >= SECOND / 2 && waited <= SECOND), "{waited:?}");

    fixture.script("app", Answer::Fail(FetchErrorKind::Service));
    assert_eq!(fixture.read_now("app").await, failed("service"));
    fixture.script("app", Answer::Version(3));
    let began = fixture.clock.now();
    assert_eq!(fixture.read_now("app").await, ok("v3", How::Refreshed));
    assert_eq!(fixture.clock.now().since(began), Some(SECOND + LATENCY));
    assert_eq!(fixture.calls(), 4);
}

/// A request with `refreshNow=true` may wait for one second before Sidekey sends the call to AWS. This
/// second does not count toward the maximum wait.
#[tokio::test(start_paused = true)]
async fn refresh_now_works_with_a_short_maximum_wait() {
    let fixture = Setup { reader_wait: SECOND / 10, ..Setup::default() }.build();
    fixture.script("app", Answer::Version(1));
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    assert_eq!(fixture.read_now("app").await, ok("v1", How::Refreshed));
    fixture.script("app", Answer::Hang);
    let began = fixture.clock.now();
    assert_eq!(fixture.read_now("app").await, failed("wait over"));
    assert_eq!(fixture.clock.now().since(began), Some(SECOND + SECOND / 10));
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_now_leaves_the_entry_in_the_cache() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.script("app", Answer::Fail(FetchErrorKind::Service));
    assert_eq!(fixture.read_now("app").await, failed("service"));
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn refresh_now_does_not_share_a_call_that_is_already_sent() {
    for ttl in [100 * SECOND, Duration::ZERO] {
        let policy = Policy { ttl, ..Policy::default() };
        let fixture = Setup { policy, ..Setup::default() }.build();
        fixture.script("app", Answer::Version(1));
        let late = |name| {
            let fixture = &fixture;
            async move {
                fixture.pass(LATENCY / 2).await;
                fixture.read_now(name).await
            }
        };
        let reads = tokio::join!(fixture.read("app"), late("app"), late("app"));
        let refreshed = || ok("v1", How::Refreshed);
        assert_eq!(reads, (ok("v1", How::Miss), refreshed(), refreshed()), "{ttl:?}");
        assert_eq!(fixture.calls(), 2, "{ttl:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_readers_do_not_wait_for_the_next_call_of_refresh_now() {
    let policy = Policy { ttl: SECOND / 4, ..Policy::default() };
    let fixture = Setup { policy, ..Setup::default() }.build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    let plain = async {
        fixture.pass(SECOND / 2).await;
        let began = fixture.clock.now();
        let read = fixture.read("app").await;
        (read, fixture.clock.now().since(began))
    };
    let (refreshed, (read, waited)) = tokio::join!(fixture.read_now("app"), plain);
    assert_eq!((refreshed, read), (ok("v1", How::Refreshed), ok("v1", How::Miss)));
    assert_eq!((waited, fixture.calls()), (Some(LATENCY), 2));
}

#[tokio::test(start_paused = true)]
async fn ttl_of_zero_caches_nothing_but_shares_flights() {
    let policy = Policy { ttl: Duration::ZERO, ..Policy::default() };
    let fixture = Setup { policy, ..Setup::default() }.build();
    fixture.script("app", Answer::Version(1));
    let (one, two) = tokio::join!(fixture.read("app"), fixture.read("app"));
    assert_eq!((one, two), (ok("v1", How::Miss), ok("v1", How::Miss)));
    assert_eq!(fixture.calls(), 1);
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    assert_eq!(fixture.calls(), 2);
    assert_eq!(fixture.cache.snapshot().entries().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn read_outside_the_scope_is_refused_without_a_call() {
    let fixture = Setup { allow: vec!["app/*"], ..Setup::default() }.build();
    fixture.script("app/db", Answer::Version(1));
    fixture.script("other", Answer::Version(1));
    assert_eq!(fixture.read("other").await, failed("out of scope"));
    assert_eq!(fixture.read_now("other").await, failed("out of scope"));
    assert_eq!(fixture.calls(), 0);
    assert_eq!(fixture.read("app/db").await, ok("v1", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_forward_makes_no_entry_fresh() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.clock.step_forward(24 * 3600 * SECOND);
    fixture.script("app", Answer::Version(2));
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn steady_clock_decides_after_the_wall_clock_was_set_back() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.clock.step_back(3600 * SECOND);
    fixture.script("app", Answer::Fail(FetchErrorKind::Service));
    assert_eq!(fixture.read("app").await, ok("v1", How::Hit));
    fixture.pass(101 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Stale(Reason::Failing)));
    fixture.script("app", Answer::Version(2));
    fixture.pass(BACK_OFF_MAX).await;
    fixture.pass(BACK_OFF_MAX).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn entry_expires_if_the_wall_clock_goes_back_across_a_restore() {
    let fixture = Setup { is_snapshot: true, ..Setup::default() }.build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.clock.step_back(3600 * SECOND);
    fixture.script("app", Answer::Fail(FetchErrorKind::Service));
    assert_eq!(fixture.read("app").await, failed("service"));
    fixture.clock.step_forward(3600 * SECOND);
    fixture.pass(BACK_OFF_BASE).await;
    let stale = ok("v1", How::Stale(Reason::Failing));
    assert_eq!(
        fixture.read("app").await,
        stale,
        "the cache must serve a stale value after the wall clock was corrected"
    );
}

#[tokio::test(start_paused = true)]
async fn servable_entries_of_one_secret_are_found_by_one_of_them() {
    for (ttl, expected) in [(100 * SECOND, ["v2", "v1"].as_slice()), (Duration::ZERO, &["v1"])] {
        let fixture = Setup { policy: Policy { ttl, ..Policy::default() }, ..Setup::default() };
        let fixture = fixture.build();
        let previous = Selector::new(Some("AWSPREVIOUS"), None);
        fixture.script("app", Answer::Version(2));
        fixture.cache.read(Key { selector: previous, ..key("app") }).await.unwrap();
        fixture.script("app", Answer::Version(1));
        let read = fixture.cache.read(key("app")).await.unwrap();
        fixture.script("other", Answer::Version(3));
        fixture.read("other").await.unwrap();
        let servable_ids = |entry| {
            let entries = fixture.cache.servable_entries(entry, false);
            entries.iter().map(|own| own.version.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(servable_ids(&read.entry), expected);
        fixture.pass(101 * SECOND).await;
        let read = fixture.cache.read(key("app")).await.unwrap();
        assert_eq!(
            servable_ids(&read.entry),
            ["v1"],
            "the cached version with the label AWSPREVIOUS must be too old to serve"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn removed_label_fails_only_reads_of_this_label() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Labelled(1, &["AWSCURRENT", "BLUE"]));
    let blue = Key { selector: Selector::new(Some("BLUE"), None), ..key("app") };
    assert_eq!(outcome(fixture.cache.read(blue.clone()).await), ok("v1", How::Miss));
    assert_eq!(
        fixture.read("app").await,
        ok("v1", How::Hit),
        "the cached version must also answer reads of its second label, AWSCURRENT"
    );

    fixture.script("app", Answer::Labelled(2, &["AWSCURRENT"]));
    fixture.pass(101 * SECOND).await;
    assert_eq!(fixture.read("app").await, ok("v2", How::Miss));
    let stale = ok("v1", How::Stale(Reason::Refused));
    assert_eq!(
        outcome(fixture.cache.read(blue.clone()).await),
        stale,
        "the cache must serve the old version for a grace period after AWS removed its label"
    );
    fixture.pass(61 * SECOND).await;
    assert_eq!(outcome(fixture.cache.read(blue).await), failed("not_found"));
    assert_eq!(fixture.read("app").await, ok("v2", How::Hit));
}

#[tokio::test(start_paused = true)]
async fn removed_label_fails_no_refresh_now_of_another_label() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Labelled(1, &["AWSCURRENT", "BLUE"]));
    let blue = Key { selector: Selector::new(Some("BLUE"), None), ..key("app") };
    fixture.cache.read(blue).await.unwrap();
    fixture.script("app", Answer::Labelled(2, &["AWSCURRENT"]));
    fixture.pass(2 * SECOND).await;
    assert_eq!(fixture.read_now("app").await, ok("v2", How::Refreshed));
}

#[tokio::test(start_paused = true)]
async fn read_answered_from_the_entry_of_another_selector_shares_its_grace_period() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Labelled(1, &["AWSCURRENT"]));
    let version = Key { selector: Selector::new(None, Some("v1")), ..key("app") };
    fixture.read("app").await.unwrap();
    fixture.script("app", Answer::Fail(FetchErrorKind::Denied));
    fixture.pass(2 * SECOND).await;
    assert_eq!(fixture.read_now("app").await, failed("denied"));
    let stale = ok("v1", How::Stale(Reason::Refused));
    for _ in 0..10 {
        assert_eq!(outcome(fixture.cache.read(version.clone()).await), stale);
    }
    assert_eq!(
        fixture.calls(),
        3,
        "the cache must make two calls for the label AWSCURRENT and one call for the version id"
    );
    fixture.pass(60 * SECOND).await;
    assert_eq!(outcome(fixture.cache.read(version).await), failed("denied"));
}
