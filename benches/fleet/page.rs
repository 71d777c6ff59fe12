//! Writes the tables and charts of `docs/fleet.md` from the results of the simulation.

use crate::chart;
use crate::fetching::Fetching;
use crate::line_chart::{self, Line, coloured};
use crate::searches::Searches;
use crate::study::{self, FETCHINGS, MODES, PARAMETERS, QUOTAS, SECRETS, Storm, float, percentile};
use crate::upstream::{Count, Quotas};
use crate::workers;
use sidekey::cache::prefetch::Mode;
use std::fmt::Write;
use std::time::Duration;

/// The part of `docs/fleet.md` that the simulation writes.
pub(crate) struct Page {
    /// The tables as Markdown text.
    pub(crate) text: String,
    /// The charts as SVG text, each with its file name.
    pub(crate) charts: Vec<(&'static str, String)>,
    /// The promises of `SPECIFICATION.md` that the simulation checks, each with whether it holds.
    pub(crate) promises: Vec<(&'static str, bool)>,
}

pub(crate) fn write() -> Page {
    let mut page = Page { text: String::new(), charts: Vec::new(), promises: Vec::new() };
    page.line("Written by `cargo bench --bench fleet` with a fixed seed.\n");
    page.starts();
    page.scale_out();
    page.storms();
    page.days();
    page.parameters();
    page.searches();
    page
}

impl Page {
    #[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
    fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn starts(&mut self) {
        self.line("### Environments that can start per second\n");
        self.line("| secrets | mode | without a throttled call | without waiting |");
        self.line("|---|---|---|---|");
        let cases = cases(&[()], |_, _, _| true);
        let rates = workers::all(&cases, |(_, secrets, (_, mode))| {
            let quiet = study::starts_before_throttling(*mode, *secrets);
            (quiet, study::starts_before_waiting(*mode, *secrets))
        });
        for ((_, secrets, (name, mode)), (quiet, soon)) in cases.iter().zip(&rates) {
            self.line(&format!("| {secrets} | `{name}` | {quiet} | {soon} |"));
            if *mode == Mode::Get && *secrets == 20 {
                let lambda_rate = 100;
                let text =
                    "4 functions with 20 secrets scale out evenly with `get` and are not throttled";
                self.promises.push((text, *quiet >= 4 * lambda_rate));
            }
        }
        let of_modes = rates.chunks(MODES.len());
        let groups: Vec<(String, Vec<f64>)> = SECRETS
            .iter()
            .zip(of_modes)
            .map(|(secrets, rates)| {
                let values = rates.iter().map(|(quiet, _)| float(*quiet as u64)).collect();
                (plural(*secrets, "secret"), values)
            })
            .collect();
        self.line("");
        let svg = chart::bars(
            "Environments that can start per second without a throttled call",
            "/s",
            "higher is better",
            &coloured(&["get", "batch", "auto"]),
            &groups,
        );
        self.charts.push(("starts", svg));
    }

    fn scale_out(&mut self) {
        self.line("### Functions that scale out at Lambda's maximum rate\n");
        self.line(
            "| functions | environments | secrets | mode | ready p50 | ready p99 | ready max \
             | over 3 s | calls | throttled calls |",
        );
        self.line("|---|---|---|---|---|---|---|---|---|---|");
        // A burst that takes a minute to settle behaves the same in all modes, so only `get` is simulated.
        let is_shown = |functions: &usize, secrets: usize, mode: Mode| {
            let load = functions * secrets;
            // `auto` behaves as `get` or `batch`: the rows of one function show it.
            let is_known = mode == Mode::Auto && *functions > 1;
            !is_known && (load <= 60 || (mode == Mode::Get && load <= 80))
        };
        let cases = cases(&[1, 4, 10], is_shown);
        let rows = workers::all(&cases, |(functions, secrets, (name, mode))| {
            scale_out_row(*functions, *secrets, name, *mode)
        });
        for ((functions, secrets, (_, mode)), (row, throttled)) in cases.iter().zip(rows) {
            self.line(&row);
            if (*functions, *secrets, *mode) == (1, 6, Mode::Get) {
                let text = "a function with 6 secrets that scales out with `get` is not throttled";
                self.promises.push((text, throttled == 0));
            }
        }
        self.line("");
    }

    fn storms(&mut self) {
        self.line("### Spread of refreshes\n");
        self.line(
            "| environments | secrets | jitter | calls per second, mean | calls in the busiest second \
             | ratio | throttled calls in an hour | reads after the TTL |",
        );
        self.line("|---|---|---|---|---|---|---|---|");
        let cases: Vec<(usize, usize, bool)> = [(10_000, 1), (100_000, 1), (20_000, 6)]
            .into_iter()
            .flat_map(|(count, secrets)| [false, true].map(|is_random| (count, secrets, is_random)))
            .collect();
        let rows = workers::all(&cases, |(environments, secrets, is_random)| {
            storm_row(*environments, *secrets, *is_random)
        });
        let mut curves = Vec::new();
        for ((environments, secrets, is_random), (row, storm)) in cases.into_iter().zip(rows) {
            self.line(&row);
            if (environments, secrets, is_random) == (100_000, 1, true) {
                let text = "the refreshes of 100,000 environments that started at once spread out";
                self.promises.push((text, f64::from(storm.peak) <= 3.0 * storm.mean));
            }
            if environments == 10_000 {
                let points = storm.per_second.iter().enumerate();
                let points = points
                    .map(|(at, calls)| (float(at as u64) / 60.0, f64::from(*calls)))
                    .collect();
                curves.push(Line { label: format!("{} jitter", jitter(is_random)), points });
            }
        }
        let svg = line_chart::draw(
            "10,000 busy environments, started within one second",
            "minutes",
            "calls per second: a lower peak is better",
            &curves,
        );
        self.charts.push(("storm", svg));
        self.line("");
    }

    fn days(&mut self) {
        self.line("### Daily cost of 1,000 environments\n");
        self.line(
            "| invoked every | secrets | calls per day, `get` | cost, `get` \
             | calls per day, `batch` | cost, `batch` | cost without a cache | reads that wait |",
        );
        self.line("|---|---|---|---|---|---|---|---|");
        let periods = [("10 s", 10), ("1 min", 60), ("10 min", 600), ("1 h", 3600)];
        let cases: Vec<((&str, u64), usize)> = periods
            .into_iter()
            .flat_map(|period| SECRETS.map(|secrets| (period, secrets)))
            .collect();
        let days = workers::all(&cases, |((_, seconds), secrets)| {
            let day = |mode| study::day(Duration::from_secs(*seconds), mode, *secrets);
            // A batch of one secret has no advantage. `auto` uses batches for 6 and 20 secrets.
            (day(Mode::Get), (*secrets > 1).then(|| day(Mode::Batch)))
        });
        for (((label, _), secrets), (get, batch)) in cases.iter().zip(days) {
            let batch = batch.map_or_else(
                || " | ".to_owned(),
                |day| format!("{} | {}", thousands(rounded(day.calls)), dollars(day.calls)),
            );
            self.line(&format!(
                "| {label} | {secrets} | {} | {} | {batch} | {} | {} |",
                thousands(rounded(get.calls)),
                dollars(get.calls),
                dollars(get.calls_without),
                percent(get.waited),
            ));
        }
    }
}

impl Page {
    fn parameters(&mut self) {
        self.line("");
        self.line(&format!("### {PARAMETERS} parameters\n"));
        self.line(
            "| quota | call | starts per second without a throttled call | calls per environment in \
             its first hour |",
        );
        self.line("|---|---|---|---|");
        let mut starts = Vec::new();
        for (quotas, _) in QUOTAS {
            for (name, fetching) in FETCHINGS {
                let rate = study::parameter_starts(fetching, quotas);
                let calls = study::calls_per_hour(fetching);
                self.line(&format!(
                    "| {} | {name} | {} | {calls:.0} |",
                    quota(fetching, quotas),
                    thousands(rate as u64),
                ));
                starts.push(rate);
            }
        }
        self.promises.push((
            "ten times as many environments start with `GetParameters` as with `GetParameter`",
            // The search for the highest rate ends at a difference of 1 %.
            [0, 3].iter().all(|at| starts[at + 1] * 100 >= starts[*at] * 990),
        ));
        self.line("");
        self.line(
            "| quota | environments | call | ready p50 | ready p99 | ready max | calls | throttled \
             calls |",
        );
        self.line("|---|---|---|---|---|---|---|---|");
        let bursts = |(quotas, counts): (Quotas, [usize; 2])| {
            counts.map(|count| FETCHINGS.map(|fetching| (count, fetching, quotas)))
        };
        let cases: Vec<_> = QUOTAS.into_iter().flat_map(bursts).flatten().collect();
        for row in workers::all(&cases, |(count, (name, fetching), quotas)| {
            burst_row(*count, name, *fetching, *quotas)
        }) {
            self.line(&row);
        }
    }
}

impl Page {
    fn searches(&mut self) {
        self.line("");
        self.line("### Searches for a pattern or a tag\n");
        self.line(
            "| environments | secrets that match | `SIDEKEY_DISCOVER` | calls per second, pattern | \
             calls per day, pattern | cost, pattern | calls per day, tag | cost, tag |",
        );
        self.line("|---|---|---|---|---|---|---|---|");
        for environments in [1, 100, 10_000] {
            for secrets in [20, 500] {
                for (label, minutes) in [("5m", 5), ("1h", 60)] {
                    let interval = Duration::from_secs(minutes * 60);
                    self.line(&searches_row(Searches { environments, secrets, interval }, label));
                }
            }
        }
    }
}

/// Returns the row of a table for the searches of environments that are never frozen. `label` is the
/// value of `SIDEKEY_DISCOVER`.
pub(crate) fn searches_row(searches: Searches, label: &str) -> String {
    let (by_name, by_tag) = (searches.of_pattern() * DAY, searches.of_tag() * DAY);
    format!(
        "| {} | {} | `{label}` | {:.2} | {} | {} | {} | {} |",
        thousands(u64::from(searches.environments)),
        searches.secrets,
        searches.of_pattern(),
        thousands(rounded(by_name)),
        dollars(by_name),
        thousands(rounded(by_tag)),
        dollars(by_tag),
    )
}

/// The number of seconds in a day.
const DAY: f64 = 24.0 * 3600.0;

/// Returns the row of a table for environments that start within one second and need parameters.
pub(crate) fn burst_row(
    environments: usize,
    name: &str,
    fetching: Fetching,
    quotas: Quotas,
) -> String {
    let outcome = study::burst(environments, fetching, quotas);
    let ready = |share| seconds(percentile(&outcome.ready, share));
    let Count { calls, throttled } = outcome.upstream.total();
    assert_eq!(
        outcome.ready.len(),
        outcome.started,
        "every environment must cache all its parameters"
    );
    format!(
        "| {} | {} | {name} | {} | {} | {} | {} | {} |",
        quota(fetching, quotas),
        thousands(environments as u64),
        ready(0.5),
        ready(0.99),
        ready(1.0),
        thousands(calls),
        thousands(throttled),
    )
}

/// Returns the quota of the calls by which the environments fetch parameters.
fn quota(fetching: Fetching, quotas: Quotas) -> String {
    let calls = match fetching {
        Fetching::Path { .. } => quotas.pages,
        _ => quotas.parameters,
    };
    format!("{}/s", thousands(u64::from(calls)))
}

/// The input for one row of a table: the subject, the number of secrets, and the prefetch mode with
/// its name.
type Case<T> = (T, usize, (&'static str, Mode));

fn cases<T: Copy>(of: &[T], is_shown: impl Fn(&T, usize, Mode) -> bool) -> Vec<Case<T>> {
    let mut cases = Vec::new();
    for one in of {
        for secrets in SECRETS {
            let shown = MODES.into_iter().filter(|(_, mode)| is_shown(one, secrets, *mode));
            cases.extend(shown.map(|mode| (*one, secrets, mode)));
        }
    }
    cases
}

/// Returns the row of a table for functions to which Lambda quickly adds environments, and the
/// number of throttled calls.
pub(crate) fn scale_out_row(
    functions: usize,
    secrets: usize,
    name: &str,
    mode: Mode,
) -> (String, u64) {
    let outcome = study::scale_out(functions, mode, secrets);
    let ready = |share| seconds(percentile(&outcome.ready, share));
    let Count { calls, throttled } = outcome.upstream.total();
    assert_eq!(
        outcome.ready.len(),
        outcome.started,
        "every environment must cache all its secrets"
    );
    let row = format!(
        "| {functions} | {} | {secrets} | `{name}` | {} | {} | {} | {} | {} | {} |",
        thousands(outcome.started as u64),
        ready(0.5),
        ready(0.99),
        ready(1.0),
        percent(study::late(&outcome)),
        thousands(calls),
        thousands(throttled),
    );
    (row, throttled)
}

/// Returns the row of a table for the refreshes of environments that started at the same time, and
/// the results of the simulation.
pub(crate) fn storm_row(environments: usize, secrets: usize, is_random: bool) -> (String, Storm) {
    let storm = study::storm(environments, secrets, is_random);
    let late = storm.reads.stale + storm.reads.waited;
    let row = format!(
        "| {} | {secrets} | {} | {:.0} | {} | {:.1} | {} | {} |",
        thousands(environments as u64),
        jitter(is_random),
        storm.mean,
        thousands(u64::from(storm.peak)),
        f64::from(storm.peak) / storm.mean,
        thousands(storm.throttled),
        percent(float(late) / float(storm.reads.total)),
    );
    (row, storm)
}

fn jitter(is_random: bool) -> &'static str {
    if is_random { "random" } else { "equal" }
}

fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("{n} {word}") } else { format!("{n} {word}s") }
}

fn seconds(span: Duration) -> String {
    match span.as_secs_f64() {
        short if short < 1.0 => format!("{:.0} ms", short * 1000.0),
        long => format!("{long:.1} s"),
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "none".into(),
        little if little < 0.1 => "< 0.1 %".into(),
        some => format!("{some:.1} %"),
    }
}

fn dollars(calls: f64) -> String {
    format!("${:.2}", calls * study::DOLLARS_PER_CALL)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are positive")]
fn rounded(count: f64) -> u64 {
    count.round() as u64
}

fn thousands(count: u64) -> String {
    let plain = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            let _ = grouped.write_char(',');
        }
        grouped.push(digit);
    }
    grouped
}
