//! The operations of Parameter Store, and the bodies of requests to it.

use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    GetMany,
    ByPath,
}

impl Operation {
    /// Returns the value of the HTTP header `X-Amz-Target`, which names the operation.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Get => "AmazonSSM.GetParameter",
            Self::GetMany => "AmazonSSM.GetParameters",
            Self::ByPath => "AmazonSSM.GetParametersByPath",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Get<'a> {
    pub(super) name: &'a str,
    pub(super) with_decryption: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetMany<'a> {
    pub(super) names: &'a [String],
    pub(super) with_decryption: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ByPath<'a> {
    pub(super) path: &'a str,
    #[serde(rename = "Recursive")]
    pub(super) is_recursive: bool,
    pub(super) with_decryption: bool,
    #[serde(rename = "ParameterFilters", skip_serializing_if = "Option::is_none")]
    pub(super) filters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::aws::json_request::Request;
    use aws_credential_types::Credentials;
    use std::time::{Duration, SystemTime};

    #[test]
    fn bodies_are_those_of_the_aws_api() {
        let check = |request: Request, expected: &str| {
            assert_eq!(str::from_utf8(request.body()), Ok(expected));
        };
        let get = Get { name: "/app/url:live", with_decryption: true };
        check(
            Request::new(Operation::Get.target(), &get),
            r#"{"Name":"/app/url:live","WithDecryption":true}"#,
        );
        let names = ["/a".to_owned(), "/b".to_owned()];
        let get_many = GetMany { names: &names, with_decryption: false };
        check(
            Request::new(Operation::GetMany.target(), &get_many),
            r#"{"Names":["/a","/b"],"WithDecryption":false}"#,
        );
        let mut by_path = ByPath {
            path: "/app",
            is_recursive: false,
            with_decryption: false,
            filters: None,
            next_token: None,
        };
        check(
            Request::new(Operation::ByPath.target(), &by_path),
            r#"{"Path":"/app","Recursive":false,"WithDecryption":false}"#,
        );
        let filters = r#"[{"Key": "Type", "Values": ["String"]}]"#;
        by_path.filters = Some(serde_json::from_str(filters).expect("the filters must be JSON"));
        by_path.next_token = Some("t");
        check(
            Request::new(Operation::ByPath.target(), &by_path),
            &format!(
                r#"{{"Path":"/app","Recursive":false,"WithDecryption":false,"ParameterFilters":{filters},"NextToken":"t"}}"#
            ),
        );
    }

    /// Checks the headers of a signed request. The expected signatures come from botocore, AWS's
    /// own library for Python.
    #[track_caller]
    fn check_signature(url: &str, token: Option<&str>, signed_headers: &str, signature: &str) {
        let token = token.map(str::to_owned);
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token, None, "");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_668_586_960);
        let get = Get { name: "/app/url", with_decryption: true };
        let request = Request::new(Operation::Get.target(), &get)
            .signed(url, "ssm", "eu-north-1", &credentials, now)
            .expect("the URL must be valid");
        let header = |name: &str| {
            let value = request.headers().get(name).expect("the header must be set");
            value.to_str().expect("the header must be ASCII")
        };
        assert_eq!(header("x-amz-date"), "20221116T082240Z");
        assert_eq!(header("x-amz-target"), "AmazonSSM.GetParameter");
        assert!(header("user-agent").starts_with("sidekey/"));
        assert_eq!(
            request.headers().contains_key("x-amz-security-token"),
            credentials.session_token().is_some()
        );
        assert_eq!(
            header("authorization"),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20221116/eu-north-1/ssm/aws4_request, \
                 SignedHeaders={signed_headers}, Signature={signature}"
            )
        );
    }

    #[test]
    fn signature_equals_that_of_another_implementation() {
        check_signature(
            "https://ssm.eu-north-1.amazonaws.com",
            None,
            "content-type;host;x-amz-date;x-amz-target",
            "f956978ee587cf13335f62e305a525f4dc55e2c46fe58cc225853e0c68547c89",
        );
        check_signature(
            "https://ssm.eu-north-1.amazonaws.com",
            Some("IQoJb3JpZ2luX2VjEXAMPLE//==+"),
            "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
            "1f7b259ac863f813423e5bba32d299d1ca00eab43ed8db35d7efd45f8afd2a5d",
        );
        check_signature(
            "http://localhost:4566/prefix",
            None,
            "content-type;host;x-amz-date;x-amz-target",
            "f0c8f6b05d4261b27d6de6d37f6d6e13242e68279d3d0ed494bf8642321039db",
        );
    }

    #[test]
    fn malformed_url_is_no_request() {
        let credentials = Credentials::new("id", "key", None, None, "");
        let get = Get { name: "/app/url", with_decryption: true };
        let request = Request::new(Operation::Get.target(), &get);
        assert!(
            request.signed("http://[", "ssm", "x", &credentials, SystemTime::UNIX_EPOCH).is_none()
        );
    }
}
