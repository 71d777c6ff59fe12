//! Measures one cold start: the time from the start of a program until its last secret has been
//! read.

use crate::pinning;
use crate::reader;
use crate::subject::{Start, Subject, TOKEN};
use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// How a benchmark reads several secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// One reader reads all secrets in sequence over one connection.
    One,
    /// Each secret has its own reader, and all readers read in parallel.
    Each,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    /// The elapsed time of the cold start.
    pub(crate) wall: Duration,
    /// The CPU time of the program during the cold start.
    pub(crate) cpu: Duration,
    pub(crate) peak_kilobytes: u64,
}

/// Starts a program, and reads all secrets in `names`.
///
/// # Errors
///
/// If the program does not start, or returns a wrong value.
pub(crate) fn start(
    subject: &Subject,
    start: &Start<'_>,
    names: &[String],
    readers: Readers,
) -> io::Result<Cold> {
    let mut running = subject.start(start)?;
    // Only one connection polls for the listener, because twenty would take processor time from the
    // agent.
    let mut socket = running.connect()?;
    let address = running.address;
    match readers {
        Readers::One => {
            names.iter().try_for_each(|name| reader::read_value(&mut socket, name, TOKEN))?;
        }
        Readers::Each => thread::scope(|scope| {
            let reading = |name| {
                move || {
                    pinning::pin_to_last_processor();
                    reader::read_value(&mut TcpStream::connect(address)?, name, TOKEN)
                }
            };
            let readers: Vec<_> = names.iter().map(|name| scope.spawn(reading(name))).collect();
            readers
                .into_iter()
                .try_for_each(|reader| reader.join().expect("the task that reads must not panic"))
        })?,
    }
    Ok(Cold {
        wall: running.started.elapsed(),
        cpu: running.processor_time()?,
        peak_kilobytes: running.kilobytes("VmHWM")?,
    })
}

pub(crate) fn median(spans: &mut [Duration]) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}
