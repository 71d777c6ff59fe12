//! Measures cached reads of several programs, and compares them with a minimal server in C.

use crate::bench::Bench;
use crate::canned::Canned;
use crate::load::{self, Load};
use crate::pinning;
use crate::reader;
use crate::subject::{self, Running, TOKEN};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// The number of times that each measurement is made. The tables show the median.
const ROUNDS: usize = 3;

/// The duration of one measurement.
const SPAN: Duration = Duration::from_secs(2);

/// The label of the minimal server in tables. The server is written in C.
pub(crate) const BARE_LOOP: &str = "bare C loop";

/// How the readers of a measurement use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    OpenConnections(usize),
    NewConnections,
}

/// The ways to use connections for which the benchmark measures reads.
pub(crate) const USES: [Use; 4] = [
    Use::OpenConnections(1),
    Use::OpenConnections(16),
    Use::OpenConnections(64),
    Use::NewConnections,
];

/// The results of one measurement, either as absolute numbers or as ratios to the C server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// The number of reads per second.
    pub(crate) per_second: f64,
    /// The CPU time of one read in microseconds.
    pub(crate) cpu: f64,
    /// The latency in microseconds that 99 % of the reads do not exceed.
    pub(crate) p99: f64,
}

/// The results of one server with one way to use connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// The label of the server in tables.
    pub(crate) label: &'static str,
    pub(crate) usage: Use,
    /// The medians of the results of all rounds.
    pub(crate) figures: Figures,
    /// The medians of the ratios to the results of the C server in the same round.
    pub(crate) ratios: Figures,
}

/// The results of all measurements of cached reads.
#[derive(Debug)]
pub(crate) struct Cached {
    /// The results of every server with every way to use connections.
    pub(crate) measured: Vec<Measured>,
    /// The label of each server, and its memory use in kilobytes before and after the reads.
    pub(crate) resident: Vec<(&'static str, u64, u64)>,
}

struct Server {
    label: &'static str,
    process: u32,
    address: SocketAddr,
    answer: Vec<u8>,
}

/// Measures cached reads of all servers.
///
/// # Errors
///
/// If a server does not start, or returns a wrong response.
pub(crate) fn measure(bench: &Bench) -> io::Result<Cached> {
    let (endpoint, bundle) = bench.upstream(true);
    let name = &bench.names[0];
    let mut servers = Vec::new();
    let mut running: Vec<Running> = Vec::new();
    let mut resident = Vec::new();
    for (label, subject) in &bench.subjects {
        let mut program = subject.start(&Bench::start(&endpoint, bundle, label, &bench.names))?;
        let mut socket = program.connect()?;
        bench.names.iter().try_for_each(|name| reader::read_value(&mut socket, name, TOKEN))?;
        let answer = reader::read(&mut socket, name, TOKEN)?.bytes;
        let (address, process) = (program.address, program.id());
        servers.push(Server { label, process, address, answer });
        resident.push((*label, program.kilobytes("VmRSS")?, 0));
        running.push(program);
    }
    let canned = Canned::start(&servers[0].answer)?;
    let answer = servers[0].answer.clone();
    let bare = Server { label: BARE_LOOP, process: canned.id(), address: canned.address, answer };
    servers.insert(0, bare);
    let request = reader::request(name, TOKEN);
    // A thread of its own, so that programs that start later do not inherit its CPU.
    let reading = || {
        pinning::pin_to_last_processor();
        rounds_of(&servers, &request)
    };
    let rounds = thread::scope(|scope| scope.spawn(reading).join())
        .map_err(|_| io::Error::other("the thread that sends the reads must not panic"))??;
    for (program, resident) in running.iter().zip(&mut resident) {
        resident.2 = program.kilobytes("VmRSS")?;
    }
    let mut measured = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        for (nth, usage) in USES.iter().enumerate() {
            let own = &rounds[at * USES.len() + nth];
            let ratios: Vec<Figures> =
                own.iter().zip(&rounds[nth]).map(|(own, bare)| own.over(bare)).collect();
            let (figures, ratios) = (middle(own), middle(&ratios));
            measured.push(Measured { label: server.label, usage: *usage, figures, ratios });
        }
    }
    Ok(Cached { measured, resident })
}

/// Measures all servers with all ways to use connections, several times.
fn rounds_of(servers: &[Server], request: &[u8]) -> io::Result<Vec<Vec<Figures>>> {
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); servers.len() * USES.len()];
    for _ in 0..ROUNDS {
        for (nth, usage) in USES.iter().enumerate() {
            for (at, server) in servers.iter().enumerate() {
                rounds[at * USES.len() + nth].push(under(server, *usage, request)?);
            }
        }
    }
    Ok(rounds)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn under(server: &Server, usage: Use, request: &[u8]) -> io::Result<Figures> {
    let before = subject::processor_time(server.process)?;
    let (address, answer) = (server.address, &server.answer);
    let load: Load = match usage {
        Use::OpenConnections(connections) => {
            load::on_open_connections(address, request, answer, connections, SPAN)?
        }
        // A closed connection occupies its port for a while, and the number of ports is limited.
        Use::NewConnections => load::on_new_connections(address, request, answer, SPAN / 2)?,
    };
    let used = subject::processor_time(server.process)? - before;
    let figures = Figures {
        per_second: load.per_second(),
        cpu: micros(load.share(used)),
        p99: micros(load.p99()),
    };
    println!(
        "{}: {usage:?}: {:.0} reads/s, {:.1} us of CPU time per read, p99 {:.0} us",
        server.label, figures.per_second, figures.cpu, figures.p99
    );
    Ok(figures)
}

impl Figures {
    fn over(&self, bare: &Self) -> Self {
        Self {
            per_second: self.per_second / bare.per_second,
            cpu: self.cpu / bare.cpu,
            p99: self.p99 / bare.p99,
        }
    }
}

fn middle(all: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = all.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures {
        per_second: of(|figures| figures.per_second),
        cpu: of(|figures| figures.cpu),
        p99: of(|figures| figures.p99),
    }
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
