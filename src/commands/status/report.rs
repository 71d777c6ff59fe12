//! The state of an agent, as `sidekey status` displays it. The fields are those of
//! `docs/status.schema.json`.

use super::counters::Counters;
use super::page::{CallError, Credentials, Missing, Page, Secret};
use crate::source::FetchErrorKind;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The outcomes of calls to AWS that do not count as failures. `cut` means that Lambda froze the
/// agent during the call, and that the agent repeats the call.
const SUCCESSES: [&str; 2] = ["ok", "cut"];

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether all required secrets are cached.
    pub(super) ok: bool,
    pub(super) agent: AgentReport,
    pub(super) secrets: Vec<Secret>,
    pub(super) missing: Vec<Missing>,
}

/// The state of the agent itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentReport {
    pub(super) address: String,
    pub(super) version: String,
    pub(super) dialect: String,
    pub(super) ready: bool,
    /// How long the agent's process has run, in seconds. `None` if this is unknown.
    pub(super) uptime_seconds: Option<u64>,
    pub(super) connections: u64,
    /// The number of calls to AWS that run or wait.
    pub(super) flights: u64,
    /// The agent's AWS credentials. `None` if the agent has no credentials yet.
    pub(super) credentials: Option<Credentials>,
    pub(super) upstream: Upstream,
    /// The number of reads since the start of the agent, for each result.
    pub(super) reads: BTreeMap<String, u64>,
    /// For each route (rules for calls to one external API) with calls, the number of calls for
    /// each class of HTTP statuses, such as `2xx`.
    pub(super) routes: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The calls to AWS since the start of the agent.
#[derive(Debug, Serialize)]
pub(super) struct Upstream {
    pub(super) state: UpstreamState,
    pub(super) calls: u64,
    /// The number of failed calls, for each kind of failure.
    pub(super) failed: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum UpstreamState {
    /// The last call for each secret succeeded, or failed permanently, for example because IAM
    /// denies access. A permanent failure counts as `Ok`, because it is no sign of an outage.
    Ok,
    /// The last call for at least one secret failed, and a retry may succeed.
    Failing,
    /// The agent has not called AWS yet.
    Unused,
}

impl Report {
    /// Combines the pages `/status` and `/metrics` of the agent at `address`.
    pub(super) fn of(page: Page, counters: Counters, address: String, now: SystemTime) -> Self {
        let Page { version, dialect, ready, credentials, entries, missing, flights } = page;
        let errors = entries.iter().filter_map(|entry| entry.problem.as_ref());
        let errors = errors.chain(missing.iter().filter_map(|missing| missing.problem.as_ref()));
        let upstream = Upstream::of(counters.calls, errors);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let uptime = counters.started.map(|started| (now.as_secs_f64() - started).max(0.0));
        Self {
            ok: !missing.iter().any(|missing| missing.required),
            agent: AgentReport {
                address,
                version,
                dialect,
                ready,
                uptime_seconds: uptime.map(whole),
                connections: counters.connections,
                flights,
                credentials,
                upstream,
                reads: counters.reads,
                routes: counters.routes,
            },
            secrets: entries,
            missing,
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("the report must be serializable as JSON")
    }
}

impl Upstream {
    /// Summarises the calls to AWS. `errors` are the errors of the last call for each secret.
    fn of<'a>(
        calls: BTreeMap<String, u64>,
        mut errors: impl Iterator<Item = &'a CallError>,
    ) -> Self {
        let total = calls.values().sum();
        let is_transient = |error: &CallError| {
            let kind = FetchErrorKind::ALL.into_iter().find(|kind| kind.label() == error.kind);
            kind.is_some_and(FetchErrorKind::is_transient)
        };
        let state = match (errors.any(is_transient), total) {
            (true, _) => UpstreamState::Failing,
            (false, 0) => UpstreamState::Unused,
            (false, _) => UpstreamState::Ok,
        };
        let mut failed = calls;
        failed.retain(|outcome, _| !SUCCESSES.contains(&&**outcome));
        Self { state, calls: total, failed }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`seconds` must not be negative, and the report shows only whole seconds"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}
