//! Answers requests about the agent itself: `/ping`, `/ready`, `/metrics` and `/status`. Also
//! answers `/restore`, which the Lambda function calls after SnapStart has resumed the process.

use super::context::Context;
use super::response::{self, PLAIN_TEXT, Response, json, without_body};
use crate::cache::status::Status;
use crate::source::OwnCredentials;
use hyper::StatusCode;
use serde::Serialize;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Serialize)]
struct ReadyPage {
    ready: bool,
    listed_missing: usize,
    #[serde(skip_serializing_if = "is_false")]
    stopping: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<String>>,
}

fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Serialize)]
struct StatusPage {
    version: &'static str,
    dialect: &'static str,
    ready: bool,
    /// The agent's own AWS credentials. `None` if the agent has no credentials yet.
    credentials: Option<CredentialsStatus>,
    #[serde(flatten)]
    cache: Status,
}

#[derive(Serialize)]
struct CredentialsStatus {
    /// When the AWS credentials expire, in the format of RFC 3339. `None` if they never expire.
    expires: Option<String>,
    /// Whether AWS has rejected a call with these credentials.
    rejected: bool,
}

impl CredentialsStatus {
    fn of(OwnCredentials { expires, is_rejected }: OwnCredentials) -> Self {
        let expires = expires.map(OffsetDateTime::from);
        Self {
            expires: expires.and_then(|expires| expires.format(&Rfc3339).ok()),
            rejected: is_rejected,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Probes<'a>(pub(super) &'a Context);

impl Probes<'_> {
    pub(super) fn ping(self) -> Response {
        response::with_body(StatusCode::OK, PLAIN_TEXT, "healthy".into())
    }

    /// Answers `/ready` with status 200 if the agent is ready for callers, and otherwise with 503.
    /// If the request has a valid token (`is_trusted`), the answer names the required secrets that
    /// are not cached.
    pub(super) fn ready(self, is_trusted: bool) -> Response {
        let missing = self.0.cache.missing_required();
        let names = missing.iter().map(|missing| missing.key.id.as_str().to_owned()).collect();
        let ready = self.is_ready(missing.len());
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let page = ReadyPage {
            ready,
            listed_missing: missing.len(),
            stopping: self.0.is_stopping.load(Ordering::Acquire),
            missing: is_trusted.then_some(names),
        };
        json(status, &page)
    }

    /// Answers `/metrics`. The metrics about the cache are computed only now, so that they cost no
    /// time if no monitoring system requests them.
    pub(super) fn metrics(self) -> Response {
        let Context { cache, metrics, .. } = self.0;
        metrics.oldest_entry_age.set(cache.oldest_age().as_secs_f64());
        let replaced_read = cache.last_replaced_read().unwrap_or(UNIX_EPOCH);
        let since_1970 = replaced_read.duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.replaced_version_read.set(since_1970.as_secs_f64());
        metrics.overdue_entries.set(i64::try_from(cache.overdue()).unwrap_or(i64::MAX));
        metrics.cache_bytes.set(i64::try_from(cache.snapshot().bytes()).unwrap_or(i64::MAX));
        metrics.show_problems(&cache.problems());
        let missing = i64::try_from(cache.missing_required().len()).unwrap_or(i64::MAX);
        metrics.listed_missing.set(missing);
        response::with_body(StatusCode::OK, METRICS_TYPE, metrics.render().into())
    }

    /// Answers `/restore`, which the Lambda function calls after SnapStart has resumed the process
    /// from a snapshot. Marks all cached secrets as outdated, so that the cache fetches them again.
    pub(super) fn restored(self) -> Response {
        tracing::info!(
            "the Lambda function was restored from a snapshot, so Sidekey marked all cached secrets as outdated"
        );
        self.0.cache.restored();
        without_body(StatusCode::NO_CONTENT)
    }

    pub(super) fn status(self) -> Response {
        let cache = &self.0.cache;
        let page = StatusPage {
            version: env!("CARGO_PKG_VERSION"),
            dialect: self.0.dialect.label(),
            ready: self.is_ready(cache.missing_required().len()),
            credentials: cache.own_credentials().map(CredentialsStatus::of),
            cache: cache.status(),
        };
        json(StatusCode::OK, &page)
    }

    /// Returns whether the agent is ready for callers. `missing` is the number of secrets that the
    /// agent requires, but that are not cached.
    ///
    /// The agent is also not ready before it has tried to fetch the secrets in `SIDEKEY_SECRETS`,
    /// if the configuration has mistakes, and after a stop signal.
    fn is_ready(self, missing: usize) -> bool {
        let Context { is_settled, is_misconfigured, is_stopping, .. } = self.0;
        missing == 0
            && is_settled.load(Ordering::Acquire)
            && !is_misconfigured
            && !is_stopping.load(Ordering::Acquire)
    }
}
