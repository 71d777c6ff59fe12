//! An AWS account and a region.

/// An AWS account and a region: where a secret lives. The default is account 123456789012 in
/// eu-north-1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The twelve digits of the account id.
    pub account: String,
    /// The region, such as `eu-north-1`.
    pub region: String,
}

impl Location {
    /// Creates a location from an account id and a region.
    pub fn new(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned() }
    }
}

impl Default for Location {
    fn default() -> Self {
        Self::new("123456789012", "eu-north-1")
    }
}
