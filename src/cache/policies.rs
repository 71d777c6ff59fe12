//! Finds the refresh policy of a secret. The first rule that matches the secret decides. If no rule
//! matches, the default policy of the AWS service applies.
//!
//! All functions are pure: the secret's name or ARN, and the region and account of the Lambda
//! function, are arguments.

use super::freshness::{Policy, Refresh};
use crate::secret::arn::Arn;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::scope::{Home, Scope};
use crate::secret::service::{PerService, Service};
use std::collections::HashMap;
use std::time::Duration;

/// A rule that changes the refresh policy for some secrets. Each field has the meaning of the
/// [`Policy`] field with the same name. If a field is `None`, the default applies.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub(crate) secrets: Scope,
    pub(crate) ttl: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) denied_grace: Option<Duration>,
    pub(crate) refresh: Option<Refresh>,
    pub(crate) is_required: Option<bool>,
}

impl Rule {
    pub(crate) fn policy(&self, default: &Policy) -> Policy {
        Policy {
            ttl: self.ttl.unwrap_or(default.ttl),
            stale_while_revalidate: self
                .stale_while_revalidate
                .unwrap_or(default.stale_while_revalidate),
            stale_if_error: self.stale_if_error.unwrap_or(default.stale_if_error),
            denied_grace: self.denied_grace.unwrap_or(default.denied_grace),
            refresh: self.refresh.unwrap_or(default.refresh),
            is_required: self.is_required.unwrap_or(default.is_required),
        }
    }
}

/// All rules for refresh policies, and the default policy of each AWS service. The first rule that
/// matches a secret applies.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    defaults: PerService<Policy>,
    rules: Vec<(Scope, PerService<Policy>)>,
}

impl Policies {
    /// Combines the default refresh policy of each AWS service with the rules that change it for
    /// some secrets. The first rule that matches a secret applies.
    pub fn new(defaults: impl Into<PerService<Policy>>, rules: Vec<Rule>) -> Self {
        let defaults = defaults.into();
        let resolved = rules.into_iter().map(|rule| {
            let policies = defaults.map(|default| rule.policy(default));
            (rule.secrets, policies)
        });
        Self { rules: resolved.collect(), defaults }
    }

    /// Returns the refresh policy of the secret with the ARN `arn` and the name `name`, as returned
    /// by AWS.
    pub(crate) fn of_answer(&self, arn: &Arn, name: &str, home: &Home) -> Policy {
        self.first(arn.service(), |secrets| secrets.admits_answer(arn, name, home))
    }

    /// Returns the refresh policy of each secret in `SIDEKEY_SECRETS` before AWS has answered.
    /// Until then, the agent knows only the secret's name or only its ARN.
    pub(crate) fn of_references(&self, listed: &[Key], home: &Home) -> HashMap<Key, Policy> {
        let policy = |key: &Key| self.of_reference(&key.id, &home.of_role(key.role.as_ref()));
        listed.iter().map(|key| (key.clone(), policy(key))).collect()
    }

    /// Returns the refresh policy of the secret `id` (a name or ARN) before AWS has answered. The
    /// answer may change the policy, because it contains both the name and the ARN, and a rule can
    /// match either.
    pub(crate) fn of_reference(&self, id: &SecretId, home: &Home) -> Policy {
        self.first(id.service(), |secrets| secrets.may_admit(id, home))
    }

    fn first(&self, service: Service, matches: impl Fn(&Scope) -> bool) -> Policy {
        let rule = self.rules.iter().find(|(secrets, _)| matches(secrets));
        *rule.map_or(&self.defaults, |(_, policies)| policies).of(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";
    const OTHERS: &str = "arn:aws:secretsmanager:eu-north-1:210987654321:secret:";

    fn home(account: Option<&str>) -> Home {
        Home { region: "eu-north-1".into(), account: account.map(Into::into) }
    }

    fn policies(rules: &[&[&str]]) -> Policies {
        // The TTL is 1 s in the first rule, 2 s in the second rule, and so on.
        let rule = |(patterns, seconds): (&&[&str], u32)| Rule {
            secrets: Scope::new(patterns.iter().copied())
                .expect("the patterns in the test must be valid"),
            ttl: Some(seconds * SECOND),
            ..Rule::default()
        };
        let default = Policy { ttl: 100 * SECOND, ..Policy::default() };
        Policies::new(default, rules.iter().zip(1..).map(rule).collect())
    }

    #[test]
    fn fields_that_a_rule_leaves_out_keep_the_default() {
        let default = Policy {
            ttl: SECOND,
            stale_while_revalidate: 2 * SECOND,
            stale_if_error: 3 * SECOND,
            denied_grace: 4 * SECOND,
            refresh: Refresh::WhenRead,
            is_required: true,
        };
        let nine = Some(9 * SECOND);
        for (rule, expected) in [
            (Rule::default(), default),
            (Rule { ttl: nine, ..Rule::default() }, Policy { ttl: 9 * SECOND, ..default }),
            (
                Rule { stale_while_revalidate: nine, ..Rule::default() },
                Policy { stale_while_revalidate: 9 * SECOND, ..default },
            ),
            (
                Rule { stale_if_error: nine, ..Rule::default() },
                Policy { stale_if_error: 9 * SECOND, ..default },
            ),
            (
                Rule { denied_grace: nine, ..Rule::default() },
                Policy { denied_grace: 9 * SECOND, ..default },
            ),
            (
                Rule { refresh: Some(Refresh::Always), ..Rule::default() },
                Policy { refresh: Refresh::Always, ..default },
            ),
            (
                Rule { is_required: Some(false), ..Rule::default() },
                Policy { is_required: false, ..default },
            ),
        ] {
            assert_eq!(rule.policy(&default), expected, "{rule:?}");
        }
    }

    #[test]
    fn first_matching_rule_decides() {
        let arns = format!("{OTHERS}shared-??????");
        let policies = policies(&[&["app/db", "app/key"], &["app/*"], &[&arns]]);
        for (arn, name, seconds) in [
            (format!("{HERE}app/db-AbC123"), "app/db", 1),
            (format!("{HERE}app/key-AbC123"), "app/key", 1),
            (format!("{HERE}app/other-AbC123"), "app/other", 2),
            (format!("{HERE}app/a/b-AbC123"), "app/a/b", 100),
            (format!("{OTHERS}shared-AbC123"), "shared", 3),
            (format!("{OTHERS}app/db-AbC123"), "app/db", 100),
        ] {
            let arn = Arn::parse(&arn).expect("the ARN in the test must be valid");
            let policy = policies.of_answer(&arn, name, &home(Some("123456789012")));
            assert_eq!(policy.ttl, seconds * SECOND, "{arn}");
        }
    }

    #[test]
    fn parameters_have_a_default_policy_of_their_own() {
        let of_ttl = |seconds| Policy { ttl: seconds * SECOND, ..Policy::default() };
        let defaults = PerService { secrets: of_ttl(100), parameters: of_ttl(200) };
        let grace = Rule {
            secrets: Scope::new(["app/*", "ssm:/app/*"])
                .expect("the patterns in the test must be valid"),
            denied_grace: Some(SECOND),
            ..Rule::default()
        };
        let policies = Policies::new(defaults, vec![grace]);
        for (id, ttl, is_matched) in [
            ("db", 100, false),
            ("ssm:/db", 200, false),
            ("arn:aws:ssm:us-east-1:123456789012:parameter/db", 200, false),
            ("app/db", 100, true),
            ("ssm:/app/db", 200, true),
        ] {
            let id = SecretId::parse(id).expect("the name or ARN in the test must be valid");
            let policy = policies.of_reference(&id, &home(None));
            assert_eq!(policy.ttl, ttl * SECOND, "{id:?}");
            assert_eq!(policy.denied_grace == SECOND, is_matched, "{id:?}");
        }
        let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/db";
        let arn = Arn::parse(arn).expect("the ARN in the test must be valid");
        let policy = policies.of_answer(&arn, "/app/db", &home(Some("123456789012")));
        assert_eq!((policy.ttl, policy.denied_grace), (200 * SECOND, SECOND));
    }

    #[test]
    fn reference_is_matched_without_an_answer_as_far_as_possible() {
        let policies = policies(&[&["app/db"], &[&format!("{HERE}app/other-*")]]);
        for (id, account, seconds) in [
            ("app/db".to_owned(), None, 1),
            (format!("{HERE}app/db"), Some("123456789012"), 1),
            (format!("{HERE}app/db-AbC123"), Some("123456789012"), 1),
            (format!("{HERE}app/db-AbC123"), None, 100),
            (format!("{HERE}app/other-AbC123"), None, 2),
            (format!("{HERE}app/other"), None, 2),
            ("app/other".to_owned(), Some("123456789012"), 100),
        ] {
            let id = SecretId::parse(&id).expect("the name or ARN in the test must be valid");
            let policy = policies.of_reference(&id, &home(account));
            assert_eq!(policy.ttl, seconds * SECOND, "{id:?}");
        }
    }
}
