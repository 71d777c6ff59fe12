//! The hands of whoever holds the double: changes its secrets without asking over HTTP.

use super::address::Place;
use super::draw;
use super::error::AwsError;
use super::plaintext::Plaintext;
use super::secret::CURRENT;
use super::seed::{Changes, Seed};
use super::store::Store;
use super::{Now, lock};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A handle on the double's secrets. Clones reach the same ones.
///
/// Secrets are named as in a request: by name, ARN or partial ARN.
#[derive(Clone)]
pub struct Secrets {
    store: Arc<Mutex<Store>>,
    now: Now,
}

impl Secrets {
    pub(super) fn new(home: Place, now: Now) -> Self {
        Self { store: Arc::new(Mutex::new(Store::new(home))), now }
    }

    /// Makes a secret with one version. Returns its ARN.
    pub fn create(&self, name: &str, value: impl Into<Plaintext>) -> Result<String, AwsError> {
        let home = self.store().home().clone();
        self.create_at(&home, name, value)
    }

    /// Makes a secret of another account or region, which only its ARN reaches. Returns that.
    pub fn create_at(
        &self,
        place: &Place,
        name: &str,
        value: impl Into<Plaintext>,
    ) -> Result<String, AwsError> {
        let now = (self.now)();
        let mut store = self.store();
        let secret = store.create(place, name, now)?;
        secret.put(&draw::uuid(), value.into(), &[CURRENT.to_owned()], now)?;
        Ok(secret.arn.clone())
    }

    /// Gives a secret a new current version. Returns the version's id.
    pub fn put(&self, id: &str, value: impl Into<Plaintext>) -> Result<String, AwsError> {
        self.put_staged(id, value, &[CURRENT])
    }

    /// Gives a secret a new version that carries these labels. Returns the version's id.
    pub fn put_staged(
        &self,
        id: &str,
        value: impl Into<Plaintext>,
        stages: &[&str],
    ) -> Result<String, AwsError> {
        let stages: Vec<_> = stages.iter().map(|&stage| stage.to_owned()).collect();
        let version_id = draw::uuid();
        self.store().find_mut(id)?.put(&version_id, value.into(), &stages, (self.now)())?;
        Ok(version_id)
    }

    /// Moves a label to a version, whatever carried it before.
    pub fn move_stage(&self, id: &str, stage: &str, version_id: &str) -> Result<(), AwsError> {
        let mut store = self.store();
        let secret = store.find_mut(id)?;
        secret.version(version_id).ok_or_else(|| AwsError::no_version(version_id))?;
        secret.attach(stage, version_id);
        secret.changed = (self.now)();
        Ok(())
    }

    /// Marks a secret for deletion: it stays, but its value is not handed out.
    pub fn mark_for_deletion(&self, id: &str, window: Duration) -> Result<(), AwsError> {
        self.store().find_mut(id)?.deletion = Some((self.now)() + window);
        Ok(())
    }

    /// Takes a secret's mark for deletion away.
    pub fn restore(&self, id: &str) -> Result<(), AwsError> {
        self.store().find_mut(id)?.deletion = None;
        Ok(())
    }

    /// Takes a secret away at once.
    pub fn remove(&self, id: &str) -> Result<(), AwsError> {
        self.store().remove(id).map(drop)
    }

    /// Makes the secrets that were seeded equal to `seed`: new ones are made, a secret whose value
    /// differs gets a new current version, those that the seed no longer has are taken away.
    /// Secrets that came in another way are left alone.
    pub fn apply(&self, seed: &Seed) -> Changes {
        let now = (self.now)();
        self.store().apply(seed, now)
    }

    /// Returns a secret's ARN.
    pub fn arn(&self, id: &str) -> Result<String, AwsError> {
        Ok(self.store().find(id)?.arn.clone())
    }

    /// Returns the id of the version that carries a label.
    pub fn version_at(&self, id: &str, stage: &str) -> Result<String, AwsError> {
        Ok(self.store().find(id)?.select(None, Some(stage))?.id.clone())
    }

    /// Returns the names of the secrets of the double's own account and region, sorted.
    pub fn names(&self) -> Vec<String> {
        self.store().at_home().map(|secret| secret.name.clone()).collect()
    }

    /// Locks the secrets, for one request.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
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
        Secrets::new(Place::default(), Arc::new(|| SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn labels_move_by_hand() {
        let secrets = secrets();
        let arn = secrets.create("db", "one").expect("a new name");
        let first = secrets.version_at("db", CURRENT).expect("a version");
        let second = secrets.put(&arn, "two").expect("a version");
        assert_eq!(secrets.version_at("db", CURRENT), Ok(second.clone()));
        assert_eq!(secrets.version_at("db", "AWSPREVIOUS"), Ok(first.clone()));

        secrets.move_stage("db", CURRENT, &first).expect("a move back");
        assert_eq!(secrets.version_at("db", "AWSPREVIOUS"), Ok(second));
        assert_eq!(secrets.move_stage("db", CURRENT, "none"), Err(AwsError::no_version("none")));
    }

    #[test]
    fn clones_reach_the_same_secrets() {
        let secrets = secrets();
        secrets.clone().create("db", "one").expect("a new name");
        assert_eq!(secrets.names(), ["db"]);
        secrets.remove("db").expect("a secret");
        assert_eq!(secrets.arn("db"), Err(AwsError::no_secret()));
    }

    #[test]
    fn debug_shows_names_alone() {
        let secrets = secrets();
        secrets.create("db", "hunter2").expect("a new name");
        assert_eq!(format!("{secrets:?}"), r#"Secrets { names: ["db"], .. }"#);
    }
}
