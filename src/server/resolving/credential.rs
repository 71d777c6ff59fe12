//! The values of secrets that were read for one `/resolve` request, and their JSON in the answer.

use super::unresolved::Unresolved;
use crate::cache::Served;
use crate::secret::field::{json, json_field};
use crate::secret::json_text::has_lone_surrogate;
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

/// The results of reading all secrets for one `/resolve` request: a secret or an error for each
/// name or ARN in the request.
#[derive(Default)]
pub(in crate::server) struct Credentials(HashMap<Arc<str>, Result<ReadSecret, Unresolved>>);

/// A secret that was read, with its value or the requested field in `credential`.
///
/// If `credential` is an error, its text may describe the value. So only a message that may read
/// the secret receives the error.
struct ReadSecret {
    served: Served,
    credential: Result<Credential, Unresolved>,
}

/// The full value of a secret, or one field of the value. The type does not implement `Debug`, so
/// that the value is never logged.
pub(in crate::server) struct Credential {
    served: Served,
    value: CredentialValue,
    /// The size in bytes of the JSON object that contains this value in the answer.
    size: usize,
}

/// The full value of a secret, or one field of the value. It shares memory with the cached secret.
enum CredentialValue {
    /// A value or field that is valid JSON. The answer contains this JSON byte for byte, so that no
    /// number is rounded.
    Json {
        text: SecretValue,
        range: Range<usize>,
    },
    Text(SecretValue),
    Binary(Content),
}

impl Credentials {
    /// Stores the result of reading the secret with the name or ARN `reference`: an error, or the
    /// secret together with the requested field (`None` if the full value is requested).
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

    pub(in crate::server) fn served(&self, reference: &str) -> Option<&Served> {
        Some(&self.0.get(reference)?.as_ref().ok()?.served)
    }

    /// Returns the secret value for the name or ARN `reference`, or the error of reading the
    /// secret.
    ///
    /// # Panics
    ///
    /// Panics if Sidekey has not tried to read this secret.
    pub(in crate::server) fn get(&self, reference: &str) -> Result<&Credential, &Unresolved> {
        let read = self.0.get(reference);
        read.expect("Sidekey must have read each secret that it did not refuse")
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
        // Many JSON parsers would refuse the complete answer because of one lone surrogate. As a
        // JSON string, the text of the value has its backslashes escaped.
        let json = json.filter(|json| !has_lone_surrogate(json.get()));
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

/// Returns the byte range of `part` in `text`. `part` must be a slice of `text`.
fn range_in(text: &SecretValue, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.expose().as_ptr().addr();
    start..start + part.len()
}

/// The JSON object for one name or ARN in the answer to `/resolve`. It contains the secret value,
/// or the error if the secret was not read.
pub(in crate::server) struct CredentialBody<'a> {
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
                region: served.entry.replica_region(),
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
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

#[derive(Serialize)]
struct FailureJson<'a> {
    reference: &'a str,
    error: ErrorJson<'a>,
}

/// A secret value in the JSON answer. A value that is JSON is copied unchanged. Any other text
/// becomes a JSON string.
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
                Some(JsonOrText::Json(
                    json.expect("the secret value must be JSON, because it was parsed before"),
                ))
            }
            Self::Text(text) => {
                let text = std::str::from_utf8(text.expose());
                Some(JsonOrText::Text(
                    text.expect(
                        "the secret value must be UTF-8, because it was made from a `String`",
                    ),
                ))
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

pub(in crate::server) struct ErrorJson<'a>(pub(in crate::server) &'a Unresolved);

impl Serialize for ErrorJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0.message();
        let body = ErrorBody { kind: self.0.kind(), message: &message, hint: self.0.hint() };
        body.serialize(serializer)
    }
}
