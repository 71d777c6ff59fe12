//! The operation `GetParametersByPath`, with its filters.

use super::context::Context;
use super::error;
use super::parameter::{Parameter, Version};
use super::parameter_id::PUBLIC_PREFIX;
use crate::aws_json::{Response, required};
use crate::error::AwsError;
use crate::operation::Operation;
use crate::page::Page;
use serde::Deserialize;
use serde_json::{Value, json};

/// The maximum number of parameters on one page.
///
/// Source: `GetParametersByPathMaxResults` in AWS's API reference.
const PAGE_MAX: usize = 10;

/// The id of the KMS key of every `SecureString` of the fake AWS server. Requests can filter
/// parameters by this id.
const KEY_ID: &str = "alias/aws/ssm";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetParametersByPath {
    path: Option<String>,
    recursive: Option<bool>,
    parameter_filters: Option<Vec<Filter>>,
    with_decryption: Option<bool>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// A filter in a request: a condition on one property of parameters. If a request has several
/// filters, a parameter must satisfy all of them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Filter {
    key: String,
    option: Option<String>,
    values: Option<Vec<String>>,
}

impl Context<'_> {
    pub(crate) fn get_parameters_by_path(&self, request: GetParametersByPath) -> Response {
        let path = required("path", request.path)?;
        check_path(&path)?;
        let filters = request.parameter_filters.unwrap_or_default();
        filters.iter().try_for_each(Filter::check)?;
        let token = request.next_token.as_deref();
        let page = Page::new(token, request.max_results, PAGE_MAX, error::invalid_next_token)?;
        self.check_permission(Operation::GetParametersByPath, &path)?;

        let is_recursive = request.recursive.unwrap_or(false);
        let matching: Vec<(&Parameter, &Version)> = self
            .store
            .home_parameters()
            .filter(|parameter| is_under(&parameter.name, &path, is_recursive))
            .filter_map(|parameter| Some((parameter, matching_version(parameter, &filters)?)))
            .collect();
        let (listed, next_token) = page.slice(&matching);
        let decrypts = request.with_decryption.unwrap_or(false);
        let entries: Result<Vec<Value>, AwsError> = listed
            .iter()
            .map(|(parameter, version)| self.entry(parameter, version, decrypts))
            .collect();
        let mut response = json!({ "Parameters": entries? });
        if let Some(token) = next_token {
            response["NextToken"] = Value::from(token);
        }
        Ok(response)
    }
}

/// Returns whether the parameter `name` is directly under `path`, or, if `is_recursive` is set, on
/// any level under `path`. Public parameters are not under the path `/`.
fn is_under(name: &str, path: &str, is_recursive: bool) -> bool {
    let path = format!("{}/", path.trim_end_matches('/'));
    if name.starts_with(PUBLIC_PREFIX) && !path.starts_with(PUBLIC_PREFIX) {
        return false;
    }
    let name = format!("/{}", name.trim_start_matches('/'));
    name.strip_prefix(&path).is_some_and(|rest| is_recursive || !rest.contains('/'))
}

/// Returns the version of a parameter that satisfies all filters, or `None`. If a filter asks for a
/// label, this is the version with the label. Otherwise it is the latest version.
fn matching_version<'p>(parameter: &'p Parameter, filters: &[Filter]) -> Option<&'p Version> {
    let mut version = parameter.latest();
    for label_filter in filters.iter().filter(|filter| filter.key == "Label") {
        version = label_filter.values().find_map(|label| parameter.version_with_label(label))?;
    }
    filters.iter().all(|filter| filter.matches(version)).then_some(version)
}

impl Filter {
    /// Returns AWS's error if this filter is not allowed in `GetParametersByPath`.
    fn check(&self) -> Result<(), AwsError> {
        if !["KeyId", "Label", "Type"].contains(&self.key.as_str()) {
            return Err(AwsError::new(
                "InvalidFilterKey",
                format!(
                    "The following filter key is not valid: {}. Valid filter keys include: [Type, \
                     KeyId, Label].",
                    self.key
                ),
            ));
        }
        let allowed: &[&str] =
            if self.key == "Label" { &["Equals"] } else { &["Equals", "BeginsWith"] };
        let option = self.option();
        if !allowed.contains(&option) {
            return Err(AwsError::new(
                "InvalidFilterOption",
                format!(
                    "The following filter option is not valid: {option}. Valid options include: \
                     [{}].",
                    allowed.join(", ")
                ),
            ));
        }
        if self.values().next().is_none() {
            return Err(AwsError::new(
                "InvalidFilterValue",
                "The following filter values are missing : null for filter key ".to_owned()
                    + &self.key,
            ));
        }
        Ok(())
    }

    fn option(&self) -> &str {
        self.option.as_deref().unwrap_or("Equals")
    }

    fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().flatten().map(String::as_str)
    }

    fn matches(&self, version: &Version) -> bool {
        let kind = version.content.value.kind().name();
        let found = match self.key.as_str() {
            "Type" => kind,
            "KeyId" if kind == "SecureString" => KEY_ID,
            "KeyId" => return false,
            // The function `matching_version` has already selected the version with the label.
            _ => return true,
        };
        self.values().any(|value| match self.option() {
            "BeginsWith" => found.starts_with(value),
            _ => found == value,
        })
    }
}

fn check_path(path: &str) -> Result<(), AwsError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    if path.starts_with('/') && path.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(AwsError::validation(
        "The parameter doesn't meet the parameter name requirements. The parameter name must begin \
         with a forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" \
         (case-insensitive). It must use only letters, numbers, or the following symbols: . \
         (period), - (hyphen), _ (underscore). Special characters are not allowed. All sub-paths, \
         if specified, must use the forward slash symbol \"/\". Valid example: \
         /get/parameters2-/by1./path0_.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_store::parameter_value::ParameterValue;
    use crate::parameter_store::tests::Account;
    use crate::resource::Resource;

    fn account() -> Account {
        let mut account = Account::default();
        account.put("/app/url", "one");
        account.put("/app/db/user", "ann");
        account.put("/app/db/password", ParameterValue::secure("hunter2"));
        account.put("/apple/url", "two");
        account.put("flat", "three");
        account.put("/aws/service/list/regions", "eu-north-1");
        account
    }

    #[track_caller]
    fn names(account: &mut Account, body: Value) -> Vec<String> {
        let response = account.call(Operation::GetParametersByPath, body);
        let list = response["Parameters"].as_array().expect("`Parameters` must be a list");
        list.iter().filter_map(|it| it["Name"].as_str().map(str::to_owned)).collect()
    }

    #[track_caller]
    fn check(body: Value, expected: &[&str]) {
        assert_eq!(names(&mut account(), body), expected);
    }

    #[test]
    fn path_contains_one_level_or_all_levels() {
        check(json!({ "Path": "/app" }), &["/app/url"]);
        check(json!({ "Path": "/app/" }), &["/app/url"]);
        let all = ["/app/db/password", "/app/db/user", "/app/url"];
        check(json!({ "Path": "/app", "Recursive": true }), &all);
        check(json!({ "Path": "/app/url" }), &[]);
        check(json!({ "Path": "/" }), &["flat"]);
        check(json!({ "Path": "/aws/service/list" }), &["/aws/service/list/regions"]);
        let body = json!({ "Path": "/", "Recursive": true });
        assert_eq!(names(&mut account(), body).len(), 5);
    }

    #[test]
    fn filters_select_types_keys_and_labels() {
        let filtered = |key: &str, option: &str, value: &str| {
            let filter = json!({ "Key": key, "Option": option, "Values": [value] });
            json!({ "Path": "/app", "Recursive": true, "ParameterFilters": [filter] })
        };
        check(filtered("Type", "Equals", "SecureString"), &["/app/db/password"]);
        check(filtered("Type", "BeginsWith", "Str"), &["/app/db/user", "/app/url"]);
        check(filtered("KeyId", "Equals", KEY_ID), &["/app/db/password"]);
        check(filtered("Label", "Equals", "live"), &[]);

        let mut account = account();
        let body = json!({ "Name": "/app/url", "Labels": ["live"] });
        account.call(Operation::LabelParameterVersion, body);
        account.put("/app/url", "newer");
        let body = filtered("Label", "Equals", "live");
        let response = account.call(Operation::GetParametersByPath, body);
        assert_eq!(response["Parameters"][0]["Value"], "one");
    }

    #[test]
    fn long_path_is_read_page_by_page() {
        let mut account = Account::default();
        for number in 10..35 {
            account.put(&format!("/many/{number}"), "x");
        }
        let mut token = Value::Null;
        let mut sizes = Vec::new();
        loop {
            let body = json!({ "Path": "/many", "NextToken": token });
            let response = account.call(Operation::GetParametersByPath, body);
            sizes.push(response["Parameters"].as_array().map_or(0, Vec::len));
            token = response["NextToken"].clone();
            if token.is_null() {
                break;
            }
        }
        assert_eq!(sizes, [10, 10, 5]);
    }

    #[test]
    fn permission_for_the_path_covers_the_parameters_under_it() {
        let mut account = account();
        account.policy.set_denied(Resource::parameter("/app/url"), true);
        assert_eq!(names(&mut account, json!({ "Path": "/app" })), ["/app/url"]);
        account.policy.set_denied(Resource::parameter("/app"), true);
        let body = json!({ "Path": "/app/" });
        let (kind, message) = account.call_and_fail(Operation::GetParametersByPath, body);
        assert_eq!(kind, "AccessDeniedException");
        assert!(message.contains(":123456789012:parameter/app because "), "{message}");
    }

    #[test]
    fn broken_key_fails_the_whole_call() {
        let mut account = account();
        account.policy.set_key_broken(Resource::parameter("/app/db/password"), true);
        let mut body = json!({ "Path": "/app/db" });
        account.call(Operation::GetParametersByPath, body.clone());
        body["WithDecryption"] = json!(true);
        assert_eq!(account.call_and_fail(Operation::GetParametersByPath, body).0, "InvalidKeyId");
    }

    #[test]
    fn invalid_requests_are_rejected() {
        let check = |body: Value, kind: &str| {
            let (found, message) = account().call_and_fail(Operation::GetParametersByPath, body);
            assert_eq!(found, kind, "{message}");
        };
        let filtered = |filter: Value| json!({ "Path": "/app", "ParameterFilters": [filter] });
        check(json!({}), "ValidationException");
        check(json!({ "Path": "app" }), "ValidationException");
        check(json!({ "Path": "/a b" }), "ValidationException");
        check(json!({ "Path": "/app", "MaxResults": 11 }), "ValidationException");
        check(json!({ "Path": "/app", "NextToken": "?" }), "InvalidNextToken");
        check(filtered(json!({ "Key": "Name", "Values": ["x"] })), "InvalidFilterKey");
        let filter = json!({ "Key": "Label", "Option": "BeginsWith", "Values": ["x"] });
        check(filtered(filter), "InvalidFilterOption");
        check(filtered(json!({ "Key": "Type" })), "InvalidFilterValue");
    }
}
