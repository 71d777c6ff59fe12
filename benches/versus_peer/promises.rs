//! Compares the results of the benchmark with the promises of `SPECIFICATION.md`.

use crate::bench::{SIDEKEY, STATIC};
use crate::cached::{Cached, Use};
use crate::readers::ReaderResults;
use crate::starts::Started;
use std::time::Duration;

/// A promise of `SPECIFICATION.md`, and whether the results keep it.
pub(crate) type Verdict = (String, bool);

/// Compares the results of cold starts over TLS with the promises.
pub(crate) fn judge_starts(started: &[Started]) -> Vec<Verdict> {
    let ms = Duration::from_millis;
    let own = started.iter().filter(|one| one.label == SIDEKEY && !one.case.is_batching);
    own.filter_map(|one| {
        let (wall, cpu) = match (one.case.is_tls, one.case.secrets) {
            (true, 1) => (ms(32), Some(ms(10))),
            (true, _) => (ms(45), Some(ms(15))),
            (false, 1) => return None,
            (false, _) => (ms(30), None),
        };
        let limits = match cpu {
            Some(cpu) => format!("{wall:?}, {cpu:?} of processor time"),
            None => format!("{wall:?}"),
        };
        let is_kept = one.wall <= wall && cpu.is_none_or(|cpu| one.cpu <= cpu);
        Some((format!("exec to {}: at most {limits}", one.case.words()), is_kept))
    })
    .collect()
}

/// Compares the results of cached reads over 16 connections, and the memory use, with the promises.
pub(crate) fn judge_cached(cached: &Cached) -> Vec<Verdict> {
    let own = cached
        .measured
        .iter()
        .find(|one| one.label == SIDEKEY && one.usage == Use::OpenConnections(16))
        .expect("Sidekey was measured");
    let ratios = own.ratios;
    let resident = cached.resident.iter().find(|(label, ..)| *label == STATIC);
    let resident = resident.map(|(_, before, _)| {
        ("what ships: at most 8 MB resident with 20 secrets".into(), *before * 1024 <= 8_000_000)
    });
    let ratios = [
        ("CPU a read at most 1.25 times the bare loop's".into(), ratios.cpu <= 1.25),
        ("reads a second at least 0.8 times the bare loop's".into(), ratios.per_second >= 0.8),
        ("p99 at most 1.5 times the bare loop's".into(), ratios.p99 <= 1.5),
    ];
    ratios.into_iter().chain(resident).collect()
}

/// Compares the results of readers in special situations with the promises.
pub(crate) fn judge_readers(got: &[ReaderResults]) -> Vec<Verdict> {
    let own = got.iter().find(|one| one.label == SIDEKEY).expect("Sidekey was measured");
    vec![
        ("no reader of a busy secret waits at its TTL".into(), own.waited == 0),
        ("64 readers of a cold secret make one call".into(), own.calls == 1),
        ("past the TTL while AWS throttles a reader gets 200".into(), own.status == 200),
    ]
}
