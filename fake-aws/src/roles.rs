//! The IAM roles that callers can assume, and the sessions of assumed roles.

use crate::error::AwsError;
use crate::location::Location;
use crate::lock::lock;
use crate::resource::Resource;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// A handle with which a test creates and changes the IAM roles of a fake AWS server. All clones of
/// this handle change the same server.
///
/// A role can read the secrets and parameters of its own account. If a request with the role's
/// credentials contains a name instead of an ARN, the fake looks for the name in this account.
#[derive(Clone, Default)]
pub struct Roles(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    roles: BTreeMap<String, Role>,
    /// The sessions of assumed roles, by access key id.
    sessions: BTreeMap<String, RoleSession>,
}

#[derive(Default)]
struct Role {
    external_id: Option<String>,
    /// The patterns of the secrets and parameters that the role can read. If `None`, the role can
    /// read everything in its account.
    allowed: Option<Vec<String>>,
}

/// The session of an assumed role. A call with the credentials of this session has the permissions
/// of the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleSession {
    role_arn: String,
    /// The ARN of the session, such as `arn:aws:sts::210987654321:assumed-role/reader/me`.
    pub(crate) arn: String,
    pub(crate) account: String,
}

impl Roles {
    /// Creates a role that callers can assume without an external id. The role can read all secrets
    /// and parameters of its account.
    pub fn create(&self, arn: &str) {
        self.state().roles.insert(arn.to_owned(), Role::default());
    }

    /// Makes the trust policy of a role require an external id. Creates the role if it does not
    /// exist.
    pub fn require_external_id(&self, arn: &str, external_id: &str) {
        self.state().roles.entry(arn.to_owned()).or_default().external_id =
            Some(external_id.to_owned());
    }

    /// Limits a role to secrets and parameters whose name or ARN matches one of `patterns`. In a
    /// pattern, `*` matches any characters, and `?` matches one character. Creates the role if it
    /// does not exist.
    pub fn allow_only(&self, arn: &str, patterns: &[&str]) {
        self.state().roles.entry(arn.to_owned()).or_default().allowed =
            Some(patterns.iter().map(ToString::to_string).collect());
    }

    /// Deletes a role. Callers can no longer assume the role, and its sessions can read nothing.
    pub fn remove(&self, arn: &str) {
        self.state().roles.remove(arn);
    }

    /// Checks that a caller in the account of `home` may assume a role. The error is the same for a
    /// missing role, a missing permission and a wrong external id, as in AWS.
    pub(crate) fn check_trust(
        &self,
        arn: &str,
        external_id: Option<&str>,
        home: &Location,
    ) -> Result<(), AwsError> {
        let state = self.state();
        let is_trusted = state.roles.get(arn).is_some_and(|role| {
            role.external_id.is_none() || role.external_id.as_deref() == external_id
        });
        if is_trusted {
            return Ok(());
        }
        let message = format!(
            "User: arn:aws:sts::{}:assumed-role/fake-aws/session is not authorized to perform: \
             sts:AssumeRole on resource: {arn}",
            home.account
        );
        Err(AwsError::new("AccessDeniedException", message))
    }

    pub(crate) fn begin_session(&self, access_key_id: &str, role_arn: &str, arn: &str) {
        let account = role_arn.split(':').nth(4).unwrap_or_default().to_owned();
        let session = RoleSession { role_arn: role_arn.to_owned(), arn: arn.to_owned(), account };
        self.state().sessions.insert(access_key_id.to_owned(), session);
    }

    /// Returns the session whose credentials signed a request. `authorization` is the request
    /// header of this name. Returns `None` if the request was not signed with credentials of an
    /// assumed role.
    pub(crate) fn session(&self, authorization: Option<&str>) -> Option<RoleSession> {
        let (_, credential) = authorization?.split_once("Credential=")?;
        let (access_key_id, _) = credential.split_once('/')?;
        self.state().sessions.get(access_key_id).cloned()
    }

    /// Returns whether the session may read the secret or parameter with these names and ARNs.
    pub(crate) fn may_read(&self, session: &RoleSession, aliases: &[Resource]) -> bool {
        let state = self.state();
        let Some(role) = state.roles.get(&session.role_arn) else { return false };
        let Some(allowed) = &role.allowed else { return true };
        aliases.iter().any(|alias| allowed.iter().any(|pattern| matches(pattern, alias.id())))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arns: Vec<String> = self.state().roles.keys().cloned().collect();
        f.debug_struct("Roles").field("arns", &arns).finish_non_exhaustive()
    }
}

/// Returns whether a pattern of IAM, such as `app/*`, matches the whole `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern_rest, mut text_rest) = (pattern, text);
    loop {
        let mut following = pattern_rest.chars();
        match following.next() {
            None => return text_rest.is_empty(),
            Some('*') => {
                let ends = text_rest.char_indices().map(|(at, _)| at).chain([text_rest.len()]);
                let mut ends = ends;
                return ends.any(|at| matches(following.as_str(), &text_rest[at..]));
            }
            Some(wanted) => {
                let mut chars = text_rest.chars();
                match chars.next() {
                    Some(c) if wanted == '?' || wanted == c => {
                        (pattern_rest, text_rest) = (following.as_str(), chars.as_str());
                    }
                    _ => return false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: &str = "arn:aws:iam::210987654321:role/reader";

    #[test]
    fn role_needs_its_external_id() {
        let (roles, home) = (Roles::default(), Location::default());
        let is_trusted = |id| roles.check_trust(READER, id, &home).is_ok();
        assert!(!is_trusted(None));
        roles.create(READER);
        assert!(is_trusted(None) && is_trusted(Some("any")));
        roles.require_external_id(READER, "x7");
        assert!(is_trusted(Some("x7")) && !is_trusted(Some("x8")) && !is_trusted(None));
        roles.remove(READER);
        assert!(!is_trusted(Some("x7")));
    }

    #[test]
    fn session_belongs_to_the_key_that_signed_the_request() {
        let roles = Roles::default();
        roles.create(READER);
        roles.begin_session("ASIA1", READER, "arn:aws:sts::210987654321:assumed-role/reader/me");
        let signed = |key| format!("AWS4-HMAC-SHA256 Credential={key}/20260131/eu-north-1/x");
        let session = roles.session(Some(&signed("ASIA1"))).expect("the session must exist");
        assert_eq!(session.account, "210987654321");
        assert_eq!(roles.session(Some(&signed("ASIA2"))), None);
        let aliases = [Resource::secret("shared/db")];
        assert!(roles.may_read(&session, &aliases));
        roles.allow_only(READER, &["shared/d?", "other"]);
        assert!(roles.may_read(&session, &aliases));
        roles.allow_only(READER, &["shared/*x"]);
        assert!(!roles.may_read(&session, &aliases));
        roles.remove(READER);
        assert!(!roles.may_read(&session, &aliases));
    }
}
