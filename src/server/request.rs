//! Determines the endpoint that a request addresses, and parses the query of a request that reads a
//! secret.
//!
//! The module has no side effects. It takes the method, path and query of a request, and returns a
//! [`Target`] or a [`Query`].

use super::head::Headers;
use super::operation::called_service;
use super::parameter_name::{BadParameterName, reference_to};
use crate::secret::reference::{
    BadReference, BorrowedReference, ID_CHARS_MAX, SeparateParts, secret_parameter,
};
use crate::secret::role::{BadRoleArn, RoleArn};
use crate::secret::secret_parameter::SecretParameter;
use crate::secret::selector::Selector;
use crate::secret::service::Service;
use hyper::Method;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::time::Duration;

/// The maximum value of the query parameter `wait`, in seconds. A request with `wait` (a long poll)
/// stays open until the secret changes or this time has passed.
///
/// Proxies and load balancers may close a connection that is idle for 30 s.
pub(crate) const WAIT_SECONDS_MAX: u64 = 20;

/// The path at which both AWS's extension and AWS's agent serve secrets.
const GET_PATH: &str = "/secretsmanager/get";

/// The path at which AWS's extension serves parameters of AWS's Parameter Store.
const PARAMETERS_PATH: &str = "/systemsmanager/parameters/get";

/// The path prefix at which AWS's agent serves secrets. The rest of the path is the name or ARN of
/// the secret, which is not percent-decoded.
const V1_PREFIX: &str = "/v1/";

/// The endpoint that a request addresses. The endpoint decides which checks apply to the request,
/// and which format the answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// The endpoint `/ping`, which says whether the process is alive. It needs no token.
    Ping,
    /// The endpoint `/ready`, which says whether all required secrets are cached.
    Ready,
    /// The endpoint `/metrics`, which returns the metrics in Prometheus' text format.
    Metrics,
    /// The endpoint `/status`, which lists all cached secrets without their values.
    Status,
    /// The endpoint `POST /restore`, which the Lambda function's after-restore hook calls.
    Restore,
    /// The endpoint `POST /resolve`, which reads all secrets that a message or an SQS event refers
    /// to.
    Resolve,
    /// The endpoint `/secretsmanager/get`, which reads one secret.
    Get,
    /// The endpoint `/v1/{id}`, which reads one secret. `id` is the name or ARN of the secret, not
    /// percent-decoded.
    V1(&'a str),
    /// The endpoint `/systemsmanager/parameters/get`, which reads one parameter.
    Parameters,
    /// The endpoint `POST /`, which serves calls of the AWS API. Paths of several slashes are
    /// accepted too, because some SDKs append a slash to an endpoint URL that ends in a slash. The
    /// service is the one that the call addresses.
    AwsApi(Service),
    /// A path that Sidekey does not serve.
    Unknown,
}

impl<'a> Target<'a> {
    /// Returns the endpoint that the method, the path and the headers of a request address.
    ///
    /// Slashes at the end of a path are ignored, because clients of AWS's extension append them. In
    /// `/v1/{id}`, such slashes belong to `id`.
    pub(crate) fn of(method: &Method, path: &'a str, headers: &impl Headers) -> Self {
        if let Some(id) = path.strip_prefix(V1_PREFIX) {
            return Self::V1(id);
        }
        match path.trim_end_matches('/') {
            "/ping" => Self::Ping,
            "/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/status" => Self::Status,
            "/restore" => Self::Restore,
            "/resolve" => Self::Resolve,
            GET_PATH => Self::Get,
            PARAMETERS_PATH => Self::Parameters,
            "" if *method == Method::POST => Self::AwsApi(called_service(headers)),
            _ => Self::Unknown,
        }
    }

    /// Returns whether the endpoint needs no token, because its answer contains nothing about
    /// secrets.
    pub(crate) fn is_public(self) -> bool {
        matches!(self, Self::Ping | Self::Ready | Self::Metrics)
    }

    /// Returns whether the endpoint reads secrets, so that the metrics count a request to it as a
    /// read.
    pub(crate) fn is_read(self) -> bool {
        self.is_read_of_one_secret() || matches!(self, Self::AwsApi(_) | Self::Resolve)
    }

    /// Returns whether the endpoint reads one secret or parameter, which the query or the path of
    /// the request names.
    pub(crate) fn is_read_of_one_secret(self) -> bool {
        matches!(self, Self::Get | Self::V1(_) | Self::Parameters)
    }
}

/// The parsed query of a request that reads one secret or parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    /// The name or ARN of the secret, or the name of the parameter after `ssm:`, as the caller
    /// wrote it. The string may also contain a field and a version.
    pub(crate) reference: Cow<'a, str>,
    /// The field of the secret's JSON value that the caller asks for. `None` means the full value.
    pub(crate) field: Option<Cow<'a, str>>,
    /// The staging label of the secret's version, such as `AWSPREVIOUS`, or the label of the
    /// parameter's version.
    pub(crate) stage: Option<Cow<'a, str>>,
    /// The version id of the secret, or the version number of the parameter.
    pub(crate) version: Option<Cow<'a, str>>,
    /// Whether the caller asks for the encrypted value of a `SecureString` parameter.
    pub(crate) is_encrypted: bool,
    /// Whether Sidekey must fetch the secret from AWS now, even if the secret is cached.
    pub(crate) refresh_now: bool,
    /// The maximum time that the request waits until the secret has another version than the caller
    /// has. `None` means that the request does not wait.
    pub(crate) wait: Option<Duration>,
    /// The role in the query parameter `roleArn`. The caller asks Sidekey to read the secret with
    /// this role.
    pub(crate) role: Option<RoleArn>,
}

/// Why the query of a request is not valid. If AWS's agent has a text for an error, Sidekey sends
/// the same text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadQuery {
    #[error("missing parameter secretId")]
    NoId,
    /// Error: the path has no secret name or ARN after `/v1/`.
    #[error("missing secret ID")]
    NoIdInPath,
    #[error("missing parameter name")]
    NoName,
    #[error("the query parameter 'name' must not be longer than {ID_CHARS_MAX} characters")]
    NameTooLong,
    #[error(transparent)]
    Name(#[from] BadParameterName),
    #[error("invalid withDecryption value")]
    WithDecryption,
    #[error("invalid refreshNow value")]
    RefreshNow,
    #[error(transparent)]
    Role(#[from] BadRoleArn),
    #[error("invalid wait value: expected a number of seconds from 0 to {WAIT_SECONDS_MAX}")]
    Wait,
    #[error("unknown parameter: {0}")]
    Unknown(String),
    /// Error: the name or value of this query parameter is not UTF-8 after percent-decoding.
    #[error("the query parameter {0} is not UTF-8")]
    NotText(String),
}

/// The part of a request that contains the name or ARN of the secret or parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdFrom<'a> {
    /// The query parameter `secretId`.
    SecretId,
    /// The path of the request. The string is the name or ARN of a secret.
    Path(&'a str),
    /// The query parameter `name`, which is the name or ARN of a parameter of Parameter Store.
    Name,
}

/// Whether Sidekey refuses or ignores a query parameter with an unknown name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownParameter {
    Refuse,
    Ignore,
}

impl<'a> Query<'a> {
    /// Parses the query of a request to `/secretsmanager/get`. If a query parameter occurs twice,
    /// its last value is used.
    ///
    /// # Errors
    ///
    /// Fails if a required query parameter is missing, or if a query parameter is unknown or not
    /// valid.
    pub(crate) fn of_get(query: &'a str, unknown: UnknownParameter) -> Result<Self, BadQuery> {
        let parsed = Self::parse(query, IdFrom::SecretId, unknown)?;
        if parsed.reference.is_empty() { Err(BadQuery::NoId) } else { Ok(parsed) }
    }

    /// Parses the query of a request to `/v1/{id}`. Like AWS's agent, the function does not decode
    /// percent-encoded characters in `id`, the name or ARN of the secret.
    ///
    /// # Errors
    ///
    /// Fails if `id` is empty, or if a query parameter is unknown or not valid.
    pub(crate) fn of_v1(
        id: &'a str,
        query: &'a str,
        unknown: UnknownParameter,
    ) -> Result<Self, BadQuery> {
        if id.is_empty() {
            return Err(BadQuery::NoIdInPath);
        }
        Self::parse(query, IdFrom::Path(id), unknown)
    }

    /// Parses the query of a request to `/systemsmanager/parameters/get`. If the query has both
    /// `version` and `label`, the first of them is used, as in AWS's extension.
    ///
    /// # Errors
    ///
    /// Fails if the parameter's name is missing or not valid, or if a query parameter is unknown or
    /// not valid.
    pub(crate) fn of_parameter(
        query: &'a str,
        unknown: UnknownParameter,
    ) -> Result<Self, BadQuery> {
        let mut parsed = Self::parse(query, IdFrom::Name, unknown)?;
        let name = std::mem::take(&mut parsed.reference);
        if name.is_empty() {
            return Err(BadQuery::NoName);
        }
        // A character has at least one byte.
        if name.len() > ID_CHARS_MAX && name.chars().count() > ID_CHARS_MAX {
            return Err(BadQuery::NameTooLong);
        }
        parsed.reference = reference_to(name, parsed.is_encrypted)?;
        if parsed.secret_parameter().is_none() {
            let selector = parsed.version.take().or_else(|| parsed.stage.take());
            match selector {
                Some(number) if Selector::is_version_number(&number) => {
                    parsed.version = Some(number)
                }
                label => parsed.stage = label,
            }
        }
        Ok(parsed)
    }

    /// Returns the secret that the query asks for with a name such as
    /// `/aws/reference/secretsmanager/app/db`. Returns `None` if the query has no such name.
    pub(crate) fn secret_parameter(&self) -> Option<SecretParameter<'_>> {
        let secret = secret_parameter(&self.reference)?;
        let selector = secret.selector.or(self.stage.as_deref()).or(self.version.as_deref());
        Some(SecretParameter { selector, ..secret })
    }

    /// Returns the secret, version and field that the query asks for.
    ///
    /// # Errors
    ///
    /// Fails if the secret's name or ARN is not valid, or if the query gives a version or a field
    /// twice: together with the name or ARN, and in a separate query parameter.
    pub(crate) fn parse_reference(&self) -> Result<BorrowedReference<'_>, BadReference> {
        let separate = SeparateParts {
            stage: self.stage.as_deref(),
            version: self.version.as_deref(),
            field: self.field.as_deref(),
            is_encrypted: self.is_encrypted,
        };
        BorrowedReference::parse(&self.reference, separate)
    }

    fn parse(
        query: &'a str,
        id_from: IdFrom<'a>,
        unknown: UnknownParameter,
    ) -> Result<Self, BadQuery> {
        let is_parameter = id_from == IdFrom::Name;
        let mut parsed = Self { is_encrypted: is_parameter, ..Self::default() };
        if let IdFrom::Path(id) = id_from {
            parsed.reference = Cow::Borrowed(id);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            // The value is decoded only if the query parameter is known, because an ignored query
            // parameter may have any value.
            match decode(name).as_deref() {
                Some("secretId") if id_from == IdFrom::SecretId => {
                    parsed.reference = decode_value(name, raw)?
                }
                Some("versionId") if !is_parameter => {
                    parsed.version = non_empty(decode_value(name, raw)?);
                }
                Some("versionStage") if !is_parameter => {
                    parsed.stage = non_empty(decode_value(name, raw)?);
                }
                Some("name") if is_parameter => parsed.reference = decode_value(name, raw)?,
                Some("version") if is_parameter && parsed.stage.is_none() => {
                    parsed.version = non_empty(decode_value(name, raw)?);
                }
                Some("label") if is_parameter && parsed.version.is_none() => {
                    parsed.stage = non_empty(decode_value(name, raw)?);
                }
                // The other of the two query parameters came first.
                Some("version" | "label") if is_parameter => {}
                Some("withDecryption") if is_parameter => {
                    let decrypts = boolean(&decode_value(name, raw)?);
                    parsed.is_encrypted = !decrypts.ok_or(BadQuery::WithDecryption)?;
                }
                Some("field") => parsed.field = non_empty(decode_value(name, raw)?),
                Some("refreshNow") => {
                    parsed.refresh_now =
                        boolean(&decode_value(name, raw)?).ok_or(BadQuery::RefreshNow)?;
                }
                Some("wait") => {
                    parsed.wait = Some(seconds(&decode_value(name, raw)?).ok_or(BadQuery::Wait)?)
                }
                Some("roleArn") => {
                    parsed.role = Some(RoleArn::parse(&decode_value(name, raw)?)?);
                }
                _ if unknown == UnknownParameter::Ignore => {}
                Some(name) => return Err(BadQuery::Unknown(name.to_owned())),
                None => return Err(BadQuery::NotText(name.to_owned())),
            }
        }
        Ok(parsed)
    }
}

/// Percent-decodes a name or value of a query, as in an HTML form: `+` means a space. Returns
/// `None` if the result is not UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

fn decode_value<'a>(name: &str, raw: &'a str) -> Result<Cow<'a, str>, BadQuery> {
    decode(raw).ok_or_else(|| BadQuery::NotText(name.to_owned()))
}

fn non_empty(value: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (!value.is_empty()).then_some(value)
}

fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn seconds(value: &str) -> Option<Duration> {
    value.parse().ok().filter(|seconds| *seconds <= WAIT_SECONDS_MAX).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{text, text_of};
    use crate::secret::selector::Selector;
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    #[test]
    fn targets_are_recognised_by_path_and_method() {
        for (method, path, expected) in [
            (Method::GET, "/ping", Target::Ping),
            (Method::GET, "/secretsmanager/get", Target::Get),
            (Method::GET, "/v1/app/db", Target::V1("app/db")),
            (Method::GET, "/v1/a%2Fb", Target::V1("a%2Fb")),
            (Method::GET, "/v1/", Target::V1("")),
            (Method::GET, "/v1", Target::Unknown),
            (Method::POST, "/", Target::AwsApi(Service::SecretsManager)),
            (Method::POST, "", Target::AwsApi(Service::SecretsManager)),
            (Method::POST, "//", Target::AwsApi(Service::SecretsManager)),
            (Method::POST, "/v1/", Target::V1("")),
            (Method::POST, "/restore", Target::Restore),
            (Method::POST, "/resolve", Target::Resolve),
            (Method::GET, "/resolve", Target::Resolve),
            (Method::POST, "/resolve/", Target::Resolve),
            (Method::GET, "/", Target::Unknown),
            (Method::GET, "", Target::Unknown),
            (Method::GET, "/systemsmanager/parameters/get/", Target::Parameters),
            (Method::GET, "/secretsmanager/get/", Target::Get),
            (Method::GET, "/secretsmanager/get//", Target::Get),
            (Method::GET, "/ping/", Target::Ping),
            (Method::GET, "//ping", Target::Unknown),
            (Method::GET, "/secretsmanager/get/x", Target::Unknown),
            (Method::GET, "/v1/app/", Target::V1("app/")),
        ] {
            assert_eq!(Target::of(&method, path, &HeaderMap::new()), expected, "{method} {path}");
        }
        let ssm = HeaderMap::from_iter([(
            HeaderName::from_static("x-amz-target"),
            HeaderValue::from_static("AmazonSSM.GetParameter"),
        )]);
        let of = |path| Target::of(&Method::POST, path, &ssm);
        assert_eq!(of("/"), Target::AwsApi(Service::ParameterStore));
        assert_eq!(of("/resolve"), Target::Resolve);
    }

    #[track_caller]
    fn check(query: &str, id: &str, field: Option<&str>) {
        let read = Query::of_get(query, UnknownParameter::Refuse).expect("the query must be valid");
        let wanted = read.parse_reference().expect("the reference must be valid");
        assert_eq!((wanted.id, wanted.field), (id, field));
    }

    #[test]
    fn ids_in_query_are_form_decoded() {
        check("secretId=app/db", "app/db", None);
        check("secretId=app%2Fdb", "app/db", None);
        check("secretId=a+b%2Bc", "a b+c", None);
        check("secretId=x&secretId=y", "y", None);
        check("secretId=app%23user", "app", Some("user"));
        check("secretId=app&field=user", "app", Some("user"));
    }

    #[test]
    fn id_in_path_is_not_decoded() {
        let query = "versionStage=AWSPREVIOUS&refreshNow=TRUE";
        let read = Query::of_v1("a%2Fb", query, UnknownParameter::Refuse)
            .expect("the query must be valid");
        let wanted = read.parse_reference().expect("the reference must be valid");
        assert_eq!(
            (wanted.id, wanted.selector.stage(), read.refresh_now),
            ("a%2Fb", Some("AWSPREVIOUS"), true)
        );
    }

    #[track_caller]
    fn refused(read: Result<Query<'_>, BadQuery>, expected: &str) {
        assert_eq!(read.expect_err("the query must not be valid").to_string(), expected);
    }

    #[test]
    fn bad_queries_get_error_messages_of_aws_agent() {
        let of_get = |query| Query::of_get(query, UnknownParameter::Refuse);
        let of_v1 = |id, query| Query::of_v1(id, query, UnknownParameter::Refuse);
        refused(of_get(""), "missing parameter secretId");
        refused(of_get("secretId="), "missing parameter secretId");
        refused(of_get("secretid=x"), "unknown parameter: secretid");
        refused(of_get("secretId=x&refreshNow=yes"), "invalid refreshNow value");
        for wait in ["", "-1", "21", "1.5", "2s"] {
            let query = format!("secretId=x&wait={wait}");
            let refused = Query::of_get(&query, UnknownParameter::Refuse).map(|_| ());
            assert_eq!(refused, Err(BadQuery::Wait), "{wait}");
        }
        for role in [
            "",
            "y",
            "role/app",
            "arn:aws:iam::123456789012:user/app",
            "arn:aws:iam::12345678901:role/app",
            "arn:aws:iam::1234567890123:role/app",
            "arn:aws:iam:eu-north-1:123456789012:role/app",
            "arn:aws:iam::123456789012:role/",
            "arn::iam::123456789012:role/app",
            "arn:aws:iam::123456789012:role/a:b",
            "arn:aws:iam::123456789012:role/a%20b",
            " arn:aws:iam::123456789012:role/app",
        ] {
            let expected =
                "invalid roleArn format, expected arn:<partition>:iam::<account>:role/<name>";
            let query = format!("roleArn={role}&secretId=x");
            refused(Query::of_get(&query, UnknownParameter::Refuse), expected);
            refused(Query::of_v1("x", &query, UnknownParameter::Refuse), expected);
        }
        refused(of_get("secretId=x&a%20b=1"), "unknown parameter: a b");
        refused(of_get("secretId=%FF"), "the query parameter secretId is not UTF-8");
        refused(of_v1("", ""), "missing secret ID");
        refused(of_v1("x", "secretId=y"), "unknown parameter: secretId");
    }

    #[test]
    fn known_parameters_count_if_unknown_ones_are_ignored() {
        let of_get = |query| Query::of_get(query, UnknownParameter::Ignore);
        let read = of_get("a=1&secretId=x&secretid=%FF&%FF=1&versionId=v")
            .expect("the query must be valid");
        assert_eq!((&*read.reference, read.version.as_deref()), ("x", Some("v")));
        for role in [
            "arn:aws:iam::123456789012:role/app",
            "arn%3Aaws-cn%3Aiam%3A%3A123456789012%3Arole%2Fteam%2FApp_1%2B%3D%2C.%40-",
        ] {
            let query = format!("secretId=x&roleArn={role}");
            let read = Query::of_get(&query, UnknownParameter::Ignore);
            assert!(read.expect("the query must be valid").role.is_some(), "{role}");
        }
        assert_eq!(of_get("secretId=x&roleArn=y"), Err(BadQuery::Role(BadRoleArn)));
        refused(of_get("a=1"), "missing parameter secretId");
        refused(
            of_get("secretId=x&wait=soon"),
            "invalid wait value: expected a number of seconds from 0 to 20",
        );
        refused(of_get("secretId=%FF"), "the query parameter secretId is not UTF-8");
    }

    #[test]
    fn reference_may_contain_version_and_field() {
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        let query = format!("secretId={arn}:user:AWSPREVIOUS:");
        let read =
            Query::of_get(&query, UnknownParameter::Refuse).expect("the query must be valid");
        let wanted = read.parse_reference().expect("the reference must be valid");
        assert_eq!(
            (wanted.id, wanted.selector.stage(), wanted.field),
            (arn, Some("AWSPREVIOUS"), Some("user"))
        );
        let read = Query::of_get("secretId=x%23a&field=b", UnknownParameter::Refuse)
            .expect("the query must be valid");
        assert_eq!(read.parse_reference(), Err(BadReference::Twice { part: "field", at: 3 }));
    }

    #[track_caller]
    fn parameter(query: &str, reference: &str, selector: &Selector) {
        let read =
            Query::of_parameter(query, UnknownParameter::Refuse).expect("the query must be valid");
        assert_eq!(&*read.reference, reference, "{query}");
        let wanted = read.parse_reference().expect("the reference must be valid");
        assert_eq!(&wanted.selector, selector, "{query}");
    }

    #[test]
    fn parameters_are_named_and_first_of_version_and_label_is_used() {
        let newest = |is_encrypted| Selector::parameter(None, None, is_encrypted);
        parameter("name=/app/url", "ssm:/app/url", &newest(true));
        parameter("name=%2Fapp%2Furl&withDecryption=false", "ssm:/app/url", &newest(true));
        parameter("withDecryption=TRUE&name=url&field=f", "ssm:url", &newest(false));
        parameter("name=x&name=/y&version=&label=", "ssm:/y", &newest(true));
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
        parameter(&format!("name={arn}&withDecryption=1"), arn, &newest(false));
        let number = Selector::parameter(None, Some("3"), true);
        let label = Selector::parameter(Some("live"), None, true);
        for query in ["version=3", "version=3&label=live", "label=3", "version=3&version="] {
            let selector = if query.ends_with('=') { &newest(true) } else { &number };
            parameter(&format!("name=/app/url&{query}"), "ssm:/app/url", selector);
        }
        for query in ["label=live", "label=live&version=3", "version=live", "version=&label=live"] {
            parameter(&format!("{query}&name=/app/url"), "ssm:/app/url", &label);
        }
        parameter("name=/app/url:3", "ssm:/app/url:3", &number);
    }

    #[test]
    fn secret_can_be_named_as_a_parameter() {
        let name = "/aws/reference/secretsmanager/app/db";
        let reference = format!("ssm:{name}");
        for (end, selector, stage, version) in [
            ("", None, None, None),
            ("&label=AWSPREVIOUS", Some("AWSPREVIOUS"), Some("AWSPREVIOUS"), None),
            ("&version=1-2", Some("1-2"), None, Some("1-2")),
        ] {
            let query = format!("name={name}&withDecryption=true{end}");
            parameter(&query, &reference, &Selector::new(stage, version));
            let read = Query::of_parameter(&query, UnknownParameter::Refuse);
            let read = read.expect("the query must be valid");
            let secret = read.secret_parameter().expect("the name must mean a secret");
            assert_eq!((secret.name, secret.selector), (name, selector));
            assert_eq!(read.parse_reference().expect("the name must be valid").id, "app/db");
        }
        let plain = Query::of_get("secretId=app/db", UnknownParameter::Refuse);
        assert_eq!(plain.expect("the query must be valid").secret_parameter(), None);
    }

    #[test]
    fn bad_queries_for_parameters_are_refused() {
        fn of(query: &str) -> Result<Query<'_>, BadQuery> {
            Query::of_parameter(query, UnknownParameter::Refuse)
        }
        refused(of(""), "missing parameter name");
        refused(of("name="), "missing parameter name");
        let long = format!("name={}", "x".repeat(2049));
        refused(of(&long), "the query parameter 'name' must not be longer than 2048 characters");
        assert!(of(&format!("name={}", "x".repeat(2048))).is_ok());
        refused(of("name=x&withDecryption=yes"), "invalid withDecryption value");
        refused(of("name=x&refreshNow=yes"), "invalid refreshNow value");
        refused(of("name=x&roleArn=y"), &BadRoleArn.to_string());
        for unknown in ["secretId", "versionId", "versionStage"] {
            refused(of(&format!("name=x&{unknown}=a")), &format!("unknown parameter: {unknown}"));
        }
        for unknown in ["name", "version", "label", "withDecryption"] {
            let query = format!("secretId=x&{unknown}=a");
            let read = Query::of_get(&query, UnknownParameter::Refuse);
            refused(read, &format!("unknown parameter: {unknown}"));
        }
        refused(
            of("name=/aws/reference/secretsmanager/app/db"),
            "WithDecryption flag must be True for retrieving a Secret Manager secret.",
        );
        let secret = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        assert_eq!(of(&format!("name={secret}")), Err(BadParameterName::OtherArn.into()));
        let lenient = Query::of_parameter("secretId=x&name=y&a=%FF", UnknownParameter::Ignore);
        assert_eq!(&*lenient.expect("the query must be valid").reference, "ssm:y");
    }

    const PIECES: &[&str] = &[
        "name=",
        "label=",
        "version=",
        "withDecryption=",
        "secretId=",
        "&",
        "=",
        "%41",
        "%",
        "%ff",
        "+",
        "versionStage=",
        "versionId=",
        "wait=",
        "20",
        "21",
        "field=",
        "refreshNow=",
        "true",
        "roleArn=",
        "arn:aws:iam::123456789012:role/x",
        "x",
        "#",
    ];

    proptest! {
        #[test]
        fn for_any_query_accepted_strictly_the_lenient_result_is_the_same(query in text_of(PIECES)) {
            let strict = Query::of_get(&query, UnknownParameter::Refuse);
            let lenient = Query::of_get(&query, UnknownParameter::Ignore);
            if strict.is_ok() {
                prop_assert_eq!(&strict, &lenient);
            }
            if let Ok(read) = lenient {
                prop_assert!(!read.reference.is_empty());
                prop_assert!(read.wait.is_none_or(|wait| wait.as_secs() <= WAIT_SECONDS_MAX));
                for given in [read.field, read.stage, read.version].into_iter().flatten() {
                    prop_assert!(!given.is_empty());
                }
            }
        }

        #[test]
        fn for_any_query_of_a_parameter_at_most_one_selector_is_used(query in text_of(PIECES)) {
            let strict = Query::of_parameter(&query, UnknownParameter::Refuse);
            let lenient = Query::of_parameter(&query, UnknownParameter::Ignore);
            if strict.is_ok() {
                prop_assert_eq!(&strict, &lenient);
            }
            if let Ok(read) = lenient {
                prop_assert!(!read.reference.is_empty());
                prop_assert!(read.stage.is_none() || read.version.is_none());
                prop_assert!(read.stage.is_none_or(|stage| !stage.is_empty()));
            }
        }

        #[test]
        fn for_any_values_an_encoded_query_is_parsed_back(
            id in text(),
            stage in text(),
            version in text(),
            field in text(),
        ) {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let names = ["secretId", "versionStage", "versionId", "field"];
            let values = [&id, &stage, &version, &field];
            let query = names.iter().zip(values).map(|(name, text)| format!("{name}={}", encode(text)));
            let query = query.collect::<Vec<_>>().join("&");
            let read = Query::of_get(&query, UnknownParameter::Refuse);
            if id.is_empty() {
                prop_assert_eq!(read, Err(BadQuery::NoId));
                return Ok(());
            }
            let read = read.expect("the query must be valid");
            let given = |text: String| (!text.is_empty()).then_some(Cow::Owned(text));
            prop_assert_eq!(&*read.reference, &*id);
            prop_assert_eq!(read.stage, given(stage));
            prop_assert_eq!(read.version, given(version));
            prop_assert_eq!(read.field, given(field));
        }

        #[test]
        fn for_any_path_only_probes_need_no_token(
            path in text_of(&["/", "ping", "ready", "metrics", "status", "secretsmanager", "get", "v1"]),
        ) {
            for method in [Method::GET, Method::POST] {
                let without_slashes = path.trim_end_matches('/');
                let is_probe = ["/ping", "/ready", "/metrics"].contains(&without_slashes);
                prop_assert_eq!(Target::of(&method, &path, &HeaderMap::new()).is_public(), is_probe);
            }
        }
    }
}
