//! The row type of every table of settings.

/// One setting in a table of settings: a variable, or a key of a TOML table.
///
/// The parser of the setting writes the typed value to a field of `T`.
#[derive(Debug)]
pub struct Key<T> {
    /// The name of the setting, as users write it.
    pub name: &'static str,
    /// The value that applies if the setting is left out, or the name of the variable that supplies
    /// this value. Empty if no value applies then.
    pub default: &'static str,
    /// The help text, which describes the setting in one or two sentences.
    pub help: &'static str,
    /// Parses the text of the setting into `T`. The error describes the problem without the name of the
    /// setting.
    pub(super) parse: fn(&mut T, &str) -> Result<(), String>,
}
