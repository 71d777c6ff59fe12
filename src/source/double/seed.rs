//! What the double is filled with: secrets from a JSON or a TOML file.
//!
//! The keys at the top are the secrets' names. A string is a `SecretString` as it stands, an object
//! (in TOML a table) is one as compact JSON, and an object with the single key `$binary` is a
//! `SecretBinary` in base64:
//!
//! ```toml
//! "openai-api-key/sms" = "PLACEHOLDER_SMS_API_KEY"
//! "tls/key" = { "$binary" = "AAEC" }
//!
//! ["db/main"]
//! username = "app"
//! password = "PLACEHOLDER_PASSWORD"
//! ```

use super::address::check_name;
use super::plaintext::{PLAINTEXT_BYTES_MAX, Plaintext};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The key that marks a binary secret.
const BINARY_KEY: &str = "$binary";

/// Secrets by name.
///
/// `Debug` names them and says how long their values are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    secrets: BTreeMap<String, Plaintext>,
}

/// How a seed is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON, `.json`.
    Json,
    /// TOML, `.toml`.
    Toml,
}

impl Format {
    /// Returns the format that a file's name speaks of.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// Why a text is no seed. Names secrets and places, never a value.
///
/// The parsers' own messages are left out on purpose: they quote what they could not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// The text is not JSON or not TOML.
    #[error("not readable at line {line}, column {column}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The text is JSON, but not an object.
    #[error("the names of the secrets have to be the keys of one object")]
    NotAnObject,
    /// Two secrets have the same name.
    #[error("secret `{name}` is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// Secrets Manager would not take the name.
    #[error("secret name `{name}` may hold letters, digits and /_+=.@!- only, up to 512 of them")]
    Name {
        /// The name.
        name: String,
    },
    /// The value is neither a string nor an object.
    #[error("secret `{name}` is {found}, and has to be a string or an object")]
    Kind {
        /// The secret's name.
        name: String,
        /// What it is instead.
        found: &'static str,
    },
    /// The value of `$binary` is not base64.
    #[error("secret `{name}` is not valid base64")]
    Base64 {
        /// The secret's name.
        name: String,
    },
    /// The value is empty, or longer than Secrets Manager takes.
    #[error("secret `{name}` has {bytes} bytes, and has to have 1 to {PLAINTEXT_BYTES_MAX}")]
    Length {
        /// The secret's name.
        name: String,
        /// How many bytes it has.
        bytes: usize,
    },
}

/// What applying a seed changed: the names of secrets, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Secrets that were not there.
    pub created: Vec<String>,
    /// Secrets that have a new version.
    pub updated: Vec<String>,
    /// Secrets that an earlier seed had and this one has not.
    pub removed: Vec<String>,
    /// Secrets that stayed as they were.
    pub unchanged: Vec<String>,
}

impl Seed {
    /// Reads a seed.
    pub fn parse(format: Format, text: &str) -> Result<Self, SeedError> {
        let entries = match format {
            Format::Json => parse_json(text)?,
            Format::Toml => parse_toml(text)?,
        };
        let mut secrets = BTreeMap::new();
        for (name, value) in entries {
            check_name(&name).map_err(|_| SeedError::Name { name: name.clone() })?;
            let plaintext = plaintext(&name, value)?;
            if secrets.insert(name.clone(), plaintext).is_some() {
                return Err(SeedError::Twice { name });
            }
        }
        Ok(Self { secrets })
    }

    /// Returns the secrets that the double has where nobody says otherwise: those of a small
    /// messaging product, with placeholders for values.
    pub fn built_in() -> Self {
        let twilio = |channel: &str| {
            serde_json::json!({
                "twilio_account_sid": format!("PLACEHOLDER_{channel}_TWILIO_ACCOUNT_SID"),
                "twilio_auth_token": format!("PLACEHOLDER_{channel}_TWILIO_AUTH_TOKEN"),
                "twilio_template_sid": format!("PLACEHOLDER_{channel}_TWILIO_TEMPLATE_SID"),
            })
        };
        let sendgrid = serde_json::json!({
            "sendgrid_auth_value": "PLACEHOLDER_SENDGRID_AUTH_VALUE",
            "sendgrid_from_email": "PLACEHOLDER_SENDGRID_FROM_EMAIL",
            "sendgrid_from_name": "PLACEHOLDER_SENDGRID_FROM_NAME",
            "sendgrid_template_id": "PLACEHOLDER_SENDGRID_TEMPLATE_ID",
        });
        let openai = |channel: &str| serde_json::json!({ "ai_api_key": format!("PLACEHOLDER_{channel}_API_KEY") });
        let project = "cucumber-recruitment/cv-analysis";
        let secrets = [
            (format!("whatsapp-credentials/{project}/twilio"), twilio("WHATSAPP")),
            (format!("sms-credentials/{project}/twilio"), twilio("SMS")),
            (format!("email-credentials/{project}/sendgrid"), sendgrid),
            ("openai-api-key/whatsapp".to_owned(), openai("WHATSAPP")),
            ("openai-api-key/sms".to_owned(), openai("SMS")),
            ("openai-api-key/email".to_owned(), openai("EMAIL")),
        ];
        Self {
            secrets: secrets
                .into_iter()
                .map(|(name, value)| (name, Plaintext::from(value.to_string())))
                .collect(),
        }
    }

    /// Returns the names and the plaintexts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plaintext)> {
        self.secrets.iter().map(|(name, plaintext)| (name.as_str(), plaintext))
    }

    /// Says whether the seed has a secret of this name.
    pub fn names(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// Returns how many secrets there are.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

/// Turns what a file says of one secret into its plaintext.
fn plaintext(name: &str, value: Value) -> Result<Plaintext, SeedError> {
    let name = || name.to_owned();
    let kind = |found| SeedError::Kind { name: name(), found };
    let plaintext = match value {
        Value::String(text) => Plaintext::from(text),
        Value::Object(members) if members.len() == 1 && members.contains_key(BINARY_KEY) => members
            [BINARY_KEY]
            .as_str()
            .and_then(Plaintext::from_base64)
            .ok_or_else(|| SeedError::Base64 { name: name() })?,
        object @ Value::Object(_) => Plaintext::from(object.to_string()),
        Value::Array(_) => return Err(kind("a list")),
        Value::Number(_) => return Err(kind("a number")),
        Value::Bool(_) => return Err(kind("true or false")),
        Value::Null => return Err(kind("null")),
    };
    match plaintext.len() {
        1..=PLAINTEXT_BYTES_MAX => Ok(plaintext),
        bytes => Err(SeedError::Length { name: name(), bytes }),
    }
}

/// The members of a JSON object in the order of the file, so that a name that is there twice shows.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

fn parse_json(text: &str) -> Result<Vec<(String, Value)>, SeedError> {
    serde_json::from_str(text).map(|Members(members)| members).map_err(|error| {
        if error.is_data() {
            SeedError::NotAnObject
        } else {
            SeedError::Syntax { line: error.line(), column: error.column() }
        }
    })
}

fn parse_toml(text: &str) -> Result<Vec<(String, Value)>, SeedError> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
        SeedError::Syntax { line: before.matches('\n').count() + 1, column }
    })?;
    Ok(table.into_iter().map(|(name, value)| (name, json_from_toml(value))).collect())
}

/// Returns the same value as JSON. Dates become their text; JSON has no infinity, so that is null.
fn json_from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(truth) => Value::from(truth),
        toml::Value::Datetime(date) => Value::from(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json_from_toml).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, json_from_toml(value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, text: &str, expected: &[(&str, Plaintext)]) {
        let seed = Seed::parse(format, text).expect("a valid seed");
        let found: Vec<_> = seed.iter().map(|(name, it)| (name, it.clone())).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn refused(format: Format, text: &str, expected: &str) {
        let error = Seed::parse(format, text).expect_err("not a seed");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn strings_objects_and_binaries_from_json() {
        check(
            Format::Json,
            r#"{"a": "text", "b/c": {"user": "x", "port": 5432}, "d": {"$binary": "AAEC"}}"#,
            &[
                ("a", "text".into()),
                ("b/c", r#"{"port":5432,"user":"x"}"#.into()),
                ("d", vec![0, 1, 2].into()),
            ],
        );
    }

    #[test]
    fn strings_tables_and_binaries_from_toml() {
        check(
            Format::Toml,
            "a = \"text\"\nd = { \"$binary\" = \"AAEC\" }\n[\"b/c\"]\nuser = \"x\"\nport = 5432\n\
             since = 2024-05-01\n",
            &[
                ("a", "text".into()),
                ("b/c", r#"{"port":5432,"since":"2024-05-01","user":"x"}"#.into()),
                ("d", vec![0, 1, 2].into()),
            ],
        );
    }

    #[test]
    fn binary_beside_another_key_is_an_object_like_any() {
        let text = r#"{"a": {"$binary": "AAEC", "b": 1}}"#;
        check(Format::Json, text, &[("a", r#"{"$binary":"AAEC","b":1}"#.into())]);
    }

    #[test]
    fn an_error_names_the_secret() {
        let json = Format::Json;
        refused(json, r#"{"a": 5}"#, "secret `a` is a number, and has to be a string or an object");
        refused(
            json,
            r#"{"a": ["x"]}"#,
            "secret `a` is a list, and has to be a string or an object",
        );
        refused(json, r#"{"a": "1", "a": "2"}"#, "secret `a` is there twice");
        refused(json, r#"{"a": {"$binary": "?"}}"#, "secret `a` is not valid base64");
        refused(json, r#"{"a": ""}"#, "secret `a` has 0 bytes, and has to have 1 to 65536");
        refused(
            json,
            r#"{"a b": "x"}"#,
            "secret name `a b` may hold letters, digits and /_+=.@!- only, up to 512 of them",
        );
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(65_537));
        refused(json, &long, "secret `a` has 65537 bytes, and has to have 1 to 65536");
    }

    #[test]
    fn an_error_tells_the_place_and_never_the_value() {
        let object = "the names of the secrets have to be the keys of one object";
        refused(Format::Json, r#""hunter2""#, object);
        refused(Format::Json, "{\n  \"a\": hunter2\n}", "not readable at line 2, column 8");
        refused(Format::Toml, "a = \"x\"\nb = hunter2\n", "not readable at line 2, column 5");
        refused(Format::Toml, "a = \"x\"\na = \"hunter2\"\n", "not readable at line 2, column 1");
    }

    #[test]
    fn debug_shows_no_value() {
        let seed = Seed::parse(Format::Json, r#"{"a": "hunter2"}"#).expect("a valid seed");
        assert_eq!(format!("{seed:?}"), r#"Seed { secrets: {"a": Text(7 bytes)} }"#);
    }

    #[test]
    fn the_extension_tells_the_format() {
        assert_eq!(Format::of(Path::new("secrets.json")), Some(Format::Json));
        assert_eq!(Format::of(Path::new("x/secrets.TOML")), Some(Format::Toml));
        assert_eq!(Format::of(Path::new("secrets.yaml")), None);
        assert_eq!(Format::of(Path::new("json")), None);
    }

    #[test]
    fn the_built_in_seed_holds_placeholders_alone() {
        let seed = Seed::built_in();
        assert_eq!(seed.len(), 6);
        for (name, plaintext) in seed.iter() {
            let Plaintext::Text(text) = plaintext else { panic!("{name} is text") };
            let members: BTreeMap<String, String> =
                serde_json::from_str(text).expect("an object of strings");
            assert!(members.values().all(|it| it.starts_with("PLACEHOLDER_")), "{name}");
            assert!(check_name(name).is_ok(), "{name}");
        }
        assert!(seed.names("whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio"));
    }
}
