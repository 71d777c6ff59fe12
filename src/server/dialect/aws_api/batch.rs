//! Builds the answer to the AWS operation `BatchGetSecretValue`: the values of secrets, and an
//! error for each secret that could not be read.

use super::failure;
use crate::secret::service::Service;
use crate::secret::value::SecretValue;
use crate::server::dialect::json::join;
use crate::server::problem::Problem;
use serde::Serialize;

const VALUES: &[u8] = br#"{"SecretValues":["#;
const ERRORS: &[u8] = br#"],"Errors":"#;
const END: &[u8] = b"}";

/// The answer to `BatchGetSecretValue`, to which secrets and errors can be added.
#[derive(Debug, Default)]
pub(in crate::server) struct Batch {
    values: Vec<SecretValue>,
    errors: Vec<Failed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    secret_id: String,
    error_code: String,
    message: String,
}

impl Batch {
    pub(in crate::server) fn add(&mut self, value: SecretValue) {
        self.values.push(value);
    }

    /// Adds the error for a secret that could not be read. `id` is the name or ARN of this secret
    /// in the call of `BatchGetSecretValue`.
    pub(in crate::server) fn fail(&mut self, id: &str, problem: &Problem) {
        self.errors.push(Failed {
            secret_id: id.to_owned(),
            error_code: failure::status_and_kind(problem, Service::SecretsManager).1.to_owned(),
            message: failure::message(problem),
        });
    }

    /// Returns the JSON body of the answer to `BatchGetSecretValue`, in a buffer of exactly the
    /// right size. A buffer that grows would leave copies of secrets in freed memory.
    pub(in crate::server) fn body(&self) -> SecretValue {
        let errors = serde_json::to_vec(&self.errors)
            .expect("a list of errors must be serializable as JSON");
        join(VALUES, self.values.iter(), &[ERRORS, &errors, END].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{FetchError, FetchErrorKind};

    #[track_caller]
    fn check(values: &[&str], failed: &[&str], expected: &str) {
        let mut batch = Batch::default();
        values.iter().for_each(|value| batch.add(SecretValue::from((*value).to_owned())));
        for id in failed {
            let kind = FetchErrorKind::NotFound;
            let error = FetchError::new(kind, "ResourceNotFoundException", "none \"here\"");
            batch.fail(id, &Problem::Read(error.into()));
        }
        assert_eq!(
            std::str::from_utf8(batch.body().expose()).expect("the body must be UTF-8"),
            expected
        );
    }

    #[test]
    fn batch_has_values_and_errors() {
        check(&[], &[], r#"{"SecretValues":[],"Errors":[]}"#);
        check(&[r#"{"a":1}"#, "{}"], &[], r#"{"SecretValues":[{"a":1},{}],"Errors":[]}"#);
        check(
            &["{}"],
            &["x", "y"],
            r#"{"SecretValues":[{}],"Errors":[{"SecretId":"x","ErrorCode":"ResourceNotFoundException","Message":"none \"here\""},{"SecretId":"y","ErrorCode":"ResourceNotFoundException","Message":"none \"here\""}]}"#,
        );
    }
}
