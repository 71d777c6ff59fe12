//! Lines on their way to the log: a bounded queue, and the thread that writes it out.
//!
//! If the reader of a pipe stops reading, a write blocks for ever. Then only the writing thread blocks,
//! and lines that do not fit into the queue are dropped and counted.

use prometheus::IntCounter;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// The most bytes of lines that wait to be written: some thousand lines.
const QUEUED_BYTES_MAX: usize = 256 * 1024;

/// The stack of the writing thread. It does nothing but write.
const STACK_BYTES: usize = 64 * 1024;

/// Where lines are queued. Clones queue to the same thread.
#[derive(Clone)]
pub struct Lines(Arc<Queue>);

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    dropped: IntCounter,
}

#[derive(Default)]
struct State {
    queued: Vec<u8>,
    /// Lines were taken from the queue and are not written yet.
    is_writing: bool,
}

impl Lines {
    /// Starts the thread that writes to `sink`. Lines that do not fit are counted in `dropped`.
    ///
    /// # Errors
    ///
    /// If the system starts no thread.
    pub fn start(sink: impl Write + Send + 'static, dropped: IntCounter) -> io::Result<Self> {
        let state = Mutex::default();
        let queue = Arc::new(Queue { state, changed: Condvar::new(), dropped });
        let writing = queue.clone();
        let thread = thread::Builder::new().name("sidekey-log".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || writing.write_out(sink))?;
        Ok(Self(queue))
    }

    /// Waits until everything is written, for at most `wait`. Returns whether it is.
    pub fn flush(&self, wait: Duration) -> bool {
        let is_busy = |state: &mut State| state.is_writing || !state.queued.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.0.state(), wait, is_busy);
        !waited.expect("no holder panics").1.timed_out()
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Queues a whole line, or drops it.
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

    /// Writes lines as they come. It ends with the process.
    fn write_out(&self, mut sink: impl Write) {
        let mut taken = Vec::new();
        loop {
            {
                let is_empty = |state: &mut State| state.queued.is_empty();
                let state = self.changed.wait_while(self.state(), is_empty);
                let mut state = state.expect("no holder panics");
                std::mem::swap(&mut state.queued, &mut taken);
                state.is_writing = true;
            }
            // A log that is closed takes no line any more, and the agent goes on without it.
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

/// Shows no line.
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

/// Takes one whole line at each call, as the formatting layer writes them.
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

    const NEVER: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_secs(120);

    /// Hands on what is written, and writes nothing while `held` is locked.
    struct Sink {
        written: mpsc::Sender<Vec<u8>>,
        held: Arc<Mutex<()>>,
        is_closed: bool,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _held = self.held.lock().expect("no holder panics");
            if self.is_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.send(bytes.to_vec()).expect("the test listens");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(
        held: &Arc<Mutex<()>>,
        is_closed: bool,
    ) -> (Lines, mpsc::Receiver<Vec<u8>>, IntCounter) {
        let (written, lines) = mpsc::channel();
        let dropped = IntCounter::new("dropped", "for this test").expect("a good name");
        let sink = Sink { written, held: held.clone(), is_closed };
        (Lines::start(sink, dropped.clone()).expect("a thread"), lines, dropped)
    }

    fn log(lines: &Lines, line: &str) {
        lines.make_writer().write_all(line.as_bytes()).expect("a queue takes everything");
    }

    #[test]
    fn lines_are_written_whole_and_in_order() {
        let (lines, written, dropped) = start(&Arc::default(), false);
        let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        for line in expected.split_inclusive('\n') {
            log(&lines, line);
        }
        assert!(lines.flush(PATIENCE));
        let written: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(written), Ok(expected));
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn an_undrained_log_blocks_no_caller() {
        let held: Arc<Mutex<()>> = Arc::default();
        let (lines, written, dropped) = start(&held, false);
        let line = format!("{}\n", "x".repeat(999));
        let holding = held.lock().expect("no holder panics");
        for _ in 0..1000 {
            log(&lines, &line);
        }
        assert!(!lines.flush(NEVER), "the wait for an undrained log has an end");
        drop(holding);
        assert!(lines.flush(PATIENCE));
        let bytes: usize = written.try_iter().map(|bytes| bytes.len()).sum();
        assert_eq!(bytes % line.len(), 0, "lines are dropped whole");
        let kept = bytes / line.len();
        assert_eq!(usize::try_from(dropped.get()), Ok(1000 - kept));
        assert!((262..=2 * 262).contains(&kept), "a queue, and what was taken from it: {kept}");
    }

    #[test]
    fn lines_to_a_closed_log_are_counted_as_dropped() {
        let (lines, _written, dropped) = start(&Arc::default(), true);
        log(&lines, "one\n");
        assert!(lines.flush(PATIENCE));
        log(&lines, "two\n");
        assert!(lines.flush(PATIENCE));
        assert_eq!(dropped.get(), 2);
    }
}
