//! The inputs that every operation of Secrets Manager needs: the store of secrets, the permissions
//! and the current time.

use super::error;
use super::secret::Secret;
use super::store::Store;
use crate::error::AwsError;
use crate::operation::Operation;
use crate::policy::Policy;
use std::time::SystemTime;

/// The inputs for one request: the secrets, the permissions and the current time. Each operation of
/// Secrets Manager is a method of this type.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) policy: &'a Policy,
    /// The current time. Created versions and changed secrets get this time as their date.
    pub(crate) now: SystemTime,
}

impl Context<'_> {
    /// Checks that the caller may use an operation on the secret with the name or ARN `id`.
    ///
    /// The check also works if the secret does not exist, because AWS checks permissions before it
    /// looks for the secret.
    pub(crate) fn check_permission(&self, operation: Operation, id: &str) -> Result<(), AwsError> {
        self.policy.check(operation, &self.store.aliases(id), self.store.home())
    }

    /// Returns a secret that an operation can change. Returns an error if the operation is denied,
    /// or if the secret is missing or scheduled for deletion.
    pub(crate) fn secret_mut(
        &mut self,
        operation: Operation,
        id: &str,
    ) -> Result<&mut Secret, AwsError> {
        self.check_permission(operation, id)?;
        let secret = self.store.find_mut(id)?;
        if secret.deletion.is_some() {
            return Err(error::marked_for_deletion());
        }
        Ok(secret)
    }
}
