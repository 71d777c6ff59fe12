//! The name or ARN by which a secret or parameter is cached and fetched.

use super::arn::Arn;
use super::bad_reference::BadReference;
use super::name::PARAMETER_PREFIX;
use super::parameter_path::ParameterPath;
use super::service::Service;
use std::fmt;

/// The maximum length of a secret's name or ARN that Secrets Manager accepts, in characters.
///
/// Source: `SecretId` of `GetSecretValue` in AWS's API reference (1 to 2,048).
pub(crate) const ID_CHARS_MAX: usize = 2048;

/// The beginning of each ARN.
pub(super) const ARN_START: &str = "arn:";

/// The name or ARN of a secret or parameter.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SecretId {
    /// The name of a secret in the agent's own AWS account and region.
    Name(Box<str>),
    /// The name of a parameter in the agent's own AWS account and region. The string begins with
    /// `ssm:`.
    Parameter(Box<str>),
    /// The ARN of a parameter, or the ARN of a secret with or without the random suffix that AWS
    /// appends to the secret's name.
    Arn(Arn),
    /// All parameters under a path. [`parse`](SecretId::parse) never returns this variant.
    Path(ParameterPath),
}

impl SecretId {
    /// Parses the name or ARN of a secret or parameter that a caller sent. The name of a parameter
    /// follows `ssm:`.
    ///
    /// The function accepts names that no secret can have, because callers rely on AWS's answer
    /// that there is no such secret.
    ///
    /// # Errors
    ///
    /// Returns an error if the string is empty, is too long, or contains control characters. Also
    /// returns an error if the string begins with `arn:` but is not the ARN of a secret or of a
    /// parameter.
    pub fn parse(text: &str) -> Result<Self, BadReference> {
        if text.is_empty() || text == PARAMETER_PREFIX {
            return Err(BadReference::Empty);
        }
        if text.len() > ID_CHARS_MAX {
            return Err(BadReference::TooLong { max: ID_CHARS_MAX });
        }
        if let Some(at) = text.chars().position(char::is_control) {
            return Err(BadReference::Character { at: at + 1 });
        }
        if text.starts_with(ARN_START) {
            return Ok(Self::Arn(Arn::parse(text)?));
        }
        if text.starts_with(PARAMETER_PREFIX) {
            return Ok(Self::Parameter(text.into()));
        }
        Ok(Self::Name(text.into()))
    }

    /// Returns the service that stores the secret or parameter.
    pub fn service(&self) -> Service {
        match self {
            Self::Name(_) => Service::SecretsManager,
            Self::Parameter(_) | Self::Path(_) => Service::ParameterStore,
            Self::Arn(arn) => arn.service(),
        }
    }

    /// Returns the name or ARN. The name of a parameter follows `ssm:`, so the name of a secret
    /// never equals the name of a parameter.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(name) | Self::Parameter(name) => name,
            Self::Arn(arn) => arn.as_str(),
            Self::Path(path) => path.as_str(),
        }
    }

    /// Returns the name or ARN as AWS expects it in a call, without the `ssm:` before the name of a
    /// parameter.
    pub(crate) fn aws_id(&self) -> &str {
        let text = self.as_str();
        text.strip_prefix(PARAMETER_PREFIX).unwrap_or(text)
    }

    /// Returns the AWS region in the ARN. Returns `None` for a name, because a name means a secret
    /// or parameter in the agent's own region.
    pub(crate) fn region(&self) -> Option<&str> {
        match self {
            Self::Name(_) | Self::Parameter(_) | Self::Path(_) => None,
            Self::Arn(arn) => Some(arn.region()),
        }
    }

    pub(crate) fn is_arn(&self) -> bool {
        matches!(self, Self::Arn(_))
    }

    /// Returns whether this name or ARN means the secret or parameter with the full ARN `arn` and
    /// the name `name`. The ARN of a secret can lack AWS's random suffix.
    pub(crate) fn means(&self, arn: &Arn, name: &str) -> bool {
        self.service() == arn.service()
            && match self {
                Self::Name(_) => self.aws_id() == name,
                Self::Parameter(_) => {
                    let (first, second) = arn.possible_names();
                    self.aws_id() == name && (first == name || second == Some(name))
                }
                Self::Path(_) => false,
                Self::Arn(own) => {
                    own == arn || (arn.as_str().starts_with(own.as_str()) && own.resource() == name)
                }
            }
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
