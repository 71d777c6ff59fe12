//! The parameter `SecretId` of a request: a secret's name, full ARN or partial ARN.

use crate::error::AwsError;
use crate::location::Location;

/// The number of random characters at the end of a secret's full ARN. AWS adds them after the name
/// and a hyphen.
pub(crate) const SUFFIX_LEN: usize = 6;

/// The maximum length of a `SecretId` parameter in bytes.
///
/// Source: `SecretIdType` in AWS's API reference.
const ID_LEN_MAX: usize = 2048;

/// The maximum length of a secret's name in bytes.
///
/// Source: `NameType` in AWS's API reference.
const NAME_LEN_MAX: usize = 512;

/// The parameter `SecretId` of a request, after parsing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SecretId<'a> {
    /// The `SecretId` is a name. The secret belongs to the caller's own account and region.
    Name(&'a str),
    /// The `SecretId` is a full ARN or a partial ARN. A partial ARN lacks the hyphen and the six
    /// random characters at the end.
    ///
    /// A name can also end with a hyphen and six characters. The ARN alone therefore does not tell
    /// whether it is full or partial.
    Arn {
        location: Location,
        /// The last part of the ARN. In a partial ARN, it is the name of the secret. In a full ARN,
        /// a hyphen and six random characters follow the name.
        resource: &'a str,
    },
}

impl<'a> SecretId<'a> {
    pub(crate) fn parse(id: &'a str) -> Result<Self, AwsError> {
        if id.is_empty() {
            let constraint = "Member must have length greater than or equal to 1";
            return Err(AwsError::broken_constraint("secretId", Some("''"), constraint));
        }
        if id.len() > ID_LEN_MAX {
            let constraint = "Member must have length less than or equal to 2048";
            return Err(AwsError::broken_constraint("secretId", None, constraint));
        }
        if !id.starts_with("arn:") {
            return check_name(id).map(|()| Self::Name(id));
        }
        let parts: Vec<&str> = id.splitn(7, ':').collect();
        match parts[..] {
            ["arn", _, "secretsmanager", region, account, "secret", resource]
                if !resource.is_empty() =>
            {
                Ok(Self::Arn { location: Location::new(account, region), resource })
            }
            _ => Err(invalid_name()),
        }
    }
}

/// Returns the full ARN of the secret called `name`. `suffix` contains the six random characters at
/// the end of the ARN.
pub(crate) fn arn(location: &Location, name: &str, suffix: &str) -> String {
    let Location { account, region } = location;
    format!("arn:aws:secretsmanager:{region}:{account}:secret:{name}-{suffix}")
}

/// Removes the hyphen and the six random characters at the end of `resource`, the last part of an
/// ARN. Returns `None` if `resource` does not end in this way.
pub(crate) fn without_suffix(resource: &str) -> Option<&str> {
    let (name, suffix) = resource.rsplit_once('-')?;
    let is_suffix =
        suffix.len() == SUFFIX_LEN && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_suffix && !name.is_empty()).then_some(name)
}

/// Returns an error if AWS does not accept `name` as the name of a secret.
pub(crate) fn check_name(name: &str) -> Result<(), AwsError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
    if name.is_empty() || name.len() > NAME_LEN_MAX || !name.bytes().all(is_allowed) {
        return Err(invalid_name());
    }
    Ok(())
}

fn invalid_name() -> AwsError {
    AwsError::validation(
        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the \
         following: -/_+=.@!",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_does_not_start_with_arn_is_a_name() {
        assert_eq!(SecretId::parse("db/main"), Ok(SecretId::Name("db/main")));
        assert_eq!(SecretId::parse("db-AbCdEf"), Ok(SecretId::Name("db-AbCdEf")));
    }

    #[test]
    fn arn_contains_the_location_of_the_secret() {
        let location = Location::new("111122223333", "eu-west-1");
        let arn = arn(&location, "db/main", "AbCdEf");
        assert_eq!(arn, "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db/main-AbCdEf");
        let expected = SecretId::Arn { location, resource: "db/main-AbCdEf" };
        assert_eq!(SecretId::parse(&arn), Ok(expected));
    }

    #[test]
    fn text_that_is_neither_name_nor_secret_arn_is_rejected() {
        let too_long = "x".repeat(2049);
        for id in ["", "db main", "db:main", "arn:aws:s3:::bucket", "arn:", &too_long] {
            let error = SecretId::parse(id)
                .expect_err("the text must not be accepted as the name or ARN of a secret");
            assert_eq!(error.kind, "ValidationException", "{id}");
        }
    }

    #[test]
    fn suffix_is_six_letters_or_digits_after_a_hyphen() {
        assert_eq!(without_suffix("db-AbCdE6"), Some("db"));
        assert_eq!(without_suffix("db-AbCdE"), None);
        assert_eq!(without_suffix("db-AbCd/6"), None);
        assert_eq!(without_suffix("-AbCdE6"), None);
        assert_eq!(without_suffix("db"), None);
    }
}
