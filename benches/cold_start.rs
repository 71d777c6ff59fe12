//! From exec to the last of 20 listed secrets served, with `GetSecretValue` alone.
//!
//! Guards the line "exec → 20 secrets read" of `SPECIFICATION.md`. The embedded Secrets Manager
//! takes 20 ms a call and refuses batches. Each run starts the release binary anew, asks from the
//! moment of exec on, and reads either one after the other or with 20 readers at once.
//!
//! ```text
//! cargo bench --bench cold_start
//! ```

use sidekey::source::double::Double;
use sidekey::source::double::operation::Operation;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const SECRETS: usize = 20;
const LATENCY: Duration = Duration::from_millis(20);
const RUNS: usize = 7;
const TOKEN: &str = "bench";

/// What is promised of the median.
const PROMISE: Duration = Duration::from_millis(30);

/// How the secrets are read.
#[derive(Clone, Copy)]
enum Readers {
    /// By one reader on one connection.
    One,
    /// By a reader each, at once.
    Each,
}

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench times and tells")]
fn main() -> io::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let double = runtime.block_on(Double::start(Arc::new(SystemTime::now)))?;
    double.faults().set_latency(LATENCY);
    double.faults().deny_operation(Operation::BatchGetSecretValue);
    let names: Vec<String> = (0..SECRETS).map(|n| format!("bench/secret-{n}")).collect();
    for name in &names {
        double.secrets().create(name, format!("{{\"password\":\"{name}\"}}")).expect("new");
    }
    println!("exec to {SECRETS} secrets served, upstream at {LATENCY:?}, {RUNS} runs");
    println!("a bare call upstream {}", spread(&mut bare_calls(double.addr(), &names[0])?));
    let mut is_kept = true;
    for (label, readers) in
        [("one after the other", Readers::One), ("20 readers at once", Readers::Each)]
    {
        let mut wall: Vec<Duration> = Vec::new();
        let mut cpu: Vec<Duration> = Vec::new();
        // The first run warms the page cache and is not counted.
        for run in 0..=RUNS {
            double.calls().clear();
            let (took, used) = cold_start(&double.url(), &names, readers)?;
            assert_eq!(double.calls().total(), SECRETS as u64, "one call for each secret");
            if run > 0 {
                wall.push(took);
                cpu.push(used);
            }
        }
        println!("{label:<20} wall {}   cpu {}", spread(&mut wall), spread(&mut cpu));
        is_kept &= wall[wall.len() / 2] <= PROMISE;
    }
    println!("at most {PROMISE:?} in the median: {}", if is_kept { "kept" } else { "BROKEN" });
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Times calls to upstream over a bare socket: what of the figures is not Sidekey's.
#[expect(clippy::disallowed_methods, reason = "a bench times")]
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

/// Starts the binary, reads every secret, and returns the time that took and the processor time the
/// binary used for it.
#[expect(clippy::disallowed_methods, reason = "a bench times")]
fn cold_start(
    endpoint: &str,
    names: &[String],
    readers: Readers,
) -> io::Result<(Duration, Duration)> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let started = Instant::now();
    let mut agent = Agent(
        Command::new(env!("CARGO_BIN_EXE_sidekey"))
            .arg("serve")
            .env_clear()
            .env("SIDEKEY_PORT", port.to_string())
            .env("SIDEKEY_ENDPOINT", endpoint)
            .env("SIDEKEY_REGION", "eu-north-1")
            .env("SIDEKEY_SECRETS", names.join(","))
            .env("SIDEKEY_TOKEN", TOKEN)
            .env("SIDEKEY_LOG", "error")
            .env("AWS_ACCESS_KEY_ID", "ASIABENCH00000000000")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_SESSION_TOKEN", "bench")
            .stdin(Stdio::null())
            .spawn()?,
    );
    // One probe waits for the bind: twenty in a loop would take the processor from the agent.
    let mut socket = connect(address, started);
    match readers {
        Readers::One => names.iter().try_for_each(|name| read(&mut socket, name))?,
        Readers::Each => thread::scope(|scope| {
            let reading = |name| move || read(&mut TcpStream::connect(address)?, name);
            let readers: Vec<_> = names.iter().map(|name| scope.spawn(reading(name))).collect();
            readers
                .into_iter()
                .try_for_each(|reader| reader.join().expect("a reader does not panic"))
        })?,
    }
    let took = started.elapsed();
    let used = agent.processor_time()?;
    agent.0.kill()?;
    agent.0.wait()?;
    Ok((took, used))
}

/// A running binary; it ends with the bench, however that ends.
struct Agent(Child);

impl Agent {
    /// Returns the processor time used so far, as the scheduler counts it.
    fn processor_time(&mut self) -> io::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", self.0.id()))?;
        let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default();
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects as soon as the address is held.
fn connect(address: SocketAddr, started: Instant) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(socket) => return socket,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "no agent: {error}"),
        }
        #[expect(clippy::disallowed_methods, reason = "there is nothing to wait on before a bind")]
        thread::sleep(Duration::from_micros(100));
    }
}

/// Reads one secret on a kept connection.
fn read(socket: &mut TcpStream, name: &str) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let request = format!(
        "GET /secretsmanager/get?secretId={name}&field=password HTTP/1.1\r\nhost: localhost\r\n\
         x-aws-parameters-secrets-token: {TOKEN}\r\n\r\n"
    );
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // The body is the secret's name, and nothing stands behind it.
    while !answer.ends_with(name.as_bytes()) {
        match socket.read(&mut buffer)? {
            0 => return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
            n => answer.extend_from_slice(&buffer[..n]),
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn spread(spans: &mut [Duration]) -> String {
    spans.sort_unstable();
    let ms = |span: Duration| span.as_secs_f64() * 1000.0;
    let (min, median, max) = (spans[0], spans[spans.len() / 2], spans[spans.len() - 1]);
    format!("min {:5.1}  median {:5.1}  max {:5.1} ms", ms(min), ms(median), ms(max))
}
