//! Estimates the median and the slowest read from the buckets of a histogram.
//!
//! Exact values would need more work in each read.

/// A histogram of durations, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Latencies {
    /// For each bucket the upper bound, and the number of durations up to this bound.
    pub(crate) buckets: Vec<(f64, u64)>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

impl Latencies {
    /// Returns the histogram of the durations that were added after `earlier`, an earlier state of
    /// the same histogram.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |at: usize| earlier.buckets.get(at).map_or(0, |(_, count)| *count);
        let buckets = self.buckets.iter().enumerate();
        Self {
            buckets: buckets
                .map(|(at, (bound, count))| (*bound, count.saturating_sub(before(at))))
                .collect(),
            count: self.count.saturating_sub(earlier.count),
            sum: (self.sum - earlier.sum).max(0.0),
        }
    }

    /// Returns an upper bound of the slowest duration, in seconds: the upper bound of its bucket,
    /// or the sum of all durations if the sum is smaller. Returns `None` if there are no durations.
    pub(crate) fn slowest(&self) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let mut bounds = self.buckets.iter().filter(|(_, up_to)| *up_to == self.count);
        Some(bounds.next().map_or(self.sum, |(bound, _)| bound.min(self.sum)))
    }

    /// Returns an estimate of the median in seconds, as if the durations in each bucket were spread
    /// evenly. Returns `None` if there are no durations.
    pub(crate) fn median(&self) -> Option<f64> {
        let slowest = self.slowest()?;
        let (mut lower, mut below) = (0.0, 0);
        for &(bound, up_to) in self.buckets.iter().chain([&(slowest, self.count)]) {
            if up_to * 2 >= self.count && up_to > below {
                // A bucket has at most a few million durations, so the conversion is exact.
                let share = (self.count as f64 / 2.0 - below as f64) / (up_to - below) as f64;
                return Some((lower + (bound - lower) * share).min(slowest));
            }
            (lower, below) = (bound, up_to);
        }
        Some(slowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: f64 = 0.001;

    /// Makes a histogram with buckets up to 1, 10 and 100 ms.
    fn latencies(millis: &[f64]) -> Latencies {
        let bucket =
            |bound: f64| (bound * MS, millis.iter().filter(|own| **own <= bound).count() as u64);
        Latencies {
            buckets: [1.0, 10.0, 100.0].map(bucket).to_vec(),
            count: millis.len() as u64,
            sum: millis.iter().sum::<f64>() * MS,
        }
    }

    #[track_caller]
    fn check(millis: &[f64], median: Option<f64>, slowest: Option<f64>) {
        let found = latencies(millis);
        let rounded = |seconds: f64| (seconds / MS * 1000.0).round() / 1000.0;
        assert_eq!(found.median().map(rounded), median, "median of {millis:?}");
        assert_eq!(found.slowest().map(rounded), slowest, "slowest of {millis:?}");
    }

    #[test]
    fn median_and_slowest_are_estimated_from_buckets() {
        check(&[], None, None);
        check(&[0.2], Some(0.2), Some(0.2));
        check(&[0.5, 0.6, 0.7, 0.8], Some(0.5), Some(1.0));
        check(&[0.5, 0.6, 0.7, 0.8, 50.0], Some(0.625), Some(52.6));
        check(&[0.5, 20.0, 30.0], Some(32.5), Some(50.5));
        check(&[3000.0], Some(1550.0), Some(3000.0));
        check(&[300.0, 400.0], Some(400.0), Some(700.0));
    }

    #[test]
    fn only_durations_after_the_earlier_state_count() {
        let (earlier, later) = (latencies(&[0.5, 70.0]), latencies(&[0.5, 70.0, 5.0]));
        let since = later.since(&earlier);
        assert_eq!((since.count, since.buckets[1].1, since.buckets[2].1), (1, 1, 1));
        assert!(since.slowest().is_some_and(|slowest| (slowest - 5.0 * MS).abs() < 1e-9));
        assert_eq!(later.since(&later).slowest(), None);
        assert_eq!(later.since(&Latencies::default()), later);
    }
}
