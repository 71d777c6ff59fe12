//! The code that most tests in this folder share: a fake AWS server, an agent that calls this
//! server, an HTTP client and a manual clock.

pub(crate) mod agent;
pub(crate) mod boto3;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod container;
pub(crate) mod finished;
pub(crate) mod gateway;
pub(crate) mod linters;
pub(crate) mod memory;
pub(crate) mod metrics;
pub(crate) mod program;
pub(crate) mod relay;
pub(crate) mod scene;
pub(crate) mod upstream;

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

/// The longest time that a test waits for one step. The limit only stops tests that hang.
const TEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Starts a fake AWS server without secrets and parameters. The server reads the time from `clock`.
pub(crate) async fn fake(clock: &Arc<ManualClock>) -> Fake {
    let clock = clock.clone();
    Fake::start(Arc::new(move || clock.now().wall)).await.expect("the test must find a free port")
}

/// Waits for `work`. Fails the test if `work` does not finish within [`TEST_TIMEOUT`].
#[expect(clippy::disallowed_methods, reason = "the timeout of a test is in real time")]
pub(crate) async fn with_timeout<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TEST_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => panic!("this did not happen within {TEST_TIMEOUT:?}: {what}"),
    }
}

/// Calls `probe` again and again until it returns `Some`, and returns this result.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            pause().await;
        }
    };
    with_timeout(what, polling).await
}

/// Awaits `work`, during which calls to AWS get no response. `arrived` returns how many such calls have
/// arrived so far. After each arrival, `clock` advances by `timeout`, so that the calls time out.
pub(crate) async fn with_calls_timing_out<T>(
    clock: &ManualClock,
    timeout: Duration,
    arrived: impl Fn() -> usize,
    work: impl Future<Output = T>,
) -> T {
    let passing = async {
        let (mut seen, mut timed_out) = (arrived(), arrived());
        loop {
            pause().await;
            let count = arrived();
            // Calls that arrive together also time out together.
            if count == seen && count > timed_out {
                clock.advance(timeout);
                timed_out = count;
            }
            seen = count;
        }
    };
    tokio::select! {
        done = work => done,
        never = passing => never,
    }
}

/// A folder with mode 0700 for one test. Dropping this value deletes the folder.
#[derive(Debug)]
pub(crate) struct TempFolder(PathBuf);

impl TempFolder {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = scratch().join(format!("p{}-{number}", process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .expect("the test must be able to write cargo's folder for tests");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into the folder and returns the file's path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the test must be able to write the folder");
        path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
