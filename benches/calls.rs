//! Measures the time that the agent adds to a call: a request that it passes on to the server of a
//! route over TLS, with the credential added.
//!
//! Compares the agent with a bare forwarding loop, which uses the same TLS library, copies the bytes
//! of each request to the server, and copies the bytes of each answer back. The added time is the
//! median of calls through the agent (or the loop), minus the median of direct calls over TLS.
//!
//! The caller and the server of the route run on one CPU. The agent and the loop first run on a CPU of
//! their own, as on most machines, and then on the same CPU as the caller, as on Lambda with little
//! memory. The promise is about the first.
//!
//! ```text
//! cargo bench --bench calls
//! ```

#[path = "support/pinning.rs"]
mod pinning;
#[path = "support/tls.rs"]
mod tls;

use fake_aws::Fake;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tls::TlsFront;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The maximum ratio of the time that the agent adds to the time that the loop adds, if both have a CPU
/// of their own.
const RATIO_MAX: f64 = 1.3;

const CALLS: usize = 3000;
const WARM_UP: usize = 300;
const ROUNDS: usize = 5;

const TOKEN: &str = "bench";

/// The argument with which this program runs as the bare forwarding loop.
const FORWARD: &str = "--forward";

/// The answer of the server, with the size of a short answer in JSON.
const ANSWER_BYTES: usize = 1024;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == FORWARD) {
        forward(&arguments[at + 1], Path::new(&arguments[at + 2]))?;
        return Ok(ExitCode::SUCCESS);
    }
    compare()
}

#[expect(clippy::disallowed_methods, reason = "the fake AWS server uses the real time")]
fn compare() -> io::Result<ExitCode> {
    let runtime = pinning::runtime()?;
    let folder = env::temp_dir();
    let (fake, front) = runtime.block_on(async {
        let fake = Fake::start(Arc::new(SystemTime::now)).await?;
        let server = serve().await?;
        Ok::<_, io::Error>((fake, TlsFront::start(server, &folder).await?))
    })?;
    let secret = r#"{"api_key":"sk-bench-0123456789abcdef"}"#;
    fake.secrets().create("bench/key", secret).map_err(io::Error::other)?;
    let config = folder.join(format!("calls-{}.toml", std::process::id()));
    let route = format!(
        "[[route]]\nname = \"bench\"\nupstream = \"{}\"\nsecret = \"bench/key\"\nbearer = \"#api_key\"\n",
        front.url()
    );
    fs::write(&config, route)?;
    let (agent, agent_at) = start_agent(&fake, &config, front.bundle())?;
    let (forwarder, loop_at) = start_loop(&front)?;
    let call = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Aws-Parameters-Secrets-Token: {TOKEN}\r\n\r\n"
        )
    };
    let processors = pinning::processors();
    // This thread sends the calls. The server of the route runs on the same CPU.
    pinning::pin_to_last_processor();
    let mut direct = connect_tls(&front)?;
    let mut through_loop = connect(loop_at)?;
    let mut through_agent = connect(agent_at)?;
    writeln!(io::stdout(), "median of {CALLS} calls, in microseconds")?;
    let mut measure = |layout: &str, processor: usize| {
        for program in [&agent, &forwarder] {
            pinning::pin_program(program, processor)?;
        }
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let base = median(&mut direct, &call("/x"))?;
            let of_loop = median(&mut through_loop, &call("/x"))?;
            let of_agent = median(&mut through_agent, &call("/to/bench/x"))?;
            let micros = |span: Duration| span.as_secs_f64() * 1e6;
            let added = |span: Duration| micros(span) - micros(base);
            let ratio = added(of_agent) / added(of_loop).max(1.0);
            writeln!(
                io::stdout(),
                "{layout}: direct {:6.1}   loop +{:6.1}   agent +{:6.1}   ratio {ratio:.2}",
                micros(base),
                added(of_loop),
                added(of_agent),
            )?;
            ratios.push(ratio);
        }
        ratios.sort_by(f64::total_cmp);
        Ok::<f64, io::Error>(ratios[ROUNDS / 2])
    };
    let of_own = match processors[..] {
        [first, .., _] => Some(measure("own CPU", first)?),
        _ => None,
    };
    let last = processors.last().ok_or(io::ErrorKind::Unsupported)?;
    let of_shared = measure("same CPU", *last)?;
    for mut child in [agent, forwarder] {
        child.kill()?;
        child.wait()?;
    }
    fs::remove_file(config)?;
    writeln!(io::stdout(), "ratio of added times on the same CPU as the caller {of_shared:.2}")?;
    let Some(ratio) = of_own else {
        writeln!(io::stdout(), "the promise needs two CPUs, and this machine has one")?;
        return Ok(ExitCode::SUCCESS);
    };
    let is_kept = ratio <= RATIO_MAX;
    let verdict = if is_kept { "kept" } else { "BROKEN" };
    writeln!(
        io::stdout(),
        "ratio of added times on a CPU of its own {ratio:.2}, promised {RATIO_MAX}: {verdict}"
    )?;
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the server of the route, which answers each request with the same bytes.
async fn serve() -> io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let body = "x".repeat(ANSWER_BYTES);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_BYTES}\r\n\r\n{body}");
    let answer: Arc<[u8]> = answer.into_bytes().into();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = socket.set_nodelay(true);
                let mut received = Vec::new();
                while let Ok(1..) = socket.read_buf(&mut received).await {
                    if received.ends_with(b"\r\n\r\n") {
                        received.clear();
                        if socket.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(address)
}

fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn start_agent(fake: &Fake, config: &Path, bundle: &Path) -> io::Result<(Child, SocketAddr)> {
    let address = free_port()?;
    let child = Command::new(env!("CARGO_BIN_EXE_sidekey"))
        .arg("serve")
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", "ASIABENCH00000000000")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .env("AWS_REGION", "eu-north-1")
        .env("SIDEKEY_PORT", address.port().to_string())
        .env("SIDEKEY_ENDPOINT", fake.url())
        .env("SIDEKEY_TOKEN", TOKEN)
        .env("SIDEKEY_CONFIG", config)
        .env("SIDEKEY_SECRETS", "bench/key")
        .env("SIDEKEY_LOG", "error")
        .env("AWS_CA_BUNDLE", bundle)
        .stdin(Stdio::null())
        .spawn()?;
    Ok((child, address))
}

fn start_loop(front: &TlsFront) -> io::Result<(Child, SocketAddr)> {
    let address = free_port()?;
    let child = Command::new(env::current_exe()?)
        .args([FORWARD, &format!("{address} {}", front.url())])
        .arg(front.bundle())
        .stdin(Stdio::null())
        .spawn()?;
    Ok((child, address))
}

/// Connects to a program that is starting.
#[expect(clippy::disallowed_methods, reason = "a program does not report when it listens")]
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) if started.elapsed() > Duration::from_secs(60) => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn client_config(bundle: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Returns the address in a URL such as `https://127.0.0.1:9000`.
fn address_of(url: &str) -> io::Result<SocketAddr> {
    url.trim_start_matches("https://").parse().map_err(io::Error::other)
}

fn connect_tls(front: &TlsFront) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let address = address_of(&front.url())?;
    let name = ServerName::from(address.ip());
    let connection = ClientConnection::new(client_config(front.bundle())?, name);
    Ok(StreamOwned::new(connection.map_err(io::Error::other)?, connect(address)?))
}

/// Sends calls one after the other, and returns the median of their times.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn median(socket: &mut (impl Read + Write), call: &str) -> io::Result<Duration> {
    let mut times = Vec::with_capacity(CALLS);
    let mut received = vec![0; 64 * 1024];
    for number in 0..WARM_UP + CALLS {
        let started = Instant::now();
        socket.write_all(call.as_bytes())?;
        let mut length = 0;
        while response_length(&received[..length]).is_none_or(|total| length < total) {
            match socket.read(&mut received[length..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => length += bytes,
            }
        }
        if !received.starts_with(b"HTTP/1.1 200") {
            let text = String::from_utf8_lossy(&received[..length]).into_owned();
            return Err(io::Error::other(text));
        }
        if number >= WARM_UP {
            times.push(started.elapsed());
        }
    }
    times.sort();
    Ok(times[CALLS / 2])
}

/// Returns the length of a response in bytes, or `None` if its head is not complete yet.
fn response_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let text = str::from_utf8(&bytes[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some(head + length.unwrap_or(0))
}

/// Runs the bare forwarding loop. `addresses` contains the address at which the loop listens, and the
/// URL of the server.
fn forward(addresses: &str, bundle: &Path) -> io::Result<()> {
    let (own, server) = addresses.split_once(' ').ok_or(io::ErrorKind::InvalidInput)?;
    let (own, server): (SocketAddr, _) =
        (own.parse().map_err(io::Error::other)?, address_of(server)?);
    let connector = tokio_rustls::TlsConnector::from(client_config(bundle)?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(own).await?;
        let (mut client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        let socket = tokio::net::TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        let mut secured = connector.connect(ServerName::from(server.ip()), socket).await?;
        tokio::io::copy_bidirectional(&mut client, &mut secured).await?;
        Ok(())
    })
}
