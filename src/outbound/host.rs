//! Recognises hosts of URLs that are this machine.

use std::net::IpAddr;

/// Returns whether the host of a URL is this machine: `localhost`, a loopback address, or an
/// unspecified address such as `0.0.0.0`.
pub(crate) fn is_this_machine(host: &str) -> bool {
    is_loopback(host.trim_end_matches('.'))
        || parse_ip(host).is_some_and(|address| {
            let canonical = address.to_canonical();
            canonical.is_unspecified() || canonical.is_loopback()
        })
}

/// Returns whether the host of a URL is `localhost` or a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || parse_ip(host).is_some_and(|address| address.is_loopback())
}

/// Parses the host of a URL as an IP address. IPv6 addresses in URLs are in square brackets.
fn parse_ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}
