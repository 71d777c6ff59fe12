//! What readers derive from a value: rendered answers and parsed fields, each computed once.

use crate::secret::field::Fields;
use crate::secret::value::SecretValue;
use crate::secret::version::Content;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// A form in which readers get an entry. Readers may ask for one entry in both forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The form of the deployment's dialect.
    Dialect,
    /// The form of the AWS API.
    AwsApi,
}

/// The number of forms.
const FORMS: usize = 2;

/// The rendered answers and the parsed fields of one value. The first reader that needs one of them
/// computes it; later readers share the result.
#[derive(Debug, Default)]
pub struct Rendered {
    answers: [OnceLock<SecretValue>; FORMS],
    fields: OnceLock<Fields>,
    /// Notified when the entry takes more memory than before.
    grown: Option<Arc<Notify>>,
}

impl Rendered {
    /// Makes an empty set that notifies `grown` whenever a reader adds to it.
    pub fn notifying(grown: Arc<Notify>) -> Self {
        Self { grown: Some(grown), ..Self::default() }
    }

    /// Returns the answer in one form. Calls `render` if no reader asked for this form before.
    pub fn answer(&self, form: Form, render: impl FnOnce() -> SecretValue) -> &SecretValue {
        self.answers[form as usize].get_or_init(|| {
            let answer = render();
            self.notify_grown();
            answer
        })
    }

    /// Returns the fields of `content`. Parses `content` if no reader asked for a field before.
    pub fn fields(&self, content: &Content) -> &Fields {
        self.fields.get_or_init(|| {
            let fields = Fields::of(content);
            self.notify_grown();
            fields
        })
    }

    /// Returns the number of bytes that the answers and the fields take.
    pub fn bytes(&self) -> usize {
        let answers = self.answers.iter().filter_map(OnceLock::get).map(SecretValue::len);
        answers.sum::<usize>() + self.fields.get().map_or(0, Fields::bytes)
    }

    fn notify_grown(&self) {
        if let Some(grown) = &self.grown {
            grown.notify_one();
        }
    }
}
