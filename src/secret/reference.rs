//! References: strings in requests, settings and messages that name a secret or parameter. A
//! reference is a name or ARN, with an optional field and an optional version. The name of a
//! parameter follows `ssm:`, as in `ssm:/app/url`.

pub use super::bad_reference::BadReference;
pub use super::secret_id::SecretId;

pub(crate) use super::name::PARAMETER_PREFIX;
pub(crate) use super::secret_id::ID_CHARS_MAX;

use super::name::{
    NAME_CHARS_MAX, PARAMETER_LEVELS_MAX, PARAMETER_NAME_CHARS_MAX, is_name_char, is_parameter_char,
};
use super::parameter_path::{BadParameterPath, ParameterPath};
use super::secret_id::ARN_START;
use super::secret_parameter::{SecretParameter, is_version_id};
use super::selector::Selector;
use super::service::Service;

/// The maximum length of a staging label (such as `AWSCURRENT`) that Secrets Manager accepts, in
/// characters.
///
/// Source: `VersionStage` of `GetSecretValue` in AWS's API reference (1 to 256).
pub(crate) const STAGE_CHARS_MAX: usize = 256;

/// The maximum length of a version id that Secrets Manager accepts, in characters.
///
/// Source: `VersionId` of `GetSecretValue` in AWS's API reference (32 to 64).
pub(crate) const VERSION_CHARS_MAX: usize = 64;

/// The name or ARN of a secret or parameter, the requested version, and optionally the name of one
/// field of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) id: SecretId,
    pub(crate) selector: Selector,
    /// The name of the requested field of the secret's JSON value. `None` means the complete value.
    pub(crate) field: Option<Box<str>>,
}

/// The name or ARN of a secret or parameter, with an optional field and version. The strings are
/// borrowed from the request, so that a read from the cache copies nothing.
///
/// The name or ARN can be invalid, because Sidekey checks it only if the secret is not cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BorrowedReference<'a> {
    pub(crate) id: &'a str,
    pub(crate) selector: Selector,
    /// The name of the requested field of the secret's JSON value. `None` means the complete value.
    pub(crate) field: Option<&'a str>,
}

/// The version and the field of a secret or parameter, if a caller sends them separately from the
/// name or ARN, such as in the query parameter `versionStage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeparateParts<'a> {
    /// The staging label of a secret, or the label of a parameter.
    pub(crate) stage: Option<&'a str>,
    /// The version id of a secret, or the version number of a parameter.
    pub(crate) version: Option<&'a str>,
    pub(crate) field: Option<&'a str>,
    /// Whether the caller asks for the ciphertext of a `SecureString` parameter.
    pub(crate) is_encrypted: bool,
}

/// Why a text is not a reference to a secret or parameter, and not a pattern such as `ssm:/app/*`
/// for the parameters under a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadReferenceOrPath {
    #[error(transparent)]
    Reference(#[from] BadReference),
    #[error(transparent)]
    Path(#[from] BadParameterPath),
}

impl Reference {
    /// Parses a reference to a secret or parameter, which has one of these forms:
    ///
    /// - `NAME` or `NAME#FIELD`
    /// - `ARN` or `ARN#FIELD`, with or without AWS's random suffix at the end of the ARN
    /// - `ARN:FIELD:STAGE:VERSION_ID`, the format of `valueFrom` in an ECS task definition. Each
    ///   part after the ARN can be empty.
    /// - `ssm:NAME` or the ARN of a parameter, and after it an optional version number or label, as
    ///   in `ssm:NAME:3`, and an optional `#FIELD`
    ///
    /// # Errors
    ///
    /// Returns the first mistake in the reference, with its position.
    pub(crate) fn parse(text: &str) -> Result<Self, BadReference> {
        let BorrowedReference { id, selector, field } =
            BorrowedReference::parse(text, SeparateParts::default())?;
        match id.strip_prefix(PARAMETER_PREFIX) {
            Some(name) => check_parameter_name(name)?,
            None if id.starts_with(ARN_START) => {}
            None => check_name(id)?,
        }
        Ok(Self { id: SecretId::parse(id)?, selector, field: field.map(Into::into) })
    }

    /// Parses a reference like [`parse`](Self::parse). Also accepts a pattern such as `ssm:/app/*`,
    /// which means all parameters directly under a path.
    ///
    /// # Errors
    ///
    /// Returns the first mistake in the reference or pattern.
    pub(crate) fn parse_or_path(text: &str) -> Result<Self, BadReferenceOrPath> {
        if !ParameterPath::is_pattern(text) {
            return Ok(Self::parse(text)?);
        }
        let id = SecretId::Path(ParameterPath::parse(text)?);
        Ok(Self { id, selector: Selector::parameter(None, None, false), field: None })
    }

    /// Parses a reference to a secret that was found in an SQS message or a Lambda event.
    ///
    /// The author of the message may be hostile, so this function is stricter than
    /// [`parse`](Self::parse). The complete reference, including the field, must have at most 2,048
    /// bytes and no control characters.
    ///
    /// # Errors
    ///
    /// Returns the first mistake in the reference, with its position.
    pub(crate) fn from_message(text: &str) -> Result<Self, BadReference> {
        if text.len() > ID_CHARS_MAX {
            return Err(BadReference::TooLong { max: ID_CHARS_MAX });
        }
        if let Some(at) = text.chars().position(char::is_control) {
            return Err(BadReference::Character { at: at + 1 });
        }
        Self::parse(text)
    }
}

impl<'a> BorrowedReference<'a> {
    /// Splits a reference to a secret into the name or ARN, the field and the version. Adds the
    /// field and the version that the caller sent separately.
    ///
    /// # Errors
    ///
    /// Returns an error if the field is empty, if a part is too long or sent twice, or if the
    /// reference has too many parts.
    pub(crate) fn parse(text: &'a str, separate: SeparateParts<'a>) -> Result<Self, BadReference> {
        let (before_hash, hash_field) = match text.split_once('#') {
            Some((before, "")) => {
                return Err(BadReference::NoField { at: position(text, before.len()) });
            }
            Some((before, field)) => (before, Some(Part { text: field, at: before.len() + 1 })),
            None => (text, None),
        };
        if let Some(name_start) = parameter_start(before_hash) {
            return match secret_parameter(before_hash) {
                Some(secret) => Self::parse_secret_parameter(text, secret, hash_field, separate),
                None => Self::parse_parameter(text, before_hash, name_start, hash_field, separate),
            };
        }
        let (id, [colon_field, stage, version]) = split_value_from(before_hash)?;
        if let (Some(colon_field), Some(_)) = (colon_field, hash_field) {
            let at = position(text, colon_field.at);
            return Err(BadReference::Twice { part: "field", at });
        }
        let field = either(text, "field", colon_field.or(hash_field), separate.field)?;
        let stage = either(text, "stage", stage, separate.stage)?;
        let version = either(text, "version id", version, separate.version)?;
        check_length("stage", stage, STAGE_CHARS_MAX)?;
        check_length("version id", version, VERSION_CHARS_MAX)?;
        Ok(Self { id, selector: Selector::new(stage, version), field })
    }

    /// Parses a reference to a secret that callers read as a parameter, such as
    /// `ssm:/aws/reference/secretsmanager/app/db`. The result refers to the secret `app/db`.
    fn parse_secret_parameter(
        text: &str,
        secret: SecretParameter<'a>,
        hash_field: Option<Part<'a>>,
        separate: SeparateParts<'a>,
    ) -> Result<Self, BadReference> {
        let at = PARAMETER_PREFIX.len() + secret.name.len() + 1;
        if secret.id.starts_with(ARN_START) && !is_secret_arn(secret.id) {
            return Err(BadReference::OtherArn { at: position(text, at - 1 - secret.id.len()) });
        }
        let selector = secret.selector.map(|part| Part { text: part, at });
        if let Some(offset) = secret.selector.and_then(|selector| selector.find(':')) {
            return Err(BadReference::TooManyParameterParts { at: position(text, at + offset) });
        }
        let is_id = |part: &Part<'_>| is_version_id(part.text);
        let version = either(text, "version id", selector.filter(is_id), separate.version)?;
        let stage = selector.filter(|part| !is_id(part));
        let stage = either(text, "stage", stage, separate.stage)?;
        let field = either(text, "field", hash_field, separate.field)?;
        check_length("stage", stage, STAGE_CHARS_MAX)?;
        check_length("version id", version, VERSION_CHARS_MAX)?;
        Ok(Self { id: secret.id, selector: Selector::new(stage, version), field })
    }

    /// Parses a reference to a parameter. `before_hash` is the part of the reference `text` before
    /// the field. The parameter's name begins at the byte offset `name_start`.
    fn parse_parameter(
        text: &str,
        before_hash: &'a str,
        name_start: usize,
        hash_field: Option<Part<'a>>,
        separate: SeparateParts<'a>,
    ) -> Result<Self, BadReference> {
        let mut parts = before_hash[name_start..].split(':');
        let id = &before_hash[..name_start + parts.next().map_or(0, str::len)];
        let selector = parts.next().filter(|part| !part.is_empty());
        if parts.next().is_some() {
            let second = before_hash.rfind(':').unwrap_or_default();
            return Err(BadReference::TooManyParameterParts { at: position(text, second) });
        }
        let selector = selector.map(|part| Part { text: part, at: id.len() + 1 });
        let is_number = |part: &Part<'_>| Selector::is_version_number(part.text);
        let version = either(text, "version", selector.filter(is_number), separate.version)?;
        let label = selector.filter(|part| !is_number(part));
        let label = either(text, "label", label, separate.stage)?;
        let field = either(text, "field", hash_field, separate.field)?;
        check_length("label", label, STAGE_CHARS_MAX)?;
        check_length("version", version, VERSION_CHARS_MAX)?;
        let selector = Selector::parameter(label, version, separate.is_encrypted);
        Ok(Self { id, selector, field })
    }
}

/// Returns the secret that callers read as a parameter, such as `app/db` for the reference
/// `ssm:/aws/reference/secretsmanager/app/db`. Returns `None` for any other reference.
pub(crate) fn secret_parameter(reference: &str) -> Option<SecretParameter<'_>> {
    SecretParameter::of(reference.strip_prefix(PARAMETER_PREFIX)?)
}

/// Returns whether a reference names a parameter, or a secret that callers read as a parameter.
pub(crate) fn is_parameter(reference: &str) -> bool {
    parameter_start(reference).is_some()
}

/// Returns the byte offset at which the name of a parameter begins in the reference `text`. Returns
/// `None` if the reference does not mean a parameter.
fn parameter_start(text: &str) -> Option<usize> {
    if text.starts_with(PARAMETER_PREFIX) {
        return Some(PARAMETER_PREFIX.len());
    }
    // The ARN of a parameter has five colons before `parameter/NAME`.
    let mut colons = text.match_indices(':').map(|(at, _)| at);
    let is_parameter = text.starts_with(ARN_START)
        && text.split(':').nth(2) == Some(Service::ParameterStore.arn_name());
    if is_parameter { colons.nth(4).map(|colon| colon + 1) } else { None }
}

/// Returns whether the ARN `arn` names the service Secrets Manager.
fn is_secret_arn(arn: &str) -> bool {
    arn.split(':').nth(2) == Some(Service::SecretsManager.arn_name())
}

/// Returns the field, the staging label or the version id of a request. Returns an error if the
/// caller sent this part twice: in the reference `text`, and again separately.
fn either<'a>(
    text: &str,
    name: &'static str,
    inside: Option<Part<'a>>,
    separate: Option<&'a str>,
) -> Result<Option<&'a str>, BadReference> {
    match (inside, separate) {
        (Some(inside), Some(_)) => {
            Err(BadReference::Twice { part: name, at: position(text, inside.at) })
        }
        (inside, separate) => Ok(inside.map(|part| part.text).or(separate)),
    }
}

fn check_length(part: &'static str, text: Option<&str>, max: usize) -> Result<(), BadReference> {
    // The characters are counted only if there are too many bytes, because a character has at least
    // one byte.
    match text {
        Some(text) if text.len() > max && text.chars().count() > max => {
            Err(BadReference::PartTooLong { part, max })
        }
        _ => Ok(()),
    }
}

/// A part of a reference to a secret, such as the field, and the byte offset of this part.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    at: usize,
}

/// Converts a byte offset in `text` to a position in characters, counted from 1.
fn position(text: &str, byte: usize) -> usize {
    text[..byte].chars().count() + 1
}

/// Splits the `valueFrom` of an ECS task definition into the secret's ARN and the parts after the
/// ARN: field, staging label and version id. An empty part becomes `None`.
///
/// Source: AWS's page *Pass Secrets Manager secrets through Amazon ECS environment variables* in
/// the ECS developer guide.
fn split_value_from(text: &str) -> Result<(&str, [Option<Part<'_>>; 3]), BadReference> {
    const ARN_COLONS: usize = 6;
    let after_arn = match text.starts_with(ARN_START) {
        true => text.match_indices(':').nth(ARN_COLONS),
        false => None,
    };
    let Some((end, _)) = after_arn else { return Ok((text, [None; 3])) };
    let mut parts = [None; 3];
    let mut at = end + 1;
    for (index, part) in text[at..].split(':').enumerate() {
        let Some(slot) = parts.get_mut(index) else {
            return Err(BadReference::TooManyParts { at: position(text, at - 1) });
        };
        *slot = (!part.is_empty()).then_some(Part { text: part, at });
        at += part.len() + 1;
    }
    Ok((&text[..end], parts))
}

fn check_name(name: &str) -> Result<(), BadReference> {
    if name.is_empty() {
        return Err(BadReference::Empty);
    }
    if let Some(at) = name.chars().position(|c| !is_name_char(c)) {
        return Err(BadReference::Character { at: at + 1 });
    }
    if name.len() > NAME_CHARS_MAX {
        return Err(BadReference::TooLong { max: NAME_CHARS_MAX });
    }
    Ok(())
}

fn check_parameter_name(name: &str) -> Result<(), BadReference> {
    if name.is_empty() {
        return Err(BadReference::Empty);
    }
    if let Some(at) = name.chars().position(|c| !is_parameter_char(c)) {
        return Err(BadReference::ParameterCharacter { at: PARAMETER_PREFIX.len() + at + 1 });
    }
    if name.len() > PARAMETER_NAME_CHARS_MAX {
        return Err(BadReference::TooLong { max: PARAMETER_NAME_CHARS_MAX });
    }
    if name.trim_start_matches('/').split('/').count() > PARAMETER_LEVELS_MAX {
        return Err(BadReference::TooManyLevels);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{VALUE, text, text_of};
    use crate::secret::arn::{Arn, BadArn};
    use proptest::prelude::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";

    #[track_caller]
    fn check(
        text: &str,
        id: &str,
        stage: Option<&str>,
        version: Option<&str>,
        field: Option<&str>,
    ) {
        let parsed = Reference::parse(text).expect("the reference must be valid");
        assert_eq!(parsed.id.as_str(), id);
        assert_eq!(parsed.selector, Selector::new(stage, version));
        assert_eq!(parsed.field.as_deref(), field);
    }

    #[test]
    fn separate_stage_and_version_id_have_the_maximum_length_of_aws() {
        for (stage, version, expected) in [
            (256, 64, None),
            (257, 1, Some(BadReference::PartTooLong { part: "stage", max: 256 })),
            (1, 65, Some(BadReference::PartTooLong { part: "version id", max: 64 })),
        ] {
            let (stage, version) = ("\u{e4}".repeat(stage), "v".repeat(version));
            let separate = SeparateParts {
                stage: Some(&stage),
                version: Some(&version),
                ..Default::default()
            };
            assert_eq!(BorrowedReference::parse("app/db", separate).err(), expected);
        }
    }

    #[test]
    fn names_and_arns_with_and_without_fields_are_parsed() {
        check("openai-api-key/whatsapp", "openai-api-key/whatsapp", None, None, None);
        check(
            "openai-api-key/sms#ai_api_key",
            "openai-api-key/sms",
            None,
            None,
            Some("ai_api_key"),
        );
        check("a#b#c", "a", None, None, Some("b#c"));
        check(ARN, ARN, None, None, None);
        check(&format!("{ARN}#password"), ARN, None, None, Some("password"));
    }

    #[test]
    fn ecs_value_from_is_parsed() {
        check(&format!("{ARN}:password::"), ARN, None, None, Some("password"));
        check(&format!("{ARN}::AWSPREVIOUS:"), ARN, Some("AWSPREVIOUS"), None, None);
        check(&format!("{ARN}:p:S:V"), ARN, Some("S"), Some("V"), Some("p"));
        check(&format!("{ARN}:::V"), ARN, None, Some("V"), None);
        check(&format!("{ARN}:"), ARN, None, None, None);
    }

    const PARAMETER_ARN: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";

    #[test]
    fn parameters_are_parsed_by_name_and_by_arn() {
        for id in ["ssm:/app/url", "ssm:url", PARAMETER_ARN] {
            for (end, label, version, field) in [
                ("", None, None, None),
                (":3", None, Some("3"), None),
                (":BLUE", Some("BLUE"), None, None),
                ("#user", None, None, Some("user")),
                (":3#user:1", None, Some("3"), Some("user:1")),
            ] {
                let text = format!("{id}{end}");
                let parsed = Reference::parse(&text).expect("the reference must be valid");
                assert_eq!(parsed.id.as_str(), id);
                assert_eq!(parsed.id.service(), Service::ParameterStore);
                assert_eq!(parsed.selector, Selector::parameter(label, version, false), "{text}");
                assert_eq!(parsed.field.as_deref(), field, "{text}");
            }
        }
        let id = SecretId::parse("ssm:/app/url").expect("the name must be valid");
        assert_eq!((id.aws_id(), id.region()), ("/app/url", None));
        let arn = Arn::parse(PARAMETER_ARN).expect("the ARN must be valid");
        assert!(id.means(&arn, "/app/url") && !id.means(&arn, "/app"));
        assert!(SecretId::Arn(arn.clone()).means(&arn, "/app/url"));
        assert!(
            !SecretId::parse("/app/url").expect("the name must be valid").means(&arn, "/app/url")
        );
    }

    #[test]
    fn pattern_of_a_path_is_a_reference_to_the_path() {
        let parsed = |text| Reference::parse_or_path(text).map(|one| one.id.as_str().to_owned());
        assert_eq!(parsed("ssm:/app/*").as_deref(), Ok("ssm:/app/*#path"));
        assert_eq!(parsed("ssm:/app/url").as_deref(), Ok("ssm:/app/url"));
        assert_eq!(parsed("ssm:/app/**"), Err(BadParameterPath::DoubleStar.into()));
        assert_eq!(parsed("app/*"), Err(BadReference::Character { at: 5 }.into()));
    }

    #[test]
    fn secret_that_is_named_as_a_parameter_is_parsed_as_the_secret() {
        let id = "11111111-2222-4333-8444-555555555555";
        let name = "ssm:/aws/reference/secretsmanager/app/db";
        check(name, "app/db", None, None, None);
        check(
            &format!("{name}:AWSPREVIOUS#user"),
            "app/db",
            Some("AWSPREVIOUS"),
            None,
            Some("user"),
        );
        check(&format!("{name}:{id}"), "app/db", None, Some(id), None);
        check(&name.replace("app/db", ARN), ARN, None, None, None);
        let colon = name.len() + 3;
        refused(&format!("{name}:a:b"), BadReference::TooManyParameterParts { at: colon });
        refused("ssm:/aws/reference/secretsmanager/", BadReference::Empty);
        for arn in ["arn:aws:ssm:eu-north-1:123456789012:parameter/x", "arn:aws:s3:::x", "arn:"] {
            let other = BadReference::OtherArn { at: name.len() - "app/db".len() + 1 };
            check_borrowed(&name.replace("app/db", arn), SeparateParts::default(), Err(other));
        }
        let separate = SeparateParts { stage: Some("S"), ..Default::default() };
        let twice = BadReference::Twice { part: "stage", at: name.len() + 2 };
        check_borrowed(&format!("{name}:a"), separate, Err(twice));
    }

    #[test]
    fn mistake_in_a_parameter_is_reported_with_its_position() {
        refused("ssm:", BadReference::Empty);
        refused("ssm:#field", BadReference::Empty);
        refused("ssm:/app url", BadReference::ParameterCharacter { at: 9 });
        refused("ssm:/app#", BadReference::NoField { at: 9 });
        refused("ssm:/app:1:2", BadReference::TooManyParameterParts { at: 11 });
        refused(&format!("ssm:{}", "/a".repeat(16)), BadReference::TooManyLevels);
        refused(&format!("ssm:{}", "a".repeat(1012)), BadReference::TooLong { max: 1011 });
        let bad = BadArn { expected: "'parameter/'", at: 37 };
        refused("arn:aws:ssm:eu-north-1:123456789012:document/x", BadReference::Arn(bad));
        let separate = SeparateParts { version: Some("4"), ..Default::default() };
        let twice = BadReference::Twice { part: "version", at: 10 };
        assert_eq!(BorrowedReference::parse("ssm:/app:3", separate).err(), Some(twice));
    }

    #[track_caller]
    fn refused(text: &str, expected: BadReference) {
        assert_eq!(Reference::parse(text), Err(expected));
    }

    #[test]
    fn mistake_in_a_reference_is_reported_with_its_position() {
        refused("", BadReference::Empty);
        refused("#field", BadReference::Empty);
        refused("app/db#", BadReference::NoField { at: 7 });
        refused("app db", BadReference::Character { at: 4 });
        refused("äpp", BadReference::Character { at: 1 });
        refused(&"x".repeat(513), BadReference::TooLong { max: 512 });
        refused(&format!("{ARN}:a:b:c:d"), BadReference::TooManyParts { at: ARN.len() + 7 });
        let twice = BadReference::Twice { part: "field", at: ARN.len() + 2 };
        refused(&format!("{ARN}:a::#b"), twice);
        assert!(matches!(Reference::parse("arn:aws:s3:::x"), Err(BadReference::Arn(_))));
    }

    #[test]
    fn reference_from_a_message_has_stricter_rules() {
        let good = Reference::from_message("app/db#a b").expect("the reference must be valid");
        assert_eq!((good.id.as_str(), good.field.as_deref()), ("app/db", Some("a b")));
        for (text, expected) in [
            ("app/db#a\nb".to_owned(), BadReference::Character { at: 9 }),
            ("app\u{0}".to_owned(), BadReference::Character { at: 4 }),
            ("app db".to_owned(), BadReference::Character { at: 4 }),
            (format!("app#{}", "x".repeat(2045)), BadReference::TooLong { max: 2048 }),
            ("x".repeat(513), BadReference::TooLong { max: 512 }),
        ] {
            assert_eq!(Reference::from_message(&text), Err(expected), "{text}");
        }
    }

    #[track_caller]
    fn check_borrowed<'a>(
        text: &'a str,
        separate: SeparateParts<'a>,
        expected: Result<BorrowedReference<'a>, BadReference>,
    ) {
        assert_eq!(BorrowedReference::parse(text, separate), expected, "{text}");
    }

    #[test]
    fn separate_parts_are_added_to_a_reference() {
        let separate = SeparateParts {
            stage: Some("S"),
            version: Some("V"),
            field: Some("f"),
            ..Default::default()
        };
        let selector = Selector::new(Some("S"), Some("V"));
        let complete = BorrowedReference { id: "any name, even this", selector, field: Some("f") };
        check_borrowed("any name, even this", separate, Ok(complete.clone()));
        check_borrowed(ARN, separate, Ok(BorrowedReference { id: ARN, ..complete.clone() }));
        check_borrowed(
            &format!("{ARN}:::"),
            separate,
            Ok(BorrowedReference { id: ARN, ..complete.clone() }),
        );
        check_borrowed(
            "a:b:c:d:e:f:g",
            separate,
            Ok(BorrowedReference { id: "a:b:c:d:e:f:g", ..complete }),
        );
        let plain = BorrowedReference { id: "é", selector: Selector::current(), field: Some("x") };
        check_borrowed("é#x", SeparateParts::default(), Ok(plain));
        for (text, part, at) in [
            ("é#x".to_owned(), "field", 3),
            (format!("{ARN}:x::"), "field", ARN.len() + 2),
            (format!("{ARN}::x:"), "stage", ARN.len() + 3),
            (format!("{ARN}:::x"), "version id", ARN.len() + 4),
        ] {
            check_borrowed(&text, separate, Err(BadReference::Twice { part, at }));
        }
    }

    #[test]
    fn caller_may_request_a_name_that_no_secret_can_have() {
        assert_eq!(SecretId::parse("a%2Fb").expect("the name must be accepted").as_str(), "a%2Fb");
        assert_eq!(SecretId::parse("a\nb"), Err(BadReference::Character { at: 2 }));
        assert_eq!(SecretId::parse(&"x".repeat(2049)), Err(BadReference::TooLong { max: 2048 }));
    }

    const PIECES: &[&str] = &[
        "arn:aws:secretsmanager:eu-north-1:123456789012:secret:",
        "arn:",
        ":",
        "#",
        "app",
        "/",
        "-AbC123",
        "AWSPREVIOUS",
        "é",
        "\n",
        VALUE,
    ];

    proptest! {
        #[test]
        fn for_any_text_a_reference_keeps_its_limits(text in text_of(PIECES)) {
            let (read, of_message) = (Reference::parse(&text), Reference::from_message(&text));
            if of_message.is_ok() {
                prop_assert_eq!(&of_message, &read);
                prop_assert!(!text.contains(char::is_control));
            }
            match read {
                Ok(Reference { id, selector, field }) => {
                    prop_assert!(text.starts_with(id.as_str()) && id.as_str().len() <= ID_CHARS_MAX);
                    if let SecretId::Name(name) = &id {
                        prop_assert!((1..=NAME_CHARS_MAX).contains(&name.len()));
                        prop_assert!(name.chars().all(is_name_char));
                    }
                    let chars = |text: Option<&str>| text.map_or(0, |text| text.chars().count());
                    prop_assert!(chars(selector.stage()) <= STAGE_CHARS_MAX);
                    prop_assert!(chars(selector.version()) <= VERSION_CHARS_MAX);
                    prop_assert!(field.is_none_or(|field| !field.is_empty()));
                    let again = Reference { id: id.clone(), selector: Selector::current(), field: None };
                    prop_assert_eq!(Reference::parse(id.as_str()), Ok(again));
                }
                Err(bad) => {
                    prop_assert!(!bad.to_string().contains(VALUE));
                    if let BadReference::Character { at } = bad {
                        let c = text.chars().nth(at - 1);
                        prop_assert!(c.is_some_and(|c| !is_name_char(c)), "{at}");
                    }
                }
            }
        }

        #[test]
        fn for_any_parts_the_written_reference_has_the_same_parts(
            name in "[A-Za-z0-9/_+=.@!-]{1,20}",
            field in "[^:#]{0,5}",
            stage in "[^:#]{0,5}",
            version in "[^:#]{0,5}",
        ) {
            fn given(text: &str) -> Option<&str> {
                (!text.is_empty()).then_some(text)
            }
            let arn = format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{name}");
            let text = format!("{arn}:{field}:{stage}:{version}");
            let read = Reference::parse(&text).expect("the reference must be valid");
            prop_assert_eq!(read.id.as_str(), arn);
            prop_assert_eq!(read.field.as_deref(), given(&field));
            let expected = Selector::new(given(&stage), given(&version));
            prop_assert_eq!(read.selector, expected);
            if !field.is_empty() {
                let text = format!("{name}#{field}");
                let read = Reference::parse(&text).expect("the reference must be valid");
                prop_assert_eq!((read.id.as_str(), read.field.as_deref()), (&*name, Some(&*field)));
            }
        }

        #[test]
        fn for_any_id_the_text_is_sent_unchanged(text in prop_oneof![text(), text_of(PIECES)]) {
            if let Ok(id) = SecretId::parse(&text) {
                prop_assert_eq!(id.as_str(), &*text);
                prop_assert!(text.len() <= ID_CHARS_MAX && !text.contains(char::is_control));
            }
        }
    }
}
