//! Measures the time from the start of the agent's process until the last of several secrets has
//! been read.
//!
//! Checks the promises about starts in `SPECIFICATION.md`. The fake AWS server refuses
//! `BatchGetSecretValue` calls. Either one reader reads all secrets in sequence, or each secret has
//! its own reader, and all readers read in parallel.
//!
//! ```text
//! cargo bench --bench cold_start              20 secrets over plain HTTP, upstream at 20 ms
//! cargo bench --bench cold_start -- --tls     1 and 20 secrets over TLS, upstream at 20 ms
//! cargo bench --bench cold_start -- --full    1, 6, 20, 100 secrets, upstream at 0, 20, 100 ms,
//!                                             over plain HTTP and over TLS
//! ```

#[path = "support/pinning.rs"]
mod pinning;
#[path = "../tests/support/cgroup.rs"]
mod cgroup;
#[path = "support/cold.rs"]
mod cold;
#[path = "support/reader.rs"]
mod reader;
#[path = "support/subject.rs"]
mod subject;
#[path = "support/tls.rs"]
mod tls;

use cold::{Cold, Readers, median};
use fake_aws::{Fake, Operation};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use subject::{Start, Subject};
use tls::TlsFront;

const RUNS: usize = 7;
const SECRETS_MOST: usize = 100;
const LATENCY: Duration = Duration::from_millis(20);

/// The maximum median durations that `SPECIFICATION.md` promises.
struct Promise {
    is_tls: bool,
    secrets: usize,
    wall: Duration,
    cpu: Option<Duration>,
}

const PROMISES: [Promise; 3] = [
    Promise { is_tls: false, secrets: 20, wall: Duration::from_millis(30), cpu: None },
    Promise {
        is_tls: true,
        secrets: 1,
        wall: Duration::from_millis(32),
        cpu: Some(Duration::from_millis(10)),
    },
    Promise {
        is_tls: true,
        secrets: 20,
        wall: Duration::from_millis(45),
        cpu: Some(Duration::from_millis(15)),
    },
];

/// The fake AWS server, which accepts calls over plain HTTP and over TLS.
struct Upstream {
    fake: Fake,
    front: TlsFront,
    names: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "the fake AWS server uses the real time")]
fn main() -> io::Result<ExitCode> {
    let runtime = pinning::runtime()?;
    let fake = runtime.block_on(Fake::start(Arc::new(SystemTime::now)))?;
    fake.faults().deny_operation(Operation::BatchGetSecretValue);
    let names: Vec<String> = (0..SECRETS_MOST).map(|n| format!("bench/secret-{n:02}")).collect();
    for name in &names {
        fake.secrets()
            .create(name, format!("{{\"password\":\"{name}\"}}"))
            .expect("the fake AWS server must create the secret");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let front = runtime.block_on(TlsFront::start(fake.addr(), folder))?;
    let upstream = Upstream { fake, front, names };
    let cases: &[(bool, &[usize], &[u64])] = if has_argument("--full") {
        &[(false, &[1, 6, 20, 100], &[0, 20, 100]), (true, &[1, 6, 20, 100], &[0, 20, 100])]
    } else if has_argument("--tls") {
        &[(true, &[1, 20], &[20])]
    } else {
        &[(false, &[20], &[20])]
    };
    let mut is_kept = true;
    for (is_tls, secrets, latencies) in cases {
        for latency in *latencies {
            let latency = Duration::from_millis(*latency);
            upstream.fake.faults().set_latency(latency);
            for secrets in *secrets {
                is_kept &= measure(&upstream, *is_tls, *secrets, latency)?;
            }
        }
    }
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures one case, and prints the results. Returns whether they are within the promised limits.
#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn measure(
    upstream: &Upstream,
    is_tls: bool,
    secrets: usize,
    latency: Duration,
) -> io::Result<bool> {
    let names = &upstream.names[..secrets];
    let (scheme, endpoint, bundle) = match is_tls {
        true => ("TLS", upstream.front.url(), Some(upstream.front.bundle())),
        false => ("plain HTTP", upstream.fake.url(), None),
    };
    println!(
        "{RUNS} starts until {secrets} secrets are read over {scheme}, with a latency of {latency:?}"
    );
    let mut bare = bare_calls(upstream.fake.addr(), &names[0])?;
    println!("{:<20} time {}", "call without Sidekey", spread(&mut bare));
    let promise = PROMISES
        .iter()
        .find(|promise| (promise.is_tls, promise.secrets, LATENCY) == (is_tls, secrets, latency));
    let subject = Subject::sidekey(env!("CARGO_BIN_EXE_sidekey"));
    let start = Start {
        endpoint: &endpoint,
        bundle,
        listed: names,
        ttl: Duration::from_secs(300),
        cgroup: &[],
    };
    let mut is_kept = true;
    let ways = [("one after the other", Readers::One), ("all at once", Readers::Each)];
    for (label, readers) in ways.into_iter().take(if secrets == 1 { 1 } else { 2 }) {
        let mut runs: Vec<Cold> = Vec::new();
        // The first run warms the page cache and is not counted.
        for run in 0..=RUNS {
            upstream.fake.calls().clear();
            let cold = cold::start(&subject, &start, names, readers)?;
            let calls = upstream.fake.calls().total();
            assert_eq!(calls, secrets as u64, "each secret must cause one call to AWS");
            runs.extend((run > 0).then_some(cold));
        }
        let mut wall: Vec<Duration> = runs.iter().map(|cold| cold.wall).collect();
        let mut cpu: Vec<Duration> = runs.iter().map(|cold| cold.cpu).collect();
        let peak = runs.iter().map(|cold| cold.peak_kilobytes).max().unwrap_or_default();
        println!(
            "{label:<20} time {}   CPU time {}   peak memory {} kB",
            spread(&mut wall),
            spread(&mut cpu),
            peak
        );
        let Some(promise) = promise else { continue };
        let has_time = median(&mut wall) <= promise.wall;
        let has_processor = promise.cpu.is_none_or(|most| median(&mut cpu) <= most);
        is_kept &= has_time && has_processor;
    }
    if let Some(Promise { wall, cpu, .. }) = promise {
        let cpu = cpu.map(|cpu| format!(" and {cpu:?} of CPU time")).unwrap_or_default();
        let verdict = if is_kept { "kept" } else { "BROKEN" };
        println!("the promise of at most {wall:?}{cpu} in the median is {verdict}");
    }
    Ok(is_kept)
}

/// Measures calls to the fake AWS server without an agent. The results show which part of the other
/// results Sidekey does not cause.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn bare_calls(upstream: SocketAddr, name: &str) -> io::Result<Vec<Duration>> {
    let mut socket = TcpStream::connect(upstream)?;
    socket.set_nodelay(true)?;
    let body = format!("{{\"SecretId\":\"{name}\"}}");
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: secretsmanager.GetSecretValue\r\n\
         content-type: application/x-amz-json-1.1\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential=a/20260101/eu-north-1/secretsmanager/aws4_request, SignedHeaders=host, \
         Signature=b\r\nx-amz-date: 20260101T000000Z\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        socket.write_all(request.as_bytes())?;
        let mut answer = [0; 4096];
        let len = socket.read(&mut answer)?;
        took.push(started.elapsed());
        assert!(answer[..len].starts_with(b"HTTP/1.1 200"), "upstream answers");
    }
    Ok(took)
}

fn spread(spans: &mut [Duration]) -> String {
    spans.sort_unstable();
    let ms = |span: Duration| span.as_secs_f64() * 1000.0;
    let (min, median, max) = (spans[0], spans[spans.len() / 2], spans[spans.len() - 1]);
    format!("min {:5.1}  median {:5.1}  max {:5.1} ms", ms(min), ms(median), ms(max))
}

fn has_argument(flag: &str) -> bool {
    std::env::args().any(|argument| argument == flag)
}
