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

/// One cached version of a secret. The version itself never changes. Sidekey later adds only the
/// reads, the failed refreshes, and the responses that it renders from the version.
#[derive(Debug)]
pub struct Entry {
    pub(crate) version: Version,
    /// The staging label (such as `AWSCURRENT`) or the version id that Sidekey asked AWS for.
    pub(crate) selector: Selector,
    /// When Sidekey sent the call to AWS that fetched this entry. The age of the entry is the time
    /// since then.
    pub(crate) sent: Moment,
    /// How many times SnapStart had restored the process when Sidekey sent the call for this entry.
    /// After a further restore, the entry is no longer fresh.
    pub(crate) epoch: u64,
    /// The refresh policy of the secret. It is copied into the entry, so that readers need not look
    /// it up.
    pub(crate) policy: Policy,
    /// The version id in double quotes, as an HTTP entity tag. The tag is empty if the id contains
    /// characters that an HTTP header may not contain.
    pub(crate) etag: Bytes,
    /// How the value breaks its convention (the rules for the names and values of one kind of
    /// secret). `None` if the value breaks no rule, or no convention matches the name.
    pub(crate) malformed: Option<Arc<Malformed>>,
    /// The reads and the failed refreshes of this entry.
    pub(crate) marks: Marks,
    jitter: f64,
    rendered: Rendered,
}

impl Entry {
    /// Makes an entry for `version`. Sidekey sent the call to AWS for this version at `sent`, after
    /// `epoch` SnapStart restores. `draw` is a random number from `[0, 1)`. It decides how early
    /// the agent refreshes the entry.
    pub(crate) fn new(
        version: Version,
        selector: Selector,
        policy: Policy,
        sent: Moment,
        epoch: u64,
        draw: f64,
    ) -> Self {
        Self {
            etag: etag(&version.id),
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

    /// Makes the entry notify `grown` whenever the entry takes more memory than before. The cache
    /// then checks its memory limit.
    #[must_use]
    pub(crate) fn with_grown(self, grown: Arc<Notify>) -> Self {
        Self { rendered: Rendered::notifying(grown), ..self }
    }

    /// Returns the secret as a response in the format `form`. Calls `render` only once for each
    /// format, and keeps the result for later readers.
    pub(crate) fn answer(
        &self,
        form: Form,
        render: impl FnOnce(&Version) -> SecretValue,
    ) -> &SecretValue {
        self.rendered.answer(form, || render(&self.version))
    }

    /// Returns the fields of the secret's value, such as `password`. The first call parses the
    /// value. Later calls return the same result.
    pub fn fields(&self) -> &Fields {
        self.rendered.fields(&self.version.content)
    }

    /// Returns how many bytes of memory this entry takes: its value, its rendered responses and its
    /// parsed fields.
    pub(crate) fn bytes(&self) -> usize {
        self.version.content.len() + self.rendered.bytes()
    }

    /// Returns a sort key for entries: entries whose calls to AWS were sent earlier come first. The
    /// key begins with the number of SnapStart restores, because a restore may reset the steady
    /// clock to zero.
    pub(crate) fn asked_at(&self) -> (u64, Duration) {
        (self.epoch, self.sent.steady)
    }

    /// Returns how long ago Sidekey sent the call that fetched the entry. Returns `None` if a clock
    /// was set back, because the age is then unknown.
    pub(crate) fn age(&self, now: Moment) -> Option<Duration> {
        now.since(self.sent)
    }

    /// Collects the facts that decide how fresh the entry is at `now`. `epoch` is the number of
    /// SnapStart restores until now.
    pub(crate) fn standing(&self, now: Moment, epoch: u64) -> Standing {
        Standing {
            age: self.age(now),
            jitter: self.jitter,
            is_restored: self.epoch != epoch,
            trouble: self.marks.trouble(now),
        }
    }

    /// Returns how fresh the entry is at `now`. `epoch` is the number of SnapStart restores until
    /// now: an entry that was fetched before the last restore is not fresh.
    pub(crate) fn freshness(&self, now: Moment, epoch: u64) -> Freshness {
        freshness::freshness(&self.policy, &self.standing(now, epoch))
    }

    /// Returns how fresh the entry would be at `now` if its refresh had just failed with a
    /// transient error. `epoch` is the number of SnapStart restores until now.
    pub(crate) fn freshness_in_trouble(&self, now: Moment, epoch: u64) -> Freshness {
        let mut standing = self.standing(now, epoch);
        let refused = standing.trouble.and_then(|trouble| trouble.refused);
        standing.trouble = Some(Trouble { refused, attempted: Some(Duration::ZERO) });
        freshness::freshness(&self.policy, &standing)
    }

    /// Decides whether `answer`, a version that AWS returned, replaces this entry. A version that
    /// is older than this entry replaces it only after a second call has confirmed the older
    /// version.
    pub(crate) fn judge(&self, answer: &Version, now: Moment, epoch: u64) -> Verdict {
        let may_serve = self.freshness_in_trouble(now, epoch) != Freshness::Expired;
        self.marks.judge(&self.version, answer, now, may_serve)
    }
}

fn etag(version_id: &str) -> Bytes {
    let is_valid = version_id.bytes().all(|byte| byte >= b' ' && byte != 127);
    if is_valid { Bytes::from(format!("\"{version_id}\"")) } else { Bytes::new() }
}
