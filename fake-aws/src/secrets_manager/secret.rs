//! One secret: its versions, and the staging labels of the versions. Callers pass times and random
//! ids as arguments.

use super::error;
use super::plaintext::Plaintext;
use crate::error::AwsError;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The staging label of the current version of a secret. A read without a staging label and without
/// a version id returns this version.
pub(crate) const CURRENT: &str = "AWSCURRENT";
/// The staging label of the version that was current directly before the current version.
pub(crate) const PREVIOUS: &str = "AWSPREVIOUS";

/// The maximum number of versions of a secret. Above this number, the fake AWS server removes the
/// oldest version that has no staging label.
///
/// Source: quotas of Secrets Manager, "Versions per secret".
const VERSIONS_MAX: usize = 100;

#[derive(Clone, Debug)]
pub(crate) struct Secret {
    /// The full ARN of the secret, including the hyphen and the six random characters that AWS adds
    /// after the name.
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// The values of the secret's tags, by tag key.
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created: SystemTime,
    /// The time when a version, a staging label or the description of the secret last changed.
    pub(crate) changed: SystemTime,
    /// The time at which the secret will be deleted, or `None` if no deletion is scheduled.
    pub(crate) deletion: Option<SystemTime>,
    /// Whether the secret comes from a seed (a file of test secrets). If a later seed does not
    /// contain the secret, applying that seed removes the secret.
    pub(crate) is_seeded: bool,
    versions: Vec<Version>,
}

#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) plaintext: Plaintext,
    pub(crate) created: SystemTime,
    pub(crate) labels: Vec<String>,
}

impl Version {
    fn has_label(&self, label: &str) -> bool {
        self.labels.iter().any(|it| it == label)
    }
}

impl Secret {
    /// Creates a secret that has no version yet. A `CreateSecret` request without a value creates
    /// such a secret.
    pub(crate) fn new(name: &str, arn: String, now: SystemTime) -> Self {
        Self {
            arn,
            name: name.to_owned(),
            description: None,
            tags: BTreeMap::new(),
            created: now,
            changed: now,
            deletion: None,
            is_seeded: false,
            versions: Vec::new(),
        }
    }

    /// Returns a copy of this secret with another ARN, for a replica in another region.
    pub(crate) fn with_arn(&self, arn: String) -> Self {
        Self { arn, ..self.clone() }
    }

    /// Returns the versions that have a staging label, oldest first. AWS lists only versions with a
    /// staging label.
    pub(crate) fn labelled_versions(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(|version| !version.labels.is_empty())
    }

    pub(crate) fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    pub(crate) fn version_with_label(&self, label: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.has_label(label))
    }

    /// Returns the version that a request selects by version id, by staging label or by both. A
    /// request that contains neither selects the current version.
    pub(crate) fn select(
        &self,
        id: Option<&str>,
        label: Option<&str>,
    ) -> Result<&Version, AwsError> {
        let Some(id) = id else {
            let label = label.unwrap_or(CURRENT);
            return self.version_with_label(label).ok_or_else(|| error::label_not_found(label));
        };
        let version = self.version(id).ok_or_else(|| error::version_not_found(id))?;
        if label.is_some_and(|label| !version.has_label(label)) {
            return Err(AwsError::invalid_request(
                "You provided a VersionStage that is not associated to the provided VersionId.",
            ));
        }
        Ok(version)
    }

    /// Adds a version with the staging labels `labels`. The first version of a secret also gets the
    /// label AWSCURRENT.
    ///
    /// Does nothing if a version with the same id and the same value exists. Returns an error if a
    /// version with the same id and another value exists.
    pub(crate) fn put(
        &mut self,
        id: &str,
        plaintext: Plaintext,
        labels: &[String],
        now: SystemTime,
    ) -> Result<(), AwsError> {
        if let Some(version) = self.version(id) {
            if version.plaintext == plaintext {
                return Ok(());
            }
            return Err(AwsError::new(
                "ResourceExistsException",
                format!(
                    "You can't use ClientRequestToken {id} because that value is already in use \
                     for a version of secret {}.",
                    self.arn
                ),
            ));
        }
        let is_first = self.versions.is_empty();
        self.versions.push(Version {
            id: id.to_owned(),
            plaintext,
            created: now,
            labels: Vec::new(),
        });
        if is_first {
            self.attach(CURRENT, id);
        }
        for label in labels {
            self.attach(label, id);
        }
        self.changed = now;
        self.remove_oldest_versions();
        Ok(())
    }

    /// Moves a staging label from the version `from` to the version `to`. If `to` is `None`,
    /// removes the label from `from`.
    ///
    /// Returns an error if the request violates the rules of `UpdateSecretVersionStage`.
    pub(crate) fn move_label(
        &mut self,
        label: &str,
        to: Option<&str>,
        from: Option<&str>,
        now: SystemTime,
    ) -> Result<(), AwsError> {
        for id in to.iter().chain(from.iter()) {
            self.version(id).ok_or_else(|| error::version_not_found(id))?;
        }
        let current_id = self.version_with_label(label).map(|version| version.id.as_str());
        if let Some(from) = from
            && current_id != Some(from)
        {
            return Err(AwsError::invalid_parameter(format!(
                "Staging label {label} is not attached to version {from}."
            )));
        }
        match (to, current_id) {
            (None, _) if label == CURRENT => {
                return Err(AwsError::invalid_parameter(
                    "You can only move staging label AWSCURRENT to a different secret version. \
                     It can’t be completely removed.",
                ));
            }
            (Some(to), Some(current_id)) if from.is_none() && to != current_id => {
                return Err(AwsError::invalid_parameter(format!(
                    "The parameter RemoveFromVersionId can't be empty. Staging label {label} is \
                     currently attached to version {current_id}, so you must explicitly reference \
                     that version in RemoveFromVersionId."
                )));
            }
            (Some(to), _) => self.attach(label, to),
            (None, _) => self.detach(label),
        }
        self.changed = now;
        Ok(())
    }

    /// Moves a staging label to the version with the version id `id`. If the label is AWSCURRENT,
    /// the version that was current before gets the label AWSPREVIOUS.
    pub(crate) fn attach(&mut self, label: &str, id: &str) {
        let old_id = self.version_with_label(label).map(|version| version.id.clone());
        if old_id.as_deref() == Some(id) {
            return;
        }
        self.detach(label);
        if let Some(version) = self.versions.iter_mut().find(|version| version.id == id) {
            version.labels.push(label.to_owned());
        }
        if label == CURRENT
            && let Some(old_id) = old_id
        {
            self.attach(PREVIOUS, &old_id);
        }
    }

    fn detach(&mut self, label: &str) {
        for version in &mut self.versions {
            version.labels.retain(|it| it != label);
        }
    }

    fn remove_oldest_versions(&mut self) {
        while self.versions.len() > VERSIONS_MAX {
            let Some(oldest) = self.versions.iter().position(|it| it.labels.is_empty()) else {
                return;
            };
            self.versions.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// Creates a secret with one version for each version id. The last version is the current
    /// version.
    fn secret(ids: &[&str]) -> Secret {
        let mut secret = Secret::new("db", "arn".to_owned(), NOW);
        for id in ids {
            put(&mut secret, id, &[CURRENT]);
        }
        secret
    }

    #[track_caller]
    fn put(secret: &mut Secret, id: &str, labels: &[&str]) {
        let labels: Vec<_> = labels.iter().map(ToString::to_string).collect();
        secret
            .put(id, Plaintext::from(id), &labels, NOW)
            .expect("adding a version to the secret must succeed");
    }

    #[track_caller]
    fn check(secret: &Secret, expected: &[(&str, &[&str])]) {
        let found: Vec<(&str, Vec<&str>)> = secret
            .labelled_versions()
            .map(|it| (it.id.as_str(), it.labels.iter().map(String::as_str).collect()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(id, labels)| (*id, labels.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn previous_label_follows_the_current_label() {
        check(&secret(&["a"]), &[("a", &[CURRENT])]);
        check(&secret(&["a", "b"]), &[("a", &[PREVIOUS]), ("b", &[CURRENT])]);
        check(&secret(&["a", "b", "c"]), &[("b", &[PREVIOUS]), ("c", &[CURRENT])]);
    }

    #[test]
    fn custom_label_does_not_move_the_current_label() {
        let mut secret = secret(&["a"]);
        put(&mut secret, "b", &["AWSPENDING"]);
        check(&secret, &[("a", &[CURRENT]), ("b", &["AWSPENDING"])]);
    }

    #[test]
    fn first_version_is_current_with_any_labels() {
        let mut secret = secret(&[]);
        put(&mut secret, "a", &["AWSPENDING"]);
        check(&secret, &[("a", &[CURRENT, "AWSPENDING"])]);
    }

    #[test]
    fn repeated_put_is_a_no_op_and_another_value_is_rejected() {
        let mut secret = secret(&["a", "b"]);
        secret
            .put("a", Plaintext::from("a"), &[], NOW)
            .expect("adding the same version a second time must succeed");
        check(&secret, &[("a", &[PREVIOUS]), ("b", &[CURRENT])]);
        let error = secret
            .put("a", Plaintext::from("other"), &[], NOW)
            .expect_err("adding another value with the same version id must fail");
        assert_eq!(error.kind, "ResourceExistsException");
    }

    #[test]
    fn id_and_label_must_select_the_same_version() {
        let secret = secret(&["a", "b"]);
        let select = |id, label| secret.select(id, label).map(|version| version.id.as_str());
        assert_eq!(select(None, None), Ok("b"));
        assert_eq!(select(None, Some(PREVIOUS)), Ok("a"));
        assert_eq!(select(Some("a"), None), Ok("a"));
        assert_eq!(select(Some("a"), Some(PREVIOUS)), Ok("a"));
        let kind = |id, label| select(id, label).expect_err("no version must match").kind;
        assert_eq!(kind(Some("a"), Some(CURRENT)), "InvalidRequestException");
        assert_eq!(kind(Some("c"), None), "ResourceNotFoundException");
        assert_eq!(kind(None, Some("AWSPENDING")), "ResourceNotFoundException");
    }

    #[test]
    fn rotation_finishes_by_moving_the_current_label() {
        let mut secret = secret(&["a"]);
        put(&mut secret, "b", &["AWSPENDING"]);
        secret
            .move_label(CURRENT, Some("b"), Some("a"), NOW)
            .expect("moving the staging label must succeed");
        check(&secret, &[("a", &[PREVIOUS]), ("b", &["AWSPENDING", CURRENT])]);
        secret
            .move_label("AWSPENDING", None, Some("b"), NOW)
            .expect("removing the staging label must succeed");
        check(&secret, &[("a", &[PREVIOUS]), ("b", &[CURRENT])]);
    }

    #[test]
    fn label_moves_that_aws_rejects_are_rejected() {
        let rejection = |to, from| {
            let mut secret = secret(&["a", "b"]);
            secret
                .move_label(CURRENT, to, from, NOW)
                .expect_err("moving the staging label must violate a rule of AWS")
                .message
        };
        assert!(rejection(Some("a"), None).contains("RemoveFromVersionId can't be empty"));
        assert!(rejection(None, Some("b")).contains("completely removed"));
        assert!(rejection(None, None).contains("completely removed"));
        assert!(
            rejection(Some("b"), Some("a"))
                .contains("Staging label AWSCURRENT is not attached to version a.")
        );
        assert!(rejection(Some("c"), Some("b")).contains("VersionId: c"));
    }

    #[test]
    fn oldest_versions_without_a_label_are_removed_first() {
        let ids: Vec<String> = (0..VERSIONS_MAX + 5).map(|id| id.to_string()).collect();
        let secret = secret(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(secret.versions.len(), VERSIONS_MAX);
        assert!(secret.version("4").is_none() && secret.version("5").is_some());
    }

    #[test]
    fn debug_prints_no_plaintext() {
        let mut secret = secret(&[]);
        secret
            .put("a", Plaintext::from("hunter2"), &[], NOW)
            .expect("adding a version to the secret must succeed");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
