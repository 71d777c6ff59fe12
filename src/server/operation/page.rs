//! Splits the answer to `GetParametersByPath` into pages of parameters.
//!
//! The answer's `NextToken` contains all that Sidekey needs to find the next page, so Sidekey
//! stores nothing between two calls.

use super::bad_call::BadCall;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The maximum number of parameters on one page.
///
/// Source: `MaxResults` of `GetParametersByPath` in AWS's API reference.
const PAGE_MAX: usize = 10;

/// The maximum length of `NextToken` in a call, in bytes. The tokens that Sidekey sends are
/// shorter.
const TOKEN_BYTES_MAX: usize = 2048;

/// The page that a call of `GetParametersByPath` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    size: usize,
    /// The beginning of the requested page. `None` means the first page.
    start: Option<Start>,
}

/// The position in a list at which a page starts. `NextToken` contains this position.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Start {
    /// The name of the last parameter on the page before. If the list changes between two calls, a
    /// name still finds the right position, but a number would not.
    after: Box<str>,
    /// The hash of the request for which Sidekey sent this `NextToken`. Sidekey refuses the token
    /// in a request with another hash.
    request: u64,
}

impl Page {
    /// Parses the members (parameters) `MaxResults` and `NextToken` of a call.
    pub(super) fn of(max_results: Option<i64>, next_token: Option<&str>) -> Result<Self, BadCall> {
        const MEMBER: &str = "maxResults";
        let size = match max_results {
            None => PAGE_MAX,
            Some(..1) => return Err(BadCall::TooSmall(MEMBER)),
            Some(size) => usize::try_from(size)
                .ok()
                .filter(|size| *size <= PAGE_MAX)
                .ok_or(BadCall::TooLarge { member: MEMBER, max: PAGE_MAX })?,
        };
        let start = next_token.map(parse_token);
        Ok(Self { size, start: start.transpose()? })
    }

    /// Returns the items on this page, and the `NextToken` of the next page (`None` if this page is
    /// the last). `items` are the items of all pages, sorted by `name`. `request` is the hash of
    /// the caller's request.
    ///
    /// # Errors
    ///
    /// Fails if Sidekey sent the caller's `NextToken` for a request with another hash.
    pub(crate) fn slice<'i, T>(
        &self,
        items: &'i [T],
        name: impl Fn(&T) -> &str,
        request: u64,
    ) -> Result<(&'i [T], Option<String>), BadCall> {
        let offset = match &self.start {
            None => 0,
            Some(start) if start.request == request => {
                items.partition_point(|item| *name(item) <= *start.after)
            }
            Some(_) => return Err(BadCall::NextToken),
        };
        let page = &items[offset..items.len().min(offset + self.size)];
        let has_next = offset + page.len() < items.len();
        let last = page.last().filter(|_| has_next);
        let token = last.map(|last| STANDARD.encode(format!("{request:x} {}", name(last))));
        Ok((page, token))
    }
}

fn parse_token(token: &str) -> Result<Start, BadCall> {
    let decode = || {
        let bytes = STANDARD.decode(token).ok()?;
        let (request, after) = str::from_utf8(&bytes).ok()?.split_once(' ')?;
        let request = u64::from_str_radix(request, 16).ok()?;
        Some(Start { after: after.into(), request })
    };
    if token.len() > TOKEN_BYTES_MAX {
        return Err(BadCall::NextToken);
    }
    decode().ok_or(BadCall::NextToken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_lead_through_all_pages() {
        let items: Vec<String> = (10..35).map(|n| format!("/p{n}")).collect();
        for (size, pages) in [(None, 3), (Some(10), 3), (Some(7), 4), (Some(5), 5), (Some(1), 25)] {
            let (mut token, mut found, mut count) = (None, Vec::new(), 0);
            loop {
                let page = Page::of(size, token.as_deref()).expect("the call must be valid");
                let (slice, next) =
                    page.slice(&items, |item| item, 7).expect("the token must be valid");
                found.extend_from_slice(slice);
                count += 1;
                token = next;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!((found, count), (items.clone(), pages), "{size:?}");
        }
        let empty = Page::of(None, None).expect("the call must be valid");
        assert_eq!(empty.slice::<String>(&[], |item| item, 7), Ok((&[][..], None)));
    }

    fn slice<'i>(
        page: &Page,
        items: &'i [&'static str],
        request: u64,
    ) -> Result<(&'i [&'static str], Option<String>), BadCall> {
        page.slice(items, |item| item, request)
    }

    #[test]
    fn token_of_another_request_is_refused() {
        let first = Page::of(Some(2), None).expect("the call must be valid");
        let (_, token) = slice(&first, &["a", "b", "c"], 7)
            .expect("the first page of the list must not need a token");
        let second = Page::of(Some(2), token.as_deref()).expect("the token must be well-formed");
        let page = |items, request| slice(&second, items, request);
        assert_eq!(page(&["a", "b", "c"], 7), Ok((&["c"][..], None)));
        assert_eq!(page(&["a", "b", "c"], 8), Err(BadCall::NextToken));
        // The list has changed since the first page was sent.
        assert_eq!(page(&["a", "bb", "c"], 7), Ok((&["bb", "c"][..], None)));
        assert_eq!(page(&["a"], 7), Ok((&[][..], None)));
    }

    #[test]
    fn sizes_and_tokens_have_limits() {
        for size in [0, -1, i64::MIN] {
            assert_eq!(Page::of(Some(size), None), Err(BadCall::TooSmall("maxResults")));
        }
        for size in [11, i64::MAX] {
            let expected = BadCall::TooLarge { member: "maxResults", max: 10 };
            assert_eq!(Page::of(Some(size), None), Err(expected));
        }
        let long = STANDARD.encode(format!("1 {}", "/a".repeat(2000)));
        for token in ["", "x", "AAAA", "MQ==", &long] {
            assert_eq!(Page::of(None, Some(token)), Err(BadCall::NextToken), "{token}");
        }
        let longest = STANDARD.encode(format!("{:x} {}", u64::MAX, "a".repeat(1011)));
        assert!(Page::of(None, Some(&longest)).is_ok());
    }

    proptest! {
        #[test]
        fn for_any_token_a_page_is_found_or_refused(after in any::<String>(), list in any::<u64>()) {
            let token = STANDARD.encode(format!("{list:x} {after}"));
            if let Ok(page) = Page::of(None, Some(&token)) {
                let _ = slice(&page, &["a", "b", "c"], list);
            }
        }
    }
}
