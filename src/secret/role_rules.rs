//! Decides with which role Sidekey reads a secret.

use super::reference::{PARAMETER_PREFIX, SecretId};
use super::role::{RoleArn, RolePattern};
use super::scope::{Home, Scope};
use super::secret_pattern::SecretPattern;
use super::service::Service;

/// The configured rules that choose the role with which Sidekey reads a secret: the tables
/// `[[role]]`, and `SIDEKEY_ROLES`.
#[derive(Clone, Debug, Default)]
pub struct RoleRules {
    rules: Vec<RoleRule>,
    allowed: Option<Vec<RolePattern>>,
}

/// A table `[[role]]` with the key `match`: a role, and the secrets that Sidekey reads with this
/// role.
#[derive(Clone, Debug)]
pub(crate) struct RoleRule {
    pub(crate) role: RoleArn,
    pub(crate) secrets: Scope,
}

/// Error: no pattern in `SIDEKEY_ROLES` matches the role of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no pattern in SIDEKEY_ROLES matches the role {0}")]
pub(crate) struct ForbiddenRole(pub(crate) RoleArn);

impl RoleRules {
    /// Creates the rules. The first of `rules` that matches a secret wins. `allowed` contains the
    /// patterns of `SIDEKEY_ROLES`, or is `None` if the variable is unset.
    pub(crate) fn new(rules: Vec<RoleRule>, allowed: Option<Vec<RolePattern>>) -> Self {
        Self { rules, allowed }
    }

    /// Returns whether Sidekey uses its own credentials for every request without the query
    /// parameter `roleArn`.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns whether `SIDEKEY_ROLES` allows Sidekey to assume `role`.
    pub(crate) fn allow(&self, role: &RoleArn) -> bool {
        let matches = |allowed: &Vec<RolePattern>| allowed.iter().any(|own| own.matches(role));
        self.allowed.as_ref().is_none_or(matches)
    }

    /// Returns the role with which Sidekey reads the secret or parameter `id`, the text of a name
    /// or ARN, such as `app/db` or `ssm:/app/url`. `None` means Sidekey's own credentials.
    ///
    /// `requested` is the role that the request names. This role takes precedence over the rules.
    /// The function allocates no memory, unless rules exist and `id` is an ARN.
    ///
    /// # Errors
    ///
    /// Returns an error if `SIDEKEY_ROLES` does not allow the requested role.
    pub(crate) fn role_of<'a>(
        &'a self,
        requested: Option<&'a RoleArn>,
        id: &str,
    ) -> Result<Option<&'a RoleArn>, ForbiddenRole> {
        match requested {
            Some(role) if self.allow(role) => Ok(Some(role)),
            Some(role) => Err(ForbiddenRole(role.clone())),
            None => Ok(self.matching(id)),
        }
    }

    /// Returns the role of the first rule that matches the text `id`.
    fn matching(&self, id: &str) -> Option<&RoleArn> {
        if self.is_empty() {
            return None;
        }
        let by_name =
            |service, name| self.rules.iter().find(|rule| rule.secrets.admits_name(service, name));
        let rule = match id.strip_prefix(PARAMETER_PREFIX) {
            Some(name) => by_name(Service::ParameterStore, name),
            None if id.starts_with("arn:") => return self.role_of_id(&SecretId::parse(id).ok()?),
            None => by_name(Service::SecretsManager, id),
        };
        rule.map(|rule| &rule.role)
    }

    /// Returns the role of the first rule that matches the secret, parameter or path `id`. A
    /// pattern of names matches names, and also ARNs in the account of the rule's role.
    pub(crate) fn role_of_id(&self, id: &SecretId) -> Option<&RoleArn> {
        let matches = |rule: &&RoleRule| {
            let region = id.region().unwrap_or_default().into();
            let home = Home { region, account: Some(rule.role.account().into()) };
            !rule.secrets.is_open() && rule.secrets.may_admit(id, &home)
        };
        self.rules.iter().find(matches).map(|rule| &rule.role)
    }

    /// Returns the role of the first rule that may apply to a secret whose name `pattern` matches.
    pub(crate) fn role_of_pattern(&self, pattern: &SecretPattern) -> Option<&RoleArn> {
        let rule = self.rules.iter().find(|rule| pattern.may_overlap(&rule.secrets));
        rule.map(|rule| &rule.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::parameter_path::ParameterPath;

    const READER: &str = "arn:aws:iam::210987654321:role/reader";
    const AUDITOR: &str = "arn:aws:iam::111122223333:role/auditor";
    const THEIRS: &str = "arn:aws:secretsmanager:eu-north-1:210987654321:secret:";

    fn role(arn: &str) -> RoleArn {
        RoleArn::parse(arn).expect("the ARN of the role in the test must be valid")
    }

    fn rules(pairs: &[(&str, &[&str])], allowed: Option<&[&str]>) -> RoleRules {
        let rule = |(arn, patterns): &(&str, &[&str])| RoleRule {
            role: role(arn),
            secrets: Scope::new(patterns.iter().copied()).expect("the patterns must be valid"),
        };
        let pattern = |text: &&str| RolePattern::parse(text).expect("the pattern must be valid");
        let allowed = allowed.map(|allowed| allowed.iter().map(pattern).collect());
        RoleRules::new(pairs.iter().map(rule).collect(), allowed)
    }

    #[track_caller]
    fn check(rules: &RoleRules, id: &str, expected: Option<&str>) {
        let found = rules.role_of(None, id).expect("choosing the role must succeed");
        assert_eq!(found.map(RoleArn::as_str), expected, "{id}");
        let parsed = SecretId::parse(id).expect("the name or ARN must be valid");
        assert_eq!(rules.role_of_id(&parsed).map(RoleArn::as_str), expected, "{id}");
    }

    #[test]
    fn first_rule_that_matches_chooses_the_role() {
        let theirs = format!("{THEIRS}other/*");
        let rules = rules(
            &[(READER, &["shared/*", "ssm:/shared/*", &theirs]), (AUDITOR, &["*/key", "ssm:x"])],
            None,
        );
        check(&rules, "shared/key", Some(READER));
        check(&rules, "own/key", Some(AUDITOR));
        check(&rules, "own/db", None);
        check(&rules, "ssm:/shared/url", Some(READER));
        check(&rules, "ssm:x", Some(AUDITOR));
        check(&rules, "/shared/url", None);
        check(&rules, &format!("{THEIRS}other/db-AbC123"), Some(READER));
        check(&rules, "other/db", None);
    }

    #[test]
    fn pattern_for_names_matches_arns_in_the_account_of_its_role() {
        let rules = rules(&[(READER, &["shared/*", "ssm:/shared/*"])], None);
        for (arn, expected) in [
            (format!("{THEIRS}shared/db-AbC123"), Some(READER)),
            (format!("{THEIRS}shared/db"), Some(READER)),
            (THEIRS.replace("eu-north-1", "us-east-1") + "shared/db-AbC123", Some(READER)),
            (THEIRS.replace("210987654321", "123456789012") + "shared/db-AbC123", None),
            ("arn:aws:ssm:eu-north-1:210987654321:parameter/shared/url".to_owned(), Some(READER)),
            ("arn:aws:ssm:eu-north-1:123456789012:parameter/shared/url".to_owned(), None),
        ] {
            check(&rules, &arn, expected);
        }
        let path = |path| SecretId::Path(ParameterPath::new(path, false, None));
        assert_eq!(rules.role_of_id(&path("/shared")).map(RoleArn::as_str), Some(READER));
        assert_eq!(rules.role_of_id(&path("/app")), None);
    }

    #[test]
    fn requested_role_wins_and_must_be_allowed() {
        let allowed = ["arn:aws:iam::210987654321:role/*"];
        for (allowed, requested, expected) in [
            (None, READER, Ok(READER)),
            (None, AUDITOR, Ok(AUDITOR)),
            (Some(&allowed[..]), READER, Ok(READER)),
            (Some(&allowed), AUDITOR, Err(ForbiddenRole(role(AUDITOR)))),
            (Some(&[]), READER, Err(ForbiddenRole(role(READER)))),
        ] {
            let rules = rules(&[(READER, &["*"])], allowed);
            let requested = role(requested);
            let found = rules.role_of(Some(&requested), "app");
            let found =
                found.map(|role| role.expect("the requested role must be returned").as_str());
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn text_that_is_not_an_arn_gets_no_role() {
        let rules = rules(&[(READER, &["*"])], None);
        assert_eq!(rules.role_of(None, "arn:aws:s3:::bucket"), Ok(None));
        assert_eq!(rules.role_of(None, "arn:"), Ok(None));
        assert_eq!(RoleRules::default().role_of(None, "app"), Ok(None));
    }
}
