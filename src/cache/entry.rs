//! A cache entry: one cached version of a secret, with the facts that decide how fresh it is.

use super::freshness::{self, Freshness, Policy, Standing, Trouble};
use super::malformed::Malformed;
use super::marks::Marks;
use super::rendered::{Form, Rendered};
use super::rollback::Verdict;
use crate::clock::Moment;
use crate::secret::field::Fields;
use crate::secret::selector::Selector;
use crate::secret::value::SecretValue;
use crate::secret::version::{Details, Version};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::Notify;

/// One cached version of a secret. The value in an entry never changes: a refresh makes a new
/// entry.
#[derive(Debug)]
pub struct Entry {
    pub(crate) version: Version,
    /// The staging label (such as `AWSCURRENT`) or the version id in the request to AWS that
    /// fetched this cached version.
    pub(crate) selector: Selector,
    /// When Sidekey sent the call to AWS that fetched this cached version. The age of the cached
    /// version is the time since then.
    pub(crate) sent: Moment,
    /// How many times SnapStart had restored the process when Sidekey sent the call for this cached
    /// version. After a further restore, the cached version no longer counts as fresh.
    pub(crate) epoch: u64,
    pub(crate) policy: Policy,
    pub(crate) etag: Bytes,
    pub(crate) malformed: Option<Arc<Malformed>>,
    pub(crate) marks: Marks,
    jitter: f64,
    rendered: Rendered,
}

impl Entry {
    /// Makes a cache entry for `version`. Sidekey sent the call to AWS for this version at `sent`,
    /// after `epoch` SnapStart restores. `draw` is a random number from `[0, 1)`. The number
    /// decides how long before the end of the TTL the agent refreshes the secret.
    pub(crate) fn new(
        version: Version,
        selector: Selector,
        policy: Policy,
        sent: Moment,
        epoch: u64,
        draw: f64,
    ) -> Self {
        Self {
            etag: etag(&version),
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

    /// Makes the cache entry notify `grown` whenever it takes more memory than before. The cache
    /// then checks its memory limit.
    #[must_use]
    pub(crate) fn with_grown(self, grown: Arc<Notify>) -> Self {
        Self { rendered: Rendered::notifying(grown), ..self }
    }

    pub(crate) fn answer(
        &self,
        form: Form,
        render: impl FnOnce(&Version) -> SecretValue,
    ) -> &SecretValue {
        self.rendered.answer(form, || render(&self.version))
    }

    /// Returns the fields of the secret's value, such as `password`. The first call parses the
    /// value. Later calls return the stored result.
    pub fn fields(&self) -> &Fields {
        self.rendered.fields(&self.version.content)
    }

    /// Returns the memory in bytes that the secret's value, the rendered HTTP responses and the
    /// parsed fields take.
    pub(crate) fn bytes(&self) -> usize {
        self.version.value_bytes() + self.rendered.bytes()
    }

    /// Returns a sort key: cached secrets whose calls to AWS were sent earlier come first. The key
    /// begins with the number of SnapStart restores, because a restore can reset the steady
    /// (monotonic) clock to zero.
    pub(crate) fn asked_at(&self) -> (u64, Duration) {
        (self.epoch, self.sent.steady)
    }

    /// Returns how long ago Sidekey sent the call that fetched this cached secret. `epoch` is the
    /// number of SnapStart restores until now. Returns `None` if a clock went back at a SnapStart
    /// restore, because the age is then unknown.
    pub(crate) fn age(&self, now: Moment, epoch: u64) -> Option<Duration> {
        match self.epoch == epoch {
            true => now.since(self.sent),
            false => now.since_before_restore(self.sent),
        }
    }

    pub(crate) fn standing(&self, now: Moment, epoch: u64) -> Standing {
        Standing {
            age: self.age(now, epoch),
            jitter: self.jitter,
            is_restored: self.epoch != epoch,
            trouble: self.marks.trouble(now),
        }
    }

    pub(crate) fn freshness(&self, now: Moment, epoch: u64) -> Freshness {
        freshness::freshness(&self.policy, &self.standing(now, epoch))
    }

    /// Returns how fresh this cached secret would be at `now` if its refresh had just failed with a
    /// transient error. `epoch` is the number of SnapStart restores until now.
    pub(crate) fn freshness_in_trouble(&self, now: Moment, epoch: u64) -> Freshness {
        let mut standing = self.standing(now, epoch);
        let refused = standing.trouble.and_then(|trouble| trouble.refused);
        standing.trouble = Some(Trouble { refused, attempted: Some(Duration::ZERO) });
        freshness::freshness(&self.policy, &standing)
    }

    /// Decides whether `answer`, a version that AWS returned, replaces this cached version. AWS may
    /// return an outdated version soon after a rotation. Therefore an older version replaces this
    /// one only after AWS has returned the older version a second time.
    pub(crate) fn judge(&self, answer: &Version, now: Moment, epoch: u64) -> Verdict {
        let may_serve = self.freshness_in_trouble(now, epoch) != Freshness::Expired;
        self.marks.judge(&self.version, answer, now, may_serve)
    }
}

/// Returns the entity tag of a version, or no bytes if the version's id is not valid in a header.
///
/// A parameter that was deleted and created again has the same version numbers as before, so the
/// tag of a parameter also contains the time of its last change in milliseconds.
fn etag(version: &Version) -> Bytes {
    let version_id = &*version.id;
    if let Details::Parameter(_) = version.details {
        let changed = version.created.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let millis = changed.unwrap_or_default().as_millis();
        return Bytes::from(format!("\"{version_id}-{millis}\""));
    }
    let is_valid = version_id.bytes().all(|byte| byte >= b' ' && byte != 127);
    if is_valid { Bytes::from(format!("\"{version_id}\"")) } else { Bytes::new() }
}
