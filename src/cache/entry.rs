//! An entry: one cached version of a secret, with the facts that decide how fresh the entry is.

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

/// One cached version of a secret. After the fetch, only two parts of an entry change: its reads
/// and failed refreshes in `marks`, and the answers that Sidekey renders from it.
#[derive(Debug)]
pub struct Entry {
    pub(crate) version: Version,
    /// The staging label (such as `AWSCURRENT`) or the version id that the call to AWS asked for.
    pub(crate) selector: Selector,
    /// When Sidekey sent the call that fetched this entry. The age of the entry counts from then.
    pub(crate) sent: Moment,
    /// How many SnapStart restores Sidekey knew of when it sent the call for this entry.
    pub(crate) epoch: u64,
    /// The refresh policy of the secret. It is copied into the entry, so that readers need not look
    /// it up.
    pub(crate) policy: Policy,
    /// The version id in double quotes, as an HTTP entity tag.
    pub(crate) etag: Bytes,
    /// How the value breaks its convention (the rules for the names and values of one kind of
    /// secret). `None` if the value breaks no rule, or no convention matches the name.
    pub(crate) malformed: Option<Arc<Malformed>>,
    /// The part of the entry that changes while the entry is cached: its reads and failed
    /// refreshes.
    pub(crate) marks: Marks,
    jitter: f64,
    rendered: Rendered,
}

impl Entry {
    /// Makes an entry for `version`. `sent` is when the call for this version was sent. `epoch` is
    /// how many SnapStart restores Sidekey knew of then. `draw` is a random number from `[0, 1)`.
    /// It decides how early the entry is refreshed.
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

    #[must_use]
    pub(crate) fn with_malformed(self, malformed: Option<Arc<Malformed>>) -> Self {
        Self { malformed, ..self }
    }

    /// Sets `grown`. The entry notifies it whenever a reader makes the entry take more memory.
    #[must_use]
    pub(crate) fn with_grown(self, grown: Arc<Notify>) -> Self {
        Self { rendered: Rendered::notifying(grown), ..self }
    }

    /// Returns the secret in the given response format. Calls `render` only for the first reader of
    /// this format.
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

    /// Returns the memory of this entry in bytes: the value, the rendered answers and the parsed
    /// fields.
    pub(crate) fn bytes(&self) -> usize {
        self.version.content.len() + self.rendered.bytes()
    }

    /// Returns a key that sorts entries by when their calls to AWS were sent. The count of
    /// SnapStart restores comes first, because a restore may set the steady clock back to zero.
    pub(crate) fn asked_at(&self) -> (u64, Duration) {
        (self.epoch, self.sent.steady)
    }

    /// Returns the age of the entry at `now`. Returns `None` if a clock went back, so that the age
    /// is unknown.
    pub(crate) fn age(&self, now: Moment) -> Option<Duration> {
        now.since(self.sent)
    }

    /// Returns the facts that decide how fresh the entry is at `now`. `epoch` is how many SnapStart
    /// restores Sidekey knows of.
    pub(crate) fn standing(&self, now: Moment, epoch: u64) -> Standing {
        Standing {
            age: self.age(now),
            jitter: self.jitter,
            is_restored: self.epoch != epoch,
            trouble: self.marks.trouble(now),
        }
    }

    /// Returns how fresh the entry is at `now`. `epoch` is how many SnapStart restores Sidekey
    /// knows of.
    pub(crate) fn freshness(&self, now: Moment, epoch: u64) -> Freshness {
        freshness::freshness(&self.policy, &self.standing(now, epoch))
    }

    /// Returns how fresh the entry is at `now` if a refresh of it has just failed transiently.
    /// `epoch` is how many SnapStart restores Sidekey knows of.
    pub(crate) fn freshness_in_trouble(&self, now: Moment, epoch: u64) -> Freshness {
        let mut standing = self.standing(now, epoch);
        let refused = standing.trouble.and_then(|trouble| trouble.refused);
        standing.trouble = Some(Trouble { refused, attempted: Some(Duration::ZERO) });
        freshness::freshness(&self.policy, &standing)
    }

    /// Decides whether `answer` from AWS replaces this entry. If `answer` is older than the entry,
    /// the entry remembers `answer` until a second call confirms it.
    pub(crate) fn judge(&self, answer: &Version, now: Moment, epoch: u64) -> Verdict {
        let may_serve = self.freshness_in_trouble(now, epoch) != Freshness::Expired;
        self.marks.judge(&self.version, answer, now, may_serve)
    }
}
