//! Data that readers derive from a secret's value: rendered answers and parsed fields. Sidekey
//! computes each of them once per cached version.

use crate::secret::field::Fields;
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// The form of an answer to a reader. Different readers may ask for one cached version in different
/// forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The form of the AWS agent that this deployment imitates (`SIDEKEY_DIALECT`).
    Dialect,
    /// The form of the Secrets Manager API.
    AwsApi,
}

/// The number of forms in which a value can be rendered.
const FORMS: usize = 2;

/// The rendered answers and the parsed fields of one value. The first reader that needs an answer
/// or the fields computes them; later readers share the result.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    answers: [OnceLock<SecretValue>; FORMS],
    fields: OnceLock<Fields>,
    /// Notified when the rendered answers and parsed fields take more memory than before.
    grown: Option<Arc<Notify>>,
}

impl Rendered {
    /// Makes an empty set of rendered answers. It notifies `grown` whenever a reader adds an answer
    /// or the fields.
    pub(crate) fn notifying(grown: Arc<Notify>) -> Self {
        Self { grown: Some(grown), ..Self::default() }
    }

    /// Returns the answer in the given form. Calls `render` if no reader has asked for this form
    /// before.
    pub(crate) fn answer(&self, form: Form, render: impl FnOnce() -> SecretValue) -> &SecretValue {
        self.answers[form as usize].get_or_init(|| {
            let answer = render();
            self.notify_grown();
            answer
        })
    }

    /// Returns the fields of `content`. Parses `content` if no reader has asked for a field before.
    pub(crate) fn fields(&self, content: &Content) -> &Fields {
        self.fields.get_or_init(|| {
            let fields = Fields::of(content);
            self.notify_grown();
            fields
        })
    }

    /// Returns the number of bytes that the rendered answers and the parsed fields take.
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
