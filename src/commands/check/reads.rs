//! Reads all secrets for `sidekey check`, several at once.

use crate::secret::key::Key;
use crate::secret::service::Service;
use crate::secret::version::Version;
use crate::source::aws::{Aws, Rotation};
use crate::source::{FetchError, FetchErrorKind, Source};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The maximum number of secrets that `sidekey check` reads at the same time.
const READS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Read {
    pub(super) version: Result<Version, FetchError>,
    /// Whether Secrets Manager rotates the secret, and the time of the last rotation. `None` if the
    /// secret could not be read, or if AWS denies `secretsmanager:DescribeSecret`.
    pub(super) rotation: Option<Rotation>,
}

/// Reads all secrets concurrently, and calls `on_read` after each secret. If the task that reads a
/// secret panics, the secret is missing in the result.
pub(super) async fn read_all(
    source: Arc<Aws>,
    keys: Vec<Key>,
    mut on_read: impl FnMut(),
) -> HashMap<Key, Read> {
    let permits = Arc::new(Semaphore::new(READS_MAX));
    let mut reads = JoinSet::new();
    for key in keys {
        let (source, permits) = (source.clone(), permits.clone());
        reads.spawn(async move {
            let _permit = permits.acquire().await;
            let version = source.fetch(&key).await;
            let rotation = match (&version, key.id.service()) {
                (Ok(_), Service::SecretsManager) => source.rotation(&key).await.ok(),
                // Parameter Store does not rotate parameters.
                (Ok(_), Service::ParameterStore) => {
                    Some(Rotation { is_enabled: false, last: None })
                }
                (Err(_), _) => None,
            };
            (key, Read { version, rotation })
        });
    }
    let mut all = HashMap::new();
    while let Some(read) = reads.join_next().await {
        on_read();
        all.extend(read);
    }
    all
}

/// Returns the error that `sidekey check` reports for a secret if the code that reads the secret
/// panicked.
pub(super) fn panicked() -> FetchError {
    let message = "reading the secret failed inside Sidekey; report this as a bug";
    FetchError::new(FetchErrorKind::Internal, "InternalFailure", message)
}
