//! Whose message it is: a reference to another tenant's secret is refused.

use super::path::Path;
use crate::convention::Conventions;
use crate::secret::reference::SecretId;
use std::fmt;
use std::sync::Arc;

/// Ties placeholders of conventions to places in a message: a secret whose name says another company
/// than the message does is not the message's to have.
///
/// Without a tied placeholder everything passes.
#[derive(Clone, Debug, Default)]
pub struct TenantCheck {
    conventions: Arc<Conventions>,
    tied: Vec<TenantBinding>,
}

/// One placeholder, and where a message says what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantBinding {
    /// The placeholder, such as `company_name`.
    pub placeholder: Box<str>,
    /// The place, such as `company_data.company_name`.
    pub path: Path,
}

/// What a message says of its tenant.
pub struct Tenant(Option<Box<[Option<Box<str>>]>>);

/// Why a reference is not its message's to have. It shows nothing of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantMismatch {
    /// The name says something else than the message.
    #[error(
        "Sidekey refused this read: the {placeholder} in the secret's name is not the one at {path} of its message"
    )]
    Different {
        /// The placeholder.
        placeholder: Box<str>,
        /// Its place in the message.
        path: Box<str>,
    },
    /// The message does not say it.
    #[error(
        "Sidekey refused this read: the secret's name says a {placeholder}, and its message has no string at {path}"
    )]
    NotInMessage {
        /// The placeholder.
        placeholder: Box<str>,
        /// Its place in the message.
        path: Box<str>,
    },
    /// There is no message.
    #[error(
        "Sidekey refused this read: the secret's name says a {placeholder}, and a list of references has no {path} to compare it with"
    )]
    NoMessage {
        /// The placeholder.
        placeholder: Box<str>,
        /// Its place in a message.
        path: Box<str>,
    },
    /// No convention says whose secret it is.
    #[error("Sidekey refused this read: no convention says whose secret this is")]
    NoConvention,
}

impl TenantCheck {
    /// Ties placeholders of these conventions.
    pub fn new(conventions: Arc<Conventions>, tied: Vec<TenantBinding>) -> Self {
        Self { conventions, tied }
    }

    /// Returns the places at which a message says whose it is, in the order that [`Tenant`] takes.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.tied.iter().map(|tied| &tied.path)
    }

    /// Judges a reference before anything is known of its secret but the text.
    ///
    /// An ARN that ends in a hyphen and six characters may be a full one, or a partial one of a secret
    /// whose name ends so. Neither reading may be foreign, and one has to be of a convention; what the
    /// answer names is judged once more.
    ///
    /// # Errors
    ///
    /// Why it is not this tenant's.
    pub fn check(&self, id: &SecretId, tenant: &Tenant) -> Result<(), TenantMismatch> {
        if self.tied.is_empty() {
            return Ok(());
        }
        let (first, second) = match id {
            SecretId::Name(name) => (&**name, None),
            SecretId::Arn(arn) => arn.possible_names(),
        };
        let as_first = self.check_name(first, tenant)?;
        let as_second = second.map(|name| self.check_name(name, tenant)).transpose()?;
        let is_known = as_first || as_second == Some(true);
        is_known.then_some(()).ok_or(TenantMismatch::NoConvention)
    }

    /// Judges the secret that an answer names.
    ///
    /// # Errors
    ///
    /// Why it is not this tenant's.
    pub fn check_answer(&self, name: &str, tenant: &Tenant) -> Result<(), TenantMismatch> {
        if self.tied.is_empty() || self.check_name(name, tenant)? {
            return Ok(());
        }
        Err(TenantMismatch::NoConvention)
    }

    /// Returns whether `name` is of a convention. All of which it is are looked at, so that none hides
    /// another.
    ///
    /// # Errors
    ///
    /// Where one of them says another tenant.
    fn check_name(&self, name: &str, tenant: &Tenant) -> Result<bool, TenantMismatch> {
        let mut is_known = false;
        for bindings in self.conventions.iter().filter_map(|one| one.pattern().matches(name)) {
            is_known = true;
            for (at, tied) in self.tied.iter().enumerate() {
                if let Some(named) = bindings.get(&tied.placeholder) {
                    tenant.compare(at, named, tied)?;
                }
            }
        }
        Ok(is_known)
    }
}

impl Tenant {
    /// Takes the text at each of [`TenantCheck::paths`].
    pub fn from_texts(texts: Vec<Option<Box<str>>>) -> Self {
        Self(Some(texts.into()))
    }

    /// Knows of no message that could say it.
    pub fn without_message() -> Self {
        Self(None)
    }

    /// Judges what a name says for the placeholder tied as number `at`.
    fn compare(&self, at: usize, named: &str, tied: &TenantBinding) -> Result<(), TenantMismatch> {
        let placeholder = tied.placeholder.clone();
        let path = tied.path.to_string().into();
        let Some(said) = &self.0 else {
            return Err(TenantMismatch::NoMessage { placeholder, path });
        };
        match said.get(at).and_then(Option::as_deref) {
            Some(said) if said == named => Ok(()),
            Some(_) => Err(TenantMismatch::Different { placeholder, path }),
            None => Err(TenantMismatch::NotInMessage { placeholder, path }),
        }
    }
}

/// Says nothing of the message.
impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tenant(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::paths::Paths;
    use crate::message::search::Search;
    use serde_json::{Value, json};

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    fn tie(tied: &[(&str, &str)]) -> TenantCheck {
        let tied = tied.iter().map(|(placeholder, path)| TenantBinding {
            placeholder: (*placeholder).into(),
            path: Path::parse(path).expect("a good path"),
        });
        TenantCheck::new(Arc::new(Conventions::built_in()), tied.collect())
    }

    /// Reads what a message says of its tenant.
    fn tenant(tie: &TenantCheck, message: Option<&Value>) -> Tenant {
        let Some(message) = message else { return Tenant::without_message() };
        let paths = Paths::default();
        let Ok(found) = Search::new(&paths, tie.paths()).run(message) else { panic!("an object") };
        Tenant::from_texts(found.texts)
    }

    /// Judges a reference of a message, and says why it is refused.
    fn judged(tie: &TenantCheck, reference: &str, message: Option<&Value>) -> Option<String> {
        let id = SecretId::parse(reference).expect("a good id");
        tie.check(&id, &tenant(tie, message)).err().map(|foreign| foreign.to_string())
    }

    #[track_caller]
    fn check(reference: &str, message: Option<&Value>, expected: Option<&str>) {
        let tie = tie(&[("company_name", "company_data.company_name")]);
        let found = judged(&tie, reference, message);
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            _ => panic!("{reference}: {found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn a_name_must_say_the_tenant_of_its_message() {
        let acme = json!({"company_data": {"company_name": "acme"}});
        let acme = Some(&acme);
        check("whatsapp-credentials/acme/support/twilio", acme, None);
        check("whatsapp-credentials/other/support/twilio", acme, Some("is not the one at"));
        check("whatsapp-credentials/Acme/support/twilio", acme, Some("is not the one at"));
        check("whatsapp-credentials/acme2/support/twilio", acme, Some("is not the one at"));
        check("email-credentials/acme/x/sendgrid", acme, None);
        check("openai-api-key/whatsapp", acme, None);
    }

    #[test]
    fn what_the_message_does_not_say_is_nobodys() {
        let name = "whatsapp-credentials/acme/support/twilio";
        for message in [
            json!({}),
            json!({"company_data": "acme"}),
            json!({"company_data": {"company_name": ["acme"]}}),
            json!({"company_data": {"company_name": null}}),
        ] {
            check(name, Some(&message), Some("no string at company_data.company_name"));
        }
        check(name, None, Some("a list of references has no company_data.company_name"));
        check("openai-api-key/whatsapp", None, None);
    }

    #[test]
    fn what_no_convention_names_is_refused() {
        let acme = json!({"company_data": {"company_name": "acme"}});
        check("prod/database", Some(&acme), Some("no convention says"));
        check("whatsapp-credentials/acme/twilio", Some(&acme), Some("no convention says"));
        check("openai-api-key/whatsapp/../x", Some(&acme), Some("no convention says"));
    }

    #[test]
    fn an_arn_is_judged_under_both_readings() {
        let acme = json!({"company_data": {"company_name": "acme"}});
        let acme = Some(&acme);
        check(&format!("{ARN}whatsapp-credentials/acme/support/twilio-AbC123"), acme, None);
        check(&format!("{ARN}whatsapp-credentials/acme/support/twilio"), acme, None);
        let other = format!("{ARN}whatsapp-credentials/other/support/twilio-AbC123");
        check(&other, acme, Some("is not the one at"));
        check(&format!("{ARN}prod/database-AbC123"), acme, Some("no convention says"));
    }

    #[test]
    fn an_ambiguous_tenant_is_refused_and_the_answer_decides() {
        use crate::convention::Convention;
        use crate::convention::field::{Field, FieldType};
        use crate::convention::marker::Marker;
        use crate::convention::pattern::NamePattern;
        let convention = Convention::new(
            "shared",
            NamePattern::parse("shared/{company_name}").expect("a good pattern"),
            "Any",
            vec![Field::new("token", FieldType::String).expect("a good name")],
            vec![Marker::parse("TODO*").expect("a good mark")],
        );
        let conventions = Conventions::default().with(vec![convention.expect("a good one")]);
        let path = Path::parse("company").expect("a good path");
        let tied = TenantBinding { placeholder: "company_name".into(), path };
        let tie = TenantCheck::new(Arc::new(conventions), vec![tied]);
        let arn = format!("{ARN}shared/acme-secret");
        for (company, by_arn, by_answer) in
            [("acme", true, false), ("acme-secret", true, true), ("other", true, false)]
        {
            let message = json!({"company": company});
            assert_eq!(judged(&tie, &arn, Some(&message)).is_some(), by_arn, "{company}");
            let is_good = tie.check_answer("shared/acme-secret", &tenant(&tie, Some(&message)));
            assert_eq!(is_good.is_ok(), by_answer, "{company}");
        }
        let unknown = tie.check_answer("elsewhere", &tenant(&tie, Some(&json!({"company": "a"}))));
        assert_eq!(unknown, Err(TenantMismatch::NoConvention));
    }

    #[test]
    fn several_ties_must_all_hold_and_none_refuses_nothing() {
        let message = json!({"company": "acme", "project": "support"});
        let both = tie(&[("company_name", "company"), ("project_name", "project")]);
        let good = "whatsapp-credentials/acme/support/twilio";
        assert_eq!(judged(&both, good, Some(&message)), None);
        let other = judged(&both, "whatsapp-credentials/acme/sales/twilio", Some(&message));
        assert!(other.is_some_and(|problem| problem.contains("project_name")));
        assert_eq!(judged(&tie(&[]), "prod/database", None), None);
        assert_eq!(tie(&[]).check_answer("prod/database", &Tenant::without_message()), Ok(()));
    }

    #[test]
    fn a_refusal_shows_nothing_of_the_message() {
        let message = json!({"company": "hunter2"});
        let tie = tie(&[("company_name", "company")]);
        let problem = judged(&tie, "whatsapp-credentials/acme/x/twilio", Some(&message));
        assert!(problem.is_some_and(|problem| !problem.contains("hunter2")));
        assert_eq!(format!("{:?}", tenant(&tie, Some(&message))), "Tenant(…)");
    }
}
