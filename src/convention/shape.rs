//! Looks a value over: of each field, what it is and whether there is anything in it.
//!
//! The value is read once, from where it is. No text of it is kept.

use super::field::{Field, FieldType};
use super::marker::Marker;
use super::problem::Problem;
use crate::secret::version::Content;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Returns what is wrong with a value, in the order of the fields.
pub(super) fn problems(content: &Content, fields: &[Field], markers: &[Marker]) -> Vec<Problem> {
    let text = match content {
        Content::Text(text) => text,
        Content::Binary(_) => return vec![Problem::NotText],
    };
    let mut reader = serde_json::Deserializer::from_slice(text.expose());
    let look = Whole { fields, markers }.deserialize(&mut reader);
    match look.and_then(|look| reader.end().map(|()| look)) {
        Err(_) => vec![Problem::NotJson],
        Ok(None) => vec![Problem::NotAnObject],
        Ok(Some(looks)) => {
            fields.iter().zip(looks).filter_map(|(field, look)| problem(field, look)).collect()
        }
    }
}

/// What a field looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// There is none, or null.
    Absent,
    /// Text without anything in it.
    Blank,
    /// Text that has a mark.
    Marked,
    /// Any other value.
    Of(FieldType),
}

fn problem(field: &Field, look: Look) -> Option<Problem> {
    let name = field.name().into();
    match look {
        Look::Absent | Look::Blank if field.is_optional => None,
        Look::Absent => Some(Problem::Missing { field: name }),
        Look::Marked => Some(Problem::Placeholder { field: name }),
        Look::Blank if field.field_type == FieldType::String => {
            Some(Problem::Empty { field: name })
        }
        Look::Blank => Some(wrong(field, FieldType::String)),
        Look::Of(found) if found != field.field_type => Some(wrong(field, found)),
        Look::Of(_) => None,
    }
}

fn wrong(field: &Field, found: FieldType) -> Problem {
    Problem::WrongType { field: field.name().into(), expected: field.field_type, found }
}

/// Reads a whole value: how each field looks, or that it is no object.
struct Whole<'a> {
    fields: &'a [Field],
    markers: &'a [Marker],
}

/// Reads the value of one field.
struct One<'a> {
    markers: &'a [Marker],
}

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Option<Vec<Look>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Option<Vec<Look>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut looks = vec![Look::Absent; self.fields.len()];
        let place = Place { fields: self.fields };
        while let Some(at) = map.next_key_seed(&place)? {
            // Where a field is there twice the last counts, as nearly every reader of JSON has it.
            match at.and_then(|at| looks.get_mut(at)) {
                Some(look) => *look = map.next_value_seed(One { markers: self.markers })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(looks))
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

/// Reads a field's name: which of the fields it is, if any.
struct Place<'a> {
    fields: &'a [Field],
}

impl<'de> DeserializeSeed<'de> for &Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_identifier(self)
    }
}

impl Visitor<'_> for &Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.fields.iter().position(|field| field.name() == name))
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Look;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Look;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Look, E> {
        Ok(match () {
            () if text.trim().is_empty() => Look::Blank,
            () if self.markers.iter().any(|mark| mark.matches(text.trim())) => Look::Marked,
            () => Look::Of(FieldType::String),
        })
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Look, E> {
        Ok(Look::Of(FieldType::Boolean))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Look, E> {
        Ok(Look::Of(FieldType::Number))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Look, E> {
        Ok(Look::Of(FieldType::Number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Look, E> {
        Ok(Look::Of(FieldType::Number))
    }

    fn visit_unit<E: Error>(self) -> Result<Look, E> {
        Ok(Look::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Look, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Look::Of(FieldType::Object))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Look, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Look::Of(FieldType::Array))
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
        let mut field = Field::new(name, field_type).expect("a good name");
        field.is_optional = is_optional;
        field
    }

    /// Looks over a value that should have the text `a`, and may have one field of each type.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let optional = FieldType::ALL.map(|kind| field(kind.label(), kind, true));
        let fields: Vec<Field> =
            [field("a", FieldType::String, false)].into_iter().chain(optional).collect();
        let markers = ["PLACEHOLDER*", "changeme"].map(|mark| Marker::parse(mark).expect("good"));
        let found = problems(&Content::Text(text.to_owned().into()), &fields, &markers);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_value_as_it_should_be_has_no_problems() {
        check(r#"{"a":"x"}"#, &[]);
        check(r#" {"a":"\u0078","more":{"b":["PLACEHOLDER"]}} "#, &[]);
        check(
            r#"{"array":[1],"object":{"b":1},"boolean":false,"number":-1.5e3,"string":"s","a":"x"}"#,
            &[],
        );
        check(r#"{"a":"a PLACEHOLDER","array":[],"object":{},"number":0}"#, &[]);
    }

    #[test]
    fn what_is_no_object_is_told_from_what_is_no_json() {
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
    fn a_field_that_is_missing_empty_or_a_placeholder_is_told() {
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
    fn a_value_of_another_type_is_told_with_both() {
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
    fn what_is_optional_may_be_left_out_but_not_left_wrong() {
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
        fn for_any_json_the_problems_are_those_that_a_parsed_value_has(value in json()) {
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
        fn for_any_value_no_problem_shows_it(
            value in mangled(r#"{"a":["hunter2"],"b":"hunter2","more":{"c":"hunter2"}}"#),
        ) {
            let fields = [field("a", FieldType::String, false), field("b", FieldType::Number, false)];
            for problem in problems(&Content::Text(value.into()), &fields, &[]) {
                prop_assert!(!problem.to_string().contains(VALUE), "{problem}");
            }
        }
    }
}
