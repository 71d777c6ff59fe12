//! Sets of secrets that are defined by patterns such as `app/*`. `SIDEKEY_ALLOW` defines the
//! secrets that callers may read. Each cache policy defines the secrets to which it applies.

use super::arn::Arn;
use super::glob::Glob;
use super::matchable;
use super::name::{is_name_char, is_parameter_char};
use super::parameter_path::ParameterPath;
use super::reference::{PARAMETER_PREFIX, SecretId};
use super::role::RoleArn;
use super::service::Service;
use std::borrow::Cow;
use std::iter;

/// The maximum number of patterns in `SIDEKEY_ALLOW` or in one cache policy. The number is limited
/// because Sidekey compares every request for an uncached secret with each pattern.
pub(crate) const PATTERNS_MAX: usize = 1000;

/// The suffix that Sidekey appends to an ARN without AWS's random suffix, before it compares the
/// ARN with patterns. Only AWS knows the real suffix.
const UNKNOWN_SUFFIX: &str = "-xxxxxx";

/// The set of secrets and parameters whose name or ARN matches at least one of the patterns.
/// Without patterns, the set contains every secret and every parameter.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    names: Vec<Glob>,
    /// The patterns for names of parameters, without `ssm:`.
    parameters: Vec<Glob>,
    arns: Vec<Glob>,
}

/// The agent's own AWS region and account. If a caller sends only a secret's name, Sidekey reads
/// the secret in this region and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The AWS region of the agent.
    pub region: Box<str>,
    /// The id of the agent's AWS account. `None` while the agent does not know this id.
    pub account: Option<Box<str>>,
}

impl Home {
    /// Returns the region and account in which Sidekey reads secrets by name. The account is that
    /// of `role`, or the agent's own account if `role` is `None`.
    pub(crate) fn of_role(&self, role: Option<&RoleArn>) -> Cow<'_, Self> {
        match role {
            None => Cow::Borrowed(self),
            Some(role) => {
                let account = Some(role.account().into());
                Cow::Owned(Self { region: self.region.clone(), account })
            }
        }
    }
}

/// The error for a list of patterns for secrets. The error message describes every invalid pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub(crate) struct BadPatterns {
    problems: Vec<String>,
}

impl Scope {
    /// Compiles patterns for secrets and parameters. A pattern that begins with `arn:` matches
    /// ARNs, and a pattern that begins with `ssm:` matches names of parameters. Any other pattern
    /// matches names of secrets.
    ///
    /// A pattern for names matches only secrets and parameters in the agent's own account and
    /// region. A `*` does not match a slash, so `app/*/db` matches only names with two slashes.
    ///
    /// # Errors
    ///
    /// Returns an error if a pattern is invalid or can match no secret, or if there are more than
    /// [`PATTERNS_MAX`] patterns. The error lists all these problems.
    pub(crate) fn new<'a>(
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, BadPatterns> {
        let mut scope = Self::default();
        let mut problems = Vec::new();
        for (index, text) in patterns.into_iter().enumerate() {
            if index == PATTERNS_MAX {
                problems.push(format!(
                    "there are more than {PATTERNS_MAX} patterns; use fewer patterns with wildcards"
                ));
                break;
            }
            let (globs, compiled) = match text.strip_prefix(PARAMETER_PREFIX) {
                Some(name) => (&mut scope.parameters, compile(name, Service::ParameterStore)),
                None if text.starts_with("arn:") => (&mut scope.arns, compile_arn(text)),
                None => (&mut scope.names, compile(text, Service::SecretsManager)),
            };
            match compiled {
                Ok(glob) => globs.push(glob),
                Err(why) => problems.push(format!("pattern '{text}': {why}")),
            }
        }
        if problems.is_empty() { Ok(scope) } else { Err(BadPatterns { problems }) }
    }

    /// Returns whether the set contains all secrets, because it has no patterns.
    pub(crate) fn is_open(&self) -> bool {
        self.names.is_empty() && self.parameters.is_empty() && self.arns.is_empty()
    }

    /// Returns whether the patterns allow the secret `id`. Sidekey calls this function before it
    /// fetches the secret.
    ///
    /// An ARN that ends in a hyphen and six characters is ambiguous. The end can be AWS's random
    /// suffix, or a part of the secret's name. Only AWS knows which secret is meant, so the
    /// patterns must allow both secrets.
    pub(crate) fn admits(&self, id: &SecretId, home: &Home) -> bool {
        match id {
            // Later, Sidekey checks each parameter in AWS's answer.
            SecretId::Path(_) => self.may_contain(Service::ParameterStore),
            _ => self.is_open() || self.interpretations(id, home).all(|is_admitted| is_admitted),
        }
    }

    /// Returns whether the set can contain secrets of `service`.
    pub(crate) fn may_contain(&self, service: Service) -> bool {
        let names = match service {
            Service::SecretsManager => &self.names,
            Service::ParameterStore => &self.parameters,
        };
        let is_of_service = |arn: &Glob| {
            let part = arn.as_str().split(':').nth(2).and_then(|part| Glob::new(part).ok());
            part.is_none_or(|part| part.matches(service.arn_name()))
        };
        self.is_open() || !names.is_empty() || self.arns.iter().any(is_of_service)
    }

    /// Returns whether the patterns allow at least one of the secrets that `id` can mean.
    ///
    /// Use this function only to choose a cache policy, and not to allow a read. An ambiguous ARN
    /// can also mean a secret that the patterns do not allow.
    pub(crate) fn may_admit(&self, id: &SecretId, home: &Home) -> bool {
        self.is_open() || self.interpretations(id, home).any(|is_admitted| is_admitted)
    }

    /// Returns whether the patterns allow a fetched secret. `arn` and `name` are the full ARN and
    /// the name that AWS returned.
    ///
    /// A pattern also matches if it is the secret's ARN without AWS's random suffix. A pattern for
    /// names allows only secrets in `home`, the agent's own region and account.
    pub(crate) fn admits_answer(&self, arn: &Arn, name: &str, home: &Home) -> bool {
        let is_partial = |pattern: &Glob| {
            let partial_len = arn.as_str().len() - arn.resource().len() + name.len();
            arn.service() == Service::SecretsManager
                && Some(pattern.as_str()) == arn.as_str().get(..partial_len)
        };
        self.is_open() || self.admits_arn(arn, name, home, "") || self.arns.iter().any(is_partial)
    }

    /// Returns whether the set has no patterns, or has one pattern that matches all secret names
    /// that `pattern` matches. Use this function only for warnings, because the result can be wrong
    /// if `pattern` contains `?` or brackets.
    pub(super) fn covers(&self, pattern: &Glob) -> bool {
        let any = sample(pattern.as_str());
        self.is_open() || self.names.iter().any(|own| own.matches(&any))
    }

    /// Returns whether a pattern in the set can match the same name of a secret as `pattern`. Use
    /// this function only for warnings, because it misses some cases, such as `a*` and `*b`.
    pub(super) fn overlaps(&self, pattern: &Glob) -> bool {
        self.names.iter().any(|own| {
            let parts = || own.as_str().split('/').zip(pattern.as_str().split('/'));
            own.as_str().matches('/').count() == pattern.as_str().matches('/').count()
                && parts().all(|(one, other)| matches_part(one, other) || matches_part(other, one))
        })
    }

    /// Returns, for each secret that `id` can mean, whether the patterns allow this secret.
    ///
    /// An ARN that ends in a hyphen and six characters can mean two secrets, because the end can be
    /// AWS's random suffix or a part of the secret's name. The ARN of a parameter can mean two
    /// parameters, because the slash after `parameter` can belong to the name or not.
    fn interpretations(&self, id: &SecretId, home: &Home) -> impl Iterator<Item = bool> {
        let (first, second) = match id {
            SecretId::Name(_) | SecretId::Parameter(_) => {
                (self.admits_name(id.service(), id.aws_id()), None)
            }
            SecretId::Path(path) => (self.admits_children(path), None),
            SecretId::Arn(arn) => {
                let suffix_of_first = match arn.service() {
                    Service::SecretsManager => UNKNOWN_SUFFIX,
                    Service::ParameterStore => "",
                };
                let (first, second) = arn.possible_names();
                let first = self.admits_arn(arn, first, home, suffix_of_first);
                (first, second.map(|second| self.admits_arn(arn, second, home, "")))
            }
        };
        iter::once(first).chain(second)
    }

    /// Returns whether the patterns allow the secret or parameter called `name`, whose complete ARN
    /// is `arn` followed by `suffix`.
    fn admits_arn(&self, arn: &Arn, name: &str, home: &Home, suffix: &str) -> bool {
        // The ARN of a public parameter contains no account, because every account can read it.
        let is_own_account =
            arn.account().is_empty() || home.account.as_deref() == Some(arn.account());
        let at_home = arn.region() == &*home.region && is_own_account;
        let full = format!("{arn}{suffix}");
        let is_valid = is_valid_name(arn.service(), name);
        // A pattern that equals the ARN matches even if the suffix of the full ARN is unknown.
        let by_arn = self.arns.iter().any(|pattern| {
            is_literal(pattern, arn.as_str()) || (is_valid && pattern.matches(&full))
        });
        by_arn || (at_home && self.admits_name(arn.service(), name))
    }

    /// Returns whether a pattern matches all parameters directly under `path`.
    fn admits_children(&self, path: &ParameterPath) -> bool {
        let admits = |pattern: &Glob| {
            let parent = pattern.as_str().strip_suffix("/*").and_then(|text| Glob::new(text).ok());
            parent.is_some_and(|parent| parent.matches(path.path().trim_end_matches('/')))
        };
        self.parameters.iter().any(admits)
    }

    /// Returns whether a pattern for names matches `name`, the name of a secret or, without `ssm:`,
    /// of a parameter.
    pub(super) fn admits_name(&self, service: Service, name: &str) -> bool {
        let is_valid = is_valid_name(service, name);
        let patterns = match service {
            Service::SecretsManager => &self.names,
            Service::ParameterStore => &self.parameters,
        };
        patterns
            .iter()
            .any(|pattern| is_literal(pattern, name) || (is_valid && pattern.matches(name)))
    }
}

/// Returns the pattern `text` with each `*` replaced by two control characters, which no name
/// contains. Another pattern matches the result only if it has wildcards that match these
/// characters.
fn sample(text: &str) -> String {
    text.replace('*', "\u{1}\u{1}")
}

/// Returns whether the pattern `part`, which contains no slash, matches all texts that the pattern
/// `other` matches.
fn matches_part(part: &str, other: &str) -> bool {
    Glob::new(part).is_ok_and(|part| part.matches(&sample(other)))
}

fn compile(text: &str, service: Service) -> Result<Glob, String> {
    let glob = Glob::new(text).map_err(|bad| bad.to_string())?;
    matchable::check_name(&glob, service).map_err(|bad| bad.to_string())?;
    Ok(glob)
}

fn compile_arn(text: &str) -> Result<Glob, String> {
    let glob = Glob::new(text).map_err(|bad| bad.to_string())?;
    matchable::check_arn(&glob).map_err(|bad| bad.to_string())?;
    Ok(glob)
}

/// Returns whether `pattern` equals `text` and contains no wildcards.
///
/// The pattern `app/*` must not match a request for a secret called `app/*`, because no secret can
/// have this name.
fn is_literal(pattern: &Glob, text: &str) -> bool {
    pattern.as_str() == text && !text.contains(['*', '?', '['])
}

/// Returns whether wildcards in patterns may match this name of a secret or parameter.
///
/// Wildcards match only names that a secret or parameter can have. They do not match a name with
/// `.` or `..` between slashes, because a program that uses such a name as a file path would leave
/// its folder.
pub(super) fn is_valid_name(service: Service, name: &str) -> bool {
    let is_valid_char = match service {
        Service::SecretsManager => is_name_char,
        Service::ParameterStore => is_parameter_char,
    };
    name.chars().all(is_valid_char)
        && name.split('/').all(|segment| ![".", ".."].contains(&segment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::text_of;
    use proptest::prelude::*;

    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";
    const THERE: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:";
    const OTHERS: &str = "arn:aws:secretsmanager:eu-north-1:210987654321:secret:";

    fn home(account: Option<&str>) -> Home {
        Home { region: "eu-north-1".into(), account: account.map(Into::into) }
    }

    #[track_caller]
    fn check(patterns: &[&str], id: &str, expected: bool) {
        let scope = Scope::new(patterns.iter().copied()).expect("the patterns must be valid");
        let id = SecretId::parse(id).expect("the name or ARN must be valid");
        assert_eq!(scope.admits(&id, &home(Some("123456789012"))), expected, "{patterns:?} {id:?}");
    }

    #[test]
    fn parameters_are_matched_by_patterns_of_their_own() {
        const STORE: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";
        check(&["ssm:/app/*"], "ssm:/app/url", true);
        check(&["ssm:/app/*"], &format!("{STORE}/app/url"), true);
        check(&["ssm:/app/*"], "ssm:/app/a/url", false);
        check(&["ssm:/app/*"], "/app/url", false);
        check(&["/app/*", "*"], "ssm:/app/url", false);
        check(&["*"], "ssm:url", false);
        check(&["ssm:*"], "ssm:url", true);
        check(&["ssm:/app/*"], "ssm:/app/../url", false);
        check(&["ssm:/app/*"], "ssm:/app/a+b", false);
        check(&[&format!("{STORE}/app/*")], &format!("{STORE}/app/url"), true);
        check(&[&format!("{STORE}/app/*")], "ssm:/app/url", false);
        check(&["ssm:/app/*"], "arn:aws:ssm:us-east-1:123456789012:parameter/app/url", false);
        check(&["ssm:/aws/*/x"], "arn:aws:ssm:eu-north-1::parameter/aws/service/x", true);
        check(&["ssm:/aws/*/x"], "arn:aws:ssm:us-east-1::parameter/aws/service/x", false);
        // The name can be `url` or `/url`, so both must be allowed.
        check(&["ssm:url"], &format!("{STORE}/url"), false);
        check(&["ssm:url", "ssm:/url"], &format!("{STORE}/url"), true);
    }

    #[test]
    fn path_is_allowed_if_a_parameter_can_be_allowed() {
        let path = SecretId::Path(ParameterPath::new("/app", false, None));
        let home = home(None);
        for (patterns, admits, may_admit) in [
            (&[][..], true, true),
            (&["app/*"], false, false),
            (&["arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/*"], false, false),
            (&["arn:aws:ssm:eu-north-1:123456789012:parameter/app/*"], true, false),
            (&["ssm:/app/url"], true, false),
            (&["ssm:/app/*"], true, true),
            (&["ssm:/*/*"], true, true),
            (&["ssm:/a[a-z]p/*"], true, true),
            (&["ssm:/app/u*"], true, false),
            (&["ssm:/app/*/*"], true, false),
        ] {
            let scope = Scope::new(patterns.iter().copied()).expect("the patterns must be valid");
            let found = (scope.admits(&path, &home), scope.may_admit(&path, &home));
            assert_eq!(found, (admits, may_admit), "{patterns:?}");
        }
    }

    #[test]
    fn services_of_a_set_follow_from_its_patterns() {
        for (pattern, secrets, parameters) in [
            ("app/*", true, false),
            ("ssm:/app/*", false, true),
            ("arn:aws:secretsmanager:eu-north-1:123456789012:secret:*", true, false),
            ("arn:aws:ssm:eu-north-1:123456789012:parameter/*", false, true),
        ] {
            let scope = Scope::new([pattern]).expect("the pattern must be valid");
            let found = Service::ALL.map(|service| scope.may_contain(service));
            assert_eq!(found, [secrets, parameters], "{pattern}");
        }
        assert!(Scope::default().may_contain(Service::ParameterStore));
    }

    #[test]
    fn scope_without_patterns_contains_all_secrets() {
        check(&[], "anything/at/all", true);
        check(&[], &format!("{OTHERS}x"), true);
    }

    #[test]
    fn star_does_not_match_a_slash() {
        let patterns = ["whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp"];
        check(&patterns, "whatsapp-credentials/acme/support/twilio", true);
        check(&patterns, "openai-api-key/whatsapp", true);
        check(&patterns, "whatsapp-credentials/acme/twilio", false);
        check(&patterns, "whatsapp-credentials/acme/a/b/twilio", false);
        check(&patterns, "sms-credentials/acme/support/twilio", false);
        check(&patterns, "openai-api-key/whatsapp2", false);
        check(&patterns, "Openai-api-key/whatsapp", false);
    }

    #[test]
    fn wildcards_match_only_valid_names() {
        let theirs = format!("{OTHERS}*");
        let patterns = ["app/*/db", "rds!*", "odd/..", &theirs];
        check(&patterns, "app/a.b/db", true);
        check(&patterns, "rds!db-1", true);
        for id in ["app/../db", "app/./db", "app/a b/db", "app/*/db", "app/é/db", "app/%2e/db"] {
            check(&patterns, id, false);
        }
        // The parser of ARNs has already checked the characters of the name.
        check(&patterns, &format!("{HERE}app/../db"), false);
        check(&patterns, "odd/..", true);
        check(&patterns, &format!("{OTHERS}x-AbC123"), true);
        check(&patterns, &format!("{OTHERS}..-AbC123"), false);
        check(&["shared/*"], "shared/..", false);
    }

    #[test]
    fn name_patterns_match_only_the_own_account_and_region() {
        check(&["app/db"], &format!("{HERE}app/db"), true);
        check(&["app/db"], &format!("{THERE}app/db"), false);
        check(&["app/db"], &format!("{OTHERS}app/db"), false);
        let scope = Scope::new(["app/db"]).expect("the pattern must be valid");
        let id = SecretId::parse(&format!("{HERE}app/db")).expect("the ARN must be valid");
        assert!(
            !scope.admits(&id, &home(None)),
            "if the agent does not know its account, no ARN must count as a secret of this account"
        );
    }

    #[test]
    fn ambiguous_arn_must_be_admitted_as_full_and_as_partial() {
        check(&["app"], &format!("{HERE}app-secret"), false);
        check(&["app-secret"], &format!("{HERE}app-secret"), false);
        check(&["app", "app-secret"], &format!("{HERE}app-secret"), true);
        check(&["app*"], &format!("{HERE}app-secret"), true);
        check(&[&format!("{HERE}app-??????")], &format!("{HERE}app-secret"), false);
        check(&[&format!("{HERE}app-*")], &format!("{HERE}app-secret"), true);
        check(&[&format!("{HERE}app-secret")], &format!("{HERE}app-secret"), true);
    }

    #[test]
    fn ambiguous_arn_may_be_admitted_as_full_or_as_partial() {
        for (pattern, id, expected) in [
            ("app", format!("{HERE}app-secret"), true),
            ("app-secret", format!("{HERE}app-secret"), true),
            ("app", format!("{THERE}app-secret"), false),
            ("secret", format!("{HERE}app-secret"), false),
            ("app", "app".to_owned(), true),
            ("app", "app-secret".to_owned(), false),
        ] {
            let scope = Scope::new([pattern]).expect("the pattern must be valid");
            let read = SecretId::parse(&id).expect("the name or ARN must be valid");
            let here = home(Some("123456789012"));
            assert_eq!(scope.may_admit(&read, &here), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn arn_patterns_match_other_accounts_and_regions() {
        check(&[&format!("{OTHERS}shared/*")], &format!("{OTHERS}shared/key"), true);
        check(&[&format!("{OTHERS}shared/*")], &format!("{HERE}shared/key"), false);
        check(&[&format!("{HERE}app/*")], "app/db", false);
    }

    #[test]
    fn answer_is_checked_by_the_arn_and_name_that_aws_returned() {
        let others = [format!("{OTHERS}shared-??????"), format!("{OTHERS}partial")];
        let patterns = ["app", &others[0], &others[1]];
        let scope = Scope::new(patterns).expect("the patterns must be valid");
        let here = home(Some("123456789012"));
        for (arn, name, expected) in [
            (format!("{HERE}app-AbC123"), "app", true),
            (format!("{HERE}app-secret-AbC123"), "app-secret", false),
            (format!("{THERE}app-AbC123"), "app", false),
            (format!("{OTHERS}shared-AbC123"), "shared", true),
            (format!("{OTHERS}shared-secret-AbC123"), "shared-secret", false),
            (format!("{OTHERS}partial-AbC123"), "partial", true),
        ] {
            let arn = Arn::parse(&arn).expect("the ARN must be valid");
            assert_eq!(scope.admits_answer(&arn, name, &here), expected, "{arn}");
        }
    }

    #[test]
    fn invalid_pattern_is_quoted() {
        for text in ["app/**", "app/[x", "^app/.*$", "app/\u{e4}"] {
            let problem = Scope::new([text]).expect_err("the pattern must be refused").to_string();
            assert!(problem.contains(text), "{problem}");
        }
    }

    #[test]
    fn forged_reference_cannot_slow_down_matching() {
        let patterns = ["app-*-*-*-*-*-*-*-*-*-*-*-*/db", "*a*a*a*a*a*a*a*a*a*a*a*a/db"];
        let name = format!("app{}", "-a".repeat(1_000));
        check(&patterns, &format!("{name}/forged"), false);
        check(&patterns, &format!("{name}/db"), true);
        check(&patterns, &format!("{HERE}{}/forged", &name[..1_900]), false);
    }

    #[test]
    fn number_of_patterns_is_limited() {
        let scope = |count| Scope::new(iter::repeat_n("app", count));
        assert!(scope(PATTERNS_MAX).is_ok());
        let problem = scope(PATTERNS_MAX + 1).expect_err("the list must be refused").to_string();
        assert_eq!(problem, "there are more than 1000 patterns; use fewer patterns with wildcards");
    }

    proptest! {
        #[test]
        fn for_any_id_wildcards_admit_only_valid_names(
            text in text_of(&["app", "/", "db", ".", "..", "*", HERE, OTHERS, "-AbC123", " "]),
        ) {
            let others = format!("{OTHERS}app/*");
            let scope = Scope::new(["app/*/db", "*", "[!a]?*/*", &others])
                .expect("the patterns must be valid");
            let here = home(Some("123456789012"));
            let Ok(id) = SecretId::parse(&text) else { return Ok(()) };
            if scope.admits(&id, &here) {
                prop_assert!(scope.may_admit(&id, &here));
                let name = match &id {
                    SecretId::Arn(arn) => arn.resource(),
                    SecretId::Name(_) | SecretId::Parameter(_) => id.aws_id(),
                    SecretId::Path(_) => unreachable!("no text parses to a path"),
                };
                prop_assert!(name.chars().all(is_name_char));
                prop_assert!(!name.split('/').any(|part| part == "." || part == ".."));
            }
        }
    }
}
