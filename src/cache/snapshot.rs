//! The immutable map of all entries.
//!
//! Pure: publishing returns the next snapshot and leaves this one as it was.

use super::entry::Entry;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::selector::Selector;
use std::collections::HashMap;
use std::sync::Arc;

/// The most versions of one secret that are held.
pub const VERSIONS_MAX: usize = 8;

/// The most ids that lead to one secret: its ARN, its name, and partial ARNs.
pub const IDS_MAX: usize = 8;

/// What bounds a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The most entries that are cached. Listed ones do not give way to it.
    pub entries_max: usize,
    /// The most bytes of their values, answers and fields. Listed ones do not give way to it either.
    pub bytes_max: usize,
    /// The secrets that are never evicted.
    pub listed: Listed,
}

/// The listed secrets, found by each id without a copy.
#[derive(Clone, Debug, Default)]
pub struct Listed(HashMap<Box<str>, Vec<Selector>>);

impl Listed {
    /// Returns whether `selector` of the secret is listed by this id.
    pub fn contains(&self, id: &str, selector: &Selector) -> bool {
        self.0.get(id).is_some_and(|selectors| selectors.contains(selector))
    }
}

impl<'a> FromIterator<&'a Key> for Listed {
    fn from_iter<I: IntoIterator<Item = &'a Key>>(keys: I) -> Self {
        let mut listed: HashMap<Box<str>, Vec<Selector>> = HashMap::new();
        for key in keys {
            listed.entry(key.id.as_str().into()).or_default().push(key.selector.clone());
        }
        Self(listed)
    }
}

impl Limits {
    /// Returns whether `selector` of a secret that `ids` lead to is listed.
    pub(super) fn is_listed(&self, secret: &CachedSecret, selector: &Selector) -> bool {
        secret.ids.iter().any(|id| self.listed.contains(id, selector))
    }
}

/// Every entry, by each id that leads to it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    by_id: HashMap<Arc<str>, Arc<CachedSecret>>,
}

/// The entries of one secret.
#[derive(Clone, Debug)]
pub struct CachedSecret {
    /// The full ARN.
    pub arn: Arc<str>,
    /// What upstream is asked by: the name where one leads here, so that a secret made anew under
    /// the same name is noticed.
    pub fetch_id: SecretId,
    /// The names and ARNs whose answers led here.
    ids: Vec<Arc<str>>,
    entries: Vec<Arc<Entry>>,
}

impl CachedSecret {
    /// Returns the entry of a plain read, of a label or of a version id: the one that was fetched
    /// for it, else one that holds it.
    pub fn select(&self, selector: &Selector) -> Option<&Arc<Entry>> {
        let holding = || self.entries.iter().find(|entry| selector.selects(&entry.version));
        self.exact(selector).or_else(holding)
    }

    /// Returns the entry that was fetched for `selector`: what becomes of its flights is noted there.
    pub fn exact(&self, selector: &Selector) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.selector == *selector)
    }

    /// Returns every entry.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Returns what an entry of this secret is fetched again by.
    pub fn fetch_key(&self, entry: &Entry) -> Key {
        Key { id: self.fetch_id.clone(), selector: entry.selector.clone() }
    }
}

impl Snapshot {
    /// Returns the secret that `id` leads to.
    pub fn secret(&self, id: &str) -> Option<&Arc<CachedSecret>> {
        self.by_id.get(id)
    }

    /// Returns the entry that answers `selector` of the secret that `id` leads to.
    pub fn entry(&self, id: &str, selector: &Selector) -> Option<&Arc<Entry>> {
        self.secret(id)?.select(selector)
    }

    /// Returns the entry that was fetched for `selector` of the secret that `id` leads to.
    pub fn exact(&self, id: &str, selector: &Selector) -> Option<&Arc<Entry>> {
        self.secret(id)?.exact(selector)
    }

    /// Returns every entry once, with the secret it belongs to.
    pub fn entries(&self) -> impl Iterator<Item = (&CachedSecret, &Arc<Entry>)> {
        let secrets = self.by_id.iter().filter(|(id, secret)| **id == secret.arn);
        secrets.flat_map(|(_, secret)| secret.entries.iter().map(move |entry| (&**secret, entry)))
    }

    /// Returns every entry once, in the order of their ARNs: where what is done with them should not
    /// depend on the order of a hash map.
    pub fn entries_by_arn(&self) -> impl Iterator<Item = (&CachedSecret, &Arc<Entry>)> {
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_by(|(one, _), (other, _)| one.arn.cmp(&other.arn));
        entries.into_iter()
    }

    /// Returns the next snapshot, in which `asked` and the answer's ARN lead to `entry`, and how
    /// many entries were pushed out for it.
    ///
    /// A name or partial ARN leads only to the ARN that answered it. The answer's *name* is not
    /// made to lead here: asked by ARN, it may be a secret of another account or region.
    #[must_use]
    pub fn publish(&self, asked: &Key, entry: Arc<Entry>, limits: &Limits) -> (Self, usize) {
        let mut next = self.clone();
        let arn: Arc<str> = Arc::from(&*entry.version.arn);
        next.unlink_other(&asked.id, &arn);
        let mut secret = match next.by_id.get(&arn) {
            Some(secret) => CachedSecret::clone(secret),
            None => CachedSecret {
                arn: arn.clone(),
                fetch_id: asked.id.clone(),
                ids: vec![arn],
                entries: Vec::new(),
            },
        };
        secret.link(&asked.id);
        let dropped = secret.replace(entry.clone(), limits);
        next.insert(secret);
        let evicted = next.evict(Some(&entry), limits);
        (next, dropped + evicted)
    }

    /// Returns the next snapshot, within the limits, and how many entries were evicted for that.
    #[must_use]
    pub fn trimmed(&self, limits: &Limits) -> (Self, usize) {
        let mut next = self.clone();
        let evicted = next.evict(None, limits);
        (next, evicted)
    }

    /// Returns how many bytes the values, answers and fields of all entries take.
    pub fn bytes(&self) -> usize {
        self.entries().map(|(_, entry)| entry.bytes()).sum()
    }

    /// Returns the next snapshot, in which nothing is held that was fetched for `selector` of `arn`.
    #[must_use]
    pub fn without(&self, arn: &str, selector: &Selector) -> Self {
        let mut next = self.clone();
        if let Some(entry) = self.exact(arn, selector) {
            next.remove(arn, entry);
        }
        next
    }

    /// Takes `id` away from a secret that it led to and no longer does.
    fn unlink_other(&mut self, id: &SecretId, arn: &str) {
        let Some(secret) = self.by_id.get(id.as_str()).filter(|secret| *secret.arn != *arn) else {
            return;
        };
        let mut secret = CachedSecret::clone(secret);
        self.by_id.remove(id.as_str());
        secret.ids.retain(|own| **own != *id.as_str());
        if secret.fetch_id == *id {
            secret.fetch_id =
                SecretId::parse(&secret.arn).unwrap_or_else(|_| secret.fetch_id.clone());
        }
        self.insert(secret);
    }

    fn insert(&mut self, secret: CachedSecret) {
        let secret = Arc::new(secret);
        for id in &secret.ids {
            self.by_id.insert(id.clone(), secret.clone());
        }
    }

    /// Evicts the entries read longest ago until the limits are kept, and returns how many. If only
    /// listed ones are left, `newest` is not kept, and the limits may be exceeded.
    fn evict(&mut self, newest: Option<&Arc<Entry>>, limits: &Limits) -> usize {
        let (mut count, mut bytes) = (self.entries().count(), self.bytes());
        let is_within =
            |count: usize, bytes: usize| count <= limits.entries_max && bytes <= limits.bytes_max;
        if is_within(count, bytes) {
            return 0;
        }
        let is_newest =
            |entry: &Arc<Entry>| newest.is_some_and(|newest| Arc::ptr_eq(newest, entry));
        let free =
            self.entries().filter(|(secret, entry)| !limits.is_listed(secret, &entry.selector));
        let mut free: Vec<(Arc<str>, Arc<Entry>)> =
            free.map(|(secret, entry)| (secret.arn.clone(), entry.clone())).collect();
        free.sort_by(|(arn, entry), (other_arn, other)| {
            let order = |entry: &Arc<Entry>| (is_newest(entry), entry.marks.read_at_ms());
            order(entry).cmp(&order(other)).then_with(|| arn.cmp(other_arn))
        });
        let before = count;
        for (arn, entry) in free {
            if is_within(count, bytes) {
                break;
            }
            self.remove(&arn, &entry);
            count -= 1;
            bytes -= entry.bytes();
        }
        before - count
    }

    fn remove(&mut self, arn: &str, entry: &Arc<Entry>) {
        let Some(secret) = self.by_id.get(arn) else { return };
        let mut secret = CachedSecret::clone(secret);
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
    fn link(&mut self, id: &SecretId) {
        let is_new = self.ids.iter().all(|own| **own != *id.as_str());
        if is_new && self.ids.len() < IDS_MAX {
            self.ids.push(Arc::from(id.as_str()));
        }
        if matches!(id, SecretId::Name(_)) {
            self.fetch_id = id.clone();
        }
    }

    /// Puts `entry` in the place of its predecessor, or beside the others, and returns how many of
    /// those had to go: the current version and listed ones stay. So does a predecessor whose call
    /// was sent later: by name and by ARN, two flights may be under way before it is known that they
    /// lead to one secret, and the slow one must not bring an old value back.
    fn replace(&mut self, entry: Arc<Entry>, limits: &Limits) -> usize {
        if let Some(own) = self.entries.iter_mut().find(|own| own.selector == entry.selector) {
            if own.asked_at() <= entry.asked_at() {
                entry.marks.inherit_last_read(&own.marks);
                *own = entry;
            }
            return 0;
        }
        let free = |own: &&Arc<Entry>| {
            !own.selector.is_current() && !limits.is_listed(self, &own.selector)
        };
        let oldest = match self.entries.len() >= VERSIONS_MAX {
            true => {
                self.entries.iter().filter(free).min_by_key(|own| own.marks.read_at_ms()).cloned()
            }
            false => None,
        };
        let before = self.entries.len();
        if let Some(oldest) = oldest {
            self.entries.retain(|own| !Arc::ptr_eq(own, &oldest));
        }
        let dropped = before - self.entries.len();
        self.entries.push(entry);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::super::freshness::Policy;
    use super::*;
    use crate::cache::rendered::Form;
    use crate::clock::Moment;
    use crate::secret::value::SecretValue;
    use crate::secret::version::{Content, Version};
    use std::time::{Duration, SystemTime};

    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";
    const OTHERS: &str = "arn:aws:secretsmanager:us-east-1:210987654321:secret:";

    fn moment(seconds: u64) -> Moment {
        Moment { wall: SystemTime::UNIX_EPOCH, steady: Duration::from_secs(seconds) }
    }

    fn key(id: &str, selector: Selector) -> Key {
        Key { id: SecretId::parse(id).expect("a good id"), selector }
    }

    fn entry(arn: &str, id: &str, labels: &[&str], selector: Selector) -> Arc<Entry> {
        let version = Version {
            arn: arn.into(),
            name: "app/db".into(),
            id: id.into(),
            labels: labels.iter().map(|label| (*label).into()).collect(),
            created: None,
            content: Content::Text(SecretValue::from(String::new())),
        };
        Arc::new(Entry::new(version, selector, Policy::default(), moment(0), 0, 0.5))
    }

    fn limits(entries_max: usize, listed: &[&str]) -> Limits {
        let listed: Vec<Key> = listed.iter().map(|id| key(id, Selector::current())).collect();
        Limits { entries_max, bytes_max: usize::MAX, listed: listed.iter().collect() }
    }

    /// Publishes the current version `id` of `arn`, asked for by `asked`.
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
    fn a_name_and_the_arn_that_answered_it_are_one_entry() {
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
    fn a_read_by_arn_never_changes_what_a_name_means() {
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
    fn a_secret_made_anew_under_its_name_takes_the_name_along() {
        let (old, new) = (format!("{HERE}app/db-AbC123"), format!("{HERE}app/db-XyZ789"));
        let limits = limits(10, &[]);
        let snapshot = publish(&Snapshot::default(), "app/db", &old, "old", &limits);
        let snapshot = publish(&snapshot, "app/db", &new, "new", &limits);
        check(&snapshot, "app/db", Some("new"));
        check(&snapshot, &new, Some("new"));
        check(&snapshot, &old, Some("old"));
        assert_eq!(snapshot.secret(&old).expect("the secret is cached").fetch_id.as_str(), old);
        assert_eq!(
            snapshot.secret(&new).expect("the secret is cached").fetch_id.as_str(),
            "app/db"
        );
    }

    #[test]
    fn what_an_entry_holds_is_answered_from_it() {
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
    fn the_entry_read_longest_ago_gives_way_but_a_listed_one_never() {
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

    /// An entry whose value has so many bytes.
    fn large(arn: &str, bytes: usize) -> Arc<Entry> {
        let entry = entry(arn, "v", &["AWSCURRENT"], Selector::current());
        let content = Content::Text(SecretValue::from("x".repeat(bytes)));
        let version = Version { content, ..entry.version.clone() };
        Arc::new(Entry::new(version, Selector::current(), Policy::default(), moment(0), 0, 0.5))
    }

    #[test]
    fn entries_are_bounded_in_bytes_with_what_was_rendered_of_them() {
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
        let third = snapshot.entry("third", &Selector::current()).expect("it is cached").clone();
        third.answer(Form::AwsApi, |_| SecretValue::from("y".repeat(251)));
        let (snapshot, evicted) = snapshot.trimmed(&limits);
        assert_eq!((evicted, snapshot.bytes()), (2, 501 + 250));
        check(&snapshot, "listed", Some("v"));
        check(&snapshot, "first", None);
        check(&snapshot, "second", None);
        check(&snapshot, "third", Some("v"));
        let (snapshot, evicted) =
            snapshot.publish(&key("huge", Selector::current()), large(&arn("huge"), 2000), &limits);
        assert_eq!((evicted, snapshot.bytes()), (2, 250), "listed ones never give way");
    }

    #[test]
    fn where_only_listed_ones_are_held_a_new_one_is_not_kept() {
        let arn = |name: &str| format!("{HERE}{name}-AbC123");
        let limits = limits(1, &["listed", "too"]);
        let mut snapshot = Snapshot::default();
        for (name, pushed_out) in [("listed", 0), ("too", 0), ("other", 1)] {
            let entry = entry(&arn(name), "v", &["AWSCURRENT"], Selector::current());
            let (next, evicted) = snapshot.publish(&key(name, Selector::current()), entry, &limits);
            assert_eq!(evicted, pushed_out, "{name}");
            snapshot = next;
        }
        check(&snapshot, "listed", Some("v"));
        check(&snapshot, "too", Some("v"));
        check(&snapshot, "other", None);
    }

    #[test]
    fn what_is_taken_out_leaves_the_other_versions_and_no_id_behind() {
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
    fn a_listed_version_outlives_all_others_of_its_secret() {
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
