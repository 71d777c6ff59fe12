//! Converts names of secrets, and patterns of such names, to ARN patterns of IAM.

use crate::secret::arn::Arn;
use crate::secret::name::{NAME_CHARS_MAX, is_name_char};
use crate::secret::reference::{BadReference, Reference, SecretId};
use crate::secret::service::Service;

/// The end of an ARN pattern for a secret whose name is known. Secrets Manager appends a hyphen and
/// six random characters to the name, and `?` matches one character.
pub(super) const SUFFIX: &str = "-??????";

/// The partition, region and account in the ARNs of secrets that the user gives by name. Each part
/// is a plain value, or a template expression such as `${AWS::Region}`.
#[derive(Clone, Debug, Default)]
pub(super) struct Location {
    pub(super) partition: Option<String>,
    pub(super) region: Option<String>,
    pub(super) account: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::commands) enum BadTarget {
    #[error(transparent)]
    Reference(#[from] BadReference),
    #[error(
        "IAM does not support [...] in patterns; write '?' for one character or '*' for any text, or list the names"
    )]
    Class,
    #[error(
        "the pattern contains '**', which is not supported; write one '*' for each path segment"
    )]
    DoubleStar,
    #[error(
        "character {at} of the pattern is invalid; write only *, ? and the characters of secret names: A-Za-z0-9/_+=.@!-"
    )]
    Character {
        /// The position of the invalid character in the pattern, counted from 1.
        at: usize,
    },
    #[error(
        "the pattern is longer than {NAME_CHARS_MAX} characters, the maximum length of a secret's name"
    )]
    TooLong,
    #[error(
        "the text is not the ARN of a secret; write arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:PATTERN"
    )]
    Arn,
    #[error("the region of this secret is unknown; use --region, or set AWS_REGION")]
    NoRegion,
    #[error(
        "the account of this secret is unknown; use --account with the id from `aws sts \
         get-caller-identity`, or write a template with --terraform or --sam"
    )]
    NoAccount,
}

/// Returns the ARN pattern of IAM for a secret's name, for its ARN, or for a pattern of names as in
/// `SIDEKEY_ALLOW`. In IAM, `*` also matches `/`, so the ARN pattern may match more secrets.
pub(super) fn arn_pattern(text: &str, location: &Location) -> Result<String, BadTarget> {
    let without_field = text.split_once('#').map_or(text, |(id, _)| id);
    if without_field.contains(['*', '?', '[']) {
        return of_pattern(without_field, location);
    }
    Ok(match Reference::parse(text)?.id {
        SecretId::Name(name) => arn_of_name(&name, location)?,
        id @ (SecretId::Parameter(_) | SecretId::Path(_)) => {
            arn_of_parameter(id.aws_id(), location)?
        }
        SecretId::Arn(arn) if is_complete(&arn) => arn.to_string(),
        SecretId::Arn(arn) => format!("{arn}{SUFFIX}"),
    })
}

/// Returns a warning if the user probably gave an ARN without its random suffix, such as
/// `…:secret:app/backup-worker`. The end `worker` looks like such a suffix, but a random suffix
/// hardly ever consists only of lower-case letters.
pub(super) fn suffix_warning(text: &str) -> Option<String> {
    let SecretId::Arn(arn) = Reference::parse(text).ok()?.id else { return None };
    if is_parameter(&arn) {
        return None;
    }
    let (full, name) = arn.possible_names();
    let suffix = &full[name?.len() + 1..];
    suffix.bytes().all(|byte| byte.is_ascii_lowercase()).then(|| {
        format!(
            "Sidekey takes '{suffix}' at the end of {arn} for the random suffix that Secrets \
             Manager adds; if '{suffix}' is a part of the name, append {SUFFIX} to the ARN"
        )
    })
}

/// Returns whether no random suffix follows the text of this ARN.
fn is_complete(arn: &Arn) -> bool {
    is_parameter(arn) || arn.possible_names().1.is_some()
}

fn is_parameter(arn: &Arn) -> bool {
    arn.service() == Service::ParameterStore
}

fn arn_of_name(name: &str, location: &Location) -> Result<String, BadTarget> {
    let region = location.region.as_deref().ok_or(BadTarget::NoRegion)?;
    let partition = location.partition.as_deref().ok_or(BadTarget::NoRegion)?;
    let account = location.account.as_deref().ok_or(BadTarget::NoAccount)?;
    Ok(format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}{SUFFIX}"))
}

fn arn_of_parameter(name: &str, location: &Location) -> Result<String, BadTarget> {
    let region = location.region.as_deref().ok_or(BadTarget::NoRegion)?;
    let partition = location.partition.as_deref().ok_or(BadTarget::NoRegion)?;
    let account = location.account.as_deref().ok_or(BadTarget::NoAccount)?;
    let slash = if name.starts_with('/') { "" } else { "/" };
    Ok(format!("arn:{partition}:ssm:{region}:{account}:parameter{slash}{name}"))
}

fn of_pattern(pattern: &str, location: &Location) -> Result<String, BadTarget> {
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
    if let Some(offset) = name.find(|c| !is_name_char(c) && !"*?".contains(c)) {
        let before = pattern.len() - name.len() + offset;
        return Err(BadTarget::Character { at: pattern[..before].chars().count() + 1 });
    }
    match pattern.starts_with("arn:") {
        true if may_end_in_suffix(name) => Ok(pattern.to_owned()),
        true => Ok(format!("{pattern}{SUFFIX}")),
        false => arn_of_name(name, location),
    }
}

/// Returns the part of an ARN pattern that matches the secret's name. Returns `None` if the pattern
/// matches no ARN of a secret.
fn name_part(pattern: &str) -> Option<&str> {
    const WORD: &str = "abcdefghijklmnopqrstuvwxyz-";
    let parts: Vec<&str> = pattern.splitn(7, ':').collect();
    let [_, partition, service, region, account, kind, name] = parts[..] else { return None };
    let is_arn = consists_of(partition, WORD)
        && service == "secretsmanager"
        && consists_of(region, WORD)
        && consists_of(account, "")
        && kind == "secret"
        && !name.is_empty();
    is_arn.then_some(name)
}

/// Returns whether `part` consists only of wildcards, digits and the characters in `letters`.
fn consists_of(part: &str, letters: &str) -> bool {
    !part.is_empty()
        && part.chars().all(|c| "*?".contains(c) || c.is_ascii_digit() || letters.contains(c))
}

/// Returns whether the end of a name pattern, such as `*` or `-AbC1??`, matches the random suffix
/// that Secrets Manager appends to a name.
fn may_end_in_suffix(name: &str) -> bool {
    name.ends_with('*')
        || name.rsplit_once('-').is_some_and(|(_, end)| {
            end.len() == 6 && end.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'?')
        })
}

#[cfg(test)]
mod tests {
    use super::super::iam_glob::covers;
    use super::*;
    use crate::secret::glob::Glob;
    use proptest::prelude::*;

    const HERE: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    fn location() -> Location {
        let known = |text: &str| Some(text.to_owned());
        Location {
            partition: known("aws"),
            region: known("eu-north-1"),
            account: known("123456789012"),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(arn_pattern(text, &location()).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn name_gets_location_and_suffix() {
        check("openai-api-key/whatsapp", &format!("{HERE}openai-api-key/whatsapp-??????"));
        check("app/db#user", &format!("{HERE}app/db-??????"));
        check("app-secret", &format!("{HERE}app-secret-??????"));
    }

    #[test]
    fn full_arn_stays_and_partial_arn_gets_the_suffix() {
        check(&format!("{HERE}app/db-AbC123"), &format!("{HERE}app/db-AbC123"));
        check(&format!("{HERE}app/db-AbC123:user::"), &format!("{HERE}app/db-AbC123"));
        check(&format!("{HERE}app/db"), &format!("{HERE}app/db-??????"));
        let china = "arn:aws-cn:secretsmanager:cn-north-1:210987654321:secret:x";
        check(china, &format!("{china}-??????"));
    }

    #[test]
    fn pattern_becomes_a_pattern_of_iam() {
        check(
            "whatsapp-credentials/*/*/twilio",
            &format!("{HERE}whatsapp-credentials/*/*/twilio-??????"),
        );
        check("app/*", &format!("{HERE}app/*-??????"));
        check("app/d?#user", &format!("{HERE}app/d?-??????"));
        for resource in ["shared/*", "shared/db-??????", "*/db-AbC123"] {
            check(&format!("{HERE}{resource}"), &format!("{HERE}{resource}"));
        }
        check(&format!("{HERE}shared/*/db"), &format!("{HERE}shared/*/db-??????"));
        let anywhere = "arn:aws:secretsmanager:*:210987654321:secret:x";
        check(anywhere, &format!("{anywhere}-??????"));
    }

    #[track_caller]
    fn refused(text: &str, expected: BadTarget) {
        assert_eq!(arn_pattern(text, &location()), Err(expected), "{text}");
    }

    #[test]
    fn malformed_targets_are_refused() {
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
    fn only_a_name_needs_a_location() {
        let unknown = Location::default();
        let full = format!("{HERE}app/db-AbC123");
        assert_eq!(arn_pattern(&full, &unknown), Ok(full));
        assert_eq!(arn_pattern("app/db", &unknown), Err(BadTarget::NoRegion));
        let no_account = Location { account: None, ..location() };
        assert_eq!(arn_pattern("app/*", &no_account), Err(BadTarget::NoAccount));
    }

    #[test]
    fn suffix_that_looks_like_a_word_is_warned_about() {
        let warning = suffix_warning(&format!("{HERE}app-secret"));
        assert!(warning.is_some_and(|warning| warning.contains("'secret'")));
        for text in ["app-secret", &format!("{HERE}app-AbC123"), &format!("{HERE}app"), "a/*"] {
            assert_eq!(suffix_warning(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn for_any_pattern_iam_grants_what_sidekey_allows(
            pattern in "[ab/*?-]{1,10}",
            name in "[ab/-]{1,10}",
        ) {
            let Ok(arn) = arn_pattern(&pattern, &location()) else { return Ok(()) };
            if Glob::new(&pattern).is_ok_and(|glob| glob.matches(&name)) {
                prop_assert!(covers(&arn, &format!("{HERE}{name}-AbC123")), "{arn}");
            }
        }
    }
}
