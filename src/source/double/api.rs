//! Secrets Manager's operations: JSON in, JSON or an error as AWS words it out.
//!
//! Pure over the store: no sockets, no clock.

mod batch;
mod list;
mod read;
mod write;

use super::error::AwsError;
use super::operation::Operation;
use super::policy::Policy;
use super::secret::Secret;
use super::store::Store;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Answers one request: the secrets, what the caller may do with them, and the time.
pub(super) struct Api<'a> {
    /// The secrets.
    pub(super) store: &'a mut Store,
    /// What the caller's role may do.
    pub(super) policy: &'a Policy,
    /// The time that is written into what changes.
    pub(super) now: SystemTime,
}

/// An operation's answer.
type Answer = Result<Value, AwsError>;

impl Api<'_> {
    /// Answers an operation.
    pub(super) fn answer(&mut self, operation: Operation, body: Value) -> Answer {
        // Where one secret is asked for, `permit` checks that too, and names the secret as IAM does.
        if !names_one_secret(&body) {
            self.policy.check(operation, self.store.home())?;
        }
        match operation {
            Operation::GetSecretValue => self.get_secret_value(parse(body)?),
            Operation::BatchGetSecretValue => self.batch_get_secret_value(parse(body)?),
            Operation::DescribeSecret => self.describe_secret(parse(body)?),
            Operation::ListSecrets => self.list_secrets(parse(body)?),
            Operation::CreateSecret => self.create_secret(parse(body)?),
            Operation::PutSecretValue => self.put_secret_value(parse(body)?),
            Operation::UpdateSecret => self.update_secret(parse(body)?),
            Operation::UpdateSecretVersionStage => self.update_secret_version_stage(parse(body)?),
            Operation::DeleteSecret => self.delete_secret(parse(body)?),
            Operation::RestoreSecret => self.restore_secret(parse(body)?),
            Operation::AssumeRoleWithWebIdentity | Operation::GetCallerIdentity => {
                Err(unknown_operation())
            }
        }
    }

    /// Checks that the role may do this with a secret, before AWS looks whether there is one.
    fn permit(&self, operation: Operation, id: &str) -> Result<(), AwsError> {
        self.policy.check_secret(operation, &self.store.aliases(id), self.store.home())
    }

    /// Finds a secret that is not marked for deletion, to change it.
    fn open_mut(&mut self, operation: Operation, id: &str) -> Result<&mut Secret, AwsError> {
        self.permit(operation, id)?;
        let secret = self.store.find_mut(id)?;
        if secret.deletion.is_some() {
            return Err(AwsError::marked_for_deletion());
        }
        Ok(secret)
    }
}

/// The error for an operation that there is not. AWS says no more than the name.
pub(super) fn unknown_operation() -> AwsError {
    AwsError::new("UnknownOperationException", "")
}

fn names_one_secret(body: &Value) -> bool {
    ["SecretId", "Name"].iter().any(|key| body[key].is_string())
}

/// Reads a request. Members that the double does not know are ignored.
fn parse<T: DeserializeOwned>(body: Value) -> Result<T, AwsError> {
    serde_json::from_value(body).map_err(|_| AwsError::serialization())
}

/// Returns a member that has to be there.
fn required(member: &str, value: Option<String>) -> Result<String, AwsError> {
    value.ok_or_else(|| AwsError::constraint(member, Some("null"), "not be null"))
}

/// Returns a time as AWS JSON writes it: epoch seconds, with milliseconds as the fraction.
fn epoch_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::new(since.as_secs(), since.subsec_millis() * 1_000_000).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::double::address::Place;
    use serde_json::json;

    /// The time in all tests of the API.
    pub(super) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// An account to try operations on.
    pub(super) struct Account {
        pub(super) store: Store,
        pub(super) policy: Policy,
    }

    impl Account {
        /// Makes an account that holds these secrets.
        pub(super) fn with(secrets: &[(&str, &str)]) -> Self {
            let store = Store::new(Place::default());
            let mut account = Self { store, policy: Policy::default() };
            for (name, text) in secrets {
                account.ask(Operation::CreateSecret, json!({ "Name": name, "SecretString": text }));
            }
            account
        }

        pub(super) fn try_ask(&mut self, operation: Operation, body: Value) -> Answer {
            let Self { store, policy } = self;
            Api { store, policy, now: NOW + Duration::from_millis(1_500) }.answer(operation, body)
        }

        #[track_caller]
        pub(super) fn ask(&mut self, operation: Operation, body: Value) -> Value {
            self.try_ask(operation, body).expect("an answer")
        }

        /// Asks for what is refused, and returns the error's kind and words.
        #[track_caller]
        pub(super) fn refused(&mut self, operation: Operation, body: Value) -> (String, String) {
            let error = self.try_ask(operation, body).expect_err("an error");
            (error.kind.into_owned(), error.message.into_owned())
        }
    }

    #[test]
    fn a_denied_operation_on_one_secret_names_the_secret() {
        let mut account = Account::with(&[("db", "x")]);
        account.policy.deny_operation(Operation::GetSecretValue, true);
        account.policy.deny_operation(Operation::ListSecrets, true);
        let (kind, message) =
            account.refused(Operation::GetSecretValue, json!({ "SecretId": "db" }));
        assert_eq!(kind, "AccessDeniedException");
        assert!(message.contains(" on resource: db because "), "{message}");
        let (_, message) = account.refused(Operation::ListSecrets, json!({}));
        assert!(!message.contains(" on resource"), "{message}");
    }

    #[test]
    fn a_body_of_the_wrong_shape_is_refused_without_quoting_it() {
        let mut account = Account::with(&[]);
        let body = json!({ "Name": "db", "SecretString": { "password": "hunter2" } });
        let refused = account.refused(Operation::CreateSecret, body);
        assert_eq!(refused, ("SerializationException".to_owned(), String::new()));
    }

    #[test]
    fn times_have_milliseconds_and_no_more() {
        let time = NOW + Duration::new(1_700_000_000, 123_999_999);
        assert_eq!(json!(epoch_seconds(time)).to_string(), "1700000000.123");
        assert_eq!(json!(epoch_seconds(NOW)).to_string(), "0.0");
    }
}
