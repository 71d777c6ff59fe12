//! Tests of restores from a SnapStart snapshot, and of the account of the function.

use crate::cache::fixture::{Answer, LATENCY, SECOND, Setup, arn, failed, ok, rule};
use crate::cache::freshness::Reason;
use crate::cache::policies::Rule;
use crate::cache::prefetch::Mode;
use crate::cache::{How, refresh};
use crate::source::FetchErrorKind;

#[tokio::test(start_paused = true)]
async fn no_entry_from_before_a_restore_is_served_as_fresh() {
    let setup = Setup { listed: vec!["read", "unread"], is_snapshot: true, ..Setup::default() };
    let fixture = setup.build();
    fixture.script("read", Answer::Version(1));
    fixture.script("unread", Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.read("read").await.unwrap();

    // Only the after-restore hook reports this restore. The clocks do not show it, and the TTL is
    // not over.
    fixture.script("read", Answer::Version(2));
    fixture.script("unread", Answer::Version(2));
    fixture.cache.restored();
    assert_eq!(fixture.read("read").await, ok("v2", How::Miss));
    assert_eq!(fixture.read("unread").await, ok("v2", How::Miss));

    // Without the hook, the clocks show the restore, because only the wall clock has advanced.
    fixture.script("read", Answer::Version(3));
    fixture.clock.step_forward(5 * SECOND);
    assert_eq!(fixture.read("read").await, ok("v3", How::Miss));

    // If AWS fails after the restore, the cached entry is still served, as stale.
    fixture.script("read", Answer::Fail(FetchErrorKind::Connection));
    fixture.cache.restored();
    assert_eq!(fixture.read("read").await, ok("v3", How::Stale(Reason::Failing)));
    refreshing.abort();
}

/// Most functions have no after-restore hook, so only the clocks show a SnapStart restore. Failures
/// from before the restore must not count, because they may be days old.
#[tokio::test(start_paused = true)]
async fn restore_detected_by_the_clocks_forgets_failures() {
    let fixture = Setup { is_snapshot: true, ..Setup::default() }.build();
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    assert_eq!(fixture.read("missing").await, failed("not_found"));
    fixture.script("missing", Answer::Version(1));
    fixture.clock.step_forward(2 * SECOND);
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    assert_eq!(fixture.read("missing").await, ok("v1", How::Miss));
}

#[tokio::test(start_paused = true)]
async fn newer_answers_are_accepted_after_the_steady_clock_restarts() {
    let fixture = Setup { is_snapshot: true, ..Setup::default() }.build();
    fixture.pass(5000 * SECOND).await;
    fixture.script("app", Answer::Version(1));
    fixture.read("app").await.unwrap();
    fixture.clock.restart_steady();
    for (version, id) in [(2, "v2"), (3, "v3")] {
        fixture.script("app", Answer::Version(version));
        assert_eq!(fixture.read("app").await, ok(id, How::Miss));
        assert_eq!(fixture.read("app").await, ok(id, How::Hit));
        fixture.pass(101 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn timers_fetch_entries_that_were_read_before_a_restore() {
    let fixture = Setup { listed: vec!["read", "unread"], ..Setup::default() }.build();
    fixture.script("read", Answer::Version(1));
    fixture.script("unread", Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.read("read").await.unwrap();
    fixture.cache.restored();
    fixture.pass(2 * LATENCY).await;
    assert_eq!(fixture.source.calls.lock().unwrap()[2..], ["read"]);
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn rule_for_a_name_applies_to_its_arn_once_the_account_is_known() {
    let rules = vec![Rule { is_required: Some(false), ..rule("spare") }];
    let listed = vec![&*Box::leak(arn("spare").into_boxed_str())];
    let fixture = Setup { rules, listed, ..Setup::default() }.build();
    assert_eq!(fixture.cache.missing_required().len(), 1);
    fixture.cache.learn_account("123456789012");
    assert_eq!((fixture.cache.missing_required().len(), fixture.cache.missing().len()), (0, 1));
}
