//! All cached versions of one secret.

use super::entry::Entry;
use super::limits::Listed;
use crate::secret::key::{Key, KeyRef};
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::SecretId;
use crate::secret::role::RoleArn;
use crate::secret::selector::Selector;
use std::sync::Arc;

/// The maximum number of cached versions of one secret. It limits the memory for one secret.
pub(crate) const VERSIONS_MAX: usize = 8;

/// The maximum number of names and ARNs (full or partial) by which requests can find one cached
/// secret. It limits the memory for one secret.
pub(crate) const IDS_MAX: usize = 8;

/// All cached versions of one secret, and the names and ARNs by which requests can find the secret.
#[derive(Clone, Debug)]
pub(crate) struct CachedSecret {
    /// The IAM role with which Sidekey reads the secret. `None` means Sidekey's own AWS
    /// credentials.
    pub(crate) role: Option<RoleArn>,
    pub(crate) arn: Arc<str>,
    /// The name or ARN by which Sidekey fetches the secret again. Sidekey prefers the name, which
    /// also finds the new secret if the secret was deleted and created again.
    pub(crate) fetch_id: SecretId,
    /// The names and ARNs for which AWS returned this secret.
    ids: Vec<Arc<str>>,
    entries: Vec<Arc<Entry>>,
}

impl CachedSecret {
    /// Returns the cached version for `selector`, a staging label or version id. If no version was
    /// fetched for `selector`, returns a version that was fetched for another label or id, but also
    /// has the label or id `selector`.
    pub(crate) fn select(&self, selector: &Selector) -> Option<&Arc<Entry>> {
        self.exact(selector).or_else(|| {
            let mut entries = self.entries.iter();
            entries.find(|entry| selector.selects(&entry.selector, &entry.version))
        })
    }

    /// Returns the cached version that was fetched for exactly this staging label or version id.
    /// Ignores versions that have the label or id, but were fetched for another label or id.
    pub(crate) fn exact(&self, selector: &Selector) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.selector == *selector)
    }

    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Returns the secret's name or ARN, and the staging label or version id, by which Sidekey
    /// fetches the version in `entry` again.
    pub(crate) fn fetch_key(&self, entry: &Entry) -> Key {
        let (role, selector) = (self.role.clone(), entry.selector.clone());
        Key { role, id: self.fetch_id.clone(), selector }
    }

    pub(super) fn ids(&self) -> &[Arc<str>] {
        &self.ids
    }

    /// Returns whether `listed` contains this secret, under any of its names or ARNs, with the
    /// staging label or version id `selector`.
    pub(super) fn is_listed(&self, listed: &Listed, selector: &Selector) -> bool {
        self.keys(selector).any(|key| listed.contains(key))
    }

    /// Returns whether `listed` contains one of the names or ARNs of this secret, with the staging
    /// label or version id `selector`. A path that contains the secret does not count.
    pub(super) fn is_named(&self, listed: &Listed, selector: &Selector) -> bool {
        self.keys(selector).any(|key| listed.names(key))
    }

    /// Returns the path in `listed` that contains this parameter. One call for the path fetches all
    /// its parameters.
    pub(super) fn path_in<'a>(
        &self,
        listed: &'a Listed,
        selector: &Selector,
    ) -> Option<&'a ParameterPath> {
        self.keys(selector).find_map(|key| listed.path_of(key))
    }

    /// Returns a key of this secret for each of its names and ARNs.
    fn keys<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = KeyRef<'a>> {
        self.ids.iter().map(move |id| KeyRef { role: self.role.as_ref(), id, selector })
    }

    /// Creates a secret without cached versions. `asked` is the key for which AWS returned the
    /// secret, and `arn` is the secret's ARN in the answer of AWS.
    pub(super) fn new(asked: &Key, arn: Arc<str>) -> Self {
        Self {
            role: asked.role.clone(),
            arn: arn.clone(),
            fetch_id: asked.id.clone(),
            ids: vec![arn],
            entries: Vec::new(),
        }
    }

    /// Removes the name or ARN `id`, because it belongs to another secret.
    pub(super) fn unlink(&mut self, id: &SecretId) {
        self.ids.retain(|own| **own != *id.as_str());
        if self.fetch_id == *id {
            self.fetch_id = SecretId::parse(&self.arn).unwrap_or_else(|_| self.fetch_id.clone());
        }
    }

    pub(super) fn remove(&mut self, entry: &Arc<Entry>) {
        self.entries.retain(|own| !Arc::ptr_eq(own, entry));
    }

    /// Lets requests find this cached secret also by the name or ARN `id`, unless the secret
    /// already has [`IDS_MAX`] names and ARNs.
    pub(super) fn link(&mut self, id: &SecretId) {
        let is_new = self.ids.iter().all(|own| **own != *id.as_str());
        if is_new && self.ids.len() < IDS_MAX {
            self.ids.push(Arc::from(id.as_str()));
        }
        if !id.is_arn() {
            self.fetch_id = id.clone();
        }
    }

    /// Adds the version `entry` to this cached secret, or replaces the version for the same staging
    /// label or version id. Returns the number of versions that were removed to make room.
    ///
    /// Keeps the existing version if Sidekey requested it from AWS later than `entry`, so that a
    /// slow call does not bring an old value back. A version from the secret's own region always
    /// replaces a version from a replica.
    pub(super) fn replace(&mut self, entry: Arc<Entry>, listed: &Listed) -> usize {
        if let Some(own) = self.entries.iter_mut().find(|own| own.selector == entry.selector) {
            let is_home_again = own.replica_region.is_some() && entry.replica_region.is_none();
            let is_newer = is_home_again || own.asked_at() <= entry.asked_at();
            if is_newer && !Arc::ptr_eq(own, &entry) {
                entry.take_over(own);
                *own = entry;
            }
            return 0;
        }
        let mut dropped = 0;
        if self.entries.len() >= VERSIONS_MAX
            && let Some(oldest) = self.least_recently_read(listed)
        {
            self.entries.retain(|own| !Arc::ptr_eq(own, &oldest));
            dropped = 1;
        }
        self.entries.push(entry);
        dropped
    }

    /// Returns the least recently read version of this secret that may be removed. The current
    /// version and the versions in `SIDEKEY_SECRETS` must stay.
    fn least_recently_read(&self, listed: &Listed) -> Option<Arc<Entry>> {
        self.entries
            .iter()
            .filter(|own| !own.selector.is_current() && !self.is_listed(listed, &own.selector))
            .min_by_key(|own| own.marks.read_at_ms())
            .cloned()
    }
}
