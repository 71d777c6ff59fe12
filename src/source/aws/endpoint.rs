//! The custom endpoint URL in `SIDEKEY_ENDPOINT`, which the agent calls instead of AWS's own
//! endpoints.

use crate::outbound::is_loopback;

/// The part of the URL in `SIDEKEY_ENDPOINT` that the agent replaces with the AWS region of the
/// secret.
const REGION: &str = "{region}";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    url: Box<str>,
    is_exposed: bool,
}

/// Error: the text in `SIDEKEY_ENDPOINT` is not an http or https URL with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the endpoint must be a URL such as \
     https://vpce-1234.secretsmanager.eu-north-1.vpce.amazonaws.com"
)]
pub(crate) struct BadEndpoint;

impl Endpoint {
    pub(crate) const PLACEHOLDER: &str = REGION;

    /// Returns whether the URL contains `{region}`, so that the endpoint serves several regions.
    pub(crate) fn serves_other_regions(&self) -> bool {
        self.url.contains(REGION)
    }

    /// Parses the URL in `SIDEKEY_ENDPOINT`. The string `{region}` in the URL stands for the AWS
    /// region of the secret. An endpoint without `{region}` serves only secrets in the region of
    /// Sidekey's configuration.
    pub(crate) fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let uri: hyper::Uri = text.replace(REGION, "region").parse().map_err(|_| BadEndpoint)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(BadEndpoint)?;
        let is_exposed = match uri.scheme_str() {
            Some("https") => false,
            Some("http") => !is_loopback(host),
            _ => return Err(BadEndpoint),
        };
        Ok(Self { url: text.into(), is_exposed })
    }

    /// Returns whether calls to the endpoint URL cross a network without encryption: the URL uses
    /// http, and its host is not a loopback address.
    pub(crate) fn is_exposed(&self) -> bool {
        self.is_exposed
    }

    /// Returns the endpoint URL for `region`, the region in Sidekey's configuration.
    pub(crate) fn for_home_region(&self, region: &str) -> String {
        self.url.replace(REGION, region)
    }

    /// Returns the endpoint URL for `region`. `home` is the region in Sidekey's configuration.
    /// Returns `None` if the endpoint serves only the region `home`, and `region` is another
    /// region.
    pub(crate) fn for_region(&self, region: &str, home: &str) -> Option<String> {
        match region == home {
            true => Some(self.for_home_region(region)),
            false => self.for_other_region(region),
        }
    }

    /// Returns the endpoint URL for `region`, which is not the region in Sidekey's configuration.
    /// Returns `None` if the URL does not contain `{region}`, because the endpoint then serves only
    /// one region.
    pub(crate) fn for_other_region(&self, region: &str) -> Option<String> {
        self.serves_other_regions().then(|| self.for_home_region(region))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_to_another_host_is_exposed() {
        for (url, is_exposed) in [
            ("https://x.amazonaws.com", false),
            ("http://127.0.0.1:1", false),
            ("http://localhost", false),
            ("http://[::1]:9", false),
            ("http://10.0.0.1", true),
            ("http://localstack:4566", true),
            ("http://127.0.0.1.evil.example", true),
        ] {
            let found = Endpoint::parse(url).map(|endpoint| endpoint.is_exposed());
            assert_eq!(found, Ok(is_exposed), "{url}");
        }
        for bad in ["ftp://127.0.0.1", "secretsmanager", "localstack:4566", ""] {
            assert_eq!(Endpoint::parse(bad), Err(BadEndpoint), "{bad}");
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
        assert_eq!(fixed.for_region("us-east-1", "eu-north-1"), None);
        let home = fixed.for_region("eu-north-1", "eu-north-1");
        assert_eq!(home.as_deref(), Some("https://vpce.example"));
        let other = any.for_region("us-east-1", "eu-north-1");
        assert_eq!(other.as_deref(), Some("https://vpce.us-east-1.example"));
        let in_path = Endpoint::parse("https://gateway.example/aws/{region}/sm")
            .expect("the endpoint URL must be valid");
        let other = in_path.for_region("us-east-1", "eu-north-1");
        assert_eq!(other.as_deref(), Some("https://gateway.example/aws/us-east-1/sm"));
    }
}
