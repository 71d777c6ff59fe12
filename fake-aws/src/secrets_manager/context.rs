//! The inputs that every operation of Secrets Manager needs: the store of secrets, the permissions
//! and the current time.

use super::error;
use super::secret::Secret;
use super::store::Store;
use crate::error::AwsError;
use crate::operation::Operation;
use crate::policy::Policy;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The inputs for one request: the secrets, the permissions and the current time. Each operation of
/// Secrets Manager is a method of this type.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) policy: &'a Policy,
    /// The current time. Created versions and changed secrets get this time as their date.
    pub(crate) now: SystemTime,
}

pub(crate) type Response = Result<Value, AwsError>;

impl Context<'_> {
    /// Checks that the caller may use an operation on the secret with the name or ARN `id`.
    ///
    /// The check also works if the secret does not exist, because AWS checks permissions before it
    /// looks for the secret.
    pub(crate) fn check_permission(&self, operation: Operation, id: &str) -> Result<(), AwsError> {
        self.policy.check_secret(operation, &self.store.aliases(id), self.store.home())
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

/// Converts the JSON body of a request to the parameters of an operation. Ignores unknown JSON
/// members.
pub(crate) fn parse<T: DeserializeOwned>(body: Value) -> Result<T, AwsError> {
    serde_json::from_value(body).map_err(|_| AwsError::serialization())
}

/// Returns the value of a required parameter, or AWS's error if the value is missing. `member` is
/// the name of the parameter.
pub(crate) fn required(member: &str, value: Option<String>) -> Result<String, AwsError> {
    value.ok_or_else(|| AwsError::broken_constraint(member, Some("null"), "not be null"))
}

/// Converts a time to seconds since 1970, with milliseconds as the fraction. Secrets Manager sends
/// times in this form.
pub(crate) fn epoch_seconds(time: SystemTime) -> f64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::new(since_epoch.as_secs(), since_epoch.subsec_millis() * 1_000_000).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_have_millisecond_precision() {
        let epoch = SystemTime::UNIX_EPOCH;
        let time = epoch + Duration::new(1_700_000_000, 123_999_999);
        assert_eq!(json!(epoch_seconds(time)).to_string(), "1700000000.123");
        assert_eq!(json!(epoch_seconds(epoch)).to_string(), "0.0");
    }
}
