//! `ListSecrets`, and the filters and pages that a batch has too.

use super::read::description;
use super::{Answer, Api};
use crate::source::double::error::AwsError;
use crate::source::double::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

/// How many secrets one page of a list has at most.
///
/// Source: `MaxResultsType` in AWS's API reference.
const LIST_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecrets {
    filters: Option<Vec<Filter>>,
    include_planned_deletion: Option<bool>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// One condition on secrets. All of a request's have to hold.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Filter {
    key: String,
    values: Vec<String>,
}

impl Filter {
    /// Says whether a secret's name starts with one of the values; `!` turns a value around.
    fn admits(&self, secret: &Secret) -> bool {
        self.values.iter().any(|value| match value.strip_prefix('!') {
            Some(prefix) => !secret.name.starts_with(prefix),
            None => secret.name.starts_with(value.as_str()),
        })
    }
}

impl Api<'_> {
    pub(super) fn list_secrets(&self, asked: ListSecrets) -> Answer {
        let filters = asked.filters.unwrap_or_default();
        let found = self.matching(&filters, asked.include_planned_deletion.unwrap_or(false))?;
        let page = Page::new(asked.next_token.as_deref(), asked.max_results, LIST_MAX)?;
        let (found, next) = page.cut(&found);
        let list: Vec<Value> = found
            .iter()
            .map(|secret| Value::Object(description(secret, "SecretVersionsToStages")))
            .collect();
        let mut answer = json!({ "SecretList": list });
        if let Some(token) = next {
            answer["NextToken"] = Value::from(token);
        }
        Ok(answer)
    }

    /// Returns the secrets at home that all filters admit, by name.
    pub(super) fn matching(
        &self,
        filters: &[Filter],
        with_deleted: bool,
    ) -> Result<Vec<&Secret>, AwsError> {
        if let Some(filter) = filters.iter().find(|filter| filter.key != "name") {
            return Err(AwsError::parameter(format!(
                "This double of Secrets Manager filters by name alone, not by {}.",
                filter.key
            )));
        }
        Ok(self
            .store
            .at_home()
            .filter(|secret| with_deleted || secret.deletion.is_none())
            .filter(|secret| filters.iter().all(|filter| filter.admits(secret)))
            .collect())
    }
}

/// A part of a list.
pub(super) struct Page {
    start: usize,
    size: usize,
}

impl Page {
    /// Reads which page is asked for. A token is the place where its page starts.
    pub(super) fn new(
        token: Option<&str>,
        size: Option<usize>,
        size_max: usize,
    ) -> Result<Self, AwsError> {
        let size = size.unwrap_or(size_max);
        if !(1..=size_max).contains(&size) {
            let constraint = format!("have value between 1 and {size_max}");
            return Err(AwsError::constraint("maxResults", Some(&size.to_string()), &constraint));
        }
        let start = match token {
            None => 0,
            Some(token) => start_of(token).ok_or_else(|| {
                AwsError::new("InvalidNextTokenException", "The NextToken value is invalid.")
            })?,
        };
        Ok(Self { start, size })
    }

    /// Returns this page of `items`, and the token of the next page if there is one.
    pub(super) fn cut<'i, T>(&self, items: &'i [T]) -> (&'i [T], Option<String>) {
        let start = self.start.min(items.len());
        let end = start.saturating_add(self.size).min(items.len());
        let next = (end < items.len()).then(|| STANDARD.encode(format!("start:{end}")));
        (&items[start..end], next)
    }
}

fn start_of(token: &str) -> Option<usize> {
    let bytes = STANDARD.decode(token).ok()?;
    std::str::from_utf8(&bytes).ok()?.strip_prefix("start:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Account;
    use super::*;
    use crate::source::double::operation::Operation;

    #[track_caller]
    fn names(account: &mut Account, body: Value) -> Vec<String> {
        let answer = account.ask(Operation::ListSecrets, body);
        let list = answer["SecretList"].as_array().expect("a list");
        list.iter().map(|it| it["Name"].as_str().expect("a name").to_owned()).collect()
    }

    #[test]
    fn a_list_has_no_values() {
        let mut account = Account::with(&[("a", "hunter2")]);
        let answer = account.ask(Operation::ListSecrets, json!({}));
        assert!(!answer.to_string().contains("hunter2"));
        let stages = &answer["SecretList"][0]["SecretVersionsToStages"];
        assert_eq!(stages.as_object().expect("an object").len(), 1);
    }

    #[test]
    fn a_list_is_read_page_by_page() {
        let mut account = Account::with(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let first = account.ask(Operation::ListSecrets, json!({ "MaxResults": 2 }));
        assert_eq!(first["SecretList"].as_array().map(Vec::len), Some(2));
        let body = json!({ "MaxResults": 2, "NextToken": first["NextToken"] });
        assert_eq!(names(&mut account, body), ["c"]);
    }

    #[test]
    fn filters_admit_by_prefix() {
        let mut account = Account::with(&[("app/a", "1"), ("app/b", "2"), ("other", "3")]);
        let filter = |values: Value| json!({ "Filters": [{ "Key": "name", "Values": values }] });
        assert_eq!(names(&mut account, filter(json!(["app/"]))), ["app/a", "app/b"]);
        assert_eq!(names(&mut account, filter(json!(["!app/"]))), ["other"]);
        assert_eq!(names(&mut account, filter(json!(["app/b", "o"]))), ["app/b", "other"]);
    }

    #[test]
    fn marked_secrets_are_listed_on_request() {
        let mut account = Account::with(&[("a", "1"), ("b", "2")]);
        account.ask(Operation::DeleteSecret, json!({ "SecretId": "a" }));
        assert_eq!(names(&mut account, json!({})), ["b"]);
        assert_eq!(names(&mut account, json!({ "IncludePlannedDeletion": true })), ["a", "b"]);
    }

    #[test]
    fn pages_that_are_refused() {
        let mut account = Account::with(&[]);
        let mut check = |body: Value, kind: &str| {
            assert_eq!(account.refused(Operation::ListSecrets, body).0, kind);
        };
        check(json!({ "MaxResults": 0 }), "ValidationException");
        check(json!({ "MaxResults": 101 }), "ValidationException");
        check(json!({ "NextToken": "AAAA" }), "InvalidNextTokenException");
    }
}
