//! The reads of all secrets that are asked for, at once.

use super::variable::Unread;
use crate::client::{Address, Answered, AskError, Client};
use crate::clock::{Clock, within};
use crate::config::contact::Contact;
use crate::secret::key::Key;
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many reads are under way at once: as many as an agent makes calls.
const READS_MAX: usize = 32;

/// How long one read may take. The agent gives up first, and says why: after 5 s by default.
const READ_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long to rest before looking again for an agent that does not listen yet.
const PAUSE: Duration = Duration::from_millis(20);

/// What is needed of the answer of `GetSecretValue`.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "SecretString")]
    text: Option<String>,
    #[serde(rename = "SecretBinary")]
    binary: Option<IgnoredAny>,
}

/// Waits until somebody listens at `address`, for `wait` at most.
///
/// # Errors
///
/// What connecting failed with at last; at once where waiting would not help.
pub(super) async fn reach(
    address: &Address,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<(), AskError> {
    let started = clock.now();
    loop {
        let error = match Client::connect(address, None).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let is_over = clock.now().since(started).is_none_or(|waited| waited >= wait);
        if is_over || !may_come_up(&error) {
            return Err(error);
        }
        clock.sleep(PAUSE).await;
    }
}

/// Returns whether an agent that starts now would end the error.
fn may_come_up(error: &AskError) -> bool {
    let AskError::NoAgent(_, error) = error else { return false };
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// Reads every secret, up to [`READS_MAX`] at once.
pub(super) async fn read_all(
    contact: Contact,
    keys: Vec<Key>,
    clock: Arc<dyn Clock>,
) -> HashMap<Key, Result<Content, Unread>> {
    let (contact, turns) = (Arc::new(contact), Arc::new(Semaphore::new(READS_MAX)));
    let mut reads = JoinSet::new();
    for key in keys {
        let (contact, turns, clock) = (contact.clone(), turns.clone(), clock.clone());
        reads.spawn(async move {
            let _turn = turns.acquire().await;
            let read = within(&*clock, READ_WAIT_MAX, read(&contact, &key)).await;
            let late = || Unread::Unasked(format!("no answer within {READ_WAIT_MAX:?}"));
            (key, read.unwrap_or_else(|| Err(late())))
        });
    }
    // A read that panicked is not among them, and is told as one without an answer.
    let mut answers = HashMap::new();
    while let Some(read) = reads.join_next().await {
        answers.extend(read);
    }
    answers
}

/// Reads one secret by the AWS API, which is the same in every dialect and tells errors by type.
async fn read(contact: &Contact, key: &Key) -> Result<Content, Unread> {
    let unasked = |error: AskError| Unread::Unasked(error.to_string());
    let client = Client::connect(&contact.address, contact.token.as_ref());
    let mut client = client.await.map_err(unasked)?;
    let answered = client.call("GetSecretValue", members(key)).await.map_err(unasked)?;
    content(&answered)
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
fn content(answered: &Answered) -> Result<Content, Unread> {
    let (status, body) = (answered.status, answered.body.expose());
    let foreign = || Unread::Foreign { status: status.as_u16() };
    if status.is_success() {
        return match serde_json::from_slice(body) {
            Ok(Told { text: Some(text), .. }) => Ok(Content::Text(text.into())),
            // Which bytes does not matter: a variable is text.
            Ok(Told { binary: Some(_), .. }) => Ok(Content::Binary(SecretValue::new(Vec::new()))),
            _ => Err(foreign()),
        };
    }
    let told: Value = serde_json::from_slice(body).map_err(|_| foreign())?;
    let text = |name: &str| told[name].as_str().map(one_line).ok_or_else(foreign);
    Err(Unread::Refused { kind: text("__type")?, message: text("message")? })
}

/// Keeps a message from forging lines of a log or steering a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Moment, Sleep};
    use crate::secret::reference::Reference;
    use hyper::{HeaderMap, StatusCode};
    use std::net::TcpListener;
    use std::sync::Mutex;

    /// A clock that stands still but for sleeps, which take no time.
    #[derive(Debug, Default)]
    struct Hurried(Mutex<Duration>);

    impl Clock for Hurried {
        fn now(&self) -> Moment {
            let steady = *self.0.lock().expect("no panic");
            Moment { wall: std::time::UNIX_EPOCH + steady, steady }
        }

        fn sleep(&self, span: Duration) -> Sleep {
            *self.0.lock().expect("no panic") += span;
            Box::pin(async {})
        }
    }

    #[tokio::test]
    async fn an_agent_that_does_not_listen_is_waited_for_and_not_for_ever() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let free = held.local_addr().expect("bound");
        let clock = Hurried::default();
        let wait = Duration::from_secs(1);
        assert!(reach(&Address::Loopback(free), wait, &clock).await.is_ok());
        assert_eq!(clock.now().steady, Duration::ZERO);

        let absent = Address::Socket("/nonexistent/socket".into());
        let error = reach(&absent, wait, &clock).await.expect_err("nobody is there");
        assert_eq!(error.to_string(), "no agent answers at /nonexistent/socket");
        assert_eq!(clock.now().steady, wait);

        let nowhere = Address::Socket("x".repeat(1000).into());
        assert!(reach(&nowhere, wait, &clock).await.is_err(), "no path of a socket");
        assert_eq!(clock.now().steady, wait, "an agent that starts would change nothing");
    }

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

    #[track_caller]
    fn check(status: u16, body: &str, expected: Result<&str, &str>) {
        let answered = Answered {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        let told = match content(&answered) {
            Ok(Content::Text(text)) => Ok(String::from_utf8_lossy(text.expose()).into_owned()),
            Ok(Content::Binary(_)) => Ok("binary".to_owned()),
            Err(unread) => Err(unread.to_string()),
        };
        assert_eq!(told, expected.map(str::to_owned).map_err(str::to_owned), "{body}");
    }

    #[test]
    fn answers_are_read_and_what_is_none_is_told() {
        check(200, r#"{"Name":"n","SecretString":"v"}"#, Ok("v"));
        check(200, r#"{"SecretBinary":"aGk="}"#, Ok("binary"));
        let foreign = |status| format!("the answer, with status {status}, is none of Sidekey's");
        check(200, r#"{"SecretString":null}"#, Err(&foreign(200)));
        check(200, "<html>", Err(&foreign(200)));
        check(405, "Not allowed", Err(&foreign(405)));
        check(400, r#"{"message":"m"}"#, Err(&foreign(400)));
        check(400, r#"{"__type":"K","message":"a\nb\u001b"}"#, Err("K: a?b?"));
    }
}
