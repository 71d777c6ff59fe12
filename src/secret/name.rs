//! The length and the characters of secrets' names.

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
