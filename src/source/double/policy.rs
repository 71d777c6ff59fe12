//! What the caller's role may do, as IAM would say it.

use super::address::Place;
use super::error::AwsError;
use super::operation::{Operation, Service};
use std::collections::BTreeSet;

/// Denials, and keys that cannot be used. Everything else is allowed.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    operations: BTreeSet<Operation>,
    secrets: BTreeSet<String>,
    broken_keys: BTreeSet<String>,
    batch_fails_on_denied: bool,
}

impl Policy {
    /// Denies or allows an operation, whatever it is asked about.
    pub(super) fn deny_operation(&mut self, operation: Operation, denied: bool) {
        set(&mut self.operations, operation, denied);
    }

    /// Denies or allows every operation on a secret.
    pub(super) fn deny_secret(&mut self, id: &str, denied: bool) {
        set(&mut self.secrets, id.to_owned(), denied);
    }

    /// Says whether the key that encrypts a secret cannot be used.
    pub(super) fn break_key(&mut self, id: &str, broken: bool) {
        set(&mut self.broken_keys, id.to_owned(), broken);
    }

    /// Says whether one denied secret fails a whole batch, as under a VPC endpoint's policy.
    pub(super) fn batch_fails_on_denied(&mut self, fails: bool) {
        self.batch_fails_on_denied = fails;
    }

    /// Returns whether one denied secret fails a whole batch.
    pub(super) fn fails_batches(&self) -> bool {
        self.batch_fails_on_denied
    }

    /// Checks that the role may do this at all.
    pub(super) fn check(&self, operation: Operation, home: &Place) -> Result<(), AwsError> {
        if self.operations.contains(&operation) {
            return Err(denied(operation, None, home));
        }
        Ok(())
    }

    /// Checks that the role may do this with a secret. `aliases` are all ways to name it, the one
    /// that the caller chose first.
    pub(super) fn check_secret(
        &self,
        operation: Operation,
        aliases: &[String],
        home: &Place,
    ) -> Result<(), AwsError> {
        let resource = aliases.first().map(String::as_str);
        let is_denied = self.operations.contains(&operation)
            || aliases.iter().any(|alias| self.secrets.contains(alias));
        if is_denied { Err(denied(operation, resource, home)) } else { Ok(()) }
    }

    /// Checks that the key of a secret can be used.
    pub(super) fn check_key(&self, aliases: &[String]) -> Result<(), AwsError> {
        if aliases.iter().any(|alias| self.broken_keys.contains(alias)) {
            let message = "Secrets Manager can't decrypt the protected secret text using the provided KMS \
                 key.";
            return Err(AwsError::new("DecryptionFailure", message));
        }
        Ok(())
    }
}

fn set<T: Ord>(set: &mut BTreeSet<T>, item: T, present: bool) {
    if present {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

fn denied(operation: Operation, resource: Option<&str>, home: &Place) -> AwsError {
    let service = match operation.service() {
        Service::SecretsManager => "secretsmanager",
        Service::Sts => "sts",
    };
    let action = format!("{service}:{}", operation.name());
    let resource = resource.map(|it| format!(" on resource: {it}")).unwrap_or_default();
    let account = &home.account;
    AwsError::new(
        "AccessDeniedException",
        format!(
            "User: arn:aws:sts::{account}:assumed-role/sidekey-double/session is not authorized to \
             perform: {action}{resource} because no identity-based policy allows the {action} action"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_are_worded_as_iam_words_them() {
        let mut policy = Policy::default();
        policy.deny_operation(Operation::BatchGetSecretValue, true);
        policy.deny_secret("db", true);
        let home = Place::default();

        let batch = policy.check(Operation::BatchGetSecretValue, &home).expect_err("denied");
        assert_eq!(
            batch.message,
            "User: arn:aws:sts::123456789012:assumed-role/sidekey-double/session is not authorized \
             to perform: secretsmanager:BatchGetSecretValue because no identity-based policy allows \
             the secretsmanager:BatchGetSecretValue action"
        );

        let aliases = ["arn:of:db".to_owned(), "db".to_owned()];
        let secret =
            policy.check_secret(Operation::GetSecretValue, &aliases, &home).expect_err("denied");
        assert_eq!(
            secret.message,
            "User: arn:aws:sts::123456789012:assumed-role/sidekey-double/session is not authorized \
             to perform: secretsmanager:GetSecretValue on resource: arn:of:db because no \
             identity-based policy allows the secretsmanager:GetSecretValue action"
        );
    }

    #[test]
    fn what_is_denied_can_be_allowed_again() {
        let mut policy = Policy::default();
        let (home, aliases) = (Place::default(), ["db".to_owned()]);
        policy.deny_secret("db", true);
        policy.break_key("db", true);
        assert!(policy.check_secret(Operation::GetSecretValue, &aliases, &home).is_err());
        assert!(policy.check_key(&aliases).is_err());

        policy.deny_secret("db", false);
        policy.break_key("db", false);
        assert!(policy.check_secret(Operation::GetSecretValue, &aliases, &home).is_ok());
        assert!(policy.check_key(&aliases).is_ok());
    }
}
