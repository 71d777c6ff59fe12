//! Tests how the agent fetches the secrets in `SIDEKEY_SECRETS` when it starts.

use crate::cache::fixture::{Answer, LATENCY, SECOND, Setup, ok, rule};
use crate::cache::flight::FLIGHTS_MAX;
use crate::cache::freshness::{BACK_OFF_MAX, Policy, REFUSAL_MEMORY};
use crate::cache::policies::Rule;
use crate::cache::prefetch::Mode;
use crate::cache::{How, refresh};
use crate::source::FetchErrorKind;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn listed_secret_with_a_ttl_of_zero_is_missing_only_while_it_fails() {
    let policy = Policy { ttl: Duration::ZERO, ..Policy::default() };
    let fixture = Setup { policy, listed: vec!["app"], ..Setup::default() }.build();
    let report = fixture.prefetch(Mode::Get, SECOND).await;
    assert_eq!(report.missing.len(), 1);
    fixture.script("app", Answer::Version(1));
    fixture.pass(REFUSAL_MEMORY).await;
    assert_eq!(fixture.read("app").await, ok("v1", How::Miss));
    assert!(fixture.cache.missing().is_empty());
}

#[tokio::test(start_paused = true)]
async fn timers_retry_a_prefetch_in_which_all_calls_failed() {
    let fixture = Setup { listed: vec!["a", "b"], ..Setup::default() }.build();
    fixture.script("a", Answer::Fail(FetchErrorKind::Connection));
    fixture.script("b", Answer::Fail(FetchErrorKind::Denied));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    let report = fixture.prefetch(Mode::Get, SECOND).await;
    assert!(report.is_settled);
    assert_eq!(report.missing.len(), 2);
    fixture.script("a", Answer::Version(1));
    fixture.script("b", Answer::Version(1));
    fixture.pass(2 * BACK_OFF_MAX).await;
    assert!(fixture.cache.missing().is_empty());
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_are_bounded() {
    let names: Vec<&'static str> =
        (0..100).map(|n| &*Box::leak(format!("s{n}").into_boxed_str())).collect();
    for (calls_max, rounds) in [(FLIGHTS_MAX, 4), (50, 4), (25, 4), (3, 34)] {
        let fixture = Setup { listed: names.clone(), calls_max, ..Setup::default() }.build();
        for name in &names {
            fixture.script(name, Answer::Version(1));
        }
        let report = fixture.prefetch(Mode::Get, 100 * SECOND).await;
        assert_eq!(report.took, LATENCY * rounds, "{calls_max}");
        let most = calls_max.min(FLIGHTS_MAX);
        assert_eq!(fixture.source.in_flight.lock().unwrap().1, most);
    }
}

#[tokio::test(start_paused = true)]
async fn prefetch_waits_no_longer_than_its_deadline() {
    let fixture = Setup { listed: vec!["a"], ..Setup::default() }.build();
    fixture.script("a", Answer::Hang);
    let report = fixture.prefetch(Mode::Get, 3 * SECOND).await;
    assert_eq!((report.is_settled, report.took, report.missing.len()), (false, 3 * SECOND, 1));
}

/// Fetches the secrets `names` as the agent does at its start. Returns the number of secrets in
/// each batch call, and the number of calls for single secrets.
async fn prefetched(
    mode: Mode,
    names: &[&'static str],
    batch_fails: Option<FetchErrorKind>,
) -> (Vec<usize>, usize) {
    let fixture = Setup { listed: names.to_vec(), batch_fails, ..Setup::default() }.build();
    for name in names {
        fixture.script(name, Answer::Version(1));
    }
    let report = fixture.prefetch(mode, 3 * SECOND).await;
    assert!(report.is_settled && report.missing.is_empty(), "{report:?}");
    let batches = fixture.source.batches.lock().unwrap().clone();
    (batches, fixture.calls())
}

#[tokio::test(start_paused = true)]
async fn batches_fall_back_to_single_calls() {
    use Mode::{Auto, Batch, Get};
    let names: Vec<&'static str> =
        (0..45).map(|n| &*Box::leak(format!("s{n}").into_boxed_str())).collect();
    let denied = Some(FetchErrorKind::Denied);
    assert_eq!(prefetched(Get, &names, None).await, (vec![], 45));
    assert_eq!(prefetched(Batch, &names, None).await, (vec![20, 20, 5], 0));
    assert_eq!(prefetched(Batch, &names, denied).await, (vec![20, 20, 5], 45));
    assert_eq!(prefetched(Auto, &names, None).await, (vec![20, 20, 5], 0));
    assert_eq!(
        prefetched(Auto, &names, denied).await,
        (vec![20], 45),
        "after a failed batch call, the cache must fetch each secret with a call of its own"
    );
    assert_eq!(
        prefetched(Auto, &names[..5], None).await,
        (vec![], 5),
        "the cache must fetch five secrets without a batch call"
    );
}

#[tokio::test(start_paused = true)]
async fn timers_retry_a_listed_secret_whose_flight_panicked() {
    let fixture = Setup { listed: vec!["app"], ..Setup::default() }.build();
    fixture.script("app", Answer::Panic);
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.script("app", Answer::Version(1));
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.pass(2 * BACK_OFF_MAX).await;
    assert!(fixture.cache.missing().is_empty());
    refreshing.abort();
}

#[tokio::test(start_paused = true)]
async fn optional_secrets_do_not_delay_the_start() {
    use Mode::{Batch, Get};
    for mode in [Get, Batch] {
        let rules = vec![Rule { is_required: Some(false), ..rule("spare-*") }];
        let mut listed: Vec<&'static str> =
            (0..40).map(|n| &*Box::leak(format!("spare-{n}").into_boxed_str())).collect();
        listed.push("needed");
        let batch_fails = Some(FetchErrorKind::Denied);
        let fixture =
            Setup { rules, listed: listed.clone(), batch_fails, ..Setup::default() }.build();
        for name in &listed {
            fixture.script(name, Answer::Hang);
        }
        fixture.script("needed", Answer::Version(1));
        let report = fixture.prefetch(mode, 3 * SECOND).await;
        let took = if mode == Batch { 2 * LATENCY } else { LATENCY };
        assert_eq!((report.is_settled, report.took, report.missing.len()), (true, took, 40));
        assert!(report.missing.iter().all(|missing| !missing.is_required));
        assert!(fixture.cache.missing_required().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn parameters_do_not_count_toward_batches_of_secrets() {
    let names =
        ["app", "ssm:/a", "ssm:/b", "ssm:/c", "ssm:/d", "ssm:/e", "ssm:/f", "ssm:/g", "ssm:/h"];
    let fixture = Setup { listed: names.to_vec(), ..Setup::default() }.build();
    for name in names {
        fixture.script(name, Answer::Version(1));
    }
    fixture.prefetch(Mode::Auto, SECOND).await;
    assert_eq!(
        *fixture.source.batches.lock().unwrap(),
        [8],
        "one call must fetch the 8 parameters, but not the secret"
    );
    assert_eq!(*fixture.source.calls.lock().unwrap(), ["app"]);
}

/// One IAM role may lack the permission for batch calls that another role has.
#[tokio::test(start_paused = true)]
async fn refused_batch_call_of_one_role_does_not_count_for_another() {
    let batch_fails = Some(FetchErrorKind::Denied);
    let names = vec!["a", "b", "c", "d", "e", "f"];
    let (listed, listed_with_role) = (names.clone(), names);
    let fixture = Setup { batch_fails, listed, listed_with_role, ..Setup::default() }.build();
    fixture.prefetch(Mode::Auto, SECOND).await;
    assert_eq!(*fixture.source.batches.lock().unwrap(), [6, 6]);
}
