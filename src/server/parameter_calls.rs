//! Answers calls of Parameter Store's API from SDKs that use Sidekey as their endpoint. Parameters
//! that are not cached are fetched from AWS.

use super::concurrent_reads::read_all;
use super::context::Context;
use super::dialect::aws_api::{many_parameters, one_parameter, page, secret_as_parameter, value};
use super::lookup::{Wanted, find_since, read_result, refuse_withheld, worst_result};
use super::operation::{BadCall, RequestedParameter, RequestedParameters, RequestedPath};
use super::parameter_name::BadParameterName;
use super::problem::Problem;
use super::response::{self, AWS_JSON, Response, SecretAnswer};
use crate::cache::{ReadError, Served};
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::secret_parameter::SecretParameter;
use crate::secret::value::SecretValue;
use crate::source::FetchErrorKind;
use crate::telemetry::metrics::ReadResult;

#[derive(Clone, Copy, Debug)]
pub(super) struct ParameterCalls<'a> {
    pub(super) context: &'a Context,
}

impl ParameterCalls<'_> {
    pub(super) async fn get(
        self,
        parameter: &RequestedParameter,
    ) -> Result<(Response, ReadResult), Problem> {
        let started = self.context.cache.clock().now();
        let (served, body) = self.read(parameter, started).await?;
        let (answer, result) = self.answer_with(served, &body);
        Ok((answer.into_response(), result))
    }

    /// Answers a call of `GetParameter` from the cache, without waiting. Returns `None` if the
    /// parameter is not cached, or if the call fails.
    pub(super) fn answer_at_once(
        self,
        parameter: &RequestedParameter,
        now: Moment,
    ) -> Option<(SecretAnswer, ReadResult)> {
        let wanted = Wanted::new(self.context, None, parameter.parse_reference().ok()?).ok()?;
        let served = self.context.cache.lookup_at(wanted.key(), now)?;
        let secret = parameter.secret_parameter();
        let body = body(&served, secret.as_ref(), wanted.reference.field).ok()?;
        Some(self.answer_with(served, &body))
    }

    fn answer_with(self, served: Served, body: &SecretValue) -> (SecretAnswer, ReadResult) {
        let result = read_result(&served, &self.context.metrics);
        (SecretAnswer::with_body(served, AWS_JSON, one_parameter(body)), result)
    }

    /// Answers `GetParameters`, which reads several parameters within the time limit of one read.
    ///
    /// As in Parameter Store, the answer lists the names that no parameter has. Any other error
    /// makes the whole call fail.
    pub(super) async fn get_many(
        self,
        requested: &RequestedParameters,
    ) -> Result<(Response, ReadResult), Problem> {
        let started = self.context.cache.clock().now();
        let reads =
            requested.names.iter().map(|name| self.read_named(requested, name, started)).collect();
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        for (name, outcome) in requested.names.iter().zip(read_all(reads).await) {
            match outcome {
                Ok(read) => found.push(read),
                Err(problem) if is_about_the_name(&problem) => invalid.push(&**name),
                Err(problem) => return Err(problem),
            }
        }
        let result = worst_result(found.iter().map(|(served, _)| served), &self.context.metrics);
        let body = many_parameters(found.iter().map(|(_, body)| body), &invalid);
        Ok((response::secret(AWS_JSON, &body), result))
    }

    /// Answers `GetParametersByPath` with one page of the parameters under a path. The cache stores
    /// the list of all these parameters.
    pub(super) async fn list(
        self,
        requested: &RequestedPath,
    ) -> Result<(Response, ReadResult), Problem> {
        let Context { cache, metrics, role_rules, .. } = self.context;
        let own = requested.key();
        let key = Key { role: role_rules.role_of_id(&own.id).cloned(), ..own };
        let served = cache.read(key).await?;
        let mut response = response::secret(AWS_JSON, &page(requested, &served.entry)?);
        response::set_entry_headers(response.headers_mut(), &served);
        Ok((response, read_result(&served, metrics)))
    }

    async fn read_named(
        self,
        requested: &RequestedParameters,
        name: &str,
        started: Moment,
    ) -> Result<(Served, SecretValue), Problem> {
        let parameter = requested.named(name).map_err(BadCall::from)?;
        self.read(&parameter, started).await
    }

    /// Reads a parameter, and converts it to JSON. `started` is the time at which the AWS API call
    /// arrived: the time limit of the read counts from this time.
    async fn read(
        self,
        parameter: &RequestedParameter,
        started: Moment,
    ) -> Result<(Served, SecretValue), Problem> {
        let secret = parameter.secret_parameter();
        let read = self.read_as(parameter, secret.as_ref(), started).await;
        read.map_err(|problem| match secret {
            Some(_) => problem.of_secret_parameter(),
            None => problem,
        })
    }

    /// Reads a parameter, or a secret (`secret`) if the caller gives a name such as
    /// `/aws/reference/secretsmanager/app/db`.
    async fn read_as(
        self,
        parameter: &RequestedParameter,
        secret: Option<&SecretParameter<'_>>,
        started: Moment,
    ) -> Result<(Served, SecretValue), Problem> {
        let reference = parameter.parse_reference();
        let reference = reference.map_err(|bad| Problem::reference(parameter.reference(), bad))?;
        let wanted = Wanted::new(self.context, None, reference)?;
        let served = find_since(&self.context.cache, &wanted, started).await?;
        let body = body(&served, secret, wanted.reference.field)?;
        Ok((served, body))
    }
}

/// Converts a cached parameter to JSON. If the caller gave a name such as
/// `/aws/reference/secretsmanager/app/db`, the cached value is that of a secret, and `secret` is the
/// caller's name. If `field` is given, the JSON contains only this field of the value.
fn body(
    served: &Served,
    secret: Option<&SecretParameter<'_>>,
    field: Option<&str>,
) -> Result<SecretValue, Problem> {
    refuse_withheld(served)?;
    Ok(match secret {
        Some(secret) => secret_as_parameter(&served.entry, secret, field)?,
        None => value(&served.entry, field)?,
    })
}

/// Returns whether the answer to `GetParameters` lists a name as invalid because of this error. Any
/// other error makes the whole call fail.
///
/// The error code must match too, because an unknown code of AWS also has the category `Invalid`.
/// Such a code may mean that the endpoint is not Parameter Store.
fn is_about_the_name(problem: &Problem) -> bool {
    match problem {
        Problem::Reference { .. } | Problem::Call(BadCall::Name(BadParameterName::OtherArn)) => {
            true
        }
        Problem::Read(ReadError::Upstream(error)) => {
            let expected_codes: &[&str] = match error.kind {
                FetchErrorKind::NotFound => &["ParameterNotFound", "ParameterVersionNotFound"],
                FetchErrorKind::Invalid => &["ValidationException"],
                _ => &[],
            };
            expected_codes.contains(&&*error.code)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::reference::BadReference;
    use crate::source::FetchError;

    #[test]
    fn only_failures_of_names_are_reported_per_name() {
        let upstream = |kind, code| Problem::Read(FetchError::new(kind, code, "message").into());
        let other_arn = BadCall::Name(BadParameterName::OtherArn).into();
        let secret = BadCall::Name(BadParameterName::EncryptedSecret).into();
        for (problem, expected) in [
            (upstream(FetchErrorKind::NotFound, "ParameterNotFound"), true),
            (upstream(FetchErrorKind::NotFound, "ParameterVersionNotFound"), true),
            (upstream(FetchErrorKind::NotFound, "ResourceNotFoundException"), false),
            (upstream(FetchErrorKind::Invalid, "ValidationException"), true),
            (upstream(FetchErrorKind::Invalid, "UnknownOperationException"), false),
            (upstream(FetchErrorKind::Unavailable, "ValidationException"), false),
            (Problem::reference("ssm:", BadReference::Empty), true),
            (other_arn, true),
            (secret, false),
            (upstream(FetchErrorKind::Denied, "AccessDeniedException"), false),
            (upstream(FetchErrorKind::Decryption, "InvalidKeyId"), false),
            (upstream(FetchErrorKind::Throttled, "ThrottlingException"), false),
            (upstream(FetchErrorKind::Timeout, "TimeoutError"), false),
            (Problem::Read(ReadError::OutOfScope), false),
        ] {
            assert_eq!(is_about_the_name(&problem), expected, "{problem:?}");
        }
    }
}
