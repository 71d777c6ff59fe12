//! What a secret may be called.

/// The longest name of a secret.
///
/// Source: `Name` of `CreateSecret` in AWS's API reference (1 to 512).
pub const NAME_CHARS_MAX: usize = 512;

/// Returns whether a secret's name may have `c` in it.
///
/// Source: `Name` of `CreateSecret` in AWS's API reference; and the names of secrets that services of AWS
/// manage (`rds!db-…`), which nobody else can give.
pub fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/_+=.@!-".contains(c)
}
