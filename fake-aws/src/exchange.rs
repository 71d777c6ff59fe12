//! Handles one HTTP request: parses the request, executes the operation, records the call, and
//! sends the response. Also injects a fault if a test asked for one.

mod reply;
mod request;
mod response_body;

pub(crate) use response_body::ResponseBody;

use crate::aws_json;
use crate::calls::Calls;
use crate::clock::{Now, wait_precisely};
use crate::error::AwsError;
use crate::faults::{CallTarget, Fault, Faults};
use crate::location::Location;
use crate::operation::{Operation, Service};
use crate::parameter_store;
use crate::parameter_store::parameter_id::ParameterId;
use crate::parameter_store::parameters::Parameters;
use crate::policy::Policy;
use crate::resource::Resource;
use crate::secrets_manager;
use crate::secrets_manager::secrets::Secrets;
use crate::session_tokens::SessionTokens;
use crate::sts;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};
use reply::Reply;
use request::{Input, ParsedRequest};
use serde_json::Value;
use std::future::pending;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

/// The maximum size of a request body in bytes: four times the maximum size of a secret value (64
/// KiB), because JSON escapes can make the value longer.
const BODY_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct ConnectionHandle {
    pub(crate) number: u64,
    /// Cancelling this token makes the fake AWS server reset the TCP connection (send RST).
    pub(crate) reset: CancellationToken,
}

pub(crate) struct State {
    pub(crate) secrets: Secrets,
    pub(crate) parameters: Parameters,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    pub(crate) session_tokens: SessionTokens,
    home: Location,
    now: Now,
}

impl State {
    pub(crate) fn new(home: Location, now: Now) -> Self {
        Self {
            secrets: Secrets::new(home.clone(), Now::clone(&now)),
            parameters: Parameters::new(home.clone(), Now::clone(&now)),
            faults: Faults::new(Now::clone(&now)),
            calls: Calls::default(),
            session_tokens: SessionTokens::new(Now::clone(&now)),
            home,
            now,
        }
    }

    /// Handles one HTTP request and returns the response. If a secret changes during the configured
    /// latency, the response still contains the old value of the secret.
    pub(crate) async fn respond(
        &self,
        connection: &ConnectionHandle,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let (head, incoming) = request.into_parts();
        let Ok(body) = Limited::new(incoming, BODY_BYTES_MAX).collect().await else {
            return Reply::error(Service::SecretsManager, &body_too_large())
                .send(ResponseBody::complete);
        };
        let request = ParsedRequest::parse(&head, &body.to_bytes());
        let mut call = request.to_call(connection.number, (self.now)());
        let outcome = self.faults.next_outcome(&self.target(&request));
        let error = outcome.fault.error(request.service);
        let reply = match (&outcome.fault, error) {
            (Fault::Stall | Fault::Reset, _) => None,
            (_, Some(error)) => Some(Reply::error(request.service, &error)),
            (_, None) => Some(self.reply(request)),
        };
        call.latency = outcome.latency;
        call.error = reply.as_ref().and_then(Reply::error_type);
        // The fake records the call after it has computed the response. A test that waits for the
        // call can then change secrets without changing this response.
        tracing::debug!(?call, "the fake AWS server received a call");
        self.calls.add(call);
        wait_precisely(outcome.latency).await;
        match reply {
            Some(reply) => reply.send_with(outcome.fault).await,
            None => {
                if outcome.fault == Fault::Reset {
                    connection.reset.cancel();
                }
                pending().await
            }
        }
    }

    fn target(&self, request: &ParsedRequest) -> CallTarget {
        CallTarget { operation: request.operation, aliases: self.aliases(request) }
    }

    /// Returns the names and the ARNs of all secrets and parameters that a request contains.
    fn aliases(&self, request: &ParsedRequest) -> Vec<Resource> {
        let secrets = self.secrets.store();
        if request.service != Service::ParameterStore {
            return request.ids.iter().flat_map(|id| secrets.aliases(id)).collect();
        }
        let parameters = self.parameters.store();
        let mut aliases = Vec::new();
        for name in &request.ids {
            aliases.extend(parameters.aliases(name));
            // The name of a parameter can refer to a secret.
            if let Some(secret_id) = ParameterId::parse(name).ok().and_then(|id| id.secret_id()) {
                aliases.extend(secrets.aliases(secret_id));
            }
        }
        aliases
    }

    fn reply(&self, request: ParsedRequest) -> Reply {
        let service = request.service;
        match self.execute(request) {
            Ok((operation, result)) => Reply::success(operation, result),
            Err(error) => Reply::error(service, &error),
        }
    }

    /// Executes the requested operation. First makes the same checks as AWS, in the same order: the
    /// operation is supported, the request is signed, and the session token is valid.
    fn execute(&self, request: ParsedRequest) -> Result<(Operation, String), AwsError> {
        let operation = request.operation.ok_or_else(AwsError::unknown_operation)?;
        // AssumeRoleWithWebIdentity needs no signature, because the caller has no credentials yet.
        if operation != Operation::AssumeRoleWithWebIdentity {
            check_signed(request.authorization.as_deref())?;
            self.session_tokens.check(request.security_token.as_deref())?;
        }
        let policy = self.faults.policy();
        let now = (self.now)();
        let result = match request.input {
            Input::Json(body) => self.execute_json(operation, body, &policy, now)?.to_string(),
            Input::Form(form) => {
                policy.check_operation(operation, &self.home)?;
                sts::execute(operation, &form, &self.session_tokens, &self.home, now)?
            }
            Input::Unreadable => return Err(AwsError::serialization()),
        };
        Ok((operation, result))
    }

    fn execute_json(
        &self,
        operation: Operation,
        body: Value,
        policy: &Policy,
        now: SystemTime,
    ) -> aws_json::Response {
        let store = &mut *self.secrets.store();
        let mut secrets = secrets_manager::context::Context { store, policy, now };
        if operation.service() != Service::ParameterStore {
            return secrets_manager::execute(&mut secrets, operation, body);
        }
        let store = &mut *self.parameters.store();
        let mut context = parameter_store::context::Context { store, secrets, policy, now };
        parameter_store::execute(&mut context, operation, body)
    }
}

fn body_too_large() -> AwsError {
    let message = "The request's body is too large.";
    AwsError { status: 413, ..AwsError::new("RequestEntityTooLargeException", message) }
}

/// Checks that the `Authorization` header of a request has the form of an AWS signature. The fake
/// AWS server cannot verify the signature, because it does not know the caller's secret key.
fn check_signed(authorization: Option<&str>) -> Result<(), AwsError> {
    match authorization {
        Some(value) if value.starts_with("AWS4-HMAC-SHA256 ") => Ok(()),
        _ => {
            let message = "Missing Authentication Token";
            Err(AwsError::new("MissingAuthenticationTokenException", message))
        }
    }
}
