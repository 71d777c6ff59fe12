//! One secret: its versions, and the labels that move between them.
//!
//! Pure: the time and the ids come in as arguments.

use super::error::AwsError;
use super::plaintext::Plaintext;
use std::time::SystemTime;

/// The label of the version that a reader gets who asks for none.
pub(super) const CURRENT: &str = "AWSCURRENT";
/// The label of the version that was current before.
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";

/// How many versions a secret keeps. Beyond it the oldest without a label goes.
///
/// Source: quotas of Secrets Manager, "Versions per secret".
const VERSIONS_MAX: usize = 100;

/// A secret.
#[derive(Debug)]
pub(super) struct Secret {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) created: SystemTime,
    pub(super) changed: SystemTime,
    /// When it goes, if it is marked for deletion.
    pub(super) deletion: Option<SystemTime>,
    /// Whether a seed put it here, so that the next seed may take it away.
    pub(super) seeded: bool,
    /// The versions, oldest first.
    versions: Vec<Version>,
}

/// One version of a secret.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) plaintext: Plaintext,
    pub(super) created: SystemTime,
    pub(super) stages: Vec<String>,
}

impl Version {
    fn carries(&self, stage: &str) -> bool {
        self.stages.iter().any(|it| it == stage)
    }
}

impl Secret {
    /// Makes a secret without a version, as AWS does where no value is given.
    pub(super) fn new(name: &str, arn: String, now: SystemTime) -> Self {
        Self {
            arn,
            name: name.to_owned(),
            description: None,
            created: now,
            changed: now,
            deletion: None,
            seeded: false,
            versions: Vec::new(),
        }
    }

    /// Returns the versions that carry a label, oldest first. AWS mentions no others either.
    pub(super) fn labelled(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(|version| !version.stages.is_empty())
    }

    /// Returns the version with this id.
    pub(super) fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// Returns the version that carries this label.
    pub(super) fn at(&self, stage: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.carries(stage))
    }

    /// Returns the version that a reader asks for: the current one where neither is given.
    pub(super) fn select(
        &self,
        id: Option<&str>,
        stage: Option<&str>,
    ) -> Result<&Version, AwsError> {
        let Some(id) = id else {
            let stage = stage.unwrap_or(CURRENT);
            return self.at(stage).ok_or_else(|| AwsError::no_stage(stage));
        };
        let version = self.version(id).ok_or_else(|| AwsError::no_version(id))?;
        if stage.is_some_and(|stage| !version.carries(stage)) {
            return Err(AwsError::request(
                "You provided a VersionStage that is not associated to the provided VersionId.",
            ));
        }
        Ok(version)
    }

    /// Adds a version that carries `stages`, and [`CURRENT`] if it is the first.
    ///
    /// Asking again with the same id and plaintext changes nothing; the same id with another
    /// plaintext is an error.
    pub(super) fn put(
        &mut self,
        id: &str,
        plaintext: Plaintext,
        stages: &[String],
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
        let first = self.versions.is_empty();
        self.versions.push(Version {
            id: id.to_owned(),
            plaintext,
            created: now,
            stages: Vec::new(),
        });
        if first {
            self.attach(CURRENT, id);
        }
        for stage in stages {
            self.attach(stage, id);
        }
        self.changed = now;
        self.forget_oldest();
        Ok(())
    }

    /// Moves a label to a version, or takes it off one, under AWS's rules.
    pub(super) fn move_stage(
        &mut self,
        stage: &str,
        to: Option<&str>,
        from: Option<&str>,
        now: SystemTime,
    ) -> Result<(), AwsError> {
        for id in to.iter().chain(from.iter()) {
            self.version(id).ok_or_else(|| AwsError::no_version(id))?;
        }
        let holder = self.at(stage).map(|version| version.id.as_str());
        if let Some(from) = from
            && holder != Some(from)
        {
            return Err(AwsError::parameter(format!(
                "Staging label {stage} is not attached to version {from}."
            )));
        }
        match (to, holder) {
            (None, _) if stage == CURRENT => {
                return Err(AwsError::parameter(
                    "You can only move staging label AWSCURRENT to a different secret version. \
                     It can’t be completely removed.",
                ));
            }
            (Some(to), Some(holder)) if from.is_none() && to != holder => {
                return Err(AwsError::parameter(format!(
                    "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is \
                     currently attached to version {holder}, so you must explicitly reference \
                     that version in RemoveFromVersionId."
                )));
            }
            (Some(to), _) => self.attach(stage, to),
            (None, _) => self.detach(stage),
        }
        self.changed = now;
        Ok(())
    }

    /// Moves a label to a version, whatever carried it before. Where [`CURRENT`] leaves a version,
    /// that version becomes the previous one.
    pub(super) fn attach(&mut self, stage: &str, id: &str) {
        let holder = self.at(stage).map(|version| version.id.clone());
        if holder.as_deref() == Some(id) {
            return;
        }
        self.detach(stage);
        if let Some(version) = self.versions.iter_mut().find(|version| version.id == id) {
            version.stages.push(stage.to_owned());
        }
        if stage == CURRENT
            && let Some(holder) = holder
        {
            self.attach(PREVIOUS, &holder);
        }
    }

    fn detach(&mut self, stage: &str) {
        for version in &mut self.versions {
            version.stages.retain(|it| it != stage);
        }
    }

    fn forget_oldest(&mut self) {
        while self.versions.len() > VERSIONS_MAX {
            let Some(oldest) = self.versions.iter().position(|it| it.stages.is_empty()) else {
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

    /// Makes a secret and puts one current version per id.
    fn secret(ids: &[&str]) -> Secret {
        let mut secret = Secret::new("db", "arn".to_owned(), NOW);
        for id in ids {
            put(&mut secret, id, &[CURRENT]);
        }
        secret
    }

    #[track_caller]
    fn put(secret: &mut Secret, id: &str, stages: &[&str]) {
        let stages: Vec<_> = stages.iter().map(ToString::to_string).collect();
        secret.put(id, Plaintext::from(id), &stages, NOW).expect("a new version");
    }

    #[track_caller]
    fn check(secret: &Secret, expected: &[(&str, &[&str])]) {
        let labelled: Vec<(&str, Vec<&str>)> = secret
            .labelled()
            .map(|it| (it.id.as_str(), it.stages.iter().map(String::as_str).collect()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(id, stages)| (*id, stages.to_vec())).collect();
        assert_eq!(labelled, expected);
    }

    #[test]
    fn moving_current_moves_previous() {
        check(&secret(&["a"]), &[("a", &[CURRENT])]);
        check(&secret(&["a", "b"]), &[("a", &[PREVIOUS]), ("b", &[CURRENT])]);
        check(&secret(&["a", "b", "c"]), &[("b", &[PREVIOUS]), ("c", &[CURRENT])]);
    }

    #[test]
    fn a_label_of_ones_own_leaves_current_alone() {
        let mut secret = secret(&["a"]);
        put(&mut secret, "b", &["AWSPENDING"]);
        check(&secret, &[("a", &[CURRENT]), ("b", &["AWSPENDING"])]);
    }

    #[test]
    fn the_first_version_is_current_whatever_its_labels() {
        let mut secret = secret(&[]);
        put(&mut secret, "a", &["AWSPENDING"]);
        check(&secret, &[("a", &[CURRENT, "AWSPENDING"])]);
    }

    #[test]
    fn the_same_id_is_put_once() {
        let mut secret = secret(&["a", "b"]);
        secret.put("a", Plaintext::from("a"), &[], NOW).expect("the same again");
        check(&secret, &[("a", &[PREVIOUS]), ("b", &[CURRENT])]);
        let error = secret.put("a", Plaintext::from("other"), &[], NOW).expect_err("another");
        assert_eq!(error.kind, "ResourceExistsException");
    }

    #[test]
    fn id_and_stage_select_the_same_version_or_nothing() {
        let secret = secret(&["a", "b"]);
        let select = |id, stage| secret.select(id, stage).map(|version| version.id.as_str());
        assert_eq!(select(None, None), Ok("b"));
        assert_eq!(select(None, Some(PREVIOUS)), Ok("a"));
        assert_eq!(select(Some("a"), None), Ok("a"));
        assert_eq!(select(Some("a"), Some(PREVIOUS)), Ok("a"));
        let kind = |id, stage| select(id, stage).expect_err("no such version").kind;
        assert_eq!(kind(Some("a"), Some(CURRENT)), "InvalidRequestException");
        assert_eq!(kind(Some("c"), None), "ResourceNotFoundException");
        assert_eq!(kind(None, Some("AWSPENDING")), "ResourceNotFoundException");
    }

    #[test]
    fn a_rotation_ends_by_moving_current() {
        let mut secret = secret(&["a"]);
        put(&mut secret, "b", &["AWSPENDING"]);
        secret.move_stage(CURRENT, Some("b"), Some("a"), NOW).expect("a move");
        check(&secret, &[("a", &[PREVIOUS]), ("b", &["AWSPENDING", CURRENT])]);
        secret.move_stage("AWSPENDING", None, Some("b"), NOW).expect("a removal");
        check(&secret, &[("a", &[PREVIOUS]), ("b", &[CURRENT])]);
    }

    #[test]
    fn moves_that_aws_refuses() {
        let refused = |to, from| {
            let mut secret = secret(&["a", "b"]);
            secret.move_stage(CURRENT, to, from, NOW).expect_err("no move").message
        };
        assert!(refused(Some("a"), None).contains("RemoveFromVersionId can't be empty"));
        assert!(refused(None, Some("b")).contains("completely removed"));
        assert!(refused(None, None).contains("completely removed"));
        assert!(refused(Some("b"), Some("a")).contains("not attached to version a"));
        assert!(refused(Some("c"), Some("b")).contains("VersionId: c"));
    }

    #[test]
    fn versions_without_a_label_are_forgotten_oldest_first() {
        let ids: Vec<String> = (0..VERSIONS_MAX + 5).map(|id| id.to_string()).collect();
        let secret = secret(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(secret.versions.len(), VERSIONS_MAX);
        assert!(secret.version("4").is_none() && secret.version("5").is_some());
    }

    #[test]
    fn debug_shows_no_plaintext() {
        let mut secret = secret(&[]);
        secret.put("a", Plaintext::from("hunter2"), &[], NOW).expect("a version");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
