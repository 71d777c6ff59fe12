//! The shape of one row in every table of settings.

/// One setting in a table of settings: a variable, or a key of a TOML table.
///
/// The parser of the setting writes the typed value to a field of `T`. `V` is the form in which the
/// setting arrives: the text of a variable, or a TOML value.
#[derive(Debug)]
pub struct Key<T, V: ?Sized = str> {
    /// The name of the setting, as users write it.
    pub name: &'static str,
    /// The value that applies if the setting is left out, or the variable that supplies that value.
    /// Empty if there is no such value.
    pub default: &'static str,
    /// The help text: what the setting does, in one sentence.
    pub help: &'static str,
    /// Parses a value into `T`. The error says what is wrong, but does not repeat the name.
    pub(super) parse: fn(&mut T, &V) -> Result<(), String>,
}
