//! Parses the XML of responses of AWS's Security Token Service (STS).
//!
//! The parser knows only the form in which STS writes its responses: elements with text, without
//! attributes, comments and CDATA sections in the elements that Sidekey reads.

use crate::source::FetchError;
use crate::source::aws::aws_error::{self, ErrorResponse};
use crate::source::aws::timestamp::to_system_time;
use aws_credential_types::Credentials;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use std::borrow::Cow;

/// The maximum size of a response of STS in bytes. Responses with credentials have about 2 KB.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Returns the AWS credentials in a response to `AssumeRole`. Otherwise returns the error that the
/// response describes. An error never quotes a response with credentials.
pub(super) fn credentials(response: &hyper::Response<Bytes>) -> Result<Credentials, FetchError> {
    let body = response.body();
    let text = str::from_utf8(body).ok().filter(|text| text.len() <= RESPONSE_BYTES_MAX);
    let text = text.unwrap_or_default();
    if response.status().is_success() {
        return parsed(text).ok_or_else(|| {
            aws_error::unreadable(
                "the response of the AWS Security Token Service contains no valid credentials",
            )
        });
    }
    let (code, message) = (element(text, "Code"), element(text, "Message"));
    Err(aws_error::from_response(
        aws_error::STS,
        &ErrorResponse {
            status: response.status().as_u16(),
            code: code.map(json_code),
            message: message.map(unescaped).as_deref(),
            request_id: element(text, "RequestId"),
        },
    ))
}

fn parsed(xml: &str) -> Option<Credentials> {
    let expiry = DateTime::from_str(element(xml, "Expiration")?, Format::DateTime).ok()?;
    let credentials = Credentials::new(
        element(xml, "AccessKeyId")?,
        element(xml, "SecretAccessKey")?,
        Some(element(xml, "SessionToken")?.to_owned()),
        Some(to_system_time(expiry)?),
        "assumed role",
    );
    Some(credentials)
}

/// Returns the text of the element `name`. Returns `None` if the XML does not contain exactly one
/// such element, or if the element contains other elements.
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, rest) = rest.split_once(&format!("</{name}>"))?;
    let is_single = !rest.contains(&format!("<{name}>"));
    (is_single && !text.contains('<')).then_some(text.trim())
}

/// Replaces the escapes in the text of an XML element by the characters that they mean.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let escapes = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    let plain = escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    Cow::Owned(plain)
}

/// Translates an error code of STS to the equivalent code of Secrets Manager. Callers of Sidekey
/// know only the codes of Secrets Manager.
///
/// Source: the common errors in the API references of STS and of Secrets Manager.
fn json_code(code: &str) -> &str {
    match code {
        "AccessDenied" => "AccessDeniedException",
        "ExpiredToken" => "ExpiredTokenException",
        "InvalidClientTokenId" => "UnrecognizedClientException",
        "SignatureDoesNotMatch" => "InvalidSignatureException",
        "MissingAuthenticationToken" => "MissingAuthenticationTokenException",
        "Throttling" => "ThrottlingException",
        "InternalFailure" => "InternalServiceError",
        "ServiceUnavailable" => "ServiceUnavailableException",
        "ValidationError" => "ValidationException",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{VALUE, mangled};
    use crate::source::FetchErrorKind;
    use proptest::prelude::*;
    use std::time::{Duration, SystemTime};

    const SUCCESS: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n\
        <AssumeRoleResult>\n<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/a/b</Arn>\
        <AssumedRoleId>AROA:b</AssumedRoleId></AssumedRoleUser>\n<Credentials>\n\
        <AccessKeyId>ASIAEXAMPLE</AccessKeyId>\n<SecretAccessKey>hunter2/+</SecretAccessKey>\n\
        <SessionToken>hunter2==</SessionToken>\n<Expiration>2026-01-31T12:00:00Z</Expiration>\n\
        </Credentials>\n</AssumeRoleResult>\n\
        <ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></AssumeRoleResponse>";

    fn read(status: u16, body: &str) -> Result<Credentials, FetchError> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let response = hyper::Response::builder().status(status).body(body);
        credentials(&response.expect("the status must be valid"))
    }

    #[test]
    fn credentials_are_the_four_elements() {
        let credentials = read(200, SUCCESS).expect("the response must contain credentials");
        assert_eq!(credentials.access_key_id(), "ASIAEXAMPLE");
        assert_eq!(credentials.secret_access_key(), "hunter2/+");
        assert_eq!(credentials.session_token(), Some("hunter2=="));
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        assert_eq!(credentials.expiry(), Some(expiry));
    }

    #[test]
    fn incomplete_response_has_no_credentials() {
        for (part, other) in [
            ("<SessionToken>hunter2==</SessionToken>", ""),
            ("<SessionToken>hunter2==</SessionToken>", "<SessionToken>hunter2==<SessionToken>"),
            ("<SecretAccessKey>hunter2/+", "<SecretAccessKey><x>hunter2</x>"),
            ("</AccessKeyId>", "</AccessKeyId><AccessKeyId>ASIAOTHER</AccessKeyId>"),
            ("2026-01-31T12:00:00Z", "soon"),
        ] {
            let error = read(200, &SUCCESS.replace(part, other))
                .expect_err("an incomplete response must cause an error");
            assert_eq!(error.kind, FetchErrorKind::Unreadable, "{other}");
            assert!(!error.to_string().contains(VALUE), "{error}");
        }
    }

    #[test]
    fn errors_have_the_codes_of_secrets_manager() {
        for (status, code, expected_code, expected) in [
            (403, "AccessDenied", "AccessDeniedException", FetchErrorKind::Denied),
            (403, "ExpiredToken", "ExpiredTokenException", FetchErrorKind::Credentials),
            (
                403,
                "InvalidClientTokenId",
                "UnrecognizedClientException",
                FetchErrorKind::Credentials,
            ),
            (400, "Throttling", "ThrottlingException", FetchErrorKind::Throttled),
            (400, "ValidationError", "ValidationException", FetchErrorKind::Invalid),
            (403, "RegionDisabledException", "RegionDisabledException", FetchErrorKind::Invalid),
            (500, "InternalFailure", "InternalServiceError", FetchErrorKind::Service),
        ] {
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                 <Message>&lt;a&gt; &amp;lt;</Message></Error><RequestId>id-1</RequestId></ErrorResponse>"
            );
            let error = read(status, &body).expect_err("an error response must cause an error");
            assert_eq!((&*error.code, error.kind), (expected_code, expected), "{code}");
            assert_eq!(&*error.message, "<a> &lt;");
            assert_eq!(error.request_id.as_deref(), Some("id-1"));
        }
        let error = read(503, "<html>").expect_err("an error response must cause an error");
        assert_eq!((&*error.code, error.kind), ("InternalServiceError", FetchErrorKind::Service));
        let error = read(403, "<html>").expect_err("an error response must cause an error");
        assert_eq!(error.kind, FetchErrorKind::Unreadable);
    }

    proptest! {
        #[test]
        fn for_any_response_no_error_quotes_credentials(body in mangled(SUCCESS)) {
            match read(200, &body) {
                Ok(credentials) => prop_assert!(!credentials.access_key_id().contains('<')),
                Err(error) => prop_assert!(!error.to_string().contains(VALUE), "{error}"),
            }
        }
    }
}
