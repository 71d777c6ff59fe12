//! Receives the signals that stop the agent: SIGTERM, and SIGINT, which Ctrl-C sends.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug)]
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Registers handlers for SIGTERM and SIGINT, so that these signals do not end the process.
    ///
    /// # Errors
    ///
    /// Fails if the operating system refuses to register a signal handler.
    pub(super) fn register() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs `stop`, which stops the agent and may take seconds. Cancels `stop` if another signal
    /// arrives. Returns whether `stop` was completed.
    pub(super) async fn complete(&mut self, stop: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = stop => true,
            () = self.next() => {
                tracing::warn!(
                    "a second signal to stop arrived, so the agent ends without waiting for open requests"
                );
                false
            }
        }
    }
}
