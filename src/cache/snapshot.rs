//! The snapshot: an immutable map of all cached secrets.
//!
//! All functions are pure: a change returns a new map and leaves the old map unchanged.

use super::entry::Entry;
use crate::secret::key::Key;
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::{PARAMETER_PREFIX, SecretId};
use crate::secret::selector::Selector;
use std::collections::HashMap;
use std::sync::Arc;

/// The maximum number of cached versions of one secret. It limits the memory for one secret.
pub(crate) const VERSIONS_MAX: usize = 8;

/// The maximum number of names and ARNs (full or partial) by which requests can find one cached
/// secret. It limits the memory for one secret.
pub(crate) const IDS_MAX: usize = 8;

/// The size limits of the cache. The secrets in `SIDEKEY_SECRETS` are cached even if they exceed
/// these limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) entries_max: usize,
    /// The maximum memory in bytes for cached values, their HTTP responses and their parsed fields.
    pub(crate) bytes_max: usize,
    pub(crate) listed: Listed,
}

/// The secrets, parameters and parameter paths in `SIDEKEY_SECRETS`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    /// The staging labels and version ids in `SIDEKEY_SECRETS`, for each name or ARN.
    by_id: HashMap<Box<str>, Vec<Selector>>,
    paths: Vec<(ParameterPath, Selector)>,
}

impl Listed {
    pub(crate) fn contains(&self, id: &str, selector: &Selector) -> bool {
        self.names(id, selector) || self.is_in_a_path(id, selector)
    }

    /// Returns whether `SIDEKEY_SECRETS` contains exactly this name or ARN, and not only a path or a
    /// pattern that matches it.
    fn names(&self, id: &str, selector: &Selector) -> bool {
        self.by_id.get(id).is_some_and(|selectors| selectors.contains(selector))
    }

    fn is_in_a_path(&self, id: &str, selector: &Selector) -> bool {
        self.path_of(id, selector).is_some()
    }

    /// Returns the path in `SIDEKEY_SECRETS` that contains the parameter `id`.
    fn path_of(&self, id: &str, selector: &Selector) -> Option<&ParameterPath> {
        let name = id.strip_prefix(PARAMETER_PREFIX)?;
        let mut paths = self.paths.iter();
        let found = paths.find(|(path, own)| own == selector && path.contains(name));
        found.map(|(path, _)| path)
    }
}

impl<'a> FromIterator<&'a Key> for Listed {
    fn from_iter<I: IntoIterator<Item = &'a Key>>(keys: I) -> Self {
        let mut listed = Self::default();
        for key in keys {
            if let SecretId::Path(path) = &key.id {
                listed.paths.push((path.clone(), key.selector.clone()));
            }
            let selectors = listed.by_id.entry(key.id.as_str().into()).or_default();
            selectors.push(key.selector.clone());
        }
        listed
    }
}

impl Limits {
    fn are_met(&self, count: usize, bytes: usize) -> bool {
        count <= self.entries_max && bytes <= self.bytes_max
    }

    /// Returns the path in `SIDEKEY_SECRETS` whose call fetches the parameter `secret` too.
    pub(super) fn path_of(
        &self,
        secret: &CachedSecret,
        selector: &Selector,
    ) -> Option<&ParameterPath> {
        secret.ids.iter().find_map(|id| self.listed.path_of(id, selector))
    }

    /// Returns whether `SIDEKEY_SECRETS` contains the cached secret `secret`, under any of its
    /// names or ARNs, with the staging label or version id `selector`.
    pub(super) fn is_listed(&self, secret: &CachedSecret, selector: &Selector) -> bool {
        secret.ids.iter().any(|id| self.listed.contains(id, selector))
    }
}

/// All cached secrets at one moment. Requests can find a secret by its name or by its ARN.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    by_id: HashMap<Arc<str>, Arc<CachedSecret>>,
}

/// All cached versions of one secret, and the names and ARNs by which requests can find the secret.
#[derive(Clone, Debug)]
pub(crate) struct CachedSecret {
    pub(crate) arn: Arc<str>,
    /// The name or ARN by which Sidekey fetches the secret again. Sidekey prefers the name, which
    /// also finds the new secret if the secret was deleted and created again.
    pub(crate) fetch_id: SecretId,
    /// The names and ARNs for which AWS returned this secret.
    ids: Vec<Arc<str>>,
    entries: Vec<Arc<Entry>>,
}

impl CachedSecret {
    /// Returns the cached version for `selector`, a staging label or version id. If no
    /// version was fetched for `selector`, returns a version that was fetched for another label or
    /// id, but also has this one.
    pub(crate) fn select(&self, selector: &Selector) -> Option<&Arc<Entry>> {
        self.exact(selector).or_else(|| {
            let mut entries = self.entries.iter();
            entries.find(|entry| selector.selects(&entry.selector, &entry.version))
        })
    }

    /// Returns the cached version that was fetched for exactly this staging label or version id.
    /// Ignores versions that have the label or id but were fetched for another one.
    pub(crate) fn exact(&self, selector: &Selector) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.selector == *selector)
    }

    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Returns the secret's name or ARN, and the staging label or version id, by which Sidekey
    /// fetches the version in `entry` again.
    pub(crate) fn fetch_key(&self, entry: &Entry) -> Key {
        Key { id: self.fetch_id.clone(), selector: entry.selector.clone() }
    }
}

impl Snapshot {
    pub(crate) fn secret(&self, id: &str) -> Option<&Arc<CachedSecret>> {
        self.by_id.get(id)
    }

    pub(crate) fn entry(&self, id: &str, selector: &Selector) -> Option<&Arc<Entry>> {
        self.secret(id)?.select(selector)
    }

    pub(crate) fn exact(&self, id: &str, selector: &Selector) -> Option<&Arc<Entry>> {
        self.secret(id)?.exact(selector)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&CachedSecret, &Arc<Entry>)> {
        let secrets = self.by_id.iter().filter(|(id, secret)| **id == secret.arn);
        secrets.flat_map(|(_, secret)| secret.entries.iter().map(move |entry| (&**secret, entry)))
    }

    /// Returns every cached version with its secret, sorted by ARN, so that the result does not
    /// depend on the random order of a hash map.
    pub(crate) fn entries_by_arn(&self) -> impl Iterator<Item = (&CachedSecret, &Arc<Entry>)> {
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_by(|(one, _), (other, _)| one.arn.cmp(&other.arn));
        entries.into_iter()
    }

    /// Returns a new map of cached secrets that also contains `entries`, each with the request for
    /// which it was fetched, and the number of versions that were evicted to make room.
    ///
    /// Requests find an entry by the name or ARN in its request, and by the ARN that AWS returned.
    /// They do not find it by the name that AWS returned, because this name may belong to another
    /// secret in the agent's own account and region.
    #[must_use]
    pub(crate) fn publish_all(
        &self,
        entries: &[(Key, Arc<Entry>)],
        limits: &Limits,
    ) -> (Self, usize) {
        let mut next = self.clone();
        let dropped: usize =
            entries.iter().map(|(asked, entry)| next.add(asked, entry.clone(), limits)).sum();
        let newest = entries.last().map(|(_, entry)| entry);
        let evicted = next.evict(newest, limits);
        (next, dropped + evicted)
    }

    /// Returns a new map that also contains each of `entries` for which there is room, and the number
    /// of entries without room. Never evicts another secret.
    #[must_use]
    pub(crate) fn publish_in_free_room(
        &self,
        entries: &[(Key, Arc<Entry>)],
        limits: &Limits,
    ) -> (Self, usize) {
        let mut next = self.clone();
        let (mut count, mut bytes) = (self.entries().count(), self.bytes());
        let mut without_room = 0;
        for (key, entry) in entries {
            let old = next.exact(&entry.version.arn, &key.selector);
            let (more, freed) = old.map_or((1, 0), |old| (0, old.bytes()));
            let needed = (bytes + entry.bytes()).saturating_sub(freed);
            // A secret with the maximum number of versions would lose one of them.
            let versions = next.secret(&entry.version.arn).map_or(0, |own| own.entries.len());
            if !limits.are_met(count + more, needed) || versions + more > VERSIONS_MAX {
                without_room += 1;
                continue;
            }
            next.add(key, entry.clone(), limits);
            (count, bytes) = (count + more, needed);
        }
        (next, without_room)
    }

    /// Returns a new map without the secrets and parameters `gone`, given by their names. Keeps the
    /// versions that `SIDEKEY_SECRETS` lists by name or ARN.
    #[must_use]
    pub(crate) fn without_gone(&self, gone: &[Arc<str>], limits: &Limits) -> Self {
        let mut next = self.clone();
        for secret in gone.iter().filter_map(|id| self.secret(id)) {
            for entry in &secret.entries {
                let is_listed = |id: &Arc<str>| limits.listed.names(id, &entry.selector);
                if !secret.ids.iter().any(is_listed) {
                    next.remove(&secret.arn, entry);
                }
            }
        }
        next
    }

    /// Adds `entry` to this map. Returns the number of other versions of the secret that made room.
    fn add(&mut self, asked: &Key, entry: Arc<Entry>, limits: &Limits) -> usize {
        let arn: Arc<str> = Arc::from(&*entry.version.arn);
        self.unlink_other(&asked.id, &arn);
        let mut secret = match self.by_id.get(&arn) {
            Some(secret) => CachedSecret::clone(secret),
            None => CachedSecret {
                arn: arn.clone(),
                fetch_id: asked.id.clone(),
                ids: vec![arn],
                entries: Vec::new(),
            },
        };
        secret.link(&asked.id);
        let dropped = secret.replace(entry, limits);
        self.insert(secret);
        dropped
    }

    /// Returns a new map of cached secrets that meets the size limits, and the number of evicted
    /// versions.
    #[must_use]
    pub(crate) fn trimmed(&self, limits: &Limits) -> (Self, usize) {
        let mut next = self.clone();
        let evicted = next.evict(None, limits);
        (next, evicted)
    }

    /// Returns the memory in bytes for all cached values, their HTTP responses and their parsed
    /// fields.
    pub(crate) fn bytes(&self) -> usize {
        self.entries().map(|(_, entry)| entry.bytes()).sum()
    }

    #[must_use]
    pub(crate) fn without(&self, arn: &str, selector: &Selector) -> Self {
        let mut next = self.clone();
        if let Some(entry) = self.exact(arn, selector) {
            next.remove(arn, entry);
        }
        next
    }

    /// Removes the name or ARN `id` from a cached secret whose ARN is not `arn`. This is needed if
    /// the secret `id` was deleted and created again, because the new secret has a new ARN.
    fn unlink_other(&mut self, id: &SecretId, arn: &str) {
        let Some(old) = self.by_id.get(id.as_str()).filter(|secret| *secret.arn != *arn) else {
            return;
        };
        let mut secret = CachedSecret::clone(old);
        self.by_id.remove(id.as_str());
        secret.ids.retain(|own| **own != *id.as_str());
        if secret.fetch_id == *id {
            secret.fetch_id =
                SecretId::parse(&secret.arn).unwrap_or_else(|_| secret.fetch_id.clone());
        }
        self.insert(secret);
    }

    fn insert(&mut self, secret: CachedSecret) {
        let shared = Arc::new(secret);
        for id in &shared.ids {
            self.by_id.insert(id.clone(), shared.clone());
        }
    }

    /// Evicts the least recently read versions until the cache meets its size limits, and returns
    /// their number. Evicts `newest`, which was just added, last, and never evicts the secrets in
    /// `SIDEKEY_SECRETS`.
    fn evict(&mut self, newest: Option<&Arc<Entry>>, limits: &Limits) -> usize {
        let (mut count, mut bytes) = (self.entries().count(), self.bytes());
        if limits.are_met(count, bytes) {
            return 0;
        }
        let mut evictable: Vec<(Arc<str>, Arc<Entry>)> = self
            .entries()
            .filter(|(secret, entry)| !limits.is_listed(secret, &entry.selector))
            .map(|(secret, entry)| (secret.arn.clone(), entry.clone()))
            .collect();
        // Sort by ARN, too, so that entries that were read at the same time have a fixed order.
        evictable.sort_by_cached_key(|(arn, entry)| {
            let is_newest = newest.is_some_and(|newest| Arc::ptr_eq(newest, entry));
            (is_newest, entry.marks.read_at_ms(), arn.clone())
        });
        let before = count;
        for (arn, entry) in evictable {
            if limits.are_met(count, bytes) {
                break;
            }
            self.remove(&arn, &entry);
            count -= 1;
            bytes -= entry.bytes();
        }
        before - count
    }

    fn remove(&mut self, arn: &str, entry: &Arc<Entry>) {
        let Some(old) = self.by_id.get(arn) else { return };
        let mut secret = CachedSecret::clone(old);
        secret.entries.retain(|own| !Arc::ptr_eq(own, entry));
        if secret.entries.is_empty() {
            for id in &secret.ids {
                self.by_id.remove(id);
            }
        } else {
            self.insert(secret);
        }
    }
}

impl CachedSecret {
    /// Lets requests find this cached secret by the name or ARN `id`, too, unless the secret
    /// already has [`IDS_MAX`] names and ARNs.
    fn link(&mut self, id: &SecretId) {
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
    /// slow call does not bring an old value back.
    fn replace(&mut self, entry: Arc<Entry>, limits: &Limits) -> usize {
        if let Some(own) = self.entries.iter_mut().find(|own| own.selector == entry.selector) {
            if own.asked_at() <= entry.asked_at() {
                entry.marks.inherit_last_read(&own.marks);
                *own = entry;
            }
            return 0;
        }
        let mut dropped = 0;
        if self.entries.len() >= VERSIONS_MAX
            && let Some(oldest) = self.least_recently_read(limits)
        {
            self.entries.retain(|own| !Arc::ptr_eq(own, &oldest));
            dropped = 1;
        }
        self.entries.push(entry);
        dropped
    }

    /// Returns the least recently read version of this secret that may be removed. The current
    /// version and the versions in `SIDEKEY_SECRETS` must stay.
    fn least_recently_read(&self, limits: &Limits) -> Option<Arc<Entry>> {
        self.entries
            .iter()
            .filter(|own| !own.selector.is_current() && !limits.is_listed(self, &own.selector))
            .min_by_key(|own| own.marks.read_at_ms())
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::freshness::Policy;
    use super::*;
    use crate::cache::rendered::Form;
    use crate::clock::Moment;
    use crate::secret::value::SecretValue;
    use crate::secret::version::{Content, Details, Version};
    use std::time::{Duration, SystemTime};

    impl Snapshot {
        fn publish(&self, asked: &Key, entry: Arc<Entry>, limits: &Limits) -> (Self, usize) {
            self.publish_all(&[(asked.clone(), entry)], limits)
        }
    }

    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";
    const OTHERS: &str = "arn:aws:secretsmanager:us-east-1:210987654321:secret:";

    fn moment(seconds: u64) -> Moment {
        Moment { wall: SystemTime::UNIX_EPOCH, steady: Duration::from_secs(seconds) }
    }

    fn key(id: &str, selector: Selector) -> Key {
        Key {
            id: SecretId::parse(id).expect("the name or ARN in the test must be valid"),
            selector,
        }
    }

    fn entry(arn: &str, id: &str, labels: &[&str], selector: Selector) -> Arc<Entry> {
        let version = Version {
            arn: arn.into(),
            name: "app/db".into(),
            id: id.into(),
            details: Details::Secret {
                labels: labels.iter().map(|label| (*label).into()).collect(),
            },
            created: None,
            content: Content::Text(SecretValue::from(String::new())),
        };
        Arc::new(Entry::new(version, selector, Policy::default(), moment(0), 0, 0.5))
    }

    fn limits(entries_max: usize, listed: &[&str]) -> Limits {
        let listed: Vec<Key> = listed.iter().map(|id| key(id, Selector::current())).collect();
        Limits { entries_max, bytes_max: usize::MAX, listed: listed.iter().collect() }
    }

    fn publish(snapshot: &Snapshot, asked: &str, arn: &str, id: &str, limits: &Limits) -> Snapshot {
        let entry = entry(arn, id, &["AWSCURRENT"], Selector::current());
        snapshot.publish(&key(asked, Selector::current()), entry, limits).0
    }

    #[track_caller]
    fn check(snapshot: &Snapshot, id: &str, expected: Option<&str>) {
        let entry = snapshot.entry(id, &Selector::current());
        assert_eq!(entry.map(|entry| &*entry.version.id), expected, "{id}");
    }

    #[test]
    fn name_and_the_arn_in_its_answer_lead_to_one_entry() {
        let arn = format!("{HERE}app/db-AbC123");
        let snapshot = publish(&Snapshot::default(), "app/db", &arn, "v1", &limits(10, &[]));
        check(&snapshot, "app/db", Some("v1"));
        check(&snapshot, &arn, Some("v1"));
        check(&snapshot, &format!("{HERE}app/db"), None);
        assert_eq!(snapshot.entries().count(), 1);
        let snapshot = publish(&snapshot, &format!("{HERE}app/db"), &arn, "v2", &limits(10, &[]));
        for id in ["app/db", &arn, &format!("{HERE}app/db")] {
            check(&snapshot, id, Some("v2"));
        }
        assert_eq!(snapshot.entries().count(), 1);
    }

    #[test]
    fn read_by_arn_never_changes_what_a_name_means() {
        let (own, other) = (format!("{HERE}app/db-AbC123"), format!("{OTHERS}app/db-XyZ789"));
        let limits = limits(10, &[]);
        let snapshot = publish(&Snapshot::default(), &other, &other, "other", &limits);
        check(&snapshot, "app/db", None);
        let snapshot = publish(&snapshot, "app/db", &own, "own", &limits);
        let snapshot = publish(&snapshot, &other, &other, "other2", &limits);
        check(&snapshot, "app/db", Some("own"));
        check(&snapshot, &other, Some("other2"));
    }

    #[test]
    fn name_leads_to_the_new_arn_after_a_secret_is_created_again() {
        let (old, new) = (format!("{HERE}app/db-AbC123"), format!("{HERE}app/db-XyZ789"));
        let limits = limits(10, &[]);
        let snapshot = publish(&Snapshot::default(), "app/db", &old, "old", &limits);
        let snapshot = publish(&snapshot, "app/db", &new, "new", &limits);
        check(&snapshot, "app/db", Some("new"));
        check(&snapshot, &new, Some("new"));
        check(&snapshot, &old, Some("old"));
        assert_eq!(
            snapshot.secret(&old).expect("the secret must be cached").fetch_id.as_str(),
            old
        );
        assert_eq!(
            snapshot.secret(&new).expect("the secret must be cached").fetch_id.as_str(),
            "app/db"
        );
    }

    #[test]
    fn label_or_version_id_of_a_cached_entry_is_answered_from_it() {
        let arn = format!("{HERE}app/db-AbC123");
        let snapshot = Snapshot::default();
        let current = entry(&arn, "v2", &["AWSCURRENT", "BLUE"], Selector::current());
        let (snapshot, _) =
            snapshot.publish(&key("app/db", Selector::current()), current, &limits(10, &[]));
        let id = |stage, version| {
            let entry = snapshot.entry("app/db", &Selector::new(stage, version));
            entry.map(|entry| entry.version.id.to_string())
        };
        assert_eq!(id(Some("BLUE"), None).as_deref(), Some("v2"));
        assert_eq!(id(None, Some("v2")).as_deref(), Some("v2"));
        assert_eq!(id(Some("AWSPREVIOUS"), None), None);
        assert_eq!(id(None, Some("v1")), None);
    }

    #[test]
    fn least_recently_read_entry_is_evicted_but_never_a_listed_one() {
        let arn = |name: &str| format!("{HERE}{name}-AbC123");
        let limits = limits(2, &["listed"]);
        let mut snapshot = publish(&Snapshot::default(), "listed", &arn("listed"), "v", &limits);
        for (name, read_at) in [("first", 20), ("second", 10)] {
            snapshot = publish(&snapshot, name, &arn(name), "v", &limits);
            if let Some(entry) = snapshot.entry(name, &Selector::current()) {
                entry.marks.touch(moment(read_at));
            }
        }
        check(&snapshot, "listed", Some("v"));
        check(&snapshot, "first", None);
        check(&snapshot, "second", Some("v"));
        check(&snapshot, &arn("first"), None);
    }

    fn large(arn: &str, bytes: usize) -> Arc<Entry> {
        let entry = entry(arn, "v", &["AWSCURRENT"], Selector::current());
        let content = Content::Text(SecretValue::from("x".repeat(bytes)));
        let version = Version { content, ..entry.version.clone() };
        Arc::new(Entry::new(version, Selector::current(), Policy::default(), moment(0), 0, 0.5))
    }

    #[test]
    fn entries_are_bounded_in_bytes_with_their_rendered_answers() {
        let arn = |name: &str| format!("{HERE}{name}-AbC123");
        let limits = Limits { bytes_max: 1000, ..limits(100, &["listed"]) };
        let mut snapshot = Snapshot::default();
        for (at, name) in ["listed", "first", "second", "third"].into_iter().enumerate() {
            let entry = large(&arn(name), 250);
            entry.marks.touch(moment(at as u64));
            let (next, evicted) = snapshot.publish(&key(name, Selector::current()), entry, &limits);
            assert_eq!(evicted, 0, "{name}");
            snapshot = next;
        }
        assert_eq!(snapshot.bytes(), 1000);
        let third = snapshot
            .entry("third", &Selector::current())
            .expect("the secret must be cached")
            .clone();
        third.answer(Form::AwsApi, |_| SecretValue::from("y".repeat(251)));
        let (snapshot, evicted) = snapshot.trimmed(&limits);
        assert_eq!((evicted, snapshot.bytes()), (2, 501 + 250));
        check(&snapshot, "listed", Some("v"));
        check(&snapshot, "first", None);
        check(&snapshot, "second", None);
        check(&snapshot, "third", Some("v"));
        let (snapshot, evicted) =
            snapshot.publish(&key("huge", Selector::current()), large(&arn("huge"), 2000), &limits);
        assert_eq!(
            (evicted, snapshot.bytes()),
            (2, 250),
            "only the secret in SIDEKEY_SECRETS must stay in the cache"
        );
    }

    #[test]
    fn unlisted_entry_is_not_kept_if_listed_ones_fill_the_cache() {
        let arn = |name: &str| format!("{HERE}{name}-AbC123");
        let limits = limits(1, &["listed", "too"]);
        let mut snapshot = Snapshot::default();
        for (name, evicted_expected) in [("listed", 0), ("too", 0), ("other", 1)] {
            let entry = entry(&arn(name), "v", &["AWSCURRENT"], Selector::current());
            let (next, evicted) = snapshot.publish(&key(name, Selector::current()), entry, &limits);
            assert_eq!(evicted, evicted_expected, "{name}");
            snapshot = next;
        }
        check(&snapshot, "listed", Some("v"));
        check(&snapshot, "too", Some("v"));
        check(&snapshot, "other", None);
    }

    #[test]
    fn removed_entry_leaves_other_versions_and_no_dangling_id() {
        let arn = format!("{HERE}app/db-AbC123");
        let previous = Selector::new(Some("AWSPREVIOUS"), None);
        let snapshot = publish(&Snapshot::default(), "app/db", &arn, "v2", &limits(10, &[]));
        let old = entry(&arn, "v1", &["AWSPREVIOUS"], previous.clone());
        let (snapshot, _) =
            snapshot.publish(&key("app/db", previous.clone()), old, &limits(10, &[]));
        let snapshot = snapshot.without(&arn, &Selector::current());
        check(&snapshot, "app/db", None);
        assert!(snapshot.entry("app/db", &previous).is_some());
        let snapshot = snapshot.without(&arn, &previous);
        assert!(snapshot.secret("app/db").is_none() && snapshot.secret(&arn).is_none());
    }

    #[test]
    fn listed_version_is_never_removed_for_other_versions() {
        let arn = format!("{HERE}app/db-AbC123");
        let previous = Selector::new(Some("AWSPREVIOUS"), None);
        let listed = [key("app/db", previous.clone())].iter().collect();
        let limits = Limits { entries_max: 100, bytes_max: usize::MAX, listed };
        let first = entry(&arn, "old", &["AWSPREVIOUS"], previous.clone());
        let mut snapshot =
            Snapshot::default().publish(&key("app/db", previous.clone()), first, &limits).0;
        let mut dropped = 0;
        for n in 0..20 {
            let selector = Selector::new(None, Some(&format!("v{n}")));
            let entry = entry(&arn, &format!("v{n}"), &[], selector.clone());
            let (next, evicted) = snapshot.publish(&key("app/db", selector), entry, &limits);
            (snapshot, dropped) = (next, dropped + evicted);
        }
        assert!(snapshot.entry("app/db", &previous).is_some());
        assert_eq!((snapshot.entries().count(), dropped), (VERSIONS_MAX, 21 - VERSIONS_MAX));
    }

    #[test]
    fn versions_of_one_secret_are_bounded_and_the_current_one_stays() {
        let arn = format!("{HERE}app/db-AbC123");
        let limits = limits(100, &[]);
        let mut snapshot = publish(&Snapshot::default(), "app/db", &arn, "v", &limits);
        for n in 0..20 {
            let id = format!("v{n}");
            let selector = Selector::new(None, Some(&id));
            let entry = entry(&arn, &id, &[], selector.clone());
            entry.marks.touch(moment(n));
            snapshot = snapshot.publish(&key("app/db", selector), entry, &limits).0;
        }
        assert_eq!(snapshot.entries().count(), VERSIONS_MAX);
        check(&snapshot, "app/db", Some("v"));
        assert!(snapshot.entry("app/db", &Selector::new(None, Some("v19"))).is_some());
        assert!(snapshot.entry("app/db", &Selector::new(None, Some("v0"))).is_none());
    }
}
