//! The metrics of an agent that `sidekey status` displays, parsed from the page `/metrics`.

use std::collections::BTreeMap;

/// The metrics of an agent since its start.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Counters {
    /// When the agent's process started, in seconds since 1970. `None` if the agent's system does
    /// not report it.
    pub(super) started: Option<f64>,
    pub(super) connections: u64,
    /// The number of calls to AWS for each outcome, such as `ok` or `throttled`.
    pub(super) calls: BTreeMap<String, u64>,
    /// The number of reads for each result, such as `hit` or `miss`.
    pub(super) reads: BTreeMap<String, u64>,
    /// For each route (rules for calls to one external API) with calls, the number of calls for
    /// each class of HTTP statuses, such as `2xx`. The class `none` has the calls that the API did
    /// not answer.
    pub(super) routes: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Counters {
    /// Parses the page `/metrics`, which is in Prometheus' text format. Ignores unknown metrics.
    pub(super) fn parse(page: &str) -> Self {
        let mut counters = Self::default();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (metric, labels) = series.split_once('{').unwrap_or((series, ""));
            match metric {
                "process_start_time_seconds" => counters.started = Some(value),
                "sidekey_connections" => counters.connections = whole(value),
                "sidekey_upstream_requests_total" => {
                    add(&mut counters.calls, labels, "outcome", value);
                }
                "sidekey_reads_total" => add(&mut counters.reads, labels, "result", value),
                "sidekey_calls_total" if value > 0.0 => {
                    let Some(route) = label_value(labels, "route") else { continue };
                    let statuses = counters.routes.entry(route.to_owned()).or_default();
                    add(statuses, labels, "status", value);
                }
                _ => {}
            }
        }
        counters
    }
}

/// Adds `value` to one of the `sums`: the sum for the value that `label` has in `labels`, such as
/// `hit` for the label `result`. Ignores zero.
fn add(sums: &mut BTreeMap<String, u64>, labels: &str, label: &str, value: f64) {
    if let Some(own) = label_value(labels, label).filter(|_| value > 0.0) {
        *sums.entry(own.to_owned()).or_default() += whole(value);
    }
}

fn label_value<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    let start = format!("{label}=\"");
    labels.split(',').find_map(|pair| pair.strip_prefix(&*start)?.split('"').next())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole numbers, and `as` limits other numbers to the range of u64"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_by_outcome_and_result() {
        let page = "# HELP sidekey_connections Open connections of callers.\n\
                    sidekey_connections 2\n\
                    sidekey_reads_total{result=\"hit\"} 40\n\
                    sidekey_reads_total{result=\"miss\"} 0\n\
                    sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"ok\"} 3\n\
                    sidekey_upstream_requests_total{operation=\"GetParameter\",outcome=\"ok\"} 4\n\
                    sidekey_upstream_requests_total{operation=\"GetParameter\",outcome=\"timeout\"} 1\n\
                    sidekey_calls_total{route=\"crm\",status=\"2xx\"} 5\n\
                    sidekey_calls_total{route=\"crm\",status=\"none\"} 1\n\
                    sidekey_calls_total{route=\"openai\",status=\"2xx\"} 0\n\
                    process_start_time_seconds 1764480000\n";
        let counts = |pairs: &[(&str, u64)]| {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let expected = Counters {
            started: Some(1_764_480_000.0),
            connections: 2,
            calls: counts(&[("ok", 7), ("timeout", 1)]),
            reads: counts(&[("hit", 40)]),
            routes: [("crm".to_owned(), counts(&[("2xx", 5), ("none", 1)]))].into(),
        };
        assert_eq!(Counters::parse(page), expected);
    }

    #[test]
    fn text_that_is_no_metric_is_ignored() {
        for page in
            ["", "\n\n", "sidekey_connections", "sidekey_connections x", "sidekey_reads_total{ 1"]
        {
            assert_eq!(Counters::parse(page), Counters::default(), "{page}");
        }
    }
}
