//! One HTTP request and its answer: reads what is asked, records it, lets it go wrong or answers.

use super::address::Place;
use super::api::{self, Api};
use super::body::Body;
use super::calls::{Call, Calls};
use super::draw;
use super::error::AwsError;
use super::faults::{Asked, Fault, Faults};
use super::operation::{Operation, Service};
use super::secrets::Secrets;
use super::sts::{self, Form};
use super::tokens::Tokens;
use super::{Now, wait, wait_precisely};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value};
use std::future::pending;
use tokio_util::sync::CancellationToken;

/// The longest body of a request, in bytes: room for the longest value, even if most of its
/// characters are escaped.
const BODY_BYTES_MAX: usize = 256 * 1024;

const JSON_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const XML_TYPE: HeaderValue = HeaderValue::from_static("text/xml");

const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// The body of [`Fault::Garbage`]: neither JSON nor UTF-8.
const GARBAGE: &[u8] = b"\xff\xfe<html>502 Bad Gateway</html>";

/// What an exchange needs to know of the connection that it is on.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The connection's number, from 1.
    pub(super) number: u64,
    /// Resets the connection.
    pub(super) reset: CancellationToken,
}

/// Where requests are answered: everything that the connections share.
pub(super) struct Desk {
    pub(super) secrets: Secrets,
    pub(super) faults: Faults,
    pub(super) calls: Calls,
    pub(super) tokens: Tokens,
    home: Place,
    now: Now,
}

/// What a request asks.
struct Question {
    service: Service,
    operation: Option<Operation>,
    secret_ids: Vec<String>,
    members: Members,
}

/// What a request's body holds.
enum Members {
    Json(Value),
    Form(Form),
    Unreadable,
}

/// An answer before it is put on the wire.
struct Reply {
    status: StatusCode,
    content_type: HeaderValue,
    request_id: String,
    bytes: Bytes,
}

impl Desk {
    /// Makes a desk without secrets, where nothing goes wrong.
    pub(super) fn new(home: Place, now: Now) -> Self {
        Self {
            secrets: Secrets::new(home.clone(), Now::clone(&now)),
            faults: Faults::new(Now::clone(&now)),
            calls: Calls::default(),
            tokens: Tokens::new(Now::clone(&now)),
            home,
            now,
        }
    }

    /// Answers one request.
    ///
    /// The answer is decided on arrival and then held back for as long as it is to take, so that a
    /// change can overtake it: what a slow service does to its readers.
    pub(super) async fn answer(&self, line: &Line, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return Reply::error(Service::SecretsManager, &too_large()).send(Body::whole);
        };
        let question = Question::read(&head, &body.to_bytes());
        let call = call(line, &head.headers, &question);
        let fate = self.faults.fate(&self.asked(&question));
        let reply = match (&fate.fault, fate.fault.error()) {
            (Fault::Stall | Fault::Reset, _) => None,
            (_, Some(error)) => Some(Reply::error(question.service, &error)),
            (_, None) => Some(self.reply(&head.headers, question)),
        };
        // Whoever waits for the call to be recorded may rely on its answer being decided.
        tracing::debug!(?call, "double was asked");
        self.calls.add(call);
        wait_precisely(fate.latency).await;
        match reply {
            Some(reply) => reply.send_with(fate.fault).await,
            None => {
                if fate.fault == Fault::Reset {
                    line.reset.cancel();
                }
                pending().await
            }
        }
    }

    fn asked(&self, question: &Question) -> Asked {
        let store = self.secrets.store();
        let aliases = question.secret_ids.iter().flat_map(|id| store.aliases(id)).collect();
        Asked { operation: question.operation, aliases }
    }

    fn reply(&self, headers: &HeaderMap, question: Question) -> Reply {
        let service = question.service;
        match self.decide(headers, question) {
            Ok((operation, text)) => Reply::success(operation, text),
            Err(error) => Reply::error(service, &error),
        }
    }

    /// Does what is asked, in the order of AWS's own checks.
    fn decide(
        &self,
        headers: &HeaderMap,
        question: Question,
    ) -> Result<(Operation, String), AwsError> {
        let operation = question.operation.ok_or_else(api::unknown_operation)?;
        // A web identity's token is what the caller has instead of credentials to sign with.
        if operation != Operation::AssumeRoleWithWebIdentity {
            check_signed(headers)?;
            self.tokens.check(header(headers, SECURITY_TOKEN).as_deref())?;
        }
        let policy = self.faults.policy();
        let now = (self.now)();
        let text = match question.members {
            Members::Json(body) => {
                let mut store = self.secrets.store();
                let mut api = Api { store: &mut store, policy: &policy, now };
                api.answer(operation, body)?.to_string()
            }
            Members::Form(form) => {
                policy.check(operation, &self.home)?;
                sts::answer(operation, &form, &self.tokens, &self.home, now)?
            }
            Members::Unreadable => return Err(AwsError::serialization()),
        };
        Ok((operation, text))
    }
}

impl Question {
    fn read(head: &Parts, body: &[u8]) -> Self {
        let to_root = head.method == Method::POST && head.uri.path() == "/";
        let target = header(&head.headers, TARGET);
        let content_type = header(&head.headers, CONTENT_TYPE).unwrap_or_default();
        if target.is_none() && content_type.starts_with("application/x-www-form-urlencoded") {
            let form = sts::parse_form(body);
            let name = form.get("Action").filter(|_| to_root);
            let operation = name.and_then(|name| Operation::named(Service::Sts, name));
            let members = Members::Form(form);
            return Self { service: Service::Sts, operation, secret_ids: Vec::new(), members };
        }
        let target = target.filter(|_| to_root).unwrap_or_default();
        let operation = target
            .strip_prefix("secretsmanager.")
            .and_then(|name| Operation::named(Service::SecretsManager, name));
        let (secret_ids, members) = match serde_json::from_slice(body) {
            Ok(body @ Value::Object(_)) => (secret_ids(operation, &body), Members::Json(body)),
            Err(_) if body.is_empty() => (Vec::new(), Members::Json(Value::Object(Map::new()))),
            _ => (Vec::new(), Members::Unreadable),
        };
        Self { service: Service::SecretsManager, operation, secret_ids, members }
    }
}

impl Reply {
    fn success(operation: Operation, text: String) -> Self {
        let request_id = draw::uuid();
        let (content_type, text) = match operation.service() {
            Service::SecretsManager => (JSON_TYPE, text),
            Service::Sts => (XML_TYPE, sts::envelope(operation, &text, &request_id)),
        };
        Self { status: StatusCode::OK, content_type, request_id, bytes: text.into() }
    }

    fn error(service: Service, error: &AwsError) -> Self {
        let request_id = draw::uuid();
        let (content_type, status, text) = match service {
            Service::SecretsManager => (JSON_TYPE, error.status, error.to_json().to_string()),
            Service::Sts => {
                let (status, xml) = sts::error_envelope(error, &request_id);
                (XML_TYPE, status, xml)
            }
        };
        // A script may ask for a status that there is not.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, content_type, request_id, bytes: text.into() }
    }

    /// Sends the answer as the fault lets it be.
    async fn send_with(mut self, fault: Fault) -> Response<Body> {
        match fault {
            Fault::Truncated => self.send(Body::cut),
            Fault::Drip(every) => self.send(|bytes| Body::drip(bytes, every)),
            Fault::Delay(span) => {
                wait(span).await;
                self.send(Body::whole)
            }
            Fault::Garbage => {
                self.bytes = Bytes::from_static(GARBAGE);
                self.send(Body::whole)
            }
            Fault::ContentType(name) => {
                let plain = HeaderValue::from_static("text/plain");
                self.content_type = HeaderValue::try_from(name).unwrap_or(plain);
                self.send(Body::whole)
            }
            _ => self.send(Body::whole),
        }
    }

    fn send(self, body: impl FnOnce(Bytes) -> Body) -> Response<Body> {
        Response::builder()
            .status(self.status)
            .header(CONTENT_TYPE, self.content_type)
            .header("x-amzn-requestid", self.request_id)
            .body(body(self.bytes))
            .expect("a known status and valid headers make a response")
    }
}

fn too_large() -> AwsError {
    let message = "The request's body is too large.";
    AwsError { status: 413, ..AwsError::new("RequestEntityTooLargeException", message) }
}

/// Returns what is recorded of a request.
fn call(line: &Line, headers: &HeaderMap, question: &Question) -> Call {
    Call {
        operation: question.operation,
        secret_ids: question.secret_ids.clone(),
        host: header(headers, HOST),
        user_agent: header(headers, USER_AGENT),
        authorization: header(headers, AUTHORIZATION),
        security_token: header(headers, SECURITY_TOKEN),
        connection: line.number,
    }
}

/// Returns the ids of the secrets that a request asks for, as the caller wrote them.
fn secret_ids(operation: Option<Operation>, body: &Value) -> Vec<String> {
    let one = if operation == Some(Operation::CreateSecret) { "Name" } else { "SecretId" };
    let many = body["SecretIdList"].as_array().into_iter().flatten();
    many.chain([&body[one]]).filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Checks that a request is signed; whether rightly, the double cannot know.
fn check_signed(headers: &HeaderMap) -> Result<(), AwsError> {
    match header(headers, AUTHORIZATION) {
        Some(value) if value.starts_with("AWS4-HMAC-SHA256 ") => Ok(()),
        _ => {
            let message = "Missing Authentication Token";
            Err(AwsError::new("MissingAuthenticationTokenException", message))
        }
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
