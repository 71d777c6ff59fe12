//! The handle with which a test changes secrets directly, without sending HTTP requests.

use super::error;
use super::plaintext::Plaintext;
use super::secret::CURRENT;
use super::seed::{Changes, Seed};
use super::store::Store;
use crate::clock::Now;
use crate::error::AwsError;
use crate::location::Location;
use crate::lock::lock;
use crate::random;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A handle with which a test reads and changes the secrets of a fake. All clones of a handle
/// change the same fake.
///
/// A parameter called `id` is a secret's name, full ARN or partial ARN, as in a request. A name
/// refers to a secret of the home account 123456789012 in region eu-north-1. If a secret does not
/// exist, the methods return the error that AWS returns.
#[derive(Clone)]
pub struct Secrets {
    store: Arc<Mutex<Store>>,
    now: Now,
}

impl Secrets {
    pub(crate) fn new(home: Location, now: Now) -> Self {
        Self { store: Arc::new(Mutex::new(Store::new(home))), now }
    }

    /// Creates a secret with one version in the home account and region of the fake. Returns the
    /// ARN of the secret.
    pub fn create(&self, name: &str, value: impl Into<Plaintext>) -> Result<String, AwsError> {
        let home = self.store().home().clone();
        self.create_in(&home, name, value)
    }

    /// Creates a secret with one version in any account and region. Returns the ARN of the secret.
    /// A request finds a secret outside the home account and region only by ARN.
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

    /// Adds a version to a secret and makes this version the current version. Returns the version
    /// id.
    pub fn put(&self, id: &str, value: impl Into<Plaintext>) -> Result<String, AwsError> {
        self.put_with_labels(id, value, &[CURRENT])
    }

    /// Adds a version with the staging labels `labels` to a secret. Returns the version id.
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

    /// Moves a staging label to the version `version_id`, away from the version that has the label
    /// now.
    pub fn move_label(&self, id: &str, label: &str, version_id: &str) -> Result<(), AwsError> {
        let mut store = self.store();
        let secret = store.find_mut(id)?;
        secret.version(version_id).ok_or_else(|| error::version_not_found(version_id))?;
        secret.attach(label, version_id);
        secret.changed = (self.now)();
        Ok(())
    }

    /// Schedules the deletion of a secret after the time `window`. From now on, reads of the
    /// secret's value fail, but the test can still [restore](Self::restore) the secret.
    pub fn mark_for_deletion(&self, id: &str, window: Duration) -> Result<(), AwsError> {
        self.store().find_mut(id)?.deletion = Some((self.now)() + window);
        Ok(())
    }

    /// Cancels the scheduled deletion of a secret.
    pub fn restore(&self, id: &str) -> Result<(), AwsError> {
        self.store().find_mut(id)?.deletion = None;
        Ok(())
    }

    /// Deletes a secret at once, without the possibility to restore it.
    pub fn remove(&self, id: &str) -> Result<(), AwsError> {
        self.store().remove(id).map(drop)
    }

    /// Applies a seed: creates the secrets that are missing, adds a version to each secret whose
    /// value differs from the seed, and removes the secrets that only an earlier seed contained.
    /// Secrets that no seed contained are not changed.
    pub fn apply(&self, seed: &Seed) -> Changes {
        let now = (self.now)();
        self.store().apply(seed, now)
    }

    /// Returns the full ARN of the secret `id`.
    pub fn arn(&self, id: &str) -> Result<String, AwsError> {
        Ok(self.store().find(id)?.arn.clone())
    }

    /// Returns the id of the secret's version that has the staging label `label`.
    pub fn version_id(&self, id: &str, label: &str) -> Result<String, AwsError> {
        Ok(self.store().find(id)?.select(None, Some(label))?.id.clone())
    }

    /// Returns the names of all secrets in the home account and region, in alphabetical order.
    pub fn names(&self) -> Vec<String> {
        self.store().home_secrets().map(|secret| secret.name.clone()).collect()
    }

    /// Locks the store of secrets while one request is executed.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
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
        let arn = secrets.create("db", "one").expect("a new name");
        let first = secrets.version_id("db", CURRENT).expect("a version");
        let second = secrets.put(&arn, "two").expect("a version");
        assert_eq!(secrets.version_id("db", CURRENT), Ok(second.clone()));
        assert_eq!(secrets.version_id("db", "AWSPREVIOUS"), Ok(first.clone()));

        secrets.move_label("db", CURRENT, &first).expect("an existing version");
        assert_eq!(secrets.version_id("db", "AWSPREVIOUS"), Ok(second));
        let rejected = secrets.move_label("db", CURRENT, "none");
        assert_eq!(rejected, Err(error::version_not_found("none")));
    }

    #[test]
    fn clones_change_the_same_secrets() {
        let secrets = secrets();
        secrets.clone().create("db", "one").expect("a new name");
        assert_eq!(secrets.names(), ["db"]);
        secrets.remove("db").expect("a secret");
        assert_eq!(secrets.arn("db"), Err(error::secret_not_found()));
    }

    #[test]
    fn debug_prints_names_only() {
        let secrets = secrets();
        secrets.create("db", "hunter2").expect("a new name");
        assert_eq!(format!("{secrets:?}"), r#"Secrets { names: ["db"], .. }"#);
    }
}
