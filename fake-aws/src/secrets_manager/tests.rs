//! A test account with secrets and permissions. Tests call operations on this account without an
//! HTTP server.

use super::context::Context;
use super::execute;
use super::store::Store;
use crate::aws_json::Response;
use crate::location::Location;
use crate::operation::Operation;
use crate::policy::Policy;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// The time at which every call in these tests happens, counted from the beginning of 1970.
const NOW: Duration = Duration::from_millis(1_500);

/// The secrets and the permissions of a test account, without an HTTP server.
pub(crate) struct Account {
    pub(crate) store: Store,
    pub(crate) policy: Policy,
}

impl Account {
    pub(crate) fn with(secrets: &[(&str, &str)]) -> Self {
        let store = Store::new(Location::default());
        let mut account = Self { store, policy: Policy::default() };
        for (name, text) in secrets {
            account.call(Operation::CreateSecret, json!({ "Name": name, "SecretString": text }));
        }
        account
    }

    fn try_call(&mut self, operation: Operation, body: Value) -> Response {
        let Self { store, policy } = self;
        execute(&mut Context { store, policy, now: SystemTime::UNIX_EPOCH + NOW }, operation, body)
    }

    #[track_caller]
    pub(crate) fn call(&mut self, operation: Operation, body: Value) -> Value {
        self.try_call(operation, body).expect("the operation must succeed")
    }

    /// Calls an operation that must fail. Returns the AWS name of the error and its message.
    #[track_caller]
    pub(crate) fn call_and_fail(&mut self, operation: Operation, body: Value) -> (String, String) {
        let error = self.try_call(operation, body).expect_err("the operation must fail");
        (error.kind.into_owned(), error.message.into_owned())
    }
}

#[test]
fn denial_of_an_operation_on_one_secret_quotes_the_secret() {
    let mut account = Account::with(&[("db", "x")]);
    account.policy.set_operation_denied(Operation::GetSecretValue, true);
    account.policy.set_operation_denied(Operation::ListSecrets, true);
    let (kind, message) =
        account.call_and_fail(Operation::GetSecretValue, json!({ "SecretId": "db" }));
    assert_eq!(kind, "AccessDeniedException");
    assert!(message.contains(" on resource: db because "), "{message}");
    let (_, message) = account.call_and_fail(Operation::ListSecrets, json!({}));
    assert!(!message.contains(" on resource"), "{message}");
}

#[test]
fn body_with_a_wrong_type_is_rejected_and_not_quoted() {
    let mut account = Account::with(&[]);
    let body = json!({ "Name": "db", "SecretString": { "password": "hunter2" } });
    let error = account.call_and_fail(Operation::CreateSecret, body);
    assert_eq!(error, ("SerializationException".to_owned(), String::new()));
}
