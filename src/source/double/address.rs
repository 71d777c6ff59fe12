//! How a request names a secret.

use super::error::AwsError;
use std::fmt;

/// An account and a region: where a secret lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The account's twelve digits.
    pub account: String,
    /// The region, such as `eu-north-1`.
    pub region: String,
}

impl Place {
    /// Makes a place of an account and a region.
    pub fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned() }
    }

    /// Returns the ARN of the secret `name` here whose ARN ends with `suffix`.
    pub(super) fn arn(&self, name: &str, suffix: &str) -> String {
        let Self { account, region } = self;
        format!("arn:aws:secretsmanager:{region}:{account}:secret:{name}-{suffix}")
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new("123456789012", "eu-north-1")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

/// How many characters AWS appends to a secret's name in its ARN, after a hyphen.
pub(super) const SUFFIX_LEN: usize = 6;

/// The longest `SecretId`, and the longest name, in characters.
///
/// Source: `SecretIdType` and `NameType` in AWS's API reference.
const ID_LEN_MAX: usize = 2048;
const NAME_LEN_MAX: usize = 512;

/// What a `SecretId` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address<'a> {
    /// A name: a secret of the caller's own account and region.
    Name(&'a str),
    /// An ARN, with the suffix (a full one) or without (a partial one): which of the two cannot be
    /// told from its text, since a name may end like a suffix.
    Arn {
        /// Where the secret lives.
        place: Place,
        /// The name, with or without a hyphen and the suffix.
        resource: &'a str,
    },
}

impl<'a> Address<'a> {
    /// Reads a `SecretId`.
    pub(super) fn parse(id: &'a str) -> Result<Self, AwsError> {
        if id.is_empty() {
            let constraint = "have length greater than or equal to 1";
            return Err(AwsError::constraint("secretId", Some("''"), constraint));
        }
        if id.len() > ID_LEN_MAX {
            let constraint = "have length less than or equal to 2048";
            return Err(AwsError::constraint("secretId", None, constraint));
        }
        if !id.starts_with("arn:") {
            return check_name(id).map(|()| Self::Name(id));
        }
        let parts: Vec<&str> = id.splitn(7, ':').collect();
        match parts[..] {
            ["arn", _, "secretsmanager", region, account, "secret", resource]
                if !resource.is_empty() =>
            {
                Ok(Self::Arn { place: Place::new(account, region), resource })
            }
            _ => Err(invalid_name()),
        }
    }
}

/// Returns the name in an ARN's resource if that ends with a suffix.
pub(super) fn without_suffix(resource: &str) -> Option<&str> {
    let (name, suffix) = resource.rsplit_once('-')?;
    let looks_like_one =
        suffix.len() == SUFFIX_LEN && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (looks_like_one && !name.is_empty()).then_some(name)
}

/// Checks that a secret may have this name.
pub(super) fn check_name(name: &str) -> Result<(), AwsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
    if name.is_empty() || name.len() > NAME_LEN_MAX || !name.bytes().all(allowed) {
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
    fn a_name_is_a_name() {
        assert_eq!(Address::parse("db/main"), Ok(Address::Name("db/main")));
        assert_eq!(Address::parse("db-AbCdEf"), Ok(Address::Name("db-AbCdEf")));
    }

    #[test]
    fn an_arn_says_where_the_secret_lives() {
        let place = Place::new("111122223333", "eu-west-1");
        let arn = place.arn("db/main", "AbCdEf");
        assert_eq!(arn, "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db/main-AbCdEf");
        let expected = Address::Arn { place, resource: "db/main-AbCdEf" };
        assert_eq!(Address::parse(&arn), Ok(expected));
    }

    #[test]
    fn what_is_neither_is_refused() {
        let too_long = "x".repeat(2049);
        for id in ["", "db main", "db:main", "arn:aws:s3:::bucket", "arn:", &too_long] {
            let error = Address::parse(id).expect_err("not an address");
            assert_eq!(error.kind, "ValidationException", "{id}");
        }
    }

    #[test]
    fn a_suffix_is_six_letters_or_digits_after_a_hyphen() {
        assert_eq!(without_suffix("db-AbCdE6"), Some("db"));
        assert_eq!(without_suffix("db-AbCdE"), None);
        assert_eq!(without_suffix("db-AbCd/6"), None);
        assert_eq!(without_suffix("-AbCdE6"), None);
        assert_eq!(without_suffix("db"), None);
    }
}
