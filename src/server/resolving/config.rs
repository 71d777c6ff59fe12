//! The configuration of `/resolve`.

use crate::message::paths::Paths;
use crate::message::tenant::TenantCheck;

/// How `/resolve` finds references in messages, and which secrets a message may have.
#[derive(Clone, Debug)]
pub struct Config {
    /// The paths at which a message has its references.
    pub paths: Paths,
    /// The message fields that name the tenant of a message. A message may only have the secrets of its
    /// tenant.
    pub tenant_check: TenantCheck,
}
