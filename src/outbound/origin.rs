//! The scheme, host and port of a URL, which together are called its origin.

use super::host::is_this_machine;
use hyper::Uri;

/// The scheme, host and port of a URL. Two calls can use the same connection if these three parts
/// of their URLs are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) is_secure: bool,
    pub(crate) host: Box<str>,
    port: u16,
}

impl Origin {
    /// Returns the scheme, host and port of a URL. Returns `None` if the URL has no host, or if its
    /// scheme is not http or https.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let is_secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.into();
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Some(Self { is_secure, host, port })
    }

    /// Returns whether the URL refers to the agent itself. `own_ports` are the ports on which the
    /// agent listens. The function compares only strings, so it does not recognise other host names
    /// of this machine.
    pub(super) fn is_own(&self, own_ports: &[u16]) -> bool {
        is_this_machine(&self.host) && own_ports.contains(&self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().expect("the test URL must be valid"))
            .expect("the URL must be an http or https URL")
    }

    #[test]
    fn loopback_host_with_an_own_port_is_the_agent_itself() {
        for own in [
            "http://localhost:2773/",
            "http://localhost.:2773/",
            "http://127.0.0.1:2773",
            "http://[::1]:2773/x",
            "http://0.0.0.0:2773",
            "http://[::ffff:127.0.0.1]:2773",
            "http://localhost/",
        ] {
            assert!(origin(own).is_own(&[2773, 80]), "{own}");
        }
        for other in [
            "http://127.0.0.1:9001/",
            "https://secretsmanager.eu-north-1.amazonaws.com/",
            "http://10.0.0.1:2773",
        ] {
            assert!(!origin(other).is_own(&[2773]), "{other}");
        }
    }
}
