//! Splits a long list into pages, as the operations of AWS that list resources do.

use crate::error::AwsError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One page of a list. Requests contain `NextToken` and `MaxResults` to select the page.
pub(crate) struct Page {
    /// The index of the page's first item in the whole list.
    start: usize,
    size: usize,
}

impl Page {
    /// Returns the requested page of a list. `token` is the `NextToken` of the request: the index
    /// of the page's first item in the list.
    ///
    /// If `size` is `None`, the page has up to `size_max` items. `invalid_token` returns the AWS
    /// service's error for a token that cannot be parsed.
    pub(crate) fn new(
        token: Option<&str>,
        size: Option<usize>,
        size_max: usize,
        invalid_token: fn() -> AwsError,
    ) -> Result<Self, AwsError> {
        let size = size.unwrap_or(size_max);
        let broken = match size {
            0 => Some("Member must have value greater than or equal to 1".to_owned()),
            _ if size > size_max => {
                Some(format!("Member must have value less than or equal to {size_max}"))
            }
            _ => None,
        };
        if let Some(constraint) = broken {
            let value = format!("'{size}'");
            return Err(AwsError::broken_constraint("maxResults", Some(&value), &constraint));
        }
        let start = match token {
            None => 0,
            Some(token) => parse_page_token(token).ok_or_else(invalid_token)?,
        };
        Ok(Self { start, size })
    }

    /// Returns the items on this page and the `NextToken` of the next page. The token is `None` if
    /// this page is the last.
    pub(crate) fn slice<'i, T>(&self, items: &'i [T]) -> (&'i [T], Option<String>) {
        let start = self.start.min(items.len());
        let end = start.saturating_add(self.size).min(items.len());
        let next_token = (end < items.len()).then(|| STANDARD.encode(format!("start:{end}")));
        (&items[start..end], next_token)
    }
}

fn parse_page_token(token: &str) -> Option<usize> {
    let bytes = STANDARD.decode(token).ok()?;
    std::str::from_utf8(&bytes).ok()?.strip_prefix("start:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(token: Option<&str>, size: Option<usize>) -> Result<Page, AwsError> {
        Page::new(token, size, 10, || AwsError::new("InvalidToken", ""))
    }

    #[test]
    fn token_of_a_page_leads_to_the_next_page() {
        let items = [1, 2, 3];
        let first = page(None, Some(2)).expect("the page must be valid");
        let (slice, token) = first.slice(&items);
        assert_eq!(slice, [1, 2]);
        let second = page(token.as_deref(), Some(2)).expect("the token must be valid");
        assert_eq!(second.slice(&items), (&items[2..], None));
    }

    #[test]
    fn invalid_sizes_and_tokens_are_rejected() {
        let message =
            |size| page(None, Some(size)).err().expect("the page size must be invalid").message;
        assert!(message(0).ends_with("Member must have value greater than or equal to 1"));
        assert!(message(11).contains("Value '11' at 'maxResults'"), "{}", message(11));
        assert!(message(11).ends_with("Member must have value less than or equal to 10"));
        let error =
            page(Some("AAAA"), None).err().expect("the fake AWS server must reject the token");
        assert_eq!(error.kind, "InvalidToken");
    }
}
