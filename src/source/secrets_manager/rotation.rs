//! What Secrets Manager says of a secret beside its value. Only an operator's commands ask: it takes
//! a permission that the agent has no need of.

use super::SecretsManager;
use super::to_the_millisecond;
use crate::secret::reference::SecretId;
use crate::source::FetchError;
use std::pin::pin;
use std::time::SystemTime;

/// How a secret is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Whether a rotation is set up.
    pub is_on: bool,
    /// When it last ran.
    pub last: Option<SystemTime>,
}

impl SecretsManager {
    /// Asks how a secret is rotated, by `DescribeSecret`.
    ///
    /// # Errors
    ///
    /// As for a fetch; most roles that may read a secret may not describe it.
    pub async fn rotation(&self, id: &SecretId) -> Result<Rotation, FetchError> {
        let request = self.client_of(id)?.describe_secret().secret_id(id.as_str());
        let answer = self.signed(pin!(request.send())).await?;
        Ok(Rotation {
            is_on: answer.rotation_enabled.unwrap_or(false),
            last: answer.last_rotated_date.and_then(to_the_millisecond),
        })
    }
}
