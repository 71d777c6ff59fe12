//! Which policy holds for a secret: the default, and rules for some.
//!
//! Pure: what is known of the secret, and of where the function lives, comes in as arguments.

use super::freshness::{Policy, Refresh};
use crate::secret::arn::Arn;
use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::scope::{Home, Scope};
use std::collections::HashMap;
use std::time::Duration;

/// What holds for some secrets. What it leaves out is as for all others.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The secrets that it is for.
    pub secrets: Scope,
    /// See [`Policy::ttl`].
    pub ttl: Option<Duration>,
    /// See [`Policy::stale_while_revalidate`].
    pub stale_while_revalidate: Option<Duration>,
    /// See [`Policy::stale_if_error`].
    pub stale_if_error: Option<Duration>,
    /// See [`Policy::denied_grace`].
    pub denied_grace: Option<Duration>,
    /// See [`Policy::refresh`].
    pub refresh: Option<Refresh>,
    /// See [`Policy::is_required`].
    pub is_required: Option<bool>,
}

impl Rule {
    /// Returns the policy of the secrets that the rule is for, where `default` is that of all
    /// others.
    pub fn policy(&self, default: &Policy) -> Policy {
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

/// The policy of every secret. The first rule that is for it decides.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    default: Policy,
    rules: Vec<(Scope, Policy)>,
}

impl Policies {
    /// Takes the policy of all secrets but those of `rules`.
    pub fn new(default: Policy, rules: Vec<Rule>) -> Self {
        let resolved = |rule: Rule| {
            let policy = rule.policy(&default);
            (rule.secrets, policy)
        };
        Self { default, rules: rules.into_iter().map(resolved).collect() }
    }

    /// Returns the policy of the secret that an answer names. By whichever of its ids it was asked
    /// for, it is the same.
    pub fn of_answer(&self, arn: &Arn, name: &str, home: &Home) -> Policy {
        self.first(|secrets| secrets.admits_answer(arn, name, home))
    }

    /// Returns the policy of each listed secret, as far as its reference tells.
    pub fn of_references(&self, listed: &[Key], home: &Home) -> HashMap<Key, Policy> {
        let policy = |key: &Key| self.of_reference(&key.id, home);
        listed.iter().map(|key| (key.clone(), policy(key))).collect()
    }

    /// Returns the policy of a secret of which nothing is known yet but its reference.
    pub fn of_reference(&self, id: &SecretId, home: &Home) -> Policy {
        self.first(|secrets| secrets.may_admit(id, home))
    }

    fn first(&self, is_for: impl Fn(&Scope) -> bool) -> Policy {
        let rule = self.rules.iter().find(|(secrets, _)| is_for(secrets));
        rule.map_or(self.default, |(_, policy)| *policy)
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

    /// Makes rules of patterns, the first with a TTL of 1 s, the next of 2 s, and so on. The default
    /// has one of 100 s.
    fn policies(rules: &[&[&str]]) -> Policies {
        let rule = |(patterns, seconds): (&&[&str], u32)| Rule {
            secrets: Scope::new(patterns.iter().copied()).expect("good patterns"),
            ttl: Some(seconds * SECOND),
            ..Rule::default()
        };
        let default = Policy { ttl: 100 * SECOND, ..Policy::default() };
        Policies::new(default, rules.iter().zip(1..).map(rule).collect())
    }

    #[test]
    fn what_a_rule_leaves_out_is_as_for_all_others() {
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
    fn the_first_rule_that_is_for_a_secret_decides() {
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
            let arn = Arn::parse(&arn).expect("an ARN");
            let policy = policies.of_answer(&arn, name, &home(Some("123456789012")));
            assert_eq!(policy.ttl, seconds * SECOND, "{arn}");
        }
    }

    #[test]
    fn a_reference_alone_is_matched_as_far_as_it_tells() {
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
            let id = SecretId::parse(&id).expect("a good id");
            let policy = policies.of_reference(&id, &home(account));
            assert_eq!(policy.ttl, seconds * SECOND, "{id:?}");
        }
    }
}
