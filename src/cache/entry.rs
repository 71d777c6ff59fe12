//! A cached version of a secret.

use super::freshness::{self, Freshness, Policy, Standing, Trouble};
use super::malformed::Malformed;
use super::marks::Marks;
use super::rendered::{Form, Rendered};
use super::rollback::Verdict;
use crate::clock::Moment;
use crate::secret::field::Fields;
use crate::secret::selector::Selector;
use crate::secret::value::SecretValue;
use crate::secret::version::Version;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A cached version of a secret. Everything but [`marks`](Self::marks) and the rendered answers
/// stays as it was fetched.
#[derive(Debug)]
pub struct Entry {
    /// The value and its metadata, as AWS answered them.
    pub version: Version,
    /// The label or version id that the call asked for.
    pub selector: Selector,
    /// When the call that fetched the entry was sent. The age of the entry counts from here.
    pub sent: Moment,
    /// The epoch in which the call was sent: the number of known SnapStart restores before it.
    pub epoch: u64,
    /// The refresh policy of the secret. The writer looks it up once, so that readers need not.
    pub policy: Policy,
    /// The version id as an HTTP entity tag, with its quotes.
    pub etag: Bytes,
    /// How the value breaks the convention of its secret's name, if the value breaks it.
    pub malformed: Option<Arc<Malformed>>,
    /// The mutable part of the entry: reads and failed refreshes.
    pub marks: Marks,
    jitter: f64,
    rendered: Rendered,
}

impl Entry {
    /// Makes the entry of a version fetched by a call sent at `sent` in `epoch`. The jitter comes
    /// from `draw`, a random number from `[0, 1)`.
    pub fn new(
        version: Version,
        selector: Selector,
        policy: Policy,
        sent: Moment,
        epoch: u64,
        draw: f64,
    ) -> Self {
        Self {
            etag: Bytes::from(format!("\"{}\"", version.id)),
            jitter: freshness::jitter(draw),
            version,
            selector,
            sent,
            epoch,
            policy,
            malformed: None,
            rendered: Rendered::default(),
            marks: Marks::new(sent),
        }
    }

    /// Sets how the value breaks the convention of its secret's name.
    #[must_use]
    pub fn with_malformed(self, malformed: Option<Arc<Malformed>>) -> Self {
        Self { malformed, ..self }
    }

    /// Notifies `grown` whenever a reader makes the entry take more memory.
    #[must_use]
    pub fn with_grown(self, grown: Arc<Notify>) -> Self {
        Self { rendered: Rendered::notifying(grown), ..self }
    }

    /// Returns the entry in one form. Calls `render` if no reader asked for this form before.
    pub fn answer(&self, form: Form, render: impl FnOnce(&Version) -> SecretValue) -> &SecretValue {
        self.rendered.answer(form, || render(&self.version))
    }

    /// Returns the fields of the value. The first call parses the value.
    pub fn fields(&self) -> &Fields {
        self.rendered.fields(&self.version.content)
    }

    /// Returns the number of bytes that the value, its rendered answers and its fields take.
    pub fn bytes(&self) -> usize {
        self.version.content.len() + self.rendered.bytes()
    }

    /// Returns a sort key for the order in which the calls for entries were sent. The epoch comes first,
    /// because the steady clock may start again from zero at a restore.
    pub fn asked_at(&self) -> (u64, Duration) {
        (self.epoch, self.sent.steady)
    }

    /// Returns the age at `now`, or `None` if the clocks cannot tell.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        now.since(self.sent)
    }

    /// Returns the facts that decide how fresh the entry is at `now`, in `epoch`.
    pub fn standing(&self, now: Moment, epoch: u64) -> Standing {
        Standing {
            age: self.age(now),
            jitter: self.jitter,
            is_restored: self.epoch != epoch,
            trouble: self.marks.trouble(now),
        }
    }

    /// Returns how fresh the entry is at `now`, in `epoch`.
    pub fn freshness(&self, now: Moment, epoch: u64) -> Freshness {
        freshness::freshness(&self.policy, &self.standing(now, epoch))
    }

    /// Returns how fresh the entry is at `now`, in `epoch`, if an attempt to refresh it has just
    /// failed transiently.
    pub fn freshness_in_trouble(&self, now: Moment, epoch: u64) -> Freshness {
        let mut standing = self.standing(now, epoch);
        let refused = standing.trouble.and_then(|trouble| trouble.refused);
        standing.trouble = Some(Trouble { refused, attempted: Some(Duration::ZERO) });
        freshness::freshness(&self.policy, &standing)
    }

    /// Decides whether `answer` replaces this entry, and remembers an answer that is held back.
    pub fn judge(&self, answer: &Version, now: Moment, epoch: u64) -> Verdict {
        let may_serve = self.freshness_in_trouble(now, epoch) != Freshness::Expired;
        self.marks.judge(&self.version, answer, now, may_serve)
    }
}
