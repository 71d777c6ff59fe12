//! Parses `SIDEKEY_SECRETS`: the names and ARNs of secrets, paths of parameters, patterns and tags.

use super::values::list;
use crate::secret::key::Key;
use crate::secret::reference::Reference;
use crate::secret::role_rules::RoleRules;
use crate::secret::scope::Scope;
use crate::secret::secret_pattern::SecretPattern;

/// The maximum number of secrets, parameters and paths in `SIDEKEY_SECRETS`.
pub(super) const SECRETS_MAX: usize = 1000;

/// The maximum number of patterns and tags in `SIDEKEY_SECRETS`. Each pattern and each tag costs at
/// least one call to AWS in each interval of `SIDEKEY_DISCOVER`.
pub(super) const PATTERNS_MAX: usize = 50;

/// The parsed value of `SIDEKEY_SECRETS`.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// The secrets, the parameters and the paths of parameters.
    pub(super) keys: Vec<Key>,
    /// The patterns for names of secrets, and the tags of secrets, without duplicates.
    pub(super) patterns: Vec<SecretPattern>,
}

impl Listed {
    /// Parses a list of items. An item is the name or ARN of a secret or parameter, a path of
    /// parameters, a pattern for names of secrets, or a tag of secrets. The error message contains
    /// every invalid item.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut listed, mut problems) = (Self::default(), Vec::new());
        for item in list(text) {
            let added = match SecretPattern::is_pattern(item) {
                true => listed.add_pattern(item),
                false => listed.add_key(item),
            };
            problems.extend(added.err().map(|problem| format!("'{item}': {problem}")));
        }
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        if listed.keys.len() > SECRETS_MAX {
            return Err(format!("at most {SECRETS_MAX} secrets are allowed"));
        }
        if listed.patterns.len() > PATTERNS_MAX {
            return Err(format!("at most {PATTERNS_MAX} patterns and tags are allowed"));
        }
        Ok(listed)
    }

    fn add_key(&mut self, item: &str) -> Result<(), String> {
        let reference = Reference::parse_or_path(item).map_err(|bad| bad.to_string())?;
        let Reference { id, selector, .. } = reference;
        self.keys.push(Key::own(id, selector));
        Ok(())
    }

    fn add_pattern(&mut self, item: &str) -> Result<(), String> {
        let pattern = SecretPattern::parse(item).map_err(|bad| bad.to_string())?;
        if self.patterns.iter().all(|own| own.as_str() != item) {
            self.patterns.push(pattern);
        }
        Ok(())
    }

    /// Returns a warning for each pattern that matches more names than `scope` allows.
    pub(super) fn warnings(&self, scope: &Scope) -> impl Iterator<Item = String> {
        let wide = self.patterns.iter().filter(|pattern| !pattern.is_within(scope));
        wide.map(|pattern| {
            format!(
                "the pattern {0} in SIDEKEY_SECRETS is wider than SIDEKEY_ALLOW: Sidekey does not \
                 cache the secrets that SIDEKEY_ALLOW does not allow; use a narrower pattern, or add \
                 {0} to SIDEKEY_ALLOW",
                pattern.as_str()
            )
        })
    }

    /// Returns a warning for each pattern that matches secrets which Sidekey reads by assuming a role.
    /// A search for a pattern finds only secrets of the agent's own account.
    pub(super) fn role_warnings(&self, roles: &RoleRules) -> impl Iterator<Item = String> {
        self.patterns.iter().filter_map(|pattern| {
            let role = roles.role_of_pattern(pattern)?;
            Some(format!(
                "the pattern {} in SIDEKEY_SECRETS is expanded with Sidekey's own credentials, \
                 but [[role]] reads secrets of such names with the role {role}: list these secrets by \
                 their names, so that Sidekey fetches them at start",
                pattern.as_str()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::role::RoleArn;
    use crate::secret::role_rules::RoleRule;

    #[test]
    fn secrets_patterns_and_tags_may_be_mixed() {
        let text = "app/db, app/*/db tag:channel=sms\nssm:/app/* app/*/db,tag:channel";
        let listed = Listed::parse(text).expect("the list must be valid");
        let ids: Vec<&str> = listed.keys.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids, ["app/db", "ssm:/app/*#path"]);
        let patterns: Vec<&str> = listed.patterns.iter().map(SecretPattern::as_str).collect();
        assert_eq!(patterns, ["app/*/db", "tag:channel=sms", "tag:channel"]);
    }

    #[test]
    fn every_malformed_item_is_named() {
        let problem = Listed::parse("a# b/** tag: c").expect_err("malformed items must be refused");
        for expected in ["'a#'", "'b/**': '**' is not supported", "'tag:': the key of the tag"] {
            assert!(problem.contains(expected), "{problem}");
        }
        let many: String = (0..=PATTERNS_MAX).map(|number| format!("a{number}/* ")).collect();
        let problem = Listed::parse(&many).expect_err("too many patterns must be refused");
        assert_eq!(problem, "at most 50 patterns and tags are allowed");
    }

    #[test]
    fn patterns_wider_than_the_scope_cause_warnings() {
        let listed = Listed::parse("app/* other/* tag:a b").expect("the list must be valid");
        let scope = Scope::new(["app/*", "b"]).expect("the patterns must be valid");
        let warnings: Vec<String> = listed.warnings(&scope).collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("the pattern other/* in SIDEKEY_SECRETS is wider"));
    }

    #[test]
    fn patterns_for_names_that_a_role_reads_cause_warnings() {
        let role =
            RoleArn::parse("arn:aws:iam::210987654321:role/reader").expect("the ARN must be valid");
        let secrets =
            Scope::new(["theirs/*", "app/*/db", "ssm:/x/*"]).expect("the patterns must be valid");
        let rules = RoleRules::new(vec![RoleRule { role, secrets }], None);
        for (pattern, expected) in [
            ("theirs/*", 1),
            ("theirs/a*", 1),
            ("*/one", 1),
            ("app/one/*", 1),
            ("app/*", 0),
            ("ours/*", 0),
            ("tag:channel", 0),
        ] {
            let listed = Listed::parse(pattern).expect("the list must be valid");
            let warnings: Vec<String> = listed.role_warnings(&rules).collect();
            assert_eq!(warnings.len(), expected, "{pattern} {warnings:?}");
            let is_named = |warning: &String| {
                warning.contains(&format!("the pattern {pattern} in SIDEKEY_SECRETS"))
                    && warning.contains("the role arn:aws:iam::210987654321:role/reader")
            };
            assert!(warnings.iter().all(is_named), "{warnings:?}");
        }
    }
}
