//! Tests that parameters share calls to AWS if requests need them at the same moment.

use crate::cache::fixture::{Answer, Fixture, LATENCY, SECOND, Setup, key, key_with_role, outcome};
use crate::cache::freshness::{Policy, Refresh};
use crate::cache::gather::{Gatherer, Place};
use crate::cache::prefetch::Mode;
use crate::cache::refresh;
use crate::cache::slots::Rank;
use crate::clock::{Clock, SystemClock};
use crate::source::FetchErrorKind;
use futures_util::future::join_all;

async fn read_all(fixture: &Fixture, names: &[String]) -> Vec<String> {
    let reads = names.iter().map(|name| {
        let (cache, key) = (fixture.cache.clone(), key(name));
        tokio::spawn(async move { cache.read(key).await })
    });
    let done = join_all(reads.collect::<Vec<_>>()).await;
    done.into_iter()
        .map(|read| match read.expect("the read must not panic") {
            Ok(served) => served.entry.version.id.to_string(),
            Err(_) => "error".to_owned(),
        })
        .collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("ssm:/app/p{n}")).collect()
}

fn scripted(count: usize, setup: Setup) -> (Fixture, Vec<String>) {
    let fixture = setup.build();
    let names = names(count);
    for name in &names {
        fixture.script(name, Answer::Version(7));
    }
    (fixture, names)
}

fn batches(fixture: &Fixture) -> Vec<usize> {
    fixture.source.batches.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn readers_of_different_parameters_share_calls_for_ten() {
    let (fixture, names) = scripted(20, Setup::default());
    assert_eq!(read_all(&fixture, &names).await, vec!["7"; 20]);
    assert_eq!((batches(&fixture), fixture.calls()), (vec![10, 10], 0));
}

#[tokio::test(start_paused = true)]
async fn many_readers_of_one_parameter_cause_one_call() {
    let (fixture, names) = scripted(1, Setup::default());
    let same = vec![names[0].clone(); 64];
    assert_eq!(read_all(&fixture, &same).await, vec!["7"; 64]);
    assert_eq!((batches(&fixture), fixture.calls()), (vec![], 1));
}

#[tokio::test(start_paused = true)]
async fn role_without_the_permission_is_noticed_once() {
    let setup = Setup { batch_fails: Some(FetchErrorKind::Denied), ..Setup::default() };
    let (fixture, names) = scripted(12, setup);
    assert_eq!(read_all(&fixture, &names[..5]).await, vec!["7"; 5]);
    assert_eq!((batches(&fixture), fixture.calls()), (vec![5], 5));
    assert_eq!(read_all(&fixture, &names[5..8]).await, vec!["7"; 3]);
    assert_eq!((batches(&fixture), fixture.calls()), (vec![5], 8));
    // After 15 minutes, the agent tries a call for several parameters again, because the permission
    // may have been granted.
    fixture.pass(901 * SECOND).await;
    read_all(&fixture, &names[8..]).await;
    assert_eq!(batches(&fixture), [5, 4]);
}

#[tokio::test(start_paused = true)]
async fn missing_permission_of_one_role_does_not_count_for_another() {
    let setup = Setup { batch_fails: Some(FetchErrorKind::Denied), ..Setup::default() };
    let (fixture, names) = scripted(6, setup);
    read_all(&fixture, &names[..2]).await;
    assert_eq!(batches(&fixture), [2]);
    for (names, expected) in [(&names[2..4], [2, 2]), (&names[4..], [2, 2])] {
        let keys = names.iter().map(|name| key_with_role(name));
        let reads = join_all(keys.map(|key| fixture.cache.read(key))).await;
        assert!(reads.iter().all(Result::is_ok));
        assert_eq!(batches(&fixture), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn missing_parameter_does_not_hide_that_only_single_calls_are_allowed() {
    let setup = Setup { batch_fails: Some(FetchErrorKind::Denied), ..Setup::default() };
    let (fixture, names) = scripted(4, setup);
    fixture.script(&names[1], Answer::Fail(FetchErrorKind::NotFound));
    assert_eq!(read_all(&fixture, &names[..2]).await, ["7", "error"]);
    read_all(&fixture, &names[2..]).await;
    assert_eq!((batches(&fixture), fixture.calls()), (vec![2], 4));
}

/// Sidekey also reads the variable `PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS` of AWS's
/// extension, which may allow only a few calls at the same time.
#[tokio::test(start_paused = true)]
async fn batch_counts_as_one_of_the_concurrent_calls() {
    let (fixture, names) = scripted(20, Setup { calls_max: 1, ..Setup::default() });
    assert_eq!(read_all(&fixture, &names).await, vec!["7"; 20]);
    assert_eq!((batches(&fixture), fixture.calls()), (vec![10, 10], 0));
}

#[tokio::test(start_paused = true)]
async fn batch_interrupted_by_a_freeze_is_repeated() {
    let (fixture, names) = scripted(3, Setup::default());
    let cache = fixture.cache.clone();
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    let reads = keys.into_iter().map(|key| {
        let cache = cache.clone();
        tokio::spawn(async move { outcome(cache.read(key).await) })
    });
    let reads: Vec<_> = reads.collect();
    fixture.pass(LATENCY / 2).await;
    tokio::time::advance(3600 * SECOND).await;
    for read in join_all(reads).await {
        assert!(read.expect("the read must not panic").is_ok());
    }
    assert_eq!((batches(&fixture), fixture.calls()), (vec![3, 3], 0));
}

#[tokio::test]
async fn dropped_leader_closes_the_channels_of_its_batch() {
    let gatherer = Gatherer::default();
    let now = SystemClock::new().now();
    let join = |name| gatherer.join(&key(name), Rank::Known, now).expect("batches must be allowed");
    let (leader, joined) = (join("ssm:/a"), join("ssm:/b"));
    let (Place::Leader(leader), Place::Joined(joined)) = (leader, joined) else {
        panic!("the first request must start a batch, and the second request must join this batch")
    };
    drop(leader);
    assert!(joined.await.is_err());
    assert!(
        matches!(join("ssm:/b"), Place::Leader(_)),
        "a new request must start a new batch after the first batch was dropped"
    );
}

#[tokio::test(start_paused = true)]
async fn one_refused_parameter_does_no_harm_to_the_others() {
    let setup = Setup { batch_fails: Some(FetchErrorKind::Denied), ..Setup::default() };
    let (fixture, names) = scripted(6, setup);
    fixture.script(&names[1], Answer::Fail(FetchErrorKind::Denied));
    assert_eq!(read_all(&fixture, &names[..3]).await, ["7", "error", "7"]);
    assert_eq!((batches(&fixture), fixture.calls()), (vec![3], 3));
    read_all(&fixture, &names[3..]).await;
    assert_eq!(
        batches(&fixture),
        [3, 3],
        "one call must still fetch several parameters after one of them was refused"
    );
}

#[tokio::test(start_paused = true)]
async fn throttled_call_is_not_replaced_by_more_calls() {
    let setup = Setup { batch_fails: Some(FetchErrorKind::Throttled), ..Setup::default() };
    let (fixture, names) = scripted(4, setup);
    assert_eq!(read_all(&fixture, &names).await, vec!["error"; 4]);
    assert_eq!((batches(&fixture), fixture.calls()), (vec![4], 0));
}

#[tokio::test(start_paused = true)]
async fn cancelled_readers_do_no_harm_to_the_others() {
    let (fixture, names) = scripted(3, Setup::default());
    let (cache, first) = (fixture.cache.clone(), key(&names[0]));
    let cancelled = tokio::spawn(async move { outcome(cache.read(first).await) });
    tokio::task::yield_now().await;
    cancelled.abort();
    assert_eq!(read_all(&fixture, &names).await, vec!["7"; 3]);
    fixture.pass(LATENCY).await;
}

/// Starts to fetch three listed parameters, and runs the refresh loop for 1,000 s. Returns how many
/// parameters each call fetched, and how many calls fetched only one parameter.
async fn calls_in_1000_seconds(setup: Setup) -> (Vec<usize>, usize) {
    let policy = Policy { refresh: Refresh::Always, ..setup.policy };
    let listed = vec!["ssm:/app/p0", "ssm:/app/p1", "ssm:/app/p2"];
    let (fixture, _) = scripted(3, Setup { policy, listed, ..setup });
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    fixture.prefetch(Mode::Get, SECOND).await;
    fixture.pass(1000 * SECOND).await;
    refreshing.abort();
    (batches(&fixture), fixture.calls())
}

#[tokio::test(start_paused = true)]
async fn parameters_fetched_by_one_call_are_refreshed_by_one_call() {
    let (batches, single) = calls_in_1000_seconds(Setup::default()).await;
    assert_eq!((&*batches, single), (&*vec![3; batches.len()], 0));
    assert!(
        (12..=15).contains(&batches.len()),
        "the cache must refresh every 70 to 90 s, because the TTL is 100 s"
    );
}

#[tokio::test(start_paused = true)]
async fn parameters_of_a_throttled_call_are_retried_by_one_call() {
    let setup = Setup { batch_fails: Some(FetchErrorKind::Throttled), ..Setup::default() };
    let (batches, single) = calls_in_1000_seconds(setup).await;
    assert_eq!((&*batches, single), (&*vec![3; batches.len()], 0));
    assert!(
        batches.len() > 100,
        "in 1000 s, the cache must make more than 100 calls, because the back-off is at most 5 s"
    );
}
