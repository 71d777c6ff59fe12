//! All secrets of a fake AWS server, and the lookup of a secret by name, full ARN or partial ARN.
//! Callers pass the current time as an argument.

use super::error;
use super::plaintext::Plaintext;
use super::secret::{CURRENT, Secret};
use super::secret_id::{SUFFIX_LEN, SecretId, arn, check_name, without_suffix};
use crate::changes::Changes;
use crate::error::AwsError;
use crate::location::Location;
use crate::random;
use crate::resource::Resource;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// All secrets of a fake AWS server. Requests can use a secret's name only if the secret is in the
/// server's default account and region. All other secrets need the ARN.
#[derive(Debug)]
pub(crate) struct Store {
    home: Location,
    secrets: BTreeMap<(Location, String), Secret>,
}

impl Store {
    pub(crate) fn new(home: Location) -> Self {
        Self { home, secrets: BTreeMap::new() }
    }

    /// Returns the default account and region of the fake AWS server. If a request contains a
    /// secret's name instead of its ARN, the server looks for the secret only there.
    pub(crate) fn home(&self) -> &Location {
        &self.home
    }

    /// Runs `work` with `home` as the default account and region. `home` contains the account to
    /// which the caller's credentials belong.
    pub(crate) fn seen_from<R>(&mut self, home: Location, work: impl FnOnce(&mut Self) -> R) -> R {
        let own = std::mem::replace(&mut self.home, home);
        let result = work(self);
        self.home = own;
        result
    }

    /// Returns the secrets in the default account and region of the fake AWS server, sorted by
    /// name.
    pub(crate) fn home_secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secrets
            .iter()
            .filter(|((location, _), _)| *location == self.home)
            .map(|(_, secret)| secret)
    }

    pub(crate) fn find(&self, id: &str) -> Result<&Secret, AwsError> {
        let key = self.key(id)?;
        self.secrets.get(&key).ok_or_else(error::secret_not_found)
    }

    pub(crate) fn find_mut(&mut self, id: &str) -> Result<&mut Secret, AwsError> {
        let key = self.key(id)?;
        self.secrets.get_mut(&key).ok_or_else(error::secret_not_found)
    }

    pub(crate) fn create(
        &mut self,
        location: &Location,
        name: &str,
        now: SystemTime,
    ) -> Result<&mut Secret, AwsError> {
        check_name(name)?;
        let key = (location.clone(), name.to_owned());
        if let Some(secret) = self.secrets.get(&key) {
            return Err(match secret.deletion {
                Some(_) => AwsError::invalid_request(
                    "You can't create this secret because a secret with this name is already \
                     scheduled for deletion.",
                ),
                None => AwsError::new(
                    "ResourceExistsException",
                    format!("The operation failed because the secret {name} already exists."),
                ),
            });
        }
        let arn = arn(location, name, &random::alphanumerics(SUFFIX_LEN));
        Ok(self.secrets.entry(key).or_insert_with(|| Secret::new(name, arn, now)))
    }

    /// Stores a replica of `secret`, a secret of another region. Replaces an earlier replica of the
    /// secret. Returns the ARN of the replica.
    pub(crate) fn replace_by_replica(&mut self, secret: &Secret) -> String {
        let suffix = secret.arn.rsplit('-').next().unwrap_or_default();
        let arn = arn(&self.home, &secret.name, suffix);
        let key = (self.home.clone(), secret.name.clone());
        self.secrets.insert(key, secret.with_arn(arn.clone()));
        arn
    }

    /// Removes a secret at once. A later secret with the same name gets a different ARN.
    pub(crate) fn remove(&mut self, id: &str) -> Result<Secret, AwsError> {
        let key = self.key(id)?;
        self.secrets.remove(&key).ok_or_else(error::secret_not_found)
    }

    /// Returns `id`, and the name and the full ARN of the same secret. A test can use any of these
    /// strings to deny access to the secret or to inject a fault.
    ///
    /// If the secret does not exist, returns only `id`.
    pub(crate) fn aliases(&self, id: &str) -> Vec<Resource> {
        let mut aliases = vec![Resource::secret(id)];
        if let Ok(secret) = self.find(id) {
            aliases.extend([&secret.name, &secret.arn].map(|alias| Resource::secret(alias)));
        }
        aliases
    }

    /// Applies a seed (names and values of secrets). Creates the missing secrets, and updates the
    /// secrets whose values differ from the seed.
    ///
    /// Removes the secrets that an earlier seed contained and this seed does not contain. Does not
    /// change secrets that no seed contained.
    pub(crate) fn apply(&mut self, seed: &BTreeMap<String, Plaintext>, now: SystemTime) -> Changes {
        let mut changes = Changes::default();
        let home = self.home.clone();
        for (name, plaintext) in seed {
            if self.find(name).is_err() {
                let created = self
                    .create(&home, name, now)
                    .expect("all names in a seed (a file of test secrets) must be valid");
                fill(created, plaintext, now);
                changes.created.push(name.to_owned());
                continue;
            }
            let secret =
                self.find_mut(name).expect("the secret must exist, because it was found above");
            let is_equal = secret.deletion.is_none()
                && secret
                    .version_with_label(CURRENT)
                    .is_some_and(|version| version.plaintext == *plaintext);
            if is_equal {
                secret.is_seeded = true;
                changes.unchanged.push(name.to_owned());
            } else {
                fill(secret, plaintext, now);
                changes.updated.push(name.to_owned());
            }
        }
        self.secrets.retain(|(location, name), secret| {
            let is_obsolete = secret.is_seeded && *location == home && !seed.contains_key(name);
            if is_obsolete {
                changes.removed.push(name.clone());
            }
            !is_obsolete
        });
        changes
    }

    /// Returns the account, region and name of the secret `id`. `id` is a name, a full ARN or a
    /// partial ARN. The store uses account, region and name as the key of the secret.
    ///
    /// A full ARN matches a secret only if the random characters at the end are equal. The ARN of a
    /// deleted secret therefore does not match a newer secret with the same name.
    fn key(&self, id: &str) -> Result<(Location, String), AwsError> {
        let (location, resource) = match SecretId::parse(id)? {
            SecretId::Name(name) => return Ok((self.home.clone(), name.to_owned())),
            SecretId::Arn { location, resource } => (location, resource),
        };
        if let Some(name) = without_suffix(resource) {
            let key = (location.clone(), name.to_owned());
            if self.secrets.get(&key).is_some_and(|secret| secret.arn == id) {
                return Ok(key);
            }
        }
        Ok((location, resource.to_owned()))
    }
}

/// Adds a new current version with a value from a seed (a file of test secrets) to a secret.
/// Cancels a scheduled deletion of the secret.
fn fill(secret: &mut Secret, plaintext: &Plaintext, now: SystemTime) {
    secret.is_seeded = true;
    secret.deletion = None;
    secret
        .put(&random::uuid(), plaintext.clone(), &[CURRENT.to_owned()], now)
        .expect("a new random version id must not be in use yet");
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// Creates a store with two secrets called `db`, in two different accounts. Returns the store
    /// and the ARNs of the two secrets.
    fn store() -> (Store, String, String) {
        let mut store = Store::new(Location::default());
        let other = Location::new("999988887777", "us-east-1");
        let home_arn = store
            .create(&Location::default(), "db", NOW)
            .expect("the name must be new")
            .arn
            .clone();
        let other_arn = store.create(&other, "db", NOW).expect("the name must be new").arn.clone();
        (store, home_arn, other_arn)
    }

    fn seed(json: &str) -> BTreeMap<String, Plaintext> {
        let texts: BTreeMap<String, String> =
            serde_json::from_str(json).expect("the seed must be valid");
        texts.into_iter().map(|(name, text)| (name, text.into())).collect()
    }

    #[test]
    fn secret_is_found_by_name_full_arn_and_partial_arn() {
        let (store, home_arn, other_arn) = store();
        let partial = |arn: &str| arn[..arn.len() - SUFFIX_LEN - 1].to_owned();
        for (id, arn) in [
            ("db", &home_arn),
            (home_arn.as_str(), &home_arn),
            (partial(&home_arn).as_str(), &home_arn),
            (other_arn.as_str(), &other_arn),
            (partial(&other_arn).as_str(), &other_arn),
        ] {
            assert_eq!(&store.find(id).expect("the secret must exist").arn, arn, "{id}");
        }
    }

    #[test]
    fn name_does_not_find_a_secret_of_another_account() {
        let (mut store, home_arn, _) = store();
        store.remove(&home_arn).expect("the secret must exist");
        assert_eq!(
            store.find("db").expect_err("the default account must not contain the secret"),
            error::secret_not_found()
        );
    }

    #[test]
    fn arn_of_deleted_secret_does_not_find_a_new_secret() {
        let (mut store, home_arn, _) = store();
        store.remove("db").expect("the secret must exist");
        store.create(&Location::default(), "db", NOW).expect("the name must be new");
        assert_eq!(
            store
                .find(&home_arn)
                .expect_err("the ARN of the removed secret must not match the new secret"),
            error::secret_not_found()
        );
    }

    #[test]
    fn partial_arn_finds_a_name_that_ends_like_a_suffix() {
        let mut store = Store::new(Location::default());
        store.create(&Location::default(), "db-secret", NOW).expect("the name must be new");
        let partial = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:db-secret";
        assert_eq!(store.find(partial).expect("the secret must exist").name, "db-secret");
    }

    #[test]
    fn second_secret_with_the_same_name_is_rejected() {
        let (mut store, ..) = store();
        let again = store
            .create(&Location::default(), "db", NOW)
            .expect_err("creating a second secret with the same name must fail");
        assert_eq!(again.kind, "ResourceExistsException");
    }

    #[test]
    fn applying_a_seed_reports_the_changes() {
        let mut store = Store::new(Location::default());
        let first = store.apply(&seed(r#"{"a": "1", "b": "1", "c": "1"}"#), NOW);
        assert_eq!(first.created, ["a", "b", "c"]);

        let second = store.apply(&seed(r#"{"a": "1", "b": "2", "d": "1"}"#), NOW);
        assert_eq!(second.unchanged, ["a"]);
        assert_eq!(second.updated, ["b"]);
        assert_eq!(second.removed, ["c"]);
        assert_eq!(second.created, ["d"]);
        let labels: Vec<_> = store
            .find("b")
            .expect("the secret `b` must exist")
            .labelled_versions()
            .flat_map(|it| it.labels.clone())
            .collect();
        assert_eq!(labels, ["AWSPREVIOUS", "AWSCURRENT"]);
    }

    #[test]
    fn applying_a_seed_keeps_secrets_that_were_not_seeded() {
        let (mut store, ..) = store();
        let changes = store.apply(&seed(r#"{"a": "1"}"#), NOW);
        assert!(changes.removed.is_empty());
        assert!(store.find("db").is_ok());
    }

    #[test]
    fn applying_a_seed_cancels_a_scheduled_deletion() {
        let mut store = Store::new(Location::default());
        store.apply(&seed(r#"{"a": "1"}"#), NOW);
        store.find_mut("a").expect("the secret `a` must exist").deletion = Some(NOW);
        assert_eq!(store.apply(&seed(r#"{"a": "1"}"#), NOW).updated, ["a"]);
        assert_eq!(store.find("a").expect("the secret `a` must exist").deletion, None);
    }

    #[test]
    fn aliases_are_the_given_id_the_name_and_the_arn() {
        let (store, home_arn, _) = store();
        let expected = [home_arn.as_str(), "db", home_arn.as_str()].map(Resource::secret);
        assert_eq!(store.aliases(&home_arn), expected);
        assert_eq!(store.aliases("absent"), [Resource::secret("absent")]);
    }
}
