//! Reads single fields of a secret whose value is a JSON object.

use super::value::SecretValue;
use super::version::Content;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The maximum number of existing field names that Sidekey lists in the error for an unknown field.
const NAMES_SHOWN_MAX: usize = 20;

/// The maximum number of characters of a field's name in an error message. Longer names are cut.
const NAME_SHOWN_CHARS_MAX: usize = 80;

/// The fields of a secret's JSON value, as callers get them: a JSON string without its quotes, and
/// any other JSON value without white space.
///
/// A field that cannot be returned as text, such as `null`, is stored as an error. Only a read of
/// this field fails.
#[derive(Debug)]
pub struct Fields(Result<BTreeMap<Box<str>, Result<SecretValue, NoText>>, FieldError>);

/// The reason why a field of a secret's JSON value cannot be returned as text.
#[derive(Clone, Copy, Debug)]
enum NoText {
    Null,
    /// The field is a JSON string with half of a surrogate pair, such as `\ud83d`, which UTF-8
    /// cannot represent.
    LoneSurrogate,
}

/// The approximate memory in bytes that the cache needs for one field of a secret, apart from the
/// field's name and value: a node of a map, and a reference count.
const FIELD_BYTES: usize = 128;

/// The error for a read of one field of a secret. The error message lists names of existing fields,
/// but contains no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("the secret is binary and has no fields")]
    Binary,
    #[error("the secret is not a JSON object and has no fields")]
    NotAnObject,
    #[error(
        "the secret has no field '{name}'; it has {names}",
        name = displayed(requested),
        names = list(existing, *more)
    )]
    Absent {
        requested: Box<str>,
        /// The names of the first existing fields of the secret, in alphabetical order. Control
        /// characters in the names are escaped.
        existing: Vec<Box<str>>,
        /// The number of existing fields whose names are not in `existing`.
        more: usize,
    },
    /// Error: the requested field of the secret is JSON `null`. If Sidekey returned the text
    /// `null`, a caller could use this text as a password.
    #[error(
        "the field '{name}' of the secret is null, so it has no value",
        name = displayed(.0)
    )]
    Null(Box<str>),
    #[error(
        "the field '{name}' is not valid text: it contains half of a surrogate pair, such as \
         \\ud83d",
        name = displayed(.0)
    )]
    LoneSurrogate(Box<str>),
}

impl Fields {
    pub(crate) fn of(content: &Content) -> Self {
        let text = match content {
            Content::Text(text) => text,
            Content::Binary(_) => return Self(Err(FieldError::Binary)),
        };
        let mut fields = BTreeMap::new();
        let parsed = each_field(text.expose(), |name, raw| {
            // A name with half of a surrogate pair is not UTF-8, so no caller can request it.
            if let Ok(name) = std::str::from_utf8(name) {
                fields.insert(name.into(), field_text(raw.get()));
            }
        });
        Self(parsed.map(|()| fields).map_err(|_| FieldError::NotAnObject))
    }

    /// Returns the approximate memory that the fields of the secret use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let fields = self.0.iter().flatten();
        let text_bytes =
            |text: &Result<SecretValue, NoText>| text.as_ref().map_or(0, SecretValue::len);
        fields.map(|(name, text)| name.len() + text_bytes(text) + FIELD_BYTES).sum()
    }

    /// Returns the value of the secret's field called `name`.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret has no such field, or if the field's value cannot be returned
    /// as text, such as `null`.
    pub fn field(&self, name: &str) -> Result<&SecretValue, FieldError> {
        let fields = self.0.as_ref().map_err(Clone::clone)?;
        let text = fields.get(name).ok_or_else(|| FieldError::Absent {
            requested: name.into(),
            existing: fields
                .keys()
                .take(NAMES_SHOWN_MAX)
                .map(|name| displayed(name).into())
                .collect(),
            more: fields.len().saturating_sub(NAMES_SHOWN_MAX),
        })?;
        text.as_ref().map_err(|why| match why {
            NoText::Null => FieldError::Null(name.into()),
            NoText::LoneSurrogate => FieldError::LoneSurrogate(name.into()),
        })
    }
}

/// Returns a secret's value as raw JSON if the value is a JSON object or array.
///
/// Returns `None` for any other JSON value. For example, the value `1.10` may be a password, and a
/// caller's JSON parser would change the number `1.10` to `1.1`.
pub(crate) fn json(content: &Content) -> Option<&RawValue> {
    let Content::Text(text) = content else { return None };
    let raw: &RawValue = serde_json::from_slice(text.expose()).ok()?;
    raw.get().starts_with(['{', '[']).then_some(raw)
}

/// Returns one field of a secret's JSON value as raw JSON. If several fields are called `name`,
/// returns the last of these fields.
pub(crate) fn json_field<'a>(content: &'a Content, name: &str) -> Option<&'a RawValue> {
    let Content::Text(text) = content else { return None };
    let mut found = None;
    let parsed = each_field(text.expose(), |key, raw| {
        if key == name.as_bytes() {
            found = Some(raw);
        }
    });
    parsed.ok().and(found)
}

/// Calls `read` with the name and the raw JSON value of each field of a JSON object.
///
/// The function does not decode JSON strings in the values, so half of a surrogate pair (such as
/// `\ud83d`) in a value is no error. A name with half of a surrogate pair is passed as bytes that
/// are not valid UTF-8.
///
/// # Errors
///
/// Returns an error if `json` is not a JSON object.
pub(crate) fn each_field<'a>(
    json: &'a [u8],
    read: impl FnMut(&[u8], &'a RawValue),
) -> serde_json::Result<()> {
    struct Reading<F>(F);
    impl<'de, F: FnMut(&[u8], &'de RawValue)> Visitor<'de> for Reading<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(Key(key)) = map.next_key()? {
                // Raw JSON keeps every digit of a long number. A float would round the number.
                (self.0)(&key, map.next_value()?);
            }
            Ok(())
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    reader.deserialize_map(Reading(read))?;
    reader.end()
}

/// A key of a JSON object. The key is copied only if it contains escapes such as `\n`.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, [u8]>);

/// Converts the JSON value of a field to the text that callers get. A JSON string loses its quotes,
/// and any other value loses its white space.
fn field_text(json: &str) -> Result<SecretValue, NoText> {
    match json {
        "null" => Err(NoText::Null),
        string if string.starts_with('"') => {
            let text = serde_json::from_str::<String>(string);
            text.map(SecretValue::from).map_err(|_| NoText::LoneSurrogate)
        }
        other => Ok(compact(other).into()),
    }
}

/// Removes white space from JSON text, except the white space in JSON strings.
///
/// The buffer for the result has its maximum size from the start. If the buffer grew, copies of the
/// secret would stay in freed memory.
fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for c in json.chars() {
        if is_in_string || !c.is_ascii_whitespace() {
            compact.push(c);
        }
        is_in_string ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
    }
    compact
}

/// Returns the beginning of a field's name for an error message. Control characters are escaped,
/// because a line break in a name could forge a line of the log.
fn displayed(name: &str) -> String {
    name.chars().take(NAME_SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}

fn list(names: &[Box<str>], more: usize) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    match (names.len(), more) {
        (0, _) => "none".to_owned(),
        (_, 0) => quoted.join(", "),
        (_, more) => format!("{} and {more} more", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{self, VALUE, mangled};
    use proptest::prelude::*;

    fn fields(content: Content) -> Fields {
        Fields::of(&content)
    }

    fn text(value: &str) -> Content {
        Content::Text(value.to_owned().into())
    }

    #[test]
    fn string_field_is_returned_without_quotes() {
        let fields =
            fields(text(r#"{"user":"ann \"a\"","port":5432,"tls":{"on":true},"text":"null"}"#));
        for (name, expected) in
            [("user", r#"ann "a""#), ("port", "5432"), ("tls", r#"{"on":true}"#), ("text", "null")]
        {
            let value = fields.field(name).expect("the value must have the field");
            assert_eq!(value.expose(), expected.as_bytes());
        }
    }

    /// Sidekey must preserve every digit of a number in a secret's value, because the number can be
    /// a PIN.
    #[test]
    fn fields_that_are_not_strings_keep_their_text() {
        let fields = fields(text(
            r#"{"long": 12345678901234567890123, "v":1.10,"e":1E400, "z": -0.0,
                "o": { "b" : 1.50 , "a": [ "x \\\" y" , { } ], "\u0061": "\t z" }, "t":true}"#,
        ));
        for (name, expected) in [
            ("long", "12345678901234567890123"),
            ("v", "1.10"),
            ("e", "1E400"),
            ("z", "-0.0"),
            ("o", r#"{"b":1.50,"a":["x \\\" y",{}],"\u0061":"\t z"}"#),
            ("t", "true"),
        ] {
            let value = fields.field(name).expect("the value must have the field");
            assert_eq!(std::str::from_utf8(value.expose()), Ok(expected), "{name}");
        }
    }

    #[test]
    fn absent_field_error_lists_the_existing_fields_and_no_value() {
        let fields = fields(text(r#"{"user":"ann","pass":"hunter2"}"#));
        let message =
            fields.field("password").expect_err("reading an absent field must fail").to_string();
        assert_eq!(message, "the secret has no field 'password'; it has 'pass', 'user'");
    }

    /// If Sidekey returned the text `null` for a field that is null, a caller could use this text
    /// as a password.
    #[test]
    fn null_field_is_an_error_and_not_the_text_null() {
        let fields = fields(text(r#"{"pass": null ,"list":[null],"again":"x","again":null}"#));
        for name in ["pass", "again"] {
            assert_eq!(fields.field(name).map(|_| ()), Err(FieldError::Null(name.into())));
        }
        let message = fields.field("pass").expect_err("reading a null field must fail").to_string();
        assert_eq!(message, "the field 'pass' of the secret is null, so it has no value");
        let list = fields.field("list").expect("the value must have the field");
        assert_eq!(list.expose(), b"[null]");
    }

    /// The error for an unknown field lists 20 names of fields. If the error copied more names,
    /// each request for an unknown field would copy the names of all fields of the secret.
    #[test]
    fn absent_field_error_copies_only_the_names_that_it_lists() {
        let many: Vec<String> = (0..1_000).map(|n| format!("\"k{n:03}\":1")).collect();
        let error = fields(text(&format!("{{{}}}", many.join(",")))).field("x").map(|_| ());
        let Err(FieldError::Absent { existing, more, .. }) = &error else { panic!("{error:?}") };
        assert_eq!((existing.len(), *more), (NAMES_SHOWN_MAX, 980));
        let message = error.expect_err("reading an absent field must fail").to_string();
        assert!(message.ends_with("'k019' and 980 more"), "{message}");
    }

    #[test]
    fn only_objects_and_arrays_count_as_json() {
        for (value, expected) in [
            (" {\"a\": 1}\n", Some("{\"a\": 1}")),
            ("[1]", Some("[1]")),
            ("123", None),
            ("true", None),
            ("\"a\"", None),
            ("{oops}", None),
            ("{} {}", None),
            ("", None),
        ] {
            assert_eq!(json(&text(value)).map(RawValue::get), expected, "{value}");
        }
        assert!(json(&Content::Binary(SecretValue::new(b"{}".to_vec()))).is_none());
    }

    #[test]
    fn json_field_returns_the_raw_json_of_the_last_match() {
        let content =
            text(r#"{"user": "ann \"a\"", "port":1e3, "t\u0077o": {"on": [ ]}, "user":"b"}"#);
        for (name, expected) in [
            ("user", Some("\"b\"")),
            ("port", Some("1e3")),
            ("two", Some("{\"on\": [ ]}")),
            ("none", None),
        ] {
            assert_eq!(json_field(&content, name).map(RawValue::get), expected, "{name}");
        }
        assert!(json_field(&text("[1]"), "0").is_none());
        assert!(json_field(&Content::Binary(SecretValue::new(b"{}".to_vec())), "a").is_none());
    }

    #[test]
    fn forged_field_name_is_escaped_and_shortened() {
        let fields = fields(text(r#"{"a\nb":1}"#));
        let message = |name: &str| {
            fields.field(name).expect_err("reading an absent field must fail").to_string()
        };
        let expected = r"the secret has no field '\u{1b}[31m\r\n'; it has 'a\nb'";
        assert_eq!(message("\u{1b}[31m\r\n"), expected);
        assert!(message(&"x".repeat(10_000)).len() < 200);
    }

    #[test]
    fn value_without_fields_is_reported_with_the_reason() {
        for (content, expected) in [
            (text("hunter2"), FieldError::NotAnObject),
            (text(r#"["a"]"#), FieldError::NotAnObject),
            (Content::Binary(SecretValue::new(vec![0])), FieldError::Binary),
        ] {
            assert_eq!(fields(content).field("x").map(|_| ()), Err(expected));
        }
        let empty = fields(text("{}"))
            .field("x")
            .expect_err("reading an absent field must fail")
            .to_string();
        assert_eq!(empty, "the secret has no field 'x'; it has none");
    }

    /// A secret's JSON value contains half of a surrogate pair (such as `\ud83d`) if a program cut
    /// a text inside an emoji.
    #[test]
    fn lone_surrogate_fails_only_its_own_field() {
        let content = text(r#"{"a":"x\ud83d","\ud83d":1,"b":"\ud83d\ude00","o":{"c":"\ude00"}}"#);
        let parted = fields(content.clone());
        let error =
            parted.field("a").expect_err("half of a surrogate pair must be an error").to_string();
        assert_eq!(
            error,
            r"the field 'a' is not valid text: it contains half of a surrogate pair, such as \ud83d"
        );
        for (name, expected) in [("b", "\u{1f600}"), ("o", r#"{"c":"\ude00"}"#)] {
            let value = parted.field(name).expect("the value must have the field");
            assert_eq!(std::str::from_utf8(value.expose()), Ok(expected), "{name}");
        }
        let absent =
            parted.field("\u{fffd}").expect_err("reading an absent field must fail").to_string();
        assert_eq!(absent, "the secret has no field '\u{fffd}'; it has 'a', 'b', 'o'");
        let raw = json_field(&content, "o").map(RawValue::get);
        assert_eq!(raw, Some(r#"{"c":"\ude00"}"#));
    }

    proptest! {
        #[test]
        fn for_any_object_each_field_keeps_its_text(value in hostile::json()) {
            let written = value.to_string();
            let content = text(&written);
            let parted = fields(content.clone());
            let Some(object) = value.as_object() else {
                prop_assert_eq!(parted.field("a").map(|_| ()), Err(FieldError::NotAnObject));
                return Ok(());
            };
            for (name, value) in object {
                let bare = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let expected = if value.is_null() { None } else { Some(bare.as_bytes()) };
                prop_assert_eq!(parted.field(name).ok().map(SecretValue::expose), expected);
                let raw = json_field(&content, name).map(RawValue::get);
                prop_assert_eq!(raw, Some(&*value.to_string()));
            }
            let is_whole = json(&content).is_some_and(|raw| raw.get() == written);
            prop_assert!(is_whole);
        }

        #[test]
        fn for_any_value_no_error_contains_it(
            value in mangled(r#"{"user":"hunter2","n":[1,"hunter2"],"o":{"a":"hunter2"}}"#),
        ) {
            for name in ["user", "n", "none"] {
                if let Err(error) = fields(text(&value)).field(name) {
                    prop_assert!(!error.to_string().contains(VALUE), "{error}");
                }
                let _ = json_field(&text(&value), name);
            }
        }
    }
}
