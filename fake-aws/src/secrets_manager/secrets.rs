//! The handle with which a test changes secrets directly, without HTTP.

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

/// A handle that reads and changes the secrets of a fake. Clones change the same fake.
///
/// A parameter `id` is a name, a full ARN or a partial ARN, as in a request. Names refer to the home
/// account and region, which are 123456789012 and eu-north-1. Methods return AWS's error if the secret
/// does not exist.
#[derive(Clone)]
pub struct Secrets {
    store: Arc<Mutex<Store>>,
    now: Now,
}

impl Secrets {
    pub(crate) fn new(home: Location, now: Now) -> Self {
        Self { store: Arc::new(Mutex::new(Store::new(home))), now }
    }

    /// Creates a secret with one version in the home account and region. Returns the ARN.
    pub fn create(&self, name: &str, value: impl Into<Plaintext>) -> Result<String, AwsError> {
        let home = self.store().home().clone();
        self.create_in(&home, name, value)
    }

    /// Creates a secret with one version in any account and region. Returns the ARN. Requests find a
    /// secret outside the home location by its ARN only.
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

    /// Adds a current version to a secret. Returns the version id.
    pub fn put(&self, id: &str, value: impl Into<Plaintext>) -> Result<String, AwsError> {
        self.put_with_labels(id, value, &[CURRENT])
    }

    /// Adds a version with these staging labels to a secret. Returns the version id.
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

    /// Moves a staging label to the given version, from the version that has the label now.
    pub fn move_label(&self, id: &str, label: &str, version_id: &str) -> Result<(), AwsError> {
        let mut store = self.store();
        let secret = store.find_mut(id)?;
        secret.version(version_id).ok_or_else(|| error::version_not_found(version_id))?;
        secret.attach(label, version_id);
        secret.changed = (self.now)();
        Ok(())
    }

    /// Schedules a secret for deletion after `window`. Reads of the value fail from now on, but the
    /// secret can be [restored](Self::restore).
    pub fn mark_for_deletion(&self, id: &str, window: Duration) -> Result<(), AwsError> {
        self.store().find_mut(id)?.deletion = Some((self.now)() + window);
        Ok(())
    }

    /// Cancels the scheduled deletion of a secret.
    pub fn restore(&self, id: &str) -> Result<(), AwsError> {
        self.store().find_mut(id)?.deletion = None;
        Ok(())
    }

    /// Deletes a secret at once.
    pub fn remove(&self, id: &str) -> Result<(), AwsError> {
        self.store().remove(id).map(drop)
    }

    /// Makes all seeded secrets equal to `seed`: creates new secrets, adds a version to secrets with
    /// another value, and removes secrets that an earlier seed created and this seed does not contain.
    /// Secrets that were not seeded are not changed, except if the seed contains their name.
    pub fn apply(&self, seed: &Seed) -> Changes {
        let now = (self.now)();
        self.store().apply(seed, now)
    }

    /// Returns the full ARN of a secret.
    pub fn arn(&self, id: &str) -> Result<String, AwsError> {
        Ok(self.store().find(id)?.arn.clone())
    }

    /// Returns the id of the version that has this staging label.
    pub fn version_id(&self, id: &str, label: &str) -> Result<String, AwsError> {
        Ok(self.store().find(id)?.select(None, Some(label))?.id.clone())
    }

    /// Returns the names of all secrets in the home account and region, sorted.
    pub fn names(&self) -> Vec<String> {
        self.store().home_secrets().map(|secret| secret.name.clone()).collect()
    }

    /// Locks the store for one request.
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
