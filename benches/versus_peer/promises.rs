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
            Some(cpu) => format!("{wall:?} and {cpu:?} of CPU time"),
            None => format!("{wall:?}"),
        };
        let is_kept = one.wall <= wall && cpu.is_none_or(|cpu| one.cpu <= cpu);
        Some((
            format!("start until secrets are read ({}): at most {limits}", one.case.words()),
            is_kept,
        ))
    })
    .collect()
}

/// Compares the results of cached reads over 16 connections, and the memory use, with the promises.
pub(crate) fn judge_cached(cached: &Cached) -> Vec<Verdict> {
    let own = cached
        .measured
        .iter()
        .find(|one| one.label == SIDEKEY && one.usage == Use::OpenConnections(16))
        .expect("the benchmark must have measured Sidekey");
    let ratios = own.ratios;
    let resident = cached.resident.iter().find(|(label, ..)| *label == STATIC);
    let resident = resident.map(|(_, before, _)| {
        (
            "the released binary needs at most 8 MB of memory with 20 secrets".into(),
            *before * 1024 <= 8_000_000,
        )
    });
    let ratios = [
        (
            "a read takes at most 1.25 times the CPU time of the bare C loop".into(),
            ratios.cpu <= 1.25,
        ),
        (
            "Sidekey serves at least 0.8 times the reads of the bare C loop".into(),
            ratios.per_second >= 0.8,
        ),
        (
            "the 99th percentile of the time is at most 1.5 times that of the C loop".into(),
            ratios.p99 <= 1.5,
        ),
    ];
    ratios.into_iter().chain(resident).collect()
}

/// Compares the results of readers in special situations with the promises.
pub(crate) fn judge_readers(got: &[ReaderResults]) -> Vec<Verdict> {
    let own = got
        .iter()
        .find(|one| one.label == SIDEKEY)
        .expect("the benchmark must have measured Sidekey");
    vec![
        ("no read of a busy secret waits for AWS at the end of the TTL".into(), own.waited == 0),
        ("64 readers of an uncached secret cause one call to AWS".into(), own.calls == 1),
        (
            "a read after the TTL gets status 200 while AWS throttles calls".into(),
            own.status == 200,
        ),
    ]
}
