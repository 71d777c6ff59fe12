//! Where Secrets Manager is called instead of AWS's own endpoints: `SIDEKEY_ENDPOINT`.

/// Stands for the region in an endpoint that serves more than one.
const REGION: &str = "{region}";

/// An endpoint: https, or http on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Box<str>);

/// Why a text is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// It is not a URL with a host.
    #[error("a URL like https://vpce-1234.secretsmanager.eu-north-1.vpce.amazonaws.com expected")]
    NoUrl,
    /// Secrets would cross a network in the clear.
    #[error("https expected; http is for loopback addresses only")]
    InTheClear,
}

impl Endpoint {
    /// Parses an endpoint. A `{region}` in it stands for the region that is called; without one it
    /// serves the function's own region only.
    ///
    /// # Errors
    ///
    /// Where it is no URL, or neither https nor on loopback.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let uri: hyper::Uri =
            text.replace(REGION, "region").parse().map_err(|_| BadEndpoint::NoUrl)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(BadEndpoint::NoUrl)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            Some("http") => return Err(BadEndpoint::InTheClear),
            _ => return Err(BadEndpoint::NoUrl),
        }
        Ok(Self(text.into()))
    }

    /// Returns the endpoint for the function's own region.
    pub fn of(&self, region: &str) -> String {
        self.0.replace(REGION, region)
    }

    /// Returns the endpoint for another region, if this one serves it.
    pub fn abroad(&self, region: &str) -> Option<String> {
        self.0.contains(REGION).then(|| self.of(region))
    }
}

/// Returns whether a connection to a URL's host ends at this machine. The unspecified address means
/// loopback to whoever connects to it.
pub(super) fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    is_loopback(host.trim_end_matches('.'))
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| {
            let address = address.to_canonical();
            address.is_unspecified() || address.is_loopback()
        })
}

/// Returns whether a URL's host is this machine, by name or address.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_or_loopback() {
        for good in
            ["https://x.amazonaws.com", "http://127.0.0.1:1", "http://localhost", "http://[::1]:9"]
        {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for (bad, expected) in [
            ("http://10.0.0.1", BadEndpoint::InTheClear),
            ("http://127.0.0.1.evil.example", BadEndpoint::InTheClear),
            ("ftp://127.0.0.1", BadEndpoint::NoUrl),
            ("secretsmanager", BadEndpoint::NoUrl),
            ("", BadEndpoint::NoUrl),
        ] {
            assert_eq!(Endpoint::parse(bad), Err(expected), "{bad}");
        }
    }

    #[test]
    fn only_an_endpoint_with_a_region_serves_others() {
        let own = Endpoint::parse("https://vpce.example").expect("good");
        assert_eq!(
            (own.of("eu-north-1").as_str(), own.abroad("us-east-1")),
            ("https://vpce.example", None)
        );
        let any = Endpoint::parse("https://vpce.{region}.example").expect("good");
        assert_eq!(any.of("eu-north-1"), "https://vpce.eu-north-1.example");
        assert_eq!(any.abroad("us-east-1").as_deref(), Some("https://vpce.us-east-1.example"));
    }
}
