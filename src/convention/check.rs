//! Checks whether the JSON value of a secret has the fields that Sidekey expects, with real values
//! of the right types. Other fields of the secret are not decoded.

use super::field::{Field, FieldType};
use super::marker::Marker;
use super::problem::Problem;
use crate::secret::field::each_field;
use crate::secret::version::Content;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Returns the mistakes in a secret's value, in the order of the expected `fields`. `markers` are
/// patterns for dummy values, such as `PLACEHOLDER*`, which a field must not contain.
pub(super) fn problems(content: &Content, fields: &[Field], markers: &[Marker]) -> Vec<Problem> {
    let text = match content {
        Content::Text(text) => text,
        Content::Binary(_) => return vec![Problem::NotText],
    };
    match field_contents(text.expose(), fields, markers) {
        Err(_) => vec![Problem::NotJson],
        Ok(None) => vec![Problem::NotAnObject],
        Ok(Some(contents)) => fields
            .iter()
            .zip(contents)
            .filter_map(|(field, content)| problem(field, content))
            .collect(),
    }
}

/// What one field of a secret's value contains: for example nothing, a dummy value or a real value.
/// The value itself is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldContent {
    /// The field is missing in the secret's value, or is null.
    Absent,
    /// The field contains an empty string, or only white space.
    Blank,
    Placeholder,
    /// The field contains a string that is probably not the intended credential, for example
    /// because it has a line break.
    Flawed(Flaw),
    /// The field contains a real value of this JSON type.
    Value(FieldType),
}

/// The reason why a string in a secret is probably not the intended credential, such as a line
/// break from copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    LoneSurrogate,
    SeveralLines,
    SurroundingSpace,
}

fn problem(field: &Field, content: FieldContent) -> Option<Problem> {
    let name = field.name().into();
    match content {
        FieldContent::Absent | FieldContent::Blank if field.is_optional => None,
        FieldContent::Absent => Some(Problem::Missing { field: name }),
        FieldContent::Placeholder => Some(Problem::Placeholder { field: name }),
        FieldContent::Blank | FieldContent::Flawed(_) if field.field_type != FieldType::String => {
            Some(wrong_type(field, FieldType::String))
        }
        FieldContent::Blank => Some(Problem::Empty { field: name }),
        FieldContent::Flawed(Flaw::LoneSurrogate) => Some(Problem::LoneSurrogate { field: name }),
        FieldContent::Flawed(_) if field.is_multiline => None,
        FieldContent::Flawed(Flaw::SeveralLines) => Some(Problem::SeveralLines { field: name }),
        FieldContent::Flawed(Flaw::SurroundingSpace) => Some(Problem::WhiteSpace { field: name }),
        FieldContent::Value(found) if found != field.field_type => Some(wrong_type(field, found)),
        FieldContent::Value(_) => None,
    }
}

fn wrong_type(field: &Field, found: FieldType) -> Problem {
    Problem::WrongType { field: field.name().into(), expected: field.field_type, found }
}

/// Returns a description of the content of each field in `fields`. Returns `None` if the secret's
/// value `json` is valid JSON, but not an object.
fn field_contents(
    json: &[u8],
    fields: &[Field],
    markers: &[Marker],
) -> serde_json::Result<Option<Vec<FieldContent>>> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return serde_json::from_slice::<IgnoredAny>(json).map(|_| None);
    }
    let mut contents = vec![FieldContent::Absent; fields.len()];
    each_field(json, |name, value| {
        let index = fields.iter().position(|field| field.name().as_bytes() == name);
        // If a field occurs twice, the last one counts, as in nearly every JSON parser.
        if let Some(content) = index.and_then(|index| contents.get_mut(index)) {
            *content = field_content(value.get(), markers);
        }
    })?;
    Ok(Some(contents))
}

/// Describes what a field contains. `json` is the field's JSON value, without white space before
/// it.
fn field_content(json: &str, markers: &[Marker]) -> FieldContent {
    match json.as_bytes().first() {
        Some(b'"') => string_content(json, markers),
        Some(b'{') => FieldContent::Value(FieldType::Object),
        Some(b'[') => FieldContent::Value(FieldType::Array),
        Some(b't' | b'f') => FieldContent::Value(FieldType::Boolean),
        Some(b'n') => FieldContent::Absent,
        _ => FieldContent::Value(FieldType::Number),
    }
}

fn string_content(json: &str, markers: &[Marker]) -> FieldContent {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let Ok(Text(text)) = serde_json::from_str(json) else {
        return FieldContent::Flawed(Flaw::LoneSurrogate);
    };
    let trimmed = text.trim_matches(is_invisible);
    match () {
        () if trimmed.is_empty() => FieldContent::Blank,
        () if markers.iter().any(|mark| mark.matches(trimmed)) => FieldContent::Placeholder,
        () if trimmed.contains(is_line_break) => FieldContent::Flawed(Flaw::SeveralLines),
        () if trimmed.len() < text.len() => FieldContent::Flawed(Flaw::SurroundingSpace),
        () => FieldContent::Value(FieldType::String),
    }
}

/// Returns whether people cannot see `c` at the end of a text: white space, a control character, a
/// zero-width character or a byte order mark.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{VALUE, json, mangled};
    use crate::secret::value::SecretValue;
    use proptest::prelude::*;
    use serde_json::Value;

    fn field(name: &str, field_type: FieldType, is_optional: bool) -> Field {
        let mut field = Field::new(name, field_type).expect("the field's name must be valid");
        field.is_optional = is_optional;
        field
    }

    /// Checks which mistakes Sidekey finds in the secret's value `text`, if the field `a` is
    /// required and all other fields are optional.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let optional = FieldType::ALL.map(|kind| field(kind.label(), kind, true));
        let mut pem = field("pem", FieldType::String, true);
        pem.is_multiline = true;
        let fields: Vec<Field> =
            [field("a", FieldType::String, false), pem].into_iter().chain(optional).collect();
        let markers = ["PLACEHOLDER*", "changeme"]
            .map(|text| Marker::parse(text).expect("the pattern for dummy values must be valid"));
        let found = problems(&Content::Text(text.to_owned().into()), &fields, &markers);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn value_that_follows_the_convention_has_no_problems() {
        check(r#"{"a":"x"}"#, &[]);
        check(r#" {"a":"\u0078","more":{"b":["PLACEHOLDER"]}} "#, &[]);
        check(
            r#"{"array":[1],"object":{"b":1},"boolean":false,"number":-1.5e3,"string":"s","a":"x"}"#,
            &[],
        );
        check(r#"{"a":"a PLACEHOLDER","array":[],"object":{},"number":0}"#, &[]);
    }

    #[test]
    fn json_that_is_not_an_object_is_distinguished_from_text_that_is_not_json() {
        for text in ["", "hunter2", "{", r#"{"a":"x""#, r#"{"a":"x"} x"#, "{'a':'x'}", "{\"a\":x}"]
        {
            check(text, &["the secret's value is not JSON"]);
        }
        for text in ["[]", r#"[{"a":"x"}]"#, r#""x""#, "1", "-1", "1.5", "true", "null"] {
            check(text, &["the secret's value is JSON, but not an object"]);
        }
        let binary = Content::Binary(SecretValue::new(br#"{"a":"x"}"#.to_vec()));
        assert_eq!(problems(&binary, &[], &[]), [Problem::NotText]);
    }

    #[test]
    fn missing_empty_and_placeholder_fields_are_reported() {
        check("{}", &["the field 'a' is missing"]);
        check(r#"{"a":null}"#, &["the field 'a' is missing"]);
        check(r#"{"A":"x"}"#, &["the field 'a' is missing"]);
        check(r#"{"a":""}"#, &["the field 'a' is empty"]);
        check(r#"{"a":" \n"}"#, &["the field 'a' is empty"]);
        for text in
            ["PLACEHOLDER_SID", "PLACEHOLDER", "changeme", " changeme\\n", "\\u0050LACEHOLDER"]
        {
            check(&format!("{{\"a\":\"{text}\"}}"), &["the field 'a' is still a placeholder"]);
        }
        check(r#"{"a":"","a":"x"}"#, &[]);
    }

    #[test]
    fn wrong_type_is_reported_with_the_expected_and_the_found_type() {
        check(r#"{"a":1}"#, &["the field 'a' is a number and not a string"]);
        check(r#"{"a":{"b":1}}"#, &["the field 'a' is an object and not a string"]);
        check(r#"{"a":[1]}"#, &["the field 'a' is an array and not a string"]);
        check(r#"{"a":true}"#, &["the field 'a' is a boolean and not a string"]);
        check(
            r#"{"a":"x","number":"1","boolean":"true","object":[],"array":{}}"#,
            &[
                "the field 'number' is a string and not a number",
                "the field 'boolean' is a string and not a boolean",
                "the field 'object' is an array and not an object",
                "the field 'array' is an object and not an array",
            ],
        );
    }

    #[test]
    fn optional_field_may_be_missing_but_not_wrong() {
        check(r#"{"a":"x","string":"","number":"","boolean":null}"#, &[]);
        check(
            r#"{"a":"x","string":"changeme","number":"PLACEHOLDER_NUMBER"}"#,
            &[
                "the field 'string' is still a placeholder",
                "the field 'number' is still a placeholder",
            ],
        );
    }

    #[test]
    fn string_with_surrounding_white_space_is_a_problem() {
        for value in
            [" x", "x ", "x\\n", "\\tx", "x\\r\\n", "\u{a0}x", "x\u{200b}", "\\ufeffx", "x\\u0000"]
        {
            let expected = "the field 'a' begins or ends with white space";
            check(&format!(r#"{{"a":"{value}"}}"#), &[expected]);
            check(&format!(r#"{{"a":"x","pem":"{value}"}}"#), &[]);
            let expected = "the field 'number' is a string and not a number";
            check(&format!(r#"{{"a":"x","number":"{value}"}}"#), &[expected]);
        }
        check(r#"{"a":"Acme Ltd","other":" x\ny "}"#, &[]);
    }

    #[test]
    fn string_with_several_lines_is_a_problem() {
        let pem = r"-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n";
        for value in [r"x\ny", r"x\r\ny", r"x\ry ", "x\u{2028}y", pem] {
            let expected = "the field 'a' has several lines; if it may have them, set \
                            `multiline = true` for this field in the conventions file";
            check(&format!(r#"{{"a":"{value}"}}"#), &[expected]);
            check(&format!(r#"{{"a":"x","pem":"{value}"}}"#), &[]);
        }
    }

    #[test]
    fn lone_surrogate_is_a_problem_only_of_its_own_field() {
        check(r#"{"a":"x","b":"\ud83d","\ud83d":"y","object":{"c":"\ud83d"}}"#, &[]);
        check(
            r#"{"a":"x\ud83d","string":"y"}"#,
            &["the field 'a' contains half of a surrogate pair, such as \\ud83d"],
        );
        check(
            r#"{"a":"x","pem":"\ude00\n"}"#,
            &["the field 'pem' contains half of a surrogate pair, such as \\ud83d"],
        );
    }

    proptest! {
        #[test]
        fn for_any_json_the_problems_are_those_of_the_parsed_value(value in json()) {
            let fields = [field("a", FieldType::String, false), field("b", FieldType::Number, true)];
            let content = Content::Text(value.to_string().into());
            let found = problems(&content, &fields, &[]);
            let Some(object) = value.as_object() else {
                prop_assert_eq!(found, [Problem::NotAnObject]);
                return Ok(());
            };
            let is_wrong = |field: &Field| match object.get(field.name()) {
                None | Some(Value::Null) => !field.is_optional,
                Some(Value::String(text)) if text.trim_matches(is_invisible).is_empty() => {
                    !field.is_optional
                }
                Some(Value::String(text)) => {
                    field.field_type != FieldType::String
                        || text.trim_matches(is_invisible) != text
                        || text.contains(is_line_break)
                }
                Some(Value::Number(_)) => field.field_type != FieldType::Number,
                Some(_) => true,
            };
            prop_assert_eq!(found.len(), fields.iter().filter(|field| is_wrong(field)).count());
        }

        #[test]
        fn for_any_value_no_problem_contains_it(
            value in mangled(r#"{"a":["hunter2"],"b":"hunter2","more":{"c":"hunter2"}}"#),
        ) {
            let fields = [field("a", FieldType::String, false), field("b", FieldType::Number, false)];
            for problem in problems(&Content::Text(value.into()), &fields, &[]) {
                prop_assert!(!problem.to_string().contains(VALUE), "{problem}");
            }
        }
    }
}
