//! Which version of a secret is meant.

use super::version::{AWSCURRENT, Version};
use std::borrow::Cow;

/// Which version of a secret is meant: by its label, by its id, or by both, which must then agree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Borrowed for the plain read, so that a hit allocates nothing.
    stage: Option<Cow<'static, str>>,
    version: Option<Box<str>>,
}

impl Selector {
    /// Selects by what a caller gave. Neither means [`AWSCURRENT`], so that a read with that label
    /// written out is the same read.
    pub fn new(stage: Option<&str>, version: Option<&str>) -> Self {
        let stage = match (stage, version) {
            (None, None) | (Some(AWSCURRENT), _) => Some(Cow::Borrowed(AWSCURRENT)),
            (stage, _) => stage.map(|stage| Cow::Owned(stage.to_owned())),
        };
        Self { stage, version: version.map(Into::into) }
    }

    /// Selects the version that is in use.
    pub fn current() -> Self {
        Self::new(None, None)
    }

    /// Returns the staging label asked for, if any.
    pub fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    /// Returns the version id asked for, if any.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Returns whether this is the plain read of [`AWSCURRENT`].
    pub fn is_current(&self) -> bool {
        self.version.is_none() && self.stage.as_deref() == Some(AWSCURRENT)
    }

    /// Returns whether `version` is what this selects.
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
    fn explicit_awscurrent_is_the_plain_read() {
        assert_eq!(Selector::new(Some("AWSCURRENT"), None), Selector::current());
        assert!(Selector::current().is_current());
        assert!(!Selector::new(Some("AWSPREVIOUS"), None).is_current());
        assert!(!Selector::new(None, Some("v1")).is_current());
    }

    #[test]
    fn label_and_id_must_agree() {
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
