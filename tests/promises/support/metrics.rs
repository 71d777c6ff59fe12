//! What `/metrics` says.

use std::collections::BTreeMap;

/// One reading of every series.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads Prometheus' text format.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, value)| {
            (series.to_owned(), value.parse().expect("the value of a series is a number"))
        });
        Self(series.collect())
    }

    /// Returns a series, named with its labels. There is none that is not there from the start.
    #[track_caller]
    pub(crate) fn get(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// Returns the sum over every label of a metric.
    #[track_caller]
    pub(crate) fn sum(&self, metric: &str) -> f64 {
        let start = format!("{metric}{{");
        let series = self.0.iter().filter(|(series, _)| series.starts_with(&start));
        let values: Vec<f64> = series.map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "no metric {metric}");
        values.into_iter().sum()
    }

    /// Returns the counters that differ from `earlier`, with by how much.
    pub(crate) fn since(&self, earlier: &Self, metric: &str) -> Vec<(String, f64)> {
        let own = self.0.iter().filter(|(series, _)| series.starts_with(metric));
        let steps = own.map(|(series, value)| (series.clone(), value - earlier.get(series)));
        steps.filter(|(_, step)| *step != 0.0).collect()
    }
}
