//! Combines requests for parameters that arrive at the same moment, so that one call to AWS fetches
//! up to ten parameters.
//!
//! Parameter Store allows 40 calls a second for an account and region. At start, an agent with many
//! parameters could exceed this quota.
//!
//! The task of the first request makes the call for all requests. It waits until one round of the
//! async scheduler brings no further request, and uses no timer.

use super::fetched::Fetched;
use super::slots::Rank;
use crate::clock::Moment;
use crate::secret::key::Key;
use crate::secret::role::RoleArn;
use crate::source::{FetchError, FetchErrorKind, PARAMETERS_BATCH_MAX};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;

const POISONED: &str = "no thread may panic while it holds the lock";

/// How long Sidekey makes no calls for several parameters after AWS has denied such a call. The
/// permission may be granted later, and new permissions take some time to become effective.
const REFUSAL_MEMORY: Duration = Duration::from_secs(15 * 60);

/// Collects requested parameters into batches. One call to AWS fetches each batch.
#[derive(Debug, Default)]
pub(super) struct Gatherer {
    open: Arc<Mutex<Vec<Batch>>>,
    /// When AWS last denied a call for several parameters, but allowed calls for single parameters.
    /// There is one time for each role that Sidekey assumes, and one for Sidekey's own credentials
    /// (`None`).
    refused: Mutex<Vec<(Option<RoleArn>, Moment)>>,
}

/// The parameters that one call to AWS will fetch.
#[derive(Debug)]
struct Batch {
    id: Arc<()>,
    rank: Rank,
    keys: Vec<Key>,
    /// The channels to the tasks that wait for the parameters in `keys`, except the first
    /// parameter.
    joined: Vec<oneshot::Sender<Gathered>>,
}

/// The result of a batch call to AWS for one of its parameters.
#[derive(Debug)]
pub(super) enum Gathered {
    /// The batch call returned the parameter, or failed.
    Fetched(Fetched),
    /// The parameter must be fetched by a call of its own. If AWS denied the batch call, the result
    /// of the single call is reported to the [`Judgement`], which finds out the missing permission.
    Alone(Option<Arc<Judgement>>),
}

/// Finds out why AWS denied a call for several parameters: the IAM role lacks the permission for
/// such calls, or the permission for one of the parameters.
#[derive(Debug)]
pub(super) struct Judgement {
    unreported: AtomicUsize,
    has_allowed: AtomicBool,
    has_denied: AtomicBool,
}

/// What a call for a single parameter says about the permissions of the IAM role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Allowed,
    Denied,
    /// The call does not show whether the role has the permission, for example because AWS
    /// throttled the call.
    Unknown,
}

impl Permission {
    pub(super) fn of<T>(answer: &Result<T, FetchError>) -> Self {
        match answer.as_ref().map_err(|error| error.kind) {
            // AWS checks the permission before it looks for the parameter.
            Ok(_) | Err(FetchErrorKind::NotFound) => Self::Allowed,
            Err(FetchErrorKind::Denied) => Self::Denied,
            Err(_) => Self::Unknown,
        }
    }
}

/// How a request for a parameter takes part in a batch call to AWS.
#[derive(Debug)]
pub(super) enum Place {
    /// The request opened the batch, so its task must make the call to AWS.
    Leader(Leader),
    /// Another task makes the call to AWS, and sends the result through this channel. The channel
    /// closes if that task is cancelled.
    Joined(oneshot::Receiver<Gathered>),
}

/// The duty to make the call to AWS for one batch of parameters. Dropping this value without the
/// call closes the channels to all waiting tasks.
#[derive(Debug)]
pub(super) struct Leader {
    open: Arc<Mutex<Vec<Batch>>>,
    id: Arc<()>,
}

impl Gatherer {
    /// Adds the parameter of Parameter Store that `key` names to a batch, or starts a new batch
    /// with it. Returns `None` if the IAM role may not fetch several parameters with one call.
    pub(super) fn join(&self, key: &Key, rank: Rank, now: Moment) -> Option<Place> {
        let refused = {
            let refused = self.refused.lock().expect(POISONED);
            refused.iter().find(|(role, _)| *role == key.role).map(|(_, at)| *at)
        };
        let since_refusal = refused.map(|refused| now.since(refused).unwrap_or_default());
        if since_refusal.is_some_and(|since| since < REFUSAL_MEMORY) {
            return None;
        }
        let mut open = lock(&self.open);
        if let Some(batch) = open.iter_mut().find(|batch| batch.fits(key, rank)) {
            let (sender, receiver) = oneshot::channel();
            batch.keys.push(key.clone());
            batch.joined.push(sender);
            return Some(Place::Joined(receiver));
        }
        let id = Arc::new(());
        open.push(Batch { id: id.clone(), rank, keys: vec![key.clone()], joined: Vec::new() });
        Some(Place::Leader(Leader { open: self.open.clone(), id }))
    }

    /// Records what a call for a single parameter says about the permissions of the IAM role, after
    /// AWS denied the call for the batch. If AWS allows only single calls, Sidekey makes no batch
    /// calls for the time [`REFUSAL_MEMORY`].
    pub(super) fn report(
        &self,
        role: Option<&RoleArn>,
        judgement: &Judgement,
        permission: Permission,
        now: Moment,
    ) {
        if judgement.lacks_permission(permission) {
            let mut refused = self.refused.lock().expect(POISONED);
            refused.retain(|(own, at)| {
                let is_recent = now.since(*at).unwrap_or_default() < REFUSAL_MEMORY;
                is_recent && own.as_ref() != role
            });
            refused.push((role.cloned(), now));
            tracing::info!(
                "IAM denied ssm:GetParameters, so Sidekey fetches each parameter by its own call"
            );
        }
    }
}

impl Leader {
    /// Waits until the batch is full or no further request joins it. Returns the parameters of the
    /// batch, and the channels to the tasks that wait for all parameters but the first.
    pub(super) async fn gathered(self) -> (Vec<Key>, Vec<oneshot::Sender<Gathered>>) {
        let mut before = 0;
        loop {
            let count = self.count();
            if count == before || count == PARAMETERS_BATCH_MAX {
                break;
            }
            before = count;
            tokio::task::yield_now().await;
        }
        self.take().map_or_else(Default::default, |batch| (batch.keys, batch.joined))
    }

    fn count(&self) -> usize {
        let open = lock(&self.open);
        open.iter().find(|batch| batch.is(&self.id)).map_or(0, |batch| batch.keys.len())
    }

    fn take(&self) -> Option<Batch> {
        let mut open = lock(&self.open);
        let index = open.iter().position(|batch| batch.is(&self.id))?;
        Some(open.swap_remove(index))
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Batch {
    fn is(&self, id: &Arc<()>) -> bool {
        Arc::ptr_eq(&self.id, id)
    }

    /// Returns whether one call to AWS can fetch `key` with the parameters of this batch. A call
    /// has one priority, one role, one region and one setting for decryption. A call has only names
    /// or only ARNs, because it must not ask for a parameter twice.
    fn fits(&self, key: &Key, rank: Rank) -> bool {
        let first = &self.keys[0];
        self.keys.len() < PARAMETERS_BATCH_MAX
            && self.rank == rank
            && first.role == key.role
            && first.id.region() == key.id.region()
            && first.id.is_arn() == key.id.is_arn()
            && first.selector.is_encrypted() == key.selector.is_encrypted()
            && self.keys.iter().all(|own| own.id != key.id)
    }
}

impl Judgement {
    pub(super) fn of(readers: usize) -> Arc<Self> {
        Arc::new(Self {
            unreported: AtomicUsize::new(readers),
            has_allowed: AtomicBool::new(false),
            has_denied: AtomicBool::new(false),
        })
    }

    /// Records whether AWS allowed the call for one parameter, after AWS denied the call for the batch.
    /// Returns `true` after the last of the calls for single parameters if the IAM role may make
    /// such calls, but no batch calls.
    fn lacks_permission(&self, permission: Permission) -> bool {
        match permission {
            Permission::Allowed => self.has_allowed.store(true, Ordering::Relaxed),
            Permission::Denied => self.has_denied.store(true, Ordering::Relaxed),
            Permission::Unknown => {}
        }
        let is_last = self.unreported.fetch_sub(1, Ordering::AcqRel) == 1;
        is_last
            && self.has_allowed.load(Ordering::Relaxed)
            && !self.has_denied.load(Ordering::Relaxed)
    }
}

fn lock(open: &Mutex<Vec<Batch>>) -> MutexGuard<'_, Vec<Batch>> {
    open.lock().expect(POISONED)
}

#[cfg(test)]
mod tests;
