//! The key of a cached secret.

use super::reference::SecretId;
use super::selector::Selector;

/// The key under which the cache stores a version of a secret.
///
/// Callers that request the same key at the same time share one call to AWS. The key contains no
/// region: an ARN contains the region, and a name means a secret in the agent's own region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name or ARN of the secret, as the caller wrote it.
    pub id: SecretId,
    /// The requested version of the secret: its staging label (such as `AWSCURRENT`), its version
    /// id, or both.
    pub selector: Selector,
}
