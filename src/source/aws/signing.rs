//! Signs the HTTP requests that Sidekey sends to AWS.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign as signature};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use std::time::SystemTime;

/// Adds AWS's signature (Signature Version 4) to a POST request. `service` is the name that AWS
/// uses in signatures for the called service, such as `ssm`. The signature is valid for some
/// minutes before and after the time `now`.
///
/// Returns `None` if the request cannot be signed. The credentials must contain only visible ASCII
/// characters.
pub(super) fn sign(
    request: &mut hyper::Request<Bytes>,
    service: &str,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Option<()> {
    let identity = Identity::from(credentials.clone());
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .ok()?
        .into();
    let uri = request.uri().to_string();
    let headers =
        request.headers().iter().filter_map(|(name, it)| Some((name.as_str(), it.to_str().ok()?)));
    let body = SignableBody::Bytes(request.body());
    let signable = SignableRequest::new("POST", uri, headers, body).ok()?;
    let (instructions, _) = signature(signable, &params).ok()?.into_parts();
    instructions.apply_to_request_http1x(request);
    Some(())
}
