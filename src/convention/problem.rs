//! What is wrong with a secret's value, told without the value.

use super::field::FieldType;

/// What is wrong with a secret's value, by the convention of its name. Nothing in it is of the value:
/// the field's name is the convention's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is stored as binary.
    #[error("the value is binary and not text")]
    NotText,
    /// It is not JSON.
    #[error("the value is not JSON")]
    NotJson,
    /// It is JSON and no object.
    #[error("the value is JSON, but not an object")]
    NotAnObject,
    /// A field is not there, or null.
    #[error("the field '{field}' is missing")]
    Missing {
        /// The field.
        field: Box<str>,
    },
    /// A field has no text, or white space only.
    #[error("the field '{field}' is empty")]
    Empty {
        /// The field.
        field: Box<str>,
    },
    /// A field's value is of another type.
    #[error("the field '{field}' is {found} and not {expected}")]
    WrongType {
        /// The field.
        field: Box<str>,
        /// What it should be.
        expected: FieldType,
        /// What it is.
        found: FieldType,
    },
    /// A field still has what it was made with.
    #[error("the field '{field}' is still a placeholder")]
    Placeholder {
        /// The field.
        field: Box<str>,
    },
}

impl Problem {
    /// Every code.
    pub const CODES: [&'static str; 7] =
        ["not-text", "not-json", "not-an-object", "missing", "empty", "wrong-type", "placeholder"];

    /// Returns what kind of problem it is, as programs tell it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotText => "not-text",
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::Missing { .. } => "missing",
            Self::Empty { .. } => "empty",
            Self::WrongType { .. } => "wrong-type",
            Self::Placeholder { .. } => "placeholder",
        }
    }

    /// Returns the field that it is about; nothing, where it is about the whole value.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NotText | Self::NotJson | Self::NotAnObject => None,
            Self::Missing { field }
            | Self::Empty { field }
            | Self::WrongType { field, .. }
            | Self::Placeholder { field } => Some(field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_its_code_its_field_and_its_words() {
        let field: Box<str> = "sid".into();
        let (expected, found) = (FieldType::String, FieldType::Array);
        let rows = [
            (Problem::NotText, None, "the value is binary and not text"),
            (Problem::NotJson, None, "the value is not JSON"),
            (Problem::NotAnObject, None, "the value is JSON, but not an object"),
            (Problem::Missing { field: field.clone() }, Some("sid"), "the field 'sid' is missing"),
            (Problem::Empty { field: field.clone() }, Some("sid"), "the field 'sid' is empty"),
            (
                Problem::WrongType { field: field.clone(), expected, found },
                Some("sid"),
                "the field 'sid' is an array and not a string",
            ),
            (Problem::Placeholder { field }, Some("sid"), "the field 'sid' is still a placeholder"),
        ];
        let codes = rows.each_ref().map(|(problem, ..)| problem.code());
        assert_eq!(codes, Problem::CODES);
        for (problem, field, words) in rows {
            assert_eq!((problem.field(), &*problem.to_string()), (field, words));
        }
    }
}
