//! What readers get where something happens upstream: a value's time is over, nothing is held yet,
//! or calls are throttled.

use crate::bench::{Bench, LATENCY};
use crate::reader;
use crate::subject::{Running, TOKEN};
use std::io;
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// How old values get here. Whole seconds are the least that AWS's agents take.
const TTL: Duration = Duration::from_secs(2);

/// How long a busy secret is read: across its TTL more than twice.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// What a call takes meanwhile: long, so that whoever waits for one is told from whoever does not.
const BUSY_LATENCY: Duration = Duration::from_millis(200);

/// From here on a read has waited for upstream.
const WAITED: Duration = Duration::from_millis(100);

/// Readers of one secret that is not held yet.
const COLD_READERS: usize = 64;

/// What readers of one program got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    /// The program.
    pub(crate) label: &'static str,
    /// The longest wait of a reader of a busy secret.
    pub(crate) longest: Duration,
    /// How many reads waited for upstream, of readers that read it across its TTL.
    pub(crate) waited: usize,
    /// Calls for a secret that many want and nobody has read before.
    pub(crate) calls: u64,
    /// The status of a read whose value's time is over, while calls are throttled.
    pub(crate) status: u16,
    /// How long that read took.
    pub(crate) took: Duration,
}

/// Measures.
///
/// # Errors
///
/// Where a program does not start, or does not serve.
#[expect(clippy::print_stdout, reason = "a bench tells")]
pub(crate) fn measure(bench: &Bench) -> io::Result<Vec<Got>> {
    let mut all = Vec::new();
    for nth in 0..bench.subjects.len() {
        let label = bench.subjects[nth].0;
        let (longest, waited) = across_the_ttl(bench, nth)?;
        let calls = cold(bench, nth)?;
        let (status, took) = throttled(bench, nth)?;
        let got = Got { label, longest, waited, calls, status, took };
        println!("{got:?}");
        all.push(got);
    }
    Ok(all)
}

/// Starts a program, and returns it with a connection to it.
fn started(bench: &Bench, nth: usize, listed: &[String]) -> io::Result<(Running, TcpStream)> {
    let (label, subject) = &bench.subjects[nth];
    let (endpoint, bundle) = bench.upstream(false);
    let mut start = Bench::start(&endpoint, bundle, label, listed);
    start.ttl = TTL;
    let mut running = subject.start(&start)?;
    let socket = running.connect()?;
    Ok((running, socket))
}

/// Reads one secret without a pause, by four readers.
#[expect(clippy::disallowed_methods, reason = "a bench times")]
fn across_the_ttl(bench: &Bench, nth: usize) -> io::Result<(Duration, usize)> {
    let name = &bench.names[0];
    let (running, mut socket) = started(bench, nth, &bench.names[..1])?;
    reader::read_value(&mut socket, name, TOKEN)?;
    bench.fake.faults().set_latency(BUSY_LATENCY);
    let until = Instant::now() + BUSY_FOR;
    let reading = || -> io::Result<(Duration, usize)> {
        let mut socket = TcpStream::connect(running.address)?;
        let (mut longest, mut waited) = (Duration::ZERO, 0);
        while Instant::now() < until {
            let asked = Instant::now();
            reader::read_value(&mut socket, name, TOKEN)?;
            let took = asked.elapsed();
            longest = longest.max(took);
            waited += usize::from(took >= WAITED);
            // Four readers without a pause would be a measurement of the scheduler.
            thread::sleep(Duration::from_millis(1));
        }
        Ok((longest, waited))
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(reading)).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("the reading task does not panic"))
            .collect()
    });
    bench.fake.faults().set_latency(LATENCY);
    let (mut longest, mut waited) = (Duration::ZERO, 0);
    for outcome in outcomes {
        let (one_longest, one_waited) = outcome?;
        longest = longest.max(one_longest);
        waited += one_waited;
    }
    Ok((longest, waited))
}

/// Lets many readers ask at once for a secret that is not held, and returns the calls that makes.
fn cold(bench: &Bench, nth: usize) -> io::Result<u64> {
    let name = &bench.names[1];
    let (running, _socket) = started(bench, nth, &[])?;
    bench.fake.calls().clear();
    let together = Barrier::new(COLD_READERS);
    let reading = || -> io::Result<()> {
        let socket = TcpStream::connect(running.address);
        together.wait();
        reader::read_value(&mut socket?, name, TOKEN)
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..COLD_READERS).map(|_| scope.spawn(reading)).collect();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().expect("the reading task does not panic"))
    })?;
    Ok(bench.fake.calls().total())
}

/// Reads a secret whose time is over while every call is throttled.
#[expect(clippy::disallowed_methods, reason = "a bench times, and lets a value grow old")]
fn throttled(bench: &Bench, nth: usize) -> io::Result<(u16, Duration)> {
    let name = &bench.names[2];
    let (_running, mut socket) = started(bench, nth, &bench.names[2..3])?;
    reader::read_value(&mut socket, name, TOKEN)?;
    bench.fake.faults().throttle_above(0);
    let mut last = (0, Duration::ZERO);
    let until = Instant::now() + TTL + TTL / 2;
    while Instant::now() < until {
        let asked = Instant::now();
        let answer = reader::read(&mut socket, name, TOKEN);
        last = (answer?.status, asked.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    bench.fake.faults().throttle_above(u32::MAX);
    Ok(last)
}
