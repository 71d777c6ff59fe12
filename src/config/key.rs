//! The type of a row in the tables that list all settings.

/// One setting in a table of settings: an environment variable, or a key of a TOML table.
///
/// `parse` writes the typed value of the setting to a field of `T`.
#[derive(Debug)]
pub struct Key<T> {
    /// The name of the setting, as users write it.
    pub name: &'static str,
    /// The value that applies if the setting is left out, or the name of the variable that supplies
    /// this value. Empty if the setting has no default.
    pub default: &'static str,
    /// The help text: one or two sentences that describe the setting.
    pub help: &'static str,
    /// Parses the text of the setting, and writes the typed value to `T`. The error does not
    /// contain the name of the setting.
    pub(super) parse: fn(&mut T, &str) -> Result<(), String>,
}
