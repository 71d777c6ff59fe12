//! The value of a parameter, together with its type.

use std::fmt;

/// The value of one version of a parameter, together with its type: `String`, `StringList` or
/// `SecureString`. A Rust string becomes a value of type `String`.
///
/// The `Debug` output contains only the type and the length of the value, so that a test never
/// prints a real password.
#[derive(Clone, PartialEq, Eq)]
pub struct ParameterValue {
    kind: ParameterType,
    text: String,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParameterType {
    String,
    /// A list of strings. Requests and responses contain one string, in which commas separate the
    /// items.
    StringList,
    /// A string that AWS encrypts with a KMS key.
    SecureString,
}

impl ParameterType {
    const ALL: [Self; 3] = [Self::String, Self::StringList, Self::SecureString];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

impl ParameterValue {
    pub(crate) fn new(kind: ParameterType, text: String) -> Self {
        Self { kind, text }
    }

    /// Creates a value of type `StringList`. An item with a comma counts as two items, because
    /// commas separate the items in requests and responses.
    pub fn list<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Self {
        let items: Vec<String> = items.into_iter().map(Into::into).collect();
        Self::new(ParameterType::StringList, items.join(","))
    }

    /// Creates a value of type `SecureString`. Requests without `WithDecryption` get a ciphertext.
    pub fn secure(text: impl Into<String>) -> Self {
        Self::new(ParameterType::SecureString, text.into())
    }

    pub(crate) fn kind(&self) -> ParameterType {
        self.kind
    }

    /// Returns the value as one string. In a `StringList`, commas separate the items.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl From<&str> for ParameterValue {
    fn from(text: &str) -> Self {
        Self::new(ParameterType::String, text.to_owned())
    }
}

impl From<String> for ParameterValue {
    fn from(text: String) -> Self {
        Self::new(ParameterType::String, text)
    }
}

impl fmt::Debug for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} bytes)", self.kind.name(), self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_type_and_the_length_only() {
        assert_eq!(format!("{:?}", ParameterValue::secure("hunter2")), "SecureString(7 bytes)");
        assert_eq!(format!("{:?}", ParameterValue::from("hunter2")), "String(7 bytes)");
    }

    #[test]
    fn commas_separate_the_items_of_a_list() {
        assert_eq!(ParameterValue::list(["a", "b"]).text(), "a,b");
    }

    #[test]
    fn types_are_found_by_name() {
        for kind in ParameterType::ALL {
            assert_eq!(ParameterType::named(kind.name()), Some(kind));
        }
        assert_eq!(ParameterType::named("Secret"), None);
    }
}
