//! Parses a call of the AWS API: its header, which names the operation, and its JSON body with the
//! members (AWS's word for parameters).
//!
//! The module has no side effects.

mod bad_call;
mod by_path;
mod members;
mod page;
mod parameter_store;
mod secrets_manager;

pub(crate) use bad_call::BadCall;
pub(crate) use by_path::RequestedPath;
pub(crate) use parameter_store::{RequestedParameter, RequestedParameters};
pub(crate) use secrets_manager::{RequestedSecret, check_is_secret};

use super::head::Headers;
use crate::secret::service::Service;
use members::members;

/// The HTTP header in which a call of the AWS API names its operation.
const TARGET: &str = "x-amz-target";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    GetSecretValue,
    BatchGetSecretValue,
    DescribeSecret,
    GetParameter,
    GetParameters,
    GetParametersByPath,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get(RequestedSecret),
    /// A call of `BatchGetSecretValue`, with the names or ARNs of the requested secrets, without
    /// repetitions.
    Batch(Vec<String>),
    Describe(RequestedSecret),
    GetParameter(RequestedParameter),
    GetParameters(RequestedParameters),
    GetParametersByPath(RequestedPath),
}

impl Operation {
    /// Returns the operation that a call of the AWS API names in its header `X-Amz-Target`.
    ///
    /// # Errors
    ///
    /// Fails if the header is missing, or names an operation that Sidekey does not serve.
    pub(crate) fn of(headers: &impl Headers) -> Result<Self, BadCall> {
        match headers.values(TARGET).next().unwrap_or_default() {
            b"secretsmanager.GetSecretValue" => Ok(Self::GetSecretValue),
            b"secretsmanager.BatchGetSecretValue" => Ok(Self::BatchGetSecretValue),
            b"secretsmanager.DescribeSecret" => Ok(Self::DescribeSecret),
            b"AmazonSSM.GetParameter" => Ok(Self::GetParameter),
            b"AmazonSSM.GetParameters" => Ok(Self::GetParameters),
            b"AmazonSSM.GetParametersByPath" => Ok(Self::GetParametersByPath),
            _ => Err(BadCall::Unsupported(called_service(headers))),
        }
    }

    /// Returns whether the operation reads one secret or parameter. Sidekey answers such a call
    /// without hyper (the HTTP library) if the secret or parameter is cached.
    pub(crate) fn is_read_of_one_secret(self) -> bool {
        matches!(self, Self::GetSecretValue | Self::GetParameter)
    }

    /// Parses and checks the JSON body of a call of this AWS operation.
    ///
    /// # Errors
    ///
    /// Fails if the body is not valid for this operation.
    pub(crate) fn parse(self, body: &[u8]) -> Result<Call, BadCall> {
        match self {
            Self::GetSecretValue => RequestedSecret::of(members(body)?).map(Call::Get),
            Self::DescribeSecret => RequestedSecret::of(members(body)?)
                .map(RequestedSecret::current)
                .map(Call::Describe),
            Self::BatchGetSecretValue => secrets_manager::batch(members(body)?).map(Call::Batch),
            Self::GetParameter => RequestedParameter::of(members(body)?).map(Call::GetParameter),
            Self::GetParameters => RequestedParameters::of(members(body)?).map(Call::GetParameters),
            Self::GetParametersByPath => {
                RequestedPath::of(members(body)?).map(Call::GetParametersByPath)
            }
        }
    }
}

/// Returns the service that a call of the AWS API names in its header `X-Amz-Target`. A call
/// without this header counts as a call of Secrets Manager.
pub(crate) fn called_service(headers: &impl Headers) -> Service {
    let target = headers.values(TARGET).next().unwrap_or_default();
    match target.starts_with(b"AmazonSSM.") {
        true => Service::ParameterStore,
        false => Service::SecretsManager,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;

    #[track_caller]
    fn of(target: Option<&str>, expected: Result<Operation, BadCall>) {
        let mut headers = HeaderMap::new();
        if let Some(target) = target {
            headers
                .insert(TARGET, target.parse().expect("the target must be a valid header value"));
        }
        assert_eq!(Operation::of(&headers), expected, "{target:?}");
    }

    #[test]
    fn operations_are_recognised_by_header() {
        of(Some("secretsmanager.GetSecretValue"), Ok(Operation::GetSecretValue));
        of(Some("secretsmanager.BatchGetSecretValue"), Ok(Operation::BatchGetSecretValue));
        of(Some("secretsmanager.DescribeSecret"), Ok(Operation::DescribeSecret));
        for other in
            ["secretsmanager.PutSecretValue", "secretsmanager.getsecretvalue", "GetSecretValue", ""]
        {
            of(Some(other), Err(BadCall::Unsupported(Service::SecretsManager)));
        }
        of(None, Err(BadCall::Unsupported(Service::SecretsManager)));
        of(Some("AmazonSSM.GetParameter"), Ok(Operation::GetParameter));
        of(Some("AmazonSSM.GetParameters"), Ok(Operation::GetParameters));
        of(Some("AmazonSSM.GetParametersByPath"), Ok(Operation::GetParametersByPath));
        for other in ["AmazonSSM.PutParameter", "AmazonSSM."] {
            of(Some(other), Err(BadCall::Unsupported(Service::ParameterStore)));
        }
    }
}
