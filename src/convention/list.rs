//! The conventions that apply, in order of precedence. A convention is a set of rules for the names
//! and values of one kind of secret.

use super::built_in;
use super::definition::Convention;
use super::pattern::PlaceholderValues;

/// The rules for all kinds of secrets. If the name patterns of several kinds match a secret's name,
/// the first kind applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conventions(Vec<Convention>);

impl Conventions {
    /// Returns Sidekey's own rules for secrets' names and values, which apply if the setting
    /// `SIDEKEY_CONVENTIONS` is unset.
    pub(crate) fn built_in() -> Self {
        Self(built_in::conventions())
    }

    /// Adds the user's rules in `own` in front of the rules in this list. If both have rules for
    /// the same kind of secret, only the user's rules remain.
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

    /// Returns the first rules whose name pattern matches the secret's name `name`. Also returns
    /// the variable parts of the name, such as `acme` for the placeholder `{company_name}`.
    pub(crate) fn of_name(&self, name: &str) -> Option<(&Convention, PlaceholderValues)> {
        self.iter().find_map(|convention| Some((convention, convention.pattern().matches(name)?)))
    }

    pub(crate) fn of_kind(&self, kind: &str) -> Option<&Convention> {
        self.iter().find(|convention| convention.kind() == kind)
    }

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
        let pattern = NamePattern::parse(pattern).expect("the name pattern must be valid");
        let fields =
            vec![Field::new("token", FieldType::String).expect("the field's name must be valid")];
        let markers =
            vec![Marker::parse("TODO*").expect("the pattern for dummy values must be valid")];
        Convention::new(kind, pattern, "Acme", fields, markers)
            .expect("all parts of the convention must be valid")
    }

    #[test]
    fn first_matching_convention_applies_to_a_name() {
        let all = Conventions::default()
            .with(vec![convention("one", "a/{x}"), convention("other", "{x}/{y}")]);
        let kind = |name| all.of_name(name).map(|(found, _)| found.kind());
        assert_eq!((kind("a/b"), kind("b/b"), kind("a")), (Some("one"), Some("other"), None));
        let (_, values) = all.of_name("a/b").expect("a convention must match the secret's name");
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
