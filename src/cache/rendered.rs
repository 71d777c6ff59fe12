//! Computes HTTP responses and parsed fields from a secret's value, once for each cached version.

use crate::secret::field::Fields;
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// The format of an HTTP response that contains a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The response format of the AWS agent or AWS extension that Sidekey replaces.
    Dialect,
    /// The response format of the AWS API, such as the API of Secrets Manager.
    AwsApi,
}

const FORMS: usize = 2;

/// The HTTP responses and the parsed fields of one secret value. Each of them is computed when a
/// request first needs it, and is then stored.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    answers: [OnceLock<SecretValue>; FORMS],
    fields: OnceLock<Fields>,
    /// Notified when the cached secret takes more memory, so that the cache checks its memory
    /// limit.
    grown: Option<Arc<Notify>>,
}

impl Rendered {
    pub(crate) fn notifying(grown: Arc<Notify>) -> Self {
        Self { grown: Some(grown), ..Self::default() }
    }

    /// Returns the body of an HTTP response with the secret, in the format `form`. Calls `render`
    /// only if this body is not stored yet.
    pub(crate) fn answer(&self, form: Form, render: impl FnOnce() -> SecretValue) -> &SecretValue {
        self.answers[form as usize].get_or_init(|| {
            let answer = render();
            self.notify_grown();
            answer
        })
    }

    pub(crate) fn fields(&self, content: &Content) -> &Fields {
        self.fields.get_or_init(|| {
            let fields = Fields::of(content);
            self.notify_grown();
            fields
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        let answers = self.answers.iter().filter_map(OnceLock::get).map(SecretValue::len);
        answers.sum::<usize>() + self.fields.get().map_or(0, Fields::bytes)
    }

    fn notify_grown(&self) {
        if let Some(grown) = &self.grown {
            grown.notify_one();
        }
    }
}
