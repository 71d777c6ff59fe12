//! Compares Sidekey with AWS's own agents. All programs call the same fake AWS server.
//!
//! Checks the promises in "Speed and size" of `SPECIFICATION.md`. The first run installs AWS's
//! agents from the crate registry into `target/peers`: `aws_workload_credentials_provider` 3.1.2
//! and `aws_secretsmanager_agent` 2.1.0. Ratios are relative to `epoll.c`, a minimal server that
//! writes a fixed response.
//!
//! ```text
//! cargo bench --bench versus_peer                 everything; writes docs/versus_peer.md and its charts
//! cargo bench --bench versus_peer -- cached       one part, without changes of the documentation
//! ```
//!
//! The parts are `starts`, `slow`, `cached`, `readers` and `sizes`. `--binary PATH` measures
//! another build of Sidekey than the benchmark build, which contains features for tests.
//! `--installed` omits agents that are not installed yet, because an installation takes minutes.

mod bench;
mod cached;
mod canned;
mod page;
mod peers;
mod promises;
mod readers;
mod starts;

#[path = "../../tests/support/cgroup.rs"]
mod cgroup;
#[path = "../support/pinning.rs"]
mod pinning;
#[path = "../support/chart.rs"]
mod chart;
#[path = "../support/cold.rs"]
mod cold;
#[path = "../support/generated.rs"]
mod generated;
#[path = "../support/load.rs"]
mod load;
#[path = "../support/reader.rs"]
mod reader;
#[path = "../support/subject.rs"]
mod subject;
#[path = "../support/tls.rs"]
mod tls;

use bench::Bench;
use generated::Generated;
use page::Page;
use promises::Verdict;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The names of the parts of the benchmark that can be run alone.
const PARTS: [&str; 5] = ["starts", "slow", "cached", "readers", "sizes"];

#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let other = arguments.iter().position(|argument| argument == "--binary");
    let binary = other.and_then(|at| arguments.get(at + 1).map(String::as_str));
    let installs = !arguments.iter().any(|argument| argument == "--installed");
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|it| PARTS.contains(it)).collect();
    let is_wanted = |part: &str| chosen.is_empty() || chosen.contains(&part);
    let bench = Bench::set_up(binary.unwrap_or(env!("CARGO_BIN_EXE_sidekey")), installs)?;
    let mut page = Page::default();
    let mut verdicts: Vec<Verdict> = Vec::new();
    page.machine();
    if is_wanted("starts") {
        let started = starts::measure(&bench)?;
        page.starts(&started, false);
        verdicts.extend(promises::judge_starts(&started));
    }
    if is_wanted("slow") {
        match starts::measure_slow(&bench)? {
            Ok(started) => page.starts(&started, true),
            Err(why) => {
                println!("{why}");
                page.skipped(&why);
            }
        }
    }
    if is_wanted("cached") {
        let cached = cached::measure(&bench)?;
        page.cached(&cached);
        verdicts.extend(promises::judge_cached(&cached));
    }
    if is_wanted("readers") {
        let got = readers::measure(&bench)?;
        page.readers(&got);
        verdicts.extend(promises::judge_readers(&got));
    }
    if is_wanted("sizes") {
        let layer = Path::new(bench::LAYER_PATH);
        let programs = bench.subjects.iter().map(|(label, subject)| (*label, &*subject.path));
        let sizes: Vec<(&str, u64)> = programs
            .chain(layer.exists().then_some(("sidekey, in the layer", layer)))
            .map(|(label, path)| Ok((label, starts::stripped_bytes(path)?)))
            .collect::<io::Result<_>>()?;
        page.sizes(&sizes);
    }
    println!("\n{}", page.text);
    if chosen.is_empty() {
        let written = Generated::new("docs/versus_peer.md", &page.text, false)?;
        for (name, svg) in &page.charts {
            written.file(&format!("docs/versus_peer/{name}.svg"), svg)?;
        }
    }
    for (promise, is_kept) in &verdicts {
        println!("{promise}: {}", if *is_kept { "kept" } else { "BROKEN" });
    }
    let are_kept = verdicts.iter().all(|(_, is_kept)| *is_kept);
    Ok(if are_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
