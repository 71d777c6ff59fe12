//! What an SDK asks: an operation in a header, and its members in a body of JSON.
//!
//! Pure: header and bytes in, what is asked out.

use crate::secret::reference::{
    BadReference, BorrowedReference, ID_CHARS_MAX, STAGE_CHARS_MAX, SeparateParts,
    VERSION_CHARS_MAX,
};
use crate::source::BATCH_MAX;
use hyper::header::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// The operations that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One version of one secret.
    GetSecretValue,
    /// The current versions of up to [`BATCH_MAX`] secrets.
    BatchGetSecretValue,
    /// What is known of a secret beside its value.
    DescribeSecret,
}

/// One call.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// Asks for one version of one secret.
    Get(Named),
    /// Asks for the current versions of these secrets.
    Batch(Vec<String>),
    /// Asks what is known of a secret beside its value.
    Describe(Named),
}

/// A secret as a call names it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// A reference: a name or ARN, also with a field, stage or version in it.
    reference: String,
    stage: Option<String>,
    version: Option<String>,
}

/// What is wrong with a call. The words are AWS's own where AWS has some, and none is the caller's:
/// a body may hold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCall {
    /// An operation that is not served, or none.
    #[error("Sidekey only reads: it serves GetSecretValue, BatchGetSecretValue and DescribeSecret")]
    Unsupported,
    /// The body is not JSON.
    #[error("the body is not JSON, at line {line}, column {column}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// The body is JSON of another shape.
    #[error("the body is not what the operation takes, at line {line}, column {column}")]
    Shape {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// A member is missing.
    #[error(
        "1 validation error detected: Value null at '{0}' failed to satisfy constraint: Member \
         must not be null"
    )]
    Missing(&'static str),
    /// A member is empty.
    #[error(
        "1 validation error detected: Value at '{0}' failed to satisfy constraint: Member must \
         have length greater than or equal to 1"
    )]
    Empty(&'static str),
    /// A member is too long.
    #[error(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member \
         must have length less than or equal to {max}"
    )]
    TooLong {
        /// The member.
        member: &'static str,
        /// How long it may be.
        max: usize,
    },
    /// A batch says twice, or not at all, what it is of.
    #[error("Either 'SecretIdList' or 'Filters' must be provided, but not both.")]
    ListOrFilters,
    /// A batch by filters.
    #[error("Sidekey holds what is read and cannot search: 'Filters' is not served")]
    Filters,
}

impl BadCall {
    /// Returns AWS's name of the error.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Unsupported => "UnsupportedOperationException",
            Self::NotJson { .. } | Self::Shape { .. } => "SerializationException",
            Self::Missing(_) | Self::Empty(_) | Self::TooLong { .. } => "ValidationException",
            Self::ListOrFilters | Self::Filters => "InvalidParameterException",
        }
    }

    /// Returns what to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Unsupported => {
                "for anything else reach AWS directly: a client of its own without \
                 AWS_ENDPOINT_URL_SECRETS_MANAGER, or with AWS's own endpoint"
            }
            Self::NotJson { .. } | Self::Shape { .. } => "send what AWS's SDKs send",
            Self::Missing(_) | Self::Empty(_) | Self::TooLong { .. } | Self::ListOrFilters => {
                "see AWS's API reference"
            }
            Self::Filters => "name the secrets in SecretIdList, or reach AWS directly",
        }
    }
}

impl Operation {
    /// Recognises the operation that a request is for.
    ///
    /// # Errors
    ///
    /// Where it is none that is served.
    pub fn of(headers: &HeaderMap) -> Result<Self, BadCall> {
        let target = headers.get(TARGET).map(|target| target.as_bytes());
        match target.and_then(|target| target.strip_prefix(b"secretsmanager.")) {
            Some(b"GetSecretValue") => Ok(Self::GetSecretValue),
            Some(b"BatchGetSecretValue") => Ok(Self::BatchGetSecretValue),
            Some(b"DescribeSecret") => Ok(Self::DescribeSecret),
            _ => Err(BadCall::Unsupported),
        }
    }

    /// Reads the body of a call.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(self, body: &[u8]) -> Result<Call, BadCall> {
        match self {
            Self::GetSecretValue => Named::read(members(body)?).map(Call::Get),
            Self::DescribeSecret => {
                let read = Named::read(members(body)?)?;
                Ok(Call::Describe(Named { stage: None, version: None, ..read }))
            }
            Self::BatchGetSecretValue => batch(members(body)?).map(Call::Batch),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct One {
    secret_id: Option<String>,
    version_stage: Option<String>,
    version_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Many {
    secret_id_list: Option<Vec<String>>,
    filters: Option<IgnoredAny>,
}

impl Named {
    fn read(one: One) -> Result<Self, BadCall> {
        let reference = one.secret_id.ok_or(BadCall::Missing("secretId"))?;
        check_length("secretId", &reference, ID_CHARS_MAX)?;
        for (member, value, max) in [
            ("versionStage", &one.version_stage, STAGE_CHARS_MAX),
            ("versionId", &one.version_id, VERSION_CHARS_MAX),
        ] {
            value.as_ref().map_or(Ok(()), |value| check_length(member, value, max))?;
        }
        Ok(Self { reference, stage: one.version_stage, version: one.version_id })
    }

    /// Returns which secret is wanted, and what of it.
    ///
    /// # Errors
    ///
    /// Where the reference makes no sense, or names again what a member names.
    pub fn wanted(&self) -> Result<BorrowedReference<'_>, BadReference> {
        let beside = SeparateParts {
            stage: self.stage.as_deref(),
            version: self.version.as_deref(),
            field: None,
        };
        BorrowedReference::parse(&self.reference, beside)
    }
}

fn batch(many: Many) -> Result<Vec<String>, BadCall> {
    let ids = match (many.secret_id_list, many.filters) {
        (Some(ids), None) => ids,
        (None, Some(_)) => return Err(BadCall::Filters),
        _ => return Err(BadCall::ListOrFilters),
    };
    match ids.len() {
        0 => Err(BadCall::Empty("secretIdList")),
        1..=BATCH_MAX => Ok(ids),
        _ => Err(BadCall::TooLong { member: "secretIdList", max: BATCH_MAX }),
    }
}

fn check_length(member: &'static str, value: &str, max: usize) -> Result<(), BadCall> {
    match value.chars().count() {
        0 => Err(BadCall::Empty(member)),
        length if length > max => Err(BadCall::TooLong { member, max }),
        _ => Ok(()),
    }
}

/// Reads the members of a body. One that is empty has none.
fn members<'a, T: Default + Deserialize<'a>>(body: &'a [u8]) -> Result<T, BadCall> {
    if body.is_empty() {
        return Ok(T::default());
    }
    // A list of the members' values would be read as well.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(BadCall::Shape { line: 1, column: 1 });
    }
    // The error's own text may quote the body.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Data => BadCall::Shape { line, column },
            Category::Io | Category::Syntax | Category::Eof => BadCall::NotJson { line, column },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{VALUE, json, mangled, text};
    use crate::secret::selector::Selector;
    use proptest::prelude::*;

    #[track_caller]
    fn of(target: Option<&str>, expected: Result<Operation, BadCall>) {
        let header = target.map(|target| (TARGET, target.parse().expect("a value")));
        assert_eq!(Operation::of(&header.into_iter().collect()), expected, "{target:?}");
    }

    #[test]
    fn operations_are_told_by_the_header() {
        of(Some("secretsmanager.GetSecretValue"), Ok(Operation::GetSecretValue));
        of(Some("secretsmanager.BatchGetSecretValue"), Ok(Operation::BatchGetSecretValue));
        of(Some("secretsmanager.DescribeSecret"), Ok(Operation::DescribeSecret));
        for other in [
            "secretsmanager.PutSecretValue",
            "secretsmanager.getsecretvalue",
            "GetSecretValue",
            "AmazonSSM.GetParameter",
            "",
        ] {
            of(Some(other), Err(BadCall::Unsupported));
        }
        of(None, Err(BadCall::Unsupported));
    }

    #[track_caller]
    fn get(body: &str, id: &str, stage: Option<&str>, version: Option<&str>, field: Option<&str>) {
        let Ok(Call::Get(named)) = Operation::GetSecretValue.parse(body.as_bytes()) else {
            panic!("{body} is no call");
        };
        let selector = Selector::new(stage, version);
        assert_eq!(named.wanted(), Ok(BorrowedReference { id, selector, field }), "{body}");
    }

    #[test]
    fn members_are_read_whatever_else_there_is() {
        get(r#"{"SecretId":"app/db"}"#, "app/db", None, None, None);
        get(r#" {"New":[1,{}],"SecretId":"\u0061"} "#, "a", None, None, None);
        get(r#"{"SecretId":"a","VersionStage":null,"VersionId":"v"}"#, "a", None, Some("v"), None);
        get(r#"{"SecretId":"a","VersionStage":"S"}"#, "a", Some("S"), None, None);
        get(r#"{"SecretId":"a#password"}"#, "a", None, None, Some("password"));
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        get(&format!(r#"{{"SecretId":"{arn}:f:S:V"}}"#), arn, Some("S"), Some("V"), Some("f"));
        let body = br#"{"SecretIdList":["a","b","a"]}"#;
        let ids = ["a", "b", "a"].map(str::to_owned);
        let batch = Operation::BatchGetSecretValue.parse(body);
        assert_eq!(batch, Ok(Call::Batch(ids.to_vec())));
        let described = Operation::DescribeSecret.parse(br#"{"SecretId":"a","VersionId":"v"}"#);
        let named = Named { reference: "a".to_owned(), ..Named::default() };
        assert_eq!(described, Ok(Call::Describe(named)));
    }

    #[track_caller]
    fn refused(operation: Operation, body: &str, kind: &str, words: &str) {
        let bad = operation.parse(body.as_bytes()).expect_err("a bad call");
        assert_eq!(bad.kind(), kind, "{body}");
        assert!(bad.to_string().contains(words), "{bad}");
        assert!(!bad.to_string().contains("hunter2"), "{bad}");
    }

    #[test]
    fn what_is_wrong_is_told_as_aws_tells_it_and_quotes_nothing() {
        let get = |body: &str, kind, words| refused(Operation::GetSecretValue, body, kind, words);
        get("", "ValidationException", "Value null at 'secretId'");
        get("{}", "ValidationException", "Value null at 'secretId'");
        get(r#"{"SecretId":null}"#, "ValidationException", "Member must not be null");
        get(r#"{"SecretId":""}"#, "ValidationException", "greater than or equal to 1");
        let long = |member: &str, chars: usize| {
            format!(r#"{{"SecretId":"a","{member}":"{}"}}"#, "x".repeat(chars))
        };
        get(&long("VersionStage", 257), "ValidationException", "less than or equal to 256");
        get(&long("VersionStage", 0), "ValidationException", "at 'versionStage'");
        get(&long("VersionId", 65), "ValidationException", "less than or equal to 64");
        let id = format!(r#"{{"SecretId":"{}"}}"#, "x".repeat(2049));
        get(&id, "ValidationException", "less than or equal to 2048");
        get(r#"{"SecretId":"hunter2""#, "SerializationException", "not JSON, at line 1, column 21");
        get("hunter2", "SerializationException", "line 1, column 1");
        get(r#""hunter2""#, "SerializationException", "not what the operation takes");
        get("{\n\"SecretId\":7}", "SerializationException", "line 2, column 12");
        get(r#"["hunter2"]"#, "SerializationException", "line 1, column 1");
        get("\u{feff}{}", "SerializationException", "line 1, column 1");

        let batch =
            |body: &str, kind, words| refused(Operation::BatchGetSecretValue, body, kind, words);
        batch("{}", "InvalidParameterException", "Either 'SecretIdList' or 'Filters'");
        batch(r#"{"SecretIdList":["a"],"Filters":[]}"#, "InvalidParameterException", "not both");
        let filters = r#"{"Filters":[{"Key":"name","Values":["a"]}]}"#;
        batch(filters, "InvalidParameterException", "'Filters' is not served");
        assert!(BadCall::Filters.hint().contains("SecretIdList"));
        batch(r#"{"SecretIdList":[]}"#, "ValidationException", "greater than or equal to 1");
        let ids = vec!["\"a\""; 21].join(",");
        let many = format!("{{\"SecretIdList\":[{ids}]}}");
        batch(&many, "ValidationException", "less than or equal to 20");
        batch(r#"{"SecretIdList":"hunter2"}"#, "SerializationException", "column 25");
    }

    const GET: &str =
        r#"{"SecretId":"hunter2","VersionStage":"hunter2","VersionId":"hunter2","a":[{}]}"#;
    const BATCH: &str = r#"{"SecretIdList":["a","hunter2"],"MaxResults":1}"#;

    proptest! {
        #[test]
        fn for_any_body_a_call_keeps_its_bounds_and_no_error_shows_it(
            body in prop_oneof![mangled(GET), mangled(BATCH), json().prop_map(|json| json.to_string())],
        ) {
            for operation in
                [Operation::GetSecretValue, Operation::DescribeSecret, Operation::BatchGetSecretValue]
            {
                match operation.parse(body.as_bytes()) {
                    Ok(Call::Get(named) | Call::Describe(named)) => {
                        let chars = |text: &str| text.chars().count();
                        prop_assert!((1..=ID_CHARS_MAX).contains(&chars(&named.reference)));
                        for (given, max) in
                            [(&named.stage, STAGE_CHARS_MAX), (&named.version, VERSION_CHARS_MAX)]
                        {
                            let is_good = |given: &str| (1..=max).contains(&chars(given));
                            prop_assert!(given.as_deref().is_none_or(is_good));
                        }
                    }
                    Ok(Call::Batch(ids)) => prop_assert!((1..=BATCH_MAX).contains(&ids.len())),
                    Err(bad) => {
                        prop_assert!(!bad.to_string().contains(VALUE) && !bad.hint().contains(VALUE));
                    }
                }
            }
        }

        #[test]
        fn for_any_bytes_a_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Operation::GetSecretValue.parse(&body);
            let _ = Operation::BatchGetSecretValue.parse(&body);
        }

        #[test]
        fn for_any_members_a_call_is_read_back(id in text(), stage in text()) {
            let body = serde_json::json!({"SecretId": id, "VersionStage": stage}).to_string();
            match Operation::GetSecretValue.parse(body.as_bytes()) {
                Ok(Call::Get(named)) => {
                    prop_assert_eq!(named, Named { reference: id, stage: Some(stage), version: None });
                }
                other => prop_assert!(id.is_empty() || stage.is_empty(), "{other:?}"),
            }
        }
    }
}
