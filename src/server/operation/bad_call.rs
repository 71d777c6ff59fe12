//! The errors of AWS API calls that are not valid.

use crate::secret::service::Service;
use crate::server::parameter_name::BadParameterName;

/// Why an AWS API call is not valid. If AWS has a text for an error, Sidekey sends the same text.
///
/// No text quotes the body of the call, because the body may contain a secret value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCall {
    /// Error: an AWS API call names no operation, or an operation of this AWS service that Sidekey
    /// does not serve.
    #[error("Sidekey serves only the operations {}", operations(*.0))]
    Unsupported(Service),
    #[error("the body is not valid JSON: error at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error(
        "the JSON body does not have the structure of this operation: error at line {line}, column {column}"
    )]
    Shape { line: usize, column: usize },
    /// Error: this required member (parameter) is missing in the body of the AWS API call, such as
    /// `secretId`.
    #[error(
        "1 validation error detected: Value null at '{0}' failed to satisfy constraint: Member \
         must not be null"
    )]
    Missing(&'static str),
    /// Error: this member (parameter) in the body of the AWS API call is an empty string or list.
    #[error(
        "1 validation error detected: Value at '{0}' failed to satisfy constraint: Member must \
         have length greater than or equal to 1"
    )]
    Empty(&'static str),
    /// Error: a member (parameter) in the body of the AWS API call is longer than AWS allows.
    #[error(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member \
         must have length less than or equal to {max}"
    )]
    TooLong {
        member: &'static str,
        /// The maximum length of the parameter: in characters for a string, or in items for a list.
        max: usize,
    },
    /// Error: the number in this member (parameter) of the AWS API call is less than 1.
    #[error(
        "1 validation error detected: Value at '{0}' failed to satisfy constraint: Member must \
         have value greater than or equal to 1"
    )]
    TooSmall(&'static str),
    #[error(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member \
         must have value less than or equal to {max}"
    )]
    TooLarge { member: &'static str, max: usize },
    #[error("Either 'SecretIdList' or 'Filters' must be provided, but not both.")]
    ListOrFilters,
    #[error(
        "'Filters' is not supported, because Sidekey cannot search for secrets: Sidekey knows only the secrets that were read"
    )]
    Filters,
    /// Error: a call of Secrets Manager names a parameter of Parameter Store instead of a secret.
    #[error("'SecretId' names a parameter of Parameter Store, not a secret of Secrets Manager")]
    ParameterId,
    #[error(transparent)]
    Name(#[from] BadParameterName),
    #[error(
        "The parameter doesn't meet the parameter name requirements. The parameter name must begin \
         with a forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" \
         (case-insensitive). It must use only letters, numbers, or the following symbols: . \
         (period), - (hyphen), _ (underscore). Special characters are not allowed. All sub-paths, \
         if specified, must use the forward slash symbol \"/\". Valid example: \
         /get/parameters2-/by1./path0_."
    )]
    Path,
    #[error(
        "The following filter key is not valid. Valid filter keys include: [Type, KeyId, Label]."
    )]
    FilterKey,
    /// Error: the option of a filter in `GetParametersByPath` is unknown. The string contains the
    /// valid options.
    #[error("The following filter option is not valid. Valid options include: [{0}].")]
    FilterOption(&'static str),
    /// Error: a filter in `GetParametersByPath` has no values. The text is AWS's, including its
    /// mistakes.
    #[error("The following filter values are missing : null for filter key")]
    FilterValue,
    /// Error: the member `NextToken` is not valid, or Sidekey sent this token in the answer to a
    /// call with another path or other filters.
    #[error("The specified token isn't valid.")]
    NextToken,
}

impl BadCall {
    /// Returns the type of the error by the name that AWS uses, such as `ValidationException`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Unsupported(_) => "UnsupportedOperationException",
            Self::NotJson { .. } | Self::Shape { .. } => "SerializationException",
            Self::Missing(_)
            | Self::Empty(_)
            | Self::TooLong { .. }
            | Self::TooSmall(_)
            | Self::TooLarge { .. }
            | Self::ParameterId
            | Self::Name(_)
            | Self::Path => "ValidationException",
            Self::ListOrFilters | Self::Filters => "InvalidParameterException",
            Self::FilterKey => "InvalidFilterKey",
            Self::FilterOption(_) => "InvalidFilterOption",
            Self::FilterValue => "InvalidFilterValue",
            Self::NextToken => "InvalidNextToken",
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Unsupported(Service::ParameterStore) => {
                "for other operations, reach AWS directly: use a separate client without \
                 AWS_ENDPOINT_URL_SSM, or a client with AWS's own endpoint"
            }
            Self::Unsupported(Service::SecretsManager) => {
                "for other operations, reach AWS directly: use a separate client without \
                 AWS_ENDPOINT_URL_SECRETS_MANAGER, or a client with AWS's own endpoint"
            }
            Self::NotJson { .. } | Self::Shape { .. } => {
                "send the JSON object that AWS's SDKs send for this operation"
            }
            Self::Missing(_)
            | Self::Empty(_)
            | Self::TooLong { .. }
            | Self::TooSmall(_)
            | Self::TooLarge { .. }
            | Self::ListOrFilters
            | Self::Path
            | Self::FilterKey
            | Self::FilterOption(_)
            | Self::FilterValue => {
                "correct the JSON body of the request as AWS's API reference describes"
            }
            Self::Filters => {
                "name the secrets in SecretIdList instead, or send the call to AWS directly"
            }
            Self::ParameterId => {
                "call GetParameter of Systems Manager instead, with AWS_ENDPOINT_URL_SSM set to \
                 Sidekey's URL"
            }
            Self::Name(BadParameterName::OtherArn) => {
                "name a parameter; for a secret, call GetSecretValue of Secrets Manager, or use the \
                 name /aws/reference/secretsmanager/NAME"
            }
            Self::Name(BadParameterName::EncryptedSecret) => "set WithDecryption to true",
            Self::NextToken => "list the parameters again, from the first page",
        }
    }
}

/// Returns the operations of an AWS service that Sidekey serves, as a phrase for error messages.
fn operations(service: Service) -> &'static str {
    match service {
        Service::SecretsManager => "GetSecretValue, BatchGetSecretValue and DescribeSecret",
        Service::ParameterStore => "GetParameter, GetParameters and GetParametersByPath",
    }
}
