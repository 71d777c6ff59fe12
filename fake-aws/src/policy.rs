//! The permissions of the callers of the fake AWS server, and AWS's error for a missing permission.

use crate::error::AwsError;
use crate::location::Location;
use crate::operation::Operation;
use crate::resource::Resource;
use crate::roles::{RoleSession, Roles};
use std::collections::BTreeSet;

/// The operations, secrets and parameters that a test has denied, and the secrets and parameters
/// whose KMS keys a test has made unusable. The fake AWS server allows everything else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    denied_operations: BTreeSet<Operation>,
    denied_resources: BTreeSet<Resource>,
    broken_keys: BTreeSet<Resource>,
    /// The session of an assumed role, if its credentials signed the call. `None` if other
    /// credentials signed the call.
    session: Option<(Roles, RoleSession)>,
    batch_fails_on_denied: bool,
}

impl Policy {
    /// Returns the permissions for a call with the credentials of an assumed role: the permissions
    /// of the role, without the operations, secrets and parameters that a test has denied.
    pub(crate) fn for_session(&self, roles: &Roles, session: RoleSession) -> Self {
        Self { session: Some((roles.clone(), session)), ..self.clone() }
    }

    pub(crate) fn set_operation_denied(&mut self, operation: Operation, is_denied: bool) {
        set(&mut self.denied_operations, operation, is_denied);
    }

    pub(crate) fn set_denied(&mut self, resource: Resource, is_denied: bool) {
        set(&mut self.denied_resources, resource, is_denied);
    }

    pub(crate) fn set_key_broken(&mut self, resource: Resource, is_broken: bool) {
        set(&mut self.broken_keys, resource, is_broken);
    }

    pub(crate) fn set_batch_fails_on_denied(&mut self, fails: bool) {
        self.batch_fails_on_denied = fails;
    }

    pub(crate) fn batch_fails_on_denied(&self) -> bool {
        self.batch_fails_on_denied
    }

    /// Returns AWS's error if a test has denied the operation on all resources. Requests without
    /// the name of a secret or parameter, such as `ListSecrets`, need only this check.
    pub(crate) fn check_operation(
        &self,
        operation: Operation,
        home: &Location,
    ) -> Result<(), AwsError> {
        if self.denied_operations.contains(&operation) {
            return Err(self.denied(operation, None, home));
        }
        Ok(())
    }

    /// Returns AWS's error if a test has denied the operation, or has denied the secret or
    /// parameter.
    ///
    /// `aliases` contains the name and the ARNs of the secret or parameter. The error message
    /// quotes the first alias.
    pub(crate) fn check(
        &self,
        operation: Operation,
        aliases: &[Resource],
        home: &Location,
    ) -> Result<(), AwsError> {
        let is_denied = self.denied_operations.contains(&operation)
            || aliases.iter().any(|alias| self.denied_resources.contains(alias))
            || self.session.as_ref().is_some_and(|(roles, own)| !roles.may_read(own, aliases));
        if is_denied {
            let resource = aliases.first().map(Resource::id);
            return Err(self.denied(operation, resource, home));
        }
        Ok(())
    }

    /// Returns whether a test has made the KMS key of a secret or a parameter unusable. `aliases`
    /// contains the name and the ARNs of the resource.
    pub(crate) fn is_key_broken(&self, aliases: &[Resource]) -> bool {
        aliases.iter().any(|alias| self.broken_keys.contains(alias))
    }

    fn denied(&self, operation: Operation, resource: Option<&str>, home: &Location) -> AwsError {
        let action = format!("{}:{}", operation.service().iam_prefix(), operation.name());
        let on_resource = resource.map(|it| format!(" on resource: {it}")).unwrap_or_default();
        let user = match &self.session {
            Some((_, session)) => session.arn.clone(),
            None => format!("arn:aws:sts::{}:assumed-role/fake-aws/session", home.account),
        };
        AwsError::new(
            "AccessDeniedException",
            format!(
                "User: {user} is not authorized to perform: {action}{on_resource} because no \
                 identity-based policy allows the {action} action"
            ),
        )
    }
}

fn set<T: Ord>(set: &mut BTreeSet<T>, item: T, is_present: bool) {
    if is_present {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_messages_match_those_of_iam() {
        let mut policy = Policy::default();
        policy.set_operation_denied(Operation::BatchGetSecretValue, true);
        policy.set_denied(Resource::secret("db"), true);
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

        let aliases = ["arn:of:db", "db"].map(Resource::secret);
        let secret = policy
            .check(Operation::GetSecretValue, &aliases, &home)
            .expect_err("the policy must deny the operation");
        assert_eq!(
            secret.message,
            "User: arn:aws:sts::123456789012:assumed-role/fake-aws/session is not authorized to \
             perform: secretsmanager:GetSecretValue on resource: arn:of:db because no \
             identity-based policy allows the secretsmanager:GetSecretValue action"
        );
    }

    #[test]
    fn denied_secret_does_not_deny_a_parameter_with_the_same_name() {
        let mut policy = Policy::default();
        policy.set_denied(Resource::secret("db"), true);
        let (home, parameter) = (Location::default(), [Resource::parameter("db")]);
        assert!(policy.check(Operation::GetSecretValue, &parameter, &home).is_ok());
    }

    #[test]
    fn denied_secrets_and_broken_keys_can_be_restored() {
        let mut policy = Policy::default();
        let (home, aliases) = (Location::default(), [Resource::secret("db")]);
        policy.set_denied(Resource::secret("db"), true);
        policy.set_key_broken(Resource::secret("db"), true);
        assert!(policy.check(Operation::GetSecretValue, &aliases, &home).is_err());
        assert!(policy.is_key_broken(&aliases));

        policy.set_denied(Resource::secret("db"), false);
        policy.set_key_broken(Resource::secret("db"), false);
        assert!(policy.check(Operation::GetSecretValue, &aliases, &home).is_ok());
        assert!(!policy.is_key_broken(&aliases));
    }
}
