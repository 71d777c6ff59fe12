//! The AWS Security Token Service (STS): assumes roles, issues random temporary credentials, and
//! returns the caller's identity. Callers pass the current time as an argument.

pub(crate) mod query;

use crate::error::AwsError;
use crate::location::Location;
use crate::operation::Operation;
use crate::random;
use crate::roles::Roles;
use crate::session_tokens::SessionTokens;
use query::Content::{Text, Xml};
use query::{Form, elements, required};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The minimum lifetime of temporary credentials in seconds.
///
/// Source: `DurationSeconds` of `AssumeRoleWithWebIdentity` in AWS's API reference.
const LIFETIME_SECONDS_MIN: u64 = 900;

/// The maximum lifetime of temporary credentials in seconds.
///
/// Source: `DurationSeconds` of `AssumeRoleWithWebIdentity` in AWS's API reference.
const LIFETIME_SECONDS_MAX: u64 = 43_200;

/// The lifetime of temporary credentials in seconds if the request contains no `DurationSeconds`.
const LIFETIME_SECONDS_DEFAULT: u64 = 3_600;

/// The inputs with which STS issues temporary credentials.
pub(crate) struct Issuer<'a> {
    pub(crate) tokens: &'a SessionTokens,
    pub(crate) roles: &'a Roles,
    /// The current time.
    pub(crate) now: SystemTime,
}

/// Executes an STS operation for a caller of the account `home`. Returns the XML inside the result
/// element of the response, such as the content of `<GetCallerIdentityResult>`.
pub(crate) fn execute(
    operation: Operation,
    form: &Form,
    issuer: &Issuer<'_>,
    home: &Location,
) -> Result<String, AwsError> {
    match operation {
        Operation::AssumeRole => issuer.assume_role(form, home),
        Operation::AssumeRoleWithWebIdentity => issuer.assume_role_with_web_identity(form),
        _ => Ok(caller_identity(home)),
    }
}

impl Issuer<'_> {
    fn assume_role(&self, form: &Form, home: &Location) -> Result<String, AwsError> {
        let role_arn = required(form, "RoleArn", "roleArn")?;
        let external_id = form.get("ExternalId").map(String::as_str);
        self.roles.check_trust(role_arn, external_id, home)?;
        let (access_key_id, session_arn, xml) = self.credentials(form)?;
        self.roles.begin_session(&access_key_id, role_arn, &session_arn);
        Ok(xml)
    }

    fn assume_role_with_web_identity(&self, form: &Form) -> Result<String, AwsError> {
        // A request must contain a web identity token, but the fake does not verify the token.
        required(form, "WebIdentityToken", "webIdentityToken")?;
        let (_, _, xml) = self.credentials(form)?;
        let identity = [
            ("SubjectFromWebIdentityToken", Text("fake-aws")),
            ("Audience", Text("sts.amazonaws.com")),
        ];
        Ok(elements(&identity) + &xml)
    }

    /// Issues credentials for the role in a request. Returns the access key id, the ARN of the
    /// session, and the XML of the response.
    fn credentials(&self, form: &Form) -> Result<(String, String, String), AwsError> {
        let (tokens, now) = (self.tokens, self.now);
        let role_arn = required(form, "RoleArn", "roleArn")?;
        let session = required(form, "RoleSessionName", "roleSessionName")?;
        let expiry = now + lifetime(form)?;

        let parts: Vec<&str> = role_arn.splitn(6, ':').collect();
        let ["arn", _, "iam", _, account, resource] = parts[..] else {
            return Err(AwsError::validation(format!("{role_arn} is invalid")));
        };
        let role = resource.rsplit('/').next().unwrap_or(resource);
        let id = format!("AROA{}:{session}", random::capitals(16));
        let arn = format!("arn:aws:sts::{account}:assumed-role/{role}/{session}");
        let access_key_id = format!("ASIA{}", random::capitals(16));
        let secret_access_key = random::alphanumerics(40);
        let session_token = random::alphanumerics(356);
        tokens.issue(session_token.clone(), expiry);
        let xml = elements(&[
            (
                "AssumedRoleUser",
                Xml(elements(&[("Arn", Text(&arn)), ("AssumedRoleId", Text(&id))])),
            ),
            (
                "Credentials",
                Xml(elements(&[
                    ("AccessKeyId", Text(&access_key_id)),
                    ("SecretAccessKey", Text(&secret_access_key)),
                    ("SessionToken", Text(&session_token)),
                    ("Expiration", Text(&rfc3339(expiry))),
                ])),
            ),
        ]);
        Ok((access_key_id, arn, xml))
    }
}

fn caller_identity(home: &Location) -> String {
    let account = &home.account;
    let arn = format!("arn:aws:sts::{account}:assumed-role/fake-aws/session");
    elements(&[
        ("Arn", Text(&arn)),
        ("UserId", Text("AROAFAKEAWSXXXXXXXXX:session")),
        ("Account", Text(account)),
    ])
}

fn lifetime(form: &Form) -> Result<Duration, AwsError> {
    let Some(text) = form.get("DurationSeconds") else {
        return Ok(Duration::from_secs(LIFETIME_SECONDS_DEFAULT));
    };
    match text.parse() {
        Ok(seconds @ LIFETIME_SECONDS_MIN..=LIFETIME_SECONDS_MAX) => {
            Ok(Duration::from_secs(seconds))
        }
        _ => {
            let constraint = "Member must have value between 900 and 43200";
            Err(AwsError::broken_constraint("durationSeconds", Some(text), constraint))
        }
    }
}

/// Formats a time in the form `2026-01-31T12:00:00Z`. STS sends times without fractions of seconds.
fn rfc3339(time: SystemTime) -> String {
    OffsetDateTime::from(time)
        .replace_nanosecond(0)
        .expect("zero must be a valid number of nanoseconds")
        .format(&Rfc3339)
        .expect("the year must have four digits, as RFC 3339 requires")
}

#[cfg(test)]
mod tests {
    use super::query::parse_form;
    use super::*;
    use std::sync::Arc;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn web_identity(body: &str) -> Result<String, AwsError> {
        let (tokens, roles) = (SessionTokens::new(Arc::new(|| NOW)), Roles::default());
        let issuer = Issuer { tokens: &tokens, roles: &roles, now: NOW };
        let form = parse_form(body.as_bytes());
        execute(Operation::AssumeRoleWithWebIdentity, &form, &issuer, &Location::default())
    }

    const ROLE: &str = "RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fpath%2Fapp";

    #[test]
    fn role_is_assumed_for_one_hour_by_default() {
        let xml = web_identity(&format!("{ROLE}&RoleSessionName=me&WebIdentityToken=jwt"))
            .expect("the call of the operation must succeed");
        assert!(xml.contains("<Expiration>1970-01-01T01:00:00Z</Expiration>"), "{xml}");
        assert!(xml.contains("<Arn>arn:aws:sts::111122223333:assumed-role/app/me</Arn>"), "{xml}");
        assert!(xml.contains("<AccessKeyId>ASIA"), "{xml}");
    }

    #[test]
    fn invalid_requests_do_not_assume_a_role() {
        let check = |body: &str| {
            let error = web_identity(body).expect_err("the call of the operation must fail");
            assert_eq!(error.kind, "ValidationException", "{body}");
        };
        check("RoleSessionName=me&WebIdentityToken=jwt");
        check(&format!("{ROLE}&WebIdentityToken=jwt"));
        check(&format!("{ROLE}&RoleSessionName=me"));
        check("RoleArn=app&RoleSessionName=me&WebIdentityToken=jwt");
        check(&format!("{ROLE}&RoleSessionName=me&WebIdentityToken=jwt&DurationSeconds=60"));
    }
}
