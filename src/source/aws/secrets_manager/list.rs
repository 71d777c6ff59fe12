//! Calls `ListSecrets` without the AWS SDK, whose code for this operation would make the Lambda layer
//! 1 % larger.

use super::SecretsManager;
use crate::secret::service::Service;
use crate::source::FetchError;
use crate::source::aws::json_client::Destination;
use crate::source::aws::{json_request, json_response};
use serde::{Deserialize, Serialize};

/// The value of the HTTP header `X-Amz-Target`, which names the operation.
const TARGET: &str = "secretsmanager.ListSecrets";

/// The maximum number of secrets on one page.
///
/// Source: `MaxResults` of `ListSecrets` in AWS's API reference.
const PAGE_MAX: usize = 100;

/// The maximum size of a response in bytes. A response has no values, but each secret can have a
/// description of 2 KB and 50 tags of up to 384 characters.
const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request<'a> {
    max_results: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Filter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<&'a str>,
}

/// A condition for the secrets in the answer. AWS returns the secrets that meet all conditions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Filter<'a> {
    key: &'static str,
    values: [&'a str; 1],
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Response {
    #[serde(default)]
    pub(super) secret_list: Vec<Secret>,
    /// The token for requesting the next page. `None` or empty if this page is the last.
    pub(super) next_token: Option<Box<str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Secret {
    pub(super) name: Option<Box<str>>,
    pub(super) tags: Option<Vec<Tag>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

impl<'a> Request<'a> {
    pub(super) fn new(filters: Vec<Filter<'a>>, page: Option<&'a str>) -> Self {
        Self { max_results: PAGE_MAX, filters, next_token: page }
    }
}

impl<'a> Filter<'a> {
    pub(super) fn new(key: &'static str, value: &'a str) -> Self {
        Self { key, values: [value] }
    }
}

impl SecretsManager {
    /// Calls `ListSecrets` in the agent's own region.
    pub(super) async fn list_secrets(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        let region = &*self.account.region;
        let url = self.clients.url(region);
        let destination = Destination { region, url: &url, bytes_max: RESPONSE_BYTES_MAX };
        let body = self.json.call(json_request::Request::new(TARGET, request), destination).await?;
        json_response::parsed(&body, Service::SecretsManager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_that_of_the_aws_api() {
        let json = |request: &Request<'_>| {
            serde_json::to_string(request).expect("the request can be written as JSON")
        };
        assert_eq!(json(&Request::new(Vec::new(), None)), r#"{"MaxResults":100}"#);
        let filters = vec![Filter::new("tag-key", "channel"), Filter::new("tag-value", "sms")];
        assert_eq!(
            json(&Request::new(filters, Some("t"))),
            r#"{"MaxResults":100,"Filters":[{"Key":"tag-key","Values":["channel"]},{"Key":"tag-value","Values":["sms"]}],"NextToken":"t"}"#
        );
    }

    #[test]
    fn names_and_tags_are_read() {
        let response = r#"{"SecretList":[{"ARN":"a","Name":"app/db","CreatedDate":1.5,
            "Tags":[{"Key":"channel","Value":"sms"}]},{"Name":"b","Tags":null},{}]}"#;
        let response: Response = serde_json::from_str(response).expect("the response is valid");
        let names: Vec<_> = response.secret_list.iter().map(|own| own.name.as_deref()).collect();
        assert_eq!(names, [Some("app/db"), Some("b"), None]);
        let tags = response.secret_list[0].tags.as_ref().expect("the secret has tags");
        assert_eq!(tags[0].value.as_deref(), Some("sms"));
        assert_eq!(response.next_token, None);
    }
}
