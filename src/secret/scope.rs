//! Secrets, told by patterns: what may be read, and what a policy is for.

use super::arn::Arn;
use super::glob::Glob;
use super::name::is_name_char;
use super::reference::SecretId;
use std::iter;

/// The most patterns of one list. Each request for a secret that is not cached is matched with them.
pub const PATTERNS_MAX: usize = 1000;

/// What stands for the six characters of a suffix that nobody knows yet.
const UNKNOWN_SUFFIX: &str = "-xxxxxx";

/// The secrets that patterns cover; without patterns, all of them.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    names: Vec<Glob>,
    arns: Vec<Glob>,
}

/// Where the function itself lives: what a plain name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The function's region.
    pub region: Box<str>,
    /// The function's account, once it is known.
    pub account: Option<Box<str>>,
}

/// Why patterns cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct BadPatterns {
    problems: Vec<String>,
}

impl Scope {
    /// Compiles patterns. One that begins with `arn:` matches ARNs, any other matches names in the
    /// function's own account and region. A `*` stays within one path segment, so that
    /// `whatsapp-credentials/*/*/twilio` means one depth.
    ///
    /// # Errors
    ///
    /// Names every pattern that is malformed. Refuses more than [`PATTERNS_MAX`] patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPatterns> {
        let mut scope = Self::default();
        let mut problems = Vec::new();
        for (text, before) in patterns.into_iter().zip(0..) {
            if before == PATTERNS_MAX {
                problems.push(format!("more than {PATTERNS_MAX} patterns; use wildcards"));
                break;
            }
            let own = if text.starts_with("arn:") { &mut scope.arns } else { &mut scope.names };
            match Glob::new(text) {
                Ok(pattern) => own.push(pattern),
                Err(why) => problems.push(format!("pattern '{text}': {why}")),
            }
        }
        if problems.is_empty() { Ok(scope) } else { Err(BadPatterns { problems }) }
    }

    /// Returns whether everything is covered.
    pub fn is_open(&self) -> bool {
        self.names.is_empty() && self.arns.is_empty()
    }

    /// Returns whether `id` may be asked for, before anything is known of the secret but its
    /// reference.
    ///
    /// An ARN that ends in a hyphen and six characters may be a full one, or the partial ARN of a
    /// secret whose name ends so. Nobody can tell before AWS answers: it must be allowed as both.
    pub fn admits(&self, id: &SecretId, home: &Home) -> bool {
        self.is_open() || self.readings(id, home).all(|is_covered| is_covered)
    }

    /// Returns whether `id` can mean a secret that is covered: an ARN does where either of its
    /// readings is. That is not enough for handing a value out.
    pub fn may_admit(&self, id: &SecretId, home: &Home) -> bool {
        self.is_open() || self.readings(id, home).any(|is_covered| is_covered)
    }

    /// Returns whether the secret that an answer names may be handed out.
    ///
    /// A pattern without a wildcard may be the partial ARN, which is the full one up to its name.
    pub fn admits_answer(&self, arn: &Arn, name: &str, home: &Home) -> bool {
        let partial_len = arn.as_str().len() - arn.resource().len() + name.len();
        let partial = arn.as_str().get(..partial_len);
        self.is_open()
            || self.admits_arn(arn, name, home, "")
            || self.arns.iter().any(|pattern| Some(pattern.as_str()) == partial)
    }

    /// Judges each reading of `id`.
    fn readings(&self, id: &SecretId, home: &Home) -> impl Iterator<Item = bool> {
        let (first, second) = match id {
            SecretId::Name(name) => (self.admits_name(name), None),
            SecretId::Arn(arn) => {
                let (whole, stripped) = arn.possible_names();
                let as_full = stripped.map(|name| self.admits_arn(arn, name, home, ""));
                (self.admits_arn(arn, whole, home, UNKNOWN_SUFFIX), as_full)
            }
        };
        iter::once(first).chain(second)
    }

    /// Judges one reading of `arn`: that it means the secret called `name`, and that its full ARN
    /// is the text plus `suffix`.
    fn admits_arn(&self, arn: &Arn, name: &str, home: &Home, suffix: &str) -> bool {
        let at_home =
            arn.region() == &*home.region && home.account.as_deref() == Some(arn.account());
        let full = format!("{arn}{suffix}");
        let is_plain = is_plain(name);
        let is_it = |p: &Glob| {
            // It names one ARN as it is written: nothing to misread.
            is_written_out(p, arn.as_str()) || (is_plain && p.matches(&full))
        };
        self.arns.iter().any(is_it) || (at_home && self.admits_name(name))
    }

    fn admits_name(&self, name: &str) -> bool {
        let is_plain = is_plain(name);
        let is_it = |p: &Glob| is_written_out(p, name) || (is_plain && p.matches(name));
        self.names.iter().any(is_it)
    }
}

/// Returns whether a pattern is `text` and has no wildcard: one that has is nobody's name.
fn is_written_out(pattern: &Glob, text: &str) -> bool {
    pattern.as_str() == text && !text.contains(['*', '?', '['])
}

/// Returns whether a wildcard may stand for part of this name. What no secret can be called is forged,
/// and dots alone are a way up a path for whoever takes a name for one.
fn is_plain(name: &str) -> bool {
    name.chars().all(is_name_char) && name.split('/').all(|segment| ![".", ".."].contains(&segment))
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
        let scope = Scope::new(patterns.iter().copied()).expect("good patterns");
        let id = SecretId::parse(id).expect("a good id");
        assert_eq!(scope.admits(&id, &home(Some("123456789012"))), expected, "{patterns:?} {id:?}");
    }

    #[test]
    fn without_patterns_everything_may_be_asked() {
        check(&[], "anything/at/all", true);
        check(&[], &format!("{OTHERS}x"), true);
    }

    #[test]
    fn a_star_stays_within_one_segment() {
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
    fn a_wildcard_takes_nothing_that_no_secret_can_be_called() {
        let theirs = format!("{OTHERS}*");
        let patterns = ["app/*/db", "rds!*", "odd/..", &theirs];
        check(&patterns, "app/a.b/db", true);
        check(&patterns, "rds!db-1", true);
        for id in ["app/../db", "app/./db", "app/a b/db", "app/*/db", "app/é/db", "app/%2e/db"] {
            check(&patterns, id, false);
        }
        // An ARN is held to the alphabet of names already.
        check(&patterns, &format!("{HERE}app/../db"), false);
        check(&patterns, "odd/..", true);
        check(&patterns, &format!("{OTHERS}x-AbC123"), true);
        check(&patterns, &format!("{OTHERS}..-AbC123"), false);
        check(&["shared/*"], "shared/..", false);
    }

    #[test]
    fn name_patterns_cover_the_own_account_and_region_only() {
        check(&["app/db"], &format!("{HERE}app/db"), true);
        check(&["app/db"], &format!("{THERE}app/db"), false);
        check(&["app/db"], &format!("{OTHERS}app/db"), false);
        let scope = Scope::new(["app/db"]).expect("a good pattern");
        let id = SecretId::parse(&format!("{HERE}app/db")).expect("an ARN");
        assert!(!scope.admits(&id, &home(None)), "an unknown account is not the own one");
    }

    #[test]
    fn an_ambiguous_end_must_be_allowed_as_both() {
        check(&["app"], &format!("{HERE}app-secret"), false);
        check(&["app-secret"], &format!("{HERE}app-secret"), false);
        check(&["app", "app-secret"], &format!("{HERE}app-secret"), true);
        check(&["app*"], &format!("{HERE}app-secret"), true);
        check(&[&format!("{HERE}app-??????")], &format!("{HERE}app-secret"), false);
        check(&[&format!("{HERE}app-*")], &format!("{HERE}app-secret"), true);
        check(&[&format!("{HERE}app-secret")], &format!("{HERE}app-secret"), true);
    }

    #[test]
    fn an_ambiguous_end_can_mean_either() {
        for (pattern, id, expected) in [
            ("app", format!("{HERE}app-secret"), true),
            ("app-secret", format!("{HERE}app-secret"), true),
            ("app", format!("{THERE}app-secret"), false),
            ("secret", format!("{HERE}app-secret"), false),
            ("app", "app".to_owned(), true),
            ("app", "app-secret".to_owned(), false),
        ] {
            let scope = Scope::new([pattern]).expect("a good pattern");
            let read = SecretId::parse(&id).expect("a good id");
            let here = home(Some("123456789012"));
            assert_eq!(scope.may_admit(&read, &here), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn arn_patterns_reach_other_accounts_and_regions() {
        check(&[&format!("{OTHERS}shared/*")], &format!("{OTHERS}shared/key"), true);
        check(&[&format!("{OTHERS}shared/*")], &format!("{HERE}shared/key"), false);
        check(&[&format!("{HERE}app/*")], "app/db", false);
    }

    #[test]
    fn an_answer_is_judged_by_the_secret_it_names() {
        let others = [format!("{OTHERS}shared-??????"), format!("{OTHERS}partial")];
        let patterns = ["app", &others[0], &others[1]];
        let scope = Scope::new(patterns).expect("good patterns");
        let here = home(Some("123456789012"));
        for (arn, name, expected) in [
            (format!("{HERE}app-AbC123"), "app", true),
            (format!("{HERE}app-secret-AbC123"), "app-secret", false),
            (format!("{THERE}app-AbC123"), "app", false),
            (format!("{OTHERS}shared-AbC123"), "shared", true),
            (format!("{OTHERS}shared-secret-AbC123"), "shared-secret", false),
            (format!("{OTHERS}partial-AbC123"), "partial", true),
        ] {
            let arn = Arn::parse(&arn).expect("an ARN");
            assert_eq!(scope.admits_answer(&arn, name, &here), expected, "{arn}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named() {
        for text in ["app/**", "app/[x"] {
            let problem = Scope::new([text]).expect_err("a bad pattern").to_string();
            assert!(problem.contains(text), "{problem}");
        }
    }

    #[test]
    fn a_forged_reference_cannot_make_matching_slow() {
        let patterns = ["app-*-*-*-*-*-*-*-*-*-*-*-*/db", "*a*a*a*a*a*a*a*a*a*a*a*a/db"];
        let name = format!("app{}", "-a".repeat(1_000));
        check(&patterns, &format!("{name}/forged"), false);
        check(&patterns, &format!("{name}/db"), true);
        check(&patterns, &format!("{HERE}{}/forged", &name[..1_900]), false);
    }

    #[test]
    fn a_list_of_patterns_has_a_limit() {
        let scope = |count| Scope::new(iter::repeat_n("app", count));
        assert!(scope(PATTERNS_MAX).is_ok());
        let problem = scope(PATTERNS_MAX + 1).expect_err("too many").to_string();
        assert_eq!(problem, "more than 1000 patterns; use wildcards");
    }

    proptest! {
        #[test]
        fn for_any_id_a_wildcard_admits_only_what_a_secret_can_be_called(
            text in text_of(&["app", "/", "db", ".", "..", "*", HERE, OTHERS, "-AbC123", " "]),
        ) {
            let others = format!("{OTHERS}app/*");
            let scope = Scope::new(["app/*/db", "*", "[!a]?*/*", &others]).expect("good patterns");
            let here = home(Some("123456789012"));
            let Ok(id) = SecretId::parse(&text) else { return Ok(()) };
            if scope.admits(&id, &here) {
                prop_assert!(scope.may_admit(&id, &here));
                let name = match &id {
                    SecretId::Name(name) => name,
                    SecretId::Arn(arn) => arn.resource(),
                };
                prop_assert!(name.chars().all(is_name_char));
                prop_assert!(!name.split('/').any(|part| part == "." || part == ".."));
            }
        }
    }
}
