//! Measures the cost of a cached read: time, memory allocations and CPU instructions.
//!
//! Checks the promise of `SPECIFICATION.md` that a cached read allocates no memory. `cargo test`
//! makes this check, too, because the number of allocations is the same on every machine. The
//! benchmark prints times, but does not check them.
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
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The number of reads before the measurement. These reads allocate the buffers that later reads
/// use.
const WARMING: u64 = 100;

/// The number of reads during the measurement.
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

/// Counts the memory allocations of cached reads. Fails if the number exceeds a limit.
#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn count() -> io::Result<ExitCode> {
    let cache = cached_secret::cache();
    let key = cached_secret::key();
    let lookup = allocation_counter::measure(|| {
        black_box(cache.lookup(&key)).expect("the secret must be cached");
    });
    println!("lookup of a secret in the cache: {} memory allocations", lookup.count_total);
    let mut pair = Pair::start()?;
    pair.read(WARMING)?;
    let mut outcome = Ok(());
    let reads = allocation_counter::measure(|| outcome = pair.read(COUNTED));
    outcome?;
    println!(
        "{COUNTED} cached reads on an open connection: {} memory allocations",
        reads.count_total
    );
    // Tasks in the background of the agent may allocate too, but not once for each read.
    let is_kept = lookup.count_total == 0 && reads.count_total < COUNTED;
    println!(
        "the promise that cached reads allocate no memory is {}",
        if is_kept { "kept" } else { "BROKEN" }
    );
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Counts the CPU instructions of one read, including those of the reader. The result is the
/// difference between a run with many reads and a run with few reads.
#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn instructions() -> io::Result<ExitCode> {
    let (few, many) = (WARMING, WARMING + COUNTED);
    let (Some(few), Some(many)) = (run_in_valgrind(few)?, run_in_valgrind(many)?) else {
        println!("the measurement was skipped, because valgrind is not installed");
        return Ok(ExitCode::SUCCESS);
    };
    println!(
        "a cached read takes {} CPU instructions, including those of the reader",
        (many - few) / COUNTED
    );
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
    total
        .map(Some)
        .ok_or_else(|| io::Error::other("valgrind did not print the number of instructions"))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn times() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let cache = cached_secret::cache();
    let key = cached_secret::key();
    criterion.bench_function("a lookup in the cache", |bencher| {
        bencher.iter(|| black_box(cache.lookup(black_box(&key))));
    });
    let mut pair = Pair::start()?;
    pair.read(WARMING)?;
    criterion.bench_function("a cached read on a kept connection", |bencher| {
        bencher.iter_custom(|reads| {
            let started = Instant::now();
            pair.read(reads).expect("the connection to the agent must stay open");
            started.elapsed()
        });
    });
    criterion.final_summary();
    Ok(())
}
