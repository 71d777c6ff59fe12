//! Tests of eviction, and of concurrent changes of the cached secrets.

use crate::cache::fixture::{Answer, SECOND, Setup, key, ok, outcome, version};
use crate::cache::rendered::Form;
use crate::cache::{How, refresh};
use crate::secret::value::SecretValue;
use std::sync::Barrier;
use std::thread;
use std::thread::ScopedJoinHandle;
use tokio::task::JoinSet;

#[tokio::test(start_paused = true)]
async fn burst_of_new_secrets_evicts_older_ones() {
    let names: Vec<&'static str> =
        (0..40).map(|n| &*Box::leak(format!("s{n}").into_boxed_str())).collect();
    let fixture = Setup { entries_max: 20, ..Setup::default() }.build();
    for name in &names {
        fixture.script(name, Answer::Version(1));
    }
    for half in [&names[..20], &names[20..]] {
        let mut reads = JoinSet::new();
        for &name in half {
            let cache = fixture.cache.clone();
            reads.spawn(async move { outcome(cache.read(key(name)).await) });
        }
        assert!(reads.join_all().await.into_iter().all(|read| read == ok("v1", How::Miss)));
        fixture.pass(SECOND).await;
    }
    for name in &names[20..] {
        assert_eq!(fixture.read(name).await, ok("v1", How::Hit), "{name}");
    }
}

/// A cached secret grows when a request needs a response format that was not rendered before. The
/// cache then evicts other secrets.
#[tokio::test(start_paused = true)]
async fn growing_entry_evicts_others() {
    let fixture = Setup { bytes_max: 100, ..Setup::default() }.build();
    let refreshing = tokio::spawn(refresh::run(fixture.writer.clone()));
    for name in ["old", "app"] {
        fixture.script(name, Answer::Version(1));
        fixture.read(name).await.unwrap();
        fixture.pass(SECOND).await;
    }
    assert_eq!(fixture.cache.snapshot().entries().count(), 2);
    let served = fixture.cache.read(key("app")).await.unwrap();
    served.entry.answer(Form::AwsApi, |_| SecretValue::from("x".repeat(100)));
    fixture.pass(SECOND).await;
    assert_eq!(
        fixture.cache.snapshot().entries().count(),
        0,
        "the cache must evict all secrets, because one response alone exceeds the memory limit"
    );
    assert!(fixture.metrics.render().contains("sidekey_evictions_total 2"));
    refreshing.abort();
}

#[test]
fn concurrently_published_entries_are_all_cached() {
    const NAMES: [[&str; 3]; 3] = [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]];
    for round in 0..1_000 {
        let fixture = Setup::default().build();
        let (cache, writer) = (&fixture.cache, &fixture.writer);
        let start = Barrier::new(NAMES.len() + 1);
        let publish = &|names: [&str; 3]| {
            start.wait();
            for name in names {
                let answer = version(name, 1, &key(name));
                writer.settle(&key(name), writer.upstream().sending(), Ok(answer)).unwrap();
            }
        };
        thread::scope(|scope| {
            let writers = NAMES.map(|names| scope.spawn(move || publish(names)));
            start.wait();
            let mut cached = 0;
            while !writers.iter().all(ScopedJoinHandle::is_finished) {
                let now = cache.snapshot().entries().count();
                assert!(
                    now >= cached,
                    "the cache must not lose entries: it had {cached}, but has only {now} (round \
                     {round})"
                );
                cached = now;
            }
        });
        assert_eq!(cache.snapshot().entries().count(), 9, "round {round}");
    }
}
