//! Why a permission counts as missing in an IAM policy, or as unneeded.

use crate::commands::policy::parse::named;
use serde::Serialize;
use std::fmt;

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub(in crate::commands::policy) enum LackReason {
    NotGranted,
    /// The policy grants the permission only for full ARNs, one of which may be the secret's ARN.
    /// Sidekey cannot know this, because the user gave only the secret's name.
    OnlyFullArn {
        statement: String,
        /// The ARNs in the policy that may be the secret's ARN.
        arns: Vec<String>,
    },
    /// The policy grants the permission only under conditions, and Sidekey cannot know whether the
    /// conditions hold.
    UnderCondition {
        /// The `Sid` of the policy statement, or words such as `statement 2` if it has no `Sid`.
        statement: String,
        /// The condition keys of the policy statement, such as `aws:ResourceTag/team`.
        keys: Vec<String>,
    },
    /// The policy grants the permission only through `NotAction` or `NotResource`: it allows
    /// everything except a list, and the list does not contain the permission.
    ByExclusion {
        statement: String,
    },
    Denied {
        statement: String,
    },
    /// A `Deny` statement may deny the permission: the statement has conditions, or applies only to
    /// some of the secrets.
    PerhapsDenied {
        statement: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::commands::policy) enum ExcessReason {
    WildAction,
    OtherAction,
    AllButActions,
    WildResource,
    LooseSuffix,
    AllButResources,
    OtherResource,
    AnyService,
    AnyParameter,
    AnyTag,
}

impl fmt::Display for LackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("no statement grants this permission"),
            Self::OnlyFullArn { statement, arns } => {
                let (statement, arns) = (named(statement), arns.join(", "));
                write!(
                    f,
                    "{statement} grants this permission on {arns}, which may be this secret; give --verify the secret's full ARN instead of its name"
                )
            }
            Self::UnderCondition { statement, keys } => {
                let (statement, keys) = (named(statement), keys.join(", "));
                write!(f, "{statement} grants this permission only under a condition on {keys}")
            }
            Self::ByExclusion { statement } => {
                let statement = named(statement);
                write!(
                    f,
                    "{statement} grants this permission only by NotAction or NotResource; use Action and Resource instead"
                )
            }
            Self::Denied { statement } => {
                write!(f, "{} denies this permission", named(statement))
            }
            Self::PerhapsDenied { statement } => {
                write!(f, "{} may deny this permission", named(statement))
            }
        }
    }
}

impl fmt::Display for ExcessReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WildAction => {
                "the action contains a wildcard; write the names of the needed actions instead"
            }
            Self::OtherAction => "the action is not needed to read these secrets",
            Self::AllButActions => {
                "NotAction allows all actions that it does not list; use Action instead"
            }
            Self::WildResource => "the resource pattern can also match resources that are not needed",
            Self::LooseSuffix => "the ending -* of the ARN also matches longer names of secrets; write -?????? instead",
            Self::AllButResources => {
                "NotResource allows all resources that it does not list; use Resource instead"
            }
            Self::OtherResource => "the resource is not one of the needed secrets, parameters, keys or roles",
            Self::AnyService => {
                "the KMS key can be used through other services; allow only the needed services in a condition on kms:ViaService"
            }
            Self::AnyParameter => {
                "the KMS key can decrypt other parameters; allow only the needed parameters in a condition on kms:EncryptionContext:PARAMETER_ARN"
            }
            Self::AnyTag => {
                "the statement also allows secrets without the tag; allow only the needed tag in a condition on secretsmanager:ResourceTag/KEY"
            }
        })
    }
}
