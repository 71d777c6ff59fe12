//! Creates metrics and registers them, so that they are part of each scrape. Also reads counters.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let valid = metric.expect("the names, labels and buckets of this metric must be valid");
    registry.register(Box::new(valid.clone())).expect("each metric must be registered only once");
    valid
}

/// Returns the value of each time series of `counters`, with the series' value of `label`.
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
