//! The key under which a secret is cached and fetched.

use super::reference::SecretId;
use super::selector::Selector;

/// A secret, and which of its versions is meant. The cache, the flights and the policies use this key.
///
/// The key needs no region: an ARN contains the region, and a name means the agent's own region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name or ARN of the secret, as the caller wrote it.
    pub id: SecretId,
    /// The version of the secret.
    pub selector: Selector,
}
