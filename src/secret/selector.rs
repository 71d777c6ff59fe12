//! Selects one version of a secret or parameter.

use super::version::{AWSCURRENT, Details, ParameterKind, Version};
use std::borrow::Cow;

/// The requested version of a secret or parameter.
///
/// For a secret, a request contains a staging label (such as `AWSCURRENT`), a version id, or both.
/// If both are set, the version must have this label and this id. For a parameter, a request
/// contains a label or a version number. A request without both asks for the parameter's newest
/// version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The requested label. The usual staging label `AWSCURRENT` is a borrowed constant, so that
    /// most reads allocate no memory.
    stage: Option<Cow<'static, str>>,
    version: Option<Box<str>>,
    /// Whether the caller asks for the ciphertext of a `SecureString` parameter.
    is_encrypted: bool,
}

impl Selector {
    /// Makes a selector from the staging label and the version id in a request for a secret.
    ///
    /// A request with neither of them gets the same selector as a request for `AWSCURRENT`, so that
    /// both requests share one cache entry.
    pub(crate) fn new(stage: Option<&str>, version: Option<&str>) -> Self {
        let stage = match (stage, version) {
            (None, None) | (Some(AWSCURRENT), _) => Some(Cow::Borrowed(AWSCURRENT)),
            (stage, _) => stage.map(|stage| Cow::Owned(stage.to_owned())),
        };
        Self { stage, version: version.map(Into::into), is_encrypted: false }
    }

    /// Makes the selector of a secret's current version, which has the staging label
    /// [`AWSCURRENT`].
    pub fn current() -> Self {
        Self::new(None, None)
    }

    /// Makes a selector from the label or the version number in a request for a parameter. With
    /// neither, selects the newest version. `is_encrypted` tells whether the request asks for the
    /// ciphertext of a `SecureString`.
    pub(crate) fn parameter(
        label: Option<&str>,
        version: Option<&str>,
        is_encrypted: bool,
    ) -> Self {
        let stage = label.map(|label| Cow::Owned(label.to_owned()));
        Self { stage, version: version.map(Into::into), is_encrypted }
    }

    /// Returns whether `text`, which follows a parameter's name and a colon, is a version number
    /// for Parameter Store. Any other text is a label.
    pub(crate) fn is_version_number(text: &str) -> bool {
        text.bytes().all(|byte| byte.is_ascii_digit())
    }

    pub(crate) fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Returns whether the request asks for the current version of a secret, or for the newest
    /// version of a parameter.
    pub(crate) fn is_current(&self) -> bool {
        self.version.is_none() && self.stage().is_none_or(|stage| stage == AWSCURRENT)
    }

    /// Returns whether `version`, which AWS returned for the selector `fetched`, is also the
    /// version that this selector requests.
    ///
    /// AWS does not return the labels of a parameter's version. So `fetched` must have the same
    /// label or version number as this selector if `version` is a version of a parameter.
    pub(crate) fn selects(&self, fetched: &Self, version: &Version) -> bool {
        match &version.details {
            Details::Path(_) => self == fetched,
            Details::Secret { .. } => {
                self.stage().is_none_or(|stage| version.carries(stage))
                    && self.version().is_none_or(|id| *version.id == *id)
            }
            Details::Parameter(parameter) => {
                let is_same_value = self.is_encrypted == fetched.is_encrypted
                    || parameter.kind != ParameterKind::SecureString;
                (&self.stage, &self.version) == (&fetched.stage, &fetched.version) && is_same_value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::value::SecretValue;
    use crate::secret::version::{Content, Parameter};

    #[test]
    fn digits_are_a_version_number_and_any_other_text_is_a_label() {
        for (text, expected) in [("3", true), ("07", true), ("v3", false), ("3a", false)] {
            assert_eq!(Selector::is_version_number(text), expected, "{text}");
        }
    }

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
            created: None,
            content: Content::Text(SecretValue::from(String::new())),
            details: Details::Secret { labels: vec!["AWSCURRENT".into(), "BLUE".into()] },
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
            let selects = Selector::new(stage, id).selects(&Selector::current(), &version);
            assert_eq!(selects, expected, "{stage:?} {id:?}");
        }
    }

    #[test]
    fn parameter_must_have_been_fetched_by_the_same_label_and_number() {
        use ParameterKind::{SecureString, String as Plain};
        for (kind, label, number, is_encrypted, expected) in [
            (Plain, None, None, false, true),
            (Plain, None, None, true, true),
            (SecureString, None, None, false, true),
            (SecureString, None, None, true, false),
            (Plain, Some("BLUE"), None, false, false),
            (Plain, None, Some("3"), false, false),
        ] {
            let version = Version {
                arn: "arn".into(),
                name: "name".into(),
                id: "3".into(),
                created: None,
                content: Content::Text(SecretValue::from(String::new())),
                details: Details::Parameter(Parameter { number: 3, kind, data_type: None }),
            };
            let selector = Selector::parameter(label, number, is_encrypted);
            let fetched = Selector::parameter(None, None, false);
            assert_eq!(selector.selects(&fetched, &version), expected, "{kind:?} {selector:?}");
        }
    }
}
