//! Finds the secrets that match the patterns and tags to check.

use crate::printable::LogExcerpt;
use crate::secret::reference::SecretId;
use crate::secret::scope::{Home, Scope};
use crate::secret::secret_pattern::SecretPattern;
use crate::source::{FetchError, Source};

/// The maximum number of pages of search results that `sidekey check` reads from AWS for one
/// pattern. A page of names has up to 100 secrets, and a page of values up to 20.
const PAGES_MAX: usize = 1000;

/// The secrets that match the patterns, and the patterns that could not be checked.
#[derive(Debug, Default)]
pub(super) struct FoundByPatterns {
    /// The names of the secrets. A secret that matches two patterns occurs twice.
    pub(super) names: Vec<Box<str>>,
    /// An error message for each pattern that failed, or that matches no secret.
    pub(super) problems: Vec<String>,
}

/// Searches for the secrets that match `patterns`. Omits secrets that `scope` does not allow, because
/// the agent does not cache them.
pub(super) async fn find(
    source: &dyn Source,
    patterns: &[SecretPattern],
    scope: &Scope,
    home: &Home,
) -> FoundByPatterns {
    let mut all = FoundByPatterns::default();
    for pattern in patterns {
        let text = pattern.as_str();
        match names(source, pattern).await {
            Ok((names, _)) if names.is_empty() => all.problems.push(format!(
                "{text}: no secret matches this pattern; check the pattern, the region and the account"
            )),
            Ok((names, has_more)) => {
                if has_more {
                    all.problems.push(format!(
                        "{text}: the search has more than {PAGES_MAX} pages, so `check` covers only \
                         some secrets; use a narrower pattern"
                    ));
                }
                let is_allowed =
                    |name: &str| SecretId::parse(name).is_ok_and(|id| scope.admits(&id, home));
                let allowed = names.into_iter().filter(|name| is_allowed(name));
                let allowed: Vec<Box<str>> = allowed.collect();
                if allowed.is_empty() {
                    all.problems.push(format!(
                        "{text}: SIDEKEY_ALLOW allows no secret that matches this pattern; add the \
                         pattern to SIDEKEY_ALLOW"
                    ));
                }
                all.names.extend(allowed);
            }
            Err(error) => all.problems.push(format!(
                "{text}: the search failed: {}: {}; {}",
                error.code,
                LogExcerpt(&error.message),
                error.hint()
            )),
        }
    }
    all
}

/// Returns the names of secrets that match `pattern`, and whether AWS may have more names. The
/// search stops after [`PAGES_MAX`] pages.
async fn names(
    source: &dyn Source,
    pattern: &SecretPattern,
) -> Result<(Vec<Box<str>>, bool), FetchError> {
    let mut names = Vec::new();
    let mut page: Option<Box<str>> = None;
    for _ in 0..PAGES_MAX {
        let found = source.find(pattern, page.as_deref()).await?;
        names.extend(found.found.iter().map(|found| found.name().into()));
        page = found.next;
        if page.is_none() {
            break;
        }
    }
    Ok((names, page.is_some()))
}
