//! The naming conventions in effect, in order of precedence.

use super::built_in;
use super::definition::Convention;
use super::pattern::PlaceholderValues;

/// A list of naming conventions for secrets. The first convention whose pattern matches a secret's
/// name applies to the secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conventions(Vec<Convention>);

impl Conventions {
    /// Returns the built-in naming conventions, which apply if `SIDEKEY_CONVENTIONS` is unset. They
    /// describe the secrets of the channel processors.
    pub(crate) fn built_in() -> Self {
        Self(built_in::conventions())
    }

    /// Puts the conventions in `own` before the conventions of this list. Drops each convention of
    /// this list that has the same kind as a convention in `own`.
    #[must_use]
    pub(crate) fn with(self, own: Vec<Convention>) -> Self {
        let mut all = own;
        for convention in self.0 {
            if all.iter().all(|earlier| earlier.kind() != convention.kind()) {
                all.push(convention);
            }
        }
        Self(all)
    }

    /// Returns the first convention that matches a secret's name, and the values of the
    /// placeholders in that name: for `{company_name}` for example `acme`.
    pub(crate) fn of_name(&self, name: &str) -> Option<(&Convention, PlaceholderValues)> {
        self.iter().find_map(|convention| Some((convention, convention.pattern().matches(name)?)))
    }

    /// Returns the convention of a kind of secret, such as `sms-twilio`.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<&Convention> {
        self.iter().find(|convention| convention.kind() == kind)
    }

    /// Returns all conventions in order of precedence.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Convention> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::field::{Field, FieldType};
    use crate::convention::marker::Marker;
    use crate::convention::pattern::NamePattern;

    fn convention(kind: &str, pattern: &str) -> Convention {
        let pattern = NamePattern::parse(pattern).expect("the pattern is valid");
        let fields = vec![Field::new("token", FieldType::String).expect("the name is valid")];
        let markers = vec![Marker::parse("TODO*").expect("the marker is valid")];
        Convention::new(kind, pattern, "Acme", fields, markers).expect("the convention is valid")
    }

    #[test]
    fn first_matching_convention_applies_to_a_name() {
        let all = Conventions::default()
            .with(vec![convention("one", "a/{x}"), convention("other", "{x}/{y}")]);
        let kind = |name| all.of_name(name).map(|(found, _)| found.kind());
        assert_eq!((kind("a/b"), kind("b/b"), kind("a")), (Some("one"), Some("other"), None));
        let (_, values) = all.of_name("a/b").expect("the name has a convention");
        assert_eq!(values.get("x"), Some("b"));
    }

    #[test]
    fn own_conventions_come_first_and_replace_those_of_the_same_kind() {
        let own =
            vec![convention("any", "openai-api-key/{x}"), convention("sms-twilio", "sms/{x}")];
        let all = Conventions::built_in().with(own);
        let kinds: Vec<&str> = all.iter().map(Convention::kind).collect();
        assert_eq!(
            kinds,
            ["any", "sms-twilio", "whatsapp-twilio", "email-sendgrid", "openai-api-key"]
        );
        let kind = |name| all.of_name(name).map(|(found, _)| found.kind());
        assert_eq!(kind("openai-api-key/sms"), Some("any"));
        assert_eq!(kind("sms-credentials/acme/support/twilio"), None);
        assert_eq!(all.of_kind("sms-twilio").map(Convention::service), Some("Acme"));
        assert_eq!(all.of_kind("none"), None);
    }
}
