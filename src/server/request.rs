//! What a request asks, read from its method, path and query.
//!
//! Pure: request parts in, what is asked out.

use crate::secret::reference::{BadReference, BorrowedReference, SeparateParts};
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
    /// `POST /resolve`: every reference of a message or an event.
    Resolve,
    /// `/secretsmanager/get`.
    Get,
    /// `/v1/{id}`, with the id as it was sent.
    V1(&'a str),
    /// `/systemsmanager/parameters/get`.
    Parameters,
    /// `POST /`: the AWS API. Some SDKs add a slash to an endpoint that ends in one.
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
            "/resolve" => Self::Resolve,
            GET_PATH => Self::Get,
            _ if path.trim_matches('/').is_empty() && *method == Method::POST => Self::AwsApi,
            _ if path.trim_end_matches('/') == PARAMETERS_PATH => Self::Parameters,
            _ => path.strip_prefix(V1_PREFIX).map_or(Self::Unknown, Self::V1),
        }
    }

    /// Returns whether it is asked without a token: it tells nothing of secrets.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Ping | Self::Ready | Self::Metrics)
    }

    /// Returns whether this reads a secret, or several, which are counted.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::V1(_) | Self::AwsApi | Self::Resolve)
    }
}

/// The query of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// The reference to the secret, as it was written.
    pub reference: Cow<'a, str>,
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
    /// Something decodes to bytes that are no text.
    #[error("parameter {0} is not UTF-8")]
    NotText(String),
}

/// Where the reference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdFrom<'a> {
    Query,
    Path(&'a str),
}

/// What becomes of a parameter that there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is an error.
    Refused,
    /// It is as if it were not there.
    Ignored,
}

impl<'a> Query<'a> {
    /// Reads the query of `/secretsmanager/get`. A parameter given twice counts as last given.
    ///
    /// # Errors
    ///
    /// Where a parameter is missing, unknown or makes no sense.
    pub fn of_get(query: &'a str, unknown: Unknown) -> Result<Self, BadQuery> {
        let read = Self::parse(query, IdFrom::Query, unknown)?;
        if read.reference.is_empty() { Err(BadQuery::NoId) } else { Ok(read) }
    }

    /// Reads the query of `/v1/{id}`: the id counts as it was sent.
    ///
    /// # Errors
    ///
    /// Where the id is empty, or a parameter is unknown or makes no sense.
    pub fn of_v1(id: &'a str, query: &'a str, unknown: Unknown) -> Result<Self, BadQuery> {
        if id.is_empty() {
            return Err(BadQuery::NoIdInPath);
        }
        Self::parse(query, IdFrom::Path(id), unknown)
    }

    /// Returns which secret is wanted, and what of it.
    ///
    /// # Errors
    ///
    /// Where the reference makes no sense, or names again what a parameter names.
    pub fn wanted(&self) -> Result<BorrowedReference<'_>, BadReference> {
        let beside = SeparateParts {
            stage: self.stage.as_deref(),
            version: self.version.as_deref(),
            field: self.field.as_deref(),
        };
        BorrowedReference::parse(&self.reference, beside)
    }

    fn parse(query: &'a str, id_from: IdFrom<'a>, unknown: Unknown) -> Result<Self, BadQuery> {
        let mut read = Self::default();
        if let IdFrom::Path(id) = id_from {
            read.reference = Cow::Borrowed(id);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name);
            let value = || decode(raw).ok_or_else(|| BadQuery::NotText(name.to_owned()));
            match decoded.as_deref() {
                Some("secretId") if id_from == IdFrom::Query => read.reference = value()?,
                Some("versionId") => read.version = given(value()?),
                Some("versionStage") => read.stage = given(value()?),
                Some("field") => read.field = given(value()?),
                Some("refreshNow") => {
                    read.refresh_now = boolean(&value()?).ok_or(BadQuery::RefreshNow)?;
                }
                Some("wait") => read.wait = Some(seconds(&value()?).ok_or(BadQuery::Wait)?),
                Some("roleArn") => read.role_arn = true,
                _ if unknown == Unknown::Ignored => {}
                Some(name) => return Err(BadQuery::Unknown(name.to_owned())),
                None => return Err(BadQuery::NotText(name.to_owned())),
            }
        }
        Ok(read)
    }
}

/// Decodes as a form does, `+` being a space. Text with nothing to decode is borrowed.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
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
    use crate::hostile::{text, text_of};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

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
            (Method::POST, "", Target::AwsApi),
            (Method::POST, "//", Target::AwsApi),
            (Method::POST, "/v1/", Target::V1("")),
            (Method::POST, "/restore", Target::Restore),
            (Method::POST, "/resolve", Target::Resolve),
            (Method::GET, "/resolve", Target::Resolve),
            (Method::POST, "/resolve/", Target::Unknown),
            (Method::GET, "/", Target::Unknown),
            (Method::GET, "/systemsmanager/parameters/get/", Target::Parameters),
            (Method::GET, "/secretsmanager/get/", Target::Unknown),
        ] {
            assert_eq!(Target::of(&method, path), expected, "{method} {path}");
        }
    }

    #[track_caller]
    fn check(query: &str, id: &str, field: Option<&str>) {
        let read = Query::of_get(query, Unknown::Refused).expect("a good query");
        let wanted = read.wanted().expect("a good reference");
        assert_eq!((wanted.id, wanted.field), (id, field));
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
        let query = "versionStage=AWSPREVIOUS&refreshNow=TRUE";
        let read = Query::of_v1("a%2Fb", query, Unknown::Refused).expect("good");
        let wanted = read.wanted().expect("a good reference");
        assert_eq!(
            (wanted.id, wanted.selector.stage(), read.refresh_now),
            ("a%2Fb", Some("AWSPREVIOUS"), true)
        );
    }

    #[track_caller]
    fn refused(read: Result<Query<'_>, BadQuery>, expected: &str) {
        assert_eq!(read.expect_err("a bad query").to_string(), expected);
    }

    #[test]
    fn what_is_wrong_is_said_as_the_agent_says_it() {
        let of_get = |query| Query::of_get(query, Unknown::Refused);
        let of_v1 = |id, query| Query::of_v1(id, query, Unknown::Refused);
        refused(of_get(""), "missing parameter secretId");
        refused(of_get("secretId="), "missing parameter secretId");
        refused(of_get("secretid=x"), "unknown parameter: secretid");
        refused(of_get("secretId=x&refreshNow=yes"), "invalid refreshNow value");
        for wait in ["", "-1", "21", "1.5", "2s"] {
            let query = format!("secretId=x&wait={wait}");
            let refused = Query::of_get(&query, Unknown::Refused).map(|_| ());
            assert_eq!(refused, Err(BadQuery::Wait), "{wait}");
        }
        refused(of_get("secretId=x&a%20b=1"), "unknown parameter: a b");
        refused(of_get("secretId=%FF"), "parameter secretId is not UTF-8");
        refused(of_v1("", ""), "missing secret ID");
        refused(of_v1("x", "secretId=y"), "unknown parameter: secretId");
    }

    #[test]
    fn where_unknown_parameters_are_ignored_known_ones_still_count() {
        let of_get = |query| Query::of_get(query, Unknown::Ignored);
        let read = of_get("a=1&secretId=x&secretid=%FF&%FF=1&versionId=v").expect("a good query");
        assert_eq!((&*read.reference, read.version.as_deref()), ("x", Some("v")));
        assert!(of_get("secretId=x&roleArn=y").expect("a good query").role_arn);
        refused(of_get("a=1"), "missing parameter secretId");
        refused(
            of_get("secretId=x&wait=soon"),
            "invalid wait value: a number of seconds from 0 to 20 expected",
        );
        refused(of_get("secretId=%FF"), "parameter secretId is not UTF-8");
    }

    #[test]
    fn a_reference_may_name_version_and_field_itself() {
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        let query = format!("secretId={arn}:user:AWSPREVIOUS:");
        let read = Query::of_get(&query, Unknown::Refused).expect("a good query");
        let wanted = read.wanted().expect("a good reference");
        assert_eq!(
            (wanted.id, wanted.selector.stage(), wanted.field),
            (arn, Some("AWSPREVIOUS"), Some("user"))
        );
        let read = Query::of_get("secretId=x%23a&field=b", Unknown::Refused).expect("a good query");
        assert_eq!(read.wanted(), Err(BadReference::Twice { part: "field", at: 3 }));
    }

    const PIECES: &[&str] = &[
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
        "x",
        "#",
    ];

    proptest! {
        #[test]
        fn for_any_query_what_is_strict_is_lenient_too(query in text_of(PIECES)) {
            let strict = Query::of_get(&query, Unknown::Refused);
            let lenient = Query::of_get(&query, Unknown::Ignored);
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
        fn for_any_values_an_encoded_query_is_read_back(
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
            let read = Query::of_get(&query, Unknown::Refused);
            if id.is_empty() {
                prop_assert_eq!(read, Err(BadQuery::NoId));
                return Ok(());
            }
            let read = read.expect("a good query");
            let given = |text: String| (!text.is_empty()).then_some(Cow::Owned(text));
            prop_assert_eq!(&*read.reference, &*id);
            prop_assert_eq!(read.stage, given(stage));
            prop_assert_eq!(read.version, given(version));
            prop_assert_eq!(read.field, given(field));
        }

        #[test]
        fn for_any_path_only_probes_are_open(
            path in text_of(&["/", "ping", "ready", "metrics", "status", "secretsmanager", "get", "v1"]),
        ) {
            for method in [Method::GET, Method::POST] {
                let is_probe = ["/ping", "/ready", "/metrics"].contains(&&*path);
                prop_assert_eq!(Target::of(&method, &path).is_open(), is_probe);
            }
        }
    }
}
