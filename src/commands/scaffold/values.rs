//! The new values of secrets for `sidekey scaffold --update`.
//!
//! Sidekey checks all values before it writes the first value. The naming convention of a secret
//! has the rules for its value.

use crate::convention::Convention;
use crate::convention::problem::Problem;
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The maximum number of bytes of the value of one secret.
///
/// Source: `SecretString` of `UpdateSecret` in AWS's API reference (1 to 65,536).
const VALUE_BYTES_MAX: u64 = 65_536;

/// The maximum number of bytes of a JSON file that contains the values of several secrets.
const VALUES_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) enum Values {
    /// A JSON object with the new values. Each key is the name of a secret.
    File(Map<String, Value>),
    /// A folder with the new values. The file `NAME.json` in this folder has the value of the
    /// secret NAME.
    Folder(PathBuf),
}

/// The reason why Sidekey refuses the new value of a secret. The error messages quote nothing from
/// the file of values, because the file contains secrets.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadValues {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error("the file with the values is longer than {0} bytes")]
    TooLong(u64),
    #[error("the file is not valid JSON; the error is at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("the file is not a JSON object of the form {{\"NAME\": VALUE}}")]
    NotAnObject,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("the file with the values has no value for this secret")]
    Absent,
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: BadValues },
    #[error("{0}; use --allow-placeholders to write the value anyway")]
    Placeholder(Problem),
    #[error(transparent)]
    Problem(Problem),
}

impl Values {
    /// Reads the JSON file of new values at `path`, or standard input if the path is `-`. For a
    /// folder, reads nothing: the file of each secret is read later.
    pub(super) fn read(path: &Path) -> Result<Self, BadValues> {
        if path.as_os_str() == "-" {
            return Self::parse(&bytes(io::stdin(), VALUES_BYTES_MAX)?);
        }
        if fs::metadata(path)?.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        Self::parse(&bytes(File::open(path)?, VALUES_BYTES_MAX)?)
    }

    fn parse(bytes: &[u8]) -> Result<Self, BadValues> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(values)) => Ok(Self::File(values)),
            Ok(_) => Err(BadValues::NotAnObject),
            // The error contains only the position, because the message of serde_json may quote a
            // secret's value.
            Err(error) => Err(BadValues::NotJson { line: error.line(), column: error.column() }),
        }
    }

    /// Returns the names of all secrets in the JSON file of new values. Returns no names for a
    /// folder, because the folder may contain unrelated files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::File(values) => Some(values.keys().map(String::as_str)),
            Self::Folder(_) => None,
        };
        names.into_iter().flatten()
    }

    /// Returns the path of the file that contains only this secret's value. Returns `None` if one
    /// JSON file contains all values.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::File(_) => None,
            Self::Folder(folder) => Some(folder.join(format!("{name}.json"))),
        }
    }

    /// Returns the new value of a secret. If the value breaks the rules of `convention`, returns
    /// all problems instead.
    pub(super) fn value(
        &self,
        name: &str,
        convention: &Convention,
        may_be_placeholder: bool,
    ) -> Result<SecretValue, Vec<ValueError>> {
        let value = match self {
            // In the JSON file, the value of a secret is a string that contains JSON, or any other
            // JSON value.
            Self::File(values) => match values.get(name) {
                Some(Value::String(text)) => SecretValue::from(text.clone()),
                Some(value) => SecretValue::from(value.to_string()),
                None => return Err(vec![ValueError::Absent]),
            },
            Self::Folder(_) => self.value_in_folder(name).map_err(|error| vec![error])?,
        };
        let errors: Vec<ValueError> = convention
            .problems(&Content::Text(value.clone()))
            .into_iter()
            .filter_map(|problem| match problem {
                Problem::Placeholder { .. } if may_be_placeholder => None,
                Problem::Placeholder { .. } => Some(ValueError::Placeholder(problem)),
                _ => Some(ValueError::Problem(problem)),
            })
            .collect();
        if errors.is_empty() { Ok(value) } else { Err(errors) }
    }

    fn value_in_folder(&self, name: &str) -> Result<SecretValue, ValueError> {
        let path = self.path(name).unwrap_or_default();
        File::open(&path)
            .map_err(BadValues::from)
            .and_then(|file| bytes(file, VALUE_BYTES_MAX))
            .map(SecretValue::new)
            .map_err(|error| ValueError::File { path, error })
    }
}

fn bytes(stream: impl Read, max: u64) -> Result<Vec<u8>, BadValues> {
    let mut bytes = Vec::new();
    stream.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(BadValues::TooLong(max)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::Conventions;

    const NAME: &str = "openai-api-key/sms";

    #[track_caller]
    fn check(values: &Values, may_be_placeholder: bool, expected: Result<usize, &str>) {
        let conventions = Conventions::built_in();
        let (convention, _) =
            conventions.of_name(NAME).expect("the name must match a naming convention");
        let len = values.value(NAME, convention, may_be_placeholder).map(|value| value.len());
        let len = len.map_err(|errors| {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        });
        assert_eq!(len, expected.map_err(str::to_owned));
    }

    fn parsed(value: &str) -> Values {
        Values::parse(format!(r#"{{"{NAME}":{value}}}"#).as_bytes())
            .expect("the values must be JSON")
    }

    #[test]
    fn value_is_checked_against_its_convention() {
        check(&parsed(r#"{"ai_api_key":"sk-1"}"#), false, Ok(21));
        check(&parsed(r#""{\"ai_api_key\":\"sk-1\"}""#), false, Ok(21));
        check(&parsed(r#"{"ai_api_ky":"sk-1"}"#), false, Err("the field 'ai_api_key' is missing"));
        check(&parsed("[]"), false, Err("the secret's value is JSON, but not an object"));
        let placeholder = parsed(r#"{"ai_api_key":"PLACEHOLDER_X"}"#);
        let error = Problem::Placeholder { field: "ai_api_key".into() };
        let message = format!("{error}; use --allow-placeholders to write the value anyway");
        check(&placeholder, false, Err(&message));
        check(&placeholder, true, Ok(30));
        check(
            &Values::File(Map::new()),
            false,
            Err("the file with the values has no value for this secret"),
        );
    }

    #[test]
    fn error_in_a_file_does_not_quote_the_file() {
        let error = |text: &str| {
            Values::parse(text.as_bytes())
                .expect_err("the parser must refuse the malformed values")
                .to_string()
        };
        assert_eq!(
            error("{\n\"a\": hunter2}"),
            "the file is not valid JSON; the error is at line 2, column 6"
        );
        let not_an_object = "the file is not a JSON object of the form {\"NAME\": VALUE}";
        assert_eq!(error("\"hunter2\""), not_an_object);
        let too_long = bytes(&b"hunter2"[..], 3)
            .expect_err("a file of values that is too long must be refused");
        assert_eq!(too_long.to_string(), "the file with the values is longer than 3 bytes");
    }

    #[test]
    fn folder_has_a_file_for_each_secret() {
        let values =
            Values::read(Path::new("/")).expect("the path of the new values must be a folder");
        assert_eq!(values.path("a/b"), Some("/a/b.json".into()));
        assert_eq!(values.names().count(), 0);
        let message = "/openai-api-key/sms.json: No such file or directory (os error 2)";
        check(&values, false, Err(message));
        assert!(Values::read(Path::new("/nonexistent")).is_err());
    }
}
