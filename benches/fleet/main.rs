//! Simulates how the quotas of Secrets Manager and Parameter Store affect a fleet of Lambda
//! environments, in virtual time.
//!
//! Checks the promise about simulated fleets in `SPECIFICATION.md`. The agent's own code decides what each
//! environment does: `cache::plan`, `cache::freshness`, `cache::failure::Failure` and the modes of
//! `cache::prefetch`. Only time, calls to AWS and invocations are simulated. Every run gives the
//! same results, because all random numbers come from one seed.
//!
//! ```text
//! cargo bench --bench fleet              writes docs/fleet.md's tables and docs/fleet/*.svg
//! cargo bench --bench fleet -- --check   fails if the files differ from the results
//! cargo test --bench fleet               checks only some rows, which takes a second
//! ```

mod fleet;
mod entry;
mod fetching;
mod line_chart;
mod page;
mod queue;
mod searches;
mod study;
mod upstream;
mod workers;

#[path = "../support/chart.rs"]
mod chart;
#[path = "../support/generated.rs"]
mod generated;

use generated::Generated;
use searches::Searches;
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use study::MODES;
use upstream::Quotas;

#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn main() -> io::Result<ExitCode> {
    println!("seed {}", study::SEED);
    let is_check = has_argument("--check");
    // `cargo test` does not pass `--bench`.
    if !has_argument("--bench") && !is_check {
        return check_some_rows();
    }
    let page = page::write();
    let written = Generated::new("docs/fleet.md", &page.text, is_check)?;
    for (name, svg) in &page.charts {
        written.file(&format!("docs/fleet/{name}.svg"), svg)?;
    }
    for (text, is_kept) in &page.promises {
        println!("{text}: {}", if *is_kept { "kept" } else { "BROKEN" });
    }
    let are_kept = page.promises.iter().all(|(_, is_kept)| *is_kept);
    Ok(if are_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks those rows of `docs/fleet.md` that need little time to compute.
#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn check_some_rows() -> io::Result<ExitCode> {
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fleet.md"))?;
    let starts = MODES.map(|(name, mode)| page::scale_out_row(1, 6, name, mode).0);
    let storms = [false, true].map(|has_own_jitter| page::storm_row(10_000, 1, has_own_jitter).0);
    let (count, (name, fetching), quotas) = (100, study::FETCHINGS[1], Quotas::DEFAULT);
    let burst = page::burst_row(count, name, fetching, quotas);
    let interval = Duration::from_secs(300);
    let searches = Searches { environments: 100, secrets: 500, interval };
    let searches = page::searches_row(searches, "5m");
    let rows = starts.into_iter().chain(storms).chain([burst, searches]);
    let stale = rows.filter(|row| !written.contains(row));
    let stale: Vec<String> = stale.collect();
    for row in &stale {
        println!(
            "docs/fleet.md differs from this computed row: {row}. Run `cargo bench --bench fleet`."
        );
    }
    Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn has_argument(flag: &str) -> bool {
    std::env::args().any(|argument| argument == flag)
}
