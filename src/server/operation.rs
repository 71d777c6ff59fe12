//! Parses a call of the AWS API. A header names the operation, and the JSON body contains the
//! members (AWS's word for parameters).
//!
//! The module has no side effects. It takes headers and bytes, and returns an [`Operation`] or a
//! [`Call`].

use super::head::Headers;
use crate::secret::reference::{
    BadReference, BorrowedReference, ID_CHARS_MAX, STAGE_CHARS_MAX, SeparateParts,
    VERSION_CHARS_MAX,
};
use crate::source::BATCH_MAX;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

/// The HTTP header in which a call of the AWS API names its operation.
const TARGET: &str = "x-amz-target";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    GetSecretValue,
    BatchGetSecretValue,
    DescribeSecret,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Get(RequestedSecret),
    /// A call that reads the current versions of several secrets. The strings are their names or
    /// ARNs.
    Batch(Vec<String>),
    Describe(RequestedSecret),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestedSecret {
    /// The name or ARN of a secret. The text may also contain a field, a staging label (such as
    /// AWSCURRENT) and a version id.
    reference: String,
    stage: Option<String>,
    version: Option<String>,
}

/// Why a call of the AWS API is not valid.
///
/// If AWS has a text for an error, Sidekey sends the same text. No text quotes the body of the
/// call, because the body may contain a secret value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCall {
    #[error(
        "Sidekey serves only the operations GetSecretValue, BatchGetSecretValue and DescribeSecret"
    )]
    Unsupported,
    #[error("the body is not valid JSON: error at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error(
        "the JSON body does not have the structure of this operation: error at line {line}, column {column}"
    )]
    Shape { line: usize, column: usize },
    /// Error: the body of the call lacks this required member (parameter), such as `secretId`.
    #[error(
        "1 validation error detected: Value null at '{0}' failed to satisfy constraint: Member \
         must not be null"
    )]
    Missing(&'static str),
    /// Error: this member (parameter) of the call's body is empty.
    #[error(
        "1 validation error detected: Value at '{0}' failed to satisfy constraint: Member must \
         have length greater than or equal to 1"
    )]
    Empty(&'static str),
    /// Error: a member (parameter) of the call's body is longer than AWS allows.
    #[error(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member \
         must have length less than or equal to {max}"
    )]
    TooLong {
        member: &'static str,
        /// The maximum length of the parameter: in characters for a string, or in items for a list.
        max: usize,
    },
    #[error("Either 'SecretIdList' or 'Filters' must be provided, but not both.")]
    ListOrFilters,
    #[error(
        "'Filters' is not served, because Sidekey cannot search for secrets: Sidekey knows only the secrets that were read"
    )]
    Filters,
}

impl BadCall {
    /// Returns the type of the error by the name that AWS uses, such as `ValidationException`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Unsupported => "UnsupportedOperationException",
            Self::NotJson { .. } | Self::Shape { .. } => "SerializationException",
            Self::Missing(_) | Self::Empty(_) | Self::TooLong { .. } => "ValidationException",
            Self::ListOrFilters | Self::Filters => "InvalidParameterException",
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Unsupported => {
                "for other operations, reach AWS directly: use a separate client without \
                 AWS_ENDPOINT_URL_SECRETS_MANAGER, or a client with AWS's own endpoint"
            }
            Self::NotJson { .. } | Self::Shape { .. } => {
                "send the JSON object that AWS's SDKs send for this operation"
            }
            Self::Missing(_) | Self::Empty(_) | Self::TooLong { .. } | Self::ListOrFilters => {
                "correct the parameters of the call as AWS's API reference describes"
            }
            Self::Filters => {
                "name the secrets in SecretIdList instead, or send the call to AWS directly"
            }
        }
    }
}

impl Operation {
    /// Returns the operation that a call of the AWS API names in its header `X-Amz-Target`.
    ///
    /// # Errors
    ///
    /// Fails if the header is missing, or names an operation that Sidekey does not serve.
    pub(crate) fn of(headers: &impl Headers) -> Result<Self, BadCall> {
        let target = headers.values(TARGET).next();
        match target.and_then(|target| target.strip_prefix(b"secretsmanager.")) {
            Some(b"GetSecretValue") => Ok(Self::GetSecretValue),
            Some(b"BatchGetSecretValue") => Ok(Self::BatchGetSecretValue),
            Some(b"DescribeSecret") => Ok(Self::DescribeSecret),
            _ => Err(BadCall::Unsupported),
        }
    }

    /// Parses and checks the JSON body of a call of this AWS operation.
    ///
    /// # Errors
    ///
    /// Fails if the body is not valid for this operation.
    pub(crate) fn parse(self, body: &[u8]) -> Result<Call, BadCall> {
        match self {
            Self::GetSecretValue => RequestedSecret::of(members(body)?).map(Call::Get),
            Self::DescribeSecret => {
                let secret = RequestedSecret::of(members(body)?)?;
                Ok(Call::Describe(RequestedSecret { stage: None, version: None, ..secret }))
            }
            Self::BatchGetSecretValue => batch(members(body)?).map(Call::Batch),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct OneSecret {
    secret_id: Option<String>,
    version_stage: Option<String>,
    version_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ManySecrets {
    secret_id_list: Option<Vec<String>>,
    filters: Option<IgnoredAny>,
}

impl RequestedSecret {
    fn of(members: OneSecret) -> Result<Self, BadCall> {
        let reference = members.secret_id.ok_or(BadCall::Missing("secretId"))?;
        check_length("secretId", &reference, ID_CHARS_MAX)?;
        for (member, value, max) in [
            ("versionStage", &members.version_stage, STAGE_CHARS_MAX),
            ("versionId", &members.version_id, VERSION_CHARS_MAX),
        ] {
            value.as_ref().map_or(Ok(()), |value| check_length(member, value, max))?;
        }
        Ok(Self { reference, stage: members.version_stage, version: members.version_id })
    }

    /// Returns the secret, version and field that a call of the AWS API asks for.
    ///
    /// # Errors
    ///
    /// Fails if the name or ARN of the secret is not valid. Also fails if the call gives the
    /// version twice: together with the name or ARN, and in a separate parameter.
    pub(crate) fn parse_reference(&self) -> Result<BorrowedReference<'_>, BadReference> {
        let separate = SeparateParts {
            stage: self.stage.as_deref(),
            version: self.version.as_deref(),
            field: None,
            ..SeparateParts::default()
        };
        BorrowedReference::parse(&self.reference, separate)
    }
}

fn batch(members: ManySecrets) -> Result<Vec<String>, BadCall> {
    let ids = match (members.secret_id_list, members.filters) {
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

/// Parses the JSON body of a call of the AWS API. An empty body counts as the empty object `{}`.
fn members<'a, T: Default + Deserialize<'a>>(body: &'a [u8]) -> Result<T, BadCall> {
    if body.is_empty() {
        return Ok(T::default());
    }
    // Without this check, `serde` would also accept a JSON list of the members' values.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(BadCall::Shape { line: 1, column: 1 });
    }
    // Only the position of the error is returned. The text of the parser's error may quote the
    // body, which may contain a secret.
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
    use hyper::HeaderMap;
    use proptest::prelude::*;

    #[track_caller]
    fn of(target: Option<&str>, expected: Result<Operation, BadCall>) {
        let mut headers = HeaderMap::new();
        if let Some(target) = target {
            headers.insert(TARGET, target.parse().expect("the target is a valid header value"));
        }
        assert_eq!(Operation::of(&headers), expected, "{target:?}");
    }

    #[test]
    fn operations_are_recognised_by_header() {
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
        let Ok(Call::Get(secret)) = Operation::GetSecretValue.parse(body.as_bytes()) else {
            panic!("the body {body} must be a valid call");
        };
        let selector = Selector::new(stage, version);
        assert_eq!(
            secret.parse_reference(),
            Ok(BorrowedReference { id, selector, field }),
            "{body}"
        );
    }

    #[test]
    fn unknown_members_are_ignored() {
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
        let secret = RequestedSecret { reference: "a".to_owned(), ..RequestedSecret::default() };
        assert_eq!(described, Ok(Call::Describe(secret)));
    }

    #[track_caller]
    fn refused(operation: Operation, body: &str, kind: &str, words: &str) {
        let bad = operation.parse(body.as_bytes()).expect_err("the call must not be valid");
        assert_eq!(bad.kind(), kind, "{body}");
        assert!(bad.to_string().contains(words), "{bad}");
        assert!(!bad.to_string().contains("hunter2"), "{bad}");
    }

    #[test]
    fn bad_calls_get_error_messages_of_aws_and_no_quotes() {
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
        get(
            r#"{"SecretId":"hunter2""#,
            "SerializationException",
            "not valid JSON: error at line 1, column 21",
        );
        get("hunter2", "SerializationException", "line 1, column 1");
        get(
            r#""hunter2""#,
            "SerializationException",
            "does not have the structure of this operation",
        );
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
        fn for_any_body_a_call_keeps_its_bounds_and_no_error_quotes_it(
            body in prop_oneof![mangled(GET), mangled(BATCH), json().prop_map(|json| json.to_string())],
        ) {
            for operation in
                [Operation::GetSecretValue, Operation::DescribeSecret, Operation::BatchGetSecretValue]
            {
                match operation.parse(body.as_bytes()) {
                    Ok(Call::Get(secret) | Call::Describe(secret)) => {
                        let chars = |text: &str| text.chars().count();
                        prop_assert!((1..=ID_CHARS_MAX).contains(&chars(&secret.reference)));
                        for (given, max) in
                            [(&secret.stage, STAGE_CHARS_MAX), (&secret.version, VERSION_CHARS_MAX)]
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
        fn for_any_bytes_a_body_is_parsed_or_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Operation::GetSecretValue.parse(&body);
            let _ = Operation::BatchGetSecretValue.parse(&body);
        }

        #[test]
        fn for_any_members_a_call_is_parsed_back(id in text(), stage in text()) {
            let body = serde_json::json!({"SecretId": id, "VersionStage": stage}).to_string();
            match Operation::GetSecretValue.parse(body.as_bytes()) {
                Ok(Call::Get(secret)) => {
                    prop_assert_eq!(secret, RequestedSecret { reference: id, stage: Some(stage), version: None });
                }
                other => prop_assert!(id.is_empty() || stage.is_empty(), "{other:?}"),
            }
        }
    }
}
