//! Builds and signs requests in the JSON protocol of AWS.

use super::signing;
use aws_credential_types::Credentials;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use serde::Serialize;
use std::time::SystemTime;

const TARGET: &str = "x-amz-target";

/// A request to an AWS service, without its URL and its signature.
#[derive(Debug)]
pub(super) struct Request {
    /// The value of the HTTP header `X-Amz-Target`, which names the operation.
    target: &'static str,
    body: Bytes,
}

impl Request {
    pub(super) fn new(target: &'static str, body: &impl Serialize) -> Self {
        let body =
            serde_json::to_vec(body).expect("a structure of strings must be serialisable to JSON");
        Self { target, body: body.into() }
    }

    /// Returns the HTTP request with AWS's signature (Signature Version 4). The signature contains
    /// the time `now`. `service` is the name that AWS uses in signatures for the called service.
    ///
    /// Returns `None` if `url` is not a valid URL. The credentials must contain only visible ASCII
    /// characters.
    pub(super) fn signed(
        self,
        url: &str,
        service: &str,
        region: &str,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Option<hyper::Request<Bytes>> {
        let mut request = hyper::Request::post(format!("{}/", url.trim_end_matches('/')))
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header(TARGET, self.target)
            .header(USER_AGENT, concat!("sidekey/", env!("CARGO_PKG_VERSION")))
            .body(self.body)
            .ok()?;
        signing::sign(&mut request, service, region, credentials, now)?;
        Some(request)
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}
