//! The AWS API itself, as an SDK speaks it through `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
//!
//! This release refuses its operations, in AWS's own shape, so that an SDK pointed here raises a
//! typed error at once.

use super::json_error_of;
use crate::server::Response;
use crate::server::gate::Refusal;
use crate::server::problem::Problem;
use hyper::StatusCode;

/// Answers a request that failed. Always JSON, since plain text makes SDKs fail in other ways; and
/// 400 for all that a retry cannot mend.
pub(super) fn problem(problem: &Problem) -> Response {
    let (status, kind) = match problem {
        Problem::Refused(Refusal::Token) => {
            (StatusCode::BAD_REQUEST, "UnrecognizedClientException")
        }
        Problem::Refused(Refusal::Connections) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalServiceError")
        }
        other => (StatusCode::BAD_REQUEST, other.kind()),
    };
    json_error_of(status, kind, problem, "application/x-amz-json-1.1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::problem::NotServed;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn errors_are_what_an_sdk_reads() {
        for (failed, status, kind) in [
            (Problem::Refused(Refusal::Token), 400, "UnrecognizedClientException"),
            (Problem::Refused(Refusal::Connections), 500, "InternalServiceError"),
            (Problem::NotServed(NotServed::AwsApi), 400, "UnsupportedOperationException"),
        ] {
            let response = problem(&failed);
            assert_eq!(response.status().as_u16(), status);
            let body = response.into_body().collect().await.expect("a full body").to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["__type"], kind);
        }
    }
}
