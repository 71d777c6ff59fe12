//! A cache entry: one version of a secret, with its refresh policy and the time of its fetch.

use super::failure::Failure;
use super::freshness::{self, Freshness, Policy, Standing, Trouble};
use super::malformed::Malformed;
use super::marks::Marks;
use super::predecessor::{Former, LastServed, Predecessor};
use super::rendered::{Form, Rendered};
use super::rollback::Verdict;
use super::withheld::Withheld;
use crate::clock::Moment;
use crate::secret::field::Fields;
use crate::secret::key::KeyRef;
use crate::secret::role::RoleArn;
use crate::secret::selector::Selector;
use crate::secret::value::SecretValue;
use crate::secret::version::{Details, Version};
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// One cached version of a secret. Its value never changes, because each refresh of the secret
/// makes a new entry.
#[derive(Debug)]
pub struct Entry {
    pub(crate) version: Version,
    /// The IAM role with which Sidekey requested this version from AWS. `None` means Sidekey's own
    /// AWS credentials.
    pub(crate) role: Option<RoleArn>,
    /// The staging label (such as `AWSCURRENT`) or the version id with which Sidekey requested this
    /// version from AWS.
    pub(crate) selector: Selector,
    /// When Sidekey sent the call to AWS that fetched this version. The age of the version counts
    /// from this time.
    pub(crate) sent: Moment,
    /// How many times SnapStart had restored the process when Sidekey fetched this version. A
    /// version from before the latest restore is not fresh.
    pub(crate) epoch: u64,
    pub(crate) policy: Policy,
    pub(crate) etag: Bytes,
    pub(crate) malformed: Option<Arc<Malformed>>,
    /// Why the agent returns an error instead of this version's value. `None` if the agent returns
    /// the value.
    pub(crate) withheld: Option<Withheld>,
    /// The AWS region of the replica that returned this version, such as `eu-west-1`. `None` if the
    /// region of the secret itself returned it.
    pub(crate) replica_region: Option<Bytes>,
    pub(crate) marks: Marks,
    /// What this entry keeps from the entry that it replaced. Empty if it replaced no entry.
    predecessor: OnceLock<Predecessor>,
    jitter: f64,
    rendered: Rendered,
}

impl Entry {
    /// Makes a cache entry for `version`, which AWS returned for a call that Sidekey sent at
    /// `sent`, after `epoch` SnapStart restores. The random number `draw` from `[0, 1)` decides how
    /// long before the end of the TTL the agent refreshes the secret.
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
            role: None,
            selector,
            sent,
            epoch,
            policy,
            malformed: None,
            withheld: None,
            replica_region: None,
            rendered: Rendered::default(),
            marks: Marks::new(sent),
            predecessor: OnceLock::new(),
        }
    }

    #[must_use]
    pub(crate) fn with_role(self, role: Option<RoleArn>) -> Self {
        Self { role, ..self }
    }

    /// Returns the key by which the cache finds exactly this version: with the full ARN in the
    /// answer of AWS.
    pub(crate) fn key(&self) -> KeyRef<'_> {
        let Self { version, role, selector, .. } = self;
        KeyRef { role: role.as_ref(), id: &version.arn, selector }
    }

    #[must_use]
    pub(crate) fn with_malformed(self, malformed: Option<Arc<Malformed>>) -> Self {
        Self { malformed, ..self }
    }

    #[must_use]
    pub(crate) fn with_withheld(self, withheld: Option<Withheld>) -> Self {
        Self { withheld, ..self }
    }

    /// Records that a replica in the AWS region `region` returned this version, because the call to
    /// the secret's own region had failed. Until the own region answers, `failure` decides when
    /// Sidekey calls it again.
    #[must_use]
    pub(crate) fn with_replica(self, region: Bytes, failure: Failure) -> Self {
        self.marks.set_failure(failure.for_at_most(self.policy.ttl));
        Self { replica_region: Some(region), ..self }
    }

    /// Sets `grown`, which the entry notifies whenever it takes more memory, so that the cache
    /// checks its memory limit.
    #[must_use]
    pub(crate) fn with_grown(self, grown: Arc<Notify>) -> Self {
        Self { rendered: Rendered::notifying(grown), ..self }
    }

    /// Returns the AWS region of the replica that returned this version. Returns `None` if the
    /// region of the secret itself returned it.
    pub(crate) fn replica_region(&self) -> Option<&str> {
        self.replica_region.as_deref().and_then(|region| str::from_utf8(region).ok())
    }

    pub(crate) fn answer(
        &self,
        form: Form,
        render: impl FnOnce(&Version) -> SecretValue,
    ) -> &SecretValue {
        self.rendered.answer(form, || render(&self.version))
    }

    /// Returns the fields of the secret's value, such as `password`. The value is parsed only once.
    pub fn fields(&self) -> &Fields {
        self.rendered.fields(&self.version.content)
    }

    /// Returns the memory in bytes for the secret's value, its HTTP responses and its parsed
    /// fields.
    pub(crate) fn bytes(&self) -> usize {
        self.version.value_bytes() + self.rendered.bytes()
    }

    /// Returns a key that sorts cached versions by the time at which Sidekey requested them from
    /// AWS. The number of SnapStart restores comes first, because a restore can set the steady
    /// (monotonic) clock back.
    pub(crate) fn asked_at(&self) -> (u64, Duration) {
        (self.epoch, self.sent.steady)
    }

    /// Returns the time since Sidekey sent the call that fetched this version. Returns `None` if
    /// the time is unknown, because a clock went back at a SnapStart restore. `epoch` is the
    /// current number of restores.
    pub(crate) fn age(&self, now: Moment, epoch: u64) -> Option<Duration> {
        match self.epoch == epoch {
            true => now.since(self.sent),
            false => now.since_before_restore(self.sent),
        }
    }

    /// Copies data from `older`, the entry that this entry replaces: when the secret was last read,
    /// and which version was cached before the current version.
    pub(super) fn take_over(&self, older: &Self) {
        self.marks.inherit_last_read(&older.marks);
        let (sent, epoch) = (self.sent, self.epoch);
        let last_read = older.last_read(sent, epoch);
        let is_same = self.version.is_same_as(&older.version);
        let former = match is_same {
            true => older.former().cloned(),
            false => {
                let version = older.version.id.clone();
                Some(Arc::new(Former::new(version, sent.wall, last_read)))
            }
        };
        let taken = Predecessor {
            same_version_read: last_read.filter(|_| is_same),
            last_served: older.last_served(epoch),
            former,
        };
        // `set` fails if this entry has already replaced an entry. Then the data of the first
        // replaced entry stays.
        let _ = self.predecessor.set(taken);
    }

    /// Returns the version of the secret that this entry's version replaced in the cache. Returns
    /// `None` if no other version was cached before.
    pub(super) fn former(&self) -> Option<&Arc<Former>> {
        self.predecessor.get()?.former.as_ref()
    }

    /// Returns when this version of the secret was last read, from this entry or from an earlier
    /// entry. Returns `None` if this version was never read.
    ///
    /// If SnapStart has restored the process since Sidekey fetched the version, the time is
    /// unknown. Then the result is the time `now`, which is too late rather than too early.
    pub(super) fn last_read(&self, now: Moment, epoch: u64) -> Option<SystemTime> {
        match self.marks.last_read() {
            None => self.predecessor.get()?.same_version_read,
            Some(_) if self.epoch != epoch => Some(now.wall),
            read => read,
        }
    }

    /// Returns the last read of this entry, with the age of the value at that time. Returns `None`
    /// if this entry was never read, or if SnapStart has restored the process since then.
    pub(super) fn last_served(&self, epoch: u64) -> Option<LastServed> {
        let at = self.marks.last_read().filter(|_| self.epoch == epoch)?;
        Some(LastServed { at, age: at.duration_since(self.sent.wall).unwrap_or_default() })
    }

    /// Returns the last read of the previous entry, which this entry replaced. Returns `None` if there
    /// was no previous entry, or if no caller read it.
    pub(super) fn last_served_before(&self) -> Option<LastServed> {
        self.predecessor.get()?.last_served
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

    /// Returns how fresh this cached version would be if its refresh failed with a transient error
    /// at `now`. `epoch` is the current number of SnapStart restores.
    pub(crate) fn freshness_in_trouble(&self, now: Moment, epoch: u64) -> Freshness {
        let mut standing = self.standing(now, epoch);
        let refused = standing.trouble.and_then(|trouble| trouble.refused);
        standing.trouble = Some(Trouble { refused, attempted: Some(Duration::ZERO) });
        freshness::freshness(&self.policy, &standing)
    }

    /// Returns how long this version stays fresh. Returns `None` if it is not fresh.
    pub(crate) fn fresh_for(&self, now: Moment, epoch: u64) -> Option<Duration> {
        match self.freshness(now, epoch) {
            Freshness::Fresh | Freshness::Due => {
                Some(self.policy.ttl.saturating_sub(self.age(now, epoch)?))
            }
            Freshness::Stale(_) | Freshness::Expired => None,
        }
    }

    /// Decides whether `answer`, a version that AWS returned, replaces this cached version. An
    /// older version replaces it only after AWS has returned the older version twice, because AWS
    /// may still return outdated versions soon after a rotation.
    pub(crate) fn judge(&self, answer: &Version, now: Moment, epoch: u64) -> Verdict {
        let may_serve = self.freshness_in_trouble(now, epoch) != Freshness::Expired;
        self.marks.judge(&self.version, answer, now, may_serve)
    }
}

/// Returns the entity tag (for the HTTP header `ETag`) of a version, or no bytes if the version id
/// is not valid in a header.
///
/// The tag of a parameter also contains the time of its last change, because a parameter that is
/// deleted and created again starts again at version 1.
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
