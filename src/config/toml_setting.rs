//! Converts settings between the TOML file and the variables: `ttl = 300` in the file is the same
//! setting as `SIDEKEY_TTL=300`.

use super::variables::{PREFIX, VARIABLES};
use toml::Value;

/// The error for a TOML value that no variable could express, such as a float.
pub(super) const VALUE_EXPECTED: &str =
    "a string, a number, a boolean or a list of strings expected";

/// Returns the keys of all settings: the names of the variables in lower case, without the prefix.
pub(super) fn keys() -> impl Iterator<Item = String> {
    let names = VARIABLES.iter().map(|variable| variable.name.trim_start_matches(PREFIX));
    names.map(str::to_ascii_lowercase)
}

/// Returns whether `key` is the key of a setting.
pub(super) fn is_key(key: &str) -> bool {
    keys().any(|known| known == key)
}

/// Returns the name of the variable for the same setting as `key`.
pub(super) fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// Returns a TOML value as the text that a variable would contain. The items of a list are joined by
/// commas. Returns `None` for a type that no setting has.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Some(texts?.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}
