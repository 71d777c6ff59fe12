//! Parses responses of Parameter Store.
//!
//! A response contains secret values, so no error quotes a response. Each value is copied only
//! once, into memory of its final size.

use super::parameter::{Parameter, Parameters};
use crate::secret::json_text;
use crate::secret::service::Service;
use crate::secret::value::SecretValue;
use crate::secret::version::ParameterKind;
use crate::source::FetchError;
use crate::source::aws::json_response::{Body, parsed, required};
use crate::source::aws::timestamp::from_seconds;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One response of `GetParametersByPath`, which contains some of the parameters under a path.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) parameters: Vec<Parameter>,
    /// The token for requesting the next page of parameters. `None` if this page is the last.
    pub(super) next_token: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SingleResponse<'a> {
    #[serde(borrow)]
    parameter: Entry<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManyResponse<'a> {
    #[serde(borrow, default)]
    parameters: Vec<Entry<'a>>,
    #[serde(default)]
    invalid_parameters: Vec<Box<str>>,
    next_token: Option<Box<str>>,
}

/// A parameter in a response of Parameter Store. `value` is borrowed from the response, so that the
/// secret value is not copied.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(rename = "ARN")]
    arn: Option<Box<str>>,
    name: Option<Box<str>>,
    #[serde(rename = "Type")]
    kind: Option<Box<str>>,
    version: Option<u64>,
    data_type: Option<Box<str>>,
    /// When this version of the parameter was written: seconds since 1970, with milliseconds as a
    /// fraction.
    last_modified_date: Option<f64>,
    selector: Option<Box<str>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

pub(super) fn single(body: &Body) -> Result<Parameter, FetchError> {
    let response: SingleResponse<'_> = parsed(body, Service::ParameterStore)?;
    response.parameter.try_into()
}

pub(super) fn many(body: &Body) -> Result<Parameters, FetchError> {
    let response: ManyResponse<'_> = parsed(body, Service::ParameterStore)?;
    Ok(Parameters { found: parameters(response.parameters)?, invalid: response.invalid_parameters })
}

pub(super) fn page(body: &Body) -> Result<Page, FetchError> {
    let response: ManyResponse<'_> = parsed(body, Service::ParameterStore)?;
    Ok(Page {
        parameters: parameters(response.parameters)?,
        next_token: response.next_token.filter(|token| !token.is_empty()),
    })
}

fn parameters(entries: Vec<Entry<'_>>) -> Result<Vec<Parameter>, FetchError> {
    entries.into_iter().map(Parameter::try_from).collect()
}

impl TryFrom<Entry<'_>> for Parameter {
    type Error = FetchError;

    fn try_from(entry: Entry<'_>) -> Result<Self, FetchError> {
        let kind = entry.kind.as_deref().and_then(ParameterKind::parse);
        Ok(Self {
            arn: required(entry.arn, "ARN")?,
            name: required(entry.name, "name")?,
            kind: required(kind, "known parameter type")?,
            version: required(entry.version, "version")?,
            data_type: entry.data_type,
            last_modified: entry.last_modified_date.and_then(from_seconds),
            selector: entry.selector,
            value: required(entry.value.and_then(secret), "value")?,
        })
    }
}

/// Decodes a JSON string that may contain a secret value. Returns `None` if the JSON value is not a
/// string.
fn secret(raw: &RawValue) -> Option<SecretValue> {
    json_text::decoded(raw).map(|text| SecretValue::from(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FetchErrorKind;
    use crate::source::aws::json_response::body;
    use bytes::Bytes;
    use std::time::{Duration, SystemTime};

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> hyper::Response<Bytes> {
        let mut response = hyper::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(Bytes::from(body.to_owned())).expect("the response must be valid")
    }

    fn ok(json: &str) -> Body {
        body(response(200, &[], json), Service::ParameterStore, 1000)
            .expect("a successful response must have a body")
    }

    #[test]
    fn all_parts_of_a_parameter_are_read() {
        let parameter = single(&ok(r#"{"Parameter": {
            "ARN": "arn", "DataType": "text", "LastModifiedDate": 1.569534789046E9, "Name": "/app/url",
            "Selector": ":live", "SourceResult": "{\"a\":1}", "Type": "SecureString",
            "Value": "a\"\n\ud83d\ude00", "Version": 3, "Novel": [null]
        }, "ResultMetadata": {}}"#))
        .expect("the response must be complete");
        assert_eq!((&*parameter.arn, &*parameter.name), ("arn", "/app/url"));
        assert_eq!((parameter.kind, parameter.version), (ParameterKind::SecureString, 3));
        assert_eq!(parameter.data_type.as_deref(), Some("text"));
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(1_569_534_789_046);
        assert_eq!(parameter.last_modified, Some(modified));
        assert_eq!(parameter.selector.as_deref(), Some(":live"));
        assert_eq!(parameter.value.expose(), "a\"\n\u{1f600}".as_bytes());
    }

    #[test]
    fn absent_parts_and_null_are_equal() {
        let parameter = single(&ok(r#"{"Parameter": {"ARN": "a", "Name": "n", "Type": "String",
            "Value": "", "Version": 0, "Selector": null, "SourceResult": null, "DataType": null}}"#))
        .expect("the response must be complete");
        assert_eq!((parameter.version, parameter.value.len()), (0, 0));
        assert!(parameter.selector.is_none());
        assert!(parameter.data_type.is_none() && parameter.last_modified.is_none());
    }

    #[test]
    fn unusable_response_is_unreadable_and_never_quoted() {
        for (json, expected) in [
            ("hunter2", "could not be read"),
            ("", "could not be read"),
            (r#"{"Parameter": "hunter2"}"#, "could not be read"),
            (r#"{"Parameter": {"Version": "hunter2"}}"#, "could not be read"),
            (
                r#"{"Parameter": {"ARN": "a", "Name": "n", "Version": 1, "Value": "hunter2", "Type": "X"}}"#,
                "no known parameter type",
            ),
            (
                r#"{"Parameter": {"ARN": "a", "Name": "n", "Version": 1, "Type": "String"}}"#,
                "no value",
            ),
            (
                r#"{"Parameter": {"ARN": "a", "Name": "n", "Version": 1, "Type": "String", "Value": 7}}"#,
                "no value",
            ),
            (
                r#"{"Parameter": {"Name": "n", "Version": 1, "Type": "String", "Value": "hunter2"}}"#,
                "no ARN",
            ),
        ] {
            let error = single(&ok(json)).expect_err("an unusable response must cause an error");
            assert_eq!(error.kind, FetchErrorKind::Unreadable, "{json}");
            assert!(error.message.contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
        let long = body(response(200, &[], &" ".repeat(1001)), Service::ParameterStore, 1000);
        let error = long.expect_err("a response that is too long must be refused");
        assert_eq!(error.kind, FetchErrorKind::Unreadable);
        assert_eq!(format!("{:?}", ok("hunter2")), "Body(7 bytes)");
    }

    #[test]
    fn names_and_next_token_are_read() {
        let parameters = many(&ok(r#"{"Parameters": [], "InvalidParameters": ["/a"]}"#));
        let parameters = parameters.expect("the response must be complete");
        assert_eq!((parameters.found.len(), &*parameters.invalid[0]), (0, "/a"));
        for (json, expected) in
            [(r#"{"NextToken": "t"}"#, Some("t")), (r#"{"NextToken": ""}"#, None), ("{}", None)]
        {
            let page = page(&ok(json)).expect("the response must be complete");
            assert_eq!(page.next_token.as_deref(), expected, "{json}");
        }
    }

    #[track_caller]
    fn check(response: hyper::Response<Bytes>, kind: FetchErrorKind, code: &str, message: &str) {
        let error = body(response, Service::ParameterStore, 1000)
            .expect_err("an error response must cause an error");
        assert_eq!((error.kind, &*error.code, &*error.message), (kind, code, message));
    }

    #[test]
    fn error_code_is_in_the_header_or_in_the_body() {
        let kind = FetchErrorKind::Denied;
        let code = "AccessDeniedException";
        for (header, json) in [
            (None, r#"{"__type":"AccessDeniedException","message":"m"}"#),
            (None, r#"{"__type":"com.amazonaws.ssm#AccessDeniedException","Message":"m"}"#),
            (None, r#"{"__type":"AccessDeniedException","message":null,"Message":"m"}"#),
            (Some("AccessDeniedException"), r#"{"__type":"ValidationException","message":"m"}"#),
            (Some("AccessDeniedException:http://x.amazonaws.com/"), r#"{"Message":"m"}"#),
            (Some("a#AccessDeniedException:http://x#y"), r#"{"message":"m"}"#),
        ] {
            let headers: Vec<_> = header.map(|it| ("x-amzn-errortype", it)).into_iter().collect();
            check(response(400, &headers, json), kind, code, "m");
        }
    }

    #[test]
    fn error_response_keeps_the_request_id_and_gets_a_message() {
        let not_found = r#"{"__type":"ParameterNotFound"}"#;
        let headers = [("x-amzn-requestid", "id-1")];
        let error = body(response(400, &headers, not_found), Service::ParameterStore, 1000)
            .expect_err("an error response must cause an error");
        assert_eq!(error.request_id.as_deref(), Some("id-1"));
        assert_eq!(&*error.message, "the parameter does not exist");
        let none = "Parameter Store returned HTTP status 503 without an error code";
        let service = FetchErrorKind::Service;
        check(response(503, &[], "<html>hunter2"), service, "InternalServerError", none);
        let other = "the response has HTTP status 404 but is not an AWS error response";
        let unreadable = FetchErrorKind::Unreadable;
        check(response(404, &[], "hunter2"), unreadable, "ConnectionError", other);
        let forged = r#"{"__type":"hunter2 \u0000"}"#;
        let other = "the response has HTTP status 400 but is not an AWS error response";
        check(response(400, &[], forged), unreadable, "ConnectionError", other);
    }
}
