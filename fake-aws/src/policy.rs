//! The permissions of the callers of the fake AWS server, and AWS's error for a missing permission.

use crate::error::AwsError;
use crate::location::Location;
use crate::operation::Operation;
use std::collections::BTreeSet;

/// The operations and secrets that the fake AWS server denies, and the secrets whose values it
/// cannot decrypt because their KMS keys are unusable. The fake allows everything else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    denied_operations: BTreeSet<Operation>,
    denied_secrets: BTreeSet<String>,
    broken_keys: BTreeSet<String>,
    batch_fails_on_denied: bool,
}

impl Policy {
    pub(crate) fn set_operation_denied(&mut self, operation: Operation, is_denied: bool) {
        set(&mut self.denied_operations, operation, is_denied);
    }

    pub(crate) fn set_secret_denied(&mut self, id: &str, is_denied: bool) {
        set(&mut self.denied_secrets, id.to_owned(), is_denied);
    }

    pub(crate) fn set_key_broken(&mut self, id: &str, is_broken: bool) {
        set(&mut self.broken_keys, id.to_owned(), is_broken);
    }

    pub(crate) fn set_batch_fails_on_denied(&mut self, fails: bool) {
        self.batch_fails_on_denied = fails;
    }

    pub(crate) fn batch_fails_on_denied(&self) -> bool {
        self.batch_fails_on_denied
    }

    /// Returns AWS's error if a test has denied the operation on all secrets. Requests that do not
    /// name one secret, such as a batch read, need only this check.
    pub(crate) fn check_operation(
        &self,
        operation: Operation,
        home: &Location,
    ) -> Result<(), AwsError> {
        if self.denied_operations.contains(&operation) {
            return Err(denied(operation, None, home));
        }
        Ok(())
    }

    /// Returns AWS's error if a test has denied the operation or all operations on the secret.
    ///
    /// `aliases` contains the name and the ARNs of the secret. The first alias must be the
    /// `SecretId` that the caller sent, because the error message quotes the first alias.
    pub(crate) fn check_secret(
        &self,
        operation: Operation,
        aliases: &[String],
        home: &Location,
    ) -> Result<(), AwsError> {
        let is_denied = self.denied_operations.contains(&operation)
            || aliases.iter().any(|alias| self.denied_secrets.contains(alias));
        if is_denied {
            let resource = aliases.first().map(String::as_str);
            return Err(denied(operation, resource, home));
        }
        Ok(())
    }

    /// Returns AWS's error if a test has made the KMS key of the secret unusable. `aliases`
    /// contains the name and the ARNs of the secret.
    pub(crate) fn check_key(&self, aliases: &[String]) -> Result<(), AwsError> {
        if aliases.iter().any(|alias| self.broken_keys.contains(alias)) {
            let message = "Secrets Manager can't decrypt the protected secret text using the provided KMS \
                 key.";
            return Err(AwsError::new("DecryptionFailure", message));
        }
        Ok(())
    }
}

fn set<T: Ord>(set: &mut BTreeSet<T>, item: T, is_present: bool) {
    if is_present {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

fn denied(operation: Operation, resource: Option<&str>, home: &Location) -> AwsError {
    let action = format!("{}:{}", operation.service().iam_prefix(), operation.name());
    let on_resource = resource.map(|it| format!(" on resource: {it}")).unwrap_or_default();
    let account = &home.account;
    AwsError::new(
        "AccessDeniedException",
        format!(
            "User: arn:aws:sts::{account}:assumed-role/fake-aws/session is not authorized to \
             perform: {action}{on_resource} because no identity-based policy allows the {action} \
             action"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_messages_match_those_of_iam() {
        let mut policy = Policy::default();
        policy.set_operation_denied(Operation::BatchGetSecretValue, true);
        policy.set_secret_denied("db", true);
        let home = Location::default();

        let batch = policy
            .check_operation(Operation::BatchGetSecretValue, &home)
            .expect_err("the policy must deny the operation");
        assert_eq!(
            batch.message,
            "User: arn:aws:sts::123456789012:assumed-role/fake-aws/session is not authorized to \
             perform: secretsmanager:BatchGetSecretValue because no identity-based policy allows \
             the secretsmanager:BatchGetSecretValue action"
        );

        let aliases = ["arn:of:db".to_owned(), "db".to_owned()];
        let secret = policy
            .check_secret(Operation::GetSecretValue, &aliases, &home)
            .expect_err("the policy must deny the operation");
        assert_eq!(
            secret.message,
            "User: arn:aws:sts::123456789012:assumed-role/fake-aws/session is not authorized to \
             perform: secretsmanager:GetSecretValue on resource: arn:of:db because no \
             identity-based policy allows the secretsmanager:GetSecretValue action"
        );
    }

    #[test]
    fn denied_secrets_and_broken_keys_can_be_restored() {
        let mut policy = Policy::default();
        let (home, aliases) = (Location::default(), ["db".to_owned()]);
        policy.set_secret_denied("db", true);
        policy.set_key_broken("db", true);
        assert!(policy.check_secret(Operation::GetSecretValue, &aliases, &home).is_err());
        assert!(policy.check_key(&aliases).is_err());

        policy.set_secret_denied("db", false);
        policy.set_key_broken("db", false);
        assert!(policy.check_secret(Operation::GetSecretValue, &aliases, &home).is_ok());
        assert!(policy.check_key(&aliases).is_ok());
    }
}
