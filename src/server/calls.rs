//! Answers requests to `/to/{route}/{path}`: adds the credential of the route, passes the request on
//! to the server of the route, and passes the answer back.

pub(crate) mod failure;
pub(crate) mod replayed;
pub(crate) mod answer_body;
pub(crate) mod secret;

use super::body;
use super::connection_slots::ConnectionSlot;
use super::context::Context;
use super::gate::{self, CallProof, ListenerKind, Refusal};
use super::head::Head;
use super::response::{self, Response, ResponseBody};
use crate::broker::headers::{self, RETRIED};
use crate::broker::phantom;
use crate::broker::refusal::CallRefusal;
use crate::broker::retry::{KeptBytes, is_refused};
use crate::broker::route::{Route, Routes};
use crate::broker::target::{self, Address, BadTarget};
use crate::clock::within;
use crate::convention::Conventions;
use crate::http1::{RequestBody, Streamed};
use crate::message::tenant::TenantCheck;
use crate::outbound::{CallError, Outbound};
use crate::printable::LogExcerpt;
use crate::telemetry::metrics::Metrics;
use crate::tokens::Tokens;
use answer_body::AnswerBody;
use failure::Failure;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode, Uri, Version};
use replayed::Replayable;
use secret::{CallSecret, Finder};
use serde_json::json;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

/// The maximum size, in bytes, of an answer that the agent receives completely before it passes the
/// answer to the caller. Such an answer keeps a `Content-Length` header, even if the agent replaces
/// confidential texts. A larger answer is streamed.
const CHECKED_BYTES_MAX: u64 = 64 * 1024;

/// The configuration of calls to other servers.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) routes: Routes,
    pub(crate) conventions: Arc<Conventions>,
}

#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) config: Config,
    pub(crate) outbound: Arc<Outbound>,
    /// The memory of the request bodies that the agent keeps to send them a second time.
    pub(crate) kept: Arc<KeptBytes>,
    /// The address of the agent in the base URLs that callers get. `None` means `localhost`.
    pub(crate) address: Option<SocketAddr>,
}

impl Calls {
    /// Creates the metrics of all routes (external APIs), so that these metrics exist before the
    /// first call.
    pub(super) fn announce(&self, metrics: &Metrics) {
        let names = self.config.routes.iter().map(|route| &*route.name);
        metrics.announce_calls(names);
    }
}

/// A request to `/to/{route}/{path}`, and the parts of the server that answer it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) calls: &'a Calls,
    pub(super) context: &'a Context,
    pub(super) tokens: &'a Tokens,
    pub(super) tenant_check: &'a TenantCheck,
    pub(super) listener: ListenerKind,
    pub(super) slot: &'a ConnectionSlot,
}

/// The answer of an external API to a call.
struct Answered {
    response: hyper::Response<Streamed>,
    /// The secret with which the call was made.
    secret: CallSecret,
    /// Whether the agent sent the call twice, because the server rejected the first credential.
    is_retried: bool,
}

impl<'a> Call<'a> {
    pub(super) async fn answer(self, head: &Parts, body: Incoming) -> Response {
        let clock = self.context.cache.clock();
        let body = Replayable::new(body, self.calls.kept.clone());
        let failure = match self.pass_on(head, &body).await {
            Ok(response) => return response,
            Err(failure) => failure,
        };
        self.record(head, &failure);
        let mut response = failure.into_response();
        if !self.slot.is_trusted() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        body::drain(&mut body.replay(), clock).await;
        response
    }

    async fn pass_on(self, head: &Parts, body: &Replayable) -> Result<Response, Failure> {
        let started = self.context.cache.clock().now();
        let address = Address::parse(head.uri.path()).unwrap_or(Err(BadTarget::Character));
        let route = address.as_ref().ok().and_then(|it| self.calls.config.routes.named(it.route));
        let proof = self.admit(head, route)?;
        if !self.slot.make_trusted() {
            return Err(Refusal::TooManyConnections.into());
        }
        // The server ends the call if the caller goes away.
        self.slot.exchange().note_abandonable();
        let address = address.map_err(CallRefusal::Target)?;
        let routes = &self.calls.config.routes;
        let route = route.ok_or_else(|| CallRefusal::UnknownRoute(routes.names()))?;
        let Some(path) = address.path else {
            return match (&head.method, proof) {
                (&Method::GET, CallProof::Token) => Ok(self.describe(route, head.uri.path())),
                (&Method::GET, CallProof::Phantom) => Err(Refusal::Token.into()),
                _ => Err(CallRefusal::NoPath.into()),
            };
        };
        target::check(path, head.uri.query().unwrap_or_default()).map_err(CallRefusal::Target)?;
        if !route.allows_method(&head.method) {
            return Err(CallRefusal::Method.into());
        }
        if !route.allows_path(path) {
            return Err(CallRefusal::Path.into());
        }
        let secret = self.finder().find(route, &address, &head.headers, started).await?;
        let answered = self.send_with_retry(route, head, path, body, secret).await;
        let status = answered.as_ref().ok().map(|answered| answered.response.status().as_u16());
        let took = self.context.cache.clock().now().since(started).unwrap_or_default();
        self.context.metrics.calls().ended(&route.name, status, took);
        self.pass_back(route, head, answered?).await
    }

    fn finder(self) -> Finder<'a> {
        Finder {
            context: self.context,
            conventions: &self.calls.config.conventions,
            tenant_check: self.tenant_check,
        }
    }

    /// Checks the headers of a request, and that the request has the ordinary token or the phantom
    /// token of `route` (one external API). A phantom token is valid for one route only.
    ///
    /// If the request names an unknown route, the phantom token of any route suffices. The caller
    /// then gets an error with the names of the routes.
    fn admit(self, head: &Parts, route: Option<&Route>) -> Result<CallProof, Refusal> {
        let has_phantom_of = |route: &Route| {
            let credential = &route.credential;
            let sent = phantom::sent(&head.headers, credential.header(), credential.prefix());
            route.phantom.is_in(&sent)
        };
        gate::admit_call(self.listener, &Head::of(head), self.tokens, || match route {
            Some(route) => has_phantom_of(route),
            None => self.calls.config.routes.iter().any(has_phantom_of),
        })
    }

    /// Answers `GET /to/{route}` with the data that a program needs to use the route: its base URL,
    /// its phantom token, and the allowed methods and paths. `path` is the path of the request.
    fn describe(self, route: &Route, path: &str) -> Response {
        let host = self.calls.address.map_or_else(|| "localhost".to_owned(), |at| at.to_string());
        let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        let paths: Vec<&str> = route.paths.iter().map(|rule| rule.as_str()).collect();
        let body = json!({
            "route": route.name,
            "baseUrl": format!("http://{host}{path}{}", route.base_path),
            "token": String::from_utf8_lossy(route.phantom.token().reveal()),
            "upstream": route.upstream.to_string(),
            "methods": if methods.is_empty() { None } else { Some(methods) },
            "paths": if paths.is_empty() { None } else { Some(paths) },
        });
        let mut response = response::json(StatusCode::OK, &body);
        response::set_no_store(response.headers_mut());
        response
    }

    /// Sends the call to the external API. If the API rejects the credential, fetches the secret
    /// again. If the secret has changed, and the agent has kept the body of the call, sends the
    /// call once more.
    async fn send_with_retry(
        self,
        route: &Route,
        head: &Parts,
        path: &str,
        body: &Replayable,
        secret: CallSecret,
    ) -> Result<Answered, Failure> {
        let response = self.send(route, head, path, body, &secret).await?;
        if !is_refused(response.status(), &route.refused) {
            return Ok(Answered { response, secret, is_retried: false });
        }
        // Few calls are refused. In a box, this large future does not make the future of every call larger.
        let changed = Box::pin(self.finder().changed(route, &secret)).await;
        let Some(changed) = changed.filter(|_| body.can_replay()) else {
            return Ok(Answered { response, secret, is_retried: false });
        };
        // The first answer is dropped, which closes its connection.
        drop(response);
        self.context.metrics.calls().retried(&route.name);
        let response = self.send(route, head, path, body, &changed).await?;
        Ok(Answered { response, secret: changed, is_retried: true })
    }

    async fn send(
        self,
        route: &Route,
        head: &Parts,
        path: &str,
        body: &Replayable,
        secret: &CallSecret,
    ) -> Result<hyper::Response<Streamed>, Failure> {
        let request = request(route, head, path, body, secret)?;
        let clock = self.context.cache.clock();
        let outbound = &self.calls.outbound;
        let mut sending = pin!(outbound.send(&route.upstream, request, Some(route.limits.connect)));
        let result = loop {
            let sent = body.pieces();
            match within(clock, route.limits.answer, sending.as_mut()).await {
                Some(result) => break result,
                // A part of the body was sent meanwhile, so the time limit starts again.
                None if body.pieces() != sent => {}
                None => return Err(CallRefusal::AnswerTooSlow(route.limits.answer).into()),
            }
        };
        let response = result.map_err(|error| refusal(&error, route, body))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(CallRefusal::Upgrade.into());
        }
        Ok(response)
    }

    /// Converts the answer of the external API to the answer for the caller.
    async fn pass_back(
        self,
        route: &Route,
        head: &Parts,
        answered: Answered,
    ) -> Result<Response, Failure> {
        let Answered { response, secret, is_retried } = answered;
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        // hyper keeps the server's reason phrase here, which could contain the credential.
        parts.extensions.clear();
        headers::keep_end_to_end(&mut parts.headers);
        let needles = secret.made.needles;
        let mut replaced = 0;
        for value in parts.headers.values_mut() {
            if let Some((redacted, count)) = needles.redact(value.as_bytes()) {
                *value = HeaderValue::from_bytes(&redacted)
                    .unwrap_or_else(|_| HeaderValue::from_static(""));
                replaced += count;
            }
        }
        if replaced > 0 {
            self.context.metrics.calls().redacted(&route.name, replaced);
        }
        if is_retried {
            parts.headers.insert(RETRIED, HeaderValue::from_static("1"));
        }
        let is_encoded = parts
            .headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let has_body = head.method != Method::HEAD && !body.is_end_stream();
        let is_checked = has_body && !is_encoded && !needles.is_empty();
        let length = body.size_hint().exact();
        let body = AnswerBody::new(
            body,
            is_checked.then_some(needles),
            route,
            self.context.metrics.clone(),
            self.calls.outbound.clock().clone(),
        );
        let body: ResponseBody = match length {
            Some(..=CHECKED_BYTES_MAX) if is_checked => {
                let checked = body.collect().await.map_err(|_| CallRefusal::Broken)?.to_bytes();
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(checked.len()));
                Either::Left(Full::new(checked))
            }
            _ => {
                if is_checked {
                    parts.headers.remove(CONTENT_LENGTH);
                }
                Either::Right(UnsyncBoxBody::new(body))
            }
        };
        Ok(Response::from_parts(parts, body))
    }

    /// Counts and logs a call that the agent answered itself. The log line contains nothing of the
    /// request except the name of a route that exists.
    fn record(self, head: &Parts, failure: &Failure) {
        let Context { cache, metrics, refusals_logged, .. } = self.context;
        metrics.calls().refused(failure.label());
        if let Failure::Gate(_, refusal) = failure {
            metrics.gate_refused(refusal.label());
        }
        let address = Address::parse(head.uri.path()).and_then(Result::ok);
        let route = address.and_then(|address| self.calls.config.routes.named(address.route));
        match refusals_logged.pass(cache.clock().now()) {
            Some(left_out) => tracing::warn!(
                route = route.map_or("", |route| &*route.name),
                error = failure.kind(),
                reason = %LogExcerpt(&failure.message()),
                left_out,
                "Sidekey did not pass a call on to the server of a route, or got no answer from it"
            ),
            None => metrics.log_lines_dropped.inc(),
        }
    }
}

/// Builds the request that the agent sends to the server of a route.
fn request(
    route: &Route,
    head: &Parts,
    path: &str,
    body: &Replayable,
    secret: &CallSecret,
) -> Result<Request<RequestBody>, CallRefusal> {
    let mut target = secret.filled_path(route, path)?.into_owned();
    if let Some(query) = head.uri.query() {
        target.push('?');
        target.push_str(query);
    }
    let target: Uri = target.parse().map_err(|_| CallRefusal::Target(BadTarget::Character))?;
    let mut request = Request::new(RequestBody::Pieces(BoxBody::new(body.replay())));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target;
    *request.headers_mut() = headers::sent_on(
        &head.headers,
        &route.host(),
        (route.credential.header(), secret.made.value.clone()),
        |value| route.phantom.is_in(&headers::keys_of_authorization(value)),
    );
    // Without these headers, hyper would send an empty body without its length, and would not send the
    // body of a GET at all.
    match body.length() {
        None => {
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Some(0) if [Method::POST, Method::PUT, Method::PATCH].contains(&head.method) => {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Some(_) => {}
    }
    Ok(request)
}

fn refusal(error: &CallError, route: &Route, body: &Replayable) -> CallRefusal {
    match error {
        _ if body.is_broken() => CallRefusal::IncompleteBody,
        CallError::OwnAddress => CallRefusal::OwnAddress,
        CallError::ConnectTimeout => CallRefusal::ConnectTooSlow(route.limits.connect),
        CallError::BadUrl | CallError::Connect(_) => {
            CallRefusal::Unreachable(error.connect_failure().unwrap_or_else(|| error.to_string()))
        }
        CallError::Exchange(_) => CallRefusal::Broken,
    }
}

/// Returns whether a request with this path is a call to another server.
pub(super) fn is_call(listener: ListenerKind, path: &str) -> bool {
    path.starts_with(target::PREFIX) && listener != ListenerKind::Metrics
}
