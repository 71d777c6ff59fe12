//! Measures cold starts: the time from the start of a program until its secrets have been read.

use crate::bench::{Bench, SECRETS};
use crate::cgroup::{Bounds, Cgroup};
use crate::cold::{self, Cold, Readers, median};
use crate::subject::{Start, Subject};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The number of measured starts in each case. An additional first start loads the program's file
/// into memory.
const RUNS: usize = 5;

/// The divisor of the CPU limit in slow cases: a program gets 1/14 of a CPU, as Lambda gives a
/// function with 128 MB.
const SLOW_CPU_DIVISOR: u32 = 14;

/// The results of starting one program several times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// The label of the program in tables.
    pub(crate) label: &'static str,
    /// The settings with which the program was started.
    pub(crate) case: Case,
    /// The median of the elapsed times.
    pub(crate) wall: Duration,
    /// The median of the CPU times.
    pub(crate) cpu: Duration,
    /// The highest peak memory use of all starts, in kilobytes.
    pub(crate) peak_kilobytes: u64,
}

/// The settings for the cold starts that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// The number of secrets that the benchmark reads.
    pub(crate) secrets: usize,
    /// How the benchmark reads the secrets.
    pub(crate) readers: Readers,
    /// Whether the program calls the fake AWS server over TLS.
    pub(crate) is_tls: bool,
    /// Whether the program gets only a part of a CPU.
    pub(crate) is_slow: bool,
    /// Whether the program may call `BatchGetSecretValue`. If so, every program prefetches its
    /// secrets.
    pub(crate) is_batching: bool,
}

impl Case {
    /// Returns a description of these settings for a table.
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

/// Measures all cold starts with a whole CPU.
///
/// # Errors
///
/// If a program does not start, or returns a wrong value.
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

/// Measures all cold starts with a part of a CPU. Returns the reason as text if control groups are
/// unavailable.
///
/// # Errors
///
/// If a program does not start, or returns a wrong value.
pub(crate) fn measure_slow(bench: &Bench) -> io::Result<Result<Vec<Started>, String>> {
    let group = match Cgroup::new(Bounds { cpu_divisor: SLOW_CPU_DIVISOR, memory_bytes: None }) {
        Ok(group) => group,
        Err(error) => {
            return Ok(Err(format!(
                "the benchmark was skipped, because it cannot create a control group: {error}"
            )));
        }
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
    println!("{label}: {}{slow}: {:?}, {:?} of CPU time", case.words(), started.wall, started.cpu);
    Ok(started)
}

/// Returns the size in bytes that a binary has without its symbols.
///
/// # Errors
///
/// If the tool `strip` or the binary is missing.
pub(crate) fn stripped_bytes(binary: &Path) -> io::Result<u64> {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripped");
    let status = std::process::Command::new("strip").arg("-o").arg(&copy).arg(binary).status()?;
    if !status.success() {
        return Err(io::Error::other("strip failed"));
    }
    Ok(std::fs::metadata(copy)?.len())
}
