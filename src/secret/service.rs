//! The AWS services from which Sidekey reads secrets.

/// The AWS service that stores a secret.
///
/// In Sidekey's code, *secret* means a secret of Secrets Manager or a parameter of Parameter Store,
/// because both are cached by the same rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// AWS Secrets Manager.
    SecretsManager,
    /// AWS Systems Manager Parameter Store.
    ParameterStore,
}

impl Service {
    /// Every service from which Sidekey reads secrets.
    pub const ALL: [Self; 2] = [Self::SecretsManager, Self::ParameterStore];

    /// Returns the name of the service in ARNs.
    pub(crate) fn arn_name(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::ParameterStore => "ssm",
        }
    }
}
