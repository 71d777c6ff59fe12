//! A field that the JSON of a secret has.

use std::fmt;

/// The longest name of a field.
const FIELD_CHARS_MAX: usize = 64;

/// What a field's name is made of. It is shown in logs and in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field's name is 1 to {FIELD_CHARS_MAX} characters of A-Za-z0-9_.-")]
pub struct BadFieldName;

/// A field that the JSON of a secret has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: Box<str>,
    /// What its value is.
    pub field_type: FieldType,
    /// Whether its value is to be kept from everybody, and does not merely name something. Sidekey
    /// shows neither; this is for what is made from conventions.
    pub is_secret: bool,
    /// Whether it may be left out, null or empty.
    pub is_optional: bool,
}

/// What the value of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// An object.
    Object,
    /// An array.
    Array,
}

impl Field {
    /// Returns a field that is secret and must be there.
    ///
    /// # Errors
    ///
    /// Where the name is empty, too long, or has a character that a header cannot show.
    pub fn new(name: &str, field_type: FieldType) -> Result<Self, BadFieldName> {
        let is_shown = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > FIELD_CHARS_MAX || !name.chars().all(is_shown) {
            return Err(BadFieldName);
        }
        Ok(Self { name: name.into(), field_type, is_secret: true, is_optional: false })
    }

    /// Returns what it is called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FieldType {
    /// Every type.
    pub const ALL: [Self; 5] =
        [Self::String, Self::Number, Self::Boolean, Self::Object, Self::Array];

    /// Returns how the type is written.
    pub fn label(self) -> &'static str {
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
    /// Writes the type with its article.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let article = if matches!(self, Self::Object | Self::Array) { "an" } else { "a" };
        write!(f, "{article} {}", self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_secret_and_needed_unless_it_is_said_otherwise() {
        let field = Field::new("auth_token", FieldType::String).expect("a good name");
        assert_eq!((field.name(), field.is_secret, field.is_optional), ("auth_token", true, false));
    }

    #[test]
    fn a_name_that_a_header_cannot_show_is_refused() {
        for name in ["", "a b", "é", "a\n", "a;b", "'a'", &"a".repeat(65)] {
            assert_eq!(Field::new(name, FieldType::String), Err(BadFieldName), "{name:?}");
        }
        assert!(Field::new(&"a".repeat(64), FieldType::String).is_ok());
    }

    #[test]
    fn a_type_is_shown_with_its_article() {
        let shown = FieldType::ALL.map(|field_type| field_type.to_string());
        assert_eq!(shown, ["a string", "a number", "a boolean", "an object", "an array"]);
    }
}
