//! Recognises the environment variables that Kubernetes sets for Services whose names begin with
//! `sidekey`. The variables' names begin with `SIDEKEY_`, but they are not settings of Sidekey.
//!
//! Source: the page *Discovering services* of the Kubernetes documentation.

use std::net::{IpAddr, SocketAddr};

/// The protocols of Kubernetes Services, as Kubernetes writes them in variables such as
/// `SIDEKEY_PORT_9277_TCP_PROTO=tcp`.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Returns whether Kubernetes sets a variable with this name and this value for a Service. For
/// example, `SIDEKEY_PORT=tcp://10.96.3.4:9277` comes from Kubernetes, but `SIDEKEY_PORT=2773` is a
/// setting of Sidekey.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let parts: Vec<&str> = name.split('_').collect();
    let is_port_name = |number: &str, protocol: &str| {
        is_port(number) && PROTOCOLS.contains(&&*protocol.to_ascii_lowercase())
    };
    let has_suffix = |suffix| {
        matches!(parts[..], [.., "PORT", number, protocol, last]
            if is_port_name(number, protocol) && last == suffix)
    };
    if is_url(value) {
        matches!(parts[..], [.., "PORT"])
            || matches!(parts[..], [.., "PORT", number, protocol] if is_port_name(number, protocol))
    } else if value.parse::<IpAddr>().is_ok() {
        matches!(parts[..], [.., "SERVICE", "HOST"]) || has_suffix("ADDR")
    } else if is_port(value) {
        parts.windows(2).any(|pair| pair == ["SERVICE", "PORT"]) || has_suffix("PORT")
    } else {
        PROTOCOLS.contains(&value) && has_suffix("PROTO")
    }
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(protocol, address)| {
        PROTOCOLS.contains(&protocol) && address.parse::<SocketAddr>().is_ok()
    })
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables that Kubernetes sets for a Service called `SERVICE` with a port.
    const LINKS: [(&str, &str); 11] = [
        ("SERVICE_SERVICE_HOST", "10.96.3.4"),
        ("SERVICE_SERVICE_HOST", "fd00::3:4"),
        ("SERVICE_SERVICE_PORT", "9277"),
        ("SERVICE_SERVICE_PORT_HTTP_METRICS", "9277"),
        ("SERVICE_PORT", "tcp://10.96.3.4:9277"),
        ("SERVICE_PORT", "udp://[fd00::3:4]:9277"),
        ("SERVICE_PORT_9277_TCP", "tcp://10.96.3.4:9277"),
        ("SERVICE_PORT_9277_TCP_PROTO", "tcp"),
        ("SERVICE_PORT_9277_SCTP_PROTO", "sctp"),
        ("SERVICE_PORT_9277_TCP_PORT", "9277"),
        ("SERVICE_PORT_9277_TCP_ADDR", "10.96.3.4"),
    ];

    #[test]
    fn variables_of_services_are_recognised() {
        for service in ["SIDEKEY", "SIDEKEY_METRICS", "SIDEKEY_PORT", "SIDEKEY_TOKEN"] {
            for (name, value) in LINKS {
                let name = name.replacen("SERVICE", service, 1);
                assert!(is_service_link(&name, value), "{name}={value}");
            }
        }
    }

    #[test]
    fn settings_and_mistakes_are_not_recognised() {
        for (name, value) in [
            ("SIDEKEY_PORT", "2773"),
            ("SIDEKEY_PORT", "tcp://sidekey"),
            ("SIDEKEY_PORT", "http://10.96.3.4:9277"),
            ("SIDEKEY_PORTS", "tcp://10.96.3.4:9277"),
            ("SIDEKEY_METRICS_LISTEN", "10.96.3.4:9277"),
            ("SIDEKEY_ENDPOINT", "tcp://10.96.3.4:9277"),
            ("SIDEKEY_ALLOW", "tcp"),
            ("SIDEKEY_TOKEN", "9277"),
            ("SIDEKEY_HOST", "10.96.3.4"),
            ("SIDEKEY_SERVICE_HOST", "sidekey"),
            ("SIDEKEY_PORT_9277_HTTP", "tcp://10.96.3.4:9277"),
            ("SIDEKEY_PORT_TCP_PROTO", "tcp"),
        ] {
            assert!(!is_service_link(name, value), "{name}={value}");
        }
    }
}
