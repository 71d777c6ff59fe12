//! What `/resolve` answers: a result for each message, and what to hand back to SQS.

use super::{ErrorBody, Value, render, size};
use crate::cache::Served;
use crate::secret::field::{FieldError, json, json_field};
use crate::secret::value::SecretValue;
use crate::server::reading::cache;
use crate::server::resolving::ask::{Ask, Want};
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
    ask: &'a Ask,
    /// In the order of the references that they are for.
    credentials: Box<[Result<&'a Credential<'a>, Unresolved>]>,
    /// Why it fails since it was put together: it has too large credentials, or has to wait.
    later_problem: Option<Box<Unresolved>>,
    /// Whether an earlier message of its FIFO group failed: the caller must not use its credentials.
    is_held_up: bool,
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
    /// Puts together a message with one outcome for each of its references.
    pub(in crate::server) fn of(
        ask: &'a Ask,
        credentials: impl Iterator<Item = Result<&'a Credential<'a>, Unresolved>>,
    ) -> Self {
        Self { ask, credentials: credentials.collect(), later_problem: None, is_held_up: false }
    }

    /// Returns each reference with its outcome. A message that failed as a whole has none.
    fn outcomes(
        &self,
    ) -> impl Iterator<Item = (&'a Want, &Result<&'a Credential<'a>, Unresolved>)> {
        let outcomes = self.ask.wants.iter().zip(&self.credentials);
        outcomes.filter(|(_, credential)| credential.is_err() || !self.is_held_up)
    }

    /// Returns whether all of it succeeded.
    pub(in crate::server) fn is_ok(&self) -> bool {
        self.problem().is_none() && self.credentials.iter().all(Result::is_ok)
    }

    /// Fails it as a whole: it has no credentials then.
    pub(in crate::server) fn fail(&mut self, why: Unresolved) {
        self.credentials = Box::default();
        self.later_problem = Some(Box::new(why));
    }

    fn problem(&self) -> Option<&Unresolved> {
        self.later_problem.as_deref().or(self.ask.problem.as_ref())
    }

    /// Returns how many bytes it takes in the answer.
    pub(in crate::server) fn size(&self) -> usize {
        size(self, CompactFormatter)
    }

    /// Fails it for an earlier one of its group. Who may not use its credentials does not get them;
    /// what is wrong with it by itself is still told.
    pub(in crate::server) fn hold_up(&mut self) {
        self.is_held_up = true;
        if self.is_ok() {
            self.later_problem = Some(Box::new(Unresolved::HeldUp));
        }
    }

    /// Returns the references that failed, and why.
    pub(in crate::server) fn failures(&self) -> impl Iterator<Item = (&str, &Unresolved)> {
        self.outcomes().filter_map(|(want, credential)| {
            let why = credential.as_ref().err()?;
            Some((&*want.reference, why))
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
        let failed = failed.filter_map(|one| one.ask.message_id.as_deref());
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
            message_id: self.ask.message_id.as_deref(),
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
        let bodies = self.0.outcomes().map(|(want, credential)| {
            let reference = &*want.reference;
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
            (&*want.key, body)
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
