//! Measures the cost of a cached read: time, allocations and instructions.
//!
//! Guards the line "A cached read on an open connection allocates nothing" of `SPECIFICATION.md`. The
//! number of allocations is the same on every machine, so `cargo test` checks it. Times are only
//! printed.
//!
//! ```text
//! cargo bench --bench hot_path                     times
//! cargo bench --bench hot_path -- --count          allocations; `cargo test --bench hot_path` too
//! cargo bench --bench hot_path -- --instructions   instructions, by valgrind
//! ```

mod agent;
mod cached_secret;

use agent::Pair;
use criterion::Criterion;
use sidekey::secret::selector::Selector;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The number of reads before the count begins. The first reads let buffers grow to their size.
const WARMING: u64 = 100;

/// The number of reads that are counted.
const COUNTED: u64 = 1_000;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let Some(at) = arguments.iter().position(|argument| argument == "--reads") {
        let reads = arguments.get(at + 1).and_then(|reads| reads.parse().ok()).unwrap_or_default();
        Pair::start()?.read(reads)?;
        return Ok(ExitCode::SUCCESS);
    }
    if has("--instructions") {
        return instructions();
    }
    // `cargo test` does not pass `--bench`.
    if has("--count") || !has("--bench") {
        return count();
    }
    times()?;
    Ok(ExitCode::SUCCESS)
}

/// Counts allocations, and fails if there are more than the limits allow.
#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn count() -> io::Result<ExitCode> {
    let cache = cached_secret::cache();
    let current = Selector::current();
    let lookup = allocation_counter::measure(|| {
        black_box(cache.lookup(cached_secret::NAME, &current)).expect("the entry is cached");
    });
    println!("a lookup in the cache: {} allocations", lookup.count_total);
    let mut pair = Pair::start()?;
    pair.read(WARMING)?;
    let mut outcome = Ok(());
    let reads = allocation_counter::measure(|| outcome = pair.read(COUNTED));
    outcome?;
    println!("{COUNTED} cached reads on a kept connection: {} allocations", reads.count_total);
    // Tasks in the background of the agent may allocate too, but not once for each read.
    let is_kept = lookup.count_total == 0 && reads.count_total < COUNTED;
    println!("none for a lookup, and none for a read: {}", if is_kept { "kept" } else { "BROKEN" });
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Counts the instructions of one read, including those of its reader: the difference between a run
/// with many reads and a run with few.
#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn instructions() -> io::Result<ExitCode> {
    let (few, many) = (WARMING, WARMING + COUNTED);
    let (Some(few), Some(many)) = (run_in_valgrind(few)?, run_in_valgrind(many)?) else {
        println!("skipped: valgrind is not installed");
        return Ok(ExitCode::SUCCESS);
    };
    println!("a cached read: {} instructions, including its reader's", (many - few) / COUNTED);
    Ok(ExitCode::SUCCESS)
}

fn run_in_valgrind(reads: u64) -> io::Result<Option<u64>> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{reads}"));
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "-q"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["--reads", &reads.to_string()])
        .status();
    match status {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(status) if !status.success() => return Err(io::Error::other("valgrind failed")),
        Ok(_) => {}
    }
    let text = fs::read_to_string(&file)?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: ")?.parse().ok());
    total.map(Some).ok_or_else(|| io::Error::other("valgrind wrote no summary"))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn times() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let cache = cached_secret::cache();
    let current = Selector::current();
    criterion.bench_function("a lookup in the cache", |bencher| {
        bencher.iter(|| black_box(cache.lookup(black_box(cached_secret::NAME), &current)));
    });
    let mut pair = Pair::start()?;
    pair.read(WARMING)?;
    criterion.bench_function("a cached read on a kept connection", |bencher| {
        bencher.iter_custom(|reads| {
            let started = Instant::now();
            pair.read(reads).expect("the connection stays open");
            started.elapsed()
        });
    });
    criterion.final_summary();
    Ok(())
}
