//! The parsed content of the page `/metrics`.

use std::collections::BTreeMap;

/// The values on the page `/metrics`, by the names and labels of the metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Parses the page `/metrics`, which is in Prometheus' text format.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, value)| {
            (
                series.to_owned(),
                value.parse().expect("every value on the page /metrics must be a number"),
            )
        });
        Self(series.collect())
    }

    /// Returns the value of a metric. `series` is its name with its labels. Panics if the metric is
    /// missing, because the agent exports all metrics from its start.
    #[track_caller]
    pub(crate) fn get(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("/metrics has no series {series}"))
    }

    /// Returns the sum of the values of a metric over all its labels.
    #[track_caller]
    pub(crate) fn sum(&self, metric: &str) -> f64 {
        let start = format!("{metric}{{");
        let series = self.0.iter().filter(|(series, _)| series.starts_with(&start));
        let values: Vec<f64> = series.map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "/metrics has no metric {metric}");
        values.into_iter().sum()
    }

    /// Returns by how much the values of `metric` have changed since `earlier`, for each
    /// combination of labels.
    pub(crate) fn since(&self, earlier: &Self, metric: &str) -> Vec<(String, f64)> {
        let own = self.0.iter().filter(|(series, _)| series.starts_with(metric));
        let steps = own.map(|(series, value)| (series.clone(), value - earlier.get(series)));
        steps.filter(|(_, step)| *step != 0.0).collect()
    }
}
