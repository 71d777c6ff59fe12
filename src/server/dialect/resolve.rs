//! What `/resolve` answers: a result for each message, and what to hand back to SQS.

use super::{ErrorBody, Value, render, size};
use crate::cache::Served;
use crate::secret::field::{FieldError, json, json_field};
use crate::secret::value::SecretValue;
use crate::server::reading::cache;
use crate::server::resolving::unresolved::Unresolved;
use serde::{Serialize, Serializer};
use serde_json::ser::CompactFormatter;
use serde_json::value::RawValue;

/// What a reference led to. It cannot be printed.
pub(in crate::server) struct Credential<'a> {
    value: Shown<'a>,
    version_id: &'a str,
    cache: &'static str,
    problem: Option<&'a str>,
}

/// A value: JSON as it is written, or text as it is, or bytes in base64.
enum Shown<'a> {
    Json(&'a RawValue),
    Other(Value<'a>),
}

/// What came of one message.
pub(in crate::server) struct Resolved<'a> {
    message_id: Option<&'a str>,
    credentials: Vec<(&'a str, &'a str, Result<&'a Credential<'a>, Unresolved>)>,
    /// Why the message fails, whatever became of its credentials.
    problem: Option<&'a Unresolved>,
    /// Why it fails since it was put together: it has too large credentials, or has to wait.
    later_problem: Option<Box<Unresolved>>,
}

impl<'a> Credential<'a> {
    /// Takes the whole value that was served, or one field of it.
    pub(in crate::server) fn of(
        served: &'a Served,
        field: Option<&str>,
    ) -> Result<Self, FieldError> {
        let version = &served.entry.version;
        let content = &version.content;
        let value = match field {
            Some(name) => {
                let bare = served.entry.fields().field(name)?;
                json_field(content, name)
                    .map_or_else(|| Shown::Other(Value::text_of(bare)), Shown::Json)
            }
            None => json(content).map_or_else(|| Shown::Other(Value::of(content)), Shown::Json),
        };
        let problem = served.entry.malformed.as_ref().map(|malformed| malformed.codes());
        Ok(Self { value, version_id: &version.id, cache: cache(served.how), problem })
    }
}

impl<'a> Resolved<'a> {
    /// Begins with a message that has no credentials yet, and fails where it has a problem.
    pub(in crate::server) fn of(
        message_id: Option<&'a str>,
        problem: Option<&'a Unresolved>,
    ) -> Self {
        Self { message_id, credentials: Vec::new(), problem, later_problem: None }
    }

    /// Adds what came of a reference.
    pub(in crate::server) fn add(
        &mut self,
        key: &'a str,
        reference: &'a str,
        credential: Result<&'a Credential<'a>, Unresolved>,
    ) {
        self.credentials.push((key, reference, credential));
    }

    /// Returns whether all of it succeeded.
    pub(in crate::server) fn is_ok(&self) -> bool {
        self.problem().is_none() && self.credentials.iter().all(|(_, _, one)| one.is_ok())
    }

    /// Fails it as a whole: it has no credentials then.
    pub(in crate::server) fn fail(&mut self, why: Unresolved) {
        self.credentials = Vec::new();
        self.later_problem = Some(Box::new(why));
    }

    fn problem(&self) -> Option<&Unresolved> {
        self.later_problem.as_deref().or(self.problem)
    }

    /// Returns how many bytes it takes in the answer.
    pub(in crate::server) fn size(&self) -> usize {
        size(self, CompactFormatter)
    }

    /// Fails it for an earlier one of its group. Who may not use its credentials does not get them;
    /// what is wrong with it by itself is still told.
    pub(in crate::server) fn hold_up(&mut self) {
        self.credentials.retain(|(_, _, credential)| credential.is_err());
        if self.is_ok() {
            self.later_problem = Some(Box::new(Unresolved::HeldUp));
        }
    }

    /// Returns the references that failed, and why.
    pub(in crate::server) fn failures(&self) -> impl Iterator<Item = (&str, &Unresolved)> {
        self.credentials.iter().filter_map(|(_, reference, credential)| match credential {
            Ok(_) => None,
            Err(why) => Some((*reference, why)),
        })
    }
}

/// Renders the answer in a buffer of exactly its size.
pub(in crate::server) fn body(resolved: &[Resolved<'_>]) -> SecretValue {
    render(&Body { results: resolved, batch_item_failures: Failures(resolved) })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    results: &'a [Resolved<'a>],
    batch_item_failures: Failures<'a>,
}

/// The messages that failed, as SQS takes them back.
struct Failures<'a>(&'a [Resolved<'a>]);

impl Serialize for Failures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let failed = self.0.iter().filter(|one| !one.is_ok());
        let failed = failed.filter_map(|one| one.message_id);
        serializer.collect_seq(failed.map(|id| Failure { item_identifier: id }))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    item_identifier: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    ok: bool,
    credentials: Credentials<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told<'a>>,
}

impl Serialize for Resolved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = ResultBody {
            message_id: self.message_id,
            ok: self.is_ok(),
            credentials: Credentials(self),
            error: self.problem().map(Told),
        };
        body.serialize(serializer)
    }
}

/// The credentials of a message, by their keys.
struct Credentials<'a>(&'a Resolved<'a>);

impl Serialize for Credentials<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bodies = self.0.credentials.iter().map(|(key, reference, credential)| {
            let body = match credential {
                Ok(credential) => CredentialBody {
                    reference,
                    value: credential.value.value(),
                    value_base64: credential.value.base64(),
                    version_id: Some(credential.version_id),
                    cache: Some(credential.cache),
                    problem: credential.problem,
                    error: None,
                },
                Err(why) => CredentialBody {
                    reference,
                    value: None,
                    value_base64: None,
                    version_id: None,
                    cache: None,
                    problem: None,
                    error: Some(Told(why)),
                },
            };
            (key, body)
        });
        serializer.collect_map(bodies)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CredentialBody<'a> {
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<JsonOrText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum JsonOrText<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl Shown<'_> {
    fn value(&self) -> Option<JsonOrText<'_>> {
        match self {
            Self::Json(raw) => Some(JsonOrText::Json(raw)),
            Self::Other(value) => value.text().map(JsonOrText::Text),
        }
    }

    fn base64(&self) -> Option<&str> {
        match self {
            Self::Json(_) => None,
            Self::Other(value) => value.binary(),
        }
    }
}

/// A failure as it is told.
struct Told<'a>(&'a Unresolved);

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0.message();
        let body = ErrorBody { kind: self.0.kind(), message: &message, hint: self.0.hint() };
        body.serialize(serializer)
    }
}
