//! A test account with parameters, secrets and permissions. Tests call operations on this account
//! without an HTTP server.

use super::context::Context;
use super::execute;
use super::parameter::DATA_TYPE_DEFAULT;
use super::parameter_value::ParameterValue;
use super::store::Store;
use crate::aws_json::Response;
use crate::location::Location;
use crate::operation::Operation;
use crate::policy::Policy;
use crate::secrets_manager;
use crate::secrets_manager::plaintext::Plaintext;
use crate::secrets_manager::secret::CURRENT;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// The time at which every call in these tests happens, counted from the beginning of 1970.
const NOW: Duration = Duration::from_millis(1_500);

/// The parameters, the secrets and the permissions of a test account, without an HTTP server.
pub(crate) struct Account {
    pub(crate) store: Store,
    secrets: secrets_manager::store::Store,
    pub(crate) policy: Policy,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            store: Store::new(Location::default()),
            secrets: secrets_manager::store::Store::new(Location::default()),
            policy: Policy::default(),
        }
    }
}

impl Account {
    #[track_caller]
    pub(crate) fn put(&mut self, name: &str, value: impl Into<ParameterValue>) {
        let home = Location::default();
        self.store
            .put(&home, name, value.into(), DATA_TYPE_DEFAULT, now())
            .expect("storing the version of the parameter must succeed");
    }

    #[track_caller]
    pub(crate) fn create_secret(
        &mut self,
        name: &str,
        value: impl Into<Plaintext>,
    ) -> (String, String) {
        self.secrets.create(&Location::default(), name, now()).expect("the name must be new");
        self.put_secret(name, value);
        let secret = self.secrets.find(name).expect("the secret must exist");
        let version =
            secret.version_with_label(CURRENT).expect("the secret must have a current version");
        (secret.arn.clone(), version.id.clone())
    }

    #[track_caller]
    pub(crate) fn put_secret(&mut self, name: &str, value: impl Into<Plaintext>) {
        let secret = self.secrets.find_mut(name).expect("the secret must exist");
        let id = crate::random::uuid();
        secret.put(&id, value.into(), &[CURRENT.to_owned()], now()).expect("the id must be new");
    }

    #[track_caller]
    pub(crate) fn delete_secret(&mut self, name: &str) {
        self.secrets.find_mut(name).expect("the secret must exist").deletion = Some(now());
    }

    pub(crate) fn try_call(&mut self, operation: Operation, body: Value) -> Response {
        let Self { store, secrets, policy } = self;
        let (policy, now) = (&*policy, now());
        let secrets = secrets_manager::context::Context { store: secrets, policy, now };
        execute(&mut Context { store, secrets, policy, now }, operation, body)
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

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

#[test]
fn names_in_a_request_are_those_that_the_caller_sent() {
    let check = |body: Value, expected: &[&str]| assert_eq!(super::names(&body), expected);
    check(json!({ "Name": "/a:1" }), &["/a:1"]);
    check(json!({ "Names": ["/a", "b"] }), &["/a", "b"]);
    check(json!({ "Path": "/a" }), &["/a"]);
    check(json!({ "Name": 1 }), &[]);
}

#[test]
fn denied_operation_fails_for_every_parameter() {
    let mut account = Account::default();
    account.put("/a", "x");
    account.policy.set_operation_denied(Operation::GetParameters, true);
    let body = json!({ "Names": ["/a"] });
    assert_eq!(account.call_and_fail(Operation::GetParameters, body).0, "AccessDeniedException");
    account.call(Operation::GetParameter, json!({ "Name": "/a" }));
}
