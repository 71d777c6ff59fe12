//! The outcome of one message of a `/resolve` request, and its JSON in the answer.

use super::credential::{Credential, CredentialBody, Credentials, ErrorJson};
use super::message_request::{MessageRequest, RequestedReference};
use super::unresolved::Unresolved;
use crate::server::dialect::json::compact_size;
use serde::{Serialize, Serializer};

/// The outcome of one message: a credential or an error for each secret that the message refers to.
#[derive(Clone, Copy)]
pub(in crate::server) struct MessageResult<'a> {
    pub(in crate::server) message: &'a MessageRequest,
    pub(in crate::server) credentials: &'a Credentials,
}

/// The outcome of one reference (the name or ARN of a secret).
type Outcome<'a> = Result<&'a Credential, &'a Unresolved>;

impl<'a> MessageResult<'a> {
    /// Returns whether all secrets that the message refers to were read, and the message has no
    /// other error.
    pub(in crate::server) fn is_ok(self) -> bool {
        self.message.problem.is_none()
            && self.message.references.iter().all(|reference| self.outcome(reference).is_ok())
    }

    /// Returns the size of the result as JSON, in bytes.
    pub(in crate::server) fn size(self) -> usize {
        let credentials = self.displayed_outcomes().filter_map(|(_, outcome)| outcome.ok());
        let values: usize = credentials.map(|credential| credential.size() - NULL_BYTES).sum();
        compact_size(&self.body(WithoutValues(self))) + values
    }

    /// Returns the references (the names or ARNs of secrets) of the message. Each one has its
    /// credential or its error.
    pub(in crate::server) fn outcomes(
        self,
    ) -> impl Iterator<Item = (&'a RequestedReference, Outcome<'a>)> {
        self.message.references.iter().map(move |reference| (reference, self.outcome(reference)))
    }

    /// Returns the references (the names or ARNs of secrets) that appear in the answer, each with
    /// its credential or error. For a skipped message, only references with errors appear.
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

/// The JSON object with all credentials of a message. Each key is the path of a reference (a
/// secret's name or ARN) in the message. For a list, the key is the reference itself.
struct WithValues<'a>(MessageResult<'a>);

impl Serialize for WithValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.displayed_outcomes().map(|(reference, outcome)| {
            (&*reference.key, CredentialBody { reference: &reference.text, outcome })
        }))
    }
}

/// The same JSON object as [`WithValues`], but with `null` in place of each credential. It measures
/// the rest of the object, because the size of each credential is already known.
struct WithoutValues<'a>(MessageResult<'a>);

/// The size of `null`, in bytes.
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
