//! The snapshot: an immutable map of all cached secrets.
//!
//! All functions are pure: a change returns a new map and leaves the old map unchanged.

use super::cached_secret::{CachedSecret, VERSIONS_MAX};
use super::entry::Entry;
use super::limits::Limits;
use crate::secret::key::{Key, KeyRef};
use crate::secret::role::{ROLES_MAX, RoleArn};
use std::collections::HashMap;
use std::sync::Arc;

/// All cached secrets at one moment. Requests can find a secret by its name or by its ARN.
///
/// The secrets of each IAM role have a map of their own, so that a value that Sidekey read with one
/// role never answers a request with another role.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The secrets that Sidekey read with its own AWS credentials.
    own: ById,
    by_role: HashMap<RoleArn, ById>,
}

type ById = HashMap<Arc<str>, Arc<CachedSecret>>;

impl Snapshot {
    /// Returns the cached secret for the role and the name or ARN in `key`, whatever versions are
    /// cached.
    pub(crate) fn secret<'a>(&self, key: impl Into<KeyRef<'a>>) -> Option<&Arc<CachedSecret>> {
        let KeyRef { role, id, .. } = key.into();
        self.of_role(role)?.get(id)
    }

    /// Returns whether a secret with the name or ARN `id` is cached for `role`.
    pub(crate) fn contains(&self, role: Option<&RoleArn>, id: &str) -> bool {
        self.of_role(role).is_some_and(|by_id| by_id.contains_key(id))
    }

    /// Returns the cached version for `key`. The version may have been fetched for another staging
    /// label or version id, if it also has the label or id in `key`.
    pub(crate) fn entry<'a>(&self, key: impl Into<KeyRef<'a>>) -> Option<&Arc<Entry>> {
        let key = key.into();
        self.secret(key)?.select(key.selector)
    }

    /// Returns the cached version that was fetched for exactly the staging label or version id in
    /// `key`.
    pub(crate) fn exact<'a>(&self, key: impl Into<KeyRef<'a>>) -> Option<&Arc<Entry>> {
        let key = key.into();
        self.secret(key)?.exact(key.selector)
    }

    fn of_role(&self, role: Option<&RoleArn>) -> Option<&ById> {
        match role {
            None => Some(&self.own),
            Some(role) => self.by_role.get(role),
        }
    }

    fn of_role_mut(&mut self, role: Option<&RoleArn>) -> &mut ById {
        match role {
            None => &mut self.own,
            Some(role) => self.by_role.entry(role.clone()).or_default(),
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Arc<CachedSecret>, &Arc<Entry>)> {
        [&self.own].into_iter().chain(self.by_role.values()).flat_map(entries_of)
    }

    /// Returns every cached version with its secret, sorted by ARN and role, so that the result
    /// does not depend on the random order of a hash map.
    pub(crate) fn entries_by_arn(&self) -> impl Iterator<Item = (&Arc<CachedSecret>, &Arc<Entry>)> {
        let mut entries: Vec<_> = self.entries().collect();
        entries
            .sort_by(|(one, _), (other, _)| (&one.arn, &one.role).cmp(&(&other.arn, &other.role)));
        entries.into_iter()
    }

    /// Returns two values: a new map of cached secrets that also contains `entries`, and the number
    /// of versions that were evicted to make room. Each entry comes with the key for which it was
    /// fetched.
    ///
    /// Later requests find an entry by the name or ARN in this key, and by the ARN that AWS
    /// returned. They do not find it by the name that AWS returned, because this name may belong to
    /// another secret in the agent's own account and region.
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
        let of_roles = next.evict_roles(newest, limits);
        let evicted = next.evict(newest, limits);
        (next, dropped + of_roles + evicted)
    }

    /// Returns the roles with cached secrets.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &RoleArn> {
        self.by_role.keys()
    }

    /// Evicts all secrets of the least recently used role until at most [`ROLES_MAX`] roles remain.
    /// Returns the number of evicted versions.
    ///
    /// Evicts the role of `newest`, the version that was just cached, only if no other role can be
    /// evicted. Never evicts roles with secrets in `SIDEKEY_SECRETS`.
    fn evict_roles(&mut self, newest: Option<&Arc<Entry>>, limits: &Limits) -> usize {
        let mut evicted = 0;
        while self.by_role.len() > ROLES_MAX {
            let is_newest = |role| newest.is_some_and(|newest| newest.key().role == Some(role));
            let evictable = self.by_role.iter().filter(|(_, by_id)| !has_listed(by_id, limits));
            let oldest = evictable
                .min_by_key(|(role, by_id)| (is_newest(role), last_read(by_id), (*role).clone()));
            let Some(role) = oldest.map(|(role, _)| role.clone()) else { break };
            let removed = self.by_role.remove(&role).unwrap_or_default();
            evicted += entries_of(&removed).count();
        }
        evicted
    }

    /// Returns a new map that also contains each of `entries` for which there is room, and the
    /// number of entries without room. Never evicts another secret.
    #[must_use]
    pub(crate) fn publish_in_free_room(
        &self,
        entries: &[(Key, Arc<Entry>)],
        limits: &Limits,
    ) -> (Self, usize) {
        let mut next = self.clone();
        let (mut count, mut bytes) = (self.entries().count(), self.bytes());
        let mut without_room = 0;
        for (asked, entry) in entries {
            let cached = KeyRef { id: &entry.version.arn, ..KeyRef::from(asked) };
            let (more, freed) = next.exact(cached).map_or((1, 0), |old| (0, old.bytes()));
            let needed = (bytes + entry.bytes()).saturating_sub(freed);
            // A secret with the maximum number of versions would lose one of them.
            let versions = next.secret(cached).map_or(0, |own| own.entries().len());
            if limits.are_met(count + more, needed) && versions + more <= VERSIONS_MAX {
                next.add(asked, entry.clone(), limits);
                (count, bytes) = (count + more, needed);
            } else {
                without_room += 1;
            }
        }
        (next, without_room)
    }

    /// Returns a new map without the secrets and parameters `gone`. Keeps the versions that
    /// `SIDEKEY_SECRETS` lists by name or ARN.
    #[must_use]
    pub(crate) fn without_gone(&self, gone: &[Key], limits: &Limits) -> Self {
        let mut next = self.clone();
        for secret in gone.iter().filter_map(|key| self.secret(key)) {
            for entry in secret.entries() {
                if !secret.is_named(&limits.listed, &entry.selector) {
                    next.remove(secret, entry);
                }
            }
        }
        next
    }

    /// Adds `entry` to this map. Returns the number of other versions of the secret that were
    /// removed to make room.
    fn add(&mut self, asked: &Key, entry: Arc<Entry>, limits: &Limits) -> usize {
        let arn: Arc<str> = Arc::from(&*entry.version.arn);
        self.unlink_other(asked, &arn);
        let cached = self.of_role(asked.role.as_ref()).and_then(|by_id| by_id.get(&arn));
        let mut secret = match cached {
            Some(secret) => CachedSecret::clone(secret),
            None => CachedSecret::new(asked, arn),
        };
        secret.link(&asked.id);
        let dropped = secret.replace(entry, &limits.listed);
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

    /// Returns a new map without the cached version for exactly `key`.
    #[must_use]
    pub(crate) fn without(&self, key: KeyRef<'_>) -> Self {
        let mut next = self.clone();
        if let (Some(secret), Some(entry)) = (self.secret(key), self.exact(key)) {
            next.remove(secret, entry);
        }
        next
    }

    /// Removes the name or ARN of `asked` from a cached secret whose ARN is not `arn`. This is
    /// needed if a secret was deleted and created again, because the new secret has a new ARN.
    fn unlink_other(&mut self, asked: &Key, arn: &str) {
        let Some(old) = self.secret(asked).filter(|secret| *secret.arn != *arn) else {
            return;
        };
        let mut secret = CachedSecret::clone(old);
        self.of_role_mut(asked.role.as_ref()).remove(asked.id.as_str());
        secret.unlink(&asked.id);
        self.insert(secret);
    }

    fn insert(&mut self, secret: CachedSecret) {
        let shared = Arc::new(secret);
        let by_id = self.of_role_mut(shared.role.as_ref());
        for id in shared.ids() {
            by_id.insert(id.clone(), shared.clone());
        }
    }

    /// Evicts the least recently read versions until the cache meets its size limits, and returns
    /// their number. Evicts `newest`, the version that was just cached, last. Never evicts the
    /// secrets in `SIDEKEY_SECRETS`.
    fn evict(&mut self, newest: Option<&Arc<Entry>>, limits: &Limits) -> usize {
        let (mut count, mut bytes) = (self.entries().count(), self.bytes());
        if limits.are_met(count, bytes) {
            return 0;
        }
        let mut evictable: Vec<(Arc<CachedSecret>, Arc<Entry>)> = self
            .entries()
            .filter(|(secret, entry)| !secret.is_listed(&limits.listed, &entry.selector))
            .map(|(secret, entry)| (secret.clone(), entry.clone()))
            .collect();
        // Sort also by ARN and role, so that entries that were read at the same time have a fixed
        // order.
        evictable.sort_by_cached_key(|(secret, entry)| {
            let is_newest = newest.is_some_and(|newest| Arc::ptr_eq(newest, entry));
            (is_newest, entry.marks.read_at_ms(), secret.arn.clone(), secret.role.clone())
        });
        let before = count;
        for (secret, entry) in evictable {
            if limits.are_met(count, bytes) {
                break;
            }
            self.remove(&secret, &entry);
            count -= 1;
            bytes -= entry.bytes();
        }
        before - count
    }

    /// Removes the cached version `entry` of `secret`, and the secret itself if this was its last
    /// version.
    fn remove(&mut self, secret: &CachedSecret, entry: &Arc<Entry>) {
        let role = secret.role.as_ref();
        let Some(old) = self.of_role(role).and_then(|by_id| by_id.get(&secret.arn)) else { return };
        let mut secret = CachedSecret::clone(old);
        secret.remove(entry);
        if !secret.entries().is_empty() {
            return self.insert(secret);
        }
        let by_id = self.of_role_mut(role);
        for id in secret.ids() {
            by_id.remove(id);
        }
        if let Some(role) = role.filter(|_| by_id.is_empty()) {
            self.by_role.remove(role);
        }
    }
}

/// Returns every cached version in `by_id` once, although a secret has several names and ARNs.
fn entries_of(by_id: &ById) -> impl Iterator<Item = (&Arc<CachedSecret>, &Arc<Entry>)> {
    let secrets = by_id.iter().filter(|(id, secret)| **id == secret.arn);
    secrets.flat_map(|(_, secret)| secret.entries().iter().map(move |entry| (secret, entry)))
}

/// Returns when a request last read one of the secrets, in milliseconds on the steady clock.
fn last_read(by_id: &ById) -> u64 {
    entries_of(by_id).map(|(_, entry)| entry.marks.read_at_ms()).max().unwrap_or_default()
}

/// Returns whether `SIDEKEY_SECRETS` contains one of the secrets.
fn has_listed(by_id: &ById, limits: &Limits) -> bool {
    entries_of(by_id).any(|(secret, entry)| secret.is_listed(&limits.listed, &entry.selector))
}

#[cfg(test)]
mod tests {
    use super::super::freshness::Policy;
    use super::*;
    use crate::cache::rendered::Form;
    use crate::clock::Moment;
    use crate::secret::reference::SecretId;
    use crate::secret::selector::Selector;
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
        let id = SecretId::parse(id).expect("the name or ARN in the test must be valid");
        Key::own(id, selector)
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
        let entry = snapshot.entry(&key(id, Selector::current()));
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
            snapshot
                .secret(&key(&old, Selector::current()))
                .expect("the secret must be cached")
                .fetch_id
                .as_str(),
            old
        );
        assert_eq!(
            snapshot
                .secret(&key(&new, Selector::current()))
                .expect("the secret must be cached")
                .fetch_id
                .as_str(),
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
            let entry = snapshot.entry(&key("app/db", Selector::new(stage, version)));
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
            if let Some(entry) = snapshot.entry(&key(name, Selector::current())) {
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
            .entry(&key("third", Selector::current()))
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
        let snapshot = snapshot.without((&key(&arn, Selector::current())).into());
        check(&snapshot, "app/db", None);
        assert!(snapshot.entry(&key("app/db", previous.clone())).is_some());
        let snapshot = snapshot.without((&key(&arn, previous)).into());
        check(&snapshot, "app/db", None);
        assert_eq!(snapshot.entries().count(), 0);
        assert!(snapshot.own.is_empty(), "{:?}", snapshot.own.keys());
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
        assert!(snapshot.entry(&key("app/db", previous)).is_some());
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
        let version = |id| key("app/db", Selector::new(None, Some(id)));
        assert!(snapshot.entry(&version("v19")).is_some());
        assert!(snapshot.entry(&version("v0")).is_none());
    }

    /// Returns the key `app/db` for a role of the account 210987654321 with the name `role`.
    fn key_of_role(role: &str) -> Key {
        let role = RoleArn::parse(&format!("arn:aws:iam::210987654321:role/{role}"));
        Key { role: role.ok(), ..key("app/db", Selector::current()) }
    }

    fn publish_for(snapshot: &Snapshot, asked: &Key, id: &str, limits: &Limits) -> Snapshot {
        let entry =
            entry(&format!("{HERE}app/db-AbC123"), id, &["AWSCURRENT"], Selector::current());
        let entry = Arc::into_inner(entry).expect("the entry must have only one owner");
        let entry = Arc::new(entry.with_role(asked.role.clone()));
        snapshot.publish(asked, entry, limits).0
    }

    #[test]
    fn value_read_with_one_role_answers_no_other_role() {
        let (own, one, other) =
            (key("app/db", Selector::current()), key_of_role("one"), key_of_role("other"));
        let limits = limits(10, &[]);
        let id = |snapshot: &Snapshot, key: &Key| {
            snapshot.entry(key).map(|entry| entry.version.id.to_string())
        };
        let snapshot = publish_for(&Snapshot::default(), &one, "v1", &limits);
        assert_eq!(id(&snapshot, &one).as_deref(), Some("v1"));
        assert_eq!(id(&snapshot, &other), None);
        assert_eq!(id(&snapshot, &own), None);
        let snapshot = publish_for(&snapshot, &own, "v2", &limits);
        let snapshot = publish_for(&snapshot, &other, "v3", &limits);
        assert_eq!(id(&snapshot, &one).as_deref(), Some("v1"));
        assert_eq!(id(&snapshot, &other).as_deref(), Some("v3"));
        assert_eq!(id(&snapshot, &own).as_deref(), Some("v2"));
        let entry = snapshot.entry(&one).expect("the secret must be cached").clone();
        let snapshot = snapshot.without(entry.key());
        assert_eq!(id(&snapshot, &one), None);
        assert_eq!(snapshot.entries().count(), 2);
        assert_eq!(snapshot.by_role.len(), 1, "a role without secrets must not stay");
    }

    #[test]
    fn secret_is_listed_only_for_the_role_in_the_list() {
        let listed = [key_of_role("one")].iter().collect();
        let limits = Limits { entries_max: 1, bytes_max: usize::MAX, listed };
        let snapshot = publish_for(&Snapshot::default(), &key_of_role("one"), "v", &limits);
        let snapshot = publish_for(&snapshot, &key_of_role("other"), "v", &limits);
        assert!(snapshot.entry(&key_of_role("one")).is_some());
        assert!(snapshot.entry(&key_of_role("other")).is_none());
    }
    #[test]
    fn least_recently_used_role_goes_with_all_its_secrets() {
        let listed = key_of_role("listed");
        let limits = limits_for(std::slice::from_ref(&listed));
        let mut snapshot = publish_for(&Snapshot::default(), &listed, "v", &limits);
        let read_at = |snapshot: &Snapshot, key: &Key, seconds| {
            let entry = snapshot.entry(key).expect("the secret must be cached");
            entry.marks.touch(moment(seconds));
        };
        read_at(&snapshot, &listed, 1);
        let key = |number: usize| key_of_role(&format!("role-{number:02}"));
        for number in 1..ROLES_MAX {
            snapshot = publish_for(&snapshot, &key(number), "v", &limits);
            read_at(&snapshot, &key(number), 100 + number as u64);
        }
        read_at(&snapshot, &key(1), 500);
        let asked = key(ROLES_MAX);
        let arn = format!("{HERE}app/db-AbC123");
        let newest = entry(&arn, "v", &["AWSCURRENT"], Selector::current());
        let newest = Arc::into_inner(newest).expect("the entry must have only one owner");
        let newest = Arc::new(newest.with_role(asked.role.clone()));
        let (next, evicted) = snapshot.publish(&asked, newest, &limits);
        assert_eq!(evicted, 1);
        assert_eq!(next.roles().count(), ROLES_MAX);
        assert!(next.entry(&key(2)).is_none(), "the role that was unused longest must be evicted");
        for stays in [&listed, &key(1), &key(3), &asked] {
            assert!(next.entry(stays).is_some(), "{stays:?}");
        }
    }

    #[test]
    fn newest_role_goes_if_all_others_have_listed_secrets() {
        let listed: Vec<Key> =
            (0..ROLES_MAX).map(|number| key_of_role(&format!("role-{number}"))).collect();
        let limits = limits_for(&listed);
        let publish = |snapshot: Snapshot, key: &Key| publish_for(&snapshot, key, "v", &limits);
        let snapshot = listed.iter().fold(Snapshot::default(), publish);
        let snapshot = publish(snapshot, &key_of_role("other"));
        assert!(snapshot.entry(&key_of_role("other")).is_none());
        assert!(listed.iter().all(|key| snapshot.entry(key).is_some()));
    }

    fn limits_for(listed: &[Key]) -> Limits {
        Limits { entries_max: 100, bytes_max: usize::MAX, listed: listed.iter().collect() }
    }
}
