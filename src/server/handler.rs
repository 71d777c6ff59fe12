//! Handles one HTTP request: checks its headers and its token, and returns the answer.

use super::aws_api_call::AwsApiCall;
use super::body::{self, RequestBody};
use super::calls::{Call, Calls};
use super::connection_slots::ConnectionSlot;
use super::context::Context;
use super::gate::{self, Admitted, ListenerKind, Refusal};
use super::head::{Head, Headers};
use super::memory_budget::MemoryBudget;
use super::probes::Probes;
use super::problem::Problem;
use super::renewal::Renewal;
use super::request::Target;
use super::resolving::{self, Resolve};
use super::response::{Response, SecretAnswer};
use super::route::{self, Route};
use super::secret_read::SecretRead;
use crate::printable::LogExcerpt;
use crate::telemetry::metrics::ReadResult;
use crate::tokens::Tokens;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) context: Context,
    /// The tokens that Sidekey accepts. They change when the agent gets new AWS credentials.
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) renewal: Renewal,
    /// The configuration of `/resolve`: where a message refers to secrets, and to which tenant (a
    /// customer, for example) a message belongs.
    pub(crate) resolving: resolving::Config,
    pub(crate) memory: MemoryBudget,
    pub(crate) calls: Calls,
}

impl Server {
    /// Answers one request. If the request has a valid token, the connection stays open. Otherwise
    /// the answer closes the connection.
    pub(super) async fn handle(
        &self,
        listener: ListenerKind,
        slot: &ConnectionSlot,
        head: &Head<'_, impl Headers>,
        mut body: impl RequestBody,
    ) -> Response {
        let Context { cache, dialect, .. } = &self.context;
        let target = target(listener, head);
        let started = cache.clock().now();
        let admitted = self.admit(listener, target, head).await;
        let has_good_token = admitted.as_ref().is_ok_and(|admitted| admitted.is_trusted);
        let stays_open = has_good_token && slot.make_trusted();
        let answered = match admitted {
            Err(refusal) => Err(Problem::Refused(refusal)),
            // `/ping` is answered even if all connections are busy, because a busy agent is alive.
            Ok(_) if has_good_token && !stays_open && target != Target::Ping => {
                Err(Problem::Refused(Refusal::TooManyConnections))
            }
            Ok(admitted) => self.dispatch(&admitted, listener, slot, target, head, &mut body).await,
        };
        let (mut response, result) = match answered {
            Ok(answered) => answered,
            Err(problem) => {
                self.record(head, &problem);
                let is_refused = problem.is_refusal();
                let result = if is_refused { ReadResult::Refused } else { ReadResult::Error };
                (dialect.problem(target, &problem), Some(result))
            }
        };
        if target.is_read() {
            self.count_read(cache.clock().now().since(started).unwrap_or_default(), result);
        }
        if !stays_open {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        body::drain(&mut body, cache.clock()).await;
        response
    }

    /// Answers a call to another server. If the request has a valid token, the connection stays open.
    pub(super) async fn call(
        &self,
        listener: ListenerKind,
        slot: &ConnectionSlot,
        head: &Parts,
        body: Incoming,
    ) -> Response {
        let call = Call {
            calls: &self.calls,
            context: &self.context,
            tokens: &self.tokens,
            tenant_check: &self.resolving.tenant_check,
            listener,
            slot,
        };
        call.answer(head, body).await
    }

    /// Answers a request that has a valid token and reads one cached secret. Returns the answer and
    /// the time at which Sidekey began to answer. `body` is the complete body of the request.
    ///
    /// Returns `None` for any other request, which [`handle`](Self::handle) must answer.
    pub(super) fn answer_from_cache(
        &self,
        listener: ListenerKind,
        slot: &ConnectionSlot,
        head: &Head<'_, impl Headers>,
        body: &[u8],
    ) -> Option<(SecretAnswer, SystemTime)> {
        let context = &self.context;
        let clock = context.cache.clock();
        let started = clock.now();
        let target = target(listener, head);
        let admitted = gate::admit(target, listener, head, &self.tokens).ok()?;
        if !admitted.is_trusted || !slot.make_trusted() {
            return None;
        }
        let unknown = context.dialect.unknown_parameter();
        let (answer, result) =
            match route::route(&admitted, listener, target, head, unknown).ok()? {
                Route::Secret(query) => {
                    SecretRead { context, query, headers: head.headers }.answer_at_once(started)?
                }
                Route::Call(operation) => {
                    AwsApiCall { context, operation }.answer_at_once(body, started)?
                }
                _ => return None,
            };
        // The answer took microseconds, so the wall clock is not read again.
        self.count_read(clock.steady().saturating_sub(started.steady), Some(result));
        Some((answer, started.wall))
    }

    /// Counts a request in the metrics if it reads secrets. `took` is the time that the answer
    /// took.
    fn count_read(&self, took: Duration, result: Option<ReadResult>) {
        let metrics = &self.context.metrics;
        metrics.read_took(took);
        if let Some(result) = result {
            metrics.read(result);
        }
    }

    /// Returns the answer to a request that passed the checks, and how the metrics count the read
    /// (such as a cache hit).
    ///
    /// The second part of the result is `None` if the request reads no secret, and also for
    /// `/resolve`, because other code counts the reads of `/resolve`.
    async fn dispatch(
        &self,
        admitted: &Admitted,
        listener: ListenerKind,
        slot: &ConnectionSlot,
        target: Target<'_>,
        head: &Head<'_, impl Headers>,
        body: &mut impl RequestBody,
    ) -> Result<(Response, Option<ReadResult>), Problem> {
        let context = &self.context;
        let unknown = context.dialect.unknown_parameter();
        let probes = Probes(context);
        let response = match route::route(admitted, listener, target, head, unknown)? {
            Route::Ping => probes.ping(),
            Route::Ready { is_trusted } => probes.ready(is_trusted),
            Route::Metrics => {
                self.calls.announce(&context.metrics);
                probes.metrics()
            }
            Route::Status => probes.status(),
            Route::Restore => probes.restored(),
            Route::Resolve => {
                let resolve = Resolve { context, config: &self.resolving, memory: &self.memory };
                resolve.answer(body).await?
            }
            Route::Secret(query) => {
                if query.wait.is_some() {
                    slot.exchange().note_abandonable();
                }
                let read = SecretRead { context, query, headers: head.headers };
                let (answer, result) = read.answer().await?;
                return Ok((answer.into_response(), Some(result)));
            }
            Route::Call(operation) => {
                let (response, result) = AwsApiCall { context, operation }.answer(body).await?;
                return Ok((response, Some(result)));
            }
        };
        Ok((response, None))
    }

    /// Checks the headers and the token of a request. If the request has an unknown session token,
    /// refreshes the agent's own AWS credentials, and checks the request once more, because the
    /// token may belong to new credentials.
    async fn admit(
        &self,
        listener: ListenerKind,
        target: Target<'_>,
        head: &Head<'_, impl Headers>,
    ) -> Result<Admitted, Refusal> {
        let admit = || gate::admit(target, listener, head, &self.tokens);
        let outcome = match admit() {
            Err(Refusal::WrongSessionToken) => {
                self.renewal.renew(self.context.cache.clock()).await;
                admit()
            }
            outcome => outcome,
        };
        outcome.map_err(|refusal| refusal.explained(&self.tokens))
    }

    /// Logs a refused request, unless too many were logged lately. Also counts the request in the
    /// metrics if its headers, its token or the number of connections is the reason.
    fn record(&self, head: &Head<'_, impl Headers>, problem: &Problem) {
        let Context { cache, metrics, refusals_logged, .. } = &self.context;
        if let Problem::Refused(refusal) = problem {
            metrics.gate_refused(refusal.label());
        }
        if !problem.is_refusal() {
            return;
        }
        metrics.report_trouble();
        match refusals_logged.pass(cache.clock().now()) {
            Some(left_out) => tracing::warn!(
                method = %LogExcerpt(head.method.as_str()),
                path = %LogExcerpt(head.path),
                error = problem.kind(),
                reason = %LogExcerpt(&problem.message()),
                left_out,
                "Sidekey refused a request"
            ),
            None => metrics.log_lines_dropped.inc(),
        }
    }
}

/// Returns the endpoint that a request addresses. The metrics port serves no secrets, so all
/// endpoints that read secrets count as unknown there.
fn target<'a>(listener: ListenerKind, head: &Head<'a, impl Headers>) -> Target<'a> {
    let target = Target::of(head.method, head.path, head.headers);
    if listener == ListenerKind::Metrics && target.is_read() { Target::Unknown } else { target }
}
