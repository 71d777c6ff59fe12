//! The fields of a secret whose value is a JSON object.

use super::value::SecretValue;
use super::version::Content;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// How many field names an error lists.
const NAMES_SHOWN_MAX: usize = 20;

/// How many characters of a field's name an error shows.
const NAME_SHOWN_CHARS_MAX: usize = 80;

/// Every field of a value, as bare text: a string without its quotes, anything else as compact
/// JSON.
#[derive(Debug)]
pub struct Fields(Result<BTreeMap<Box<str>, SecretValue>, FieldError>);

/// What a field takes beside its name and its text: its place in the map, and the owner of its bytes.
const FIELD_BYTES: usize = 128;

/// Why a value has no such field. It names the fields there are, never their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The value is stored as binary.
    #[error("the secret is binary and has no fields")]
    Binary,
    /// The value is not a JSON object.
    #[error("the secret is not a JSON object and has no fields")]
    NotAnObject,
    /// The object lacks the field.
    #[error("the secret has no field '{}'; it has {}", shown(asked), list(there, *more))]
    Absent {
        /// What was asked for.
        asked: Box<str>,
        /// The first fields there are, in alphabetical order, as they are shown.
        there: Vec<Box<str>>,
        /// How many more there are.
        more: usize,
    },
}

impl Fields {
    /// Parts a value into its fields.
    pub fn of(content: &Content) -> Self {
        let text = match content {
            Content::Text(text) => text,
            Content::Binary(_) => return Self(Err(FieldError::Binary)),
        };
        // As they are written: JSON's own numbers would round those that are longer than a float.
        let fields = serde_json::from_slice::<BTreeMap<Box<str>, &RawValue>>(text.expose());
        let fields = fields.and_then(|fields| {
            let bare = |(name, written): (_, &RawValue)| Ok((name, bare(written.get())?));
            fields.into_iter().map(bare).collect()
        });
        Self(fields.map_err(|_| FieldError::NotAnObject))
    }

    /// Returns about how many bytes the fields take.
    pub fn bytes(&self) -> usize {
        let fields = self.0.iter().flatten();
        fields.map(|(name, text)| name.len() + text.len() + FIELD_BYTES).sum()
    }

    /// Returns the field called `name`.
    ///
    /// # Errors
    ///
    /// Where there is none, with the names of those there are.
    pub fn field(&self, name: &str) -> Result<&SecretValue, FieldError> {
        let fields = self.0.as_ref().map_err(Clone::clone)?;
        fields.get(name).ok_or_else(|| FieldError::Absent {
            asked: name.into(),
            there: fields.keys().take(NAMES_SHOWN_MAX).map(|name| shown(name).into()).collect(),
            more: fields.len().saturating_sub(NAMES_SHOWN_MAX),
        })
    }
}

/// Returns the JSON that a value is, where it is an object or a list. A number or a word may as well be
/// a password, which JSON would not keep as it is written.
pub fn json(content: &Content) -> Option<&RawValue> {
    let Content::Text(text) = content else { return None };
    let raw: &RawValue = serde_json::from_slice(text.expose()).ok()?;
    raw.get().starts_with(['{', '[']).then_some(raw)
}

/// Returns the field called `name` as the JSON that it is written in. Where there are several, the last
/// one counts, as in [`Fields`].
pub fn json_field<'a>(content: &'a Content, name: &str) -> Option<&'a RawValue> {
    struct Reading<'n>(&'n str);
    impl<'de> Visitor<'de> for Reading<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(Key(key)) = map.next_key()? {
                if key == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    let Content::Text(text) = content else { return None };
    serde_json::Deserializer::from_slice(text.expose()).deserialize_map(Reading(name)).ok()?
}

/// A key, copied only where it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns a string without its quotes, and anything else without the white space between its parts.
///
/// # Errors
///
/// Where a string has half of a character, which no text can hold.
fn bare(written: &str) -> serde_json::Result<SecretValue> {
    match written.starts_with('"') {
        true => serde_json::from_str::<String>(written).map(SecretValue::from),
        false => Ok(compact(written).into()),
    }
}

fn compact(written: &str) -> String {
    let mut compact = String::with_capacity(written.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for c in written.chars() {
        if is_in_string || !c.is_ascii_whitespace() {
            compact.push(c);
        }
        is_in_string ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
    }
    compact
}

/// Returns the beginning of a name as a caller may log it: without what forges a line.
fn shown(name: &str) -> String {
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
    fn a_field_is_bare_text() {
        let fields =
            fields(text(r#"{"user":"ann \"a\"","port":5432,"tls":{"on":true},"none":null}"#));
        for (name, expected) in
            [("user", r#"ann "a""#), ("port", "5432"), ("tls", r#"{"on":true}"#), ("none", "null")]
        {
            let value = fields.field(name).expect("the field is there");
            assert_eq!(value.expose(), expected.as_bytes());
        }
    }

    /// A number may be a PIN, and an object what a program signs: neither is any other.
    #[test]
    fn what_is_no_string_is_handed_out_as_it_is_written() {
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
            let value = fields.field(name).expect("the field is there");
            assert_eq!(std::str::from_utf8(value.expose()), Ok(expected), "{name}");
        }
    }

    #[test]
    fn an_absent_field_names_those_there_are_and_no_value() {
        let fields = fields(text(r#"{"user":"ann","pass":"hunter2"}"#));
        let message = fields.field("password").expect_err("no such field").to_string();
        assert_eq!(message, "the secret has no field 'password'; it has 'pass', 'user'");
    }

    /// Each caller who asks for an unknown field would pay for all of them otherwise.
    #[test]
    fn an_absent_field_copies_only_the_names_that_are_shown() {
        let many: Vec<String> = (0..1_000).map(|n| format!("\"k{n:03}\":1")).collect();
        let error = fields(text(&format!("{{{}}}", many.join(",")))).field("x").map(|_| ());
        let Err(FieldError::Absent { there, more, .. }) = &error else { panic!("{error:?}") };
        assert_eq!((there.len(), *more), (NAMES_SHOWN_MAX, 980));
        let message = error.expect_err("no such field").to_string();
        assert!(message.ends_with("'k018', 'k019' and 980 more"), "{message}");
    }

    #[test]
    fn a_value_is_json_where_it_cannot_be_a_password() {
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
    fn a_field_is_the_json_that_it_is_written_in() {
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
    fn a_name_that_somebody_forged_can_neither_begin_a_line_nor_go_on_for_ever() {
        let fields = fields(text(r#"{"a\nb":1}"#));
        let message = |name: &str| fields.field(name).expect_err("no such field").to_string();
        let expected = r"the secret has no field '\u{1b}[31m\r\n'; it has 'a\nb'";
        assert_eq!(message("\u{1b}[31m\r\n"), expected);
        assert!(message(&"x".repeat(10_000)).len() < 200);
    }

    #[test]
    fn what_has_no_fields_says_why() {
        for (content, expected) in [
            (text("hunter2"), FieldError::NotAnObject),
            (text(r#"["a"]"#), FieldError::NotAnObject),
            (text(r#"{"x":"\ud800x"}"#), FieldError::NotAnObject),
            (Content::Binary(SecretValue::new(vec![0])), FieldError::Binary),
        ] {
            assert_eq!(fields(content).field("x").map(|_| ()), Err(expected));
        }
        let empty = fields(text("{}")).field("x").expect_err("no such field").to_string();
        assert_eq!(empty, "the secret has no field 'x'; it has none");
    }

    proptest! {
        #[test]
        fn for_any_object_each_field_is_handed_out_as_it_is_written(value in hostile::json()) {
            let written = value.to_string();
            let content = text(&written);
            let parted = fields(content.clone());
            let Some(object) = value.as_object() else {
                prop_assert_eq!(parted.field("a").map(|_| ()), Err(FieldError::NotAnObject));
                return Ok(());
            };
            for (name, value) in object {
                let bare = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                prop_assert_eq!(parted.field(name).expect("it is there").expose(), bare.as_bytes());
                let raw = json_field(&content, name).map(RawValue::get);
                prop_assert_eq!(raw, Some(&*value.to_string()));
            }
            let is_whole = json(&content).is_some_and(|raw| raw.get() == written);
            prop_assert!(is_whole);
        }

        #[test]
        fn for_any_value_no_error_shows_it(
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
