//! The report of `sidekey check` on one secret: the secret's metadata, and the problems of its
//! value. This module has no side effects.

use super::candidates::{Candidate, names};
use super::gateway_key::{self, GatewayKey};
use super::reads::{self, Read};
use crate::commands::advice;
use crate::commands::policy::{self, Document};
use crate::convention::problem::Problem;
use crate::convention::{Convention, Conventions};
use crate::secret::arn::Arn;
use crate::secret::field::Fields;
use crate::secret::reference::{BadReferenceOrPath, Reference, SecretId};
use crate::secret::role::RoleArn;
use crate::secret::role_rules::RoleRules;
use crate::secret::service::Service;
use crate::secret::version::{Details, Version};
use crate::source::{FetchError, FetchErrorKind};
use serde::Serialize;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The settings that decide what `sidekey check` reports as a problem.
#[derive(Debug)]
pub(super) struct Criteria<'a> {
    pub(super) conventions: &'a Conventions,
    /// Whether `sidekey check` reports a problem if a secret's name matches no naming convention.
    pub(super) is_strict: bool,
    pub(super) now: SystemTime,
    /// The AWS region of secrets that the user gives by name. An ARN contains its own region.
    pub(super) region: &'a str,
    /// The AWS account id of secrets that the user gives by name. An ARN contains its own account
    /// id. `None` if the id is unknown.
    pub(super) account: Option<&'a str>,
    /// The rules that choose the role with which a secret is read.
    pub(super) role_rules: &'a RoleRules,
}

/// The report of `sidekey check` on one secret or parameter, or on the parameters under a path. The
/// report never contains a secret value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The name or ARN of the secret, exactly as it was given to the command.
    pub(super) reference: String,
    /// The places in JSON files that name the secret, such as `Items[0].key`.
    #[serde(rename = "places")]
    pub(super) locations: Vec<String>,
    pub(super) ok: bool,
    pub(super) readable: bool,
    /// The ARN of the role with which the secret was read. `None` if the command used its own
    /// credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
    pub(super) arn: Option<String>,
    pub(super) name: Option<String>,
    /// The kind of the secret, such as `whatsapp-twilio`, which Sidekey derives from the secret's
    /// name. `None` if the name matches no naming convention.
    pub(super) kind: Option<String>,
    /// The type of a parameter, such as `SecureString`. `None` for a secret.
    pub(super) parameter_type: Option<&'static str>,
    /// The number of parameters under a path, such as `ssm:/app/*`. `None` for a report on a single
    /// secret or parameter.
    pub(super) parameters: Option<usize>,
    /// The version id of a secret, or the version number of a parameter.
    pub(super) version_id: Option<String>,
    /// When AWS created the version of the secret that was read, as an RFC 3339 timestamp.
    pub(super) created_date: Option<String>,
    pub(super) age_seconds: Option<u64>,
    pub(super) rotation: Rotation,
    pub(super) last_rotated_date: Option<String>,
    pub(super) findings: Vec<Finding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rotation {
    On,
    Off,
    /// Sidekey cannot know whether Secrets Manager rotates the secret, because the secret was not
    /// read, or because AWS denies `secretsmanager:DescribeSecret`.
    Unknown,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// The type of the problem as a fixed word, such as `not-found`, so that programs need not
    /// parse the error message.
    pub(super) code: String,
    /// The name of the secret's field that has the problem. `None` if the problem is not in one
    /// field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    pub(super) message: String,
    /// The IAM action that AWS denied, such as `kms:Decrypt`. `None` if no permission is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) permission: Option<&'static str>,
    /// An IAM policy that allows the action that AWS denied. `None` if Sidekey cannot write such a
    /// policy.
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

/// Creates the report of `sidekey check` on one secret. `read` is the result of reading the secret
/// from Secrets Manager.
pub(super) fn report(
    candidate: Candidate,
    reference: &Result<Reference, BadReferenceOrPath>,
    read: Option<&Read>,
    criteria: &Criteria<'_>,
) -> Report {
    let mut report = Report {
        reference: candidate.text,
        locations: candidate.locations,
        ok: false,
        readable: false,
        role: None,
        arn: None,
        name: None,
        kind: None,
        parameter_type: None,
        parameters: None,
        version_id: None,
        created_date: None,
        age_seconds: None,
        rotation: Rotation::Unknown,
        last_rotated_date: None,
        findings: Vec::new(),
    };
    let role = reference.as_ref().ok().and_then(|one| criteria.role_rules.role_of_id(&one.id));
    report.role = role.map(|role| role.as_str().to_owned());
    match (reference, read) {
        (Err(bad), _) => report.findings.push(Finding::new("bad-reference", bad.to_string())),
        (Ok(reference), Some(Read { version: Ok(version), rotation })) => {
            report.readable = true;
            report.rotation = match rotation {
                Some(rotation) if rotation.is_enabled => Rotation::On,
                Some(_) => Rotation::Off,
                None => Rotation::Unknown,
            };
            report.last_rotated_date =
                rotation.as_ref().and_then(|rotation| rotation.last).and_then(rfc3339);
            add_version(&mut report, reference, version, criteria);
        }
        (Ok(reference), read) => {
            report.kind = expected_kind(&reference.id, criteria.conventions).map(str::to_owned);
            let finding = match read {
                Some(Read { version: Err(error), .. }) => {
                    read_failure(&report.reference, &reference.id, role, error, criteria)
                }
                _ => {
                    let error = reads::panicked();
                    read_failure(&report.reference, &reference.id, role, &error, criteria)
                }
            };
            report.findings.push(finding);
        }
    }
    report.ok = report.findings.is_empty();
    report
}

/// Adds the metadata of a secret, and all problems of its value, to the report on the secret.
fn add_version(
    report: &mut Report,
    reference: &Reference,
    version: &Version,
    criteria: &Criteria<'_>,
) {
    report.name = Some(version.name.to_string());
    if let Details::Path(parameters) = &version.details {
        report.parameters = Some(parameters.len());
        return;
    }
    report.arn = Some(version.arn.to_string());
    report.version_id = Some(version.id.to_string());
    report.created_date = version.created.and_then(rfc3339);
    report.age_seconds = version
        .created
        .and_then(|created| criteria.now.duration_since(created).ok())
        .map(|age| age.as_secs());
    match &version.details {
        // Conventions (patterns for secret names, with rules for the values) apply only to secrets.
        Details::Parameter(parameter) => report.parameter_type = Some(parameter.kind.label()),
        _ => add_convention(report, version, criteria),
    }
    if let Some(name) = &reference.field
        && let Err(absent) = Fields::of(&version.content).field(name)
    {
        let mut finding = Finding::new("no-such-field", absent.to_string());
        finding.field = Some(name.to_string());
        report.findings.push(finding);
    }
    if let Some(key) = gateway_key::find(&version.content) {
        report.findings.push(gateway_key_finding(key, reference.id.service()));
    }
}

fn add_convention(report: &mut Report, version: &Version, criteria: &Criteria<'_>) {
    match criteria.conventions.of_name(&version.name) {
        Some((convention, _)) => {
            report.kind = Some(convention.kind().to_owned());
            report.findings.extend(convention_findings(convention, version));
        }
        None if criteria.is_strict => {
            report.findings.push(Finding::new(
                "no-convention",
                "the secret's name matches no naming convention, so Sidekey has no rules for the value",
            ));
        }
        None => {}
    }
}

fn gateway_key_finding(key: GatewayKey, service: Service) -> Finding {
    let (field, subject) = match key {
        GatewayKey::Value => (None, "the value".to_owned()),
        GatewayKey::Field(name) => {
            let subject = format!("the field '{name}'");
            (Some(name), subject)
        }
    };
    let message = format!(
        "{subject} looks like an API key of Amazon API Gateway; keep such keys in API Gateway, not in {}",
        service.name()
    );
    Finding { field, ..Finding::new("api-gateway-key", message) }
}

fn convention_findings(convention: &Convention, version: &Version) -> Vec<Finding> {
    convention.problems(&version.content).into_iter().map(problem_finding).collect()
}

fn problem_finding(problem: Problem) -> Finding {
    Finding {
        field: problem.field().map(str::to_owned),
        ..Finding::new(problem.code(), problem.to_string())
    }
}

/// Returns the kind, such as `whatsapp-twilio`, of the secret with the name or ARN `id`. Returns
/// `None` if the name matches no naming convention.
fn expected_kind<'a>(id: &SecretId, conventions: &'a Conventions) -> Option<&'a str> {
    let convention = match id {
        SecretId::Name(name) => conventions.of_name(name),
        SecretId::Parameter(_) | SecretId::Path(_) => None,
        SecretId::Arn(arn) => names(arn).find_map(|name| conventions.of_name(name)),
    };
    convention.map(|(convention, _)| convention.kind())
}

fn read_failure(
    reference: &str,
    id: &SecretId,
    role: Option<&RoleArn>,
    error: &FetchError,
    criteria: &Criteria<'_>,
) -> Finding {
    let code = error.kind.label().replace('_', "-");
    // AWS uses the same error type if it denies kms:Decrypt and if it denies the read. Only the
    // error message shows the difference, because it mentions KMS.
    let is_of_key = error.message.contains("KMS");
    let message = match error.kind {
        FetchErrorKind::Denied if is_of_key => {
            format!("{error} (grant kms:Decrypt on the KMS key that encrypts the secret)")
        }
        _ => format!("{error}{}", advice::of(error)),
    };
    let mut finding = Finding::new(code, message);
    match error.kind {
        FetchErrorKind::Decryption => finding.permission = Some("kms:Decrypt"),
        FetchErrorKind::Denied if is_of_key => finding.permission = Some("kms:Decrypt"),
        FetchErrorKind::Denied => {
            finding.permission = Some(match (id, id.service()) {
                (SecretId::Path(_), _) => "ssm:GetParametersByPath",
                (_, Service::ParameterStore) => "ssm:GetParameter",
                (_, Service::SecretsManager) => "secretsmanager:GetSecretValue",
            });
            let account = role.map_or(criteria.account, |role| Some(role.account()));
            finding.grant = policy::least([reference], criteria.region, account, None).ok();
        }
        FetchErrorKind::RoleDenied => {
            finding.permission = Some("sts:AssumeRole");
            finding.grant = policy::least([], criteria.region, criteria.account, role).ok();
        }
        _ => {}
    }
    finding
}

fn rfc3339(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

/// Finds the id of the user's AWS account in the responses of AWS to the reads of secrets. Returns
/// `None` if no response contains the id.
pub(super) fn account<'a>(
    reads: impl IntoIterator<Item = (&'a SecretId, &'a Read)>,
) -> Option<String> {
    // A secret that was requested by name is in the user's own account. A secret that was requested
    // by ARN may be in another account.
    reads.into_iter().find_map(|(id, read)| match (id, &read.version) {
        (SecretId::Name(_) | SecretId::Parameter(_), Ok(version)) => {
            let account = Arn::parse(&version.arn).ok()?.account().to_owned();
            // The ARN of a public parameter of AWS contains no account id.
            (!account.is_empty()).then_some(account)
        }
        (_, Err(error)) if error.kind == FetchErrorKind::Denied => {
            account_of_caller(&error.message)
        }
        _ => None,
    })
}

/// Finds the AWS account id of the caller in an error message of AWS. Such a message contains the
/// ARN of the caller, for example `arn:aws:sts::123456789012:assumed-role/…`.
fn account_of_caller(message: &str) -> Option<String> {
    let at = [":sts::", ":iam::"]
        .iter()
        .find_map(|service| message.find(service).map(|at| at + service.len()))?;
    let account = message.get(at..at + 12)?;
    account.bytes().all(|byte| byte.is_ascii_digit()).then(|| account.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::parameter_path::ParameterPath;
    use crate::secret::version::{Content, Parameter, ParameterKind};
    use crate::source::aws;
    use std::time::{Duration, UNIX_EPOCH};

    const ARN: &str = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:";

    fn read(name: &str, value: &str) -> Read {
        let version = Version {
            arn: format!("{ARN}{name}-AbC123").into(),
            name: name.into(),
            id: "v1".into(),
            details: Details::Secret { labels: Vec::new() },
            created: Some(UNIX_EPOCH + Duration::from_secs(100)),
            content: Content::Text(value.to_owned().into()),
        };
        let rotation = aws::Rotation { is_enabled: true, last: None };
        Read { version: Ok(version), rotation: Some(rotation) }
    }

    fn refused(kind: FetchErrorKind, message: &str) -> Read {
        Read { version: Err(FetchError::new(kind, "C", message)), rotation: None }
    }

    fn reported(text: &str, read: Option<&Read>, is_strict: bool) -> Report {
        let conventions = Conventions::built_in();
        let criteria = Criteria {
            conventions: &conventions,
            is_strict,
            now: UNIX_EPOCH + Duration::from_secs(160),
            region: "eu-north-1",
            account: None,
            role_rules: &RoleRules::default(),
        };
        let candidate =
            Candidate { text: text.to_owned(), is_shortened: false, locations: Vec::new() };
        let reference = candidate.reference();
        report(candidate, &reference, read, &criteria)
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
        let json = serde_json::to_string(&report).expect("a report must be serializable as JSON");
        assert!(!json.contains("hunter"), "{text}");
    }

    #[test]
    fn good_secret_has_no_findings() {
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
    fn problems_of_a_value_are_findings() {
        let kind = Some("openai-api-key");
        for (value, expected) in [
            (r#"{"ai_api_key":"PLACEHOLDER_SMS"}"#, ("placeholder", Some("ai_api_key"))),
            (r#"{"ai_api_ky":"hunter2"}"#, ("missing", Some("ai_api_key"))),
            (r#"{"ai_api_key":5}"#, ("wrong-type", Some("ai_api_key"))),
            (r#"{"ai_api_key":"hunter2\n"}"#, ("white-space", Some("ai_api_key"))),
            (r#"{"ai_api_key":"hunter2\nhunter2"}"#, ("several-lines", Some("ai_api_key"))),
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
    fn failed_read_is_a_finding_with_the_missing_permission() {
        check("", None, None, &[("bad-reference", None)]);
        check("a b", None, None, &[("bad-reference", None)]);
        check("a", None, None, &[("internal", None)]);
        let missing = refused(FetchErrorKind::NotFound, "none");
        check("openai-api-key/sms", Some(&missing), Some("openai-api-key"), &[("not-found", None)]);

        let denied = refused(FetchErrorKind::Denied, "User: x is not authorized");
        let report = reported("app/db", Some(&denied), false);
        let finding = &report.findings[0];
        assert_eq!(finding.permission, Some("secretsmanager:GetSecretValue"));
        let grant = serde_json::to_value(&finding.grant)
            .expect("an IAM policy must be serializable as JSON");
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

    const STORE: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";

    fn parameter(name: &str, value: &str) -> Version {
        Version {
            arn: format!("{STORE}{name}").into(),
            name: name.into(),
            id: "3".into(),
            details: Details::Parameter(Parameter {
                number: 3,
                kind: ParameterKind::SecureString,
                data_type: None,
            }),
            created: Some(UNIX_EPOCH + Duration::from_secs(100)),
            content: Content::Text(value.to_owned().into()),
        }
    }

    #[test]
    fn parameter_is_reported_with_type_and_version_and_without_convention() {
        let rotation = Some(aws::Rotation { is_enabled: false, last: None });
        let name = "/openai-api-key/sms";
        let read = Read { version: Ok(parameter(name, r#"{"user":"hunter2"}"#)), rotation };
        let text = format!("ssm:{name}");
        let report = reported(&text, Some(&read), true);
        assert!(report.ok && report.readable, "{report:?}");
        let facts = (report.parameter_type, report.version_id.as_deref(), report.rotation);
        assert_eq!(facts, (Some("SecureString"), Some("3"), Rotation::Off));
        check(&text, Some(&read), None, &[]);
        check(&format!("{text}#user"), Some(&read), None, &[]);
        check(&format!("{text}#pass"), Some(&read), None, &[("no-such-field", Some("pass"))]);

        let path = ParameterPath::new("/app", false, None);
        let two = vec![parameter("/app/a", "x"), parameter("/app/b", "hunter2")];
        let read = Read { version: Ok(Version::of_path(&path, two)), rotation: None };
        let report = reported("ssm:/app/*", Some(&read), true);
        assert_eq!((report.ok, report.parameters, report.arn), (true, Some(2), None));
        check("ssm:/app/*", Some(&read), None, &[]);
        check("ssm:/app/**", None, None, &[("bad-reference", None)]);
    }

    #[test]
    fn denied_read_of_a_parameter_names_its_permissions() {
        let denied = refused(FetchErrorKind::Denied, "User: x is not authorized");
        for (text, permission, actions) in [
            ("ssm:/app/url", "ssm:GetParameter", &["ssm:GetParameter", "ssm:GetParameters"][..]),
            (
                "ssm:/app/*",
                "ssm:GetParametersByPath",
                &["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"],
            ),
        ] {
            let finding = &reported(text, Some(&denied), false).findings[0];
            assert_eq!(finding.permission, Some(permission));
            let grant = serde_json::to_value(&finding.grant)
                .expect("an IAM policy must be serializable as JSON");
            let statements =
                grant["Statement"].as_array().expect("the policy must have statements");
            let found: Vec<&str> =
                statements.iter().filter_map(|one| one["Action"].as_str()).collect();
            assert_eq!(found, actions, "{text}");
        }
    }

    #[test]
    fn account_is_taken_from_answers() {
        let name = SecretId::parse("app/db").expect("the name must be valid");
        let arn = SecretId::parse(&format!("{ARN}app/db-AbC123")).expect("the ARN must be valid");
        let good = read("app/db", "x");
        assert_eq!(
            account([(&arn, &good)]),
            None,
            "the account must not come from a secret that was requested by ARN"
        );
        assert_eq!(account([(&name, &good)]).as_deref(), Some("123456789012"));
        let message = "User: arn:aws:sts::210987654321:assumed-role/r/s is not authorized";
        let denied = refused(FetchErrorKind::Denied, message);
        assert_eq!(account([(&arn, &denied)]).as_deref(), Some("210987654321"));
        let odd = refused(FetchErrorKind::Denied, "User: arn:aws:iam::1234 x");
        assert_eq!(account([(&name, &odd)]), None);
    }
}
