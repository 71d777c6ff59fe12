//! The selection of one version of a secret.

use super::version::{AWSCURRENT, Version};
use std::borrow::Cow;

/// Selects a version of a secret by its staging label, by its version id, or by both. If both are given, the
/// version must have both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The staging label. `AWSCURRENT` is borrowed, so that the usual read allocates nothing.
    stage: Option<Cow<'static, str>>,
    version: Option<Box<str>>,
}

impl Selector {
    /// Makes a selector from what the caller gave. If the caller gave neither a stage nor a version id, the
    /// selector is equal to one with the stage [`AWSCURRENT`], so that both reads share one entry.
    pub fn new(stage: Option<&str>, version: Option<&str>) -> Self {
        let stage = match (stage, version) {
            (None, None) | (Some(AWSCURRENT), _) => Some(Cow::Borrowed(AWSCURRENT)),
            (stage, _) => stage.map(|stage| Cow::Owned(stage.to_owned())),
        };
        Self { stage, version: version.map(Into::into) }
    }

    /// Makes the selector of the current version, which has the label [`AWSCURRENT`].
    pub fn current() -> Self {
        Self::new(None, None)
    }

    /// Returns the requested staging label. `None` if only a version id was requested.
    pub fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    /// Returns the requested version id, or `None` if no version id was requested.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Returns whether this selects the current version, by the label [`AWSCURRENT`] and without a version id.
    pub fn is_current(&self) -> bool {
        self.version.is_none() && self.stage.as_deref() == Some(AWSCURRENT)
    }

    /// Returns whether `version` has the requested label and the requested id.
    pub fn selects(&self, version: &Version) -> bool {
        self.stage.as_deref().is_none_or(|stage| version.carries(stage))
            && self.version.as_deref().is_none_or(|id| *version.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::SecretValue;
    use crate::secret::version::Content;

    #[test]
    fn explicit_awscurrent_is_the_same_as_no_stage() {
        assert_eq!(Selector::new(Some("AWSCURRENT"), None), Selector::current());
        assert!(Selector::current().is_current());
        assert!(!Selector::new(Some("AWSPREVIOUS"), None).is_current());
        assert!(!Selector::new(None, Some("v1")).is_current());
    }

    #[test]
    fn version_must_have_the_requested_label_and_id() {
        let version = Version {
            arn: "arn".into(),
            name: "name".into(),
            id: "v1".into(),
            labels: vec!["AWSCURRENT".into(), "BLUE".into()],
            created: None,
            content: Content::Text(SecretValue::from(String::new())),
        };
        for (stage, id, expected) in [
            (None, None, true),
            (Some("BLUE"), None, true),
            (Some("GREEN"), None, false),
            (None, Some("v1"), true),
            (None, Some("v2"), false),
            (Some("BLUE"), Some("v1"), true),
            (Some("GREEN"), Some("v1"), false),
        ] {
            assert_eq!(Selector::new(stage, id).selects(&version), expected, "{stage:?} {id:?}");
        }
    }
}
