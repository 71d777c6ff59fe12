//! The tables and charts that tell what was found.

use crate::cached::{Cached, Measured, USES, Use};
use crate::chart;
use crate::readers::Got;
use crate::starts::{Case, Started};
use std::fmt::Write;
use std::time::Duration;

/// What goes into `docs/versus_peer.md`.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The tables.
    pub(crate) text: String,
    /// Charts by their names.
    pub(crate) charts: Vec<(&'static str, String)>,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes down on what all was measured.
    pub(crate) fn machine(&mut self) {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("unknown");
        self.line(&format!(
            "`cargo bench --bench versus_peer` wrote this, on {processors} processors ({model}); \
             the machine's load when it began was {load}.\n"
        ));
    }

    /// Writes down cold starts, or those with a part of a processor.
    pub(crate) fn starts(&mut self, started: &[Started], is_slow: bool) {
        let command = "cargo bench --bench versus_peer --";
        if is_slow {
            self.line(&format!(
                "### Cold start with a fourteenth of a processor\n\n`{command} slow`\n"
            ));
        } else {
            self.line(&format!("### Cold start\n\n`{command} starts`\n"));
        }
        self.line("| from exec until read | program | time | processor time | peak memory |");
        self.line("|---|---|---|---|---|");
        for one in started {
            self.line(&format!(
                "| {} | {} | {} | {} | {:.1} MB |",
                one.case.words(),
                one.label,
                millis(one.wall),
                millis(one.cpu),
                megabytes(one.peak_kilobytes * 1024),
            ));
        }
        self.line("");
        let (name, title) = match is_slow {
            true => ("slow", "Exec to secrets read, a fourteenth of a processor"),
            false => ("starts", "Exec to secrets read"),
        };
        let mut cases: Vec<Case> = Vec::new();
        for one in started.iter().filter(|one| one.case.is_tls && !one.case.is_batching) {
            if !cases.contains(&one.case) {
                cases.push(one.case);
            }
        }
        let labels = labels(started.iter().map(|one| one.label));
        let groups: Vec<(String, Vec<f64>)> = cases
            .iter()
            .map(|case| {
                let own = started.iter().filter(|one| one.case == *case);
                let label =
                    case.words().replace(", TLS", "").replace("one after the other", "in turn");
                (label, own.map(|one| one.wall.as_secs_f64() * 1000.0).collect())
            })
            .collect();
        self.charts.push((name, chart::bars(title, "ms", &labels, &groups)));
    }

    /// Writes down why there are no slow starts.
    pub(crate) fn skipped(&mut self, why: &str) {
        self.line(&format!("### Cold start with a fourteenth of a processor\n\n{why}\n"));
    }

    /// Writes down cached reads and memory.
    pub(crate) fn cached(&mut self, cached: &Cached) {
        self.line("### Cached reads\n\n`cargo bench --bench versus_peer -- cached`\n");
        self.line(
            "| connections | server | reads a second | ratio | processor time a read | ratio \
             | p99 | ratio |",
        );
        self.line("|---|---|---|---|---|---|---|---|");
        for usage in USES {
            for one in cached.measured.iter().filter(|one| one.usage == usage) {
                let Measured { label, figures, ratios, .. } = one;
                self.line(&format!(
                    "| {} | {label} | {:.0} | {:.2} | {:.1} µs | {:.2} | {:.0} µs | {:.2} |",
                    connections(usage),
                    figures.per_second,
                    ratios.per_second,
                    figures.cpu,
                    ratios.cpu,
                    figures.p99,
                    ratios.p99,
                ));
            }
        }
        self.line("\nRatios are to the bare C loop, which writes the same bytes.\n");
        let labels = labels(cached.measured.iter().map(|one| one.label));
        let groups: Vec<(String, Vec<f64>)> = USES
            .iter()
            .map(|usage| {
                let own = cached.measured.iter().filter(|one| one.usage == *usage);
                (connections(*usage), own.map(|one| one.figures.cpu).collect())
            })
            .collect();
        let svg = chart::bars("Processor time of a cached read", "µs", &labels, &groups);
        self.charts.push(("cached", svg));
        self.line("### Memory\n\n`cargo bench --bench versus_peer -- cached`\n");
        self.line("| program | resident with 20 secrets | after the reads above |");
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

    /// Writes down what readers got.
    pub(crate) fn readers(&mut self, got: &[Got]) {
        self.line("### What readers get\n\n`cargo bench --bench versus_peer -- readers`\n");
        self.line(
            "| program | longest wait as a busy secret reaches its TTL | reads that waited \
             | calls for 64 readers of a cold secret | past the TTL while AWS throttles |",
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

    /// Writes down how large the binaries are.
    pub(crate) fn sizes(&mut self, sizes: &[(&str, u64)]) {
        self.line("### Binary\n\n`cargo bench --bench versus_peer -- sizes`\n");
        self.line("| program | without symbols |");
        self.line("|---|---|");
        for (label, bytes) in sizes {
            self.line(&format!("| {label} | {:.1} MB |", megabytes(*bytes)));
        }
        self.line("");
    }
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
        Use::Kept(count) => write!(words, "{count} kept"),
        Use::Anew => write!(words, "one for each read"),
    };
    words
}

/// Returns a span as people read it.
fn millis(span: Duration) -> String {
    match span.as_secs_f64() * 1000.0 {
        short if short < 10.0 => format!("{short:.1} ms"),
        long => format!("{long:.0} ms"),
    }
}

/// Returns bytes as millions of them.
fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6
}
