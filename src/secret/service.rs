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
    /// All services from which Sidekey reads secrets.
    pub const ALL: [Self; 2] = [Self::SecretsManager, Self::ParameterStore];

    /// Returns the name of the service in error messages, such as `Parameter Store`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SecretsManager => "Secrets Manager",
            Self::ParameterStore => "Parameter Store",
        }
    }

    /// Returns the name of the service in ARNs, such as `ssm`.
    pub(crate) fn arn_name(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::ParameterStore => "ssm",
        }
    }
}

/// The values of one setting for each service, such as how long secrets and how long parameters
/// stay in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerService<T> {
    /// The value of the setting for secrets of Secrets Manager.
    pub secrets: T,
    /// The value of the setting for parameters of Parameter Store.
    pub parameters: T,
}

impl<T> PerService<T> {
    pub(crate) fn of(&self, service: Service) -> &T {
        match service {
            Service::SecretsManager => &self.secrets,
            Service::ParameterStore => &self.parameters,
        }
    }

    pub(crate) fn map<U>(&self, convert: impl Fn(&T) -> U) -> PerService<U> {
        PerService { secrets: convert(&self.secrets), parameters: convert(&self.parameters) }
    }
}

impl<T: Clone> From<T> for PerService<T> {
    /// Uses the same value of a setting for every service.
    fn from(setting: T) -> Self {
        Self { secrets: setting.clone(), parameters: setting }
    }
}
