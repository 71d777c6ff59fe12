//! How does one ask?
//!
//! `accept → recognise the target → gate → route → cache → dialect`. The only code that knows HTTP.
//! It reaches the cache through its handle, and no source.

pub mod listener;
mod places;
pub mod connection;
pub mod wire;
pub mod request;
pub mod gate;
pub mod renewal;
pub mod route;
pub mod body;
pub mod few;
pub mod in_hand;
pub mod reading;
pub mod calling;
pub mod resolving;
pub mod probes;
pub mod problem;
pub mod dialect;

use crate::cache::Cache;
use crate::printable::LogExcerpt;
use crate::telemetry::limited::Limited;
use crate::telemetry::metrics::{Metrics, ReadResult};
use crate::tokens::Tokens;
use body::Arriving;
use bytes::Bytes;
use dialect::Dialect;
use gate::{Admitted, Door, Refusal};
use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use in_hand::InHand;
use places::Place;
use problem::Problem;
use renewal::Renewal;
use request::Target;
use route::Asked;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

/// An answer on its way out.
pub type Response = hyper::Response<Full<Bytes>>;

/// What every connection shares.
#[derive(Debug)]
pub struct Server {
    /// The dialect of this deployment.
    pub dialect: Dialect,
    /// What is held.
    pub cache: Cache,
    /// How messages are resolved.
    pub resolving: resolving::Config,
    /// The memory that is in use for that.
    pub in_hand: InHand,
    /// The tokens accepted now.
    pub tokens: Arc<Tokens>,
    /// Has newer ones found.
    pub renewal: Renewal,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the prefetch has been answered for, or its deadline has passed.
    pub is_settled: AtomicBool,
    /// Whether every read is answered with what is wrong with the configuration.
    pub is_misconfigured: bool,
    /// Keeps a caller in a loop from filling the log.
    pub refusals_logged: Limited,
    /// Cancelled when the agent stops: whoever waits for a change is answered then.
    pub stop: CancellationToken,
}

impl Server {
    /// Answers one request that came in by `door`. A good token earns its connection a kept place; the
    /// answer to every other request is the connection's last.
    async fn handle(
        &self,
        door: Door,
        place: &Place,
        request: &Parts,
        mut body: impl Arriving,
    ) -> Response {
        let target = Target::of(&request.method, request.uri.path());
        // There is nothing to read where others probe.
        let is_elsewhere = door == Door::Probes && target.is_read();
        let target = if is_elsewhere { Target::Unknown } else { target };
        let started = self.cache.clock().now();
        let admitted = self.admit(door, target, request).await;
        let is_trusted = admitted.as_ref().is_ok_and(|admitted| admitted.is_trusted);
        let is_kept = is_trusted && place.keep();
        let answered = match admitted {
            Err(refusal) => Err(Problem::Refused(refusal)),
            Ok(_) if is_trusted && !is_kept && target != Target::Ping => {
                Err(Problem::Refused(Refusal::Connections))
            }
            Ok(admitted) => self.dispatch(&admitted, door, target, request, &mut body).await,
        };
        let (mut response, result) = match answered {
            Ok(answered) => answered,
            Err(problem) => {
                self.note(request, &problem);
                let is_refused = problem.is_refusal();
                let result = if is_refused { ReadResult::Refused } else { ReadResult::Error };
                (self.dialect.problem(target, &problem), Some(result))
            }
        };
        if target.is_read() {
            let took = self.cache.clock().now().since(started).unwrap_or_default();
            self.metrics.read_took(took);
            if let Some(result) = result {
                self.metrics.read(result);
            }
        }
        if !is_kept {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        body::discard(&mut body, self.cache.clock()).await;
        response
    }

    /// Answers a request, and says how its read counts, if it is one that is not counted yet.
    async fn dispatch(
        &self,
        admitted: &Admitted,
        door: Door,
        target: Target<'_>,
        request: &Parts,
        body: &mut impl Arriving,
    ) -> Result<(Response, Option<ReadResult>), Problem> {
        let headers = &request.headers;
        let query = request.uri.query().unwrap_or_default();
        let (method, dialect) = (&request.method, self.dialect);
        let response = match route::route(admitted, door, target, method, query, headers, dialect)?
        {
            Asked::Ping => probes::ping(),
            Asked::Ready { is_trusted } => self.ready(is_trusted),
            Asked::Metrics => self.metrics_page(),
            Asked::Status => self.status_page(),
            Asked::Restore => self.restored(),
            Asked::Resolve => self.resolve(body).await?,
            Asked::Secret(query) => {
                let (response, result) = self.read(query, headers).await?;
                return Ok((response, Some(result)));
            }
            Asked::Call(operation) => {
                let (response, result) = self.call(operation, body).await?;
                return Ok((response, Some(result)));
            }
        };
        Ok((response, None))
    }

    /// Asks the gate; where it does not know a session token, once more after the agent's own
    /// credentials were got anew.
    async fn admit(
        &self,
        door: Door,
        target: Target<'_>,
        request: &Parts,
    ) -> Result<Admitted, Refusal> {
        let ask = || gate::admit(target, door, &request.uri, &request.headers, &self.tokens);
        match ask() {
            Err(Refusal::Session) => {
                self.renewal.renew(self.cache.clock()).await;
                ask()
            }
            judged => judged,
        }
    }

    /// Counts and logs a request that failed, at a limited rate and with the caller's text made
    /// harmless.
    fn note(&self, request: &Parts, problem: &Problem) {
        if let Problem::Refused(refusal) = problem {
            self.metrics.gate_refused(refusal.label());
        }
        if !problem.is_refusal() {
            return;
        }
        match self.refusals_logged.pass(self.cache.clock().now()) {
            Some(left_out) => tracing::warn!(
                method = %LogExcerpt(request.method.as_str()),
                path = %LogExcerpt(request.uri.path()),
                error = problem.kind(),
                reason = %LogExcerpt(&problem.message()),
                left_out,
                "refused a request"
            ),
            None => self.metrics.log_lines_dropped.inc(),
        }
    }
}
