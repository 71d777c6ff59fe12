//! Checks the target of a call: the path and the query that the agent sends to the server of a
//! route.
//!
//! The server of a route is fixed, so a target can never name another server. The rules here refuse
//! targets that different programs read as different paths, because the path rules of a route would
//! then check another path than the server uses.

use crate::secret::glob::{BadGlob, Glob};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;

/// The beginning of the path of each request that the agent passes on to another server.
pub(crate) const PREFIX: &str = "/to/";

/// The maximum total length, in bytes, of the path and the query of a call to another server.
const TARGET_BYTES_MAX: usize = 16 * 1024;

/// The characters of a field that are percent-encoded when the field becomes a part of a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The parts of the path `/to/{route}@{reference}/{path}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) route: &'a str,
    /// The name or ARN of the secret after `@`. `None` if the path has no such part.
    pub(crate) reference: Option<Cow<'a, str>>,
    /// The path that the agent sends to the server. It begins with a slash. `None` if the request
    /// has no path after the route.
    pub(crate) path: Option<&'a str>,
}

/// Why the agent refuses the path or the query of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTarget {
    #[error("the path contains '//', which some servers read as the beginning of a host")]
    DoubleSlash,
    #[error("the path or the query contains a backslash, which some servers read as a slash")]
    Backslash,
    #[error("the path contains the segment '.' or '..', which some servers resolve")]
    DotSegment,
    #[error("the path begins with '@', or has '@' in its first segment")]
    AtSign,
    #[error("the path contains an encoded slash, backslash, dot or percent sign")]
    EncodedSeparator,
    #[error("the path or the query contains a control character")]
    Control,
    #[error("the path contains a '%' that is not followed by two hexadecimal digits")]
    BadPercent,
    #[error("the path or the query contains a character that a URL must not contain")]
    Character,
    #[error("the path and the query together are longer than {TARGET_BYTES_MAX} bytes")]
    TooLong,
    #[error("the reference in the path is not UTF-8 after percent-decoding")]
    Reference,
}

impl<'a> Address<'a> {
    /// Splits the path of a request. Returns `None` if the path does not begin with [`PREFIX`].
    pub(crate) fn parse(path: &'a str) -> Option<Result<Self, BadTarget>> {
        let rest = path.strip_prefix(PREFIX)?;
        let (segment, path) = match rest.find('/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash..])),
            None => (rest, None),
        };
        let (route, reference) = match segment.split_once('@') {
            Some((route, reference)) => (route, Some(reference)),
            None => (segment, None),
        };
        let reference = match reference.map(|encoded| percent_decode_str(encoded).decode_utf8()) {
            None => None,
            Some(Ok(decoded)) => Some(decoded),
            Some(Err(_)) => return Some(Err(BadTarget::Reference)),
        };
        Some(Ok(Self { route, reference, path }))
    }
}

/// Checks the path and the query of a call. `path` begins with a slash.
///
/// # Errors
///
/// Returns the first reason why programs may disagree about the meaning of the path or the query.
pub(crate) fn check(path: &str, query: &str) -> Result<(), BadTarget> {
    if path.len() + query.len() > TARGET_BYTES_MAX {
        return Err(BadTarget::TooLong);
    }
    for byte in path.bytes().chain(query.bytes()) {
        match byte {
            b'\\' => return Err(BadTarget::Backslash),
            0..=0x1f | 0x7f => return Err(BadTarget::Control),
            b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'|' | b'#' | 0x80.. => {
                return Err(BadTarget::Character);
            }
            _ => {}
        }
    }
    if path.contains("//") {
        return Err(BadTarget::DoubleSlash);
    }
    check_escapes(path)?;
    let mut segments = path.split('/').skip(1);
    // Some servers ignore a parameter after a semicolon, so that `..;x` means `..`.
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if segments.clone().any(is_dots) {
        return Err(BadTarget::DotSegment);
    }
    match segments.next() {
        Some(first) if first.contains('@') => Err(BadTarget::AtSign),
        _ => Ok(()),
    }
}

/// Refuses encoded slashes, backslashes, dots, percent signs and control characters, because a
/// server may decode them. An encoded percent sign may begin a character that is encoded twice.
fn check_escapes(path: &str) -> Result<(), BadTarget> {
    let bytes = path.as_bytes();
    for (at, _) in path.match_indices('%') {
        let escaped = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| Some(hex(digits[0])? * 16 + hex(digits[1])?))
            .ok_or(BadTarget::BadPercent)?;
        match escaped {
            b'/' | b'\\' | b'.' | b'%' => return Err(BadTarget::EncodedSeparator),
            0..=0x1f | 0x7f => return Err(BadTarget::Control),
            b'@' if path[1..at].find('/').is_none() => return Err(BadTarget::AtSign),
            _ => {}
        }
    }
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Replaces each `{field}` in a path by the text of this field of the secret, if `names` contains
/// the field. The braces may be percent-encoded, because many HTTP clients encode them.
///
/// # Errors
///
/// Returns the error of `text_of` for the first field that has no text.
pub(crate) fn fill<'a, E>(
    path: &'a str,
    names: &[Box<str>],
    mut text_of: impl FnMut(&str) -> Result<String, E>,
) -> Result<Cow<'a, str>, E> {
    let mut filled = Cow::Borrowed(path);
    for name in names {
        for pattern in [format!("{{{name}}}"), format!("%7B{name}%7D"), format!("%7b{name}%7d")] {
            if filled.contains(&pattern) {
                let text = text_of(name)?;
                let encoded = utf8_percent_encode(&text, ENCODED).to_string();
                filled = Cow::Owned(filled.replace(&pattern, &encoded));
            }
        }
    }
    Ok(filled)
}

/// A pattern for the paths of calls that a route allows, such as `/v2/*`. A `*` at the end matches
/// any further segments, and any other `*` matches characters within one segment.
#[derive(Clone, Debug)]
pub(crate) struct PathRule {
    text: Box<str>,
    glob: Glob,
    /// The pattern without its final `/*`. `None` if the pattern does not end in `/*`.
    parent: Option<Glob>,
}

impl PathRule {
    pub(crate) fn parse(text: &str) -> Result<Self, BadGlob> {
        let parent = match text.strip_suffix("/*") {
            Some(parent) => Some(Glob::new(parent)?),
            None => None,
        };
        Ok(Self { text: text.into(), glob: Glob::new(text)?, parent })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        let is_below = |parent: &Glob| {
            path.match_indices('/').any(|(slash, _)| parent.matches(&path[..slash]))
        };
        self.glob.matches(path) || self.parent.as_ref().is_some_and(is_below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_split_into_route_reference_and_path() {
        let check = |path, expected: Option<(&str, Option<&str>, Option<&str>)>| {
            let found =
                Address::parse(path).map(|parsed| parsed.expect("the address must be valid"));
            let found =
                found.as_ref().map(|found| (found.route, found.reference.as_deref(), found.path));
            assert_eq!(found, expected, "{path}");
        };
        check("/to/openai", Some(("openai", None, None)));
        check("/to/openai/", Some(("openai", None, Some("/"))));
        check("/to/openai/v1/models", Some(("openai", None, Some("/v1/models"))));
        check("/to/twilio@a%2Fb/2010", Some(("twilio", Some("a/b"), Some("/2010"))));
        check("/to/", Some(("", None, None)));
        check("/to//x", Some(("", None, Some("/x"))));
        check("/tool/x", None);
        check("/to", None);
        assert_eq!(Address::parse("/to/a@%ff/x"), Some(Err(BadTarget::Reference)));
    }

    #[test]
    fn targets_that_programs_read_differently_are_refused() {
        use BadTarget::*;
        for (path, query, expected) in [
            ("/v1/models", "a=b%2Fc%0d%0a&d=@//..", Ok(())),
            ("/", "", Ok(())),
            ("/v2/lists/news@acme.example/members", "", Ok(())),
            ("/v1/a:b,c;d=e(f)!$&'*+~[0]{x}", "", Ok(())),
            ("/v1/%C3%A9%7Bx%7D", "", Ok(())),
            ("//evil.example/", "", Err(DoubleSlash)),
            ("/v1//x", "", Err(DoubleSlash)),
            ("/\\evil.example/", "", Err(Backslash)),
            ("/v1", "a=\\", Err(Backslash)),
            ("/@evil.example/", "", Err(AtSign)),
            ("/user:x@evil.example/", "", Err(AtSign)),
            ("/%40evil.example/", "", Err(AtSign)),
            ("/v1/../admin", "", Err(DotSegment)),
            ("/v1/./x", "", Err(DotSegment)),
            ("/v1/..", "", Err(DotSegment)),
            ("/v1/..;x/admin", "", Err(DotSegment)),
            ("/v1/%2e%2e/admin", "", Err(EncodedSeparator)),
            ("/v1/%2E./admin", "", Err(EncodedSeparator)),
            ("/v1%2Fx", "", Err(EncodedSeparator)),
            ("/v1%5cx", "", Err(EncodedSeparator)),
            ("/v1/%252e%252e/x", "", Err(EncodedSeparator)),
            ("/v1/%0d%0aHost:evil", "", Err(Control)),
            ("/v1/%00", "", Err(Control)),
            ("/v1/%7f", "", Err(Control)),
            ("/v1\r\nHost: evil", "", Err(Control)),
            ("/v1", "a\nb", Err(Control)),
            ("/v1/%zz", "", Err(BadPercent)),
            ("/v1/%4", "", Err(BadPercent)),
            ("/v1/\u{e9}", "", Err(Character)),
            ("/v1/a b", "", Err(Character)),
            ("/v1#x", "", Err(Character)),
        ] {
            assert_eq!(check(path, query), expected, "{path} {query}");
        }
        assert_eq!(check("/x", &"a".repeat(TARGET_BYTES_MAX)), Err(TooLong));
    }

    #[test]
    fn fields_in_a_path_are_filled_in_and_encoded() {
        let names = ["sid".into()];
        let check = |path: &str, value: &str, expected: &str| {
            let filled = fill(path, &names, |_| Ok::<_, ()>(value.to_owned()));
            assert_eq!(filled.expect("the field must exist"), expected);
        };
        check("/Accounts/{sid}/Messages.json", "AC1", "/Accounts/AC1/Messages.json");
        check("/Accounts/%7Bsid%7D", "AC1", "/Accounts/AC1");
        check("/Accounts/%7bsid%7d", "../x", "/Accounts/%2E%2E%2Fx");
        check("/Accounts/{other}", "AC1", "/Accounts/{other}");
        assert_eq!(fill("/{sid}", &names, |_| Err(7)), Err(7));
    }

    #[test]
    fn path_rules_match_whole_segments() {
        for (rule, path, expected) in [
            ("/v2/*", "/v2/contacts", true),
            ("/v2/*", "/v2/contacts/7", true),
            ("/v2/*", "/v2/", true),
            ("/v2/*", "/v2", false),
            ("/v2/*", "/v20/contacts", false),
            ("/v2/*", "/%762/contacts", false),
            ("/v*/contacts", "/v2/contacts", true),
            ("/v*/contacts", "/v2/x/contacts", false),
            ("/v2/contacts", "/v2/contacts", true),
            ("/v2/contacts", "/v2/contacts/7", false),
            ("/*", "/", true),
            ("/*", "/a/b", true),
        ] {
            let parsed = PathRule::parse(rule).expect("the rule must be valid");
            assert_eq!(parsed.matches(path), expected, "{rule} {path}");
        }
    }
}
