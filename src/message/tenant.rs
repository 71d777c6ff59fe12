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
pub struct Tie {
    conventions: Arc<Conventions>,
    tied: Vec<Tied>,
}

/// One placeholder, and where a message says what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tied {
    /// The placeholder, such as `company_name`.
    pub placeholder: Box<str>,
    /// The place, such as `company_data.company_name`.
    pub path: Path,
}

/// What a message says of its tenant.
pub struct Tenant(Option<Box<[Option<Box<str>>]>>);

/// Why a reference is not its message's to have. It shows nothing of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// The name says something else than the message.
    #[error(
        "Sidekey refused this read: the {placeholder} in the secret's name is not the one at {path} of its message"
    )]
    Other {
        /// The placeholder.
        placeholder: Box<str>,
        /// Its place in the message.
        path: Box<str>,
    },
    /// The message does not say it.
    #[error(
        "Sidekey refused this read: the secret's name says a {placeholder}, and its message has no string at {path}"
    )]
    Unsaid {
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
    Unknown,
}

impl Tie {
    /// Ties placeholders of these conventions.
    pub fn new(conventions: Arc<Conventions>, tied: Vec<Tied>) -> Self {
        Self { conventions, tied }
    }

    /// Returns the places at which a message says whose it is, in the order that [`Tenant`] takes.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
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
    pub fn judge(&self, id: &SecretId, tenant: &Tenant) -> Result<(), Foreign> {
        if self.tied.is_empty() {
            return Ok(());
        }
        let (first, second) = match id {
            SecretId::Name(name) => (&**name, None),
            SecretId::Arn(arn) => arn.readings(),
        };
        let as_first = self.judge_known(first, tenant)?;
        let as_second = second.map(|name| self.judge_known(name, tenant)).transpose()?;
        let is_known = as_first || as_second == Some(true);
        is_known.then_some(()).ok_or(Foreign::Unknown)
    }

    /// Judges the secret that an answer names.
    ///
    /// # Errors
    ///
    /// Why it is not this tenant's.
    pub fn judge_answer(&self, name: &str, tenant: &Tenant) -> Result<(), Foreign> {
        if self.tied.is_empty() || self.judge_known(name, tenant)? {
            return Ok(());
        }
        Err(Foreign::Unknown)
    }

    /// Returns whether `name` is of a convention. All of which it is are looked at, so that none hides
    /// another.
    ///
    /// # Errors
    ///
    /// Where one of them says another tenant.
    fn judge_known(&self, name: &str, tenant: &Tenant) -> Result<bool, Foreign> {
        let mut is_known = false;
        for bindings in self.conventions.iter().filter_map(|one| one.pattern().matches(name)) {
            is_known = true;
            for (at, tied) in self.tied.iter().enumerate() {
                if let Some(named) = bindings.get(&tied.placeholder) {
                    tenant.judge(at, named, tied)?;
                }
            }
        }
        Ok(is_known)
    }
}

impl Tenant {
    /// Takes the text at each of [`Tie::places`].
    pub fn said(texts: Vec<Option<Box<str>>>) -> Self {
        Self(Some(texts.into()))
    }

    /// Knows of no message that could say it.
    pub fn unknown() -> Self {
        Self(None)
    }

    /// Judges what a name says for the placeholder tied as number `at`.
    fn judge(&self, at: usize, named: &str, tied: &Tied) -> Result<(), Foreign> {
        let placeholder = tied.placeholder.clone();
        let path = tied.path.to_string().into();
        let Some(said) = &self.0 else { return Err(Foreign::NoMessage { placeholder, path }) };
        match said.get(at).and_then(Option::as_deref) {
            Some(said) if said == named => Ok(()),
            Some(_) => Err(Foreign::Other { placeholder, path }),
            None => Err(Foreign::Unsaid { placeholder, path }),
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

    fn tie(tied: &[(&str, &str)]) -> Tie {
        let tied = tied.iter().map(|(placeholder, path)| Tied {
            placeholder: (*placeholder).into(),
            path: Path::parse(path).expect("a good path"),
        });
        Tie::new(Arc::new(Conventions::built_in()), tied.collect())
    }

    /// Reads what a message says of its tenant.
    fn tenant(tie: &Tie, message: Option<&Value>) -> Tenant {
        let Some(message) = message else { return Tenant::unknown() };
        let paths = Paths::default();
        let Ok(found) = Search::new(&paths, tie.places()).run(message) else { panic!("an object") };
        Tenant::said(found.texts)
    }

    /// Judges a reference of a message, and says why it is refused.
    fn judged(tie: &Tie, reference: &str, message: Option<&Value>) -> Option<String> {
        let id = SecretId::parse(reference).expect("a good id");
        tie.judge(&id, &tenant(tie, message)).err().map(|foreign| foreign.to_string())
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
        use crate::convention::mark::Mark;
        use crate::convention::pattern::NamePattern;
        let convention = Convention::new(
            "shared",
            NamePattern::parse("shared/{company_name}").expect("a good pattern"),
            "Any",
            vec![Field::new("token", FieldType::String).expect("a good name")],
            vec![Mark::parse("TODO*").expect("a good mark")],
        );
        let conventions = Conventions::default().with(vec![convention.expect("a good one")]);
        let path = Path::parse("company").expect("a good path");
        let tied = Tied { placeholder: "company_name".into(), path };
        let tie = Tie::new(Arc::new(conventions), vec![tied]);
        let arn = format!("{ARN}shared/acme-secret");
        for (company, by_arn, by_answer) in
            [("acme", true, false), ("acme-secret", true, true), ("other", true, false)]
        {
            let message = json!({"company": company});
            assert_eq!(judged(&tie, &arn, Some(&message)).is_some(), by_arn, "{company}");
            let is_good = tie.judge_answer("shared/acme-secret", &tenant(&tie, Some(&message)));
            assert_eq!(is_good.is_ok(), by_answer, "{company}");
        }
        let unknown = tie.judge_answer("elsewhere", &tenant(&tie, Some(&json!({"company": "a"}))));
        assert_eq!(unknown, Err(Foreign::Unknown));
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
        assert_eq!(tie(&[]).judge_answer("prod/database", &Tenant::unknown()), Ok(()));
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
