//! Parses an HTTP request: finds the AWS service, the operation and the parameters.

use crate::calls::Call;
use crate::operation::{Operation, Service};
use crate::parameter_store;
use crate::secrets_manager;
use crate::sts::query::{Form, parse_form};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, USER_AGENT};
use hyper::http::request::Parts;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

pub(crate) struct ParsedRequest {
    pub(crate) service: Service,
    pub(crate) operation: Option<Operation>,
    /// The ids of the secrets or the names of the parameters in the request, exactly as the caller
    /// sent them.
    pub(crate) ids: Vec<String>,
    pub(crate) input: Input,
    /// The AWS region in the signature of the request, such as `eu-north-1`. `None` if the request
    /// is not signed.
    pub(crate) region: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) security_token: Option<String>,
    host: Option<String>,
    user_agent: Option<String>,
}

/// The parameters in the body of a request. STS uses another format than Secrets Manager
/// and Parameter Store.
pub(crate) enum Input {
    /// The parameters as a JSON object, which is the format of Secrets Manager and Parameter
    /// Store.
    Json(Value),
    /// The parameters as an HTML form, which is the format of STS.
    Form(Form),
    /// A body that is not a JSON object, although the service requires one. The fake AWS server
    /// answers such a request with the error `SerializationException`.
    Unreadable,
}

impl ParsedRequest {
    pub(crate) fn parse(head: &Parts, body: &[u8]) -> Self {
        let (service, operation, input) = match header(&head.headers, TARGET) {
            None if is_form(&head.headers) => {
                let form = parse_form(body);
                let operation =
                    form.get("Action").and_then(|name| Operation::named(Service::Sts, name));
                (Service::Sts, operation, Input::Form(form))
            }
            target => {
                let (service, operation) = service_and_operation(target.as_deref());
                (service, operation, json_input(body))
            }
        };
        // In all services, every operation is a POST request to the path `/`. Other requests are
        // unknown operations.
        let operation = operation.filter(|_| head.method == Method::POST && head.uri.path() == "/");
        let ids = match &input {
            Input::Json(body) if service == Service::ParameterStore => parameter_store::names(body),
            Input::Json(body) => secrets_manager::secret_ids(operation, body),
            Input::Form(_) | Input::Unreadable => Vec::new(),
        };
        let authorization = header(&head.headers, AUTHORIZATION);
        Self {
            service,
            operation,
            ids,
            input,
            region: authorization.as_deref().and_then(signed_region).map(str::to_owned),
            authorization,
            security_token: header(&head.headers, SECURITY_TOKEN),
            host: header(&head.headers, HOST),
            user_agent: header(&head.headers, USER_AGENT),
        }
    }

    /// Converts the request to a [`Call`], which tests can inspect. `connection` is the number of
    /// the TCP connection that carried the request, and `received` the time of its arrival.
    pub(crate) fn to_call(&self, connection: u64, received: SystemTime) -> Call {
        Call {
            operation: self.operation,
            ids: self.ids.clone(),
            region: self.region.clone(),
            host: self.host.clone(),
            user_agent: self.user_agent.clone(),
            authorization: self.authorization.clone(),
            security_token: self.security_token.clone(),
            connection,
            received,
            latency: Duration::ZERO,
            error: None,
        }
    }
}

/// Returns the AWS region in the value of an `Authorization` header. The value contains
/// `Credential=KEY/DATE/REGION/SERVICE/aws4_request`.
fn signed_region(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    credential.split('/').nth(2).filter(|region| !region.is_empty())
}

/// Returns the service and the operation that the header `X-Amz-Target` names, as in
/// `secretsmanager.GetSecretValue`. Returns Secrets Manager if the service is unknown.
fn service_and_operation(target: Option<&str>) -> (Service, Option<Operation>) {
    let found = target.and_then(|target| {
        let (prefix, name) = target.split_once('.')?;
        let service = Service::of_target(prefix)?;
        Some((service, Operation::named(service, name)))
    });
    found.unwrap_or((Service::SecretsManager, None))
}

fn json_input(body: &[u8]) -> Input {
    match serde_json::from_slice(body) {
        Ok(object @ Value::Object(_)) => Input::Json(object),
        Err(_) if body.is_empty() => Input::Json(Value::Object(Map::new())),
        _ => Input::Unreadable,
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    header(headers, CONTENT_TYPE)
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
