//! What the double can be asked to do.

/// An operation of Secrets Manager or of the Security Token Service (STS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Reads one version of one secret.
    GetSecretValue,
    /// Reads the current versions of several secrets.
    BatchGetSecretValue,
    /// Reads what is known of a secret, except its value.
    DescribeSecret,
    /// Reads what is known of every secret, except their values.
    ListSecrets,
    /// Makes a secret.
    CreateSecret,
    /// Gives a secret a new version.
    PutSecretValue,
    /// Gives a secret a new current version, or a new description.
    UpdateSecret,
    /// Moves a staging label from one version to another.
    UpdateSecretVersionStage,
    /// Marks a secret for deletion, or deletes it at once.
    DeleteSecret,
    /// Takes a secret's mark for deletion away.
    RestoreSecret,
    /// Exchanges a web identity's token for credentials; STS.
    AssumeRoleWithWebIdentity,
    /// Says whose credentials these are; STS.
    GetCallerIdentity,
}

impl Operation {
    /// All operations.
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

    /// Returns the name that AWS gives it.
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

    /// Returns the operation of this name, if `service` has one.
    pub(super) fn named(service: Service, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.service() == service && it.name() == name)
    }

    /// Returns the service that it belongs to.
    pub(super) fn service(self) -> Service {
        match self {
            Self::AssumeRoleWithWebIdentity | Self::GetCallerIdentity => Service::Sts,
            _ => Service::SecretsManager,
        }
    }
}

/// A service that the double stands in for. Each has a protocol of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// AWS JSON 1.1: the operation is in the header `X-Amz-Target`.
    SecretsManager,
    /// AWS Query: the operation is in the form, the answer is XML.
    Sts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_name_and_only_in_its_service() {
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
