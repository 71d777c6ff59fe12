//! Creates metrics, and reads counters.

use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

pub(super) fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    valid(IntCounterVec::new(Opts::new(name, help), labels))
}

pub(super) fn counter(name: &str, help: &str) -> IntCounter {
    valid(IntCounter::new(name, help))
}

pub(super) fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    valid(IntGaugeVec::new(Opts::new(name, help), labels))
}

pub(super) fn gauge(name: &str, help: &str) -> IntGauge {
    valid(IntGauge::new(name, help))
}

/// Returns a gauge whose value may have a fraction.
pub(super) fn seconds(name: &str, help: &str) -> Gauge {
    valid(Gauge::new(name, help))
}

pub(super) fn valid<M>(metric: prometheus::Result<M>) -> M {
    metric.expect("the names, labels and buckets of this metric must be valid")
}

/// Returns, for each time series of `counters`, the value of its label `label`, and its count.
pub(super) fn sums(
    counters: &IntCounterVec,
    label: &'static str,
) -> impl Iterator<Item = (String, u64)> {
    let families = counters.collect();
    let series = families.into_iter().flat_map(|mut family| std::mem::take(family.mut_metric()));
    series.filter_map(move |series| {
        let value = series.get_label().iter().find(|own| own.name() == label)?.value().to_owned();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the library returns whole counts as floating-point numbers"
        )]
        Some((value, series.get_counter().get_value() as u64))
    })
}
