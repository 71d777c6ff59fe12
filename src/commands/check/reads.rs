//! All reads of a check, some at once.

use crate::secret::key::Key;
use crate::secret::version::Version;
use crate::source::secrets_manager::{Rotation, SecretsManager};
use crate::source::{FetchError, FetchErrorKind, Source};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many secrets are asked for at once.
const READS_MAX: usize = 16;

/// What is known of a secret.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) version: Result<Version, FetchError>,
    /// Nothing, where the secret may not be described.
    pub(super) rotation: Option<Rotation>,
}

/// Reads every secret, and tells `on_read` of each.
pub(super) async fn read_all(
    source: Arc<SecretsManager>,
    keys: Vec<Key>,
    mut on_read: impl FnMut(),
) -> HashMap<Key, Read> {
    let turns = Arc::new(Semaphore::new(READS_MAX));
    let mut reads = JoinSet::new();
    for key in keys {
        let (source, turns) = (source.clone(), turns.clone());
        reads.spawn(async move {
            let _turn = turns.acquire().await;
            let version = source.fetch(&key).await;
            let rotation = match &version {
                Ok(_) => source.rotation(&key.id).await.ok(),
                Err(_) => None,
            };
            (key, Read { version, rotation })
        });
    }
    let mut all = HashMap::new();
    while let Some(read) = reads.join_next().await {
        on_read();
        // A read that panicked is not among them, and is told as one without an answer.
        all.extend(read);
    }
    all
}

/// Returns what stands for a read that ended without an answer.
pub(super) fn unanswered() -> FetchError {
    FetchError::new(FetchErrorKind::Internal, "InternalFailure", "the read ended without an answer")
}
