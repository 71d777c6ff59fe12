//! A load generator: one thread that keeps connections busy, each with one request at a time.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How many last bytes of an answer tell that it is whole.
const TAIL: usize = 16;

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Answers that count.
    answers: usize,
    /// How long it took to get those.
    took: Duration,
    /// All answers, those to warm up included.
    all: usize,
    /// From each request to its answer, sorted.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    /// Returns answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        let answers = u32::try_from(self.answers).unwrap_or(u32::MAX);
        f64::from(answers) / self.took.as_secs_f64()
    }

    /// Returns the share of `used` that is one answer's, where that was used for all of them.
    pub(crate) fn share(&self, used: Duration) -> Duration {
        used / u32::try_from(self.all.max(1)).unwrap_or(u32::MAX)
    }

    /// Returns what 99 of 100 answers took at most.
    pub(crate) fn p99(&self) -> Duration {
        let at = self.latencies.len() * 99 / 100;
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// One connection and the request that it waits for.
struct Lane {
    socket: TcpStream,
    asked: Instant,
    got: Vec<u8>,
}

/// Keeps `connections` busy with the same request for `span`, after a tenth of that to warm up.
/// Every answer has to be 200, and to end as `expected` does.
///
/// # Errors
///
/// Where a connection breaks, or an answer is another.
#[expect(clippy::disallowed_methods, reason = "a bench times")]
pub(crate) fn kept(
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
        let asked = Instant::now();
        socket.write_all(request)?;
        lanes.push(Lane { socket, asked, got: Vec::with_capacity(8192) });
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
                latencies.push(now - lane.asked);
            }
            lane.asked = now;
            lane.socket.write_all(request)?;
        }
    }
}

/// Makes reads one after the other, each on a connection of its own.
///
/// # Errors
///
/// As [`kept`].
#[expect(clippy::disallowed_methods, reason = "a bench times")]
pub(crate) fn anew(
    address: SocketAddr,
    request: &[u8],
    expected: &[u8],
    span: Duration,
) -> io::Result<Load> {
    let tail = &expected[expected.len().saturating_sub(TAIL)..];
    let begins = Instant::now();
    let mut latencies = Vec::new();
    while begins.elapsed() < span {
        let asked = Instant::now();
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.write_all(request)?;
        let mut lane = Lane { socket, asked, got: Vec::with_capacity(8192) };
        while !lane.is_answered(tail)? {}
        latencies.push(asked.elapsed());
    }
    let took = begins.elapsed();
    latencies.sort_unstable();
    let answers = latencies.len();
    Ok(Load { answers, took, all: answers, latencies })
}

impl Lane {
    /// Reads what has come, and returns whether the answer is whole.
    fn is_answered(&mut self, tail: &[u8]) -> io::Result<bool> {
        let mut buffer = [0; 8192];
        let read = match self.socket.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the connection was closed")),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        self.got.extend_from_slice(&buffer[..read]);
        if !self.got.ends_with(tail) {
            let is_good = self.got.len() < 12 || self.got.starts_with(b"HTTP/1.1 200");
            return if is_good {
                Ok(false)
            } else {
                Err(io::Error::other("not answered with 200"))
            };
        }
        self.got.clear();
        Ok(true)
    }
}
