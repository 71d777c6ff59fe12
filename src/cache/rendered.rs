//! Data that Sidekey derives from a secret's value for its readers: rendered responses and parsed
//! fields. Sidekey computes each of them once for each cached version.

use crate::secret::field::Fields;
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// The format of a response. Different readers may ask for one cached version in different formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The response has the format of the dialect (the AWS agent whose responses Sidekey imitates).
    Dialect,
    /// The response has the format of the Secrets Manager API.
    AwsApi,
}

const FORMS: usize = 2;

/// The rendered responses and the parsed fields of one secret value. Each of them is computed when
/// a reader first needs it. Later readers share the result.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    answers: [OnceLock<SecretValue>; FORMS],
    fields: OnceLock<Fields>,
    /// The signal that a response or the fields were added, so that the entry takes more memory.
    grown: Option<Arc<Notify>>,
}

impl Rendered {
    pub(crate) fn notifying(grown: Arc<Notify>) -> Self {
        Self { grown: Some(grown), ..Self::default() }
    }

    /// Returns the secret as a response in the format `form`. Calls `render` only once for each
    /// format, and keeps the result for later readers.
    pub(crate) fn answer(&self, form: Form, render: impl FnOnce() -> SecretValue) -> &SecretValue {
        self.answers[form as usize].get_or_init(|| {
            let answer = render();
            self.notify_grown();
            answer
        })
    }

    /// Returns the fields of `content`. Only the first call parses `content`.
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
