//! A load generator: one thread that sends requests on several connections. Each connection has one
//! request at a time.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The number of bytes at the end of a response that the reader compares, to find out whether the
/// response is complete.
const TAIL: usize = 16;

/// The results of one run of the load generator.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// The number of responses after the warm-up of the run.
    answers: usize,
    /// The duration of the run without its warm-up.
    took: Duration,
    /// The number of all responses, including those during the warm-up.
    all: usize,
    /// The latencies of the responses after the warm-up, in ascending order.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        let answers = u32::try_from(self.answers).unwrap_or(u32::MAX);
        f64::from(answers) / self.took.as_secs_f64()
    }

    /// Returns the share of one response in the CPU time `used` of the whole run.
    pub(crate) fn share(&self, used: Duration) -> Duration {
        used / u32::try_from(self.all.max(1)).unwrap_or(u32::MAX)
    }

    /// Returns the latency that 99 % of the responses do not exceed.
    pub(crate) fn p99(&self) -> Duration {
        let at = self.latencies.len() * 99 / 100;
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// One connection of the load generator, and the state of its current request.
struct Lane {
    socket: TcpStream,
    sent_at: Instant,
    received: Vec<u8>,
}

/// Sends the same request again and again on `connections` for the duration `span`, after a warm-up
/// of a tenth of `span`. Every response must have status 200 and the same last bytes as `expected`.
///
/// # Errors
///
/// If a connection breaks, or a response differs from `expected`.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn on_open_connections(
    address: SocketAddr,
    request: &[u8],
    expected: &[u8],
    connections: usize,
    span: Duration,
) -> io::Result<Load> {
    let tail = &expected[expected.len().saturating_sub(TAIL)..];
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut lanes = Vec::with_capacity(connections);
    for at in 0..connections {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll::add(&poll, &socket, EventData::new_u64(at as u64), EventFlags::IN)?;
        let sent_at = Instant::now();
        socket.write_all(request)?;
        lanes.push(Lane { socket, sent_at, received: Vec::with_capacity(8192) });
    }
    let begins = Instant::now() + span / 10;
    let ends = begins + span;
    let mut latencies = Vec::with_capacity(1 << 20);
    let mut all = 0;
    let mut events = Vec::with_capacity(connections);
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let lane = &mut lanes[at];
            if !lane.is_answered(tail)? {
                continue;
            }
            all += 1;
            let now = Instant::now();
            if now >= ends {
                latencies.sort_unstable();
                let (answers, took) = (latencies.len(), now - begins);
                return Ok(Load { answers, took, all, latencies });
            }
            if now >= begins {
                latencies.push(now - lane.sent_at);
            }
            lane.sent_at = now;
            lane.socket.write_all(request)?;
        }
    }
}

/// Sends the same request again and again, each time on a new connection.
///
/// # Errors
///
/// If a connection breaks, or a response differs from the expected response.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn on_new_connections(
    address: SocketAddr,
    request: &[u8],
    expected: &[u8],
    span: Duration,
) -> io::Result<Load> {
    let tail = &expected[expected.len().saturating_sub(TAIL)..];
    let begins = Instant::now();
    let mut latencies = Vec::new();
    while begins.elapsed() < span {
        let sent_at = Instant::now();
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.write_all(request)?;
        let mut lane = Lane { socket, sent_at, received: Vec::with_capacity(8192) };
        while !lane.is_answered(tail)? {}
        latencies.push(sent_at.elapsed());
    }
    let took = begins.elapsed();
    latencies.sort_unstable();
    let answers = latencies.len();
    Ok(Load { answers, took, all: answers, latencies })
}

impl Lane {
    /// Reads the bytes that have arrived. Returns whether the response is complete.
    fn is_answered(&mut self, tail: &[u8]) -> io::Result<bool> {
        let mut buffer = [0; 8192];
        let read = match self.socket.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the program closed the connection")),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        self.received.extend_from_slice(&buffer[..read]);
        if !self.received.ends_with(tail) {
            let is_good = self.received.len() < 12 || self.received.starts_with(b"HTTP/1.1 200");
            return if is_good {
                Ok(false)
            } else {
                Err(io::Error::other(
                    "the program returned a response with a status other than 200",
                ))
            };
        }
        self.received.clear();
        Ok(true)
    }
}
