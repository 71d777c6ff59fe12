//! The result of one message in the answer to `/resolve`, and its JSON.

use super::credential::{Credential, CredentialBody, Credentials, ErrorJson};
use super::message_request::{MessageRequest, RequestedReference};
use super::unresolved::Unresolved;
use crate::server::dialect::json::compact_size;
use serde::{Serialize, Serializer};

/// The result of one message: a value or an error for each secret that the message refers to.
#[derive(Clone, Copy)]
pub(in crate::server) struct MessageResult<'a> {
    pub(in crate::server) message: &'a MessageRequest,
    pub(in crate::server) credentials: &'a Credentials,
}

type Outcome<'a> = Result<&'a Credential, &'a Unresolved>;

impl<'a> MessageResult<'a> {
    /// Returns whether all secrets of the message were read, and the message itself has no error.
    pub(in crate::server) fn is_ok(self) -> bool {
        self.message.problem.is_none()
            && self.message.references.iter().all(|reference| self.outcome(reference).is_ok())
    }

    /// Returns the size in bytes of the message's result in the JSON answer.
    pub(in crate::server) fn size(self) -> usize {
        let credentials = self.displayed_outcomes().filter_map(|(_, outcome)| outcome.ok());
        let values: usize = credentials.map(|credential| credential.size() - NULL_BYTES).sum();
        compact_size(&self.body(WithoutValues(self))) + values
    }

    pub(in crate::server) fn outcomes(
        self,
    ) -> impl Iterator<Item = (&'a RequestedReference, Outcome<'a>)> {
        self.message.references.iter().map(move |reference| (reference, self.outcome(reference)))
    }

    /// Returns the names and ARNs of secrets that appear in the answer, each with the secret's
    /// value or an error. For a skipped message, only the errors appear.
    fn displayed_outcomes(self) -> impl Iterator<Item = (&'a RequestedReference, Outcome<'a>)> {
        let is_skipped = self.message.is_skipped;
        self.outcomes().filter(move |(_, outcome)| outcome.is_err() || !is_skipped)
    }

    fn outcome(self, reference: &'a RequestedReference) -> Outcome<'a> {
        match &reference.refused {
            Some(refused) => Err(refused),
            None => self.credentials.get(&reference.text),
        }
    }

    fn body<C>(self, credentials: C) -> ResultBody<'a, C> {
        ResultBody {
            message_id: self.message.message_id.as_deref(),
            ok: self.is_ok(),
            credentials,
            error: self.message.problem.as_ref().map(ErrorJson),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultBody<'a, C> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    ok: bool,
    credentials: C,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson<'a>>,
}

impl Serialize for MessageResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body(WithValues(*self)).serialize(serializer)
    }
}

/// The JSON object with the values of all secrets of a message. Each key is the path in the message
/// at which the secret's name or ARN was found. For a list, the key is the name or ARN itself.
struct WithValues<'a>(MessageResult<'a>);

impl Serialize for WithValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.displayed_outcomes().map(|(reference, outcome)| {
            (&*reference.key, CredentialBody { reference: &reference.text, outcome })
        }))
    }
}

/// The same JSON object as [`WithValues`], but with `null` instead of each secret that was read. It
/// is used only to compute the size of [`WithValues`] without a copy of the secret values.
struct WithoutValues<'a>(MessageResult<'a>);

const NULL_BYTES: usize = 4;

impl Serialize for WithoutValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.displayed_outcomes().map(|(reference, outcome)| {
            let failure = outcome.is_err();
            let body = failure.then_some(CredentialBody { reference: &reference.text, outcome });
            (&*reference.key, body)
        }))
    }
}
