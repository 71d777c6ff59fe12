//! Starts the log: JSON lines on Lambda and in containers, text on a terminal.

use super::lines::Lines;
use prometheus::IntCounter;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The most detailed level of log lines that are written.
pub type Level = LevelFilter;

/// The name prefix of the crates whose log lines are written. Lines of other crates are never written:
/// if the AWS SDK cannot parse an answer, the SDK logs the full answer, with credentials in it.
const OWN: &str = "sidekey";

/// The longest time that the end of the process waits for the last log lines to be written.
pub const FLUSH_MAX: Duration = Duration::from_millis(50);

/// The configuration of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most detailed level of log lines that are written.
    pub level: Level,
    /// The format of a line.
    pub format: Format,
    /// The stream that the lines are written to.
    pub stream: Stream,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Each line is one JSON object with `timestamp` (RFC 3339), `level`, `message` and further fields.
    /// Lambda can filter such lines by their level.
    Json,
    /// Each line is text for humans.
    Text,
    /// Lines are [`Text`](Self::Text) if the stream is a terminal, else [`Json`](Self::Json).
    TextOnTerminal,
}

/// The stream that the log is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The log goes to standard output, from where Lambda collects it.
    Out,
    /// The log goes to standard error, because standard output has the result of a command.
    Err,
}

/// A running log. Dropping it waits until the last lines are written, but at most [`FLUSH_MAX`]: an
/// undrained log must not keep the process from ending.
#[must_use = "keep the log until the process ends: dropping it flushes the last lines"]
#[derive(Debug)]
pub struct Log(Option<Lines>);

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(lines) = &self.0 {
            lines.flush(FLUSH_MAX);
        }
    }
}

/// Starts the log. Later calls have no effect. Lines that are dropped because the log is read too
/// slowly are counted in `dropped`.
pub fn start(config: Config, dropped: &IntCounter) -> Log {
    let (is_terminal, lines) = match config.stream {
        Stream::Out => (io::stdout().is_terminal(), Lines::start(io::stdout(), dropped.clone())),
        Stream::Err => (io::stderr().is_terminal(), Lines::start(io::stderr(), dropped.clone())),
    };
    let writer = match (&lines, config.stream) {
        (Ok(lines), _) => BoxMakeWriter::new(lines.clone()),
        // If no thread can be started, a log that may block is better than no log.
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
