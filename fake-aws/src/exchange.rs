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
use crate::lock::lock;
use crate::operation::{Operation, Service};
use crate::parameter_store;
use crate::parameter_store::parameter_id::ParameterId;
use crate::parameter_store::parameters::Parameters;
use crate::policy::Policy;
use crate::resource::Resource;
use crate::roles::Roles;
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
use std::sync::Arc;
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
    pub(crate) roles: Roles,
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
            roles: Roles::default(),
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
        CallTarget {
            operation: request.operation,
            aliases: self.aliases(request),
            region: request.region.clone(),
        }
    }

    /// Returns the names and the ARNs of all secrets and parameters that a request contains.
    fn aliases(&self, request: &ParsedRequest) -> Vec<Resource> {
        let home = self.home_of(request);
        let region = request.region.as_deref();
        let of_secret = |id: &str| self.with_secrets(region, &home, |secrets| secrets.aliases(id));
        if request.service != Service::ParameterStore {
            return request.ids.iter().flat_map(|id| of_secret(id)).collect();
        }
        let mut aliases = Vec::new();
        for name in &request.ids {
            let mut parameters = self.parameters.store();
            aliases.extend(parameters.seen_from(home.clone(), |store| store.aliases(name)));
            // The name of a parameter can refer to a secret.
            if let Some(secret_id) = ParameterId::parse(name).ok().and_then(|id| id.secret_id()) {
                aliases.extend(of_secret(secret_id));
            }
        }
        aliases
    }

    /// Returns the account and region in which the fake looks for the names in a request. The
    /// account is that of the assumed role, or the default account if the caller has not assumed a
    /// role.
    fn home_of(&self, request: &ParsedRequest) -> Location {
        match self.roles.session(request.authorization.as_deref()) {
            Some(session) => Location { account: session.account, ..self.home.clone() },
            None => self.home.clone(),
        }
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
        let home = self.home_of(&request);
        let mut policy = self.faults.policy();
        if let Some(session) = self.roles.session(request.authorization.as_deref()) {
            policy = Arc::new(policy.for_session(&self.roles, session));
        }
        let now = (self.now)();
        let result = match request.input {
            Input::Json(body) => {
                let region = request.region.as_deref();
                self.execute_json(operation, region, body, &policy, &home, now)?.to_string()
            }
            Input::Form(form) => {
                policy.check_operation(operation, &home)?;
                let issuer = sts::Issuer { tokens: &self.session_tokens, roles: &self.roles, now };
                sts::execute(operation, &form, &issuer, &home)?
            }
            Input::Unreadable => return Err(AwsError::serialization()),
        };
        Ok((operation, result))
    }

    fn execute_json(
        &self,
        operation: Operation,
        region: Option<&str>,
        body: Value,
        policy: &Policy,
        home: &Location,
        now: SystemTime,
    ) -> aws_json::Response {
        self.with_secrets(region, home, |store| {
            let mut secrets = secrets_manager::context::Context { store, policy, now };
            if operation.service() != Service::ParameterStore {
                return secrets_manager::execute(&mut secrets, operation, body);
            }
            self.parameters.store().seen_from(home.clone(), |store| {
                let mut context = parameter_store::context::Context { store, secrets, policy, now };
                parameter_store::execute(&mut context, operation, body)
            })
        })
    }

    /// Runs `work` with the secrets that a call to `region` finds. If a request contains a name and
    /// not an ARN, the secret belongs to the account in `home`.
    fn with_secrets<R>(
        &self,
        region: Option<&str>,
        home: &Location,
        work: impl FnOnce(&mut secrets_manager::store::Store) -> R,
    ) -> R {
        let secrets = self.secrets.store_of(region);
        let mut store = lock(&secrets);
        let region = store.home().region.clone();
        store.seen_from(Location { region, ..home.clone() }, work)
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
