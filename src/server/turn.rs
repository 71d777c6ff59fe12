//! Lets other tasks run while one task processes many bytes.

/// How many bytes of messages or results a task processes before it lets other tasks run. This takes
/// about one millisecond.
const TURN_BYTES: usize = 64 * 1024;

/// The number of bytes that a task processed since it last let other tasks run.
#[derive(Debug, Default)]
pub(super) struct Turn(usize);

impl Turn {
    /// Counts processed bytes. After [`TURN_BYTES`], lets other tasks run.
    pub(super) async fn spend(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 > TURN_BYTES {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}
