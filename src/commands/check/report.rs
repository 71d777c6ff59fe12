//! What is said of one reference. Pure.

use super::found::{Written, names};
use super::gateway_key::{self, GatewayKey};
use super::reads::Read;
use crate::commands::advice;
use crate::commands::policy::{self, Document};
use crate::convention::{Convention, Conventions};
use crate::secret::arn::Arn;
use crate::secret::field::Fields;
use crate::secret::reference::{BadReference, Reference, SecretId};
use crate::secret::version::Version;
use crate::source::{FetchError, FetchErrorKind};
use serde::Serialize;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// By what references are judged.
#[derive(Debug)]
pub(super) struct Measure<'a> {
    pub(super) conventions: &'a Conventions,
    /// Whether every secret has to have a convention.
    pub(super) is_strict: bool,
    pub(super) now: SystemTime,
    /// The region of plain names.
    pub(super) region: &'a str,
    /// Their account, where it is known.
    pub(super) account: Option<&'a str>,
}

/// What is said of one reference. It shows nothing of a value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) reference: String,
    /// Where it stands in a file of JSON.
    pub(super) places: Vec<String>,
    pub(super) ok: bool,
    pub(super) readable: bool,
    pub(super) arn: Option<String>,
    pub(super) name: Option<String>,
    /// The kind of its convention.
    pub(super) kind: Option<String>,
    pub(super) version_id: Option<String>,
    pub(super) created_date: Option<String>,
    pub(super) age_seconds: Option<u64>,
    pub(super) rotation: Rotation,
    pub(super) last_rotated_date: Option<String>,
    pub(super) findings: Vec<Finding>,
}

/// Whether a secret is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rotation {
    On,
    Off,
    /// The role may not describe the secret.
    Unknown,
}

/// One thing to be looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    pub(super) message: String,
    /// What is not allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) permission: Option<&'static str>,
    /// The policy that would allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<Document>,
}

impl Rotation {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown => "unknown",
        }
    }
}

impl Finding {
    fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { code, field: None, message, permission: None, grant: None }
    }
}

/// Says what there is to say of a reference.
pub(super) fn report(
    written: Written,
    reference: &Result<Reference, BadReference>,
    read: Option<&Read>,
    measure: &Measure<'_>,
) -> Report {
    let mut report = Report {
        reference: written.text,
        places: written.places,
        ok: false,
        readable: false,
        arn: None,
        name: None,
        kind: None,
        version_id: None,
        created_date: None,
        age_seconds: None,
        rotation: Rotation::Unknown,
        last_rotated_date: None,
        findings: Vec::new(),
    };
    match (reference, read) {
        (Err(bad), _) => report.findings.push(Finding::new("bad-reference", bad.to_string())),
        (Ok(reference), Some(Read { version: Ok(version), rotation })) => {
            report.readable = true;
            report.rotation = match rotation {
                Some(rotation) if rotation.is_enabled => Rotation::On,
                Some(_) => Rotation::Off,
                None => Rotation::Unknown,
            };
            let last = rotation.as_ref().and_then(|rotation| rotation.last);
            report.last_rotated_date = last.and_then(written_time);
            of_version(&mut report, reference, version, measure);
        }
        (Ok(reference), read) => {
            let unanswered = super::reads::unanswered();
            let error = match read {
                Some(Read { version: Err(error), .. }) => error,
                _ => &unanswered,
            };
            report.kind = expected(&reference.id, measure.conventions).map(str::to_owned);
            report.findings.push(of_error(&report.reference, error, measure));
        }
    }
    report.ok = report.findings.is_empty();
    report
}

fn of_version(
    report: &mut Report,
    reference: &Reference,
    version: &Version,
    measure: &Measure<'_>,
) {
    report.arn = Some(version.arn.to_string());
    report.name = Some(version.name.to_string());
    report.version_id = Some(version.id.to_string());
    report.created_date = version.created.and_then(written_time);
    let age = version.created.and_then(|created| measure.now.duration_since(created).ok());
    report.age_seconds = age.map(|age| age.as_secs());
    match measure.conventions.of_name(&version.name) {
        Some((convention, _)) => {
            report.kind = Some(convention.kind().to_owned());
            report.findings.extend(shape(convention, version));
        }
        None if measure.is_strict => {
            let told = "no convention has such names";
            report.findings.push(Finding::new("no-convention", told));
        }
        None => {}
    }
    if let Some(name) = &reference.field
        && let Err(absent) = Fields::of(&version.content).field(name)
    {
        let mut finding = Finding::new("no-such-field", absent.to_string());
        finding.field = Some(name.to_string());
        report.findings.push(finding);
    }
    if let Some(found) = gateway_key::find(&version.content) {
        let told = "keys of API Gateway are kept by API Gateway, and not in Secrets Manager";
        let (field, what) = match found {
            GatewayKey::Whole => (None, "the value looks like one".to_owned()),
            GatewayKey::Field(name) => {
                let what = format!("the field '{name}' looks like one");
                (Some(name), what)
            }
        };
        let mut finding = Finding::new("api-gateway-key", format!("{told}; {what}"));
        finding.field = field;
        report.findings.push(finding);
    }
}

fn shape(convention: &Convention, version: &Version) -> Vec<Finding> {
    let problems = convention.problems(&version.content).into_iter();
    let finding = |problem: crate::convention::problem::Problem| {
        let mut finding = Finding::new(problem.code(), problem.to_string());
        finding.field = problem.field().map(str::to_owned);
        finding
    };
    problems.map(finding).collect()
}

/// Returns the kind of secrets that are named so.
fn expected<'a>(id: &SecretId, conventions: &'a Conventions) -> Option<&'a str> {
    let kind = |name: &str| conventions.of_name(name).map(|(convention, _)| convention.kind());
    match id {
        SecretId::Name(name) => kind(name),
        SecretId::Arn(arn) => names(arn).find_map(kind),
    }
}

fn of_error(reference: &str, error: &FetchError, measure: &Measure<'_>) -> Finding {
    let code = error.kind.label().replace('_', "-");
    let is_of_key = error.message.contains("KMS");
    let message = match error.kind {
        FetchErrorKind::Denied if is_of_key => format!("{error} (grant kms:Decrypt on its key)"),
        _ => format!("{error}{}", advice::of(error)),
    };
    let mut finding = Finding::new(code, message);
    match error.kind {
        FetchErrorKind::Decryption => finding.permission = Some("kms:Decrypt"),
        FetchErrorKind::Denied if is_of_key => finding.permission = Some("kms:Decrypt"),
        FetchErrorKind::Denied => {
            finding.permission = Some("secretsmanager:GetSecretValue");
            finding.grant = policy::least([reference], measure.region, measure.account).ok();
        }
        _ => {}
    }
    finding
}

fn written_time(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

/// Returns the account that the caller is in, where an answer tells: by the ARN of a secret that was
/// asked for by its name, or by the caller's own in a refusal.
pub(super) fn account<'a>(
    reads: impl IntoIterator<Item = (&'a SecretId, &'a Read)>,
) -> Option<String> {
    reads.into_iter().find_map(|(id, read)| match (id, &read.version) {
        (SecretId::Name(_), Ok(version)) => {
            Arn::parse(&version.arn).ok().map(|arn| arn.account().to_owned())
        }
        (_, Err(error)) if error.kind == FetchErrorKind::Denied => caller(&error.message),
        _ => None,
    })
}

/// Returns the account in `User: arn:aws:sts::123456789012:assumed-role/…`.
fn caller(message: &str) -> Option<String> {
    let at = [":sts::", ":iam::"]
        .iter()
        .find_map(|service| message.find(service).map(|at| at + service.len()))?;
    let account = message.get(at..at + 12)?;
    account.bytes().all(|byte| byte.is_ascii_digit()).then(|| account.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::version::Content;
    use crate::source::secrets_manager;
    use std::time::{Duration, UNIX_EPOCH};

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    fn read(name: &str, value: &str) -> Read {
        let version = Version {
            arn: format!("{ARN}{name}-AbC123").into(),
            name: name.into(),
            id: "v1".into(),
            labels: Vec::new(),
            created: Some(UNIX_EPOCH + Duration::from_secs(100)),
            content: Content::Text(value.to_owned().into()),
        };
        let rotation = secrets_manager::Rotation { is_enabled: true, last: None };
        Read { version: Ok(version), rotation: Some(rotation) }
    }

    fn refused(kind: FetchErrorKind, message: &str) -> Read {
        Read { version: Err(FetchError::new(kind, "C", message)), rotation: None }
    }

    fn reported(text: &str, read: Option<&Read>, is_strict: bool) -> Report {
        let conventions = Conventions::built_in();
        let measure = Measure {
            conventions: &conventions,
            is_strict,
            now: UNIX_EPOCH + Duration::from_secs(160),
            region: "eu-north-1",
            account: None,
        };
        let written = Written { text: text.to_owned(), places: Vec::new() };
        report(written, &Reference::parse(text), read, &measure)
    }

    #[track_caller]
    fn check(
        text: &str,
        read: Option<&Read>,
        kind: Option<&str>,
        expected: &[(&str, Option<&str>)],
    ) {
        let report = reported(text, read, false);
        let findings: Vec<(&str, Option<&str>)> =
            report.findings.iter().map(|one| (&*one.code, one.field.as_deref())).collect();
        assert_eq!(findings, expected, "{text}");
        assert_eq!((report.kind.as_deref(), report.ok), (kind, expected.is_empty()), "{text}");
        let told = serde_json::to_string(&report).expect("texts");
        assert!(!told.contains("hunter"), "{text}");
    }

    #[test]
    fn a_good_secret_has_no_findings() {
        let good = read("openai-api-key/sms", r#"{"ai_api_key":"hunter2"}"#);
        let kind = Some("openai-api-key");
        check("openai-api-key/sms", Some(&good), kind, &[]);
        let report = reported("openai-api-key/sms#ai_api_key", Some(&good), true);
        assert!(report.ok && report.readable);
        assert_eq!((report.age_seconds, report.rotation), (Some(60), Rotation::On));
        assert_eq!(report.created_date.as_deref(), Some("1970-01-01T00:01:40Z"));
        check("app/db", Some(&read("app/db", "hunter2")), None, &[]);
    }

    #[test]
    fn what_is_wrong_with_a_value_is_found() {
        let kind = Some("openai-api-key");
        for (value, expected) in [
            (r#"{"ai_api_key":"PLACEHOLDER_SMS"}"#, ("placeholder", Some("ai_api_key"))),
            (r#"{"ai_api_ky":"hunter2"}"#, ("missing", Some("ai_api_key"))),
            (r#"{"ai_api_key":5}"#, ("wrong-type", Some("ai_api_key"))),
            ("hunter2", ("not-json", None)),
        ] {
            check(
                "openai-api-key/sms",
                Some(&read("openai-api-key/sms", value)),
                kind,
                &[expected],
            );
        }
        let other = read("app/db", r#"{"user":"hunter2","x-api-key":"hunter2hunter2hunter2"}"#);
        check(
            "app/db#pass",
            Some(&other),
            None,
            &[("no-such-field", Some("pass")), ("api-gateway-key", Some("x-api-key"))],
        );
        let strict = reported("app/db#user", Some(&read("app/db", r#"{"user":"a"}"#)), true);
        assert_eq!(strict.findings[0].code, "no-convention");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_what_would_help() {
        check("", None, None, &[("bad-reference", None)]);
        check("a b", None, None, &[("bad-reference", None)]);
        check("a", None, None, &[("internal", None)]);
        let missing = refused(FetchErrorKind::NotFound, "none");
        check("openai-api-key/sms", Some(&missing), Some("openai-api-key"), &[("not-found", None)]);

        let denied = refused(FetchErrorKind::Denied, "User: x is not authorized");
        let report = reported("app/db", Some(&denied), false);
        let finding = &report.findings[0];
        assert_eq!(finding.permission, Some("secretsmanager:GetSecretValue"));
        let grant = serde_json::to_value(&finding.grant).expect("texts");
        let expected = "arn:aws:secretsmanager:eu-north-1:*:secret:app/db-??????";
        assert_eq!(grant["Statement"][0]["Resource"], serde_json::json!([expected]));

        for read in [
            refused(FetchErrorKind::Denied, "Access to KMS is not allowed"),
            refused(FetchErrorKind::Decryption, "x"),
        ] {
            let finding = &reported("app/db", Some(&read), false).findings[0];
            assert_eq!((finding.permission, finding.grant.is_some()), (Some("kms:Decrypt"), false));
        }
    }

    #[test]
    fn the_account_is_learnt_from_answers() {
        let name = SecretId::parse("app/db").expect("a name");
        let arn = SecretId::parse(&format!("{ARN}app/db-AbC123")).expect("an ARN");
        let good = read("app/db", "x");
        assert_eq!(account([(&arn, &good)]), None, "it may be another account's");
        assert_eq!(account([(&name, &good)]).as_deref(), Some("123456789012"));
        let message = "User: arn:aws:sts::210987654321:assumed-role/r/s is not authorized";
        let denied = refused(FetchErrorKind::Denied, message);
        assert_eq!(account([(&arn, &denied)]).as_deref(), Some("210987654321"));
        let odd = refused(FetchErrorKind::Denied, "User: arn:aws:iam::1234 x");
        assert_eq!(account([(&name, &odd)]), None);
    }
}
