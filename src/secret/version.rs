//! A version of a secret, as Secrets Manager returned it.

use super::value::SecretValue;
use std::time::SystemTime;

/// The staging label of the current version. Reads without a stage and without a version id select it.
///
/// Source: `VersionStage` of `GetSecretValue` in AWS's API reference.
pub const AWSCURRENT: &str = "AWSCURRENT";

/// A version of a secret: its value, and what Secrets Manager says about the value.
#[derive(Clone, Debug)]
pub struct Version {
    /// The full ARN of the secret.
    pub arn: Box<str>,
    /// The name of the secret.
    pub name: Box<str>,
    /// The version id. Its format is not defined.
    pub id: Box<str>,
    /// The staging labels that the version had when it was fetched.
    pub labels: Vec<Box<str>>,
    /// The creation date of the version, with a resolution of milliseconds. `None` if Secrets Manager did
    /// not return a date.
    pub created: Option<SystemTime>,
    /// The value of the version.
    pub content: Content,
}

/// The value of a version, as text or as binary data.
#[derive(Clone, Debug)]
pub enum Content {
    /// The text that is stored as `SecretString`.
    Text(SecretValue),
    /// The decoded bytes that are stored as `SecretBinary`.
    Binary(SecretValue),
}

impl Content {
    /// Returns the size of the value in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(value) | Self::Binary(value) => value.len(),
        }
    }

    /// Returns whether the value is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Version {
    /// Returns whether this version has the staging label `label`.
    pub fn carries(&self, label: &str) -> bool {
        self.labels.iter().any(|own| &**own == label)
    }
}
