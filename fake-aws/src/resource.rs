//! The secrets and parameters to which permissions and faults apply.

/// A name or an ARN of a secret or of a parameter. The type contains the AWS service, because a
/// secret and a parameter can have the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    /// The name or ARN of a secret of Secrets Manager.
    Secret(String),
    /// The name or ARN of a parameter of Parameter Store, or the path of several parameters.
    Parameter(String),
}

impl Resource {
    pub(crate) fn secret(id: &str) -> Self {
        Self::Secret(id.to_owned())
    }

    pub(crate) fn parameter(id: &str) -> Self {
        Self::Parameter(id.to_owned())
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Secret(id) | Self::Parameter(id) => id,
        }
    }
}
