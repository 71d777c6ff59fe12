//! A version of a secret, as Secrets Manager returned it.

use super::value::SecretValue;
use std::time::SystemTime;

/// The staging label of a secret's current version. A read with neither a staging label nor a
/// version id returns the current version.
///
/// Source: `VersionStage` of `GetSecretValue` in AWS's API reference.
pub const AWSCURRENT: &str = "AWSCURRENT";

/// One version of a secret, as Secrets Manager returned it: the value and the metadata.
#[derive(Clone, Debug)]
pub struct Version {
    /// The full ARN of the secret.
    pub arn: Box<str>,
    /// The name of the secret.
    pub name: Box<str>,
    /// The id of this version of the secret.
    pub id: Box<str>,
    /// The staging labels (such as `AWSCURRENT`) that this version of the secret had when Sidekey
    /// fetched it.
    pub labels: Vec<Box<str>>,
    /// The time when this version of the secret was created, to the millisecond. `None` if Secrets
    /// Manager did not return the time.
    pub created: Option<SystemTime>,
    /// The value of this version of the secret.
    pub content: Content,
}

/// The value of a secret: text or binary data.
#[derive(Clone, Debug)]
pub enum Content {
    /// The secret's value is text, from `SecretString` in the response of Secrets Manager.
    Text(SecretValue),
    /// The secret's value is binary data, decoded from `SecretBinary` in the response of Secrets
    /// Manager.
    Binary(SecretValue),
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(value) | Self::Binary(value) => value.len(),
        }
    }
}

impl Version {
    pub(crate) fn carries(&self, label: &str) -> bool {
        self.labels.iter().any(|own| &**own == label)
    }
}
