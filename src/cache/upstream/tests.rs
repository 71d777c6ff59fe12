//! Tests of calls to AWS that a freeze or a restore interrupts.

use crate::cache::How;
use crate::cache::fixture::{Answer, LATENCY, SECOND, Setup, key, ok, outcome};
use crate::clock::freeze::INTERRUPTIONS_MAX;
use crate::source::FetchErrorKind;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn call_interrupted_by_a_freeze_is_repeated_and_fails_no_reader() {
    for answer in [Answer::Version(1), Answer::Fail(FetchErrorKind::Timeout)] {
        let fixture = Setup { listed: vec!["app"], ..Setup::default() }.build();
        fixture.script("app", answer);
        let cache = fixture.cache.clone();
        let interrupted = tokio::spawn(async move { outcome(cache.read(key("app")).await) });
        fixture.pass(LATENCY / 2).await;
        tokio::time::advance(Duration::from_secs(3600)).await;
        fixture.script("app", Answer::Version(2));
        // The first call was answered before the freeze, so only the answer of the second call
        // counts.
        let thawed = fixture.cache.read(key("app")).await.unwrap();
        assert_eq!((&*thawed.entry.version.id, thawed.age), ("v2", LATENCY));
        assert_eq!(interrupted.await.unwrap(), ok("v2", How::Miss));
        assert_eq!(fixture.calls(), 2);
        let metrics = fixture.metrics.render();
        let count = |outcome: &str, n: u32| {
            let series = "sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=";
            let line = format!("{series}\"{outcome}\"}} {n}");
            assert!(metrics.contains(&line), "{line}\n{metrics}");
        };
        count("cut", 1);
        count("ok", 1);
        count("timeout", 0);
    }
}

#[tokio::test(start_paused = true)]
async fn interrupted_call_is_repeated_up_to_a_limit() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    // The reader is cancelled during the freeze, but the call to AWS goes on.
    let read = async || {
        let cache = fixture.cache.clone();
        drop(tokio::spawn(async move { cache.read(key("app")).await }));
        fixture.pass(LATENCY / 2).await;
    };
    let freeze = async || {
        tokio::time::advance(Duration::from_secs(3600)).await;
        fixture.pass(LATENCY / 2).await;
    };
    read().await;
    for _ in 0..INTERRUPTIONS_MAX {
        freeze().await;
    }
    let served = fixture.cache.read(key("app")).await.unwrap();
    assert!(served.age <= LATENCY, "{:?}", served.age);
    assert_eq!(fixture.calls(), 1 + INTERRUPTIONS_MAX);
    fixture.pass(200 * SECOND).await;
    read().await;
    for _ in 0..=INTERRUPTIONS_MAX {
        freeze().await;
    }
    assert_eq!(fixture.calls(), 2 * (1 + INTERRUPTIONS_MAX));
    let served = fixture.cache.read(key("app")).await;
    assert!(served.is_err(), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn call_sent_before_a_restore_is_repeated() {
    let fixture = Setup::default().build();
    fixture.script("app", Answer::Version(1));
    let cache = fixture.cache.clone();
    let early = tokio::spawn(async move { outcome(cache.read(key("app")).await) });
    fixture.pass(LATENCY / 2).await;
    fixture.cache.restored();
    fixture.pass(LATENCY).await;
    fixture.script("app", Answer::Version(2));
    assert_eq!(early.await.unwrap(), ok("v2", How::Miss));
    assert_eq!(fixture.calls(), 2);
}
