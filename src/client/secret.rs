//! Reads one secret or parameter from a running agent, with a request of the AWS API.
//!
//! Agents answer such requests in every configuration, and their errors have types, such as
//! `ResourceNotFoundException`.

use super::{Answer, Client};
use crate::printable::Printable;
use crate::secret::key::Key;
use crate::secret::service::Service;
use crate::secret::value::SecretValue;
use crate::secret::version::{Content, Details, Parameter, ParameterKind, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{kind}: {message}")]
    Refused {
        /// The error type in the agent's answer, such as `ResourceNotFoundException`.
        kind: String,
        /// The agent's error message. Each control character is replaced by `?`, so that the
        /// message is safe to print on a terminal.
        message: String,
    },
    /// The HTTP answer is not in the format of the AWS API, which means that a program other than
    /// Sidekey listens at the agent's address.
    #[error("a program other than Sidekey answered, with HTTP status {status}")]
    NotSidekey { status: u16 },
    /// The client got no answer from the agent. The string is the reason, as a message for the
    /// user.
    #[error("{0}")]
    NoAnswer(String),
}

/// The JSON body of a successful answer to a `GetSecretValue` request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
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

/// The JSON body of a successful answer to a `GetParameter` request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterBody {
    parameter: ParameterMembers,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterMembers {
    #[serde(rename = "ARN")]
    arn: Box<str>,
    name: Box<str>,
    #[serde(rename = "Type")]
    kind: Box<str>,
    version: u64,
    data_type: Option<Box<str>>,
    last_modified_date: Option<f64>,
    value: String,
}

/// A function that parses the body of a successful answer. The function returns `None` if the body
/// has an unknown format.
type Parse = fn(&[u8]) -> Option<Version>;

impl Client {
    pub(crate) async fn secret(&mut self, key: &Key) -> Result<Version, ReadError> {
        let (operation, parse): (_, Parse) = match key.id.service() {
            Service::SecretsManager => ("secretsmanager.GetSecretValue", version),
            Service::ParameterStore => ("AmazonSSM.GetParameter", parameter_version),
        };
        let answer = self.call(operation, members(key)).await;
        parsed(&answer.map_err(|error| ReadError::NoAnswer(error.to_string()))?, parse)
    }
}

/// Returns the JSON body of a request for the secret or parameter that `key` identifies.
fn members(key: &Key) -> String {
    if key.id.service() == Service::ParameterStore {
        let (label, number) = (key.selector.stage(), key.selector.version());
        let selector = label.or(number).map(|text| format!(":{text}")).unwrap_or_default();
        let name = format!("{}{selector}", key.id.aws_id());
        return json!({ "Name": name, "WithDecryption": true }).to_string();
    }
    let mut parameters = json!({ "SecretId": key.id.as_str() });
    if let Some(stage) = key.selector.stage() {
        parameters["VersionStage"] = stage.into();
    }
    if let Some(version) = key.selector.version() {
        parameters["VersionId"] = version.into();
    }
    parameters.to_string()
}

/// Parses the agent's answer. If the HTTP status is a success, `parse` parses the body. Otherwise,
/// returns the agent's error. Also returns an error if the format of the answer shows that a
/// program other than Sidekey answered.
fn parsed(answer: &Answer, parse: Parse) -> Result<Version, ReadError> {
    let body = answer.body.expose();
    let version = match answer.status.is_success() {
        true => parse(body).ok_or(None),
        false => Err(refusal(body)),
    };
    version.map_err(|refusal| {
        refusal.unwrap_or(ReadError::NotSidekey { status: answer.status.as_u16() })
    })
}

/// Parses the body of the answer to a `GetParameter` request.
fn parameter_version(body: &[u8]) -> Option<Version> {
    let parameter = serde_json::from_slice::<ParameterBody>(body).ok()?.parameter;
    let kind = ParameterKind::ALL.into_iter().find(|kind| kind.label() == &*parameter.kind)?;
    Some(Version {
        arn: parameter.arn,
        name: parameter.name,
        id: parameter.version.to_string().into(),
        created: parameter.last_modified_date.and_then(to_the_millisecond),
        content: Content::Text(parameter.value.into()),
        details: Details::Parameter(Parameter {
            number: parameter.version,
            kind,
            data_type: parameter.data_type,
        }),
    })
}

/// Parses the body of the answer to a `GetSecretValue` request.
fn version(body: &[u8]) -> Option<Version> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let content = match (body.secret_string, body.secret_binary) {
        (Some(text), _) => Content::Text(text.into()),
        (None, base64) => {
            let bytes = STANDARD.decode(SecretValue::from(base64?).expose()).ok()?;
            Content::Binary(SecretValue::new(bytes))
        }
    };
    Some(Version {
        arn: body.arn,
        name: body.name,
        id: body.version_id,
        details: Details::Secret { labels: body.version_stages },
        created: body.created_date.and_then(to_the_millisecond),
        content,
    })
}

/// Parses an error answer in the format of the AWS API. Returns `None` if `body` is not in this
/// format.
///
/// If the error contains a hint about the token, replaces the hint, because the hint is written for
/// users of an AWS SDK and not for users of this program.
pub(super) fn refusal(body: &[u8]) -> Option<ReadError> {
    let error: Value = serde_json::from_slice(body).ok()?;
    let (kind, message) = (error["__type"].as_str()?, error["message"].as_str()?);
    let hint = error["hint"].as_str().unwrap_or_default();
    let message = if hint.contains("SIDEKEY_TOKEN") {
        "the agent refused the token: set SIDEKEY_TOKEN to the agent's token".to_owned()
    } else if message.contains(hint) {
        message.to_owned()
    } else {
        format!("{message} ({hint})")
    };
    Some(ReadError::Refused {
        kind: Printable(kind).to_string(),
        message: Printable(&message).to_string(),
    })
}

/// Converts a number of seconds since 1970 to a time, rounded to the nearest millisecond. Returns
/// `None` if the number is not a valid time.
fn to_the_millisecond(seconds: f64) -> Option<SystemTime> {
    let span = Duration::try_from_secs_f64(seconds + 0.0005).ok()?;
    // A date from the year 10,000 on needs more than four digits for the year.
    let millis =
        u64::try_from(span.as_millis()).ok().filter(|millis| *millis < 253_402_300_800_000)?;
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
    fn check_members(reference: &str, expected: &Value) {
        let Reference { id, selector, .. } =
            Reference::parse(reference).expect("the reference is valid");
        let members: Value =
            serde_json::from_str(&members(&Key::own(id, selector))).expect("the request is JSON");
        assert_eq!(members, *expected);
    }

    #[test]
    fn request_names_the_version_of_the_reference() {
        check_members("app/db#user", &json!({"SecretId": "app/db", "VersionStage": "AWSCURRENT"}));
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        let previous = json!({"SecretId": arn, "VersionStage": "AWSPREVIOUS"});
        check_members(&format!("{arn}::AWSPREVIOUS:"), &previous);
        check_members(&format!("{arn}:::v1"), &json!({"SecretId": arn, "VersionId": "v1"}));
        for (reference, name) in [
            ("ssm:/app/url#host", "/app/url"),
            ("ssm:/app/url:3", "/app/url:3"),
            ("ssm:url:live", "url:live"),
            (
                "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url:live",
                "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url:live",
            ),
        ] {
            check_members(reference, &json!({"Name": name, "WithDecryption": true}));
        }
    }

    fn read(status: u16, body: &str) -> Result<Version, ReadError> {
        read_as(status, body, version)
    }

    fn read_as(status: u16, body: &str, parse: Parse) -> Result<Version, ReadError> {
        let answer = Answer {
            status: StatusCode::from_u16(status).expect("the status is valid"),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        parsed(&answer, parse)
    }

    #[test]
    fn parameter_is_parsed_with_all_metadata() {
        let body = r#"{"Parameter":{"ARN":"a","DataType":"text","LastModifiedDate":1569534789.046,
            "Name":"/app/url","Type":"StringList","Value":"a,b","Version":3}}"#;
        let version = read_as(200, body, parameter_version).expect("the answer has a parameter");
        assert_eq!((&*version.arn, &*version.name, &*version.id), ("a", "/app/url", "3"));
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_569_534_789_046);
        assert_eq!(version.created, Some(created));
        assert!(matches!(&version.content, Content::Text(text) if text.expose() == b"a,b"));
        let Details::Parameter(Parameter { number, kind, data_type }) = &version.details else {
            panic!("the version must be a parameter: {version:?}");
        };
        assert_eq!(
            (*number, *kind, data_type.as_deref()),
            (3, ParameterKind::StringList, Some("text"))
        );
        for (status, body) in [
            (200, body.replace("StringList", "Other")),
            (200, body.replace(r#""Version":3"#, r#""Version":"3""#)),
            (200, r#"{"ARN":"a","Name":"n","VersionId":"v","SecretString":"v"}"#.to_owned()),
            (404, "<html>".to_owned()),
        ] {
            let error = read_as(status, &body, parameter_version).map(|_| ());
            assert_eq!(error, Err(ReadError::NotSidekey { status }), "{body}");
        }
        let refused = r#"{"__type":"ParameterNotFound","message":"m"}"#;
        let error = read_as(400, refused, parameter_version).map(|_| ());
        let error = error.map_err(|error| error.to_string());
        assert_eq!(error, Err("ParameterNotFound: m".to_owned()));
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Result<&str, &str>) {
        let result = match read(status, body).map(|version| version.content) {
            Ok(Content::Text(text)) => Ok(format!("text {}", text.len())),
            Ok(Content::Binary(bytes)) => Ok(format!("bytes {:?}", bytes.expose())),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(result, expected.map(str::to_owned).map_err(str::to_owned), "{body}");
    }

    #[test]
    fn values_errors_and_foreign_answers_are_told_apart() {
        let with = |rest: &str| format!(r#"{{"ARN":"a","Name":"n","VersionId":"v"{rest}}}"#);
        check(200, &with(r#","SecretString":"v""#), Ok("text 1"));
        check(200, &with(r#","SecretBinary":"aGk=""#), Ok("bytes [104, 105]"));
        let foreign =
            |status| format!("a program other than Sidekey answered, with HTTP status {status}");
        check(200, &with(r#","SecretString":null"#), Err(&foreign(200)));
        check(200, &with(r#","SecretBinary":"?""#), Err(&foreign(200)));
        check(200, r#"{"SecretString":"v"}"#, Err(&foreign(200)));
        check(200, "<html>", Err(&foreign(200)));
        check(405, "Not allowed", Err(&foreign(405)));
        check(400, r#"{"message":"m"}"#, Err(&foreign(400)));
        check(400, r#"{"__type":"K","message":"a\nb\u001b"}"#, Err("K: a?b?"));
        check(400, r#"{"__type":"K","message":"m","hint":"h"}"#, Err("K: m (h)"));
        check(400, r#"{"__type":"K","message":"m; h","hint":"h"}"#, Err("K: m; h"));
        let token = r#"{"__type":"Denied","message":"m","hint":"use SIDEKEY_TOKEN"}"#;
        let expected =
            "Denied: the agent refused the token: set SIDEKEY_TOKEN to the agent's token";
        check(400, token, Err(expected));
    }

    #[test]
    fn answer_is_parsed_with_all_metadata() {
        let body = r#"{"ARN":"a","Name":"n","VersionId":"v","VersionStages":["AWSCURRENT","x"],
            "CreatedDate":1569534789.046,"SecretString":"s"}"#;
        let version = read(200, body).expect("the answer has a version");
        let labels: Vec<&str> = version.labels().iter().map(|label| &**label).collect();
        assert_eq!((&*version.arn, &*version.name, &*version.id), ("a", "n", "v"));
        assert_eq!(labels, ["AWSCURRENT", "x"]);
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(1_569_534_789_046);
        assert_eq!(version.created, Some(created));
    }

    proptest! {
        #[test]
        fn for_any_answer_no_error_shows_a_value_or_a_control_character(
            status in 200_u16..600,
            body in prop_oneof![
                mangled(r#"{"ARN":"a","Name":"n","VersionId":"v","SecretString":"hunter2"}"#),
                mangled(r#"{"__type":"K","message":"m\u001b\n"}"#),
                hostile::json().prop_map(|json| json.to_string()),
            ],
        ) {
            if let Err(error) = read(status, &body) {
                let message = error.to_string();
                prop_assert!(!message.contains(VALUE));
                prop_assert!(!message.contains(char::is_control), "{message}");
            }
        }

        #[test]
        fn for_any_value_an_answer_gives_the_value_back(
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
