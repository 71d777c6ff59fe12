//! Selects one version of a secret.

use super::version::{AWSCURRENT, Version};
use std::borrow::Cow;

/// The requested version of a secret: its staging label (such as `AWSCURRENT`), its version id, or
/// both. If both are set, the version must have this label and this id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The requested staging label. The usual label `AWSCURRENT` is a borrowed constant, so that
    /// most reads allocate no memory.
    stage: Option<Cow<'static, str>>,
    version: Option<Box<str>>,
}

impl Selector {
    /// Makes a selector from the staging label and the version id in a request.
    ///
    /// A request with neither of them gets the same selector as a request for `AWSCURRENT`, so that
    /// both requests share one cache entry.
    pub(crate) fn new(stage: Option<&str>, version: Option<&str>) -> Self {
        let stage = match (stage, version) {
            (None, None) | (Some(AWSCURRENT), _) => Some(Cow::Borrowed(AWSCURRENT)),
            (stage, _) => stage.map(|stage| Cow::Owned(stage.to_owned())),
        };
        Self { stage, version: version.map(Into::into) }
    }

    /// Makes the selector of a secret's current version, which has the staging label
    /// [`AWSCURRENT`].
    pub fn current() -> Self {
        Self::new(None, None)
    }

    pub(crate) fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub(crate) fn is_current(&self) -> bool {
        self.version.is_none() && self.stage.as_deref() == Some(AWSCURRENT)
    }

    /// Returns whether `version` has the requested staging label and the requested version id.
    pub(crate) fn selects(&self, version: &Version) -> bool {
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
