//! The AWS account and the AWS region of a secret or a parameter.

/// The AWS account and the AWS region of a secret or a parameter. The default is account
/// 123456789012 in region eu-north-1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The AWS account id, which has twelve digits.
    pub account: String,
    /// The AWS region, such as `eu-north-1`.
    pub region: String,
}

impl Location {
    /// Creates a location from an AWS account id and an AWS region.
    pub fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned() }
    }
}

impl Default for Location {
    fn default() -> Self {
        Self::new("123456789012", "eu-north-1")
    }
}
