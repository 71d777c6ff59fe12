//! Checks whether a secret's value has the fields that its convention requires. A convention is a
//! set of rules for the names and values of one kind of secret.
//!
//! The check parses the JSON in place and in one pass, and copies no part of the value.

use super::field::{Field, FieldType};
use super::marker::Marker;
use super::problem::Problem;
use crate::secret::version::Content;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Returns the ways in which a secret's value breaks its convention, in the order of `fields`. A
/// marker is a pattern for dummy values, such as `PLACEHOLDER*`.
pub(super) fn problems(content: &Content, fields: &[Field], markers: &[Marker]) -> Vec<Problem> {
    let text = match content {
        Content::Text(text) => text,
        Content::Binary(_) => return vec![Problem::NotText],
    };
    let mut json = serde_json::Deserializer::from_slice(text.expose());
    let contents = ValueReader { fields, markers }.deserialize(&mut json);
    match contents.and_then(|contents| json.end().map(|()| contents)) {
        Err(_) => vec![Problem::NotJson],
        Ok(None) => vec![Problem::NotAnObject],
        Ok(Some(contents)) => fields
            .iter()
            .zip(contents)
            .filter_map(|(field, content)| problem(field, content))
            .collect(),
    }
}

/// What one field of a secret's value contains. The real value is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldContent {
    /// The field is missing in the secret's value, or is null.
    Absent,
    /// The field contains an empty string, or only white space.
    Blank,
    /// The field contains a dummy value such as `PLACEHOLDER_TOKEN`, because the user has not
    /// filled it in yet.
    Placeholder,
    /// The field contains a real value of this JSON type.
    Value(FieldType),
}

fn problem(field: &Field, content: FieldContent) -> Option<Problem> {
    let name = field.name().into();
    match content {
        FieldContent::Absent | FieldContent::Blank if field.is_optional => None,
        FieldContent::Absent => Some(Problem::Missing { field: name }),
        FieldContent::Placeholder => Some(Problem::Placeholder { field: name }),
        FieldContent::Blank if field.field_type == FieldType::String => {
            Some(Problem::Empty { field: name })
        }
        FieldContent::Blank => Some(wrong_type(field, FieldType::String)),
        FieldContent::Value(found) if found != field.field_type => Some(wrong_type(field, found)),
        FieldContent::Value(_) => None,
    }
}

fn wrong_type(field: &Field, found: FieldType) -> Problem {
    Problem::WrongType { field: field.name().into(), expected: field.field_type, found }
}

/// A parser of a secret's value. The result describes the content of each field in `fields`, or is
/// `None` if the value is not a JSON object.
struct ValueReader<'a> {
    fields: &'a [Field],
    markers: &'a [Marker],
}

struct FieldReader<'a> {
    markers: &'a [Marker],
}

impl<'de> DeserializeSeed<'de> for ValueReader<'_> {
    type Value = Option<Vec<FieldContent>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueReader<'_> {
    type Value = Option<Vec<FieldContent>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut contents = vec![FieldContent::Absent; self.fields.len()];
        let name_reader = FieldNameReader { fields: self.fields };
        while let Some(index) = map.next_key_seed(&name_reader)? {
            // If a field occurs twice, the last one counts, as in nearly every JSON parser.
            match index.and_then(|index| contents.get_mut(index)) {
                Some(content) => {
                    *content = map.next_value_seed(FieldReader { markers: self.markers })?
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(contents))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A parser of a field's name in a secret's value. The result is the index of this field in
/// `fields`, or `None` if no field in `fields` has this name.
struct FieldNameReader<'a> {
    fields: &'a [Field],
}

impl<'de> DeserializeSeed<'de> for &FieldNameReader<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_identifier(self)
    }
}

impl Visitor<'_> for &FieldNameReader<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.fields.iter().position(|field| field.name() == name))
    }
}

impl<'de> DeserializeSeed<'de> for FieldReader<'_> {
    type Value = FieldContent;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldReader<'_> {
    type Value = FieldContent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<FieldContent, E> {
        Ok(match () {
            () if text.trim().is_empty() => FieldContent::Blank,
            () if self.markers.iter().any(|mark| mark.matches(text.trim())) => {
                FieldContent::Placeholder
            }
            () => FieldContent::Value(FieldType::String),
        })
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<FieldContent, E> {
        Ok(FieldContent::Value(FieldType::Boolean))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<FieldContent, E> {
        Ok(FieldContent::Value(FieldType::Number))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<FieldContent, E> {
        Ok(FieldContent::Value(FieldType::Number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<FieldContent, E> {
        Ok(FieldContent::Value(FieldType::Number))
    }

    fn visit_unit<E: Error>(self) -> Result<FieldContent, E> {
        Ok(FieldContent::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldContent, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(FieldContent::Value(FieldType::Object))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FieldContent, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FieldContent::Value(FieldType::Array))
    }
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

    /// Checks the value `text` against a convention that requires the string field `a`. The
    /// convention also has one optional field of each JSON type.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let optional = FieldType::ALL.map(|kind| field(kind.label(), kind, true));
        let fields: Vec<Field> =
            [field("a", FieldType::String, false)].into_iter().chain(optional).collect();
        let markers = ["PLACEHOLDER*", "changeme"]
            .map(|text| Marker::parse(text).expect("the marker must be valid"));
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
            check(text, &["the value is not JSON"]);
        }
        for text in ["[]", r#"[{"a":"x"}]"#, r#""x""#, "1", "-1", "1.5", "true", "null"] {
            check(text, &["the value is JSON, but not an object"]);
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
                Some(Value::String(text)) if text.trim().is_empty() => !field.is_optional,
                Some(Value::String(_)) => field.field_type != FieldType::String,
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
