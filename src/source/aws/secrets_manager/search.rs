//! Finds secrets by a pattern of names or by a tag.

use super::SecretsManager;
use super::request::{BatchGet, Filter, List, Operation};
use super::response::{self, Batch, ListedSecret, SecretError};
use crate::secret::arn::Arn;
use crate::secret::secret_pattern::{Search, SecretPattern};
use crate::source::{FetchError, FetchErrorKind, Found, FoundPage};
use std::iter;

/// The maximum length of a value of a filter, in characters.
///
/// Source: `Values` of `Filter` in AWS's API reference.
const FILTER_CHARS_MAX: usize = 512;

/// What the user can do if IAM denies a search.
const DENIED: &str = "grant secretsmanager:BatchGetSecretValue and secretsmanager:ListSecrets on all \
     secrets (*) to the function's role; `sidekey policy` writes both statements; reads by name work \
     without these permissions";

impl SecretsManager {
    /// Finds secrets that match `pattern`, with one call of `BatchGetSecretValue` or `ListSecrets`.
    /// `page` is the token of the requested page, from the previous response, or `None` for the
    /// first page.
    pub(in crate::source::aws) async fn find(
        &self,
        pattern: &SecretPattern,
        page: Option<&str>,
    ) -> Result<FoundPage, FetchError> {
        let found = match pattern.search() {
            Search::ValuesByName(prefix) => self.values_by_name(prefix, page).await,
            Search::All => self.list(Vec::new(), page).await,
            Search::Tags { key, value } => {
                let value = value.map(|value| Filter::new("tag-value", shortened(value)));
                let key = Filter::new("tag-key", shortened(key));
                self.list(iter::once(key).chain(value).collect(), page).await
            }
        };
        let mut page = found.map_err(advised)?;
        page.found.retain(|(found, tags)| {
            let tags = tags.iter().map(|(key, value)| (&**key, &**value));
            pattern.matches(found.name(), tags)
        });
        let found = page.found.into_iter().map(|(found, _)| found).collect();
        Ok(FoundPage { found, next: page.next })
    }

    async fn values_by_name(
        &self,
        prefix: &str,
        page: Option<&str>,
    ) -> Result<Candidates, FetchError> {
        let body = BatchGet::of_filter(Filter::new("name", shortened(prefix)), page);
        let batch = self.call(Operation::BatchGet, &body, self.home(), response::batch).await?;
        Ok(batch.into())
    }

    async fn list(
        &self,
        filters: Vec<Filter<'_>>,
        page: Option<&str>,
    ) -> Result<Candidates, FetchError> {
        let body = List::new(filters, page);
        let listed = self.call(Operation::List, &body, self.home(), response::listed).await?;
        let candidate = |secret: ListedSecret| {
            let tags = secret.tags.unwrap_or_default().into_iter();
            let tags = tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
            Some((Found::Name(secret.name?), tags.collect()))
        };
        Ok(Candidates {
            found: listed
                .secret_list
                .unwrap_or_default()
                .into_iter()
                .filter_map(candidate)
                .collect(),
            next: listed.next_token.filter(|token| !token.is_empty()),
        })
    }
}

/// One page of secrets that AWS returned for a search, before they are compared with the pattern.
struct Candidates {
    /// Each secret, and the keys and values of its tags. `BatchGetSecretValue` returns no tags.
    found: Vec<(Found, Vec<(String, String)>)>,
    next: Option<Box<str>>,
}

impl From<Batch> for Candidates {
    fn from(batch: Batch) -> Self {
        let values = batch.secrets.into_iter().filter_map(|secret| match secret.version {
            Ok(version) => Some(Found::Version(version)),
            Err(error) => Some(Found::Unreadable { name: secret.name?, error }),
        });
        let found = values.chain(batch.errors.iter().filter_map(unreadable));
        Self { found: found.map(|found| (found, Vec::new())).collect(), next: batch.next_token }
    }
}

/// Returns as much of the value of a filter as AWS accepts.
fn shortened(value: &str) -> &str {
    let end = value.char_indices().nth(FILTER_CHARS_MAX).map_or(value.len(), |(end, _)| end);
    &value[..end]
}

/// Returns the secret about which AWS reported `error`. AWS may report the name or the ARN of the
/// secret.
fn unreadable(error: &SecretError) -> Option<Found> {
    let id = error.secret_id.as_deref()?;
    let name = Arn::parse(id).ok().map(|arn| {
        let (long, short) = arn.possible_names();
        short.unwrap_or(long).to_owned()
    });
    let name = name.unwrap_or_else(|| id.to_owned()).into();
    Some(Found::Unreadable { name, error: error.into() })
}

/// Adds advice to an error, if IAM denied the search.
fn advised(error: FetchError) -> FetchError {
    match error.kind {
        FetchErrorKind::Denied => FetchError { advice: Some(DENIED.into()), ..error },
        _ => error,
    }
}
