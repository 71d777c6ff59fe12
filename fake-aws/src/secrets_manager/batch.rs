//! The operation `BatchGetSecretValue`.

use super::context::Context;
use super::error;
use super::list::Filter;
use crate::aws_json::Response;
use crate::error::AwsError;
use crate::operation::Operation;
use crate::page::Page;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The maximum number of secrets in one batch request, or on one page if the request has filters.
///
/// Source: `SecretIdListType` in AWS's API reference.
const BATCH_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchGetSecretValue {
    secret_id_list: Option<Vec<String>>,
    filters: Option<Vec<Filter>>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

impl Context<'_> {
    pub(crate) fn batch_get_secret_value(&self, request: BatchGetSecretValue) -> Response {
        match (request.secret_id_list, request.filters) {
            (Some(ids), None) => {
                if request.max_results.is_some() {
                    return Err(AwsError::invalid_parameter(
                        "'Filters' not specified. 'Filters' must also be specified when \
                         'MaxResults' is provided.",
                    ));
                }
                check_size(&ids)?;
                self.values(&ids).map(|response| json!(response))
            }
            (None, Some(filters)) => {
                self.policy.check_operation(Operation::ListSecrets, self.store.home())?;
                let all = self.matching_secrets(&filters, false)?;
                let token = request.next_token.as_deref();
                let (secrets, next_token) =
                    Page::new(token, request.max_results, BATCH_MAX, error::invalid_next_token)?
                        .slice(&all);
                let arns: Vec<String> = secrets.iter().map(|secret| secret.arn.clone()).collect();
                let mut response = self.values(&arns)?;
                response.extend(next_token.map(|token| ("NextToken", Value::from(token))));
                Ok(json!(response))
            }
            _ => Err(AwsError::invalid_parameter(
                "Either 'SecretIdList' or 'Filters' must be provided, but not both.",
            )),
        }
    }

    /// Reads the current version of each secret in `ids`. The member `Errors` of the response
    /// contains an entry for each failed read.
    ///
    /// If a test has called `batch_fails_on_denied`, a denied secret makes the whole call fail
    /// instead.
    fn values(&self, ids: &[String]) -> Result<BTreeMap<&'static str, Value>, AwsError> {
        // The values are sorted by ARN and have no duplicates. AWS does not promise the order of
        // the request, so a client that relies on this order must fail in tests too.
        let mut values = BTreeMap::new();
        let mut errors = Vec::new();
        for id in ids {
            match self.value(id, None, None) {
                Ok(value) => {
                    values.insert(value["ARN"].to_string(), value);
                }
                Err(denied)
                    if denied.kind == "AccessDeniedException"
                        && self.policy.batch_fails_on_denied() =>
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
        let sorted: Vec<Value> = values.into_values().collect();
        Ok(BTreeMap::from([("SecretValues", json!(sorted)), ("Errors", json!(errors))]))
    }
}

fn check_size(ids: &[String]) -> Result<(), AwsError> {
    let constraint = match ids.len() {
        0 => "Member must have length greater than or equal to 1",
        1..=BATCH_MAX => return Ok(()),
        _ => "Member must have length less than or equal to 20",
    };
    let value = format!("'[{}]'", ids.join(", "));
    Err(AwsError::broken_constraint("secretIdList", Some(&value), constraint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Resource;
    use crate::secrets_manager::tests::Account;

    /// Calls `BatchGetSecretValue`. Returns the secret values, and a pair of `SecretId` and error
    /// code for each error.
    #[track_caller]
    fn call(account: &mut Account, body: Value) -> (Vec<String>, Vec<(String, String)>) {
        let answer = account.call(Operation::BatchGetSecretValue, body);
        let text =
            |value: &Value| value.as_str().expect("the JSON value must be a string").to_owned();
        let list = |key: &str| {
            answer[key].as_array().expect("the member of the response must be a list").clone()
        };
        let mut values: Vec<_> =
            list("SecretValues").iter().map(|it| text(&it["SecretString"])).collect();
        values.sort();
        let errors = list("Errors");
        let errors = errors.iter().map(|it| (text(&it["SecretId"]), text(&it["ErrorCode"])));
        (values, errors.collect())
    }

    #[test]
    fn errors_are_reported_in_addition_to_values() {
        let mut account = Account::with(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        account.call(Operation::DeleteSecret, json!({ "SecretId": "b" }));
        account.policy.set_denied(Resource::secret("c"), true);
        account.policy.set_key_broken(Resource::secret("d"), true);
        let ids = ["a", "b", "c", "d", "e"];
        let (values, errors) = call(&mut account, json!({ "SecretIdList": ids }));
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
    fn one_denied_secret_can_fail_the_whole_batch() {
        let mut account = Account::with(&[("a", "1"), ("c", "3")]);
        account.policy.set_denied(Resource::secret("c"), true);
        account.policy.set_batch_fails_on_denied(true);
        let body = json!({ "SecretIdList": ["a", "c"] });
        let (kind, _) = account.call_and_fail(Operation::BatchGetSecretValue, body);
        assert_eq!(kind, "AccessDeniedException");
        let body = json!({ "SecretIdList": ["a"] });
        assert_eq!(call(&mut account, body).0, ["1"]);
    }

    #[test]
    fn role_without_get_permission_gets_one_error_per_secret() {
        let mut account = Account::with(&[("a", "1")]);
        account.policy.set_operation_denied(Operation::GetSecretValue, true);
        let (values, errors) = call(&mut account, json!({ "SecretIdList": ["a"] }));
        assert!(values.is_empty());
        assert_eq!(errors, [("a".to_owned(), "AccessDeniedException".to_owned())]);
    }

    #[test]
    fn duplicate_secret_is_returned_once() {
        let mut account = Account::with(&[("a", "1")]);
        let arn = account.store.find("a").expect("the secret `a` must exist").arn.clone();
        let (values, _) = call(&mut account, json!({ "SecretIdList": ["a", arn] }));
        assert_eq!(values, ["1"]);
    }

    #[test]
    fn filtered_batch_is_read_page_by_page() {
        let mut account = Account::with(&[("app/a", "1"), ("app/b", "2"), ("other", "3")]);
        let filters = json!([{ "Key": "name", "Values": ["app/"] }]);
        let (values, _) = call(&mut account, json!({ "Filters": filters }));
        assert_eq!(values, ["1", "2"]);

        let body = json!({ "Filters": filters, "MaxResults": 1 });
        let first = account.call(Operation::BatchGetSecretValue, body);
        assert_eq!(first["SecretValues"][0]["Name"], "app/a");
        let body = json!({ "Filters": filters, "MaxResults": 1, "NextToken": first["NextToken"] });
        let second = account.call(Operation::BatchGetSecretValue, body);
        assert_eq!(second["SecretValues"][0]["Name"], "app/b");
        assert_eq!(second.get("NextToken"), None);
    }

    #[test]
    fn invalid_batches_are_rejected() {
        let mut account = Account::with(&[]);
        let mut check = |body: Value, kind: &str| {
            assert_eq!(account.call_and_fail(Operation::BatchGetSecretValue, body).0, kind);
        };
        let ids = |count: usize| (0..count).map(|id| format!("s{id}")).collect::<Vec<_>>();
        check(json!({ "SecretIdList": ids(21) }), "ValidationException");
        check(json!({ "SecretIdList": [] }), "ValidationException");
        check(json!({}), "InvalidParameterException");
        check(json!({ "SecretIdList": ["a"], "Filters": [] }), "InvalidParameterException");
        check(json!({ "SecretIdList": ["a"], "MaxResults": 3 }), "InvalidParameterException");
        let filters = json!([{ "Key": "colour", "Values": ["app"] }]);
        check(json!({ "Filters": filters }), "InvalidParameterException");
        let filters = json!([{ "Key": "name", "Values": ["app"] }]);
        check(json!({ "Filters": filters, "NextToken": "?" }), "InvalidNextTokenException");
    }
}
