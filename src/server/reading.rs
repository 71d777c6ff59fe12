//! Answers a read of a secret.

use super::dialect::answer;
use super::problem::Problem;
use super::request::Query;
use super::{Response, Server};
use crate::cache::reader::REFRESH_NOW_INTERVAL;
use crate::cache::{How, Served};
use crate::clock::{Moment, within};
use crate::secret::key::Key;
use crate::secret::reference::{BorrowedReference, SecretId};
use crate::secret::value::SecretValue;
use crate::telemetry::metrics::{Metrics, ReadResult};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{StatusCode, header};
use std::time::Duration;

const CACHE: HeaderName = HeaderName::from_static("x-sidekey-cache");
const PROBLEM: HeaderName = HeaderName::from_static("x-sidekey-problem");
const REFRESH: HeaderName = HeaderName::from_static("x-sidekey-refresh");

impl Server {
    /// Reads what `query` asks for and answers in the deployment's dialect.
    pub(super) async fn read(
        &self,
        query: Query<'_>,
        headers: &HeaderMap,
    ) -> Result<(Response, ReadResult), Problem> {
        let wanted = query.wanted()?;
        let mut served = self.find(&wanted, query.refresh_now).await?;
        if let Some(wait) = query.wait.filter(|_| is_unchanged(headers, &served.entry.etag)) {
            served = self.serve_changed(&wanted, headers, served, wait).await?;
        }
        let served = whole(served)?;
        let (content_type, body) = match wanted.field {
            Some(field) => ("text/plain; charset=utf-8", served.entry.fields().field(field)?),
            None => ("application/json", self.dialect.body(&served.entry)),
        };
        let mut response = if is_unchanged(headers, &served.entry.etag) {
            not_modified()
        } else {
            hand_over(content_type, body)
        };
        describe(response.headers_mut(), &served);
        Ok((response, result(&served, &self.metrics)))
    }

    /// Returns what is wanted, to be handed out: not where it is withheld.
    pub(super) async fn serve(
        &self,
        wanted: &BorrowedReference<'_>,
        refresh_now: bool,
    ) -> Result<Served, Problem> {
        whole(self.find(wanted, refresh_now).await?)
    }

    /// Returns what is wanted, whatever its value is like: what is held where it may be served at
    /// once, else what its flight brings. With `refresh_now` upstream is asked in any case.
    pub(super) async fn find(
        &self,
        wanted: &BorrowedReference<'_>,
        refresh_now: bool,
    ) -> Result<Served, Problem> {
        if !refresh_now && let Some(served) = self.cache.lookup(wanted.id, &wanted.selector) {
            return Ok(served);
        }
        let key = key_of(wanted)?;
        let served =
            if refresh_now { self.cache.read_now(key).await } else { self.cache.read(key).await };
        Ok(served?)
    }

    /// Returns what is wanted, as [`find`](Self::find) does, for a request that has waited since
    /// `started` for the other secrets that it wants.
    pub(super) async fn find_since(
        &self,
        wanted: &BorrowedReference<'_>,
        started: Moment,
    ) -> Result<Served, Problem> {
        if let Some(served) = self.cache.lookup(wanted.id, &wanted.selector) {
            return Ok(served);
        }
        Ok(self.cache.read_since(key_of(wanted)?, started).await?)
    }
}

fn key_of(wanted: &BorrowedReference<'_>) -> Result<Key, Problem> {
    Ok(Key { id: SecretId::parse(wanted.id)?, selector: wanted.selector.clone() })
}

impl Server {
    /// Holds a reader until the version differs from the one it has, `wait` is over or the agent
    /// stops. A reader who waits is a reader: what it waits for is refreshed ahead.
    async fn serve_changed(
        &self,
        wanted: &BorrowedReference<'_>,
        headers: &HeaderMap,
        held: Served,
        wait: Duration,
    ) -> Result<Served, Problem> {
        let changed = async {
            loop {
                let changed = self.cache.changed();
                let served = self.find(wanted, false).await?;
                if !is_unchanged(headers, &served.entry.etag) {
                    return Ok(served);
                }
                changed.await;
                if served.how == How::Miss {
                    // It is not held, and so its own call was the change: no more often than
                    // somebody who asks for calls gets them.
                    self.cache.clock().sleep(REFRESH_NOW_INTERVAL).await;
                }
            }
        };
        tokio::select! {
            biased;
            changed = within(self.cache.clock(), wait, changed) => changed.unwrap_or(Ok(held)),
            () = self.stop.cancelled() => Ok(held),
        }
    }
}

/// Passes on what may be handed out.
pub(super) fn whole(served: Served) -> Result<Served, Problem> {
    check_whole(&served)?;
    Ok(served)
}

/// Checks that a value may be handed out, as far as its convention goes.
pub(super) fn check_whole(served: &Served) -> Result<(), Problem> {
    match &served.entry.malformed {
        Some(malformed) if malformed.is_withheld => Err(Problem::Malformed(malformed.clone())),
        _ => Ok(()),
    }
}

/// Returns whether the caller holds this version already.
fn is_unchanged(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|tags| {
        let mut tags = tags.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
    })
}

fn not_modified() -> Response {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    keep_out(response.headers_mut());
    response
}

/// Answers with a value: the one place where a secret's bytes leave for a socket.
pub(super) fn hand_over(content_type: &'static str, body: &SecretValue) -> Response {
    let mut response = answer(StatusCode::OK, content_type, body.share());
    keep_out(response.headers_mut());
    response
}

/// Forbids whoever stands between to keep a secret.
pub(super) fn keep_out(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Tells which version an answer is, how old it is, how it came about and what is wrong with it.
pub(super) fn describe(headers: &mut HeaderMap, served: &Served) {
    if let Ok(etag) = HeaderValue::from_maybe_shared(served.entry.etag.clone()) {
        headers.insert(ETAG, etag);
    }
    headers.insert(AGE, HeaderValue::from(served.age.as_secs()));
    headers.insert(CACHE, HeaderValue::from_static(cache(served.how)));
    if let Some(malformed) = &served.entry.malformed
        && let Ok(codes) = HeaderValue::from_maybe_shared(malformed.header())
    {
        headers.insert(PROBLEM, codes);
    }
    if served.how == How::RefreshLimited {
        headers.insert(REFRESH, HeaderValue::from_static("limited"));
    }
}

/// Returns how an answer says that it came about.
pub(super) fn cache(how: How) -> &'static str {
    match how {
        How::Hit | How::RefreshLimited => "hit",
        How::Miss => "miss",
        How::Stale(_) => "stale",
        How::Refreshed => "refreshed",
    }
}

/// Returns how a read counts.
pub(super) fn result(served: &Served, metrics: &Metrics) -> ReadResult {
    match served.how {
        How::Hit | How::RefreshLimited => ReadResult::Hit,
        How::Miss | How::Refreshed => ReadResult::Miss,
        How::Stale(reason) => {
            metrics.stale_read(reason.label());
            ReadResult::Stale
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_compared_as_the_standard_says() {
        for (sent, expected) in [
            ("\"v1\"", true),
            ("W/\"v1\"", true),
            ("\"v0\", \"v1\"", true),
            ("*", true),
            ("\"v2\"", false),
            ("v1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, sent.parse().expect("a good value"));
            assert_eq!(is_unchanged(&headers, b"\"v1\""), expected, "{sent}");
        }
        assert!(!is_unchanged(&HeaderMap::new(), b"\"v1\""));
    }
}
