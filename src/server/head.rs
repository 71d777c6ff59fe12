//! The request line and headers of an HTTP request, independent of the HTTP parser. This module has
//! no side effects.

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

/// The headers of a request. Headers with the same name keep their order in the request.
pub(crate) trait Headers {
    /// Returns the names and values of all headers. A name may contain lower-case and upper-case
    /// letters.
    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])>;

    /// Returns the values of all headers with this name.
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = self.iter().filter(move |(other, _)| is_named(other.as_bytes(), name));
        named.map(|(_, value)| value)
    }
}

/// Returns whether the name of a header or host is `lower_case`, in upper-case or lower-case
/// letters. `lower_case` must have no upper-case letters.
///
/// The comparison of eight bytes at once is faster than a comparison of single bytes.
pub(crate) fn is_named(name: &[u8], lower_case: &str) -> bool {
    let (blocks, rest) = name.as_chunks();
    let (lower_blocks, lower_rest) = lower_case.as_bytes().as_chunks();
    name.len() == lower_case.len()
        && rest.eq_ignore_ascii_case(lower_rest)
        && blocks.iter().zip(lower_blocks).all(|(block, lower)| lower_case_of(*block) == *lower)
}

/// Returns the lower-case form of eight bytes of ASCII text. Bytes that are not letters stay
/// unchanged.
fn lower_case_of(block: [u8; 8]) -> [u8; 8] {
    const fn repeated(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let block = u64::from_ne_bytes(block);
    // The highest bit of each byte is the result of a comparison of the other seven bits.
    let seven_bits = block & repeated(0x7f);
    let is_from_a = seven_bits + repeated(0x80 - b'A');
    let is_after_z = seven_bits + repeated(0x7f - b'Z');
    let is_upper = is_from_a & !is_after_z & !block & repeated(0x80);
    (block | (is_upper >> 2)).to_ne_bytes()
}

impl Headers for HeaderMap {
    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        HeaderMap::iter(self).map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

/// The parts of a request line, and the headers of the request. The form is the same for requests
/// that hyper (the HTTP library) parsed and for requests that Sidekey's own code parsed.
#[derive(Debug)]
pub(crate) struct Head<'a, H> {
    pub(crate) method: &'a Method,
    /// The host and the port in the request line. Almost all requests have them only in the `Host`
    /// header.
    pub(crate) authority: Option<&'a str>,
    pub(crate) path: &'a str,
    /// The query without the question mark. Empty if the URI has no query.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a H,
}

impl<'a> Head<'a, HeaderMap> {
    pub(crate) fn of(request: &'a Parts) -> Self {
        let Parts { method, uri, headers, .. } = request;
        Self {
            method,
            authority: uri.authority().map(|authority| authority.as_str()),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_get_the_lower_case_form_of_each_byte() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                for other in [b'a', b'Z', 0xff, 0] {
                    let mut block = [other; 8];
                    block[at] = byte;
                    assert_eq!(lower_case_of(block), block.map(|byte| byte.to_ascii_lowercase()));
                }
            }
        }
    }

    #[test]
    fn names_are_compared_without_case() {
        let token = "x-aws-parameters-secrets-token";
        for (name, expected) in [
            (token, true),
            ("X-Aws-Parameters-Secrets-Token", true),
            ("X-AWS-PARAMETERS-SECRETS-TOKEN", true),
            ("x-aws-parameters-secrets-toke", false),
            ("x-aws-parameters-secrets-tokem", false),
            ("y-aws-parameters-secrets-token", false),
            ("x_aws-parameters-secrets-token", false),
            ("", false),
        ] {
            assert_eq!(is_named(name.as_bytes(), token), expected, "{name}");
        }
        assert!(is_named(b"Host", "host") && is_named(b"X-Vault-Token", "x-vault-token"));
        assert!(!is_named(b"x\rvault-token", "x-vault-token"));
    }
}
