//! The tenant check: a message of one tenant (a customer, such as a company) must not read a secret
//! of another tenant. Messages, such as the body of an SQS message, contain the names of the
//! secrets to read.

use super::path::Path;
use crate::convention::Conventions;
use crate::secret::reference::SecretId;
use crate::secret::service::Service;
use std::fmt;
use std::sync::Arc;

/// Checks that a message, such as the body of an SQS message, names only secrets of its own tenant
/// (a customer, such as a company).
///
/// Each [`TenantBinding`] says which part of a secret's name must equal which field of the message.
/// Without bindings, every secret passes the check.
#[derive(Clone, Debug, Default)]
pub(crate) struct TenantCheck {
    conventions: Arc<Conventions>,
    bindings: Vec<Arc<TenantBinding>>,
}

/// A variable part of secrets' names, such as `{company_name}` in a name pattern, and the field of
/// a JSON message (such as the body of an SQS message) that must have the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TenantBinding {
    /// The name of the placeholder, such as `company_name` for `{company_name}` in a pattern of
    /// secrets' names.
    pub(crate) placeholder: Box<str>,
    /// The path of the field in the JSON message, such as `company_data.company_name`.
    pub(crate) path: Path,
}

/// The tenant (a customer, such as a company) whose secrets a message may read: the message's
/// strings at [`TenantCheck::paths`].
///
/// The outer `Option` is `None` if the caller sent a list of secrets instead of a message. An
/// inner `Option` is `None` if the message has no string at the path.
pub(crate) struct Tenant(Option<Box<[Option<Box<str>>]>>);

/// The reason why Sidekey refuses a secret that a message names: the secret can belong to another
/// tenant (customer) than the message. The error texts contain no values from the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TenantMismatch {
    #[error(
        "Sidekey refused this read: the {placeholder} in the secret's name differs from {path} in \
         the message",
        placeholder = .0.placeholder,
        path = .0.path
    )]
    Different(Arc<TenantBinding>),
    #[error(
        "Sidekey refused this read: the secret's name contains a {placeholder}, but the message \
         has no string at {path}",
        placeholder = .0.placeholder,
        path = .0.path
    )]
    NotInMessage(Arc<TenantBinding>),
    #[error(
        "Sidekey refused this read: the secret's name contains a {placeholder}, but the request \
         only lists secrets; send a message that has the same text at {path}",
        placeholder = .0.placeholder,
        path = .0.path
    )]
    NoMessage(Arc<TenantBinding>),
    #[error(
        "Sidekey refused this read: no convention matches the secret's name, and only a convention \
         (rules for secrets' names) shows to which tenant a secret belongs"
    )]
    NoConvention,
}

impl TenantCheck {
    /// Makes a check that a message names only secrets of its own tenant (customer). `conventions`
    /// contains the patterns of secrets' names, with placeholders such as `{company_name}`.
    pub(crate) fn new(conventions: Arc<Conventions>, bindings: Vec<TenantBinding>) -> Self {
        Self { conventions, bindings: bindings.into_iter().map(Arc::new).collect() }
    }

    /// Returns the paths of the fields in which a JSON message names its tenant (customer).
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.bindings.iter().map(|binding| &binding.path)
    }

    /// Returns the placeholders in secrets' names that identify a tenant (customer), in the order of
    /// [`paths`](Self::paths).
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.bindings.iter().map(|binding| &*binding.placeholder)
    }

    /// Checks whether a message of `tenant` (a customer) may read the secret with this name or ARN.
    ///
    /// An ARN can be ambiguous: a hyphen and six characters at its end can be AWS's random suffix,
    /// or a part of the secret's name. Both possible secrets must then belong to the tenant.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret belongs to another tenant, or if its tenant is unknown.
    pub(crate) fn check(&self, id: &SecretId, tenant: &Tenant) -> Result<(), TenantMismatch> {
        if self.bindings.is_empty() {
            return Ok(());
        }
        // Conventions are rules for secrets, so the tenant of a parameter is always unknown.
        if id.service() == Service::ParameterStore {
            return Err(TenantMismatch::NoConvention);
        }
        let (name, name_of_full_arn) = match id {
            SecretId::Name(_) | SecretId::Parameter(_) | SecretId::Path(_) => (id.as_str(), None),
            SecretId::Arn(arn) => arn.possible_names(),
        };
        let mut is_known = self.check_name(name, tenant)?;
        if let Some(name) = name_of_full_arn {
            is_known |= self.check_name(name, tenant)?;
        }
        if is_known { Ok(()) } else { Err(TenantMismatch::NoConvention) }
    }

    /// Checks whether a message of `tenant` (a customer) may read the secret for which AWS returned
    /// the name `name`.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret belongs to another tenant, or if its tenant is unknown.
    pub(crate) fn check_answer(&self, name: &str, tenant: &Tenant) -> Result<(), TenantMismatch> {
        if self.bindings.is_empty() || self.check_name(name, tenant)? {
            return Ok(());
        }
        Err(TenantMismatch::NoConvention)
    }

    /// Checks that a secret's name contains the given tenant (a customer), or no tenant. Returns
    /// `false` if no name pattern matches `name`, because the secret's tenant is then unknown.
    ///
    /// All matching name patterns are checked, because any of them can find another tenant in the
    /// name.
    ///
    /// # Errors
    ///
    /// Returns an error if the secret belongs to another tenant.
    fn check_name(&self, name: &str, tenant: &Tenant) -> Result<bool, TenantMismatch> {
        let mut is_known = false;
        for convention in self.conventions.iter() {
            let Some(values) = convention.pattern().matches(name) else { continue };
            is_known = true;
            for (index, binding) in self.bindings.iter().enumerate() {
                if let Some(value) = values.get(&binding.placeholder) {
                    tenant.compare(index, value, binding)?;
                }
            }
        }
        Ok(is_known)
    }
}

impl Tenant {
    /// Makes the tenant (customer) of a message from the strings that the message has at
    /// [`TenantCheck::paths`], in the same order.
    pub(crate) fn from_texts(texts: Vec<Option<Box<str>>>) -> Self {
        Self(Some(texts.into()))
    }

    /// Makes the `Tenant` of a request that contains a list of secrets instead of a message. The
    /// tenant (customer) of such a request is unknown.
    pub(crate) fn without_message() -> Self {
        Self(None)
    }

    /// Compares `value` (a part of a secret's name, such as the name of a company) with the string
    /// that the message has at the path of `binding`. Returns an error if they differ.
    ///
    /// `index` is the position of `binding` in [`TenantCheck::paths`].
    fn compare(
        &self,
        index: usize,
        value: &str,
        binding: &Arc<TenantBinding>,
    ) -> Result<(), TenantMismatch> {
        let text = self.0.as_ref().map(|texts| texts.get(index).and_then(Option::as_deref));
        if text == Some(Some(value)) {
            return Ok(());
        }
        let binding = binding.clone();
        Err(match text {
            Some(Some(_)) => TenantMismatch::Different(binding),
            Some(None) => TenantMismatch::NotInMessage(binding),
            None => TenantMismatch::NoMessage(binding),
        })
    }
}

/// Writes nothing of the tenant (customer), because the tenant's strings come from a message and
/// may be private.
impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tenant(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convention::Convention;
    use crate::convention::field::{Field, FieldType};
    use crate::convention::marker::Marker;
    use crate::convention::pattern::NamePattern;
    use crate::message::paths::Paths;
    use crate::message::search::Search;
    use serde_json::{Value, json};

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    fn tenant_check(bindings: &[(&str, &str)]) -> TenantCheck {
        let bindings = bindings.iter().map(|(placeholder, path)| TenantBinding {
            placeholder: (*placeholder).into(),
            path: Path::parse(path).expect("the path must be valid"),
        });
        TenantCheck::new(Arc::new(Conventions::built_in()), bindings.collect())
    }

    fn tenant(tenant_check: &TenantCheck, message: Option<&Value>) -> Tenant {
        let Some(message) = message else { return Tenant::without_message() };
        let paths = Paths::default();
        let Ok(found) = Search::new(&paths, tenant_check.paths()).run(message) else {
            panic!("the message in this test must be a JSON object")
        };
        Tenant::from_texts(found.texts)
    }

    fn refusal(
        tenant_check: &TenantCheck,
        reference: &str,
        message: Option<&Value>,
    ) -> Option<String> {
        let id = SecretId::parse(reference).expect("the name or ARN must be valid");
        tenant_check.check(&id, &tenant(tenant_check, message)).err().map(|why| why.to_string())
    }

    #[track_caller]
    fn check(reference: &str, message: Option<&Value>, expected: Option<&str>) {
        let tenant_check = tenant_check(&[("company_name", "company_data.company_name")]);
        let found = refusal(&tenant_check, reference, message);
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            _ => panic!("the check of {reference} must return {expected:?}, not {found:?}"),
        }
    }

    #[test]
    fn secret_of_another_tenant_is_refused() {
        let acme = json!({"company_data": {"company_name": "acme"}});
        let acme = Some(&acme);
        check("whatsapp-credentials/acme/support/twilio", acme, None);
        check("whatsapp-credentials/other/support/twilio", acme, Some("differs from"));
        check("whatsapp-credentials/Acme/support/twilio", acme, Some("differs from"));
        check("whatsapp-credentials/acme2/support/twilio", acme, Some("differs from"));
        check("email-credentials/acme/x/sendgrid", acme, None);
        check("openai-api-key/whatsapp", acme, None);
    }

    #[test]
    fn secret_of_a_tenant_is_refused_if_the_message_names_no_tenant() {
        let name = "whatsapp-credentials/acme/support/twilio";
        for message in [
            json!({}),
            json!({"company_data": "acme"}),
            json!({"company_data": {"company_name": ["acme"]}}),
            json!({"company_data": {"company_name": null}}),
        ] {
            check(name, Some(&message), Some("no string at company_data.company_name"));
        }
        check(
            name,
            None,
            Some(
                "only lists secrets; send a message that has the same text at company_data.company_name",
            ),
        );
        check("openai-api-key/whatsapp", None, None);
    }

    #[test]
    fn secret_without_a_convention_is_refused() {
        let acme = json!({"company_data": {"company_name": "acme"}});
        check("prod/database", Some(&acme), Some("no convention matches"));
        check("whatsapp-credentials/acme/twilio", Some(&acme), Some("no convention matches"));
        check("openai-api-key/whatsapp/../x", Some(&acme), Some("no convention matches"));
    }

    #[test]
    fn parameter_is_refused_even_if_its_name_looks_like_a_secret() {
        let acme = json!({"company_data": {"company_name": "acme"}});
        for reference in [
            "ssm:openai-api-key/whatsapp",
            "ssm:/openai-api-key/whatsapp",
            "ssm:/whatsapp-credentials/acme/support/twilio",
            "arn:aws:ssm:eu-north-1:123456789012:parameter/openai-api-key/whatsapp",
        ] {
            check(reference, Some(&acme), Some("no convention matches"));
        }
        // The name in the ARN can be `shared`, which is also the name of a secret.
        let convention = Convention::new(
            "shared",
            NamePattern::parse("shared").expect("the pattern must be valid"),
            "Any",
            vec![Field::new("token", FieldType::String).expect("the name must be valid")],
            vec![Marker::parse("TODO*").expect("the marker must be valid")],
        );
        let conventions =
            Conventions::default().with(vec![convention.expect("the convention must be valid")]);
        let path = Path::parse("company").expect("the path must be valid");
        let binding = TenantBinding { placeholder: "company_name".into(), path };
        let tenant_check = TenantCheck::new(Arc::new(conventions), vec![binding]);
        let message = json!({"company": "acme"});
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/shared";
        let refused = refusal(&tenant_check, arn, Some(&message));
        assert!(refused.is_some_and(|why| why.contains("no convention matches")));
        assert_eq!(refusal(&tenant_check, "shared", Some(&message)), None);
    }

    #[test]
    fn message_may_name_parameters_without_bindings() {
        let id = SecretId::parse("ssm:/app/url").expect("the reference must be valid");
        assert_eq!(tenant_check(&[]).check(&id, &Tenant::without_message()), Ok(()));
    }

    #[test]
    fn arn_is_checked_with_and_without_its_last_six_characters() {
        let acme = json!({"company_data": {"company_name": "acme"}});
        let acme = Some(&acme);
        check(&format!("{ARN}whatsapp-credentials/acme/support/twilio-AbC123"), acme, None);
        check(&format!("{ARN}whatsapp-credentials/acme/support/twilio"), acme, None);
        let other = format!("{ARN}whatsapp-credentials/other/support/twilio-AbC123");
        check(&other, acme, Some("differs from"));
        check(&format!("{ARN}prod/database-AbC123"), acme, Some("no convention matches"));
    }

    #[test]
    fn ambiguous_arn_is_refused_and_the_name_in_the_answer_decides() {
        let convention = Convention::new(
            "shared",
            NamePattern::parse("shared/{company_name}").expect("the pattern must be valid"),
            "Any",
            vec![Field::new("token", FieldType::String).expect("the name must be valid")],
            vec![Marker::parse("TODO*").expect("the marker must be valid")],
        );
        let conventions =
            Conventions::default().with(vec![convention.expect("the convention must be valid")]);
        let path = Path::parse("company").expect("the path must be valid");
        let binding = TenantBinding { placeholder: "company_name".into(), path };
        let tenant_check = TenantCheck::new(Arc::new(conventions), vec![binding]);
        let arn = format!("{ARN}shared/acme-secret");
        for (company, by_arn, by_answer) in
            [("acme", true, false), ("acme-secret", true, true), ("other", true, false)]
        {
            let message = json!({"company": company});
            assert_eq!(refusal(&tenant_check, &arn, Some(&message)).is_some(), by_arn, "{company}");
            let is_good = tenant_check
                .check_answer("shared/acme-secret", &tenant(&tenant_check, Some(&message)));
            assert_eq!(is_good.is_ok(), by_answer, "{company}");
        }
        let unknown = tenant_check
            .check_answer("elsewhere", &tenant(&tenant_check, Some(&json!({"company": "a"}))));
        assert_eq!(unknown, Err(TenantMismatch::NoConvention));
    }

    #[test]
    fn all_bindings_must_match_and_without_bindings_everything_passes() {
        let message = json!({"company": "acme", "project": "support"});
        let both = tenant_check(&[("company_name", "company"), ("project_name", "project")]);
        let good = "whatsapp-credentials/acme/support/twilio";
        assert_eq!(refusal(&both, good, Some(&message)), None);
        let other = refusal(&both, "whatsapp-credentials/acme/sales/twilio", Some(&message));
        assert!(other.is_some_and(|problem| problem.contains("project_name")));
        assert_eq!(refusal(&tenant_check(&[]), "prod/database", None), None);
        assert_eq!(
            tenant_check(&[]).check_answer("prod/database", &Tenant::without_message()),
            Ok(())
        );
    }

    #[test]
    fn refusal_contains_no_text_of_the_message() {
        let message = json!({"company": "hunter2"});
        let tenant_check = tenant_check(&[("company_name", "company")]);
        let problem = refusal(&tenant_check, "whatsapp-credentials/acme/x/twilio", Some(&message));
        assert!(problem.is_some_and(|problem| !problem.contains("hunter2")));
        assert_eq!(format!("{:?}", tenant(&tenant_check, Some(&message))), "Tenant(…)");
    }
}
