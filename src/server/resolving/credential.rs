//! The credentials that were read for one `/resolve` request, and their JSON in the answer.

use super::unresolved::Unresolved;
use crate::cache::Served;
use crate::secret::field::{json, json_field};
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use crate::server::dialect::error_body::ErrorBody;
use crate::server::dialect::json::{JsonValue, compact_size};
use crate::server::lookup::refuse_withheld;
use crate::server::problem::Problem;
use crate::server::response::cache_label;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The outcome of reading each distinct reference (the name or ARN of a secret) of a request.
#[derive(Default)]
pub(in crate::server) struct Credentials(HashMap<Arc<str>, Result<ReadSecret, Unresolved>>);

/// A secret that was read, and the credential from its value.
///
/// If the credential has an error, the error may describe the value. So only a message that may
/// read the secret receives this error.
struct ReadSecret {
    served: Served,
    credential: Result<Credential, Unresolved>,
}

/// The full value of a secret, or one field of the value. The type does not implement `Debug`, so
/// that the value is never logged.
pub(in crate::server) struct Credential {
    served: Served,
    value: CredentialValue,
    /// The size of the credential as JSON, in bytes.
    size: usize,
}

/// The value of a credential. It shares the bytes of the cached secret.
enum CredentialValue {
    /// A part of the secret that is JSON. The answer contains this JSON byte for byte, so that no
    /// number in it is rounded.
    Json { text: SecretValue, range: Range<usize> },
    /// Text that is not JSON.
    Text(SecretValue),
    /// A binary secret.
    Binary(Content),
}

impl Credentials {
    /// Stores the outcome of reading the secret of `reference` (its name or ARN). `field` is the
    /// field that the reference asks for. It is `None` if the reference asks for the full value.
    pub(in crate::server) fn insert(
        &mut self,
        reference: Arc<str>,
        found: Result<(Option<&str>, Served), Problem>,
    ) {
        let read = found.map_err(Unresolved::from).map(|(field, served)| {
            let credential = Credential::of(&reference, &served, field).map_err(Unresolved::from);
            ReadSecret { served, credential }
        });
        self.0.insert(reference, read);
    }

    /// Returns the secret that was read for `reference` (its name or ARN). Returns `None` if the
    /// read failed.
    pub(in crate::server) fn served(&self, reference: &str) -> Option<&Served> {
        Some(&self.0.get(reference)?.as_ref().ok()?.served)
    }

    /// Returns the credential for a reference (the name or ARN of a secret), or the error of the
    /// read.
    ///
    /// # Panics
    ///
    /// Panics if no secret was read for the reference.
    pub(in crate::server) fn get(&self, reference: &str) -> Result<&Credential, &Unresolved> {
        let read = self.0.get(reference);
        read.expect("each reference that was not refused must have been read")
            .as_ref()
            .and_then(|read| read.credential.as_ref())
    }
}

impl Credential {
    fn of(reference: &str, served: &Served, field: Option<&str>) -> Result<Self, Problem> {
        refuse_withheld(served)?;
        let content = &served.entry.version.content;
        let field = match field {
            Some(name) => Some((name, served.entry.fields().field(name)?)),
            None => None,
        };
        let json = match field {
            Some((name, _)) => json_field(content, name),
            None => json(content),
        };
        let value = match (content, json, field) {
            (Content::Text(text), Some(json), _) => {
                CredentialValue::Json { text: text.clone(), range: range_in(text, json.get()) }
            }
            (_, _, Some((_, text))) | (Content::Text(text), None, None) => {
                CredentialValue::Text(text.clone())
            }
            (Content::Binary(_), _, None) => CredentialValue::Binary(content.clone()),
        };
        let mut credential = Self { served: served.clone(), value, size: 0 };
        credential.size = compact_size(&CredentialBody { reference, outcome: Ok(&credential) });
        Ok(credential)
    }

    pub(in crate::server) fn served(&self) -> &Served {
        &self.served
    }

    pub(in crate::server) fn size(&self) -> usize {
        self.size
    }
}

/// Returns where `part` lies in `text`. `part` must be a slice of `text`.
fn range_in(text: &SecretValue, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.expose().as_ptr().addr();
    start..start + part.len()
}

/// The JSON of one reference in the answer: the credential, or the error if it was not read.
pub(in crate::server) struct CredentialBody<'a> {
    /// The name or ARN of a secret, as the message contains it.
    pub(in crate::server) reference: &'a str,
    pub(in crate::server) outcome: Result<&'a Credential, &'a Unresolved>,
}

impl Serialize for CredentialBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reference = self.reference;
        match self.outcome {
            Ok(Credential { served, value, .. }) => ValueJson {
                reference,
                value: value.value(),
                value_base64: value.base64().as_ref().and_then(JsonValue::base64),
                version_id: &served.entry.version.id,
                cache: cache_label(served.how),
                problem: served.entry.malformed.as_ref().map(|malformed| malformed.codes()),
            }
            .serialize(serializer),
            Err(why) => FailureJson { reference, error: ErrorJson(why) }.serialize(serializer),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValueJson<'a> {
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<JsonOrText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<&'a str>,
    version_id: &'a str,
    cache: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

#[derive(Serialize)]
struct FailureJson<'a> {
    reference: &'a str,
    error: ErrorJson<'a>,
}

/// A value in the JSON answer. A value that is JSON is copied unchanged. Any other value becomes a
/// JSON string.
#[derive(Serialize)]
#[serde(untagged)]
enum JsonOrText<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl CredentialValue {
    fn value(&self) -> Option<JsonOrText<'_>> {
        match self {
            Self::Json { text, range } => {
                let json = serde_json::from_slice(&text.expose()[range.clone()]);
                Some(JsonOrText::Json(json.expect("this part of the secret was parsed before")))
            }
            Self::Text(text) => {
                let text = std::str::from_utf8(text.expose());
                Some(JsonOrText::Text(text.expect("the text was made from a `String`")))
            }
            Self::Binary(_) => None,
        }
    }

    fn base64(&self) -> Option<JsonValue<'_>> {
        match self {
            Self::Json { .. } | Self::Text(_) => None,
            Self::Binary(content) => Some(JsonValue::of(content)),
        }
    }
}

/// The type, message and hint of an error, as JSON.
pub(in crate::server) struct ErrorJson<'a>(pub(in crate::server) &'a Unresolved);

impl Serialize for ErrorJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0.message();
        let body = ErrorBody { kind: self.0.kind(), message: &message, hint: self.0.hint() };
        body.serialize(serializer)
    }
}
