//! What every promise is shown with: a fake of Secrets Manager, an agent in front of it, a client
//! that counts every byte, and a clock that stands still.

pub(crate) mod agent;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod container;
pub(crate) mod finished;
pub(crate) mod gateway;
pub(crate) mod linters;
pub(crate) mod metrics;
pub(crate) mod program;
pub(crate) mod relay;

use crate::clients::{pause, scratch};
use clock::ManualClock;
use fake_aws::Fake;
use sidekey::clock::Clock;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long anything may take before a test gives up: a guard against hanging, no promise.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts a fake that has no secrets and goes by `clock`.
pub(crate) async fn fake(clock: &Arc<ManualClock>) -> Fake {
    let clock = clock.clone();
    Fake::start(Arc::new(move || clock.now().wall)).await.expect("a free port")
}

/// Waits for `work`, and fails the test where it never ends.
#[expect(clippy::disallowed_methods, reason = "a test that hangs fails by the machine's clock")]
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Looks again and again until `probe` finds something.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let looked = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            pause().await;
        }
    };
    soon(what, looked).await
}

/// A folder of mode 0700 for one test. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = scratch().join(format!("p{}-{number}", process::id()));
        DirBuilder::new().mode(0o700).create(&path).expect("the folder for tests can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in here and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
