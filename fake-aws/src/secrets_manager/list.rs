//! The operation `ListSecrets`, and the filters that `BatchGetSecretValue` uses as well.

use super::context::Context;
use super::error;
use super::read::metadata;
use super::secret::Secret;
use crate::aws_json::Response;
use crate::error::AwsError;
use crate::page::Page;
use serde::Deserialize;
use serde_json::{Value, json};

/// The maximum number of secrets on one page of a `ListSecrets` response.
///
/// Source: `MaxResultsType` in AWS's API reference.
const LIST_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListSecrets {
    filters: Option<Vec<Filter>>,
    include_planned_deletion: Option<bool>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// A filter in a request: a condition on one property of secrets. If a request has several filters,
/// a secret must satisfy all of them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Filter {
    key: String,
    values: Vec<String>,
}

/// The maximum number of filters in a request, and of values in a filter.
///
/// Source: `FiltersListType` and `FilterValuesStringList` in AWS's API reference.
const FILTERS_MAX: usize = 10;

/// The keys of the filters that the fake AWS server supports.
const FILTER_KEYS: [&str; 4] = ["name", "description", "tag-key", "tag-value"];

impl Filter {
    /// Returns whether one of the filter's values matches the secret. A value matches every name,
    /// tag key, tag value or description that starts with the value. Only descriptions are compared
    /// without regard to case.
    ///
    /// A value `!prefix` matches every secret that the value `prefix` does not match.
    ///
    /// Source: the page of the operation `ListSecrets` in AWS's API reference.
    fn matches(&self, secret: &Secret) -> bool {
        self.values.iter().any(|value| match value.strip_prefix('!') {
            Some(prefix) => !self.has_prefix(secret, prefix),
            None => self.has_prefix(secret, value),
        })
    }

    fn has_prefix(&self, secret: &Secret, prefix: &str) -> bool {
        match self.key.as_str() {
            "name" => secret.name.starts_with(prefix),
            "tag-key" => secret.tags.keys().any(|key| key.starts_with(prefix)),
            "tag-value" => secret.tags.values().any(|value| value.starts_with(prefix)),
            _ => {
                let description = secret.description.as_deref().unwrap_or_default();
                description.to_lowercase().starts_with(&prefix.to_lowercase())
            }
        }
    }

    fn check(&self) -> Result<(), AwsError> {
        if !FILTER_KEYS.contains(&self.key.as_str()) {
            return Err(AwsError::invalid_parameter(format!(
                "The fake AWS server supports only filters with the keys {}, but the request has a \
                 filter with the key `{}`.",
                FILTER_KEYS.map(|key| format!("`{key}`")).join(", "),
                self.key
            )));
        }
        if !(1..=FILTERS_MAX).contains(&self.values.len()) {
            let value = format!("'[{}]'", self.values.join(", "));
            let constraint = "Member must have length between 1 and 10";
            return Err(AwsError::broken_constraint("filters.values", Some(&value), constraint));
        }
        Ok(())
    }
}

impl Context<'_> {
    pub(crate) fn list_secrets(&self, request: ListSecrets) -> Response {
        let filters = request.filters.unwrap_or_default();
        let includes_deleted = request.include_planned_deletion.unwrap_or(false);
        let all = self.matching_secrets(&filters, includes_deleted)?;
        let token = request.next_token.as_deref();
        let page = Page::new(token, request.max_results, LIST_MAX, error::invalid_next_token)?;
        let (secrets, next_token) = page.slice(&all);
        let list: Vec<Value> = secrets
            .iter()
            .map(|secret| Value::Object(metadata(secret, "SecretVersionsToStages")))
            .collect();
        let mut response = json!({ "SecretList": list });
        if let Some(token) = next_token {
            response["NextToken"] = Value::from(token);
        }
        Ok(response)
    }

    /// Returns the secrets that satisfy all filters, sorted by name. Only secrets in the default
    /// account and region of the fake AWS server are returned.
    pub(crate) fn matching_secrets(
        &self,
        filters: &[Filter],
        includes_deleted: bool,
    ) -> Result<Vec<&Secret>, AwsError> {
        if filters.len() > FILTERS_MAX {
            let constraint = "Member must have length less than or equal to 10";
            return Err(AwsError::broken_constraint("filters", None, constraint));
        }
        filters.iter().try_for_each(Filter::check)?;
        Ok(self
            .store
            .home_secrets()
            .filter(|secret| includes_deleted || secret.deletion.is_none())
            .filter(|secret| filters.iter().all(|filter| filter.matches(secret)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Operation;
    use crate::secrets_manager::tests::Account;

    #[track_caller]
    fn names(account: &mut Account, body: Value) -> Vec<String> {
        let answer = account.call(Operation::ListSecrets, body);
        let list = answer["SecretList"].as_array().expect("the member `SecretList` must be a list");
        list.iter()
            .map(|it| {
                it["Name"]
                    .as_str()
                    .expect("each secret in the response must have a name")
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn list_contains_no_values() {
        let mut account = Account::with(&[("a", "hunter2")]);
        let answer = account.call(Operation::ListSecrets, json!({}));
        assert!(!answer.to_string().contains("hunter2"));
        let stages = &answer["SecretList"][0]["SecretVersionsToStages"];
        assert_eq!(
            stages.as_object().expect("the staging labels of versions must be a JSON object").len(),
            1
        );
    }

    #[test]
    fn list_is_read_page_by_page() {
        let mut account = Account::with(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let first = account.call(Operation::ListSecrets, json!({ "MaxResults": 2 }));
        assert_eq!(first["SecretList"].as_array().map(Vec::len), Some(2));
        let body = json!({ "MaxResults": 2, "NextToken": first["NextToken"] });
        assert_eq!(names(&mut account, body), ["c"]);
    }

    #[test]
    fn filters_match_by_name_prefix() {
        let mut account = Account::with(&[("app/a", "1"), ("app/b", "2"), ("other", "3")]);
        let filter = |values: Value| json!({ "Filters": [{ "Key": "name", "Values": values }] });
        assert_eq!(names(&mut account, filter(json!(["app/"]))), ["app/a", "app/b"]);
        assert_eq!(names(&mut account, filter(json!(["!app/"]))), ["other"]);
        assert_eq!(names(&mut account, filter(json!(["app/b", "o"]))), ["app/b", "other"]);
    }

    #[test]
    fn filters_match_by_the_beginnings_of_tags() {
        let mut account = Account::with(&[]);
        for (name, tags) in [
            ("a", json!([{ "Key": "channel", "Value": "whatsapp" }])),
            ("b", json!([{ "Key": "channel-id", "Value": "whatsapp-2" }, { "Key": "team" }])),
            ("c", json!([{ "Key": "team", "Value": "whatsapp" }])),
        ] {
            let body = json!({ "Name": name, "SecretString": "1", "Tags": tags });
            account.call(Operation::CreateSecret, body);
        }
        let mut check = |filters: &[(&str, &str)], expected: &[&str]| {
            let filters: Vec<Value> = filters
                .iter()
                .map(|(key, value)| json!({ "Key": key, "Values": [value] }))
                .collect();
            assert_eq!(names(&mut account, json!({ "Filters": filters })), expected);
        };
        check(&[("tag-key", "channel")], &["a", "b"]);
        check(&[("tag-key", "Channel")], &[]);
        check(&[("tag-key", "!channel")], &["c"]);
        check(&[("tag-key", "team"), ("tag-value", "whatsapp")], &["b", "c"]);
        check(&[("tag-value", "")], &["a", "b", "c"]);
        check(&[("description", "x")], &[]);
        let answer = account.call(Operation::ListSecrets, json!({}));
        let expected = json!([{ "Key": "channel", "Value": "whatsapp" }]);
        assert_eq!(answer["SecretList"][0]["Tags"], expected);
    }

    #[test]
    fn secrets_scheduled_for_deletion_are_listed_on_request() {
        let mut account = Account::with(&[("a", "1"), ("b", "2")]);
        account.call(Operation::DeleteSecret, json!({ "SecretId": "a" }));
        assert_eq!(names(&mut account, json!({})), ["b"]);
        assert_eq!(names(&mut account, json!({ "IncludePlannedDeletion": true })), ["a", "b"]);
    }

    #[test]
    fn invalid_page_sizes_tokens_and_filters_are_rejected() {
        let mut account = Account::with(&[]);
        let mut check = |body: Value, kind: &str| {
            assert_eq!(account.call_and_fail(Operation::ListSecrets, body).0, kind);
        };
        check(json!({ "MaxResults": 0 }), "ValidationException");
        check(json!({ "MaxResults": 101 }), "ValidationException");
        check(json!({ "NextToken": "AAAA" }), "InvalidNextTokenException");
        let filter = json!({ "Key": "owning-service", "Values": ["a"] });
        check(json!({ "Filters": [filter] }), "InvalidParameterException");
        let filter = json!({ "Key": "name", "Values": [] });
        check(json!({ "Filters": [filter] }), "ValidationException");
    }
}
