//! One value of a secret, as the service answered it.

use super::value::SecretValue;
use std::time::SystemTime;

/// The staging label of the version that is in use, and the default of every read.
///
/// Source: `VersionStage` of `GetSecretValue` in AWS's API reference.
pub const AWSCURRENT: &str = "AWSCURRENT";

/// One value of a secret.
#[derive(Clone, Debug)]
pub struct Version {
    /// The full ARN of the secret.
    pub arn: Box<str>,
    /// The name of the secret.
    pub name: Box<str>,
    /// The opaque id of this version.
    pub id: Box<str>,
    /// The staging labels that this version carried when it was read.
    pub labels: Vec<Box<str>>,
    /// When this version was created, if the service said so; to the millisecond.
    pub created: Option<SystemTime>,
    /// The value.
    pub content: Content,
}

/// The value, in the kind it was stored as.
#[derive(Clone, Debug)]
pub enum Content {
    /// Stored as `SecretString`.
    Text(SecretValue),
    /// Stored as `SecretBinary`; the decoded bytes.
    Binary(SecretValue),
}

impl Content {
    /// Returns the number of bytes of the value.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(value) | Self::Binary(value) => value.len(),
        }
    }

    /// Returns whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Version {
    /// Returns whether this version carries `label`.
    pub fn carries(&self, label: &str) -> bool {
        self.labels.iter().any(|own| &**own == label)
    }
}
