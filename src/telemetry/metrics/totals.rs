//! Copies the counters for the metrics of CloudWatch.

use super::create::sums;
use super::{CallMetrics, Ended, Metrics, ReadResult};
use crate::source::FetchErrorKind;
use crate::telemetry::emf::latency::Latencies;
use crate::telemetry::emf::totals::{Calls, Reads, Totals};
use prometheus::core::Metric;

impl Metrics {
    /// Returns the counts of reads, calls and refused requests since the start of the process, for
    /// the metrics of CloudWatch.
    pub(crate) fn totals(&self) -> Totals {
        let read = |result: ReadResult| self.reads[result as usize].get();
        Totals {
            reads: Reads {
                hit: read(ReadResult::Hit),
                miss: read(ReadResult::Miss),
                stale: read(ReadResult::Stale),
                refused: read(ReadResult::Refused),
                error: read(ReadResult::Error),
            },
            latencies: self.read_latencies(),
            calls: self.aws_calls(),
            gate_refusals: sums(&self.gate_refusals, "reason").map(|(_, count)| count).sum(),
            routes: self.calls.get().map(CallMetrics::totals).unwrap_or_default(),
        }
    }

    fn read_latencies(&self) -> Latencies {
        let metric = self.read_duration.metric();
        let histogram = metric.get_histogram();
        let buckets = histogram.get_bucket().iter();
        Latencies {
            buckets: buckets.map(|own| (own.upper_bound(), own.cumulative_count())).collect(),
            count: histogram.get_sample_count(),
            sum: histogram.get_sample_sum(),
        }
    }

    /// Counts the calls to AWS by outcome. Calls that a freeze interrupted are not counted, because
    /// Sidekey repeats these calls.
    fn aws_calls(&self) -> Calls {
        let mut calls = Calls::default();
        for (outcome, count) in sums(&self.upstream_requests, "outcome") {
            let mut kinds = FetchErrorKind::ALL.into_iter();
            match kinds.find(|kind| kind.label() == outcome) {
                Some(kind) => calls.add_failed(kind, count),
                None if outcome == Ended::Answered.label() => calls.ok += count,
                None => {}
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::super::Operation;
    use super::*;
    use std::time::Duration;

    #[test]
    fn totals_have_the_counters_by_result_and_outcome() {
        let metrics = Metrics::new();
        assert_eq!(metrics.totals().reads, Reads::default());
        for (result, times) in ReadResult::ALL.into_iter().zip(1..) {
            (0..times).for_each(|_| metrics.read(result));
        }
        metrics.read_took(Duration::from_millis(3));
        metrics.gate_refused("token");
        metrics.gate_refused("host");
        for ended in [
            Ended::Answered,
            Ended::Interrupted,
            Ended::Failed(FetchErrorKind::Throttled),
            Ended::Failed(FetchErrorKind::Denied),
            Ended::Failed(FetchErrorKind::Timeout),
            Ended::Failed(FetchErrorKind::NotFound),
        ] {
            metrics.upstream(Operation::GetSecretValue, ended, Duration::ZERO);
            metrics.upstream(Operation::GetParameters, ended, Duration::ZERO);
        }
        let totals = metrics.totals();
        let reads = Reads { hit: 1, miss: 2, stale: 3, refused: 4, error: 5 };
        let calls = Calls { ok: 2, throttled: 2, denied: 2, failed: 4 };
        assert_eq!((totals.reads, totals.calls, totals.gate_refusals), (reads, calls, 2));
        assert_eq!(totals.latencies.slowest(), Some(0.003));
    }
}
