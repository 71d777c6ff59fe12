//! Formats a secret or parameter for the output of `sidekey get`.

use crate::secret::field::{FieldError, Fields};
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Details, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReadFrom {
    Agent,
    Aws,
}

#[derive(Debug)]
pub(super) struct Output<'a> {
    /// The name or ARN of the secret as the user wrote it.
    pub(super) reference: &'a str,
    /// The name of the field to print. `None` prints the full value of the secret.
    pub(super) field: Option<&'a str>,
    pub(super) from: ReadFrom,
    pub(super) has_value: bool,
    pub(super) is_terminal: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutputError {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(
        "the secret is binary and cannot be printed to a terminal; use a pipe or a file, or use --json"
    )]
    Binary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    reference: &'a str,
    arn: &'a str,
    name: &'a str,
    version_id: &'a str,
    version_stages: &'a [Box<str>],
    /// The type of a parameter of Parameter Store, such as `SecureString`. `None` for a secret of
    /// Secrets Manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter_type: Option<&'static str>,
    created_date: Option<String>,
    source: ReadFrom,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<&'a str>,
}

impl Output<'_> {
    /// Returns the output of `sidekey get` without `--json`: only the value. On a terminal, the
    /// output also ends with a newline.
    pub(super) fn bare(&self, version: &Version) -> Result<SecretValue, OutputError> {
        let value = match self.content(version)? {
            Content::Binary(_) if self.is_terminal => return Err(OutputError::Binary),
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

    pub(super) fn json(&self, version: &Version) -> Result<SecretValue, OutputError> {
        let content = self.content(version)?;
        let encoded = match &content {
            Content::Text(_) => None,
            Content::Binary(bytes) => Some(SecretValue::from(STANDARD.encode(bytes.expose()))),
        };
        let (value, value_base64) = match (&content, &encoded) {
            (Content::Text(text), _) => (str::from_utf8(text.expose()).ok(), None),
            (_, Some(base64)) => (None, str::from_utf8(base64.expose()).ok()),
            _ => (None, None),
        };
        let created = version.created.map(OffsetDateTime::from);
        let output = Json {
            reference: self.reference,
            arn: &version.arn,
            name: &version.name,
            version_id: &version.id,
            version_stages: version.labels(),
            parameter_type: match &version.details {
                Details::Parameter(parameter) => Some(parameter.kind.label()),
                Details::Secret { .. } | Details::Path(_) => None,
            },
            created_date: created.and_then(|created| created.format(&Rfc3339).ok()),
            source: self.from,
            value: value.filter(|_| self.has_value),
            value_base64: value_base64.filter(|_| self.has_value),
        };
        let mut json = serde_json::to_vec(&output)
            .expect("the metadata of a secret must be serializable as JSON");
        json.push(b'\n');
        Ok(SecretValue::new(json))
    }

    fn content(&self, version: &Version) -> Result<Content, FieldError> {
        match self.field {
            Some(field) => Fields::of(&version.content).field(field).cloned().map(Content::Text),
            None => Ok(version.content.clone()),
        }
    }
}

/// Writes a value to standard output. Bypasses the output buffer of Rust's standard library,
/// because a copy of the secret would stay in that buffer.
pub(super) fn write(value: &SecretValue) -> io::Result<()> {
    let unbuffered = io::stdout().as_fd().try_clone_to_owned()?;
    File::from(unbuffered).write_all(value.expose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::version::{Parameter, ParameterKind};
    use std::time::{Duration, UNIX_EPOCH};

    fn version(content: Content) -> Version {
        Version {
            arn: "arn".into(),
            name: "app/db".into(),
            id: "v1".into(),
            details: Details::Secret { labels: vec!["AWSCURRENT".into()] },
            created: Some(UNIX_EPOCH + Duration::from_millis(1_569_534_789_046)),
            content,
        }
    }

    fn text(value: &str) -> Version {
        version(Content::Text(value.to_owned().into()))
    }

    fn output(field: Option<&'static str>, is_terminal: bool) -> Output<'static> {
        let has_value = !is_terminal;
        Output { reference: "app/db", field, from: ReadFrom::Agent, has_value, is_terminal }
    }

    #[track_caller]
    fn check(output: Result<SecretValue, OutputError>, expected: Result<&[u8], &str>) {
        let output = output.map(|value| value.expose().to_vec()).map_err(|error| error.to_string());
        assert_eq!(output, expected.map(<[u8]>::to_vec).map_err(str::to_owned));
    }

    #[test]
    fn pipe_gets_the_bare_value_and_terminal_a_line() {
        let binary = || version(Content::Binary(SecretValue::new(vec![0, 255])));
        check(output(None, false).bare(&text("a\nb")), Ok(b"a\nb"));
        check(output(None, true).bare(&text("a")), Ok(b"a\n"));
        check(output(Some("user"), false).bare(&text(r#"{"user":"ann"}"#)), Ok(b"ann"));
        check(output(None, false).bare(&binary()), Ok(&[0, 255]));
        check(
            output(None, true).bare(&binary()),
            Err(
                "the secret is binary and cannot be printed to a terminal; use a pipe or a file, or use --json",
            ),
        );
        check(
            output(Some("pass"), false).bare(&text(r#"{"user":"ann"}"#)),
            Err("the secret has no field 'pass'; it has 'user'"),
        );
    }

    #[test]
    fn json_of_a_parameter_has_its_type() {
        let kind = ParameterKind::StringList;
        let details = Details::Parameter(Parameter { number: 3, kind, data_type: None });
        let version = Version { details, id: "3".into(), ..text("a,b") };
        let expected = r#"{"reference":"app/db","arn":"arn","name":"app/db","versionId":"3","versionStages":[],"parameterType":"StringList","createdDate":"2019-09-26T21:53:09.046Z","source":"agent","value":"a,b"}"#;
        check(output(None, false).json(&version), Ok(format!("{expected}\n").as_bytes()));
        check(output(None, false).bare(&version), Ok(b"a,b"));
    }

    #[test]
    fn json_on_a_terminal_leaves_the_value_out() {
        let begin = r#"{"reference":"app/db","arn":"arn","name":"app/db","versionId":"v1","versionStages":["AWSCURRENT"],"createdDate":"2019-09-26T21:53:09.046Z","source":"agent""#;
        let with = |end: &str| format!("{begin}{end}}}\n");
        check(output(None, false).json(&text("a\"")), Ok(with(r#","value":"a\"""#).as_bytes()));
        check(output(None, true).json(&text("a")), Ok(with("").as_bytes()));
        let binary = version(Content::Binary(SecretValue::new(b"hi".to_vec())));
        check(output(None, false).json(&binary), Ok(with(r#","valueBase64":"aGk=""#).as_bytes()));
    }
}
