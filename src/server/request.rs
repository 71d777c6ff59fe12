//! What a request asks, read from its method, path and query.
//!
//! Pure: request parts in, what is asked out.

use hyper::Method;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::time::Duration;

/// How long a request may be held until the version changes. Proxies and load balancers cut idle
/// requests at 30 s or more.
pub const WAIT_SECONDS_MAX: u64 = 20;

/// The path that AWS's extension and AWS's agent share.
const GET_PATH: &str = "/secretsmanager/get";

/// Where AWS's extension serves Parameter Store.
const PARAMETERS_PATH: &str = "/systemsmanager/parameters/get";

/// The path prefix under which AWS's agent takes an id as it is.
const V1_PREFIX: &str = "/v1/";

/// Whom a request is for. It decides which checks it passes and in which form it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/ping`: liveness, without a token.
    Ping,
    /// `/ready`: whether everything listed is held.
    Ready,
    /// `/metrics`: Prometheus.
    Metrics,
    /// `/status`: every entry, without values.
    Status,
    /// `POST /restore`: the function's after-restore hook.
    Restore,
    /// `/secretsmanager/get`.
    Get,
    /// `/v1/{id}`, with the id as it was sent.
    V1(&'a str),
    /// `/systemsmanager/parameters/get`.
    Parameters,
    /// `POST /` with an `X-Amz-Target`: the AWS API.
    AwsApi,
    /// Anything else.
    Unknown,
}

impl<'a> Target<'a> {
    /// Recognises the target of a request.
    pub fn of(method: &Method, path: &'a str) -> Self {
        match path {
            "/ping" => Self::Ping,
            "/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/status" => Self::Status,
            "/restore" => Self::Restore,
            GET_PATH => Self::Get,
            "/" if *method == Method::POST => Self::AwsApi,
            _ if path.trim_end_matches('/') == PARAMETERS_PATH => Self::Parameters,
            _ => path.strip_prefix(V1_PREFIX).map_or(Self::Unknown, Self::V1),
        }
    }

    /// Returns whether it is asked without a token: it tells nothing of secrets.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Ping | Self::Ready | Self::Metrics)
    }

    /// Returns whether this is a read of a secret, which is counted as one.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::V1(_))
    }
}

/// The query of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// The secret's name or ARN.
    pub id: Cow<'a, str>,
    /// One field of its JSON value.
    pub field: Option<Cow<'a, str>>,
    /// The staging label.
    pub stage: Option<Cow<'a, str>>,
    /// The version id.
    pub version: Option<Cow<'a, str>>,
    /// Whether to go upstream now.
    pub refresh_now: bool,
    /// How long to hold the answer until the version differs from the caller's.
    pub wait: Option<Duration>,
    /// Whether a role is to be assumed for it.
    pub role_arn: bool,
}

/// What is wrong with a query. The texts are those of AWS's agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// No secret is named.
    #[error("missing parameter secretId")]
    NoId,
    /// No secret is named in the path.
    #[error("missing secret ID")]
    NoIdInPath,
    /// `refreshNow` is no boolean.
    #[error("invalid refreshNow value")]
    RefreshNow,
    /// `wait` is no number of seconds, or too long.
    #[error("invalid wait value: a number of seconds from 0 to {WAIT_SECONDS_MAX} expected")]
    Wait,
    /// A parameter that does not exist.
    #[error("unknown parameter: {0}")]
    Unknown(String),
    /// A field is named twice.
    #[error("the field is named twice: use field=NAME or #NAME, not both")]
    TwoFields,
    /// Something decodes to bytes that are no text.
    #[error("parameter {0} is not UTF-8")]
    NotText(String),
}

/// What does with a parameter that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdFrom<'a> {
    Query,
    Path(&'a str),
}

impl<'a> Query<'a> {
    /// Reads the query of `/secretsmanager/get`. A parameter given twice counts as last given.
    ///
    /// # Errors
    ///
    /// Where a parameter is missing, unknown or makes no sense.
    pub fn of_get(query: &'a str) -> Result<Self, BadQuery> {
        let mut read = Self::parse(query, IdFrom::Query)?;
        if let Some((id, field)) = split_field(&read.id) {
            if read.field.is_some() {
                return Err(BadQuery::TwoFields);
            }
            (read.id, read.field) = (id, Some(field));
        }
        if read.id.is_empty() { Err(BadQuery::NoId) } else { Ok(read) }
    }

    /// Reads the query of `/v1/{id}`: the id counts as it was sent.
    ///
    /// # Errors
    ///
    /// Where the id is empty, or a parameter is unknown or makes no sense.
    pub fn of_v1(id: &'a str, query: &'a str) -> Result<Self, BadQuery> {
        if id.is_empty() {
            return Err(BadQuery::NoIdInPath);
        }
        Self::parse(query, IdFrom::Path(id))
    }

    fn parse(query: &'a str, id_from: IdFrom<'a>) -> Result<Self, BadQuery> {
        let mut read = Self::default();
        if let IdFrom::Path(id) = id_from {
            read.id = Cow::Borrowed(id);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| BadQuery::NotText(name.to_owned()))?;
            let value = decode(value).ok_or_else(|| BadQuery::NotText(name.to_string()))?;
            match &*name {
                "secretId" if id_from == IdFrom::Query => read.id = value,
                "versionId" => read.version = given(value),
                "versionStage" => read.stage = given(value),
                "field" => read.field = given(value),
                "refreshNow" => read.refresh_now = boolean(&value).ok_or(BadQuery::RefreshNow)?,
                "wait" => read.wait = Some(seconds(&value).ok_or(BadQuery::Wait)?),
                "roleArn" => read.role_arn = true,
                _ => return Err(BadQuery::Unknown(name.into_owned())),
            }
        }
        Ok(read)
    }
}

/// Parts `ID#FIELD`. What was borrowed stays borrowed.
fn split_field<'a>(id: &Cow<'a, str>) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    match id {
        Cow::Borrowed(text) => {
            let (id, field) = text.split_once('#')?;
            Some((Cow::Borrowed(id), Cow::Borrowed(field)))
        }
        Cow::Owned(text) => {
            let (id, field) = text.split_once('#')?;
            Some((Cow::Owned(id.to_owned()), Cow::Owned(field.to_owned())))
        }
    }
}

/// Decodes as a form does, `+` being a space. Text with nothing to decode is borrowed.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

fn given(value: Cow<'_, str>) -> Option<Cow<'_, str>> {
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

    #[test]
    fn targets_are_told_by_path_and_method() {
        for (method, path, expected) in [
            (Method::GET, "/ping", Target::Ping),
            (Method::GET, "/secretsmanager/get", Target::Get),
            (Method::GET, "/v1/app/db", Target::V1("app/db")),
            (Method::GET, "/v1/a%2Fb", Target::V1("a%2Fb")),
            (Method::GET, "/v1/", Target::V1("")),
            (Method::GET, "/v1", Target::Unknown),
            (Method::POST, "/", Target::AwsApi),
            (Method::POST, "/restore", Target::Restore),
            (Method::GET, "/", Target::Unknown),
            (Method::GET, "/systemsmanager/parameters/get/", Target::Parameters),
            (Method::GET, "/secretsmanager/get/", Target::Unknown),
        ] {
            assert_eq!(Target::of(&method, path), expected, "{method} {path}");
        }
    }

    #[track_caller]
    fn check(query: &str, id: &str, field: Option<&str>) {
        let read = Query::of_get(query).expect("a good query");
        assert_eq!((&*read.id, read.field.as_deref()), (id, field));
    }

    #[test]
    fn ids_are_form_decoded() {
        check("secretId=app/db", "app/db", None);
        check("secretId=app%2Fdb", "app/db", None);
        check("secretId=a+b%2Bc", "a b+c", None);
        check("secretId=x&secretId=y", "y", None);
        check("secretId=app%23user", "app", Some("user"));
        check("secretId=app&field=user", "app", Some("user"));
    }

    #[test]
    fn the_id_in_a_path_counts_as_it_was_sent() {
        let read = Query::of_v1("a%2Fb", "versionStage=AWSPREVIOUS&refreshNow=TRUE").expect("good");
        assert_eq!(
            (&*read.id, read.stage.as_deref(), read.refresh_now),
            ("a%2Fb", Some("AWSPREVIOUS"), true)
        );
    }

    #[track_caller]
    fn refused(read: Result<Query<'_>, BadQuery>, expected: &str) {
        assert_eq!(read.expect_err("a bad query").to_string(), expected);
    }

    #[test]
    fn what_is_wrong_is_said_as_the_agent_says_it() {
        refused(Query::of_get(""), "missing parameter secretId");
        refused(Query::of_get("secretId="), "missing parameter secretId");
        refused(Query::of_get("secretid=x"), "unknown parameter: secretid");
        refused(Query::of_get("secretId=x&refreshNow=yes"), "invalid refreshNow value");
        for wait in ["", "-1", "21", "1.5", "2s"] {
            let query = format!("secretId=x&wait={wait}");
            let refused = Query::of_get(&query).map(|_| ());
            assert_eq!(refused, Err(BadQuery::Wait), "{wait}");
        }
        refused(Query::of_get("secretId=x&a%20b=1"), "unknown parameter: a b");
        refused(Query::of_get("secretId=%FF"), "parameter secretId is not UTF-8");
        refused(Query::of_v1("", ""), "missing secret ID");
        refused(Query::of_v1("x", "secretId=y"), "unknown parameter: secretId");
        assert_eq!(Query::of_get("secretId=x%23a&field=b"), Err(BadQuery::TwoFields));
    }
}
