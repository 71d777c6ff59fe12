//! What is written of a secret that was read.

use crate::secret::field::{FieldError, Fields};
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Who was asked.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum From {
    /// The running agent.
    Agent,
    /// Secrets Manager.
    Aws,
}

/// How a secret is shown.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// As it was written.
    pub(super) reference: &'a str,
    pub(super) field: Option<&'a str>,
    pub(super) from: From,
    /// Whether the value is part of the JSON.
    pub(super) has_value: bool,
    pub(super) is_terminal: bool,
}

/// Why there is nothing to show.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unshowable {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("the secret is binary, which no terminal shows; pipe it on, or give --json")]
    Binary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    reference: &'a str,
    arn: &'a str,
    name: &'a str,
    version_id: &'a str,
    version_stages: &'a [Box<str>],
    created_date: Option<String>,
    source: From,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<&'a str>,
}

impl Shown<'_> {
    /// Returns the value and nothing else; for a terminal, with a newline behind it.
    pub(super) fn bare(&self, version: &Version) -> Result<SecretValue, Unshowable> {
        let value = match self.chosen(version)? {
            Content::Binary(_) if self.is_terminal => return Err(Unshowable::Binary),
            Content::Text(value) | Content::Binary(value) => value,
        };
        if !self.is_terminal {
            return Ok(value);
        }
        let mut line = Vec::with_capacity(value.len() + 1);
        line.extend_from_slice(value.expose());
        line.push(b'\n');
        Ok(SecretValue::new(line))
    }

    /// Returns what is known of the version as JSON.
    pub(super) fn json(&self, version: &Version) -> Result<SecretValue, Unshowable> {
        let content = self.chosen(version)?;
        let (text, base64) = match &content {
            Content::Text(text) => (str::from_utf8(text.expose()).ok(), None),
            Content::Binary(bytes) => {
                (None, Some(SecretValue::from(STANDARD.encode(bytes.expose()))))
            }
        };
        let base64 = base64.as_ref().and_then(|base64| str::from_utf8(base64.expose()).ok());
        let created = version.created.map(OffsetDateTime::from);
        let written = Written {
            reference: self.reference,
            arn: &version.arn,
            name: &version.name,
            version_id: &version.id,
            version_stages: &version.labels,
            created_date: created.and_then(|created| created.format(&Rfc3339).ok()),
            source: self.from,
            value: text.filter(|_| self.has_value),
            value_base64: base64.filter(|_| self.has_value),
        };
        let mut json = serde_json::to_vec(&written).expect("texts and lists can be written");
        json.push(b'\n');
        Ok(SecretValue::new(json))
    }

    /// Returns the value, or the field of it that was asked for.
    fn chosen(&self, version: &Version) -> Result<Content, FieldError> {
        match self.field {
            Some(field) => Fields::of(&version.content).field(field).cloned().map(Content::Text),
            None => Ok(version.content.clone()),
        }
    }
}

/// Writes to standard output, past its buffer, which would keep a copy.
pub(super) fn write(value: &SecretValue) -> io::Result<()> {
    let own = io::stdout().as_fd().try_clone_to_owned()?;
    File::from(own).write_all(value.expose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn version(content: Content) -> Version {
        Version {
            arn: "arn".into(),
            name: "app/db".into(),
            id: "v1".into(),
            labels: vec!["AWSCURRENT".into()],
            created: Some(UNIX_EPOCH + Duration::from_millis(1_569_534_789_046)),
            content,
        }
    }

    fn text(value: &str) -> Version {
        version(Content::Text(value.to_owned().into()))
    }

    fn shown(field: Option<&'static str>, is_terminal: bool) -> Shown<'static> {
        let has_value = !is_terminal;
        Shown { reference: "app/db", field, from: From::Agent, has_value, is_terminal }
    }

    #[track_caller]
    fn check(written: Result<SecretValue, Unshowable>, expected: Result<&[u8], &str>) {
        let written = written.map(|value| value.expose().to_vec()).map_err(|why| why.to_string());
        assert_eq!(written, expected.map(<[u8]>::to_vec).map_err(str::to_owned));
    }

    #[test]
    fn a_pipe_gets_the_value_alone_and_a_terminal_a_line() {
        let binary = || version(Content::Binary(SecretValue::new(vec![0, 255])));
        check(shown(None, false).bare(&text("a\nb")), Ok(b"a\nb"));
        check(shown(None, true).bare(&text("a")), Ok(b"a\n"));
        check(shown(Some("user"), false).bare(&text(r#"{"user":"ann"}"#)), Ok(b"ann"));
        check(shown(None, false).bare(&binary()), Ok(&[0, 255]));
        check(
            shown(None, true).bare(&binary()),
            Err("the secret is binary, which no terminal shows; pipe it on, or give --json"),
        );
        check(
            shown(Some("pass"), false).bare(&text(r#"{"user":"ann"}"#)),
            Err("the secret has no field 'pass'; it has 'user'"),
        );
    }

    #[test]
    fn json_has_the_value_where_nobody_looks() {
        let begin = r#"{"reference":"app/db","arn":"arn","name":"app/db","versionId":"v1","versionStages":["AWSCURRENT"],"createdDate":"2019-09-26T21:53:09.046Z","source":"agent""#;
        let with = |end: &str| format!("{begin}{end}}}\n");
        check(shown(None, false).json(&text("a\"")), Ok(with(r#","value":"a\"""#).as_bytes()));
        check(shown(None, true).json(&text("a")), Ok(with("").as_bytes()));
        let binary = version(Content::Binary(SecretValue::new(b"hi".to_vec())));
        check(shown(None, false).json(&binary), Ok(with(r#","valueBase64":"aGk=""#).as_bytes()));
    }
}
