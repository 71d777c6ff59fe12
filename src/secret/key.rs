//! The key under which a secret is cached and fetched.

use super::reference::SecretId;
use super::selector::Selector;

/// The key under which the cache stores a version of a secret.
///
/// Readers that request the same key at the same time share one call to AWS. The key needs no
/// region: an ARN contains the region, and a name means a secret in the agent's own region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name or ARN of the secret, as the caller wrote it.
    pub id: SecretId,
    /// The version of the secret: selected by staging label (such as `AWSCURRENT`), by version id,
    /// or by both.
    pub selector: Selector,
}
