//! The description of one setting in the tables that list all settings.

/// The description of one setting: an environment variable, or a key of a TOML table. `T` is the
/// struct that stores the parsed values of all settings.
#[derive(Debug)]
pub struct Key<T> {
    /// The name of the setting: a variable such as `SIDEKEY_TTL`, or a TOML key such as `ttl`.
    pub name: &'static str,
    /// The default value of the setting, such as `5m`, or the name of the variable that supplies
    /// the default value, such as `SIDEKEY_TTL`. Empty if there is no default.
    pub default: &'static str,
    /// The help text of the setting, in one to three sentences.
    pub help: &'static str,
    /// Parses the string that the user has set, and stores the parsed value in `T`. The error
    /// message does not name the setting, because the caller adds the name.
    pub(super) parse: fn(&mut T, &str) -> Result<(), String>,
}
