//! The custom endpoint URL in `SIDEKEY_ENDPOINT`, which the agent calls instead of AWS's own
//! endpoints.

use std::net::IpAddr;

/// The part of an endpoint URL that the agent replaces with the AWS region of the secret.
const REGION: &str = "{region}";

/// The URL of a custom endpoint for Secrets Manager. The URL must use https, except for loopback
/// addresses, which also allow http.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadEndpoint {
    #[error(
        "the endpoint must be a URL such as \
         https://vpce-1234.secretsmanager.eu-north-1.vpce.amazonaws.com"
    )]
    NotAUrl,
    /// Error: the endpoint URL uses http for a host that is not a loopback address. Secrets would
    /// travel over the network without encryption.
    #[error("the URL uses http, which is allowed only for loopback addresses: use https")]
    Unencrypted,
}

impl Endpoint {
    /// Parses an endpoint URL. The string `{region}` in the URL stands for the AWS region of the
    /// secret.
    ///
    /// An endpoint without `{region}` serves only secrets in the region of Sidekey's own
    /// configuration.
    ///
    /// # Errors
    ///
    /// Returns an error if `text` is not an http or https URL, or if the URL uses http for a host
    /// that is not a loopback address.
    pub(crate) fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let uri: hyper::Uri =
            text.replace(REGION, "region").parse().map_err(|_| BadEndpoint::NotAUrl)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(BadEndpoint::NotAUrl)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            Some("http") => return Err(BadEndpoint::Unencrypted),
            _ => return Err(BadEndpoint::NotAUrl),
        }
        Ok(Self(text.into()))
    }

    /// Returns the endpoint URL for `region`, the region of Sidekey's own configuration.
    pub(crate) fn for_home_region(&self, region: &str) -> String {
        self.0.replace(REGION, region)
    }

    /// Returns the endpoint URL for `region`, a region other than that of Sidekey's own
    /// configuration. Returns `None` if the URL has no part `{region}`, because the endpoint then
    /// serves only one region.
    pub(crate) fn for_other_region(&self, region: &str) -> Option<String> {
        self.0.contains(REGION).then(|| self.for_home_region(region))
    }
}

/// Returns whether the host of a URL is this machine: `localhost`, a loopback address, or an
/// unspecified address such as `0.0.0.0`.
pub(super) fn is_this_machine(host: &str) -> bool {
    is_loopback(host.trim_end_matches('.'))
        || parse_ip(host).is_some_and(|address| {
            let canonical = address.to_canonical();
            canonical.is_unspecified() || canonical.is_loopback()
        })
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || parse_ip(host).is_some_and(|address| address.is_loopback())
}

/// Parses the host of a URL as an IP address. URLs contain IPv6 addresses in square brackets.
fn parse_ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_https_or_on_loopback() {
        for good in
            ["https://x.amazonaws.com", "http://127.0.0.1:1", "http://localhost", "http://[::1]:9"]
        {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for (bad, expected) in [
            ("http://10.0.0.1", BadEndpoint::Unencrypted),
            ("http://127.0.0.1.evil.example", BadEndpoint::Unencrypted),
            ("ftp://127.0.0.1", BadEndpoint::NotAUrl),
            ("secretsmanager", BadEndpoint::NotAUrl),
            ("", BadEndpoint::NotAUrl),
        ] {
            assert_eq!(Endpoint::parse(bad), Err(expected), "{bad}");
        }
    }

    #[test]
    fn endpoint_serves_other_regions_only_with_the_placeholder() {
        let fixed =
            Endpoint::parse("https://vpce.example").expect("the endpoint URL must be valid");
        assert_eq!(fixed.for_home_region("eu-north-1"), "https://vpce.example");
        assert_eq!(fixed.for_other_region("us-east-1"), None);
        let any = Endpoint::parse("https://vpce.{region}.example")
            .expect("the endpoint URL must be valid");
        assert_eq!(any.for_home_region("eu-north-1"), "https://vpce.eu-north-1.example");
        let other = any.for_other_region("us-east-1");
        assert_eq!(other.as_deref(), Some("https://vpce.us-east-1.example"));
    }
}
