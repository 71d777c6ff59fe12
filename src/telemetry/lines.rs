//! A queue of log lines with a maximum size, and the thread that writes the queued lines. If the
//! queue is full, new lines are dropped and counted.
//!
//! If no process reads the log, a write may block for ever. Only this thread then blocks, and the
//! rest of the agent continues.

use prometheus::IntCounter;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// The maximum size of all queued log lines together, in bytes. More than a thousand log lines fit.
const QUEUED_BYTES_MAX: usize = 256 * 1024;

const STACK_BYTES: usize = 64 * 1024;

#[derive(Clone)]
pub(crate) struct Lines(Arc<Queue>);

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    dropped: IntCounter,
}

#[derive(Default)]
struct State {
    queued: Vec<u8>,
    /// Whether the log thread is still writing lines that it has removed from the queue. A flush
    /// must also wait for these lines.
    is_writing: bool,
}

impl Lines {
    /// Starts a thread that writes log lines to `sink`, and counts lost lines in `dropped`. Returns
    /// an error if the system cannot start a thread.
    pub(crate) fn start(
        sink: impl Write + Send + 'static,
        dropped: IntCounter,
    ) -> io::Result<Self> {
        let state = Mutex::default();
        let queue = Arc::new(Queue { state, changed: Condvar::new(), dropped });
        let writing = queue.clone();
        let thread = thread::Builder::new().name("sidekey-log".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || writing.write_out(sink))?;
        Ok(Self(queue))
    }

    /// Waits until the log thread has written all lines, but at most for the time `wait`. Returns
    /// `false` if `wait` is over before all lines are written.
    pub(crate) fn flush(&self, wait: Duration) -> bool {
        let waited = self.0.changed.wait_timeout_while(self.0.state(), wait, |state| {
            state.is_writing || !state.queued.is_empty()
        });
        !waited.expect("no thread may panic while it holds the lock").1.timed_out()
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread may panic while it holds the lock")
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.queued.len() + line.len() > QUEUED_BYTES_MAX {
            self.dropped.inc();
            return;
        }
        state.queued.extend_from_slice(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Writes each log line to `sink` soon after it is queued. This function runs on the log
    /// thread, and never returns.
    fn write_out(&self, mut sink: impl Write) {
        let mut taken = Vec::new();
        loop {
            {
                let mut state = self
                    .changed
                    .wait_while(self.state(), |state| state.queued.is_empty())
                    .expect("no thread may panic while it holds the lock");
                std::mem::swap(&mut state.queued, &mut taken);
                state.is_writing = true;
            }
            // If the log is closed, the agent goes on without a log, and counts the lines as
            // dropped.
            if sink.write_all(&taken).and_then(|()| sink.flush()).is_err() {
                let lines = taken.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.inc_by(lines as u64);
            }
            taken.clear();
            self.state().is_writing = false;
            self.changed.notify_all();
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// Queues the bytes of each `write` call as one log line. This is correct because the logging
/// library writes each line in one call.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SHORT_WAIT: Duration = Duration::from_millis(1);
    const TIMEOUT: Duration = Duration::from_secs(120);

    /// A fake log output. While a test holds the lock `blocked`, each write waits, as if no process
    /// read the log.
    struct Sink {
        written: mpsc::Sender<Vec<u8>>,
        blocked: Arc<Mutex<()>>,
        is_closed: bool,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _blocked =
                self.blocked.lock().expect("no thread may panic while it holds the lock");
            if self.is_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.send(bytes.to_vec()).expect("the test must still receive log lines");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(
        blocked: &Arc<Mutex<()>>,
        is_closed: bool,
    ) -> (Lines, mpsc::Receiver<Vec<u8>>, IntCounter) {
        let (written, lines) = mpsc::channel();
        let dropped = IntCounter::new("dropped", "Counts the lines that this test drops.")
            .expect("the metric name must be valid");
        let sink = Sink { written, blocked: blocked.clone(), is_closed };
        (
            Lines::start(sink, dropped.clone()).expect("the system must be able to start a thread"),
            lines,
            dropped,
        )
    }

    fn log(lines: &Lines, line: &str) {
        lines
            .make_writer()
            .write_all(line.as_bytes())
            .expect("the queue must accept each log line");
    }

    #[test]
    fn lines_are_written_completely_and_in_order() {
        let (lines, written, dropped) = start(&Arc::default(), false);
        let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        for line in expected.split_inclusive('\n') {
            log(&lines, line);
        }
        assert!(lines.flush(TIMEOUT));
        let written: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(written), Ok(expected));
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn undrained_log_blocks_no_caller() {
        let blocked: Arc<Mutex<()>> = Arc::default();
        let (lines, written, dropped) = start(&blocked, false);
        let line = format!("{}\n", "x".repeat(999));
        let block = blocked.lock().expect("no thread may panic while it holds the lock");
        for _ in 0..1000 {
            log(&lines, &line);
        }
        assert!(
            !lines.flush(SHORT_WAIT),
            "a flush must time out while writes to the log are blocked"
        );
        drop(block);
        assert!(lines.flush(TIMEOUT));
        let bytes: usize = written.try_iter().map(|bytes| bytes.len()).sum();
        assert_eq!(bytes % line.len(), 0, "the log must never drop a part of a line");
        let kept = bytes / line.len();
        assert_eq!(usize::try_from(dropped.get()), Ok(1000 - kept));
        assert!(
            (262..=2 * 262).contains(&kept),
            "the log must keep one or two full queues (262 to 524 lines), not {kept} lines"
        );
    }

    #[test]
    fn lines_to_a_closed_log_are_counted_as_dropped() {
        let (lines, _written, dropped) = start(&Arc::default(), true);
        log(&lines, "one\n");
        assert!(lines.flush(TIMEOUT));
        log(&lines, "two\n");
        assert!(lines.flush(TIMEOUT));
        assert_eq!(dropped.get(), 2);
    }
}
