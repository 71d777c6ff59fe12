//! The log: JSON lines on Lambda and wherever no person reads along, text on a terminal.

use std::io::{self, IsTerminal};
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
}

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, which Lambda collects.
    Out,
    /// Standard error, which leaves standard output to what a command prints.
    Err,
}

/// Starts logging. Later calls change nothing.
pub fn start(config: Config) {
    let is_terminal = match config.stream {
        Stream::Out => io::stdout().is_terminal(),
        Stream::Err => io::stderr().is_terminal(),
    };
    let writer = match config.stream {
        Stream::Out => BoxMakeWriter::new(io::stdout),
        Stream::Err => BoxMakeWriter::new(io::stderr),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = match config.format {
        Format::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
        Format::Text => layer.with_ansi(is_terminal).with_target(false).boxed(),
    };
    let levels = Targets::new().with_target(OWN, config.level);
    let _ = tracing_subscriber::registry().with(layer.with_filter(levels)).try_init();
}
