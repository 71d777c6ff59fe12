//! The operations that the fake AWS server supports, and the AWS service of each operation.

/// An API operation of AWS Secrets Manager, of Parameter Store (a part of AWS Systems Manager), or
/// of the AWS Security Token Service (STS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Secrets Manager operation: reads one version of one secret.
    GetSecretValue,
    /// Secrets Manager operation: reads the current versions of several secrets.
    BatchGetSecretValue,
    /// Secrets Manager operation: reads the metadata of one secret, without the secret's value.
    DescribeSecret,
    /// Secrets Manager operation: lists the metadata of all secrets, without their values.
    ListSecrets,
    /// Secrets Manager operation: creates a secret.
    CreateSecret,
    /// Secrets Manager operation: adds a version to a secret.
    PutSecretValue,
    /// Secrets Manager operation: adds a new current version to a secret, or changes the
    /// description of the secret.
    UpdateSecret,
    /// Secrets Manager operation: moves a staging label from one version of a secret to another
    /// version.
    UpdateSecretVersionStage,
    /// Secrets Manager operation: schedules a secret for deletion, or deletes the secret at once.
    DeleteSecret,
    /// Secrets Manager operation: cancels the scheduled deletion of a secret.
    RestoreSecret,
    /// Parameter Store operation: reads one version of one parameter.
    GetParameter,
    /// Parameter Store operation: reads several parameters.
    GetParameters,
    /// Parameter Store operation: reads the parameters whose names start with a path.
    GetParametersByPath,
    /// Parameter Store operation: creates a parameter, or adds a version to a parameter.
    PutParameter,
    /// Parameter Store operation: deletes a parameter with all its versions.
    DeleteParameter,
    /// Parameter Store operation: moves labels to a version of a parameter.
    LabelParameterVersion,
    /// STS operation: exchanges the caller's credentials for temporary credentials of a role.
    AssumeRole,
    /// STS operation: exchanges a web identity token for temporary AWS credentials.
    AssumeRoleWithWebIdentity,
    /// STS operation: returns the identity to which the caller's credentials belong.
    GetCallerIdentity,
}

impl Operation {
    /// All operations that the fake AWS server supports, in the order in which the enum defines
    /// them.
    pub const ALL: [Self; 19] = [
        Self::GetSecretValue,
        Self::BatchGetSecretValue,
        Self::DescribeSecret,
        Self::ListSecrets,
        Self::CreateSecret,
        Self::PutSecretValue,
        Self::UpdateSecret,
        Self::UpdateSecretVersionStage,
        Self::DeleteSecret,
        Self::RestoreSecret,
        Self::GetParameter,
        Self::GetParameters,
        Self::GetParametersByPath,
        Self::PutParameter,
        Self::DeleteParameter,
        Self::LabelParameterVersion,
        Self::AssumeRole,
        Self::AssumeRoleWithWebIdentity,
        Self::GetCallerIdentity,
    ];

    /// Returns the name of this operation in AWS's API, such as `GetSecretValue`.
    pub fn name(self) -> &'static str {
        match self {
            Self::GetSecretValue => "GetSecretValue",
            Self::BatchGetSecretValue => "BatchGetSecretValue",
            Self::DescribeSecret => "DescribeSecret",
            Self::ListSecrets => "ListSecrets",
            Self::CreateSecret => "CreateSecret",
            Self::PutSecretValue => "PutSecretValue",
            Self::UpdateSecret => "UpdateSecret",
            Self::UpdateSecretVersionStage => "UpdateSecretVersionStage",
            Self::DeleteSecret => "DeleteSecret",
            Self::RestoreSecret => "RestoreSecret",
            Self::GetParameter => "GetParameter",
            Self::GetParameters => "GetParameters",
            Self::GetParametersByPath => "GetParametersByPath",
            Self::PutParameter => "PutParameter",
            Self::DeleteParameter => "DeleteParameter",
            Self::LabelParameterVersion => "LabelParameterVersion",
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
            Self::GetCallerIdentity => "GetCallerIdentity",
        }
    }

    /// Returns the operation of the AWS service `service` with the name `name`, such as
    /// `GetSecretValue`. Returns `None` if the fake AWS server does not support this operation.
    pub(crate) fn named(service: Service, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.service() == service && it.name() == name)
    }

    pub(crate) fn service(self) -> Service {
        match self {
            Self::AssumeRole | Self::AssumeRoleWithWebIdentity | Self::GetCallerIdentity => {
                Service::Sts
            }
            Self::GetParameter
            | Self::GetParameters
            | Self::GetParametersByPath
            | Self::PutParameter
            | Self::DeleteParameter
            | Self::LabelParameterVersion => Service::ParameterStore,
            _ => Service::SecretsManager,
        }
    }
}

/// An AWS service that the fake AWS server supports. Each service has its own protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// AWS Secrets Manager. Its protocol is AWS JSON 1.1: the header `X-Amz-Target` of a request
    /// contains the name of the operation.
    SecretsManager,
    /// Parameter Store, a part of AWS Systems Manager. Its protocol is AWS JSON 1.1, as for Secrets
    /// Manager.
    ParameterStore,
    /// AWS STS. Its protocol is AWS Query: a request is a form that contains the name of the
    /// operation, and a response is XML.
    Sts,
}

impl Service {
    const ALL: [Self; 3] = [Self::SecretsManager, Self::ParameterStore, Self::Sts];

    /// Returns the service with the name `prefix`, the part before the dot in the header
    /// `X-Amz-Target`. Returns `None` if the fake AWS server does not support this service.
    pub(crate) fn of_target(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.target_prefix() == Some(prefix))
    }

    /// Returns the service's name in the header `X-Amz-Target`, such as `secretsmanager`. Returns
    /// `None` if requests to the service do not have this header.
    pub(crate) fn target_prefix(self) -> Option<&'static str> {
        match self {
            Self::SecretsManager => Some("secretsmanager"),
            Self::ParameterStore => Some("AmazonSSM"),
            Self::Sts => None,
        }
    }

    /// Returns the prefix of the service's actions in IAM policies, such as `secretsmanager`.
    pub(crate) fn iam_prefix(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::ParameterStore => "ssm",
            Self::Sts => "sts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_name_in_its_own_service_only() {
        for operation in Operation::ALL {
            for service in Service::ALL {
                let expected = (service == operation.service()).then_some(operation);
                assert_eq!(Operation::named(service, operation.name()), expected);
            }
            assert_eq!(operation.name(), format!("{operation:?}"));
        }
        assert_eq!(Operation::named(Service::SecretsManager, "RotateSecret"), None);
    }
}
