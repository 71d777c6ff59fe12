//! The protocol AWS Query, which STS uses: requests are forms, and responses are XML.

use crate::error::AwsError;
use crate::operation::Operation;
use std::collections::BTreeMap;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Errors that have different names in Secrets Manager and in STS. Each entry contains the name in
/// Secrets Manager, the name in STS, and the HTTP status in STS.
const STS_ERROR_CODES: [(&str, &str, u16); 7] = [
    ("AccessDeniedException", "AccessDenied", 403),
    ("ExpiredTokenException", "ExpiredToken", 403),
    ("InternalServiceError", "InternalFailure", 500),
    ("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403),
    ("ThrottlingException", "Throttling", 400),
    ("UnrecognizedClientException", "InvalidClientTokenId", 403),
    ("ValidationException", "ValidationError", 400),
];

/// The names and the values of the parameters of an STS request.
pub(crate) type Form = BTreeMap<String, String>;

pub(crate) fn parse_form(body: &[u8]) -> Form {
    let text = String::from_utf8_lossy(body);
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Decodes percent-encoded characters, and converts plus signs to spaces. Invalid percent escapes
/// are not changed.
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

/// Returns the value of a required parameter, or AWS's error if the parameter is missing or empty.
///
/// `key` is the name of the parameter in the request, such as `RoleArn`. `member` is its name in
/// AWS's error message, such as `roleArn`.
pub(crate) fn required<'f>(form: &'f Form, key: &str, member: &str) -> Result<&'f str, AwsError> {
    match form.get(key).map(String::as_str) {
        None | Some("") => {
            Err(AwsError::broken_constraint(member, Some("null"), "Member must not be null"))
        }
        Some(value) => Ok(value),
    }
}

/// Returns the complete XML response of a successful STS operation. `result` is the XML inside the
/// result element, such as the content of `<GetCallerIdentityResult>`.
pub(crate) fn envelope(operation: Operation, result: &str, request_id: &str) -> String {
    let name = operation.name();
    let metadata = elements(&[("RequestId", Text(request_id))]);
    format!(
        "<{name}Response xmlns=\"{NAMESPACE}\"><{name}Result>{result}</{name}Result>\
         <ResponseMetadata>{metadata}</ResponseMetadata></{name}Response>"
    )
}

/// Returns the HTTP status and the complete XML response for an AWS error.
pub(crate) fn error_envelope(error: &AwsError, request_id: &str) -> (u16, String) {
    let (code, status) = match STS_ERROR_CODES.iter().find(|(kind, ..)| *kind == error.kind) {
        Some(&(_, code, status)) => (code, status),
        None => (error.kind.as_ref(), error.status),
    };
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    let details =
        elements(&[("Type", Text(fault)), ("Code", Text(code)), ("Message", Text(&error.message))]);
    let id = elements(&[("RequestId", Text(request_id))]);
    let xml = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>{details}</Error>{id}</ErrorResponse>"
    );
    (status, xml)
}

/// The content of an XML element: a string or nested elements.
pub(crate) enum Content<'c> {
    /// A string, in which the function [`elements`] escapes special characters.
    Text(&'c str),
    /// XML of nested elements. The function [`elements`] inserts it without escaping.
    Xml(String),
}
use Content::{Text, Xml};

/// Returns the XML of several elements. Each element is a pair of a name and a content.
pub(crate) fn elements(elements: &[(&str, Content<'_>)]) -> String {
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

    #[test]
    fn error_has_the_code_and_status_of_sts() {
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
    fn form_is_decoded_and_invalid_escapes_are_kept() {
        let form = parse_form(b"a=1+2&b%3D=%41%zz%&c=&d");
        let expected = [("a", "1 2"), ("b=", "A%zz%"), ("c", "")];
        let found: Vec<_> = form.iter().map(|(key, it)| (key.as_str(), it.as_str())).collect();
        assert_eq!(found, expected);
    }
}
