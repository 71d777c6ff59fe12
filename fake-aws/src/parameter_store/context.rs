//! The inputs that every operation of Parameter Store needs: the store of parameters, the secrets,
//! the permissions and the current time.

use super::store::Store;
use crate::error::AwsError;
use crate::operation::Operation;
use crate::policy::Policy;
use crate::secrets_manager;
use std::time::SystemTime;

/// The inputs for one request: the parameters, the secrets, the permissions and the current time.
/// Each operation of Parameter Store is a method of this type.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a mut Store,
    /// The secrets, which requests can read under names that start with
    /// `/aws/reference/secretsmanager/`.
    pub(crate) secrets: secrets_manager::context::Context<'a>,
    pub(crate) policy: &'a Policy,
    /// The current time. It becomes the date of the versions that a request creates.
    pub(crate) now: SystemTime,
}

impl Context<'_> {
    /// Returns AWS's error if a test has denied the operation or the parameter. `name` is the name,
    /// the ARN or the path in the request.
    ///
    /// The parameter may be missing, because AWS checks permissions before it looks for the
    /// parameter.
    pub(crate) fn check_permission(
        &self,
        operation: Operation,
        name: &str,
    ) -> Result<(), AwsError> {
        self.policy.check(operation, &self.store.aliases(name), self.store.home())
    }
}
