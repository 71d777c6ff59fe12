//! The lines about the agent itself in the output of `sidekey status`.

use super::page::Credentials;
use super::report::{AgentReport, Report, Upstream, UpstreamState};
use crate::commands::age::age;
use crate::printable::Printable;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns the lines that describe the agent, its calls to AWS, and the reads of its callers.
pub(super) fn summary(report: &Report, now: SystemTime) -> String {
    let Report { agent, secrets, missing, .. } = report;
    let AgentReport { address, version, ready, uptime_seconds, connections, flights, .. } = agent;
    let ready = if *ready { "ready" } else { "not ready" };
    let uptime = uptime_seconds
        .map(|seconds| format!(", up for {}", age(Duration::from_secs(seconds))))
        .unwrap_or_default();
    let required = missing.iter().filter(|missing| missing.required).count();
    let absent = match (missing.len(), required) {
        (0, _) => String::new(),
        (all, required) => format!(", {all} not cached ({required} of them required)"),
    };
    let routes: String = agent
        .routes
        .iter()
        .map(|(route, calls)| format!("Calls to {}: {}\n", Printable(route), total(calls)))
        .collect();
    format!(
        "Sidekey {} at {address}: {ready}{uptime}\n\
         AWS: {}; {}\n\
         Reads: {}; connections: {connections}; calls to AWS in progress: {flights}\n\
         {routes}Secrets: {} cached{absent}\n",
        Printable(version),
        upstream(&agent.upstream),
        credentials(agent.credentials.as_ref(), now),
        total(&agent.reads),
        secrets.len(),
    )
}

fn upstream(upstream: &Upstream) -> String {
    let Upstream { state, calls, failed } = upstream;
    let state = match state {
        UpstreamState::Ok => "works",
        UpstreamState::Failing => "fails",
        UpstreamState::Unused => return "not called yet".to_owned(),
    };
    match failed.is_empty() {
        true => format!("{state}, {calls} calls"),
        false => format!("{state}, {calls} calls, failed: {}", parts(failed)),
    }
}

/// Describes the agent's AWS credentials and their expiry.
fn credentials(credentials: Option<&Credentials>, now: SystemTime) -> String {
    let Some(Credentials { expires, rejected }) = credentials else {
        return "no credentials yet".to_owned();
    };
    let rejected = if *rejected { ", rejected by AWS" } else { "" };
    let Some(expires) = expires else { return format!("credentials without expiry{rejected}") };
    let time = OffsetDateTime::parse(expires, &Rfc3339).ok().map(SystemTime::from);
    let left = time.map(|time| match time.duration_since(now) {
        Ok(left) => format!(" (in {})", age(left)),
        Err(_) => " (expired)".to_owned(),
    });
    let left = left.unwrap_or_default();
    format!("credentials until {}{left}{rejected}", Printable(expires))
}

/// Returns the sum of all counts, and then each count with its name, as in
/// `6 (5 2xx, 1 unanswered)`.
fn total(counts: &BTreeMap<String, u64>) -> String {
    match counts.values().sum() {
        0_u64 => "0".to_owned(),
        sum => format!("{sum} ({})", parts(counts)),
    }
}

fn parts(counts: &BTreeMap<String, u64>) -> String {
    let part = |(name, count): (&String, &u64)| {
        // The metrics count calls without an answer under the status `none`.
        let name = if name == "none" { "unanswered" } else { name.as_str() };
        format!("{count} {}", Printable(name))
    };
    counts.iter().map(part).collect::<Vec<String>>().join(", ")
}
