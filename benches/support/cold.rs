//! Measures one cold start: from exec until the last secret is served.

use crate::pinning;
use crate::reader;
use crate::subject::{Start, Subject, TOKEN};
use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// How the secrets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// One reader reads all secrets in sequence over one connection.
    One,
    /// One reader for each secret, all in parallel.
    Each,
}

/// The results of one cold start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    /// The elapsed time.
    pub(crate) wall: Duration,
    /// The processor time of the program.
    pub(crate) cpu: Duration,
    /// The peak memory of the program in kilobytes.
    pub(crate) peak_kilobytes: u64,
}

/// Starts a program and reads every secret of `names`.
///
/// # Errors
///
/// If the program does not start, or a read does not return its value.
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
                .try_for_each(|reader| reader.join().expect("the reading task does not panic"))
        })?,
    }
    Ok(Cold {
        wall: running.started.elapsed(),
        cpu: running.processor_time()?,
        peak_kilobytes: running.kilobytes("VmHWM")?,
    })
}

/// Returns the median.
pub(crate) fn median(spans: &mut [Duration]) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}
