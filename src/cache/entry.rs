//! An entry: one version of a secret in the cache, with the facts that decide how fresh the entry
//! is.

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

/// One cached version of a secret. An entry never changes after the fetch, except for its
/// [`marks`](Self::marks) (reads and failed refreshes) and the answers that Sidekey renders from
/// it.
#[derive(Debug)]
pub struct Entry {
    /// The value of the secret and its metadata, as AWS returned them.
    pub(crate) version: Version,
    /// The label or version id that the call to AWS asked for.
    pub(crate) selector: Selector,
    /// When Sidekey sent the call that fetched this entry. The age of the entry counts from this
    /// moment.
    pub(crate) sent: Moment,
    /// The number of SnapStart restores that Sidekey knew of when it sent the call for this entry.
    pub(crate) epoch: u64,
    /// The refresh policy of the secret. The writer stores the policy here, so that readers need
    /// not look it up.
    pub(crate) policy: Policy,
    /// The version id as an HTTP entity tag, including the quotes.
    pub(crate) etag: Bytes,
    /// How the value breaks the convention for secrets of its name. `None` if the value follows the
    /// convention, or no convention matches the name.
    pub(crate) malformed: Option<Arc<Malformed>>,
    /// The part of the entry that changes while the entry is cached: its reads and failed
    /// refreshes.
    pub(crate) marks: Marks,
    jitter: f64,
    rendered: Rendered,
}

impl Entry {
    /// Makes an entry for `version`, which was fetched by a call sent at `sent`, after `epoch`
    /// SnapStart restores. `draw` is a random number from `[0, 1)` from which the jitter of the
    /// entry is computed.
    pub(crate) fn new(
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

    /// Sets how the value breaks the convention for secrets of its name.
    #[must_use]
    pub(crate) fn with_malformed(self, malformed: Option<Arc<Malformed>>) -> Self {
        Self { malformed, ..self }
    }

    /// Sets `grown`, which the entry notifies whenever a reader makes the entry take more memory.
    #[must_use]
    pub(crate) fn with_grown(self, grown: Arc<Notify>) -> Self {
        Self { rendered: Rendered::notifying(grown), ..self }
    }

    /// Returns the answer of this entry in the given form. Calls `render` if no reader has asked
    /// for this form before.
    pub(crate) fn answer(
        &self,
        form: Form,
        render: impl FnOnce(&Version) -> SecretValue,
    ) -> &SecretValue {
        self.rendered.answer(form, || render(&self.version))
    }

    /// Returns the fields of the secret's value. The first call parses the value.
    pub fn fields(&self) -> &Fields {
        self.rendered.fields(&self.version.content)
    }

    /// Returns the memory of this entry in bytes: the value, its rendered answers and its parsed
    /// fields.
    pub(crate) fn bytes(&self) -> usize {
        self.version.content.len() + self.rendered.bytes()
    }

    /// Returns a key that sorts entries by the time when their calls to AWS were sent. The number
    /// of restores comes first in the key, because a restore may set the steady clock back to zero.
    pub(crate) fn asked_at(&self) -> (u64, Duration) {
        (self.epoch, self.sent.steady)
    }

    /// Returns the age of the entry at `now`, or `None` if the clocks cannot tell the age.
    pub(crate) fn age(&self, now: Moment) -> Option<Duration> {
        now.since(self.sent)
    }

    /// Returns the facts that decide how fresh the entry is at `now`, after `epoch` SnapStart
    /// restores.
    pub(crate) fn standing(&self, now: Moment, epoch: u64) -> Standing {
        Standing {
            age: self.age(now),
            jitter: self.jitter,
            is_restored: self.epoch != epoch,
            trouble: self.marks.trouble(now),
        }
    }

    /// Returns how fresh the entry is at `now`, after `epoch` SnapStart restores.
    pub(crate) fn freshness(&self, now: Moment, epoch: u64) -> Freshness {
        freshness::freshness(&self.policy, &self.standing(now, epoch))
    }

    /// Returns how fresh the entry is at `now` if an attempt to refresh it has just failed
    /// transiently. `epoch` is the number of SnapStart restores so far.
    pub(crate) fn freshness_in_trouble(&self, now: Moment, epoch: u64) -> Freshness {
        let mut standing = self.standing(now, epoch);
        let refused = standing.trouble.and_then(|trouble| trouble.refused);
        standing.trouble = Some(Trouble { refused, attempted: Some(Duration::ZERO) });
        freshness::freshness(&self.policy, &standing)
    }

    /// Decides whether `answer` from AWS replaces this entry. If `answer` is rejected for now
    /// because it is older than the entry, the entry remembers `answer`.
    pub(crate) fn judge(&self, answer: &Version, now: Moment, epoch: u64) -> Verdict {
        let may_serve = self.freshness_in_trouble(now, epoch) != Freshness::Expired;
        self.marks.judge(&self.version, answer, now, may_serve)
    }
}
