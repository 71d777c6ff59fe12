//! Runs an agent and its reader on one thread, so that a measurement of this thread contains only
//! their work.

use fake_aws::Fake;
use sidekey::agent::{Agent, Listeners};
use sidekey::clock::SystemClock;
use sidekey::config::{self, Host, Loaded};
use sidekey::telemetry::metrics::Metrics;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

const NAME: &str = "bench/secret";
const TOKEN: &str = "bench";

/// The number of bytes at the end of a response that the reader compares, to find out whether the
/// response is complete.
const TAIL: usize = 16;

/// A running agent with one cached secret, and an open connection to the agent.
pub(crate) struct Pair {
    runtime: Runtime,
    reader: Reader,
    /// The fake AWS server and the agent, which stop when this value is dropped.
    _running: (Fake, Agent),
}

struct Reader {
    socket: TcpStream,
    request: Vec<u8>,
    tail: Vec<u8>,
    buffer: Vec<u8>,
}

impl Pair {
    /// Starts an agent and a reader, and reads the secret once.
    ///
    /// # Errors
    ///
    /// If a socket cannot be created.
    #[expect(clippy::disallowed_methods, reason = "the fake AWS server uses the real time")]
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (running, reader) = runtime.block_on(async {
            let fake = Fake::start(Arc::new(SystemTime::now)).await?;
            fake.secrets()
                .create(NAME, "{\"password\":\"of the bench\"}")
                .expect("the fake AWS server must create the secret");
            let agent = agent_of(&fake).await?;
            agent.prefetched().await;
            let mut reader = Reader::connect(&agent).await?;
            let answer = reader.first().await?;
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            reader.tail = answer[answer.len() - TAIL..].to_vec();
            io::Result::Ok(((fake, agent), reader))
        })?;
        Ok(Self { runtime, reader, _running: running })
    }

    /// Reads the secret `reads` times in sequence.
    ///
    /// # Errors
    ///
    /// If the connection to the agent breaks.
    pub(crate) fn read(&mut self, reads: u64) -> io::Result<()> {
        let reader = &mut self.reader;
        self.runtime.block_on(async {
            for _ in 0..reads {
                reader.read().await?;
            }
            Ok(())
        })
    }
}

impl Reader {
    async fn connect(agent: &Agent) -> io::Result<Self> {
        let socket = TcpStream::connect(agent.addresses()[0]).await?;
        socket.set_nodelay(true)?;
        let request = format!(
            "GET /secretsmanager/get?secretId={NAME} HTTP/1.1\r\nhost: localhost\r\n\
             x-aws-parameters-secrets-token: {TOKEN}\r\n\r\n"
        );
        Ok(Self { socket, request: request.into_bytes(), tail: Vec::new(), buffer: vec![0; 8192] })
    }

    /// Reads the secret for the first time, and returns the response. The response is small, so it
    /// arrives in one piece.
    async fn first(&mut self) -> io::Result<Vec<u8>> {
        self.socket.write_all(&self.request).await?;
        let got = self.socket.read(&mut self.buffer).await?;
        Ok(self.buffer[..got].to_vec())
    }

    /// Reads the secret once, without allocating memory in the reader.
    async fn read(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.request).await?;
        let mut got = 0;
        while got < TAIL || !self.buffer[..got].ends_with(&self.tail) {
            match self.socket.read(&mut self.buffer[got..]).await? {
                0 => return Err(io::Error::other("the response differs from the first response")),
                more => got += more,
            }
        }
        Ok(())
    }
}

async fn agent_of(fake: &Fake) -> io::Result<Agent> {
    let vars: BTreeMap<String, String> = [
        ("SIDEKEY_PORT", "0"),
        ("SIDEKEY_ENDPOINT", &*fake.url()),
        ("SIDEKEY_REGION", "eu-north-1"),
        ("SIDEKEY_SECRETS", NAME),
        ("SIDEKEY_TOKEN", TOKEN),
        // The long TTL prevents refreshes during the measurement.
        ("SIDEKEY_TTL", "24h"),
        ("AWS_ACCESS_KEY_ID", "AKIABENCH"),
        ("AWS_SECRET_ACCESS_KEY", "bench"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let Loaded { config, mistakes, .. } = config::load(&vars, Host::Standalone);
    assert!(mistakes.is_empty(), "{mistakes}");
    let listeners = Listeners::bind(&config.listen).await.map_err(io::Error::other)?;
    let (metrics, clock) = (Arc::new(Metrics::new()), Arc::new(SystemClock::new()));
    Agent::start(listeners, config, metrics, clock).await.map_err(io::Error::other)
}
