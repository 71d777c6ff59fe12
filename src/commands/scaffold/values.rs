//! The values that secrets get: read from a file for all of them or one for each, and looked over by
//! their conventions before anything is written.

use crate::convention::Convention;
use crate::convention::problem::Problem;
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes of one value.
///
/// Source: `SecretString` of `UpdateSecret` in AWS's API reference (1 to 65,536).
const VALUE_BYTES_MAX: u64 = 65_536;

/// The most bytes of a file with the values of many.
const VALUES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where values are.
#[derive(Debug)]
pub(super) enum Values {
    /// In one JSON object, by name.
    File(Map<String, Value>),
    /// In a folder, each in a file of its own: NAME.json.
    Folder(PathBuf),
}

/// Why a file of values cannot be used. It shows nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadValues {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error("longer than {0} bytes")]
    TooLong(u64),
    #[error("not JSON, at line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    #[error("an object of NAME: VALUE expected")]
    NotAnObject,
}

/// Why a secret cannot get its value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("no value is given for it")]
    Absent,
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: BadValues },
    #[error("{0}; --allow-placeholders writes it all the same")]
    Placeholder(Problem),
    #[error(transparent)]
    Problem(Problem),
}

impl Values {
    /// Reads a file, standard input where it is `-`, or notes a folder.
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
        // Not the error's own words, which may quote a value.
        let not_json = |error: serde_json::Error| BadValues::NotJson {
            line: error.line(),
            column: error.column(),
        };
        match serde_json::from_slice(bytes).map_err(not_json)? {
            Value::Object(values) => Ok(Self::File(values)),
            _ => Err(BadValues::NotAnObject),
        }
    }

    /// Returns the names that there are values for; nothing for a folder, which is asked by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::File(values) => Some(values.keys().map(String::as_str)),
            Self::Folder(_) => None,
        };
        names.into_iter().flatten()
    }

    /// Returns where in a folder the value of a secret is.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::File(_) => None,
            Self::Folder(folder) => Some(folder.join(format!("{name}.json"))),
        }
    }

    /// Returns the value of a secret, if it is as its convention says.
    pub(super) fn value(
        &self,
        name: &str,
        convention: &Convention,
        may_be_placeholder: bool,
    ) -> Result<SecretValue, Vec<Refused>> {
        let value = match self {
            Self::File(values) => match values.get(name) {
                // As text already, or as the object that it is.
                Some(Value::String(text)) => SecretValue::from(text.clone()),
                Some(value) => SecretValue::from(value.to_string()),
                None => return Err(vec![Refused::Absent]),
            },
            Self::Folder(_) => self.of_file(name).map_err(|refused| vec![refused])?,
        };
        let problems = convention.problems(&Content::Text(value.clone())).into_iter();
        let refused: Vec<Refused> = problems
            .filter_map(|problem| match problem {
                Problem::Placeholder { .. } if may_be_placeholder => None,
                Problem::Placeholder { .. } => Some(Refused::Placeholder(problem)),
                _ => Some(Refused::Problem(problem)),
            })
            .collect();
        if refused.is_empty() { Ok(value) } else { Err(refused) }
    }

    fn of_file(&self, name: &str) -> Result<SecretValue, Refused> {
        let path = self.path(name).unwrap_or_default();
        let read = File::open(&path)
            .map_err(BadValues::from)
            .and_then(|file| bytes(file, VALUE_BYTES_MAX));
        read.map(SecretValue::new).map_err(|why| Refused::File { path, why })
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
        let (convention, _) = conventions.of_name(NAME).expect("it has one");
        let told = values.value(NAME, convention, may_be_placeholder).map(|value| value.len());
        let told = told.map_err(|refused| {
            refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        });
        assert_eq!(told, expected.map_err(str::to_owned));
    }

    fn parsed(value: &str) -> Values {
        Values::parse(format!(r#"{{"{NAME}":{value}}}"#).as_bytes()).expect("JSON")
    }

    #[test]
    fn a_value_is_looked_over_before_it_is_written() {
        check(&parsed(r#"{"ai_api_key":"sk-1"}"#), false, Ok(21));
        check(&parsed(r#""{\"ai_api_key\":\"sk-1\"}""#), false, Ok(21));
        check(&parsed(r#"{"ai_api_ky":"sk-1"}"#), false, Err("the field 'ai_api_key' is missing"));
        check(&parsed("[]"), false, Err("the value is JSON, but not an object"));
        let placeholder = parsed(r#"{"ai_api_key":"PLACEHOLDER_X"}"#);
        let told = "the field 'ai_api_key' is still a placeholder; --allow-placeholders writes it \
                    all the same";
        check(&placeholder, false, Err(told));
        check(&placeholder, true, Ok(30));
        check(&Values::File(Map::new()), false, Err("no value is given for it"));
    }

    #[test]
    fn a_file_that_makes_no_sense_shows_nothing_of_itself() {
        let told = |text: &str| Values::parse(text.as_bytes()).expect_err("bad").to_string();
        assert_eq!(told("{\n\"a\": hunter2}"), "not JSON, at line 2, column 6");
        assert_eq!(told("\"hunter2\""), "an object of NAME: VALUE expected");
        let Err(told) = bytes(&b"hunter2"[..], 3) else { panic!("too long") };
        assert_eq!(told.to_string(), "longer than 3 bytes");
    }

    #[test]
    fn in_a_folder_each_secret_has_its_file() {
        let values = Values::read(Path::new("/")).expect("a folder");
        assert_eq!(values.path("a/b"), Some("/a/b.json".into()));
        assert_eq!(values.names().count(), 0);
        let told = "/openai-api-key/sms.json: No such file or directory (os error 2)";
        check(&values, false, Err(told));
        assert!(Values::read(Path::new("/nonexistent")).is_err());
    }
}
