//! Compares the documentation of the metrics for CloudWatch with the code, and computes their cost.

use crate::repository::{File, page};
use sidekey::telemetry::emf::group::Group;
use sidekey::telemetry::emf::metric::METRICS;

const PAGE: &str = "docs/metrics.md";

/// The price of a metric a month in US cents, for the first metrics of an account, and the number of
/// these metrics.
///
/// Source: <https://aws.amazon.com/cloudwatch/pricing/>, region us-east-1.
const FIRST: (usize, usize) = (10_000, 30);

/// The price of each further metric a month, in US cents. A higher number of metrics than this page
/// considers is even cheaper.
const FURTHER_CENTS: usize = 10;

fn cents(metrics: usize) -> usize {
    let (limit, first_cents) = FIRST;
    let first = metrics.min(limit);
    first * first_cents + (metrics - first) * FURTHER_CENTS
}

fn dollars(cents: usize) -> String {
    format!("${}.{:02}", cents / 100, cents % 100)
}

/// Returns the row of the table of costs for a value of `SIDEKEY_EMF`.
fn cost_row(groups: &str) -> String {
    let is_selected =
        |group: Group| groups == "on" || groups.split(',').any(|own| own == group.label());
    let count = METRICS.iter().filter(|metric| is_selected(metric.group)).count();
    let (one, thousand) = (dollars(cents(count)), dollars(cents(1000 * count)));
    format!("| `{groups}` | {count} | {one} | {thousand} |")
}

/// Finds metrics and costs in the documentation that differ from the code.
fn wrong(files: &[File]) -> Vec<String> {
    let text = page(files, PAGE).text;
    let rows = METRICS.iter().map(|metric| {
        format!("| `{}` | {} | `{}` |", metric.name, metric.unit, metric.group.label())
    });
    let costs = text.lines().skip_while(|line| !line.starts_with("| `SIDEKEY_EMF` | metrics |"));
    let selections = costs.skip(2).take_while(|line| line.starts_with('|'));
    let costs: Vec<String> =
        selections.filter_map(|row| Some(cost_row(row.split('`').nth(1)?))).collect();
    let mut problems: Vec<String> = Vec::new();
    if costs.is_empty() {
        problems.push(format!("{PAGE} has no table of costs"));
    }
    let missing = rows.chain(costs).filter(|row| !text.contains(row.as_str()));
    problems.extend(missing.map(|row| format!("{PAGE} does not contain the row {row}")));
    let documented =
        text.lines().filter(|line| line.starts_with("| `") && line.contains("` | Sum |"));
    let unknown = documented.filter_map(|line| line.split('`').nth(1));
    let unknown = unknown.filter(|name| METRICS.iter().all(|metric| metric.name != *name));
    problems.extend(unknown.map(|name| format!("the code has no metric {name}")));
    problems
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none, repository};

    #[test]
    fn metrics_and_costs_are_documented_as_they_are() {
        let remedy = "Copy the rows from this message to docs/metrics.md.";
        assert_none(&wrong(&repository()), remedy);
        let text = page(&repository(), PAGE).text;
        for (from, to, expected) in [
            ("| `CallsOk` | Count", "| `CallsOk` | Seconds", &["| `CallsOk` | Count |"][..]),
            ("$6.00", "$6.10", &["| `on` | "]),
            ("`ReadHits`", "`Hits`", &["| `ReadHits` | Count", "no metric Hits"]),
            ("| `SIDEKEY_EMF` | metrics", "| `X` | metrics", &["no table of costs"]),
        ] {
            assert!(text.contains(from), "{PAGE} does not contain `{from}`: change this test");
            let changed = [File::new(PAGE, &text.replace(from, to))];
            assert_finds(&wrong(&changed), expected);
        }
    }

    #[test]
    fn costs_follow_the_price_list() {
        for (metrics, expected) in [(1, "$0.30"), (10_000, "$3000.00"), (16_000, "$3600.00")] {
            assert_eq!(dollars(cents(metrics)), expected);
        }
    }
}
