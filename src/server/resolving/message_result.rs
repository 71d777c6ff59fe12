//! The outcome of each message of a `/resolve` request, and the JSON of the answer.
//!
//! The answer has one result for each message. It also has the list of failed messages. A Lambda
//! function with an SQS trigger can return this list to Lambda.

use super::message_request::{MessageRequest, RequestedReference};
use super::unresolved::Unresolved;
use crate::cache::Served;
use crate::secret::field::{FieldError, json, json_field};
use crate::secret::value::SecretValue;
use crate::server::dialect::error_body::ErrorBody;
use crate::server::dialect::json::{JsonValue, compact_size, render};
use crate::server::response::cache_label;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The full value of a secret, or one field of the value. The type does not implement `Debug`, so
/// that the value is never logged.
pub(in crate::server) struct Credential<'a> {
    value: CredentialValue<'a>,
    version_id: &'a str,
    /// How the cache answered when the secret was read, such as `hit` or `miss`.
    cache: &'static str,
    /// The problem codes of the secret's value, if the value is malformed (it breaks the rules for
    /// its kind of secret).
    problem: Option<&'a str>,
}

enum CredentialValue<'a> {
    /// The value is JSON. The answer contains this JSON byte for byte, so that no number in it is
    /// rounded.
    Json(&'a RawValue),
    /// The value is binary, or it is a string that is not JSON.
    Other(JsonValue<'a>),
}

/// The outcome of one message: a credential or an error for each secret that the message refers to.
pub(in crate::server) struct MessageResult<'a> {
    request: &'a MessageRequest,
    /// For each reference (the name or ARN of a secret), the credential or the error. The order is
    /// that of the references in the message.
    credentials: Box<[Result<&'a Credential<'a>, Unresolved>]>,
    /// The error with which the message failed after its secrets were read. This is `None` if there
    /// is no such error.
    later_problem: Option<Box<Unresolved>>,
    /// Whether the message is skipped, because an earlier message of its FIFO group failed. The
    /// answer then has no credentials for this message.
    ///
    /// The caller must not process this message until the earlier message has succeeded.
    is_skipped: bool,
}

impl<'a> Credential<'a> {
    /// Takes the credential from a secret that was read: the field `field` of its value, or the
    /// full value if `field` is `None`.
    ///
    /// # Errors
    ///
    /// Fails if the value has no field with the name `field`.
    pub(in crate::server) fn of(
        served: &'a Served,
        field: Option<&str>,
    ) -> Result<Self, FieldError> {
        let version = &served.entry.version;
        let content = &version.content;
        let raw = match field {
            Some(name) => {
                let text = served.entry.fields().field(name)?;
                json_field(content, name).ok_or_else(|| JsonValue::of_text(text))
            }
            None => json(content).ok_or_else(|| JsonValue::of(content)),
        };
        Ok(Self {
            value: raw.map_or_else(CredentialValue::Other, CredentialValue::Json),
            version_id: &version.id,
            cache: cache_label(served.how),
            problem: served.entry.malformed.as_ref().map(|malformed| malformed.codes()),
        })
    }
}

impl<'a> MessageResult<'a> {
    /// Creates the result of a message. For each reference (the name or ARN of a secret) in the
    /// message, `credentials` has a credential or an error.
    pub(in crate::server) fn new(
        request: &'a MessageRequest,
        credentials: impl Iterator<Item = Result<&'a Credential<'a>, Unresolved>>,
    ) -> Self {
        let credentials = credentials.collect();
        Self { request, credentials, later_problem: None, is_skipped: false }
    }

    pub(in crate::server) fn group(&self) -> Option<&str> {
        self.request.group.as_deref()
    }

    /// Returns whether all secrets that the message refers to were read, and the message has no
    /// other error.
    pub(in crate::server) fn is_ok(&self) -> bool {
        self.problem().is_none() && self.credentials.iter().all(Result::is_ok)
    }

    /// Fails the whole message with the error `why`. The answer then has no credentials for this
    /// message.
    pub(in crate::server) fn fail(&mut self, why: Unresolved) {
        self.credentials = Box::default();
        self.later_problem = Some(Box::new(why));
    }

    /// Skips the message, because an earlier message of the same FIFO group failed. The answer then
    /// has the errors of this message, but no credentials for it.
    pub(in crate::server) fn skip(&mut self) {
        self.is_skipped = true;
        if self.is_ok() {
            self.later_problem = Some(Box::new(Unresolved::EarlierMessageFailed));
        }
    }

    pub(in crate::server) fn size(&self) -> usize {
        compact_size(self)
    }

    /// Returns the failed references (the names or ARNs of secrets) of the message, each with its
    /// error.
    pub(in crate::server) fn failures(&self) -> impl Iterator<Item = (&str, &Unresolved)> {
        self.outcomes().filter_map(|(reference, credential)| {
            let why = credential.as_ref().err()?;
            Some((&*reference.text, why))
        })
    }

    fn problem(&self) -> Option<&Unresolved> {
        self.later_problem.as_deref().or(self.request.problem.as_ref())
    }

    /// Returns the references (the names or ARNs of secrets) that appear in the answer, each with
    /// its credential or error. For a skipped message, only references with errors appear.
    fn outcomes(
        &self,
    ) -> impl Iterator<Item = (&'a RequestedReference, &Result<&'a Credential<'a>, Unresolved>)>
    {
        let outcomes = self.request.references.iter().zip(&self.credentials);
        outcomes.filter(|(_, credential)| credential.is_err() || !self.is_skipped)
    }
}

/// Renders the answer to a `/resolve` request as JSON, in a buffer of exactly the right size. A
/// buffer that grows would leave copies of secrets in freed memory.
pub(in crate::server) fn render_answer(results: &[MessageResult<'_>]) -> SecretValue {
    render(&AnswerBody { results, batch_item_failures: BatchItemFailures(results) })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerBody<'a> {
    results: &'a [MessageResult<'a>],
    batch_item_failures: BatchItemFailures<'a>,
}

/// The list of failed messages. It has the format in which a Lambda function with an SQS trigger
/// reports failed messages to Lambda.
struct BatchItemFailures<'a>(&'a [MessageResult<'a>]);

impl Serialize for BatchItemFailures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.0
                .iter()
                .filter(|result| !result.is_ok())
                .filter_map(|result| result.request.message_id.as_deref())
                .map(|id| BatchItemFailure { item_identifier: id }),
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure<'a> {
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
    error: Option<ErrorJson<'a>>,
}

impl Serialize for MessageResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = ResultBody {
            message_id: self.request.message_id.as_deref(),
            ok: self.is_ok(),
            credentials: Credentials(self),
            error: self.problem().map(ErrorJson),
        };
        body.serialize(serializer)
    }
}

/// The JSON object with all credentials of a message. Each key is the path of a reference (a
/// secret's name or ARN) in the message. For a list, the key is the reference itself.
struct Credentials<'a>(&'a MessageResult<'a>);

impl Serialize for Credentials<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.outcomes().map(|(reference, credential)| {
            let body = match credential {
                Ok(credential) => CredentialBody {
                    reference: &reference.text,
                    value: credential.value.value(),
                    value_base64: credential.value.base64(),
                    version_id: Some(credential.version_id),
                    cache: Some(credential.cache),
                    problem: credential.problem,
                    error: None,
                },
                Err(why) => CredentialBody {
                    reference: &reference.text,
                    value: None,
                    value_base64: None,
                    version_id: None,
                    cache: None,
                    problem: None,
                    error: Some(ErrorJson(why)),
                },
            };
            (&*reference.key, body)
        }))
    }
}

/// The JSON of one credential: the secret's value, or the error if the secret was not read.
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
    error: Option<ErrorJson<'a>>,
}

/// A value in the JSON answer. A value that is JSON is copied unchanged. Any other value becomes a
/// JSON string.
#[derive(Serialize)]
#[serde(untagged)]
enum JsonOrText<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl CredentialValue<'_> {
    fn value(&self) -> Option<JsonOrText<'_>> {
        match self {
            Self::Json(raw) => Some(JsonOrText::Json(raw)),
            Self::Other(value) => value.text().map(JsonOrText::Text),
        }
    }

    fn base64(&self) -> Option<&str> {
        match self {
            Self::Json(_) => None,
            Self::Other(value) => value.base64(),
        }
    }
}

/// The type, message and hint of an error, as JSON.
struct ErrorJson<'a>(&'a Unresolved);

impl Serialize for ErrorJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0.message();
        let body = ErrorBody { kind: self.0.kind(), message: &message, hint: self.0.hint() };
        body.serialize(serializer)
    }
}
