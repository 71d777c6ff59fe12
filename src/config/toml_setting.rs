//! Converts settings in the configuration file to environment variables, and back: `ttl = 300` in
//! the file is the same setting as `SIDEKEY_TTL=300`.

use super::values::is_separator;
use super::variables::{PREFIX, VARIABLES};
use toml::Value;

const VALUE_EXPECTED: &str = "the value must be a string, a number, a boolean or a list of strings";

/// Returns the keys of all settings that the configuration file can contain, such as `ttl`.
pub(super) fn keys() -> impl Iterator<Item = String> {
    VARIABLES.iter().map(|variable| key_name(variable.name))
}

/// Returns the key of the configuration file for an environment variable: `ttl` for `SIDEKEY_TTL`.
pub(super) fn key_name(variable: &str) -> String {
    variable.trim_start_matches(PREFIX).to_ascii_lowercase()
}

pub(super) fn is_key(key: &str) -> bool {
    keys().any(|known| known == key)
}

/// Returns the environment variable for a key of the configuration file: `SIDEKEY_TTL` for `ttl`.
pub(super) fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// The error message for an item of a TOML list that contains a comma or white space. Such an item
/// would later be split into several items.
const SEPARATOR_IN_ITEM: &str = "an item of the list contains white space or a comma, which separate items: write each item as a string of its own";

/// Converts a TOML value to the value of the equivalent environment variable. Joins the items of a
/// list with commas.
///
/// # Errors
///
/// Returns an error if the type of the TOML value is unsupported, or if an item of a list contains
/// a comma or white space.
pub(super) fn text_of(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let texts = texts.ok_or(VALUE_EXPECTED)?;
            if texts.iter().any(|text| text.trim().contains(is_separator)) {
                return Err(SEPARATOR_IN_ITEM);
            }
            Ok(texts.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => Err(VALUE_EXPECTED),
    }
}
