//! The mistakes that a secret's value can have. Error messages contain no part of the value.

use super::field::FieldType;

/// A mistake in a secret's value, such as a missing field. The error message contains no part of
/// the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The secret's value is binary data, but it must be text.
    #[error("the secret's value is binary and not text")]
    NotText,
    /// The secret's value is text, but not JSON.
    #[error("the secret's value is not JSON")]
    NotJson,
    /// The secret's value is JSON, but not an object.
    #[error("the secret's value is JSON, but not an object")]
    NotAnObject,
    /// A required field is missing in the secret's value, or is null.
    #[error("the field '{field}' is missing")]
    Missing {
        /// The name of the missing field.
        field: Box<str>,
    },
    /// A required field of the secret's value is an empty string, or has only white space.
    #[error("the field '{field}' is empty")]
    Empty {
        /// The name of the empty field.
        field: Box<str>,
    },
    /// A field of the secret's value has the wrong JSON type, such as a number in place of a
    /// string.
    #[error("the field '{field}' is {found} and not {expected}")]
    WrongType {
        /// The name of the field that has the wrong type.
        field: Box<str>,
        /// The JSON type that the field must have.
        expected: FieldType,
        /// The JSON type that the field has in the secret's value.
        found: FieldType,
    },
    /// A field of the secret's value still contains a dummy value, such as `PLACEHOLDER_TOKEN`.
    #[error("the field '{field}' is still a placeholder")]
    Placeholder {
        /// The name of the field that contains a dummy value.
        field: Box<str>,
    },
    /// A field of the secret's value begins or ends with white space or invisible characters, which
    /// often come from copying.
    #[error("the field '{field}' begins or ends with white space")]
    WhiteSpace {
        /// The name of the field that begins or ends with white space.
        field: Box<str>,
    },
    /// A field of the secret's value has more than one line, but must have only one.
    #[error(
        "the field '{field}' has several lines; if it may have them, set `multiline = true` for \
         this field in the conventions file"
    )]
    SeveralLines {
        /// The name of the field that has several lines.
        field: Box<str>,
    },
    /// A field of the secret's value contains half of a surrogate pair, such as `\ud83d`, so the
    /// field is not valid text.
    #[error("the field '{field}' contains half of a surrogate pair, such as \\ud83d")]
    LoneSurrogate {
        /// The name of the field that contains half of a surrogate pair.
        field: Box<str>,
    },
}

impl Problem {
    /// The short names of all mistakes that a secret's value can have, such as `not-json`.
    pub const CODES: [&'static str; 10] = [
        "not-text",
        "not-json",
        "not-an-object",
        "missing",
        "empty",
        "wrong-type",
        "placeholder",
        "white-space",
        "several-lines",
        "lone-surrogate",
    ];

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotText => "not-text",
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::Missing { .. } => "missing",
            Self::Empty { .. } => "empty",
            Self::WrongType { .. } => "wrong-type",
            Self::Placeholder { .. } => "placeholder",
            Self::WhiteSpace { .. } => "white-space",
            Self::SeveralLines { .. } => "several-lines",
            Self::LoneSurrogate { .. } => "lone-surrogate",
        }
    }

    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::NotText | Self::NotJson | Self::NotAnObject => None,
            Self::Missing { field }
            | Self::Empty { field }
            | Self::WrongType { field, .. }
            | Self::Placeholder { field }
            | Self::WhiteSpace { field }
            | Self::SeveralLines { field }
            | Self::LoneSurrogate { field } => Some(field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_a_code_a_field_and_a_message() {
        let field: Box<str> = "sid".into();
        let (expected, found) = (FieldType::String, FieldType::Array);
        let rows = [
            (Problem::NotText, None, "the secret's value is binary and not text"),
            (Problem::NotJson, None, "the secret's value is not JSON"),
            (Problem::NotAnObject, None, "the secret's value is JSON, but not an object"),
            (Problem::Missing { field: field.clone() }, Some("sid"), "the field 'sid' is missing"),
            (Problem::Empty { field: field.clone() }, Some("sid"), "the field 'sid' is empty"),
            (
                Problem::WrongType { field: field.clone(), expected, found },
                Some("sid"),
                "the field 'sid' is an array and not a string",
            ),
            (
                Problem::Placeholder { field: field.clone() },
                Some("sid"),
                "the field 'sid' is still a placeholder",
            ),
            (
                Problem::WhiteSpace { field: field.clone() },
                Some("sid"),
                "the field 'sid' begins or ends with white space",
            ),
            (
                Problem::SeveralLines { field: field.clone() },
                Some("sid"),
                "the field 'sid' has several lines; if it may have them, set `multiline = true` \
                 for this field in the conventions file",
            ),
            (
                Problem::LoneSurrogate { field },
                Some("sid"),
                "the field 'sid' contains half of a surrogate pair, such as \\ud83d",
            ),
        ];
        let codes = rows.each_ref().map(|(problem, ..)| problem.code());
        assert_eq!(codes, Problem::CODES);
        for (problem, field, message) in rows {
            assert_eq!((problem.field(), &*problem.to_string()), (field, message));
        }
    }
}
