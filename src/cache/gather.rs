//! Gathers parameters that are wanted at the same moment, so that one call to AWS fetches up to ten
//! of them.
//!
//! Parameter Store allows 40 calls a second for a whole account and region. A start with many
//! parameters would use up this quota if each parameter needed its own call.
//!
//! The first reader of a batch leads it: this reader waits until no further reader joins in one round
//! of the async scheduler, and then makes the call for all. No timer delays the call.

use super::fetched::Fetched;
use crate::secret::key::Key;
use crate::source::PARAMETERS_BATCH_MAX;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;

const POISONED: &str = "no thread panics while it holds the lock";

/// The batches of parameters whose call to AWS is not sent yet.
#[derive(Debug, Default)]
pub(super) struct Gatherer {
    open: Arc<Mutex<Vec<Batch>>>,
    /// Whether the role may read single parameters but may not read several by one call.
    is_refused: AtomicBool,
}

/// The parameters that one call to AWS will fetch.
#[derive(Debug)]
struct Batch {
    id: Arc<()>,
    keys: Vec<Key>,
    /// The readers that joined the leader, in the order of `keys` after the first.
    joined: Vec<oneshot::Sender<Gathered>>,
}

/// What a reader gets from the leader of its batch.
#[derive(Debug)]
pub(super) enum Gathered {
    /// The parameter was fetched, or its call failed.
    Fetched(Fetched),
    /// The reader must make a call of its own, and then report the result to the judgement, if there
    /// is one.
    Alone(Option<Arc<Judgement>>),
}

/// Finds out why AWS refused a call for several parameters: the role may lack the permission for
/// such calls, or the permission for one of the parameters.
#[derive(Debug)]
pub(super) struct Judgement {
    unreported: AtomicUsize,
    has_failed: AtomicBool,
}

/// The place of a reader in a batch.
#[derive(Debug)]
pub(super) enum Place {
    /// The reader must make the call for the batch.
    Leader(Leader),
    /// The reader gets its parameter from the leader. The channel is closed if the leader was
    /// cancelled.
    Joined(oneshot::Receiver<Gathered>),
}

/// The right to make the call for one batch. If the leader is dropped before the call, the channels
/// of all readers that joined are closed.
#[derive(Debug)]
pub(super) struct Leader {
    open: Arc<Mutex<Vec<Batch>>>,
    id: Arc<()>,
}

impl Gatherer {
    /// Joins a batch for the parameter `key`, or opens one. Returns `None` if the role may not read
    /// several parameters by one call.
    pub(super) fn join(&self, key: &Key) -> Option<Place> {
        if self.is_refused.load(Ordering::Relaxed) {
            return None;
        }
        let mut open = lock(&self.open);
        if let Some(batch) = open.iter_mut().find(|batch| batch.fits(key)) {
            let (sender, receiver) = oneshot::channel();
            batch.keys.push(key.clone());
            batch.joined.push(sender);
            return Some(Place::Joined(receiver));
        }
        let id = Arc::new(());
        open.push(Batch { id: id.clone(), keys: vec![key.clone()], joined: Vec::new() });
        Some(Place::Leader(Leader { open: self.open.clone(), id }))
    }

    /// Records that a single call has returned a parameter, or that it has failed, after AWS had
    /// refused a call for several parameters.
    pub(super) fn report(&self, judgement: &Judgement, is_ok: bool) {
        if judgement.lacks_permission(is_ok) {
            self.is_refused.store(true, Ordering::Relaxed);
            tracing::info!(
                "the role may not call ssm:GetParameters; Sidekey reads each parameter by a call of \
                 its own"
            );
        }
    }
}

impl Leader {
    /// Waits until the batch is full or no further reader joins it. Returns the parameters to fetch,
    /// beginning with the leader's own, and the readers of the others.
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

    /// Returns whether one call can fetch `key` together with the parameters of this batch. A call
    /// has one region and one setting for decryption. It must not name a parameter twice, and may do
    /// so if it contains names and ARNs.
    fn fits(&self, key: &Key) -> bool {
        let first = &self.keys[0];
        self.keys.len() < PARAMETERS_BATCH_MAX
            && first.id.region() == key.id.region()
            && first.id.is_arn() == key.id.is_arn()
            && first.selector.is_encrypted() == key.selector.is_encrypted()
            && self.keys.iter().all(|own| own.id != key.id)
    }
}

impl Judgement {
    pub(super) fn of(readers: usize) -> Arc<Self> {
        Arc::new(Self { unreported: AtomicUsize::new(readers), has_failed: AtomicBool::new(false) })
    }

    /// Takes the result of one reader's single call. Returns `true` for the last result if all
    /// single calls have succeeded, because then only the call for several parameters was refused.
    fn lacks_permission(&self, is_ok: bool) -> bool {
        if !is_ok {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        let is_last = self.unreported.fetch_sub(1, Ordering::AcqRel) == 1;
        is_last && !self.has_failed.load(Ordering::Relaxed)
    }
}

fn lock(open: &Mutex<Vec<Batch>>) -> MutexGuard<'_, Vec<Batch>> {
    open.lock().expect(POISONED)
}

#[cfg(test)]
mod tests;
