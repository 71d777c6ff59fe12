//! Writes the tables and charts of `docs/versus_peer.md` from the results of the benchmark.

use crate::bench::{SIDEKEY, STATIC};
use crate::cached::{BARE_LOOP, Cached, Measured, USES, Use};
use crate::chart::{self, Series};
use crate::peers::PEERS;
use crate::readers::ReaderResults;
use crate::starts::{Case, Started};
use std::fmt::Write;
use std::time::Duration;

/// The note in each chart. All charts show times.
const LOWER_IS_BETTER: &str = "lower is better";

/// The part of `docs/versus_peer.md` that the benchmark writes.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The tables as Markdown text.
    pub(crate) text: String,
    /// The charts as SVG text, each with its file name.
    pub(crate) charts: Vec<(&'static str, String)>,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes the first lines of a table, which has one column for each program.
    fn head(&mut self, first: &str, programs: &[&str]) {
        self.line(&format!("| {first} | {} |", programs.join(" | ")));
        self.line(&format!("|---|{}", "---|".repeat(programs.len())));
    }

    /// Writes the name of the machine's CPU and the load of the machine.
    pub(crate) fn machine(&mut self) {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("unknown");
        self.line(&format!(
            "Measured by `cargo bench --bench versus_peer` on {processors} processors ({model}). The load \
             of the machine at the beginning was {load}.\n"
        ));
    }

    /// Writes the table and the chart of cold starts. `is_slow` says whether the programs had only
    /// 1/14 of a CPU.
    pub(crate) fn starts(&mut self, started: &[Started], is_slow: bool) {
        if is_slow {
            self.line("### Cold start with a fourteenth of a processor\n");
        } else {
            self.line("### Cold start\n");
            self.line(
                "Each cell: the time from the start until the secrets are read, the CPU time, and the \
                 peak memory.\n",
            );
        }
        let programs = labels(started.iter().map(|one| one.label));
        self.head("reads", &programs);
        let mut cases: Vec<Case> = Vec::new();
        for one in started {
            if !cases.contains(&one.case) {
                cases.push(one.case);
            }
        }
        for case in &cases {
            let own = started.iter().filter(|one| one.case == *case);
            let cells: Vec<String> = own
                .map(|one| {
                    let peak = megabytes(one.peak_kilobytes * 1024);
                    format!("{}, {}, {peak:.1} MB", millis(one.wall), millis(one.cpu))
                })
                .collect();
            self.line(&format!("| {} | {} |", case.words(), cells.join(" | ")));
        }
        self.line("");
        let (name, title) = match is_slow {
            true => (
                "slow",
                "Time from the start until all secrets are read, with 1/14 of a CPU, as in a 128 MB Lambda function",
            ),
            false => ("starts", "Time from the start until all secrets are read"),
        };
        let groups: Vec<(String, Vec<f64>)> = cases
            .iter()
            .filter(|case| case.is_tls && !case.is_batching)
            .map(|case| {
                let own = started.iter().filter(|one| one.case == *case);
                let label =
                    case.words().replace(", TLS", "").replace("one after the other", "in turn");
                (label, own.map(|one| one.wall.as_secs_f64() * 1000.0).collect())
            })
            .collect();
        let svg = chart::bars(title, "ms", LOWER_IS_BETTER, &coloured(&programs), &groups);
        self.charts.push((name, svg));
    }

    /// Writes why cold starts with 1/14 of a CPU were not measured.
    pub(crate) fn skipped(&mut self, why: &str) {
        self.line(&format!("### Cold start with a fourteenth of a processor\n\n{why}\n"));
    }

    /// Writes the tables and the chart of cached reads, and the table of memory use.
    pub(crate) fn cached(&mut self, cached: &Cached) {
        self.line("### Cached reads\n");
        self.line(
            "Each cell: reads per second, CPU time per read, and 99th percentile of the time, each \
             with its ratio to the bare C loop in parentheses.\n",
        );
        let programs = labels(cached.measured.iter().map(|one| one.label));
        self.head("connections", &programs);
        for usage in USES {
            let own = cached.measured.iter().filter(|one| one.usage == usage);
            let cells: Vec<String> = own
                .map(|Measured { figures, ratios, .. }| {
                    format!(
                        "{:.0}/s ({:.2}), {:.1} µs ({:.2}), {:.0} µs ({:.2})",
                        figures.per_second,
                        ratios.per_second,
                        figures.cpu,
                        ratios.cpu,
                        figures.p99,
                        ratios.p99,
                    )
                })
                .collect();
            self.line(&format!("| {} | {} |", connections(usage), cells.join(" | ")));
        }
        self.line("");
        let groups: Vec<(String, Vec<f64>)> = USES
            .iter()
            .map(|usage| {
                let own = cached.measured.iter().filter(|one| one.usage == *usage);
                (connections(*usage), own.map(|one| one.figures.cpu).collect())
            })
            .collect();
        let series = coloured(&programs);
        let svg = chart::bars("CPU time of a cached read", "µs", LOWER_IS_BETTER, &series, &groups);
        self.charts.push(("cached", svg));
        self.line("### Memory\n");
        self.line("| program | resident memory with 20 secrets | after cached reads |");
        self.line("|---|---|---|");
        for (label, before, after) in &cached.resident {
            self.line(&format!(
                "| {label} | {:.1} MB | {:.1} MB |",
                megabytes(before * 1024),
                megabytes(after * 1024)
            ));
        }
        self.line("");
    }

    /// Writes the table of how long readers waited and which errors they got.
    pub(crate) fn readers(&mut self, got: &[ReaderResults]) {
        self.line("### Waits and errors of readers\n");
        self.line(
            "| program | longest wait at the end of the TTL | reads that waited \
             | calls for 64 readers | throttled read after the TTL: status, time |",
        );
        self.line("|---|---|---|---|---|");
        for one in got {
            self.line(&format!(
                "| {} | {} | {} | {} | {} in {} |",
                one.label,
                millis(one.longest),
                one.waited,
                one.calls,
                one.status,
                millis(one.took),
            ));
        }
        self.line("");
    }

    pub(crate) fn sizes(&mut self, sizes: &[(&str, u64)]) {
        self.line("### Binary size\n");
        self.line("| program | size without symbols |");
        self.line("|---|---|");
        for (label, bytes) in sizes {
            self.line(&format!("| {label} | {:.1} MB |", megabytes(*bytes)));
        }
        self.line("");
    }
}

/// Assigns a colour to each program. A program has the same colour in all charts.
fn coloured<'a>(programs: &[&'a str]) -> Vec<Series<'a>> {
    let order = [SIDEKEY, STATIC, PEERS[0].label, PEERS[1].label, BARE_LOOP];
    let colour = |program: &str| {
        let at = order.iter().position(|one| *one == program);
        chart::COLOURS[at.expect("each program of the benchmark must have a colour")]
    };
    programs.iter().map(|program| (*program, colour(program))).collect()
}

fn labels(all: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut labels = Vec::new();
    for label in all {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

fn connections(usage: Use) -> String {
    let mut words = String::new();
    let _ = match usage {
        Use::OpenConnections(count) => write!(words, "{count} reused"),
        Use::NewConnections => write!(words, "new for each read"),
    };
    words
}

fn millis(span: Duration) -> String {
    match span.as_secs_f64() * 1000.0 {
        short if short < 10.0 => format!("{short:.1} ms"),
        long => format!("{long:.0} ms"),
    }
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6
}
