//! The log: JSON lines on Lambda and wherever no person reads along, text on a terminal.

use super::lines::Lines;
use prometheus::IntCounter;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The level of Sidekey's own lines.
pub type Level = LevelFilter;

/// Whose lines are written: those of the crates whose names begin so. Nobody else's are, at any level:
/// an AWS SDK warns of an answer that it cannot read by quoting it, credentials and all.
const OWN: &str = "sidekey";

/// How long the end of the process waits for the last lines to be written.
pub const FLUSH_MAX: Duration = Duration::from_millis(50);

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The level of Sidekey's own lines.
    pub level: Level,
    /// The form of a line.
    pub format: Format,
    /// Where the lines go.
    pub stream: Stream,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object, with `timestamp` (RFC 3339), `level`, `message` and fields: what Lambda
    /// filters by level.
    Json,
    /// Text for people.
    Text,
    /// [`Text`](Self::Text) if the stream is a terminal, else [`Json`](Self::Json).
    TextOnTerminal,
}

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, which Lambda collects.
    Out,
    /// Standard error, which leaves standard output to what a command prints.
    Err,
}

/// A running log. When it is dropped, it waits until the last lines are written, for [`FLUSH_MAX`] at
/// most: an undrained log must not keep the process from ending.
#[must_use = "it is dropped at the end of the process"]
#[derive(Debug)]
pub struct Log(Option<Lines>);

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(lines) = &self.0 {
            lines.flush(FLUSH_MAX);
        }
    }
}

/// Starts logging. Later calls change nothing. Lines that an undrained log drops are counted in
/// `dropped`.
pub fn start(config: Config, dropped: &IntCounter) -> Log {
    let (is_terminal, lines) = match config.stream {
        Stream::Out => (io::stdout().is_terminal(), Lines::start(io::stdout(), dropped.clone())),
        Stream::Err => (io::stderr().is_terminal(), Lines::start(io::stderr(), dropped.clone())),
    };
    let writer = match (&lines, config.stream) {
        (Ok(lines), _) => BoxMakeWriter::new(lines.clone()),
        // Without a thread of its own, a log that may block is better than none.
        (Err(_), Stream::Out) => BoxMakeWriter::new(io::stdout),
        (Err(_), Stream::Err) => BoxMakeWriter::new(io::stderr),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let is_text = match config.format {
        Format::Json => false,
        Format::Text => true,
        Format::TextOnTerminal => is_terminal,
    };
    let layer = match is_text {
        false => layer.json().flatten_event(true).with_current_span(false).boxed(),
        true => layer.with_ansi(is_terminal).with_target(false).boxed(),
    };
    let levels = Targets::new().with_target(OWN, config.level);
    let _ = tracing_subscriber::registry().with(layer.with_filter(levels)).try_init();
    Log(lines.ok())
}
