//! One cold start: from exec until the last secret is served.

use crate::aside;
use crate::reader;
use crate::subject::{Start, Subject, TOKEN};
use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// How secrets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// By one reader on one connection.
    One,
    /// By a reader each, at once.
    Each,
}

/// What a start took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    /// Time.
    pub(crate) wall: Duration,
    /// Processor time of the program.
    pub(crate) cpu: Duration,
    /// The most memory that it ever held, in kilobytes.
    pub(crate) peak_kilobytes: u64,
}

/// Starts a program and reads every one of `names`.
///
/// # Errors
///
/// Where the program does not start, or a read is not answered with its value.
pub(crate) fn start(
    subject: &Subject,
    start: &Start<'_>,
    names: &[String],
    readers: Readers,
) -> io::Result<Cold> {
    let mut running = subject.start(start)?;
    // One probe waits for the bind: twenty in a loop would take the processor from the agent.
    let mut socket = running.connect()?;
    let address = running.address;
    match readers {
        Readers::One => {
            names.iter().try_for_each(|name| reader::read_value(&mut socket, name, TOKEN))?;
        }
        Readers::Each => thread::scope(|scope| {
            let reading = |name| {
                move || {
                    aside::stay();
                    reader::read_value(&mut TcpStream::connect(address)?, name, TOKEN)
                }
            };
            let readers: Vec<_> = names.iter().map(|name| scope.spawn(reading(name))).collect();
            readers
                .into_iter()
                .try_for_each(|reader| reader.join().expect("the reading task does not panic"))
        })?,
    }
    Ok(Cold {
        wall: running.started.elapsed(),
        cpu: running.processor_time()?,
        peak_kilobytes: running.kilobytes("VmHWM")?,
    })
}

/// Returns the middle one.
pub(crate) fn median(spans: &mut [Duration]) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}
