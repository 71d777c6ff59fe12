//! `BatchGetSecretValue`.

use super::list::{Filter, Page};
use super::{Answer, Api};
use crate::source::double::error::AwsError;
use crate::source::double::operation::Operation;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many secrets one batch may ask for, and the size of a page where filters choose.
///
/// Source: `SecretIdListType` in AWS's API reference.
const BATCH_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchGetSecretValue {
    secret_id_list: Option<Vec<String>>,
    filters: Option<Vec<Filter>>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

impl Api<'_> {
    pub(super) fn batch_get_secret_value(&self, asked: BatchGetSecretValue) -> Answer {
        match (asked.secret_id_list, asked.filters) {
            (Some(ids), None) => {
                if asked.max_results.is_some() {
                    return Err(AwsError::parameter(
                        "'Filters' not specified. 'Filters' must also be specified when \
                         'MaxResults' is provided.",
                    ));
                }
                check_size(&ids)?;
                self.values(&ids).map(|answer| json!(answer))
            }
            (None, Some(filters)) => {
                self.policy.check(Operation::ListSecrets, self.store.home())?;
                let found = self.matching(&filters, false)?;
                let page = Page::new(asked.next_token.as_deref(), asked.max_results, BATCH_MAX)?;
                let (found, next) = page.cut(&found);
                let ids: Vec<String> = found.iter().map(|secret| secret.arn.clone()).collect();
                let mut answer = self.values(&ids)?;
                answer.extend(next.map(|token| ("NextToken", Value::from(token))));
                Ok(json!(answer))
            }
            _ => Err(AwsError::parameter(
                "Either 'SecretIdList' or 'Filters' must be provided, but not both.",
            )),
        }
    }

    /// Reads the current version of each secret. What fails for one secret is told beside the
    /// others' values, unless the policy says otherwise.
    fn values(&self, ids: &[String]) -> Result<BTreeMap<&'static str, Value>, AwsError> {
        // By ARN and each secret once, not in the order of the request: AWS promises no order, and
        // a reader that relies on one should fail here and not there.
        let mut values = BTreeMap::new();
        let mut errors = Vec::new();
        for id in ids {
            match self.value(id, None, None) {
                Ok(value) => {
                    values.insert(value["ARN"].to_string(), value);
                }
                Err(denied)
                    if denied.kind == "AccessDeniedException" && self.policy.fails_batches() =>
                {
                    return Err(denied);
                }
                Err(error) => errors.push(json!({
                    "SecretId": id,
                    "ErrorCode": error.kind,
                    "Message": error.message,
                })),
            }
        }
        let values: Vec<Value> = values.into_values().collect();
        Ok(BTreeMap::from([("SecretValues", json!(values)), ("Errors", json!(errors))]))
    }
}

fn check_size(ids: &[String]) -> Result<(), AwsError> {
    let constraint = match ids.len() {
        0 => "have length greater than or equal to 1",
        1..=BATCH_MAX => return Ok(()),
        _ => "have length less than or equal to 20",
    };
    let value = format!("'[{}]'", ids.join(", "));
    Err(AwsError::constraint("secretIdList", Some(&value), constraint))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Account;
    use super::*;

    /// Asks for a batch and returns the values' texts and the errors' ids and codes.
    #[track_caller]
    fn ask(account: &mut Account, body: Value) -> (Vec<String>, Vec<(String, String)>) {
        let answer = account.ask(Operation::BatchGetSecretValue, body);
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let list = |key: &str| answer[key].as_array().expect("a list").clone();
        let mut values: Vec<_> =
            list("SecretValues").iter().map(|it| text(&it["SecretString"])).collect();
        values.sort();
        let errors = list("Errors");
        let errors = errors.iter().map(|it| (text(&it["SecretId"]), text(&it["ErrorCode"])));
        (values, errors.collect())
    }

    #[test]
    fn errors_stand_beside_values() {
        let mut account = Account::with(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        account.ask(Operation::DeleteSecret, json!({ "SecretId": "b" }));
        account.policy.deny_secret("c", true);
        account.policy.break_key("d", true);
        let ids = ["a", "b", "c", "d", "e"];
        let (values, errors) = ask(&mut account, json!({ "SecretIdList": ids }));
        assert_eq!(values, ["1"]);
        let expected = [
            ("b", "InvalidRequestException"),
            ("c", "AccessDeniedException"),
            ("d", "DecryptionFailure"),
            ("e", "ResourceNotFoundException"),
        ];
        assert_eq!(errors, expected.map(|(id, code)| (id.to_owned(), code.to_owned())));
    }

    #[test]
    fn one_denied_secret_can_fail_the_batch() {
        let mut account = Account::with(&[("a", "1"), ("c", "3")]);
        account.policy.deny_secret("c", true);
        account.policy.batch_fails_on_denied(true);
        let body = json!({ "SecretIdList": ["a", "c"] });
        let (kind, _) = account.refused(Operation::BatchGetSecretValue, body);
        assert_eq!(kind, "AccessDeniedException");
        let body = json!({ "SecretIdList": ["a"] });
        assert_eq!(ask(&mut account, body).0, ["1"]);
    }

    #[test]
    fn a_role_that_may_not_read_single_secrets_gets_errors_for_each() {
        let mut account = Account::with(&[("a", "1")]);
        account.policy.deny_operation(Operation::GetSecretValue, true);
        let (values, errors) = ask(&mut account, json!({ "SecretIdList": ["a"] }));
        assert!(values.is_empty());
        assert_eq!(errors, [("a".to_owned(), "AccessDeniedException".to_owned())]);
    }

    #[test]
    fn a_secret_that_is_named_twice_comes_once() {
        let mut account = Account::with(&[("a", "1")]);
        let arn = account.store.find("a").expect("a").arn.clone();
        let (values, _) = ask(&mut account, json!({ "SecretIdList": ["a", arn] }));
        assert_eq!(values, ["1"]);
    }

    #[test]
    fn filters_choose_by_prefix_page_by_page() {
        let mut account = Account::with(&[("app/a", "1"), ("app/b", "2"), ("other", "3")]);
        let filters = json!([{ "Key": "name", "Values": ["app/"] }]);
        let (values, _) = ask(&mut account, json!({ "Filters": filters }));
        assert_eq!(values, ["1", "2"]);

        let body = json!({ "Filters": filters, "MaxResults": 1 });
        let first = account.ask(Operation::BatchGetSecretValue, body);
        assert_eq!(first["SecretValues"][0]["Name"], "app/a");
        let body = json!({ "Filters": filters, "MaxResults": 1, "NextToken": first["NextToken"] });
        let second = account.ask(Operation::BatchGetSecretValue, body);
        assert_eq!(second["SecretValues"][0]["Name"], "app/b");
        assert_eq!(second.get("NextToken"), None);
    }

    #[test]
    fn batches_that_are_refused() {
        let mut account = Account::with(&[]);
        let mut check = |body: Value, kind: &str| {
            assert_eq!(account.refused(Operation::BatchGetSecretValue, body).0, kind);
        };
        let ids = |count: usize| (0..count).map(|id| format!("s{id}")).collect::<Vec<_>>();
        check(json!({ "SecretIdList": ids(21) }), "ValidationException");
        check(json!({ "SecretIdList": [] }), "ValidationException");
        check(json!({}), "InvalidParameterException");
        check(json!({ "SecretIdList": ["a"], "Filters": [] }), "InvalidParameterException");
        check(json!({ "SecretIdList": ["a"], "MaxResults": 3 }), "InvalidParameterException");
        let filters = json!([{ "Key": "tag-key", "Values": ["app"] }]);
        check(json!({ "Filters": filters }), "InvalidParameterException");
        let filters = json!([{ "Key": "name", "Values": ["app"] }]);
        check(json!({ "Filters": filters, "NextToken": "?" }), "InvalidNextTokenException");
    }
}
