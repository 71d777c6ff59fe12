//! Answers requests to `/secretsmanager/get`, `/v1/{id}` and `/systemsmanager/parameters/get`, which
//! read one secret or parameter.

use super::context::Context;
use super::dialect::parameter::Answer;
use super::head::Headers;
use super::lookup::{Wanted, find, read_result, refuse_withheld};
use super::problem::Problem;
use super::request::Query;
use super::response::{JSON, PLAIN_TEXT, SecretAnswer};
use crate::cache::plan::REFRESH_NOW_INTERVAL;
use crate::cache::{How, Served};
use crate::clock::{Moment, within};
use crate::secret::reference::BorrowedReference;
use crate::telemetry::metrics::ReadResult;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct SecretRead<'a, H> {
    pub(super) context: &'a Context,
    pub(super) query: Query<'a>,
    pub(super) headers: &'a H,
}

impl<H: Headers> SecretRead<'_, H> {
    /// Reads the secret or parameter. Answers in the format of the AWS program that Sidekey is
    /// configured to imitate: AWS's Lambda extension or AWS's Secrets Manager Agent.
    pub(super) async fn answer(&self) -> Result<(SecretAnswer, ReadResult), Problem> {
        let reference = self.query.parse_reference();
        let reference = reference.map_err(|bad| Problem::reference(&self.query.reference, bad))?;
        let wanted = self.wanted(reference)?;
        let served = self.find(&wanted).await;
        let served = served.map_err(|problem| match self.query.secret_parameter() {
            Some(_) => problem.of_secret_parameter(),
            None => problem,
        })?;
        self.answer_with(&wanted, served)
    }

    /// Returns the secret that the request asks for. Waits for AWS if the secret is not cached, and
    /// for another version if the request asks to wait.
    async fn find(&self, wanted: &Wanted<'_>) -> Result<Served, Problem> {
        let served = find(&self.context.cache, wanted, self.query.refresh_now).await?;
        match self.query.wait.filter(|_| self.has_version(&served)) {
            Some(wait) => self.wait_for_change(wanted, served, wait).await,
            None => Ok(served),
        }
    }

    /// Answers the request from the cache, without waiting. Returns `None` if the secret is not
    /// cached, if the request must wait for another version, or if the request fails.
    pub(super) fn answer_at_once(&self, now: Moment) -> Option<(SecretAnswer, ReadResult)> {
        if self.query.refresh_now || self.query.wait.is_some() {
            return None;
        }
        let wanted = self.wanted(self.query.parse_reference().ok()?).ok()?;
        let served = self.context.cache.lookup_at(wanted.key(), now)?;
        self.answer_with(&wanted, served).ok()
    }

    fn wanted<'w>(&'w self, reference: BorrowedReference<'w>) -> Result<Wanted<'w>, Problem> {
        Wanted::new(self.context, self.query.role.as_ref(), reference)
    }

    fn answer_with(
        &self,
        wanted: &Wanted<'_>,
        served: Served,
    ) -> Result<(SecretAnswer, ReadResult), Problem> {
        let Context { dialect, metrics, .. } = self.context;
        refuse_withheld(&served)?;
        let (content_type, body) = match (wanted.reference.field, self.query.secret_parameter()) {
            (Some(field), _) => (PLAIN_TEXT, served.entry.fields().field(field)?.clone()),
            (None, Some(asked)) => (JSON, Answer::of_secret(&served.entry.version, &asked).body()),
            (None, None) => (JSON, dialect.body(&served.entry).clone()),
        };
        let result = read_result(&served, metrics);
        let answer = if self.has_version(&served) {
            SecretAnswer::not_modified(served)
        } else {
            SecretAnswer::with_body(served, content_type, body)
        };
        Ok((answer, result))
    }

    /// Answers a long poll (a request that waits until the secret changes). Waits until the secret
    /// has another version than the caller has, the time `wait` has passed, or the agent stops.
    ///
    /// The wait counts as a read of the secret, so the cache continues to refresh the secret.
    async fn wait_for_change(
        &self,
        wanted: &Wanted<'_>,
        unchanged: Served,
        wait: Duration,
    ) -> Result<Served, Problem> {
        let Context { cache, stop, .. } = self.context;
        tokio::select! {
            biased;
            changed = within(cache.clock(), wait, self.changed(wanted)) => {
                changed.unwrap_or(Ok(unchanged))
            }
            () = stop.cancelled() => Ok(unchanged),
        }
    }

    /// Waits, without a time limit, until the secret has another version than the caller has.
    /// Returns this version.
    async fn changed(&self, wanted: &Wanted<'_>) -> Result<Served, Problem> {
        let cache = &self.context.cache;
        loop {
            // The waiter is registered before the cache is read, so that no change between the two
            // steps is missed.
            let changed = cache.changed();
            let served = find(cache, wanted, false).await?;
            if !self.has_version(&served) {
                return Ok(served);
            }
            changed.await;
            if served.how == How::Miss {
                // The cache does not keep this secret, so the reported change was only this
                // request's own call to AWS. The pause limits the rate of such calls, as for
                // `refreshNow`.
                cache.clock().sleep(REFRESH_NOW_INTERVAL).await;
            }
        }
    }

    /// Returns whether the caller already has the version that the cache returned. The caller sends
    /// the entity tag of its version in the header `If-None-Match`.
    fn has_version(&self, served: &Served) -> bool {
        matches_etag(self.headers, &served.entry.etag)
    }
}

/// Returns whether one of the `If-None-Match` headers of a request matches an entity tag, by the
/// rules of RFC 9110.
fn matches_etag(headers: &impl Headers, etag: &[u8]) -> bool {
    headers.values("if-none-match").any(|tags| {
        tags.split(|b| *b == b',')
            .map(<[u8]>::trim_ascii)
            .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderMap, IF_NONE_MATCH};

    #[test]
    fn entity_tags_match_as_rfc_9110_says() {
        for (sent, expected) in [
            ("\"v1\"", true),
            ("W/\"v1\"", true),
            ("\"v0\", \"v1\"", true),
            ("*", true),
            ("\"v2\"", false),
            ("v1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers
                .insert(IF_NONE_MATCH, sent.parse().expect("the tag must be a valid header value"));
            assert_eq!(matches_etag(&headers, b"\"v1\""), expected, "{sent}");
        }
        assert!(!matches_etag(&HeaderMap::new(), b"\"v1\""));
    }
}
