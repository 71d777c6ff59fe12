//! Sets up the log of the process. Log lines are JSON on Lambda and in containers, and text on a
//! terminal.

use super::lines::Lines;
use prometheus::IntCounter;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) type Level = LevelFilter;

/// The prefix of the names of Sidekey's own crates. Sidekey does not write log lines of other
/// crates, because they may contain credentials: the AWS SDK can log the full answer of AWS.
const OWN: &str = "sidekey";

/// The maximum time that the process waits for its last log lines to be written, before it exits.
pub const FLUSH_MAX: Duration = Duration::from_millis(50);

/// The configuration of the log: the minimum level of log lines, their format, and the output
/// stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) level: Level,
    pub(crate) format: Format,
    pub(crate) stream: Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Each log line is one JSON object with `timestamp` (RFC 3339), `level`, `message` and further
    /// fields. Lambda can filter such log lines by level.
    Json,
    Text,
    /// Log lines are text if the stream is a terminal, and JSON otherwise.
    TextOnTerminal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The log goes to standard output, from which Lambda collects log lines.
    Out,
    /// The log goes to standard error, because a command prints its result to standard output.
    Err,
}

/// A handle for the log of this process. Keep the handle until the process ends: dropping the
/// handle writes the last log lines, and takes at most [`FLUSH_MAX`].
#[must_use = "keep this handle until the process ends: dropping it writes the last log lines"]
#[derive(Debug)]
pub struct Log(Option<Lines>);

impl Log {
    /// Returns a handle that writes records, such as metrics, as lines between the log lines.
    /// Records have a format of their own.
    pub fn records(&self) -> Records {
        Records(self.0.clone())
    }
}

/// Writes records, such as metrics, as lines to the stream of the log. Records have a format of
/// their own. The thread that writes the log lines also writes these lines, so no line interrupts
/// another line.
#[derive(Clone, Debug)]
pub struct Records(Option<Lines>);

impl Records {
    #[cfg(test)]
    pub(crate) fn of(lines: Lines) -> Self {
        Self(Some(lines))
    }

    /// Writes `record` and a line break. `record` must not contain a line break.
    pub(crate) fn write(&self, record: &str) {
        let line = format!("{record}\n");
        // An error means that the stream is closed. Then the log is also lost.
        let _ = match &self.0 {
            Some(lines) => (&mut &*lines).write_all(line.as_bytes()),
            None => io::stdout().write_all(line.as_bytes()),
        };
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(lines) = &self.0 {
            lines.flush(FLUSH_MAX);
        }
    }
}

/// Starts the log of this process. Only the first call in a process has an effect.
///
/// `dropped` counts the log lines that are lost because no process reads the log, or a process
/// reads it too slowly.
pub fn start(config: Config, dropped: &IntCounter) -> Log {
    let (is_terminal, lines) = match config.stream {
        Stream::Out => (io::stdout().is_terminal(), Lines::start(io::stdout(), dropped.clone())),
        Stream::Err => (io::stderr().is_terminal(), Lines::start(io::stderr(), dropped.clone())),
    };
    let writer = match (&lines, config.stream) {
        (Ok(lines), _) => BoxMakeWriter::new(lines.clone()),
        // Without a thread, log lines are written directly. Such writes may block, but this is
        // better than no log.
        (Err(_), Stream::Out) => BoxMakeWriter::new(io::stdout),
        (Err(_), Stream::Err) => BoxMakeWriter::new(io::stderr),
    };
    let lines_layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let is_text = match config.format {
        Format::Json => false,
        Format::Text => true,
        Format::TextOnTerminal => is_terminal,
    };
    let layer = match is_text {
        false => lines_layer.json().flatten_event(true).with_current_span(false).boxed(),
        true => lines_layer.with_ansi(is_terminal).with_target(false).boxed(),
    };
    let levels = Targets::new().with_target(OWN, config.level);
    let _ = tracing_subscriber::registry().with(layer.with_filter(levels)).try_init();
    Log(lines.ok())
}
