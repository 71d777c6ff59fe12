//! One secret, asked of an agent by the AWS API: it is the same in every dialect and tells errors by
//! type.

use super::{Answered, AskError, Client};
use crate::printable::Printable;
use crate::secret::key::Key;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// Why a secret was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The agent said no.
    #[error("{kind}: {message}")]
    Refused {
        /// AWS's name of the error, or the agent's own.
        kind: String,
        /// What it said.
        message: String,
    },
    /// Something else than an agent answered.
    #[error("the answer, with status {status}, is none of Sidekey's")]
    Foreign {
        /// The status.
        status: u16,
    },
    /// The agent could not be asked.
    #[error("{0}")]
    Unasked(String),
}

/// The answer of `GetSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    #[serde(rename = "ARN")]
    arn: Box<str>,
    name: Box<str>,
    version_id: Box<str>,
    #[serde(default)]
    version_stages: Vec<Box<str>>,
    created_date: Option<f64>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

impl Client {
    /// Reads one secret.
    ///
    /// # Errors
    ///
    /// Where the agent could not be asked, said no, or is none.
    pub async fn secret(&mut self, key: &Key) -> Result<Version, Unread> {
        let answered = self.call("GetSecretValue", members(key)).await;
        version(&answered.map_err(|error: AskError| Unread::Unasked(error.to_string()))?)
    }
}

fn members(key: &Key) -> String {
    let mut members = json!({ "SecretId": key.id.as_str() });
    if let Some(stage) = key.selector.stage() {
        members["VersionStage"] = stage.into();
    }
    if let Some(version) = key.selector.version() {
        members["VersionId"] = version.into();
    }
    members.to_string()
}

/// Reads an answer. Whoever listens need not be an agent.
fn version(answered: &Answered) -> Result<Version, Unread> {
    let (status, body) = (answered.status, answered.body.expose());
    let foreign = || Unread::Foreign { status: status.as_u16() };
    if !status.is_success() {
        let told: Value = serde_json::from_slice(body).map_err(|_| foreign())?;
        let text = |name: &str| {
            told[name].as_str().map(|text| Printable(text).to_string()).ok_or_else(foreign)
        };
        return Err(Unread::Refused { kind: text("__type")?, message: text("message")? });
    }
    let told: Told = serde_json::from_slice(body).map_err(|_| foreign())?;
    let content = match (told.secret_string, told.secret_binary) {
        (Some(text), _) => Content::Text(text.into()),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(SecretValue::from(base64).expose());
            Content::Binary(SecretValue::new(bytes.map_err(|_| foreign())?))
        }
        (None, None) => return Err(foreign()),
    };
    Ok(Version {
        arn: told.arn,
        name: told.name,
        id: told.version_id,
        labels: told.version_stages,
        created: told.created_date.and_then(to_the_millisecond),
        content,
    })
}

/// Returns the time, freed of the error of a floating number.
fn to_the_millisecond(seconds: f64) -> Option<SystemTime> {
    let span = Duration::try_from_secs_f64(seconds + 0.0005).ok()?;
    let millis = u64::try_from(span.as_millis()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{self, VALUE, mangled, text};
    use crate::secret::reference::Reference;
    use hyper::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    #[track_caller]
    fn asks(reference: &str, expected: &Value) {
        let Reference { id, selector, .. } = Reference::parse(reference).expect("a reference");
        let members: Value = serde_json::from_str(&members(&Key { id, selector })).expect("JSON");
        assert_eq!(members, *expected);
    }

    #[test]
    fn the_version_that_is_meant_is_asked_for() {
        asks("app/db#user", &json!({"SecretId": "app/db", "VersionStage": "AWSCURRENT"}));
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        let previous = json!({"SecretId": arn, "VersionStage": "AWSPREVIOUS"});
        asks(&format!("{arn}::AWSPREVIOUS:"), &previous);
        asks(&format!("{arn}:::v1"), &json!({"SecretId": arn, "VersionId": "v1"}));
    }

    fn read(status: u16, body: &str) -> Result<Version, Unread> {
        version(&Answered {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        })
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Result<&str, &str>) {
        let told = match read(status, body).map(|version| version.content) {
            Ok(Content::Text(text)) => Ok(format!("text {}", text.len())),
            Ok(Content::Binary(bytes)) => Ok(format!("bytes {:?}", bytes.expose())),
            Err(unread) => Err(unread.to_string()),
        };
        assert_eq!(told, expected.map(str::to_owned).map_err(str::to_owned), "{body}");
    }

    #[test]
    fn answers_are_read_and_what_is_none_is_told() {
        let with = |rest: &str| format!(r#"{{"ARN":"a","Name":"n","VersionId":"v"{rest}}}"#);
        check(200, &with(r#","SecretString":"v""#), Ok("text 1"));
        check(200, &with(r#","SecretBinary":"aGk=""#), Ok("bytes [104, 105]"));
        let foreign = |status| format!("the answer, with status {status}, is none of Sidekey's");
        check(200, &with(r#","SecretString":null"#), Err(&foreign(200)));
        check(200, &with(r#","SecretBinary":"?""#), Err(&foreign(200)));
        check(200, r#"{"SecretString":"v"}"#, Err(&foreign(200)));
        check(200, "<html>", Err(&foreign(200)));
        check(405, "Not allowed", Err(&foreign(405)));
        check(400, r#"{"message":"m"}"#, Err(&foreign(400)));
        check(400, r#"{"__type":"K","message":"a\nb\u001b"}"#, Err("K: a?b?"));
    }

    #[test]
    fn a_version_is_read_whole() {
        let body = r#"{"ARN":"a","Name":"n","VersionId":"v","VersionStages":["AWSCURRENT","x"],
            "CreatedDate":1569534789.046,"SecretString":"s"}"#;
        let version = read(200, body).expect("an answer");
        let labels: Vec<&str> = version.labels.iter().map(|label| &**label).collect();
        assert_eq!((&*version.arn, &*version.name, &*version.id), ("a", "n", "v"));
        assert_eq!(labels, ["AWSCURRENT", "x"]);
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_569_534_789_046);
        assert_eq!(version.created, Some(created));
    }

    proptest! {
        #[test]
        fn for_any_answer_no_error_shows_a_value_or_steers_a_terminal(
            status in 200_u16..600,
            body in prop_oneof![
                mangled(r#"{"ARN":"a","Name":"n","VersionId":"v","SecretString":"hunter2"}"#),
                mangled(r#"{"__type":"K","message":"m\u001b\n"}"#),
                hostile::json().prop_map(|json| json.to_string()),
            ],
        ) {
            if let Err(unread) = read(status, &body) {
                let told = unread.to_string();
                prop_assert!(!told.contains(VALUE) && !told.contains(char::is_control), "{told}");
            }
        }

        #[test]
        fn for_any_version_an_answer_is_read_back(
            text in text(),
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            seconds: f64,
        ) {
            let answer = |member: &str, value: &str| {
                let mut answer = json!({"ARN": "a", "Name": "n", "VersionId": "v", "CreatedDate": seconds});
                answer[member] = value.into();
                read(200, &answer.to_string()).map(|version| version.content)
            };
            match answer("SecretString", &text) {
                Ok(Content::Text(read)) => prop_assert_eq!(read.expose(), text.as_bytes()),
                other => prop_assert!(false, "{other:?}"),
            }
            match answer("SecretBinary", &STANDARD.encode(&bytes)) {
                Ok(Content::Binary(read)) => prop_assert_eq!(read.expose(), &*bytes),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
