//! A field that Sidekey expects in the JSON value of a secret, and the JSON type of the field.

use std::fmt;

/// The maximum length of the name of a field in a secret's JSON value, in characters.
const FIELD_CHARS_MAX: usize = 64;

/// The error for an invalid name of a field in a secret's value. Only some characters are allowed,
/// because the name occurs in logs and in an HTTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field's name must have 1 to {FIELD_CHARS_MAX} characters of A-Za-z0-9_.-")]
pub(crate) struct BadFieldName;

/// A field that Sidekey expects in the JSON value of one kind of secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: Box<str>,
    pub(crate) field_type: FieldType,
    /// Whether the field is confidential, and not only an identifier such as an account id. The
    /// flag only informs people who read the conventions file: Sidekey treats every field as
    /// confidential.
    pub(crate) is_secret: bool,
    /// Whether the field may be missing, null or empty in the secret's value.
    pub(crate) is_optional: bool,
    /// Whether the field may have several lines, and white space at its beginning or end, like a
    /// private key in the PEM format.
    pub(crate) is_multiline: bool,
}

/// The JSON type of a field in a secret's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    String,
    Number,
    Boolean,
    Object,
    Array,
}

impl Field {
    /// Makes a field that is confidential and required in the secret's value.
    ///
    /// # Errors
    ///
    /// Returns an error if `name` is empty, too long, or has a character outside `A-Za-z0-9_.-`.
    pub(crate) fn new(name: &str, field_type: FieldType) -> Result<Self, BadFieldName> {
        if name.is_empty() || name.len() > FIELD_CHARS_MAX || !name.chars().all(is_field_char) {
            return Err(BadFieldName);
        }
        let name = name.into();
        Ok(Self { name, field_type, is_secret: true, is_optional: false, is_multiline: false })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

fn is_field_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

impl FieldType {
    pub(crate) const ALL: [Self; 5] =
        [Self::String, Self::Number, Self::Boolean, Self::Object, Self::Array];

    pub(crate) fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.label() == label)
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
        }
    }
}

impl fmt::Display for FieldType {
    /// Writes the name of the JSON type with its article, such as `an object`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let article = if matches!(self, Self::Object | Self::Array) { "an" } else { "a" };
        write!(f, "{article} {}", self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_secret_and_required_by_default() {
        let field = Field::new("auth_token", FieldType::String).expect("the name must be valid");
        assert_eq!((field.name(), field.is_secret, field.is_optional), ("auth_token", true, false));
        assert!(
            !field.is_multiline,
            "by default, a field must not be allowed to have several lines"
        );
    }

    #[test]
    fn name_with_a_character_outside_the_set_is_refused() {
        for name in ["", "a b", "é", "a\n", "a;b", "'a'", &"a".repeat(65)] {
            assert_eq!(Field::new(name, FieldType::String), Err(BadFieldName), "{name:?}");
        }
        assert!(Field::new(&"a".repeat(64), FieldType::String).is_ok());
    }

    #[test]
    fn type_is_displayed_with_its_article() {
        let displayed = FieldType::ALL.map(|field_type| field_type.to_string());
        assert_eq!(displayed, ["a string", "a number", "a boolean", "an object", "an array"]);
    }
}
