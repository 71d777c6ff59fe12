//! The length and the characters of the names of secrets and parameters.

/// The maximum length of a secret's name, in characters.
///
/// Source: `Name` of `CreateSecret` in AWS's API reference (1 to 512).
pub(crate) const NAME_CHARS_MAX: usize = 512;

/// Returns whether the name of a secret can contain the character `c`.
///
/// The `!` occurs only in names of secrets that other AWS services manage, such as `rds!db-…`.
///
/// Source: `Name` of `CreateSecret` in AWS's API reference.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/_+=.@!-".contains(c)
}

/// The text before a parameter's name in requests and settings, as in `ssm:/app/url`.
pub(crate) const PARAMETER_PREFIX: &str = "ssm:";

/// The maximum length of a parameter's name, in characters.
///
/// Source: AWS's page *Creating Parameter Store parameters* in the Systems Manager user guide.
pub(crate) const PARAMETER_NAME_CHARS_MAX: usize = 1011;

/// The maximum number of parts between slashes in a parameter's name.
///
/// Source: AWS's page *Working with parameter hierarchies* in the Systems Manager user guide.
pub(crate) const PARAMETER_LEVELS_MAX: usize = 15;

/// Returns whether the name of a parameter can contain the character `c`.
///
/// Source: `Name` of `PutParameter` in AWS's API reference.
pub(crate) fn is_parameter_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/_.-".contains(c)
}
