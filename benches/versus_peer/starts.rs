//! Measures cold starts: from exec until the secrets are read.

use crate::bench::{Bench, SECRETS};
use crate::cgroup::{Bounds, Cgroup};
use crate::cold::{self, Cold, Readers, median};
use crate::subject::{Start, Subject};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The number of counted starts. An uncounted first start warms the page cache.
const RUNS: usize = 5;

/// The processor share in the slow cases: one part of this number, as Lambda gives a function of
/// 128 MB.
const SLOW_CPU_DIVISOR: u32 = 14;

/// The results of one program's starts in one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// The program's label.
    pub(crate) label: &'static str,
    /// The case that was measured.
    pub(crate) case: Case,
    /// The median of the elapsed time.
    pub(crate) wall: Duration,
    /// The median of the processor time.
    pub(crate) cpu: Duration,
    /// The highest peak memory of all runs, in kilobytes.
    pub(crate) peak_kilobytes: u64,
}

/// The parameters of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// The number of secrets that are read.
    pub(crate) secrets: usize,
    /// How the secrets are read.
    pub(crate) readers: Readers,
    /// Whether Secrets Manager is called over TLS.
    pub(crate) is_tls: bool,
    /// Whether the program gets only a part of a processor.
    pub(crate) is_slow: bool,
    /// Whether the role permits batches. If so, every program prefetches.
    pub(crate) is_batching: bool,
}

impl Case {
    /// Returns a description of the case.
    pub(crate) fn words(self) -> String {
        let how = match (self.secrets, self.readers) {
            (1, _) => "1 secret".to_owned(),
            (many, Readers::One) => format!("{many} secrets, one after the other"),
            (many, Readers::Each) => format!("{many} secrets at once"),
        };
        let over = if self.is_tls { "TLS" } else { "plain HTTP" };
        let batching = if self.is_batching { ", batches allowed" } else { "" };
        format!("{how}, {over}{batching}")
    }
}

/// Measures every case except those with a part of a processor.
///
/// # Errors
///
/// If a program does not start, or does not serve.
pub(crate) fn measure(bench: &Bench) -> io::Result<Vec<Started>> {
    let mut all = Vec::new();
    let case = |is_tls, secrets, readers| Case {
        secrets,
        readers,
        is_tls,
        is_slow: false,
        is_batching: false,
    };
    for is_tls in [false, true] {
        for (secrets, readers) in
            [(1, Readers::One), (SECRETS, Readers::One), (SECRETS, Readers::Each)]
        {
            measure_all(bench, case(is_tls, secrets, readers), &[], &mut all)?;
        }
    }
    bench.allow_batches(true);
    let batching = Case { is_batching: true, ..case(true, SECRETS, Readers::Each) };
    let outcome = measure_all(bench, batching, &[], &mut all);
    bench.allow_batches(false);
    outcome?;
    Ok(all)
}

/// Measures starts with a part of a processor. Returns the reason as text if control groups are
/// unavailable.
///
/// # Errors
///
/// If a program does not start, or does not serve.
pub(crate) fn measure_slow(bench: &Bench) -> io::Result<Result<Vec<Started>, String>> {
    let group = match Cgroup::new(Bounds { cpu_divisor: SLOW_CPU_DIVISOR, memory_bytes: None }) {
        Ok(group) => group,
        Err(error) => return Ok(Err(format!("skipped, no control group: {error}"))),
    };
    let mut all = Vec::new();
    for (secrets, readers) in [(1, Readers::One), (SECRETS, Readers::Each)] {
        let case = Case { secrets, readers, is_tls: true, is_slow: true, is_batching: false };
        measure_all(bench, case, &group.membership_files(), &mut all)?;
    }
    Ok(Ok(all))
}

fn measure_all(
    bench: &Bench,
    case: Case,
    cgroup: &[PathBuf],
    all: &mut Vec<Started>,
) -> io::Result<()> {
    let names = &bench.names[..case.secrets];
    let (endpoint, bundle) = bench.upstream(case.is_tls);
    for (label, subject) in &bench.subjects {
        let mut start = Bench::start(&endpoint, bundle, label, names);
        start.cgroup = cgroup;
        if case.is_batching {
            start.listed = names;
        }
        all.push(measure_one(label, subject, case, &start, names)?);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn measure_one(
    label: &'static str,
    subject: &Subject,
    case: Case,
    start: &Start<'_>,
    names: &[String],
) -> io::Result<Started> {
    let mut runs: Vec<Cold> = Vec::new();
    for run in 0..=RUNS {
        let cold = cold::start(subject, start, names, case.readers)?;
        runs.extend((run > 0).then_some(cold));
    }
    let mut wall: Vec<Duration> = runs.iter().map(|cold| cold.wall).collect();
    let mut cpu: Vec<Duration> = runs.iter().map(|cold| cold.cpu).collect();
    let started = Started {
        label,
        case,
        wall: median(&mut wall),
        cpu: median(&mut cpu),
        peak_kilobytes: runs.iter().map(|cold| cold.peak_kilobytes).max().unwrap_or_default(),
    };
    let slow = if case.is_slow { " (slow machine)" } else { "" };
    println!("{label}: {}{slow}: {:?}, {:?} of processor", case.words(), started.wall, started.cpu);
    Ok(started)
}

/// Returns the size of a binary in bytes, without its symbols.
///
/// # Errors
///
/// If `strip` or the binary is missing.
pub(crate) fn stripped_bytes(binary: &Path) -> io::Result<u64> {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripped");
    let status = std::process::Command::new("strip").arg("-o").arg(&copy).arg(binary).status()?;
    if !status.success() {
        return Err(io::Error::other("strip failed"));
    }
    Ok(std::fs::metadata(copy)?.len())
}
