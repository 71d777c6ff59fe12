//! A seed: names and values of secrets and parameters for a fake AWS server, read from a JSON or
//! TOML file.
//!
//! Each top-level key of the file is the name of a secret, or `ssm:` and the name of a parameter.
//! The value of the key becomes the value of the secret:
//!
//! - A string becomes a `SecretString`.
//! - An object (in TOML, a table) becomes a `SecretString` that contains compact JSON.
//! - An object with the single key `$binary` contains base64, and becomes a `SecretBinary`.
//!
//! The value of a parameter becomes:
//!
//! - A string becomes a `String`.
//! - A list of strings becomes a `StringList`.
//! - An object with the single key `$secure` contains a string, and becomes a `SecureString`.
//! - Any other object becomes a `String` that contains compact JSON.
//!
//! ```toml
//! "openai-api-key/sms" = "PLACEHOLDER_SMS_API_KEY"
//! "tls/key" = { "$binary" = "AAEC" }
//! "ssm:/app/url" = "https://example.com"
//! "ssm:/app/hosts" = ["a.example.com", "b.example.com"]
//! "ssm:/app/password" = { "$secure" = "PLACEHOLDER_PASSWORD" }
//! "db/main" = { username = "app", password = "PLACEHOLDER_PASSWORD" }
//! ```

use crate::parameter_store::parameter_id::check_new_name;
use crate::parameter_store::parameter_value::ParameterValue;
use crate::parameter_store::write::ADVANCED_BYTES_MAX;
use crate::secrets_manager::plaintext::{PLAINTEXT_BYTES_MAX, Plaintext};
use crate::secrets_manager::secret_id::check_name;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// In a seed, a secret with a binary value is an object with this key. The value of the key is the
/// binary value in base64.
const BINARY_KEY: &str = "$binary";

/// In a seed, a parameter of type `SecureString` is an object with this key. The value of the key
/// is the text of the parameter.
const SECURE_KEY: &str = "$secure";

/// The beginning of the name of a parameter in a seed.
const PARAMETER_PREFIX: &str = "ssm:";

/// Names and values of secrets and parameters with which a test fills a fake AWS server. The
/// `Debug` output contains the names and the lengths of the values, but no values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    pub(crate) secrets: BTreeMap<String, Plaintext>,
    /// The parameters by name, without `ssm:`.
    pub(crate) parameters: BTreeMap<String, ParameterValue>,
}

/// The file format of a seed (a file of test secrets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// File format JSON, for files with the extension `.json`.
    Json,
    /// File format TOML, for files with the extension `.toml`.
    Toml,
}

impl Format {
    /// Returns the file format for the file name `path`, or `None` if the file name extension is
    /// unknown.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// The reason why a seed (a file of test secrets) cannot be used. The error messages contain names
/// of secrets and line numbers, but no values.
///
/// The messages never quote the errors of the JSON and TOML parsers, because these errors may
/// contain values from the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// Error: the seed is not valid JSON or not valid TOML.
    #[error("the file has a syntax error at line {line}, column {column}")]
    Syntax {
        /// The line of the syntax error, counted from 1.
        line: usize,
        /// The column of the syntax error, counted from 1.
        column: usize,
    },
    /// Error: the seed is valid JSON, but not a JSON object.
    #[error("the file must contain one object whose keys are the names of the secrets")]
    NotAnObject,
    /// Error: the seed contains two secrets with the same name.
    #[error("the secret `{name}` appears twice in the file: remove one of the two entries")]
    DuplicateName {
        /// The name of the secret that caused the error: the seed contains it twice.
        name: String,
    },
    /// Error: Secrets Manager does not accept a name in the seed as the name of a secret.
    #[error("the secret name `{name}` is invalid: use 1 to 512 letters, digits or `/_+=.@!-`")]
    InvalidName {
        /// The name in the seed that caused the error: Secrets Manager does not accept it.
        name: String,
    },
    /// Error: the value of a secret in the seed is neither a string nor an object.
    #[error("the value of the secret `{name}` is {found}: use a string or an object")]
    InvalidType {
        /// The name of the secret that caused the error: its value has the wrong type.
        name: String,
        /// The type of the value in words, such as `a number`.
        found: &'static str,
    },
    /// Error: the seed contains a `$binary` value that is not valid base64.
    #[error(
        "the value of `$binary` in the secret `{name}` is not base64: encode the bytes as base64"
    )]
    InvalidBase64 {
        /// The name of the secret that caused the error: its `$binary` value is not base64.
        name: String,
    },
    /// Error: a secret value in the seed is empty, or larger than Secrets Manager allows.
    #[error(
        "the value of the secret `{name}` has {bytes} bytes: use 1 to {PLAINTEXT_BYTES_MAX} bytes"
    )]
    InvalidLength {
        /// The name of the secret that caused the error: its value is empty or too large.
        name: String,
        /// The size of the secret value in bytes.
        bytes: usize,
    },
    /// Error: Parameter Store does not accept a name in the seed as the name of a parameter.
    #[error(
        "the parameter name `{name}` is invalid: after `ssm:`, write a path of up to 15 levels \
         with letters, digits or `_.-`, such as `ssm:/app/url`"
    )]
    InvalidParameterName {
        /// The name in the seed that caused the error, with `ssm:`.
        name: String,
    },
    /// Error: the value of a parameter in the seed has the wrong type.
    #[error(
        "the value of the parameter `{name}` is {found}: use a string, a list of strings without \
         commas, an object, or an object with the key `$secure` and a string"
    )]
    InvalidParameterType {
        /// The name of the parameter that caused the error, with `ssm:`.
        name: String,
        /// The type of the value in words, such as `a number`.
        found: &'static str,
    },
    /// Error: a parameter's value in the seed is empty, or larger than Parameter Store allows.
    #[error(
        "the value of the parameter `{name}` has {bytes} bytes: use 1 to {ADVANCED_BYTES_MAX} bytes"
    )]
    InvalidParameterLength {
        /// The name of the parameter that caused the error, with `ssm:`.
        name: String,
        /// The size of the value in bytes.
        bytes: usize,
    },
}

impl Seed {
    /// Parses the content of a JSON or TOML file with test secrets.
    ///
    /// # Errors
    ///
    /// Returns an error that names the first invalid secret, or the line and column of a syntax
    /// error.
    pub fn parse(format: Format, text: &str) -> Result<Self, SeedError> {
        let entries = match format {
            Format::Json => parse_json(text)?,
            Format::Toml => parse_toml(text)?,
        };
        let mut seed = Self::default();
        for (name, value) in entries {
            let is_new = match name.strip_prefix(PARAMETER_PREFIX) {
                Some(parameter) => {
                    check_new_name(parameter)
                        .map_err(|_| SeedError::InvalidParameterName { name: name.clone() })?;
                    let value = parameter_value(&name, value)?;
                    seed.parameters.insert(parameter.to_owned(), value).is_none()
                }
                None => {
                    check_name(&name).map_err(|_| SeedError::InvalidName { name: name.clone() })?;
                    let plaintext = plaintext(&name, value)?;
                    seed.secrets.insert(name.clone(), plaintext).is_none()
                }
            };
            if !is_new {
                return Err(SeedError::DuplicateName { name });
            }
        }
        Ok(seed)
    }

    /// Returns the six example secrets and the example parameter of the command `sidekey dev`.
    /// Their values are placeholders, such as `PLACEHOLDER_SMS_API_KEY`.
    pub fn built_in() -> Self {
        let project = "cucumber-recruitment/cv-analysis";
        let sendgrid = serde_json::json!({
            "sendgrid_auth_value": "PLACEHOLDER_SENDGRID_AUTH_VALUE",
            "sendgrid_from_email": "PLACEHOLDER_SENDGRID_FROM_EMAIL",
            "sendgrid_from_name": "PLACEHOLDER_SENDGRID_FROM_NAME",
            "sendgrid_template_id": "PLACEHOLDER_SENDGRID_TEMPLATE_ID",
        });
        let secrets = [
            (format!("whatsapp-credentials/{project}/twilio"), twilio_example("WHATSAPP")),
            (format!("sms-credentials/{project}/twilio"), twilio_example("SMS")),
            (format!("email-credentials/{project}/sendgrid"), sendgrid),
            ("openai-api-key/whatsapp".to_owned(), openai_example("WHATSAPP")),
            ("openai-api-key/sms".to_owned(), openai_example("SMS")),
            ("openai-api-key/email".to_owned(), openai_example("EMAIL")),
        ];
        Self {
            secrets: secrets
                .into_iter()
                .map(|(name, value)| (name, Plaintext::from(value.to_string())))
                .collect(),
            parameters: [("/whatsapp/webhook-url".to_owned(), "PLACEHOLDER_WEBHOOK_URL".into())]
                .into(),
        }
    }

    /// Returns the names and values of the secrets, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plaintext)> {
        self.secrets.iter().map(|(name, plaintext)| (name.as_str(), plaintext))
    }

    /// Returns the names of the parameters, such as `ssm:/app/url`, sorted.
    pub fn parameter_names(&self) -> impl Iterator<Item = String> {
        self.parameters.keys().map(|name| format!("{PARAMETER_PREFIX}{name}"))
    }

    /// Returns whether the seed contains a secret called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// Returns the number of secrets in the seed, without parameters.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Returns whether the seed contains neither secrets nor parameters.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.parameters.is_empty()
    }
}

fn twilio_example(channel: &str) -> Value {
    serde_json::json!({
        "twilio_account_sid": format!("PLACEHOLDER_{channel}_TWILIO_ACCOUNT_SID"),
        "twilio_auth_token": format!("PLACEHOLDER_{channel}_TWILIO_AUTH_TOKEN"),
        "twilio_template_sid": format!("PLACEHOLDER_{channel}_TWILIO_TEMPLATE_SID"),
    })
}

fn openai_example(channel: &str) -> Value {
    serde_json::json!({ "ai_api_key": format!("PLACEHOLDER_{channel}_API_KEY") })
}

/// Converts a value from a seed (a file of test secrets) to a secret value. `name` is the name of
/// the secret, for error messages.
fn plaintext(name: &str, value: Value) -> Result<Plaintext, SeedError> {
    let found = match value {
        Value::String(text) => return checked(name, Plaintext::from(text)),
        Value::Object(members) if members.len() == 1 && members.contains_key(BINARY_KEY) => {
            return match members[BINARY_KEY].as_str().and_then(Plaintext::from_base64) {
                Some(plaintext) => checked(name, plaintext),
                None => Err(SeedError::InvalidBase64 { name: name.to_owned() }),
            };
        }
        object @ Value::Object(_) => return checked(name, Plaintext::from(object.to_string())),
        other => type_of(&other),
    };
    Err(SeedError::InvalidType { name: name.to_owned(), found })
}

/// Converts a value from a seed to the value of a parameter. `name` is the name of the parameter
/// with `ssm:`, for error messages.
fn parameter_value(name: &str, value: Value) -> Result<ParameterValue, SeedError> {
    let invalid = |found| Err(SeedError::InvalidParameterType { name: name.to_owned(), found });
    let value = match &value {
        Value::String(text) => ParameterValue::from(text.as_str()),
        Value::Array(items) => {
            let items = items.iter().map(|item| item.as_str().filter(|text| !text.contains(',')));
            match items.collect::<Option<Vec<&str>>>() {
                Some(items) => ParameterValue::list(items),
                None => {
                    return invalid("a list in which an item is not a string, or contains a comma");
                }
            }
        }
        Value::Object(members) if members.len() == 1 && members.contains_key(SECURE_KEY) => {
            match members[SECURE_KEY].as_str() {
                Some(text) => ParameterValue::secure(text),
                None => {
                    return invalid(
                        "an object in which the value of the key `$secure` is not a string",
                    );
                }
            }
        }
        object @ Value::Object(_) => ParameterValue::from(object.to_string()),
        other => return invalid(type_of(other)),
    };
    match value.text().len() {
        1..=ADVANCED_BYTES_MAX => Ok(value),
        bytes => Err(SeedError::InvalidParameterLength { name: name.to_owned(), bytes }),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
    }
}

fn checked(name: &str, plaintext: Plaintext) -> Result<Plaintext, SeedError> {
    match plaintext.len() {
        1..=PLAINTEXT_BYTES_MAX => Ok(plaintext),
        bytes => Err(SeedError::InvalidLength { name: name.to_owned(), bytes }),
    }
}

/// The members of a JSON object in the order of the file. The type is a list, because a map would
/// drop duplicate names, which are an error.
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

/// Converts a TOML value to JSON. A date becomes a string. Infinity becomes null, because JSON has
/// no infinity.
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
        let seed = Seed::parse(format, text).expect("the seed must be valid");
        let found: Vec<_> = seed.iter().map(|(name, it)| (name, it.clone())).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_error(format: Format, text: &str, expected: &str) {
        let error = Seed::parse(format, text).expect_err("the seed must be invalid");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn json_seed_has_strings_objects_and_binary_values() {
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
    fn toml_seed_has_strings_tables_and_binary_values() {
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
    fn parameters_have_the_types_of_parameter_store() {
        let json = r#"{"ssm:/a": "text", "ssm:/b": ["x", "y"], "ssm:/c": {"$secure": "hunter2"},
            "ssm:/d": {"k": 1}, "ssm:e": "text", "f": "secret"}"#;
        let toml = "\"ssm:/a\" = \"text\"\n\"ssm:/b\" = [\"x\", \"y\"]\n\"ssm:e\" = \"text\"\n\
                    \"ssm:/c\" = { \"$secure\" = \"hunter2\" }\nf = \"secret\"\n[\"ssm:/d\"]\nk = 1\n";
        let parsed = Seed::parse(Format::Json, json).expect("the seed must be valid");
        assert_eq!(Seed::parse(Format::Toml, toml).as_ref(), Ok(&parsed));
        let expected = [
            ("/a".to_owned(), "text".into()),
            ("/b".to_owned(), ParameterValue::list(["x", "y"])),
            ("/c".to_owned(), ParameterValue::secure("hunter2")),
            ("/d".to_owned(), r#"{"k":1}"#.into()),
            ("e".to_owned(), "text".into()),
        ];
        assert_eq!(parsed.parameters, BTreeMap::from(expected));
        assert_eq!(parsed.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["f"]);
        assert_eq!(parsed.parameter_names().next().as_deref(), Some("ssm:/a"));
        assert!(!format!("{parsed:?}").contains("hunter2"), "{parsed:?}");
    }

    #[test]
    fn error_names_the_parameter() {
        let found = |value: &str| {
            Seed::parse(Format::Json, value).expect_err("the seed must be invalid").to_string()
        };
        for (json, expected) in [
            (r#"{"ssm:/a": 5}"#, "the value of the parameter `ssm:/a` is a number: use a string"),
            (r#"{"ssm:/a": ["hunter2,x"]}"#, "the value of the parameter `ssm:/a` is a list in"),
            (r#"{"ssm:/a": [5]}"#, "the value of the parameter `ssm:/a` is a list in which"),
            (r#"{"ssm:/a": {"$secure": 5}}"#, "the value of the parameter `ssm:/a` is an object"),
            (r#"{"ssm:/a": ""}"#, "the value of the parameter `ssm:/a` has 0 bytes"),
            (r#"{"ssm:a/b": "x"}"#, "the parameter name `ssm:a/b` is invalid: after `ssm:`"),
            (r#"{"ssm:": "x"}"#, "the parameter name `ssm:` is invalid"),
            (r#"{"ssm:/a": "1", "ssm:/a": "2"}"#, "the secret `ssm:/a` appears twice"),
        ] {
            assert!(found(json).starts_with(expected), "{json}: {}", found(json));
            assert!(!found(json).contains("hunter2"), "{json}");
        }
    }

    #[test]
    fn binary_key_with_another_key_is_an_ordinary_object() {
        let text = r#"{"a": {"$binary": "AAEC", "b": 1}}"#;
        check(Format::Json, text, &[("a", r#"{"$binary":"AAEC","b":1}"#.into())]);
    }

    #[test]
    fn error_names_the_secret() {
        let json = Format::Json;
        check_error(
            json,
            r#"{"a": 5}"#,
            "the value of the secret `a` is a number: use a string or an object",
        );
        check_error(
            json,
            r#"{"a": ["x"]}"#,
            "the value of the secret `a` is a list: use a string or an object",
        );
        check_error(
            json,
            r#"{"a": "1", "a": "2"}"#,
            "the secret `a` appears twice in the file: remove one of the two entries",
        );
        check_error(
            json,
            r#"{"a": {"$binary": "?"}}"#,
            "the value of `$binary` in the secret `a` is not base64: encode the bytes as base64",
        );
        check_error(
            json,
            r#"{"a": ""}"#,
            "the value of the secret `a` has 0 bytes: use 1 to 65536 bytes",
        );
        check_error(
            json,
            r#"{"a b": "x"}"#,
            "the secret name `a b` is invalid: use 1 to 512 letters, digits or `/_+=.@!-`",
        );
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(65_537));
        check_error(
            json,
            &long,
            "the value of the secret `a` has 65537 bytes: use 1 to 65536 bytes",
        );
    }

    #[test]
    fn syntax_error_has_line_and_column_and_no_value() {
        let object = "the file must contain one object whose keys are the names of the secrets";
        check_error(Format::Json, r#""hunter2""#, object);
        check_error(
            Format::Json,
            "{\n  \"a\": hunter2\n}",
            "the file has a syntax error at line 2, column 8",
        );
        check_error(
            Format::Toml,
            "a = \"x\"\nb = hunter2\n",
            "the file has a syntax error at line 2, column 5",
        );
        check_error(
            Format::Toml,
            "a = \"x\"\na = \"hunter2\"\n",
            "the file has a syntax error at line 2, column 1",
        );
    }

    #[test]
    fn debug_prints_no_value() {
        let seed =
            Seed::parse(Format::Json, r#"{"a": "hunter2"}"#).expect("the seed must be valid");
        assert_eq!(
            format!("{seed:?}"),
            r#"Seed { secrets: {"a": Text(7 bytes)}, parameters: {} }"#
        );
    }

    #[test]
    fn file_name_extension_selects_the_format() {
        assert_eq!(Format::of(Path::new("secrets.json")), Some(Format::Json));
        assert_eq!(Format::of(Path::new("x/secrets.TOML")), Some(Format::Toml));
        assert_eq!(Format::of(Path::new("secrets.yaml")), None);
        assert_eq!(Format::of(Path::new("json")), None);
    }

    #[test]
    fn built_in_seed_contains_placeholders_only() {
        let seed = Seed::built_in();
        assert_eq!(seed.len(), 6);
        for (name, plaintext) in seed.iter() {
            let Plaintext::Text(text) = plaintext else {
                panic!("the value of the secret {name} must be a string")
            };
            let members: BTreeMap<String, String> = serde_json::from_str(text)
                .expect("the secret's value must be a JSON object whose members are strings");
            assert!(members.values().all(|it| it.starts_with("PLACEHOLDER_")), "{name}");
            assert!(check_name(name).is_ok(), "{name}");
        }
        assert!(seed.contains("whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio"));
    }
}
