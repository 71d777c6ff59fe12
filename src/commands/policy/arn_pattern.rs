//! The ARN pattern by which IAM knows a secret that is named by a reference, or secrets that are
//! named by a pattern.

use crate::secret::arn::Arn;
use crate::secret::name::{NAME_CHARS_MAX, is_name_char};
use crate::secret::reference::{BadReference, Reference, SecretId};

/// What stands for the hyphen and the six characters that Secrets Manager appends to a name. Exact:
/// `-*` would also cover every name that goes on behind a hyphen.
pub(super) const SUFFIX: &str = "-??????";

/// Where plain names are: as text, or as what a template fills in.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) partition: Option<String>,
    pub(super) region: Option<String>,
    pub(super) account: Option<String>,
}

/// Why there is no ARN pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::commands) enum BadTarget {
    /// It is no reference.
    #[error(transparent)]
    Reference(#[from] BadReference),
    /// It has a class of characters.
    #[error("IAM has no [...]; write '?' for one character, '*' for any, or each name")]
    Class,
    /// It has more stars than mean anything.
    #[error("'**' is not supported; write one '*' for each segment")]
    DoubleStar,
    /// A pattern has a character that no name has.
    #[error("character {at} is none of A-Za-z0-9/_+=.@!- and no wildcard")]
    Character {
        /// The position, counted from 1.
        at: usize,
    },
    /// A pattern is longer than a name can be.
    #[error("longer than the {NAME_CHARS_MAX} characters of a name")]
    TooLong,
    /// A pattern begins like an ARN and is none of secrets.
    #[error("arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:PATTERN expected")]
    Arn,
    /// A plain name means nothing without a region.
    #[error("a name is in a region: give --region, or set AWS_REGION")]
    NoRegion,
    /// A plain name means nothing without an account.
    #[error(
        "a name is in an account: give --account (aws sts get-caller-identity tells it), or \
         --terraform or --sam, which fill it in"
    )]
    NoAccount,
}

/// Returns the ARN pattern of what is meant: a reference, or a pattern as `SIDEKEY_ALLOW` has them.
///
/// A `*` of Sidekey's stays within one path segment. IAM's does not, so the ARN pattern may cover
/// more.
pub(super) fn arn_pattern(text: &str, place: &Place) -> Result<String, BadTarget> {
    let whole = text.split_once('#').map_or(text, |(whole, _)| whole);
    if whole.contains(['*', '?', '[']) {
        return of_pattern(whole, place);
    }
    Ok(match Reference::parse(text)?.id {
        SecretId::Name(name) => at(place, &name)?,
        SecretId::Arn(arn) if is_full(&arn) => arn.to_string(),
        SecretId::Arn(arn) => format!("{arn}{SUFFIX}"),
    })
}

/// Returns a doubt about how an ARN was read, if there is one: a suffix hardly ever is all small
/// letters, and the last word of a name mostly is.
pub(super) fn doubt(text: &str) -> Option<String> {
    let SecretId::Arn(arn) = Reference::parse(text).ok()?.id else { return None };
    let (whole, name) = arn.possible_names();
    let suffix = &whole[name?.len() + 1..];
    suffix.bytes().all(|byte| byte.is_ascii_lowercase()).then(|| {
        format!(
            "{arn} was read as a full ARN; where '{suffix}' is a part of the name, write the ARN \
             with {SUFFIX} behind it"
        )
    })
}

fn is_full(arn: &Arn) -> bool {
    arn.possible_names().1.is_some()
}

fn at(place: &Place, name: &str) -> Result<String, BadTarget> {
    let region = place.region.as_deref().ok_or(BadTarget::NoRegion)?;
    let partition = place.partition.as_deref().ok_or(BadTarget::NoRegion)?;
    let account = place.account.as_deref().ok_or(BadTarget::NoAccount)?;
    Ok(format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}{SUFFIX}"))
}

fn of_pattern(pattern: &str, place: &Place) -> Result<String, BadTarget> {
    if pattern.contains('[') {
        return Err(BadTarget::Class);
    }
    if pattern.contains("**") {
        return Err(BadTarget::DoubleStar);
    }
    let name = match pattern.starts_with("arn:") {
        true => name_part(pattern).ok_or(BadTarget::Arn)?,
        false => pattern,
    };
    if name.len() > NAME_CHARS_MAX {
        return Err(BadTarget::TooLong);
    }
    let is_meant = |c: char| is_name_char(c) || "*?".contains(c);
    if let Some(offset) = name.find(|c| !is_meant(c)) {
        let before = pattern.len() - name.len() + offset;
        return Err(BadTarget::Character { at: pattern[..before].chars().count() + 1 });
    }
    match pattern.starts_with("arn:") {
        true if may_end_in_suffix(name) => Ok(pattern.to_owned()),
        true => Ok(format!("{pattern}{SUFFIX}")),
        false => at(place, name),
    }
}

/// Returns what stands for the name in the pattern of an ARN, where all before it makes sense.
fn name_part(pattern: &str) -> Option<&str> {
    let parts: Vec<&str> = pattern.splitn(7, ':').collect();
    let [_, partition, service, region, account, kind, name] = parts[..] else { return None };
    let fits = |part: &str, letters: &str| {
        !part.is_empty()
            && part.chars().all(|c| "*?".contains(c) || c.is_ascii_digit() || letters.contains(c))
    };
    const WORD: &str = "abcdefghijklmnopqrstuvwxyz-";
    let is_arn = fits(partition, WORD)
        && service == "secretsmanager"
        && fits(region, WORD)
        && fits(account, "")
        && kind == "secret"
        && !name.is_empty();
    is_arn.then_some(name)
}

/// Returns whether the pattern's end already stands for a suffix.
fn may_end_in_suffix(name: &str) -> bool {
    let is_suffix = |end: &str| {
        end.len() == 6 && end.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'?')
    };
    name.ends_with('*') || name.rsplit_once('-').is_some_and(|(_, end)| is_suffix(end))
}

#[cfg(test)]
mod tests {
    use super::super::iam_glob::covers;
    use super::*;
    use crate::secret::glob::Glob;
    use proptest::prelude::*;

    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    fn place() -> Place {
        let known = |text: &str| Some(text.to_owned());
        Place {
            partition: known("aws"),
            region: known("eu-north-1"),
            account: known("123456789012"),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(arn_pattern(text, &place()).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn a_name_gets_its_place_and_the_suffix() {
        check("openai-api-key/whatsapp", &format!("{HERE}openai-api-key/whatsapp-??????"));
        check("app/db#user", &format!("{HERE}app/db-??????"));
        check("app-secret", &format!("{HERE}app-secret-??????"));
    }

    #[test]
    fn a_full_arn_is_itself_and_a_partial_one_gets_the_suffix() {
        check(&format!("{HERE}app/db-AbC123"), &format!("{HERE}app/db-AbC123"));
        check(&format!("{HERE}app/db-AbC123:user::"), &format!("{HERE}app/db-AbC123"));
        check(&format!("{HERE}app/db"), &format!("{HERE}app/db-??????"));
        let china = "arn:aws-cn:secretsmanager:cn-north-1:210987654321:secret:x";
        check(china, &format!("{china}-??????"));
    }

    #[test]
    fn a_pattern_is_iams() {
        check(
            "whatsapp-credentials/*/*/twilio",
            &format!("{HERE}whatsapp-credentials/*/*/twilio-??????"),
        );
        check("app/*", &format!("{HERE}app/*-??????"));
        check("app/d?#user", &format!("{HERE}app/d?-??????"));
        for whole in ["shared/*", "shared/db-??????", "*/db-AbC123"] {
            check(&format!("{HERE}{whole}"), &format!("{HERE}{whole}"));
        }
        check(&format!("{HERE}shared/*/db"), &format!("{HERE}shared/*/db-??????"));
        let anywhere = "arn:aws:secretsmanager:*:210987654321:secret:x";
        check(anywhere, &format!("{anywhere}-??????"));
    }

    #[track_caller]
    fn refused(text: &str, expected: BadTarget) {
        assert_eq!(arn_pattern(text, &place()), Err(expected), "{text}");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        refused("", BadTarget::Reference(BadReference::Empty));
        refused("app/[ab]", BadTarget::Class);
        refused("app/**", BadTarget::DoubleStar);
        refused("app/* x", BadTarget::Character { at: 6 });
        refused("a${b}/*", BadTarget::Character { at: 2 });
        refused(&"*a".repeat(300), BadTarget::TooLong);
        for arn in [
            "arn:aws:s3:::bucket/*",
            "arn:*",
            "arn:aws:secretsmanager:eu-north-1:12345678901x:secret:*",
            "arn:aws:secretsmanager:eu-north-1:123456789012:other:*",
        ] {
            refused(arn, BadTarget::Arn);
        }
    }

    #[test]
    fn only_a_name_needs_a_place() {
        let nowhere = Place::default();
        let full = format!("{HERE}app/db-AbC123");
        assert_eq!(arn_pattern(&full, &nowhere), Ok(full));
        assert_eq!(arn_pattern("app/db", &nowhere), Err(BadTarget::NoRegion));
        let no_account = Place { account: None, ..place() };
        assert_eq!(arn_pattern("app/*", &no_account), Err(BadTarget::NoAccount));
    }

    #[test]
    fn an_end_that_looks_like_a_word_is_doubted() {
        assert!(doubt(&format!("{HERE}app-secret")).is_some_and(|told| told.contains("'secret'")));
        for text in ["app-secret", &format!("{HERE}app-AbC123"), &format!("{HERE}app"), "a/*"] {
            assert_eq!(doubt(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn for_any_pattern_iam_grants_what_sidekey_allows(
            pattern in "[ab/*?-]{1,10}",
            name in "[ab/-]{1,10}",
        ) {
            let Ok(arn) = arn_pattern(&pattern, &place()) else { return Ok(()) };
            if Glob::new(&pattern).is_ok_and(|glob| glob.matches(&name)) {
                prop_assert!(covers(&arn, &format!("{HERE}{name}-AbC123")), "{arn}");
            }
        }
    }
}
