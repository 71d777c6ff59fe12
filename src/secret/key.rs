//! What cache, flights and policy know a secret by.

use super::reference::SecretId;
use super::selector::Selector;

/// A secret and the version of it that is meant.
///
/// The region is part of an ARN, and a name means the function's own. A second service, or an
/// assumed role, becomes a field here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The secret, as it was asked for.
    pub id: SecretId,
    /// Which of its versions.
    pub selector: Selector,
}
