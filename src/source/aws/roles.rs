//! The roles that Sidekey has assumed, each with its credentials and clients.

use super::account::Account;
use super::reach::{Means, Reach};
use super::session::Session;
use super::sts::{AssumableRole, RoleProvider, Sts};
use crate::secret::role::{ROLES_MAX, RoleArn};
use aws_credential_types::provider::SharedCredentialsProvider;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The configured roles, and the clients ([`Reach`]) of each recently used role.
pub(super) struct Roles {
    own: Arc<Account>,
    sts: Arc<Sts>,
    means: Means,
    /// The maximum time for one call that assumes a role.
    attempt_timeout: Duration,
    /// The roles in the configuration. A request can also name a role that is not among them.
    configured: Vec<AssumableRole>,
    /// The recently used roles. The least recently used role is first.
    used: Mutex<Vec<Arc<Reach>>>,
}

impl Roles {
    pub(super) fn new(
        own: Arc<Account>,
        sts: Sts,
        means: Means,
        attempt_timeout: Duration,
        configured: Vec<AssumableRole>,
    ) -> Self {
        let sts = Arc::new(sts);
        Self { own, sts, means, attempt_timeout, configured, used: Mutex::default() }
    }

    /// Returns the clients that use the credentials of `role`. The role is assumed only when a
    /// client first calls AWS.
    pub(super) fn reach(&self, role: &RoleArn) -> Arc<Reach> {
        let mut used =
            self.used.lock().expect("code that holds the lock of the used roles must not panic");
        let known = used.iter().position(|reach| reach.account.role.as_ref() == Some(role));
        let reach = match known {
            Some(index) => used.remove(index),
            None => Arc::new(self.open(role)),
        };
        if used.len() >= ROLES_MAX {
            // Requests can name invented roles, which never get credentials. Such a role is removed
            // before roles that work. A role with a running call is kept, because it may be about
            // to get credentials.
            let failed = used.iter().position(|reach| {
                !reach.account.session.has_credentials() && Arc::strong_count(reach) == 1
            });
            used.remove(failed.unwrap_or(0));
        }
        used.push(reach.clone());
        reach
    }

    fn open(&self, role: &RoleArn) -> Reach {
        let configured = self.configured.iter().find(|own| own.arn == *role).cloned();
        let assumable = configured.unwrap_or_else(|| AssumableRole::new(role.clone()));
        let provider = RoleProvider { sts: self.sts.clone(), role: assumable };
        let session = Session::of_role(
            SharedCredentialsProvider::new(provider),
            self.own.session.clone(),
            self.attempt_timeout,
            self.means.clock.clone(),
        );
        Reach::new(Arc::new(self.own.with_role(role.clone(), Arc::new(session))), &self.means)
    }
}
