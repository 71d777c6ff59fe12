//! The operations of Secrets Manager, and the bodies of requests to it.

use crate::source::BATCH_MAX;
use serde::Serialize;

/// The maximum number of secrets on one page of `ListSecrets`.
///
/// Source: `MaxResults` of `ListSecrets` in AWS's API reference.
const LIST_PAGE_MAX: usize = 100;

/// The maximum size, in bytes, of a response that contains the value of one secret. This is about
/// twice the size of the largest possible value: 65,536 bytes, which JSON escapes make up to six
/// times as long.
const VALUE_BYTES_MAX: usize = 768 * 1024;

/// The maximum size of a response of `ListSecrets` in bytes. The response contains no values, but
/// up to 100 secrets, each with a description of up to 2 KB and up to 50 tags of up to 384
/// characters.
const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    BatchGet,
    Describe,
    List,
}

impl Operation {
    /// Returns the value of the HTTP header `X-Amz-Target`, which names the operation.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Get => "secretsmanager.GetSecretValue",
            Self::BatchGet => "secretsmanager.BatchGetSecretValue",
            Self::Describe => "secretsmanager.DescribeSecret",
            Self::List => "secretsmanager.ListSecrets",
        }
    }

    /// Returns the maximum size of a response in bytes.
    pub(super) fn response_bytes_max(self) -> usize {
        match self {
            Self::Get | Self::Describe => VALUE_BYTES_MAX,
            Self::BatchGet => BATCH_MAX * VALUE_BYTES_MAX,
            Self::List => LIST_BYTES_MAX,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Get<'a> {
    pub(super) secret_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version_stage: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Describe<'a> {
    pub(super) secret_id: &'a str,
}

/// Asks for the values of secrets: either of the secrets in `secret_id_list`, or of the secrets
/// that meet all `filters`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchGet<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secret_id_list: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Filter<'a>>,
    /// The maximum number of secrets on one page. AWS accepts this field only with filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_results: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<&'a str>,
}

/// Asks for the names and tags of the secrets that meet all `filters`, but not for their values.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List<'a> {
    max_results: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Filter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Filter<'a> {
    key: &'static str,
    values: [&'a str; 1],
}

impl<'a> BatchGet<'a> {
    pub(super) fn of_ids(ids: Vec<&'a str>) -> Self {
        Self { secret_id_list: ids, filters: Vec::new(), max_results: None, next_token: None }
    }

    /// `page` is the token of the requested page, from the previous response, or `None` for the
    /// first page.
    pub(super) fn of_filter(filter: Filter<'a>, page: Option<&'a str>) -> Self {
        Self {
            secret_id_list: Vec::new(),
            filters: vec![filter],
            max_results: Some(BATCH_MAX),
            next_token: page,
        }
    }
}

impl<'a> List<'a> {
    /// `page` is the token of the requested page, from the previous response, or `None` for the
    /// first page.
    pub(super) fn new(filters: Vec<Filter<'a>>, page: Option<&'a str>) -> Self {
        Self { max_results: LIST_PAGE_MAX, filters, next_token: page }
    }
}

impl<'a> Filter<'a> {
    pub(super) fn new(key: &'static str, value: &'a str) -> Self {
        Self { key, values: [value] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &impl Serialize, expected: &str) {
        let json = serde_json::to_string(body).expect("the body must be serialisable to JSON");
        assert_eq!(json, expected);
    }

    #[test]
    fn bodies_are_those_of_the_aws_api() {
        let get = Get { secret_id: "app/db", version_id: None, version_stage: None };
        check(&get, r#"{"SecretId":"app/db"}"#);
        let get = Get { version_id: Some("v1"), version_stage: Some("AWSPREVIOUS"), ..get };
        check(&get, r#"{"SecretId":"app/db","VersionId":"v1","VersionStage":"AWSPREVIOUS"}"#);
        check(&Describe { secret_id: "app/db" }, r#"{"SecretId":"app/db"}"#);
        check(&BatchGet::of_ids(vec!["a", "b"]), r#"{"SecretIdList":["a","b"]}"#);
        check(
            &BatchGet::of_filter(Filter::new("name", "app/"), Some("t")),
            r#"{"Filters":[{"Key":"name","Values":["app/"]}],"MaxResults":20,"NextToken":"t"}"#,
        );
        check(&List::new(Vec::new(), None), r#"{"MaxResults":100}"#);
        let filters = vec![Filter::new("tag-key", "channel"), Filter::new("tag-value", "sms")];
        check(
            &List::new(filters, Some("t")),
            r#"{"MaxResults":100,"Filters":[{"Key":"tag-key","Values":["channel"]},{"Key":"tag-value","Values":["sms"]}],"NextToken":"t"}"#,
        );
    }
}
