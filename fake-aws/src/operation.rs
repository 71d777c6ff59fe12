//! The operations that the fake supports, and the service that each belongs to.

/// An operation of Secrets Manager or of the Security Token Service (STS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Secrets Manager: reads one version of one secret.
    GetSecretValue,
    /// Secrets Manager: reads the current versions of several secrets.
    BatchGetSecretValue,
    /// Secrets Manager: reads the metadata of one secret, without its value.
    DescribeSecret,
    /// Secrets Manager: reads the metadata of all secrets, without their values.
    ListSecrets,
    /// Secrets Manager: creates a secret.
    CreateSecret,
    /// Secrets Manager: adds a version to a secret.
    PutSecretValue,
    /// Secrets Manager: adds a current version to a secret, or changes the secret's description.
    UpdateSecret,
    /// Secrets Manager: moves a staging label from one version to another.
    UpdateSecretVersionStage,
    /// Secrets Manager: schedules a secret for deletion, or deletes the secret at once.
    DeleteSecret,
    /// Secrets Manager: cancels the scheduled deletion of a secret.
    RestoreSecret,
    /// STS: exchanges a web identity token for temporary credentials.
    AssumeRoleWithWebIdentity,
    /// STS: returns the identity that the caller's credentials belong to.
    GetCallerIdentity,
}

impl Operation {
    /// All operations, in the order of the variants.
    pub const ALL: [Self; 12] = [
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
        Self::AssumeRoleWithWebIdentity,
        Self::GetCallerIdentity,
    ];

    /// Returns the name of the operation in AWS's API, such as `GetSecretValue`.
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
            Self::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
            Self::GetCallerIdentity => "GetCallerIdentity",
        }
    }

    /// Returns the operation called `name` of `service`, or `None` if the fake does not support it.
    pub(crate) fn named(service: Service, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.service() == service && it.name() == name)
    }

    /// Returns the service that the operation belongs to.
    pub(crate) fn service(self) -> Service {
        match self {
            Self::AssumeRoleWithWebIdentity | Self::GetCallerIdentity => Service::Sts,
            _ => Service::SecretsManager,
        }
    }
}

/// An AWS service that the fake supports. The two services use different protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Secrets Manager, with the protocol AWS JSON 1.1: the header `X-Amz-Target` names the operation.
    SecretsManager,
    /// STS, with the protocol AWS Query: a form names the operation, and the response is XML.
    Sts,
}

impl Service {
    /// Returns the prefix of the service's actions in IAM policies.
    pub(crate) fn iam_prefix(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
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
            let other = match operation.service() {
                Service::SecretsManager => Service::Sts,
                Service::Sts => Service::SecretsManager,
            };
            assert_eq!(Operation::named(operation.service(), operation.name()), Some(operation));
            assert_eq!(Operation::named(other, operation.name()), None);
            assert_eq!(operation.name(), format!("{operation:?}"));
        }
        assert_eq!(Operation::named(Service::SecretsManager, "RotateSecret"), None);
    }
}
