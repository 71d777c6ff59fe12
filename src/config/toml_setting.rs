//! A setting as a TOML file has it: its key, and its value as a variable would have it.

use super::variables::{PREFIX, VARIABLES};
use toml::Value;

/// What is wrong with a value of a kind that no setting has.
pub(super) const VALUE_EXPECTED: &str =
    "a string, a number, a boolean or a list of strings expected";

/// Returns the keys of all settings: the variables' names in small letters, without the prefix.
pub(super) fn keys() -> impl Iterator<Item = String> {
    let names = VARIABLES.iter().map(|variable| variable.name.trim_start_matches(PREFIX));
    names.map(str::to_ascii_lowercase)
}

/// Returns whether `key` is that of a setting.
pub(super) fn is_key(key: &str) -> bool {
    keys().any(|known| known == key)
}

/// Returns a value as it would be written in a variable.
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
