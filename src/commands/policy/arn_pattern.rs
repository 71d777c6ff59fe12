//! Converts names of secrets and parameters, and patterns of such names, to ARN patterns of IAM.

use crate::secret::arn::Arn;
use crate::secret::name::{
    NAME_CHARS_MAX, PARAMETER_NAME_CHARS_MAX, PARAMETER_PREFIX, is_name_char, is_parameter_char,
};
use crate::secret::parameter_path::ParameterPath;
use crate::secret::reference::{BadReference, Reference, SecretId};
use crate::secret::secret_parameter::SecretParameter;
use crate::secret::secret_pattern::{BadSecretPattern, SecretPattern, TAG_PREFIX};
use crate::secret::service::Service;

/// The end of an ARN pattern for a secret whose name is known. Secrets Manager appends a hyphen and
/// six random characters to the name, and `?` matches one character.
pub(super) const SUFFIX: &str = "-??????";

/// The beginning of the names of AWS's public parameters.
const PUBLIC: &str = "/aws/service/";

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
    #[error(transparent)]
    Tag(#[from] BadSecretPattern),
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
        "character {at} of the pattern is invalid; write only *, ? and the characters of parameter names: A-Za-z0-9/_.-"
    )]
    ParameterCharacter {
        /// The position of the invalid character in the pattern, counted from 1.
        at: usize,
    },
    #[error(
        "the names under /aws/reference/secretsmanager/ mean secrets of Secrets Manager; write the pattern without 'ssm:/aws/reference/secretsmanager/'"
    )]
    SecretParameter,
    #[error("the pattern is longer than {max} characters, the maximum length of a name")]
    TooLong { max: usize },
    #[error(
        "the text is not the ARN of a secret or parameter; write arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:PATTERN or arn:PARTITION:ssm:REGION:ACCOUNT:parameter/PATTERN"
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

/// The resource patterns of IAM for all secrets and parameters that a policy must allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    pub(super) secrets: Vec<String>,
    pub(super) parameters: Vec<String>,
    /// The ARN patterns that allow listing the parameters under a path. For `ssm:/app/*`, these are
    /// `arn:…:parameter/app` and `arn:…:parameter/app/*`.
    pub(super) paths: Vec<String>,
    /// The tags in the user's arguments or settings. Sidekey reads every secret that has one of
    /// these tags.
    pub(super) tags: Vec<NeededTag>,
    /// Whether Sidekey searches for the secrets that match a pattern or a tag.
    pub(super) is_search: bool,
}

/// A tag, such as `channel=sms`. Sidekey reads every secret that has this tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NeededTag {
    pub(super) key: String,
    /// The value of the tag. `None` means any value.
    pub(super) value: Option<String>,
    /// The ARN pattern of all secrets in the agent's own account and region.
    pub(super) secrets: String,
}

impl Needed {
    /// Adds a secret or parameter, given by its name, by its ARN, or by a pattern as in
    /// `SIDEKEY_ALLOW`. In IAM, `*` also matches `/`, so the ARN pattern may match more secrets
    /// than the given pattern.
    pub(super) fn add(&mut self, text: &str, location: &Location) -> Result<(), BadTarget> {
        if text.starts_with(TAG_PREFIX) {
            return self.add_tag(text, location);
        }
        let without_field = text.split_once('#').map_or(text, |(id, _)| id);
        let (service, arn) = match without_field.contains(['*', '?', '[']) {
            true => (service_of(without_field), of_pattern(without_field, location)?),
            false => {
                // The text `ssm:/aws/reference/secretsmanager/app/db` names a secret.
                let id = Reference::parse(text)?.id;
                (id.service(), of_reference(&id, location)?)
            }
        };
        match service {
            Service::SecretsManager => self.secrets.push(arn),
            Service::ParameterStore => {
                if let Ok(path) = ParameterPath::parse(without_field) {
                    self.paths.extend(arns_of_path(&path, location)?);
                }
                self.parameters.push(arn);
            }
        }
        Ok(())
    }
}

impl Needed {
    fn add_tag(&mut self, text: &str, location: &Location) -> Result<(), BadTarget> {
        let pattern = SecretPattern::parse(text)?;
        let Some((key, value)) = pattern.tag() else { return Err(BadTarget::Arn) };
        let every_name = arn_of_name(Service::SecretsManager, "*", location)?;
        self.tags.push(NeededTag {
            key: key.to_owned(),
            value: value.map(str::to_owned),
            secrets: every_name.trim_end_matches(SUFFIX).to_owned(),
        });
        self.is_search = true;
        Ok(())
    }

    /// Adds, for all secrets in the region `home`, the replicas in the region `failover`. Sidekey
    /// reads the replicas while calls to the region `home` fail.
    pub(super) fn add_replicas(&mut self, home: &str, failover: &str) {
        let [of_home, of_failover] =
            [home, failover].map(|region| format!(":secretsmanager:{region}:"));
        let secrets = self.secrets.iter().filter(|arn| arn.contains(&of_home));
        let replicas = secrets.map(|arn| arn.replacen(&of_home, &of_failover, 1));
        self.secrets.extend(replicas.collect::<Vec<_>>());
    }
}

fn of_reference(id: &SecretId, location: &Location) -> Result<String, BadTarget> {
    match id {
        SecretId::Name(_) | SecretId::Parameter(_) | SecretId::Path(_) => {
            arn_of_name(id.service(), id.aws_id(), location)
        }
        SecretId::Arn(arn) if is_complete(arn) => Ok(arn.to_string()),
        SecretId::Arn(arn) => Ok(format!("{arn}{SUFFIX}")),
    }
}

/// Returns the AWS service to which a pattern of names or ARNs belongs.
fn service_of(text: &str) -> Service {
    let is_parameter = text.starts_with(PARAMETER_PREFIX)
        || (text.starts_with("arn:")
            && text.split(':').nth(2) == Some(Service::ParameterStore.arn_name()));
    if is_parameter { Service::ParameterStore } else { Service::SecretsManager }
}

/// Returns the ARNs on which an IAM policy must allow `ssm:GetParametersByPath`: an ARN for the
/// path without a slash at its end, and an ARN pattern for the path with a slash. AWS checks the
/// path exactly as it is in the request.
fn arns_of_path(path: &ParameterPath, location: &Location) -> Result<Vec<String>, BadTarget> {
    let path = path.path().trim_end_matches('/');
    let below = arn_of_name(Service::ParameterStore, &format!("{path}/*"), location)?;
    Ok(match path {
        "" => vec![below],
        _ => vec![arn_of_name(Service::ParameterStore, path, location)?, below],
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

/// Returns whether `arn` is a full ARN. The full ARN of a secret ends in a random suffix. The ARN
/// of a parameter has no suffix, and is always full.
fn is_complete(arn: &Arn) -> bool {
    is_parameter(arn) || arn.possible_names().1.is_some()
}

fn is_parameter(arn: &Arn) -> bool {
    arn.service() == Service::ParameterStore
}

/// Returns the ARN pattern for a name, or for a pattern of names.
fn arn_of_name(service: Service, name: &str, location: &Location) -> Result<String, BadTarget> {
    let region = location.region.as_deref().ok_or(BadTarget::NoRegion)?;
    let partition = location.partition.as_deref().ok_or(BadTarget::NoRegion)?;
    // The ARN of a public parameter of AWS contains no account id.
    let is_public = service == Service::ParameterStore && name.starts_with(PUBLIC);
    let account = if is_public { Some("") } else { location.account.as_deref() };
    let account = account.ok_or(BadTarget::NoAccount)?;
    let start = format!("arn:{partition}:{}:{region}:{account}", service.arn_name());
    Ok(match service {
        Service::SecretsManager => format!("{start}:secret:{name}{SUFFIX}"),
        Service::ParameterStore if name.starts_with('/') => format!("{start}:parameter{name}"),
        Service::ParameterStore => format!("{start}:parameter/{name}"),
    })
}

fn of_pattern(pattern: &str, location: &Location) -> Result<String, BadTarget> {
    if pattern.contains('[') {
        return Err(BadTarget::Class);
    }
    if pattern.contains("**") {
        return Err(BadTarget::DoubleStar);
    }
    let is_arn = pattern.starts_with("arn:");
    let service = service_of(pattern);
    let name = match is_arn {
        true => name_part(pattern, service).ok_or(BadTarget::Arn)?,
        false => pattern.strip_prefix(PARAMETER_PREFIX).unwrap_or(pattern),
    };
    check_pattern(pattern, name, service)?;
    // In the ARN of a parameter, the slash after `parameter` belongs to the name too.
    let name_start = pattern.len() - name.len() - usize::from(is_arn);
    if service == Service::ParameterStore && SecretParameter::of(&pattern[name_start..]).is_some() {
        return Err(BadTarget::SecretParameter);
    }
    match (is_arn, service) {
        (false, _) => arn_of_name(service, name, location),
        (true, Service::SecretsManager) if !may_end_in_suffix(name) => {
            Ok(format!("{pattern}{SUFFIX}"))
        }
        (true, _) => Ok(pattern.to_owned()),
    }
}

/// Checks the length and the characters of a name pattern. `pattern` is the complete pattern, which
/// may be an ARN, and `name` is its end.
fn check_pattern(pattern: &str, name: &str, service: Service) -> Result<(), BadTarget> {
    let (max, is_valid): (usize, fn(char) -> bool) = match service {
        Service::SecretsManager => (NAME_CHARS_MAX, is_name_char),
        Service::ParameterStore => (PARAMETER_NAME_CHARS_MAX, is_parameter_char),
    };
    if name.len() > max {
        return Err(BadTarget::TooLong { max });
    }
    let Some(offset) = name.find(|c| !is_valid(c) && !"*?".contains(c)) else { return Ok(()) };
    let before = pattern.len() - name.len() + offset;
    let at = pattern[..before].chars().count() + 1;
    Err(match service {
        Service::SecretsManager => BadTarget::Character { at },
        Service::ParameterStore => BadTarget::ParameterCharacter { at },
    })
}

/// Returns the part of an ARN pattern that matches the name. Returns `None` if the pattern matches
/// no ARN of a secret or parameter.
fn name_part(pattern: &str, service: Service) -> Option<&str> {
    const WORD: &str = "abcdefghijklmnopqrstuvwxyz-";
    let parts: Vec<&str> = pattern.splitn(6, ':').collect();
    let [_, partition, service_part, region, account, resource] = parts[..] else { return None };
    let name = match service {
        Service::SecretsManager => resource.strip_prefix("secret:")?,
        Service::ParameterStore => resource.strip_prefix("parameter/")?,
    };
    let is_public = service == Service::ParameterStore && account.is_empty();
    let is_arn = consists_of(partition, WORD)
        && service_part == service.arn_name()
        && consists_of(region, WORD)
        && (is_public || consists_of(account, ""))
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
        let needed = Needed { secrets: vec![expected.to_owned()], ..Needed::default() };
        assert_eq!(needed_for(text, &location()), Ok(needed), "{text}");
    }

    fn needed_for(text: &str, location: &Location) -> Result<Needed, BadTarget> {
        let mut needed = Needed::default();
        needed.add(text, location).map(|()| needed)
    }

    #[test]
    fn replicas_of_the_own_region_are_added() {
        let mut needed = Needed::default();
        let third = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbC123";
        for text in ["app/db", "app/*/twilio", third, "ssm:/app/url"] {
            needed.add(text, &location()).expect("the name or ARN in the test must be valid");
        }
        needed.add_replicas("eu-north-1", "eu-west-1");
        let there = HERE.replace("eu-north-1", "eu-west-1");
        let expected = [
            format!("{HERE}app/db{SUFFIX}"),
            format!("{HERE}app/*/twilio{SUFFIX}"),
            third.to_owned(),
            format!("{there}app/db{SUFFIX}"),
            format!("{there}app/*/twilio{SUFFIX}"),
        ];
        assert_eq!((needed.secrets, needed.parameters.len()), (expected.into(), 1));
    }

    #[test]
    fn parameters_and_their_paths_get_arns_of_parameter_store() {
        const STORE: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";
        let arn = format!("{STORE}/app/url");
        let arn_pattern = format!("{STORE}/app/*");
        let public = "arn:aws:ssm:eu-north-1::parameter/aws/service/x";
        for (text, parameter, paths) in [
            ("ssm:/app/url", arn.clone(), &[][..]),
            ("ssm:/app/url:3#host", arn.clone(), &[]),
            ("ssm:url", format!("{STORE}/url"), &[]),
            (&*arn, arn.clone(), &[]),
            (&*arn_pattern, arn_pattern.clone(), &[]),
            ("ssm:/app/db-?", format!("{STORE}/app/db-?"), &[]),
            ("ssm:/app/*/url", format!("{STORE}/app/*/url"), &[]),
            ("ssm:/app/*", arn_pattern.clone(), &["/app", "/app/*"]),
            ("ssm:/*", format!("{STORE}/*"), &["/*"]),
            ("ssm:/aws/service/x", public.to_owned(), &[]),
            (public, public.to_owned(), &[]),
        ] {
            let expected = Needed {
                parameters: vec![parameter],
                paths: paths.iter().map(|path| format!("{STORE}{path}")).collect(),
                ..Needed::default()
            };
            assert_eq!(needed_for(text, &location()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn name_gets_location_and_suffix() {
        check("openai-api-key/whatsapp", &format!("{HERE}openai-api-key/whatsapp-??????"));
        check("app/db#user", &format!("{HERE}app/db-??????"));
        check("app-secret", &format!("{HERE}app-secret-??????"));
    }

    #[test]
    fn secret_that_is_named_as_a_parameter_needs_the_arn_of_the_secret() {
        for end in ["", "#user", ":AWSPREVIOUS"] {
            let name = format!("ssm:/aws/reference/secretsmanager/app/db{end}");
            check(&name, &format!("{HERE}app/db-??????"));
        }
        let arn = format!("{HERE}app/db-AbC123");
        check(&format!("ssm:/aws/reference/secretsmanager/{arn}"), &arn);
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
        assert_eq!(needed_for(text, &location()), Err(expected), "{text}");
    }

    #[test]
    fn malformed_targets_are_refused() {
        refused("", BadTarget::Reference(BadReference::Empty));
        refused("app/[ab]", BadTarget::Class);
        refused("app/**", BadTarget::DoubleStar);
        refused("app/* x", BadTarget::Character { at: 6 });
        refused("a${b}/*", BadTarget::Character { at: 2 });
        refused(&"*a".repeat(300), BadTarget::TooLong { max: 512 });
        refused(&format!("ssm:{}", "*a".repeat(600)), BadTarget::TooLong { max: 1011 });
        refused("ssm:/app/**", BadTarget::DoubleStar);
        refused("ssm:/aws/reference/secretsmanager/app/*", BadTarget::SecretParameter);
        refused(
            "arn:aws:ssm:eu-north-1:123456789012:parameter/aws/reference/secretsmanager/*",
            BadTarget::SecretParameter,
        );
        refused("ssm:/app/[ab]", BadTarget::Class);
        refused("ssm:/a+b/*", BadTarget::ParameterCharacter { at: 7 });
        refused("ssm:/app/*:1", BadTarget::ParameterCharacter { at: 11 });
        refused("arn:aws:ssm:eu-north-1:123456789012:document/*", BadTarget::Arn);
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
        assert_eq!(needed_for(&full, &unknown).map(|needed| needed.secrets), Ok(vec![full]));
        assert_eq!(needed_for("app/db", &unknown), Err(BadTarget::NoRegion));
        assert_eq!(needed_for("ssm:/app/url", &unknown), Err(BadTarget::NoRegion));
        let no_account = Location { account: None, ..location() };
        assert_eq!(needed_for("app/*", &no_account), Err(BadTarget::NoAccount));
        assert_eq!(needed_for("ssm:/app/*", &no_account), Err(BadTarget::NoAccount));
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
            let Ok(needed) = needed_for(&pattern, &location()) else { return Ok(()) };
            let arn = &needed.secrets[0];
            if Glob::new(&pattern).is_ok_and(|glob| glob.matches(&name)) {
                prop_assert!(covers(arn, &format!("{HERE}{name}-AbC123")), "{arn}");
            }
        }
    }
}
