//! The handle with which a test reads and changes secrets directly, without HTTP requests.

use super::error;
use super::plaintext::Plaintext;
use super::secret::CURRENT;
use super::store::Store;
use crate::changes::Changes;
use crate::clock::Now;
use crate::error::AwsError;
use crate::location::Location;
use crate::lock::lock;
use crate::random;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A handle with which a test reads and changes the secrets of a fake AWS server. All clones of
/// this handle change the same server.
///
/// In all methods, the argument `id` is a secret's name, full ARN or partial ARN. A name always
/// refers to a secret of account 123456789012 in region eu-north-1.
///
/// If a secret does not exist, the methods return the same error as AWS.
#[derive(Clone)]
pub struct Secrets {
    store: Arc<Mutex<Store>>,
    /// The replicas of secrets, by the AWS region of the replicas. In a call to such a region, the
    /// name of a secret refers to its replica.
    replicas: Arc<Mutex<BTreeMap<String, Arc<Mutex<Store>>>>>,
    now: Now,
}

impl Secrets {
    pub(crate) fn new(home: Location, now: Now) -> Self {
        Self { store: Arc::new(Mutex::new(Store::new(home))), replicas: Arc::default(), now }
    }

    /// Creates a secret with one version in the default account and region of the fake AWS server.
    /// Returns the ARN of the secret.
    pub fn create(&self, name: &str, value: impl Into<Plaintext>) -> Result<String, AwsError> {
        let home = self.store().home().clone();
        self.create_in(&home, name, value)
    }

    /// Creates a secret with one version in any account and region. Returns the ARN of the secret.
    ///
    /// If the secret is not in the default account and region, requests must contain this ARN
    /// instead of the name.
    pub fn create_in(
        &self,
        location: &Location,
        name: &str,
        value: impl Into<Plaintext>,
    ) -> Result<String, AwsError> {
        let now = (self.now)();
        let mut store = self.store();
        let secret = store.create(location, name, now)?;
        secret.put(&random::uuid(), value.into(), &[CURRENT.to_owned()], now)?;
        Ok(secret.arn.clone())
    }

    /// Replicates a secret of the default account and region to `region`, or brings its replica up
    /// to date. Returns the ARN of the replica.
    ///
    /// A replica has the same name, random characters, version ids, values, dates and staging
    /// labels as the secret. Later changes of the secret do not change the replica until the next
    /// call of this function, so a test decides how far the replica lags behind.
    pub fn replicate(&self, id: &str, region: &str) -> Result<String, AwsError> {
        let store = self.store();
        let secret = store.find(id)?;
        let mut replicas = lock(&self.replicas);
        let other = replicas.entry(region.to_owned()).or_insert_with(|| {
            let location = Location::new(&store.home().account, region);
            Arc::new(Mutex::new(Store::new(location)))
        });
        Ok(lock(other).replace_by_replica(secret))
    }

    /// Removes the replica of a secret from `region`. `id` is the name of the secret.
    pub fn remove_replica(&self, id: &str, region: &str) -> Result<(), AwsError> {
        lock(&self.store_of(Some(region))).remove(id).map(drop)
    }

    /// Adds a version to a secret and makes it the current version. Returns the version id.
    pub fn put(&self, id: &str, value: impl Into<Plaintext>) -> Result<String, AwsError> {
        self.put_with_labels(id, value, &[CURRENT])
    }

    /// Rotates a secret: adds a version with the same value, and makes this version the current
    /// version. Returns the version id.
    pub fn rotate(&self, id: &str) -> Result<String, AwsError> {
        let value = self.store().find(id)?.select(None, Some(CURRENT))?.plaintext.clone();
        self.put(id, value)
    }

    /// Adds a version with the staging labels `labels` (such as AWSPENDING) to a secret. Returns
    /// the version id.
    pub fn put_with_labels(
        &self,
        id: &str,
        value: impl Into<Plaintext>,
        labels: &[&str],
    ) -> Result<String, AwsError> {
        let labels: Vec<_> = labels.iter().map(|&label| label.to_owned()).collect();
        let version_id = random::uuid();
        self.store().find_mut(id)?.put(&version_id, value.into(), &labels, (self.now)())?;
        Ok(version_id)
    }

    /// Moves a staging label (such as AWSCURRENT) to the version `version_id`. The version that had
    /// the label before loses the label.
    pub fn move_label(&self, id: &str, label: &str, version_id: &str) -> Result<(), AwsError> {
        let mut store = self.store();
        let secret = store.find_mut(id)?;
        secret.version(version_id).ok_or_else(|| error::version_not_found(version_id))?;
        secret.attach(label, version_id);
        secret.changed = (self.now)();
        Ok(())
    }

    /// Schedules a secret for deletion after the duration `window`. Reads of the secret's value
    /// fail from now on, until a test [restores](Self::restore) the secret.
    pub fn mark_for_deletion(&self, id: &str, window: Duration) -> Result<(), AwsError> {
        self.store().find_mut(id)?.deletion = Some((self.now)() + window);
        Ok(())
    }

    /// Cancels the scheduled deletion of a secret.
    pub fn restore(&self, id: &str) -> Result<(), AwsError> {
        self.store().find_mut(id)?.deletion = None;
        Ok(())
    }

    /// Deletes a secret at once. A test cannot restore the secret afterwards.
    pub fn remove(&self, id: &str) -> Result<(), AwsError> {
        self.store().remove(id).map(drop)
    }

    /// Sets a tag of a secret. A tag with the same key is replaced.
    pub fn set_tag(&self, id: &str, key: &str, value: &str) -> Result<(), AwsError> {
        self.store().find_mut(id)?.tags.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Removes the tag `key` of a secret. Does nothing if the secret has no such tag.
    pub fn remove_tag(&self, id: &str, key: &str) -> Result<(), AwsError> {
        self.store().find_mut(id)?.tags.remove(key);
        Ok(())
    }

    /// Creates, updates and removes secrets, so that they equal a changed seed (a file of test
    /// secrets). Secrets that did not come from a seed stay. Returns the changes.
    pub(crate) fn apply(&self, seed: &BTreeMap<String, Plaintext>) -> Changes {
        let now = (self.now)();
        self.store().apply(seed, now)
    }

    /// Returns the full ARN of the secret `id`.
    pub fn arn(&self, id: &str) -> Result<String, AwsError> {
        Ok(self.store().find(id)?.arn.clone())
    }

    /// Returns the version id of the version that has the staging label `label`, such as
    /// AWSCURRENT.
    pub fn version_id(&self, id: &str, label: &str) -> Result<String, AwsError> {
        Ok(self.store().find(id)?.select(None, Some(label))?.id.clone())
    }

    /// Returns the names of all secrets in the default account and region of the fake AWS server,
    /// in alphabetical order.
    pub fn names(&self) -> Vec<String> {
        self.store().home_secrets().map(|secret| secret.name.clone()).collect()
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Returns the secrets that a call to `region` finds. Without replicas in `region`, a call
    /// finds the same secrets as a call to the default region.
    pub(crate) fn store_of(&self, region: Option<&str>) -> Arc<Mutex<Store>> {
        let replicas = lock(&self.replicas);
        let replica = region.and_then(|region| replicas.get(region));
        Arc::clone(replica.unwrap_or(&self.store))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("names", &self.names()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn secrets() -> Secrets {
        Secrets::new(Location::default(), Arc::new(|| SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn moving_the_current_label_moves_the_previous_label() {
        let secrets = secrets();
        let arn = secrets.create("db", "one").expect("the name must be new");
        let first =
            secrets.version_id("db", CURRENT).expect("the secret must have a current version");
        let second = secrets.put(&arn, "two").expect("adding a version to the secret must succeed");
        assert_eq!(secrets.version_id("db", CURRENT), Ok(second.clone()));
        assert_eq!(secrets.version_id("db", "AWSPREVIOUS"), Ok(first.clone()));

        secrets.move_label("db", CURRENT, &first).expect("the version must exist");
        assert_eq!(secrets.version_id("db", "AWSPREVIOUS"), Ok(second));
        let rejected = secrets.move_label("db", CURRENT, "none");
        assert_eq!(rejected, Err(error::version_not_found("none")));
    }

    #[test]
    fn rotation_keeps_the_value() {
        let secrets = secrets();
        secrets.create("db", "one").expect("the name must be new");
        let rotated = secrets.rotate("db").expect("the secret must exist");
        let store = secrets.store();
        let secret = store.find("db").expect("the secret must exist");
        let current = secret.select(None, None).expect("the secret must have a current version");
        assert_eq!((&current.id, &current.plaintext), (&rotated, &"one".into()));
    }

    #[test]
    fn clones_change_the_same_secrets() {
        let secrets = secrets();
        secrets.clone().create("db", "one").expect("the name must be new");
        assert_eq!(secrets.names(), ["db"]);
        secrets.remove("db").expect("the secret must exist");
        assert_eq!(secrets.arn("db"), Err(error::secret_not_found()));
    }

    #[test]
    fn replica_shares_versions_and_changes_only_when_replicated_again() {
        let secrets = secrets();
        let arn = secrets.create("db", "one").expect("the name must be new");
        let replica = secrets.replicate("db", "eu-west-1").expect("the secret must exist");
        assert_eq!(replica, arn.replace("eu-north-1", "eu-west-1"));
        let first = secrets.version_id("db", CURRENT).expect("the secret must have a version");
        let second = secrets.put("db", "two").expect("adding a version must succeed");
        let current = |region| {
            let store = secrets.store_of(Some(region));
            let store = lock(&store);
            let secret = store.find("db").expect("the secret must exist");
            secret.select(None, None).expect("the secret must have a version").id.clone()
        };
        assert_eq!((current("eu-west-1"), current("eu-north-1")), (first, second.clone()));
        assert_eq!(secrets.replicate("db", "eu-west-1"), Ok(replica));
        assert_eq!(current("eu-west-1"), second);
        secrets.remove_replica("db", "eu-west-1").expect("the replica must exist");
        let store = secrets.store_of(Some("eu-west-1"));
        assert!(
            lock(&store).find("db").is_err(),
            "a call to a region without the replica must not find the secret"
        );
    }

    #[test]
    fn debug_prints_names_only() {
        let secrets = secrets();
        secrets.create("db", "hunter2").expect("the name must be new");
        assert_eq!(format!("{secrets:?}"), r#"Secrets { names: ["db"], .. }"#);
    }
}
