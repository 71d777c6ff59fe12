//! The configuration of `/resolve`.

use crate::message::paths::Paths;
use crate::message::tenant::TenantCheck;

/// The configuration of `/resolve`. It says where a message refers to secrets, and which secrets a
/// message may read.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The paths in a message at which Sidekey looks for names or ARNs of secrets.
    pub(crate) paths: Paths,
    /// The fields of a message that name its tenant. A message may only read the secrets of its
    /// tenant.
    pub(crate) tenant_check: TenantCheck,
}
