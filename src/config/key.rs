//! The type of a row in the tables that list all settings.

/// One setting: an environment variable, or a key of a TOML table. `T` is the struct that stores
/// the parsed value.
#[derive(Debug)]
pub struct Key<T> {
    /// The name of the setting, such as `SIDEKEY_TTL`.
    pub name: &'static str,
    /// The default of the setting: a value such as `5m`, or the name of the variable that supplies
    /// the value, such as `SIDEKEY_TTL`. The string is empty if the setting has no default.
    pub default: &'static str,
    /// The help text of the setting, in one to three sentences.
    pub help: &'static str,
    /// Parses the string that the user has set, and stores the result in `T`. The error message
    /// lacks the name of the setting, because the caller adds the name.
    pub(super) parse: fn(&mut T, &str) -> Result<(), String>,
}
