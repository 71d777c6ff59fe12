//! The configuration of `/resolve`, the endpoint that reads all secrets of a message.

use crate::message::paths::Paths;
use crate::message::tenant::TenantCheck;

#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The paths in a message at which Sidekey looks for names or ARNs of secrets.
    pub(crate) paths: Paths,
    /// The fields of a message that name its tenant (a customer, for example). A message may only
    /// read the secrets of its own tenant.
    pub(crate) tenant_check: TenantCheck,
}
