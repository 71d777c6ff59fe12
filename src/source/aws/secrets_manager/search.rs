//! Finds secrets by a pattern of names or by a tag.

use super::{SecretsManager, list, response};
use crate::secret::arn::Arn;
use crate::secret::secret_pattern::{Search, SecretPattern};
use crate::source::aws::sdk_error;
use crate::source::{BATCH_MAX, FetchError, FetchErrorKind, Found, FoundPage};
use aws_sdk_secretsmanager::operation::batch_get_secret_value::BatchGetSecretValueOutput;
use aws_sdk_secretsmanager::types::{ApiErrorType, Filter, FilterNameStringType};
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
    /// `page` is the token of the wanted page, or `None` for the first page.
    pub(in crate::source::aws) async fn find(
        &self,
        pattern: &SecretPattern,
        page: Option<&str>,
    ) -> Result<FoundPage, FetchError> {
        let found = match pattern.search() {
            Search::ValuesByName(prefix) => self.values_by_name(prefix, page).await,
            Search::All => self.list(Vec::new(), page).await,
            Search::Tags { key, value } => {
                let value = value.map(|value| list::Filter::new("tag-value", shortened(value)));
                let key = list::Filter::new("tag-key", shortened(key));
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
        let request = self
            .clients
            .home()
            .batch_get_secret_value()
            .filters(
                Filter::builder().key(FilterNameStringType::Name).values(shortened(prefix)).build(),
            )
            .max_results(i32::try_from(BATCH_MAX).unwrap_or(i32::MAX))
            .set_next_token(page.map(str::to_owned));
        Ok(Candidates::from(self.signed(None, request.send()).await?))
    }

    async fn list(
        &self,
        filters: Vec<list::Filter<'_>>,
        page: Option<&str>,
    ) -> Result<Candidates, FetchError> {
        let listed = self.list_secrets(&list::Request::new(filters, page)).await?;
        let candidate = |secret: list::Secret| {
            let tags = secret.tags.unwrap_or_default().into_iter();
            let tags = tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
            Some((Found::Name(secret.name?), tags.collect()))
        };
        Ok(Candidates {
            found: listed.secret_list.into_iter().filter_map(candidate).collect(),
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

impl From<BatchGetSecretValueOutput> for Candidates {
    fn from(response: BatchGetSecretValueOutput) -> Self {
        let values = response.secret_values.unwrap_or_default().into_iter();
        let values = values.filter_map(|entry| {
            let name = entry.name().map(Into::into);
            match response::batch_version(entry) {
                Ok(version) => Some(Found::Version(version)),
                Err(error) => Some(Found::Unreadable { name: name?, error }),
            }
        });
        let errors = response.errors.unwrap_or_default();
        let found = values.chain(errors.iter().filter_map(unreadable));
        Self {
            found: found.map(|found| (found, Vec::new())).collect(),
            next: response.next_token.map(Into::into),
        }
    }
}

/// Returns as much of the value of a filter as AWS accepts.
fn shortened(value: &str) -> &str {
    let end = value.char_indices().nth(FILTER_CHARS_MAX).map_or(value.len(), |(end, _)| end);
    &value[..end]
}

/// Returns the secret about which AWS reported `error`. AWS may report its name or its ARN.
fn unreadable(error: &ApiErrorType) -> Option<Found> {
    let id = error.secret_id()?;
    let name = Arn::parse(id).ok().map(|arn| {
        let (long, short) = arn.possible_names();
        short.unwrap_or(long).to_owned()
    });
    let name = name.unwrap_or_else(|| id.to_owned()).into();
    let error = sdk_error::from_code(error.error_code(), error.message(), None);
    Some(Found::Unreadable { name, error })
}

/// Adds advice to an error, if IAM denied the search.
fn advised(error: FetchError) -> FetchError {
    match error.kind {
        FetchErrorKind::Denied => FetchError { advice: Some(DENIED.into()), ..error },
        _ => error,
    }
}
