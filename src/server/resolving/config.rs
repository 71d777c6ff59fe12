//! The configuration of `/resolve`.

use crate::message::paths::Paths;
use crate::message::tenant::TenantCheck;

/// The configuration of `/resolve`: where a message has its references to secrets, and which
/// secrets a message may have.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The paths in a message at which the references to secrets are.
    pub(crate) paths: Paths,
    /// The fields of a message that name the tenant to which the message belongs. A message may
    /// only have the secrets of its tenant.
    pub(crate) tenant_check: TenantCheck,
}
