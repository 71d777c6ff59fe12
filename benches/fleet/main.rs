//! How a fleet of environments fares with Secrets Manager's quotas: a simulation in virtual time.
//!
//! Guards the lines "a fleet" of `SPECIFICATION.md`. What each environment does is decided by the
//! agent's own planning: `cache::plan`, `cache::freshness`, `cache::failure::Failure` and the modes of
//! `cache::prefetch`. Only time, calls and invocations are simulated. Everything is drawn from one
//! seed, so that every run says the same.
//!
//! ```text
//! cargo bench --bench fleet              writes docs/fleet.md's tables and docs/fleet/*.svg
//! cargo bench --bench fleet -- --check   fails where they are not what the seed gives
//! cargo test --bench fleet               the same for some of the rows, which takes a second
//! ```

mod fleet;
mod held;
mod lines;
mod page;
mod queue;
mod study;
mod upstream;
mod workers;

#[path = "../support/chart.rs"]
mod chart;
#[path = "../support/generated.rs"]
mod generated;

use generated::Generated;
use std::io;
use std::process::ExitCode;
use study::MODES;

#[expect(clippy::print_stdout, reason = "a bench tells")]
fn main() -> io::Result<ExitCode> {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    println!("seed {}", study::SEED);
    let is_check = has("--check");
    // `cargo test` passes no `--bench`.
    if !has("--bench") && !is_check {
        return some_rows();
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

/// Compares rows that are quick to get with the page.
#[expect(clippy::print_stdout, reason = "a bench tells")]
fn some_rows() -> io::Result<ExitCode> {
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fleet.md"))?;
    let starts = MODES.map(|(name, mode)| page::scale_out_row(1, 6, name, mode).0);
    let storms = [false, true].map(|is_drawn| page::storm_row(10_000, 1, is_drawn).0);
    let stale = starts.into_iter().chain(storms).filter(|row| !written.contains(row));
    let stale: Vec<String> = stale.collect();
    for row in &stale {
        println!("the seed gives another row than docs/fleet.md has: {row}");
    }
    Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
