//! The two operations of STS that hand out credentials and say whose they are: a form in, XML out.
//!
//! Pure, except that credentials are drawn: the time comes in as an argument.

use super::address::Place;
use super::draw;
use super::error::AwsError;
use super::operation::Operation;
use super::tokens::Tokens;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long credentials last, in seconds: at least, at most, and where nobody says.
///
/// Source: `DurationSeconds` of `AssumeRoleWithWebIdentity` in AWS's API reference.
const LIFE_SECONDS_MIN: u64 = 900;
const LIFE_SECONDS_MAX: u64 = 43_200;
const LIFE_SECONDS_DEFAULT: u64 = 3_600;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Names of errors that STS spells in its own way, and the status that goes with them.
const SPELLINGS: [(&str, &str, u16); 7] = [
    ("AccessDeniedException", "AccessDenied", 403),
    ("ExpiredTokenException", "ExpiredToken", 403),
    ("InternalServiceError", "InternalFailure", 500),
    ("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403),
    ("ThrottlingException", "Throttling", 400),
    ("UnrecognizedClientException", "InvalidClientTokenId", 403),
    ("ValidationException", "ValidationError", 400),
];

/// A request's members.
pub(super) type Form = BTreeMap<String, String>;

/// Answers with the XML inside of the operation's result.
pub(super) fn answer(
    operation: Operation,
    form: &Form,
    tokens: &Tokens,
    home: &Place,
    now: SystemTime,
) -> Result<String, AwsError> {
    match operation {
        Operation::AssumeRoleWithWebIdentity => assume_role(form, tokens, now),
        _ => Ok(caller_identity(home)),
    }
}

fn assume_role(form: &Form, tokens: &Tokens, now: SystemTime) -> Result<String, AwsError> {
    let role_arn = required(form, "RoleArn", "roleArn")?;
    let session = required(form, "RoleSessionName", "roleSessionName")?;
    required(form, "WebIdentityToken", "webIdentityToken")?;
    let end = now + life(form)?;

    let parts: Vec<&str> = role_arn.splitn(6, ':').collect();
    let ["arn", _, "iam", _, account, resource] = parts[..] else {
        return Err(AwsError::validation(format!("{role_arn} is invalid")));
    };
    let role = resource.rsplit('/').next().unwrap_or(resource);
    let id = format!("AROA{}:{session}", draw::capitals(16));
    let arn = format!("arn:aws:sts::{account}:assumed-role/{role}/{session}");
    let access_key_id = format!("ASIA{}", draw::capitals(16));
    let secret_access_key = draw::alphanumerics(40);
    let session_token = draw::alphanumerics(356);
    tokens.issue(session_token.clone(), end);
    Ok(elements(&[
        ("SubjectFromWebIdentityToken", Text("double")),
        ("Audience", Text("sts.amazonaws.com")),
        ("AssumedRoleUser", Xml(elements(&[("Arn", Text(&arn)), ("AssumedRoleId", Text(&id))]))),
        (
            "Credentials",
            Xml(elements(&[
                ("AccessKeyId", Text(&access_key_id)),
                ("SecretAccessKey", Text(&secret_access_key)),
                ("SessionToken", Text(&session_token)),
                ("Expiration", Text(&rfc3339(end))),
            ])),
        ),
    ]))
}

fn caller_identity(home: &Place) -> String {
    let account = &home.account;
    let arn = format!("arn:aws:sts::{account}:assumed-role/sidekey-double/session");
    elements(&[
        ("Arn", Text(&arn)),
        ("UserId", Text("AROASIDEKEYDOUBLEXXX:session")),
        ("Account", Text(account)),
    ])
}

/// Returns the whole answer around an operation's result.
pub(super) fn envelope(operation: Operation, result: &str, request_id: &str) -> String {
    let name = operation.name();
    let metadata = elements(&[("RequestId", Text(request_id))]);
    format!(
        "<{name}Response xmlns=\"{NAMESPACE}\"><{name}Result>{result}</{name}Result>\
         <ResponseMetadata>{metadata}</ResponseMetadata></{name}Response>"
    )
}

/// Returns the status and the whole answer for an error.
pub(super) fn error_envelope(error: &AwsError, request_id: &str) -> (u16, String) {
    let (code, status) = match SPELLINGS.iter().find(|(kind, ..)| *kind == error.kind) {
        Some(&(_, code, status)) => (code, status),
        None => (error.kind.as_ref(), error.status),
    };
    let side = if status < 500 { "Sender" } else { "Receiver" };
    let error =
        elements(&[("Type", Text(side)), ("Code", Text(code)), ("Message", Text(&error.message))]);
    let id = elements(&[("RequestId", Text(request_id))]);
    let xml =
        format!("<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>{error}</Error>{id}</ErrorResponse>");
    (status, xml)
}

/// Reads a body of the type `application/x-www-form-urlencoded`.
pub(super) fn parse_form(body: &[u8]) -> Form {
    let text = String::from_utf8_lossy(body);
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Decodes percent signs and pluses. What is no valid escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], escaped) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn required<'f>(form: &'f Form, key: &str, member: &str) -> Result<&'f str, AwsError> {
    match form.get(key).map(String::as_str) {
        None | Some("") => Err(AwsError::constraint(member, Some("null"), "not be null")),
        Some(value) => Ok(value),
    }
}

fn life(form: &Form) -> Result<Duration, AwsError> {
    let Some(text) = form.get("DurationSeconds") else {
        return Ok(Duration::from_secs(LIFE_SECONDS_DEFAULT));
    };
    match text.parse() {
        Ok(seconds @ LIFE_SECONDS_MIN..=LIFE_SECONDS_MAX) => Ok(Duration::from_secs(seconds)),
        _ => {
            let constraint = "have value between 900 and 43200";
            Err(AwsError::constraint("durationSeconds", Some(text), constraint))
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let whole = time.replace_nanosecond(0).expect("zero is a valid nanosecond");
    whole.format(&Rfc3339).expect("a year of four digits can be written")
}

/// What an XML element holds.
enum Content<'c> {
    /// Text, which is escaped.
    Text(&'c str),
    /// Elements.
    Xml(String),
}
use Content::{Text, Xml};

fn elements(elements: &[(&str, Content<'_>)]) -> String {
    elements.iter().fold(String::new(), |mut xml, (name, content)| {
        xml.push_str(&format!("<{name}>"));
        match content {
            Text(text) => xml.push_str(&escape(text)),
            Xml(inner) => xml.push_str(inner),
        }
        xml.push_str(&format!("</{name}>"));
        xml
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn ask(body: &str) -> Result<String, AwsError> {
        let tokens = Tokens::new(Arc::new(|| NOW));
        let form = parse_form(body.as_bytes());
        answer(Operation::AssumeRoleWithWebIdentity, &form, &tokens, &Place::default(), NOW)
    }

    const ROLE: &str = "RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fpath%2Fapp";

    #[test]
    fn a_role_is_assumed_for_an_hour() {
        let xml = ask(&format!("{ROLE}&RoleSessionName=me&WebIdentityToken=jwt")).expect("xml");
        assert!(xml.contains("<Expiration>1970-01-01T01:00:00Z</Expiration>"), "{xml}");
        assert!(xml.contains("<Arn>arn:aws:sts::111122223333:assumed-role/app/me</Arn>"), "{xml}");
        assert!(xml.contains("<AccessKeyId>ASIA"), "{xml}");
    }

    #[test]
    fn roles_that_are_not_assumed() {
        let check = |body: &str| {
            let error = ask(body).expect_err("refused");
            assert_eq!(error.kind, "ValidationException", "{body}");
        };
        check("RoleSessionName=me&WebIdentityToken=jwt");
        check(&format!("{ROLE}&WebIdentityToken=jwt"));
        check(&format!("{ROLE}&RoleSessionName=me"));
        check("RoleArn=app&RoleSessionName=me&WebIdentityToken=jwt");
        check(&format!("{ROLE}&RoleSessionName=me&WebIdentityToken=jwt&DurationSeconds=60"));
    }

    #[test]
    fn errors_are_spelt_as_sts_spells_them() {
        let error = AwsError::new("ExpiredTokenException", "a < b");
        let (status, xml) = error_envelope(&error, "id");
        assert_eq!(status, 403);
        assert_eq!(
            xml,
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
             <Type>Sender</Type><Code>ExpiredToken</Code><Message>a &lt; b</Message></Error>\
             <RequestId>id</RequestId></ErrorResponse>"
        );
    }

    #[test]
    fn forms_are_decoded() {
        let form = parse_form(b"a=1+2&b%3D=%41%zz%&c=&d");
        let expected = [("a", "1 2"), ("b=", "A%zz%"), ("c", "")];
        let found: Vec<_> = form.iter().map(|(key, it)| (key.as_str(), it.as_str())).collect();
        assert_eq!(found, expected);
    }
}
