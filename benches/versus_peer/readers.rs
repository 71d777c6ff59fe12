//! Measures what readers get in special situations: when a TTL ends, when a secret is not cached
//! yet, and when AWS throttles calls.

use crate::bench::{Bench, LATENCY};
use crate::reader;
use crate::subject::{Running, TOKEN};
use std::io;
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// The TTL of cached secrets. It is in whole seconds, because AWS's agents accept no fractions.
const TTL: Duration = Duration::from_secs(2);

/// The duration for which readers read a busy secret. It is longer than two TTLs.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// The latency of calls to AWS while readers read a busy secret. The latency is long, so that the
/// benchmark recognises reads that waited for a call.
const BUSY_LATENCY: Duration = Duration::from_millis(200);

/// The minimum duration of a read that has waited for a call to AWS.
const WAITED: Duration = Duration::from_millis(100);

/// The number of readers that read an uncached secret at the same time.
const COLD_READERS: usize = 64;

/// What the readers of one program got in special situations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderResults {
    /// The label of the program in tables.
    pub(crate) label: &'static str,
    /// The longest duration of a read of a busy secret.
    pub(crate) longest: Duration,
    /// The number of reads of a busy secret that waited for a call to AWS.
    pub(crate) waited: usize,
    /// The number of calls to AWS while many readers read an uncached secret at the same time.
    pub(crate) calls: u64,
    /// The HTTP status of a read after the TTL, while AWS throttles calls.
    pub(crate) status: u16,
    /// The duration of a read after the TTL, while AWS throttles calls.
    pub(crate) took: Duration,
}

/// Measures what the readers of each program get in special situations.
///
/// # Errors
///
/// If a program does not start, or returns a wrong response.
#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
pub(crate) fn measure(bench: &Bench) -> io::Result<Vec<ReaderResults>> {
    let mut all = Vec::new();
    for nth in 0..bench.subjects.len() {
        let label = bench.subjects[nth].0;
        let (longest, waited) = across_the_ttl(bench, nth)?;
        let calls = cold(bench, nth)?;
        let (status, took) = throttled(bench, nth)?;
        let got = ReaderResults { label, longest, waited, calls, status, took };
        println!("{got:?}");
        all.push(got);
    }
    Ok(all)
}

/// Starts the program with the index `nth`. Returns the program and an open connection.
fn start_subject(bench: &Bench, nth: usize, listed: &[String]) -> io::Result<(Running, TcpStream)> {
    let (label, subject) = &bench.subjects[nth];
    let (endpoint, bundle) = bench.upstream(false);
    let mut start = Bench::start(&endpoint, bundle, label, listed);
    start.ttl = TTL;
    let mut running = subject.start(&start)?;
    let socket = running.connect()?;
    Ok((running, socket))
}

/// Reads a secret with four readers until its TTL has ended twice. Returns the longest duration of
/// a read, and the number of reads that waited for AWS.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn across_the_ttl(bench: &Bench, nth: usize) -> io::Result<(Duration, usize)> {
    let name = &bench.names[0];
    let (running, mut socket) = start_subject(bench, nth, &bench.names[..1])?;
    reader::read_value(&mut socket, name, TOKEN)?;
    bench.fake.faults().set_latency(BUSY_LATENCY);
    let until = Instant::now() + BUSY_FOR;
    let reading = || -> io::Result<(Duration, usize)> {
        let mut socket = TcpStream::connect(running.address)?;
        let (mut longest, mut waited) = (Duration::ZERO, 0);
        while Instant::now() < until {
            let sent_at = Instant::now();
            reader::read_value(&mut socket, name, TOKEN)?;
            let took = sent_at.elapsed();
            longest = longest.max(took);
            waited += usize::from(took >= WAITED);
            // Without a pause, four readers would measure the scheduler.
            thread::sleep(Duration::from_millis(1));
        }
        Ok((longest, waited))
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(reading)).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("the task that reads must not panic"))
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

/// Reads an uncached secret with many readers at the same time. Returns the number of calls to AWS.
fn cold(bench: &Bench, nth: usize) -> io::Result<u64> {
    let name = &bench.names[1];
    let (running, _socket) = start_subject(bench, nth, &[])?;
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
            .try_for_each(|reader| reader.join().expect("the task that reads must not panic"))
    })?;
    Ok(bench.fake.calls().total())
}

/// Reads a secret after its TTL, while AWS throttles every call. Returns the HTTP status and the
/// duration of the read.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time, and waits for the TTL")]
fn throttled(bench: &Bench, nth: usize) -> io::Result<(u16, Duration)> {
    let name = &bench.names[2];
    let (_running, mut socket) = start_subject(bench, nth, &bench.names[2..3])?;
    reader::read_value(&mut socket, name, TOKEN)?;
    bench.fake.faults().throttle_above(0);
    let mut last = (0, Duration::ZERO);
    let until = Instant::now() + TTL + TTL / 2;
    while Instant::now() < until {
        let sent_at = Instant::now();
        let answer = reader::read(&mut socket, name, TOKEN);
        last = (answer?.status, sent_at.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    bench.fake.faults().throttle_above(u32::MAX);
    Ok(last)
}
