//! Decides whether the agent returns a secret's value to callers.
//!
//! All functions are pure.

use super::malformed::Malformed;
use crate::convention::Conventions;
use crate::secret::arn::Arn;
use crate::secret::reference::SecretId;
use crate::secret::scope::{Home, Scope};
use crate::secret::version::{Details, Version};
use std::sync::Arc;

/// Why the agent returns an error instead of a secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// The value breaks the rules for secrets of its name.
    Malformed(Arc<Malformed>),
    /// No caller can read the secret, because the agent only inserts it into calls to an external
    /// API. The text is the path of the route for these calls, such as `/to/openai`.
    UseOnly(Arc<str>),
}

/// The secrets that no caller can read, because the agent only inserts them into calls to external
/// APIs.
#[derive(Clone, Debug)]
pub struct UseOnly {
    /// The patterns in `SIDEKEY_USE_ONLY`.
    pub(crate) patterns: Scope,
    /// The routes (each for the calls to one external API) that use these secrets.
    pub(crate) routes: Vec<RouteOfSecrets>,
}

/// A route (the calls to one external API), and the secrets that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteOfSecrets {
    pub(crate) name: Box<str>,
    pub(crate) secrets: SecretsOfRoute,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretsOfRoute {
    One(SecretId),
    /// All secrets whose conventions (rules for their values) have these names, such as
    /// `sms-twilio`.
    Kinds(Vec<Box<str>>),
}

impl UseOnly {
    /// Returns the path of the route to use if no caller can read `version`. Returns `None` if
    /// callers can read it.
    ///
    /// A pattern for names also matches secrets in other accounts and regions, because a replica in
    /// another region has the same value.
    pub(crate) fn route_of(
        &self,
        version: &Version,
        conventions: &Conventions,
    ) -> Option<Arc<str>> {
        if matches!(version.details, Details::Path(_)) {
            return None;
        }
        let arn = Arn::parse(&version.arn).ok()?;
        let home = Home { region: arn.region().into(), account: Some(arn.account().into()) };
        if !self.patterns.admits_answer(&arn, &version.name, &home) {
            return None;
        }
        let kind = conventions.of_name(&version.name).map(|(convention, _)| convention.kind());
        let route = self.routes.iter().find_map(|route| match &route.secrets {
            SecretsOfRoute::One(id) => {
                id.means(&arn, &version.name).then(|| format!("/to/{}", route.name))
            }
            SecretsOfRoute::Kinds(kinds) => kinds
                .iter()
                .any(|own| Some(&**own) == kind)
                .then(|| format!("/to/{}@REFERENCE", route.name)),
        });
        Some(route.unwrap_or_else(|| "/to/ROUTE".to_owned()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::version::Content;

    fn version(name: &str) -> Version {
        Version {
            arn: format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}-AbCdEf")
                .into(),
            name: name.into(),
            id: "v".into(),
            created: None,
            content: Content::Text("x".to_owned().into()),
            details: Details::Secret { labels: Vec::new() },
        }
    }

    #[test]
    fn secret_is_used_by_the_route_of_its_name_or_kind() {
        let route = |name: &str, secrets| RouteOfSecrets { name: name.into(), secrets };
        let own =
            SecretId::parse("crm-key/production").expect("the name in the test must be valid");
        let use_only = UseOnly {
            patterns: Scope::new(["crm-key/*", "openai-api-key/*"])
                .expect("the patterns in the test must be valid"),
            routes: vec![
                route("openai", SecretsOfRoute::Kinds(vec!["openai-api-key".into()])),
                route("crm", SecretsOfRoute::One(own)),
            ],
        };
        let conventions = Conventions::built_in();
        for (name, expected) in [
            ("crm-key/production", Some("/to/crm")),
            ("crm-key/test", Some("/to/ROUTE")),
            ("openai-api-key/sms", Some("/to/openai@REFERENCE")),
            ("app/db", None),
        ] {
            let route = use_only.route_of(&version(name), &conventions);
            assert_eq!(route.as_deref(), expected, "{name}");
        }
    }
}
