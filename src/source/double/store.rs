//! All secrets, and how one is found.
//!
//! Pure: the time comes in as an argument.

use super::address::{Address, Place, SUFFIX_LEN, check_name, without_suffix};
use super::draw;
use super::error::AwsError;
use super::plaintext::Plaintext;
use super::secret::{CURRENT, Secret};
use super::seed::{Changes, Seed};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The secrets of one account and region, and of others that are reached by ARN alone.
#[derive(Debug)]
pub(super) struct Store {
    home: Place,
    secrets: BTreeMap<(Place, String), Secret>,
}

impl Store {
    /// Makes an empty store whose names are those of `home`.
    pub(super) fn new(home: Place) -> Self {
        Self { home, secrets: BTreeMap::new() }
    }

    /// Returns the account and the region whose secrets a name finds.
    pub(super) fn home(&self) -> &Place {
        &self.home
    }

    /// Returns the secrets at home by name.
    pub(super) fn at_home(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().filter(|((place, _), _)| *place == self.home).map(|(_, secret)| secret)
    }

    /// Finds the secret that a `SecretId` names.
    pub(super) fn find(&self, id: &str) -> Result<&Secret, AwsError> {
        let key = self.key(id)?;
        self.secrets.get(&key).ok_or_else(AwsError::no_secret)
    }

    /// Finds the secret that a `SecretId` names, to change it.
    pub(super) fn find_mut(&mut self, id: &str) -> Result<&mut Secret, AwsError> {
        let key = self.key(id)?;
        self.secrets.get_mut(&key).ok_or_else(AwsError::no_secret)
    }

    /// Makes a secret without a version.
    pub(super) fn create(
        &mut self,
        place: &Place,
        name: &str,
        now: SystemTime,
    ) -> Result<&mut Secret, AwsError> {
        check_name(name)?;
        let key = (place.clone(), name.to_owned());
        if let Some(secret) = self.secrets.get(&key) {
            return Err(match secret.deletion {
                Some(_) => AwsError::request(
                    "You can't create this secret because a secret with this name is already \
                     scheduled for deletion.",
                ),
                None => AwsError::new(
                    "ResourceExistsException",
                    format!("The operation failed because the secret {name} already exists."),
                ),
            });
        }
        let arn = place.arn(name, &draw::alphanumerics(SUFFIX_LEN));
        Ok(self.secrets.entry(key).or_insert_with(|| Secret::new(name, arn, now)))
    }

    /// Takes a secret away at once. One made later under the same name gets another ARN.
    pub(super) fn remove(&mut self, id: &str) -> Result<Secret, AwsError> {
        let key = self.key(id)?;
        self.secrets.remove(&key).ok_or_else(AwsError::no_secret)
    }

    /// Returns every way to name the secret that `id` names: `id` itself, its name and its ARN.
    pub(super) fn aliases(&self, id: &str) -> Vec<String> {
        let mut aliases = vec![id.to_owned()];
        if let Ok(secret) = self.find(id) {
            aliases.extend([secret.name.clone(), secret.arn.clone()]);
        }
        aliases
    }

    /// Makes the secrets that were seeded equal to `seed`. Secrets that came in another way stay
    /// unless the seed names them.
    pub(super) fn apply(&mut self, seed: &Seed, now: SystemTime) -> Changes {
        let mut changes = Changes::default();
        let home = self.home.clone();
        for (name, plaintext) in seed.iter() {
            if self.find(name).is_err() {
                let made = self.create(&home, name, now).expect("a seed's names are valid");
                fill(made, plaintext, now);
                changes.created.push(name.to_owned());
                continue;
            }
            let secret = self.find_mut(name).expect("the secret was found above");
            let same = secret.deletion.is_none()
                && secret.at(CURRENT).is_some_and(|version| version.plaintext == *plaintext);
            if same {
                secret.seeded = true;
                changes.unchanged.push(name.to_owned());
            } else {
                fill(secret, plaintext, now);
                changes.updated.push(name.to_owned());
            }
        }
        self.secrets.retain(|(place, name), secret| {
            let gone = secret.seeded && *place == home && !seed.names(name);
            if gone {
                changes.removed.push(name.clone());
            }
            !gone
        });
        changes
    }

    /// Returns where the secret that `id` names would be kept.
    ///
    /// A full ARN is found only under the suffix that the secret has, so an old ARN does not reach
    /// a secret that was deleted and made again.
    fn key(&self, id: &str) -> Result<(Place, String), AwsError> {
        let (place, resource) = match Address::parse(id)? {
            Address::Name(name) => return Ok((self.home.clone(), name.to_owned())),
            Address::Arn { place, resource } => (place, resource),
        };
        if let Some(name) = without_suffix(resource) {
            let key = (place.clone(), name.to_owned());
            if self.secrets.get(&key).is_some_and(|secret| secret.arn == id) {
                return Ok(key);
            }
        }
        Ok((place, resource.to_owned()))
    }
}

/// Gives a secret the plaintext that its seed has.
fn fill(secret: &mut Secret, plaintext: &Plaintext, now: SystemTime) {
    secret.seeded = true;
    secret.deletion = None;
    secret
        .put(&draw::uuid(), plaintext.clone(), &[CURRENT.to_owned()], now)
        .expect("a version id that was just drawn is not in use");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::double::seed::Format;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// Makes a store that holds `db` at home and, with another value, elsewhere.
    fn store() -> (Store, String, String) {
        let mut store = Store::new(Place::default());
        let elsewhere = Place::new("999988887777", "us-east-1");
        let here = store.create(&Place::default(), "db", NOW).expect("a new name").arn.clone();
        let there = store.create(&elsewhere, "db", NOW).expect("a new name").arn.clone();
        (store, here, there)
    }

    fn seed(json: &str) -> Seed {
        Seed::parse(Format::Json, json).expect("a valid seed")
    }

    #[test]
    fn a_secret_is_found_by_name_full_arn_and_partial_arn() {
        let (store, here, there) = store();
        let partial = |arn: &str| arn[..arn.len() - SUFFIX_LEN - 1].to_owned();
        for (id, arn) in [
            ("db", &here),
            (here.as_str(), &here),
            (partial(&here).as_str(), &here),
            (there.as_str(), &there),
            (partial(&there).as_str(), &there),
        ] {
            assert_eq!(&store.find(id).expect("a secret").arn, arn, "{id}");
        }
    }

    #[test]
    fn a_name_never_reaches_another_account() {
        let (mut store, here, _) = store();
        store.remove(&here).expect("a secret");
        assert_eq!(store.find("db").expect_err("nothing at home"), AwsError::no_secret());
    }

    #[test]
    fn an_old_arn_does_not_reach_a_new_secret() {
        let (mut store, here, _) = store();
        store.remove("db").expect("a secret");
        store.create(&Place::default(), "db", NOW).expect("a new name");
        assert_eq!(store.find(&here).expect_err("another suffix"), AwsError::no_secret());
    }

    #[test]
    fn a_name_that_ends_like_a_suffix_is_reached_by_its_partial_arn() {
        let mut store = Store::new(Place::default());
        store.create(&Place::default(), "db-secret", NOW).expect("a new name");
        let partial = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:db-secret";
        assert_eq!(store.find(partial).expect("a secret").name, "db-secret");
    }

    #[test]
    fn a_name_is_taken_once() {
        let (mut store, ..) = store();
        let again = store.create(&Place::default(), "db", NOW).expect_err("taken");
        assert_eq!(again.kind, "ResourceExistsException");
    }

    #[test]
    fn applying_a_seed_makes_changes_and_says_which() {
        let mut store = Store::new(Place::default());
        let first = store.apply(&seed(r#"{"a": "1", "b": "1", "c": "1"}"#), NOW);
        assert_eq!(first.created, ["a", "b", "c"]);

        let second = store.apply(&seed(r#"{"a": "1", "b": "2", "d": "1"}"#), NOW);
        assert_eq!(second.unchanged, ["a"]);
        assert_eq!(second.updated, ["b"]);
        assert_eq!(second.removed, ["c"]);
        assert_eq!(second.created, ["d"]);
        let stages: Vec<_> =
            store.find("b").expect("b").labelled().flat_map(|it| it.stages.clone()).collect();
        assert_eq!(stages, ["AWSPREVIOUS", "AWSCURRENT"]);
    }

    #[test]
    fn applying_a_seed_leaves_secrets_of_other_origin() {
        let (mut store, ..) = store();
        let changes = store.apply(&seed(r#"{"a": "1"}"#), NOW);
        assert!(changes.removed.is_empty());
        assert!(store.find("db").is_ok());
    }

    #[test]
    fn a_seed_brings_back_what_was_marked_for_deletion() {
        let mut store = Store::new(Place::default());
        store.apply(&seed(r#"{"a": "1"}"#), NOW);
        store.find_mut("a").expect("a").deletion = Some(NOW);
        assert_eq!(store.apply(&seed(r#"{"a": "1"}"#), NOW).updated, ["a"]);
        assert_eq!(store.find("a").expect("a").deletion, None);
    }

    #[test]
    fn aliases_are_all_ways_to_name_a_secret() {
        let (store, here, _) = store();
        assert_eq!(store.aliases(&here), [here.clone(), "db".to_owned(), here.clone()]);
        assert_eq!(store.aliases("absent"), ["absent"]);
    }
}
