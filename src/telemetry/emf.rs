//! Metrics for Amazon CloudWatch, as log lines in CloudWatch's Embedded Metric Format (EMF).
//!
//! CloudWatch Logs makes metrics from such lines. So metrics leave a Lambda environment without
//! another process and without a call to AWS. All functions are pure: their arguments are the
//! counts at the start and at the end of an interval. Each event counts in one record only.

pub(crate) mod served;
pub(crate) mod latency;
pub(crate) mod totals;
pub(crate) mod interval;
pub mod group;
pub mod metric;
pub(crate) mod schedule;
pub(crate) mod record;
pub(crate) mod dimension;

use group::Groups;

/// How Sidekey writes metrics for CloudWatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) groups: Groups,
    /// The namespace of the metrics in CloudWatch.
    pub(crate) namespace: String,
    /// The names and values of the dimensions of each metric in CloudWatch.
    pub(crate) dimensions: Vec<(String, String)>,
    /// The log level of the lines. Lambda drops lines whose level is below the function's log
    /// level.
    pub(crate) level: String,
    /// Whether SnapStart takes a snapshot of the process after its start.
    pub(crate) is_snapshot: bool,
}
