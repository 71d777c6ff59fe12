//! Tests that hostile requests neither end the agent nor stop its cached reads, on a machine with
//! 64 MiB of memory and 1/14 of a CPU.
//!
//! Each hostile input is sent to its own agent. The agent is the program `sidekey` in a control
//! group, which limits its memory and its CPU time.

use crate::cgroup::{Bounds, Cgroup};
use crate::clients::{MissingTool, killed_with_test};
use crate::port::Port;
use crate::support::agent::{Setup, TOKEN, TOKEN_HEADER, read_request};
use crate::support::client::{Connection, get, request};
use crate::support::clock::ManualClock;
use crate::support::program::{PATH, SIDEKEY};
use crate::support::{TempFolder, eventually, fake, with_timeout};
use fake_aws::Fake;
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::task::{JoinSet, LocalSet};

const BOUNDS: Bounds = Bounds { cpu_divisor: 14, memory_bytes: Some(64 * 1024 * 1024) };

/// The name of the cached secret that the test reads all the time.
const NAME: &str = "app/db";

/// The pause between two reads. Without the pause, the reads would take the CPU time that the agent
/// needs for the hostile input.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// The number of bytes that fill a pipe without a reader.
const PIPE_BYTES: usize = 64 * 1024;

/// A future that sends one hostile input to the agent.
type Sending = Pin<Box<dyn Future<Output = ()>>>;

/// A hostile input: requests that could end the agent, or exhaust its memory or CPU time.
struct Hostile {
    name: &'static str,
    vars: &'static [(&'static str, &'static str)],
    log: Log,
    /// Sends the hostile input. The future ends when the agent has handled the input.
    send: fn(Arc<Machine>) -> Sending,
}

/// The destination of the agent's log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    File,
    /// A full pipe without a reader.
    FullPipe,
}

const ALLOWED: &[(&str, &str)] = &[("SIDEKEY_ALLOW", "app/*")];

const HOSTILE: &[Hostile] = &[
    Hostile {
        name: "nested objects",
        vars: ALLOWED,
        log: Log::File,
        send: |machine| Box::pin(nested_objects(machine)),
    },
    Hostile {
        name: "messages that refer to secrets that do not exist",
        vars: ALLOWED,
        log: Log::File,
        send: |machine| Box::pin(invented_secrets(machine)),
    },
    Hostile {
        name: "a message that names a large secret many times",
        vars: ALLOWED,
        log: Log::File,
        send: |machine| Box::pin(large_secret_many_times(machine)),
    },
    Hostile {
        name: "a log that nobody drains",
        vars: &[("SIDEKEY_ALLOW", "app/*"), ("SIDEKEY_LOG", "debug")],
        log: Log::FullPipe,
        send: |machine| Box::pin(invented_secrets(machine)),
    },
    Hostile {
        name: "names that nearly match a pattern with many wildcards",
        vars: &[("SIDEKEY_ALLOW", "app/*,app-*-*-*/db")],
        log: Log::File,
        send: |machine| Box::pin(near_matches(machine)),
    },
    Hostile {
        name: "idle connections",
        vars: ALLOWED,
        log: Log::File,
        send: |machine| Box::pin(idle_connections(machine)),
    },
    Hostile {
        name: "large secrets, read in two ways",
        vars: ALLOWED,
        log: Log::File,
        send: |machine| Box::pin(large_secrets(machine)),
    },
];

/// The program `sidekey` in a control group. The program ends before the group is removed.
#[derive(Debug)]
struct Machine {
    program: Mutex<Child>,
    group: Cgroup,
    fake: Fake,
    port: Port,
    probes: Port,
    folder: TempFolder,
    _log: Option<io::PipeReader>,
}

impl Machine {
    async fn start(group: Cgroup, hostile: &Hostile) -> Self {
        let clock = ManualClock::new();
        let fake = fake(&clock).await;
        fake.secrets().create(NAME, "hunter2").expect("the fake AWS server must create the secret");
        let (port, probes, folder) = (Port::reserve(), Port::reserve(), TempFolder::new());
        let mut setup = Setup::for_fake(&fake, &clock)
            .with("SIDEKEY_PORT", &port)
            .with("SIDEKEY_METRICS_LISTEN", format!("127.0.0.1:{probes}"))
            .with("SIDEKEY_SECRETS", NAME)
            .with("SIDEKEY_UPSTREAM_TIMEOUT", "30s")
            .with("SIDEKEY_READER_WAIT", "30s")
            .with("SIDEKEY_TTL", "24h");
        for (name, value) in hostile.vars {
            setup = setup.with(name, value);
        }
        let (stderr, log) = match hostile.log {
            Log::File => {
                let file = File::create(folder.path().join("log"))
                    .expect("the test must be able to write the file");
                (Stdio::from(file), None)
            }
            Log::FullPipe => {
                let (reader, writer) = full_pipe();
                (Stdio::from(writer), Some(reader))
            }
        };
        let mut command = group.command(killed_with_test("/bin/sh"), SIDEKEY);
        command.arg("serve").env_clear().env("PATH", PATH).envs(setup.vars());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut command = tokio::process::Command::from(command);
        let program =
            command.kill_on_drop(true).spawn().expect("the test must be able to start the program");
        let program = Mutex::new(program);
        let machine = Self { program, group, fake, port, probes, folder, _log: log };
        eventually("the agent listens", async || {
            machine.assert_runs();
            TcpStream::connect(machine.address()).await.ok()
        })
        .await;
        machine.read(&mut machine.connect().await).await;
        machine
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }

    fn probes_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.probes.number()).into()
    }

    async fn connect(&self) -> Connection {
        Connection::open(self.address()).await
    }

    async fn read(&self, connection: &mut Connection) {
        let is_sent = connection.try_send(read_request(NAME)).await.is_ok();
        let answer = if is_sent { connection.try_receive().await } else { None };
        let Some(answer) = answer else {
            self.explain("the agent closed the connection of a reader");
        };
        assert_eq!(answer.value(), "hunter2");
    }

    #[expect(clippy::disallowed_methods, reason = "the child process runs in real time")]
    async fn read_forever(&self) {
        let mut connection = self.connect().await;
        loop {
            self.read(&mut connection).await;
            tokio::time::sleep(READ_PAUSE).await;
        }
    }

    fn assert_runs(&self) {
        let status =
            self.program.lock().expect("no thread may panic while it holds the lock").try_wait();
        if status.expect("the test must be able to wait for the child process").is_some() {
            self.explain("the agent exited");
        }
    }

    /// Panics with the text `what`, the memory statistics of the control group, and the last lines
    /// of the log.
    fn explain(&self, what: &str) -> ! {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        let (kills, peak) = (self.group.memory_kills(), self.group.memory_peak_bytes());
        panic!(
            "{what}; processes killed for lack of memory: {kills}, peak {peak:?} bytes, log {lines:?}"
        );
    }

    async fn probe(&self, path: &str) -> Option<u16> {
        self.exchange_at(self.probes_address(), &get(path, &[])).await
    }

    async fn exchange(&self, text: &str) -> Option<u16> {
        self.exchange_at(self.address(), text).await
    }

    /// Sends a request, and returns the status of the response. Returns `None` if the agent closes
    /// the connection without a response.
    async fn exchange_at(&self, address: SocketAddr, text: &str) -> Option<u16> {
        let socket = with_timeout("a connection", TcpStream::connect(address)).await.ok()?;
        let mut socket = Connection::from_socket(socket);
        socket.try_send(text).await.ok()?;
        socket.try_receive().await.map(|answer| answer.status)
    }

    /// Sends `body` to `/resolve` in `times` requests at the same time.
    async fn resolve(self: Arc<Self>, body: String, times: usize) {
        let text: Arc<str> = request("POST", "/resolve", &[TOKEN_HEADER], &body).into();
        let mut senders = JoinSet::new();
        for _ in 0..times {
            let (machine, text) = (self.clone(), text.clone());
            senders.spawn(async move { machine.exchange(&text).await });
        }
        senders.join_all().await;
    }
}

/// Returns a pipe whose buffer is full, so that further writes block.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().expect("the test must be able to create a pipe");
    let mut filling =
        writer.try_clone().expect("the test must be able to clone the handle of the file");
    // A thread fills the pipe, because a pipe may hold fewer bytes and then blocks. The thread ends
    // with the pipe's reader.
    thread::spawn(move || filling.write_all(&[b'\n'; PIPE_BYTES]));
    (reader, writer)
}

/// Returns an SQS event with one message for each list of references to secrets.
fn event(messages: &[&[&str]]) -> String {
    let message = |references: &&[&str]| {
        let channels = references.iter().enumerate();
        let channels: Map<String, Value> = channels
            .map(|(number, name)| (format!("c{number}"), json!({ "credentials_id": name })))
            .collect();
        json!({ "messageId": "m", "body": json!({ "channel_config": channels }).to_string() })
    };
    json!({ "Records": messages.iter().map(message).collect::<Vec<_>>() }).to_string()
}

/// Sends 1 MiB of nested JSON objects, for which a simple parser would need a hundred times as much
/// memory.
async fn nested_objects(machine: Arc<Machine>) {
    const LEVEL: &str = "{\"\":";
    const LEVELS: usize = 1_000_000 / (LEVEL.len() + 1);
    const DEPTH: usize = 100;
    let chain = |depth| format!("{}0{}", LEVEL.repeat(depth), "}".repeat(depth));
    let chains = vec![chain(DEPTH); LEVELS / DEPTH].join(",");
    for body in [chain(LEVELS), format!("{{\"conversation\":[{chains}]}}")] {
        machine.clone().resolve(body.clone(), 1).await;
        machine.clone().resolve(body, 6).await;
    }
}

/// Requests 1,000 secrets that do not exist: first in one message, which is too many, and then in
/// ten messages.
async fn invented_secrets(machine: Arc<Machine>) {
    let names: Vec<String> = (0..1_000).map(|number| format!("app/invented-{number}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    machine.clone().resolve(event(&[&names]), 1).await;
    machine.resolve(event(&names.chunks(100).collect::<Vec<_>>()), 1).await;
}

/// Requests a secret of 18 KB 900 times: first in one message, which is too many, and then in
/// eighteen messages.
async fn large_secret_many_times(machine: Arc<Machine>) {
    machine
        .fake
        .secrets()
        .create("app/large", "x".repeat(18_000))
        .expect("the fake AWS server must create the secret");
    for body in [event(&[&["app/large"; 900]]), event(&[&["app/large"; 50][..]; 18])] {
        machine.clone().resolve(body.clone(), 1).await;
        machine.clone().resolve(body, 6).await;
    }
}

/// Requests 300 long names that nearly match a pattern with three wildcards, which is slow to
/// compare.
async fn near_matches(machine: Arc<Machine>) {
    let stem = format!("app{}", "-a".repeat(250));
    let names: Vec<String> = (0..300).map(|number| format!("{stem}/{number}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    machine.resolve(event(&names.chunks(60).collect::<Vec<_>>()), 1).await;
}

/// Opens hundreds of connections without a token, half of which send nothing. The agent must still
/// answer a new read and a new probe.
async fn idle_connections(machine: Arc<Machine>) {
    let probe = get("/ping", &[]);
    let mut idle = Vec::new();
    for number in 0..400 {
        for address in [machine.address(), machine.probes_address()] {
            let mut connection = Connection::open(address).await;
            if number % 2 == 0 {
                // The agent may already have closed this connection.
                let _ = connection.try_send(&probe).await;
            }
            idle.push(connection);
        }
    }
    let read = read_request(NAME);
    eventually("a read on a new connection succeeds", async || {
        machine.exchange(&read).await.filter(|status| *status == 200)
    })
    .await;
    for path in ["/ping", "/ready", "/metrics"] {
        eventually(path, async || machine.probe(path).await.filter(|status| *status == 200)).await;
    }
}

/// Creates and reads 1,000 secrets of 64 KiB each.
async fn large_secrets(machine: Arc<Machine>) {
    let mut connection = None;
    for number in 0..1_000 {
        let name = format!("app/large-{number}");
        machine
            .fake
            .secrets()
            .create(&name, "x".repeat(65_536))
            .expect("the fake AWS server must create the secret");
        let call = request(
            "POST",
            "/",
            &[
                ("X-Amz-Security-Token", TOKEN),
                ("X-Amz-Target", "secretsmanager.GetSecretValue"),
                ("Content-Type", "application/x-amz-json-1.1"),
            ],
            &json!({ "SecretId": name }).to_string(),
        );
        for text in [read_request(&name), call] {
            // The agent may refuse such a read and close the connection.
            let mut open = match connection.take() {
                Some(open) => open,
                None => machine.connect().await,
            };
            if open.try_send(text).await.is_ok() && open.try_receive().await.is_some() {
                connection = Some(open);
            }
            machine.assert_runs();
        }
    }
}

/// Sends one hostile input while another task reads the cached secret. Then reads the secret on a
/// new connection.
async fn withstand(hostile: &'static Hostile, group: Cgroup) {
    let machine = Arc::new(Machine::start(group, hostile).await);
    tokio::select! {
        () = (hostile.send)(machine.clone()) => {}
        () = machine.read_forever() => unreachable!("the task that reads must not end"),
    }
    machine.read(&mut machine.connect().await).await;
    assert_eq!(
        machine.group.memory_kills(),
        0,
        "the kernel must not kill a process for lack of memory"
    );
}

/// Sends all hostile inputs at the same time, each to its own agent.
#[tokio::test]
async fn hostile_input_neither_ends_the_agent_nor_stops_cached_reads() {
    let (machines, mut running) = (LocalSet::new(), Vec::new());
    for hostile in HOSTILE {
        match Cgroup::new(BOUNDS) {
            Ok(group) => {
                running.push((hostile.name, machines.spawn_local(withstand(hostile, group))));
            }
            Err(error) => return MissingTool::new(error).context("a control group").skip_or_fail(),
        }
    }
    machines.await;
    let mut failed = Vec::new();
    for (name, one) in running {
        if let Err(error) = one.await {
            failed.push(format!("{name}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
