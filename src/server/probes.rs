//! Answers those who watch: `/ping`, `/ready`, `/metrics`, `/status`; and the function's after-restore
//! hook.

use super::dialect::answer;
use super::{Response, Server};
use crate::cache::status::Status;
use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use serde::Serialize;
use std::sync::atomic::Ordering;

/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Serialize)]
struct Ready {
    ready: bool,
    listed_missing: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<String>>,
}

#[derive(Serialize)]
struct StatusPage {
    version: &'static str,
    dialect: &'static str,
    ready: bool,
    #[serde(flatten)]
    cache: Status,
}

pub(super) fn ping() -> Response {
    answer(StatusCode::OK, "text/plain; charset=utf-8", "healthy".into())
}

impl Server {
    /// Returns whether the prefetch is over with everything held that is listed and required.
    pub fn is_ready(&self) -> bool {
        self.is_over() && self.cache.missing_required().is_empty()
    }

    /// Returns whether nothing more is waited for: with a mistaken configuration nothing ever comes.
    fn is_over(&self) -> bool {
        self.is_settled.load(Ordering::Acquire) && !self.is_misconfigured
    }

    pub(super) fn ready(&self, is_trusted: bool) -> Response {
        let missing = self.cache.missing_required();
        let names = missing.iter().map(|missing| missing.key.id.as_str().to_owned()).collect();
        let ready = self.is_over() && missing.is_empty();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let missing =
            Ready { ready, listed_missing: missing.len(), missing: is_trusted.then_some(names) };
        json(status, &missing)
    }

    pub(super) fn metrics_page(&self) -> Response {
        self.metrics.oldest_entry_age.set(self.cache.oldest_age().as_secs_f64());
        let bytes = i64::try_from(self.cache.snapshot().bytes()).unwrap_or(i64::MAX);
        self.metrics.cache_bytes.set(bytes);
        self.metrics.show_problems(&self.cache.problems());
        let missing = i64::try_from(self.cache.missing_required().len()).unwrap_or(i64::MAX);
        self.metrics.listed_missing.set(missing);
        answer(StatusCode::OK, METRICS_TYPE, self.metrics.render().into())
    }

    pub(super) fn restored(&self) -> Response {
        tracing::info!("told of a restore: nothing that is held is fresh any more");
        self.cache.restored();
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    pub(super) fn status_page(&self) -> Response {
        let page = StatusPage {
            version: env!("CARGO_PKG_VERSION"),
            dialect: self.dialect.label(),
            ready: self.is_ready(),
            cache: self.cache.status(),
        };
        json(StatusCode::OK, &page)
    }
}

fn json(status: StatusCode, page: &impl Serialize) -> Response {
    let body = serde_json::to_vec(page).expect("names, numbers and strings are always JSON");
    answer(status, "application/json", body.into())
}
