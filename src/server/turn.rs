//! Lets other tasks run while one task processes many bytes.

/// How many bytes a task processes before it lets other tasks run. Processing these bytes takes
/// about one millisecond.
const TURN_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Turn(usize);

impl Turn {
    /// Counts `bytes` as processed. If the task has processed more than [`TURN_BYTES`] since its
    /// last pause, lets other tasks run.
    pub(super) async fn spend(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 > TURN_BYTES {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}
