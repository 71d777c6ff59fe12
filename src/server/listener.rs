//! Holds the addresses at which one asks, and accepts.

use super::Server;
use super::connection;
use super::gate::Door;
use crate::telemetry::limited::Limited;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections beyond the limit are open at a time, to be told so. More wait in the
/// kernel's queue.
const OVER_LIMIT_MAX: usize = 32;

/// How many connections are served at `SIDEKEY_METRICS_LISTEN`: a scraper or two, and probes.
const PROBES_MAX: usize = 16;

/// How long accepting pauses when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port on 127.0.0.1 and ::1; 0 takes a free one.
    pub port: u16,
    /// A Unix socket.
    pub socket: Option<PathBuf>,
    /// Where other hosts' probes and scrapers ask.
    pub probes: Option<SocketAddr>,
    /// The most connections that are served.
    pub connections_max: usize,
}

/// Why an address cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has it.
    #[error("{0} is taken by another process; stop it, or set {1}")]
    Taken(String, &'static str),
    /// The Unix socket's folder is open to others.
    #[error("{0} is open to other users; SIDEKEY_SOCKET needs a folder of its own with mode 0700")]
    SharedFolder(PathBuf),
    /// The Unix socket's path is something else.
    #[error("{0} exists and is no socket")]
    NoSocket(PathBuf),
    /// Anything else.
    #[error("cannot listen on {0}")]
    Io(String, #[source] io::Error),
}

/// The addresses that are held.
#[derive(Debug)]
pub struct Listeners {
    loopback: Vec<TcpListener>,
    socket: Option<(UnixListener, SocketFile)>,
    probes: Option<TcpListener>,
    /// Whether another process holds `[::1]` at our port.
    pub is_v6_taken: bool,
    connections_max: usize,
}

impl Listeners {
    /// Takes the addresses.
    ///
    /// # Errors
    ///
    /// Where one cannot be held.
    pub async fn bind(config: &Config) -> Result<Self, BindError> {
        let (held, failed) = Self::bind_possible(config).await;
        failed.into_iter().next().map_or(Ok(held), Err)
    }

    /// Takes the addresses that can be held, and says why the others cannot.
    ///
    /// `localhost` means ::1 first to some clients, so both are held. Where there is no IPv6 that
    /// is fine; where another process has ::1 it is told by [`is_v6_taken`](Self::is_v6_taken).
    /// Where another has 127.0.0.1, ::1 is left alone too: half of `localhost` would serve some
    /// clients and puzzle the rest.
    pub async fn bind_possible(config: &Config) -> (Self, Vec<BindError>) {
        let mut failed = Vec::new();
        let mut held = Self {
            loopback: Vec::new(),
            socket: None,
            probes: None,
            is_v6_taken: false,
            connections_max: config.connections_max,
        };
        match tcp((Ipv4Addr::LOCALHOST, config.port).into(), "SIDEKEY_PORT").await {
            Ok(v4) => held.hold_loopback(v4, config.port).await,
            Err(error) => failed.push(error),
        }
        match config.socket.as_deref().map(unix).transpose() {
            Ok(socket) => held.socket = socket,
            Err(error) => failed.push(error),
        }
        if let Some(address) = config.probes {
            match tcp(address, "SIDEKEY_METRICS_LISTEN").await {
                Ok(probes) => held.probes = Some(probes),
                Err(error) => failed.push(error),
            }
        }
        (held, failed)
    }

    /// Holds 127.0.0.1, and ::1 at the same port where that is possible.
    async fn hold_loopback(&mut self, v4: TcpListener, port: u16) {
        let port = v4.local_addr().map_or(port, |address| address.port());
        self.loopback.push(v4);
        match tcp((Ipv6Addr::LOCALHOST, port).into(), "SIDEKEY_PORT").await {
            Ok(v6) => self.loopback.push(v6),
            Err(BindError::Taken(..)) => self.is_v6_taken = true,
            Err(error) => tracing::debug!(%error, "no IPv6 loopback"),
        }
    }

    /// Returns whether secrets can be read at any of the addresses.
    pub fn can_be_read_at(&self) -> bool {
        !self.loopback.is_empty() || self.socket.is_some()
    }

    /// Returns the loopback addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.loopback.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Returns the address at which probes ask.
    pub fn probes_address(&self) -> Option<SocketAddr> {
        self.probes.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Starts accepting, as tasks of `tasks` that end when `stop` is cancelled: first those that
    /// accept, then each connection once the request in hand is answered.
    pub fn serve(self, server: &Arc<Server>, tasks: &TaskTracker, stop: &CancellationToken) {
        let accepting = |connections_max: usize| Accepting {
            server: server.clone(),
            places: Arc::new(Semaphore::new(connections_max)),
            open: Arc::new(Semaphore::new(connections_max.saturating_add(OVER_LIMIT_MAX))),
            tasks: tasks.clone(),
            stop: stop.clone(),
            failures_logged: Arc::default(),
        };
        let readers = accepting(self.connections_max);
        for listener in self.loopback {
            tasks.spawn(readers.clone().run(Door::Loopback, listener));
        }
        if let Some(listener) = self.probes {
            // Other hosts cannot take a reader's place.
            tasks.spawn(accepting(PROBES_MAX).run(Door::Probes, listener));
        }
        if let Some((listener, file)) = self.socket {
            tasks.spawn(async move {
                readers.run(Door::Socket, listener).await;
                drop(file);
            });
        }
    }
}

/// What accepts: the same for every address.
#[derive(Clone)]
struct Accepting {
    server: Arc<Server>,
    places: Arc<Semaphore>,
    open: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    failures_logged: Arc<Limited>,
}

impl Accepting {
    async fn run(self, door: Door, listener: impl Accept) {
        loop {
            let open = self.open.clone().acquire_owned();
            let (permit, accepted) = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = async { (open.await, listener.accept().await) } => accepted,
            };
            match accepted {
                Ok(socket) => {
                    let serving = connection::serve(
                        self.server.clone(),
                        self.places.clone(),
                        door,
                        socket,
                        self.stop.clone(),
                    );
                    self.tasks.spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                    // A burst of connections takes turns with calls that are being sent.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    let now = self.server.cache.clock().now();
                    if let Some(left_out) = self.failures_logged.pass(now) {
                        tracing::warn!(%error, left_out, "a connection could not be accepted");
                    }
                    self.server.cache.clock().sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A listener of either kind.
trait Accept: Send + 'static {
    type Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Socket>> + Send;
}

impl Accept for TcpListener {
    type Socket = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Socket> {
        let (socket, _) = TcpListener::accept(self).await?;
        // Answers are one write each: waiting for more to send would only delay them.
        socket.set_nodelay(true)?;
        Ok(socket)
    }
}

impl Accept for UnixListener {
    type Socket = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Socket> {
        Ok(UnixListener::accept(self).await?.0)
    }
}

async fn tcp(address: SocketAddr, variable: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address.to_string(), variable),
        _ => BindError::Io(address.to_string(), error),
    })
}

/// Removes the Unix socket's file when the last connection to it may have been made.
struct SocketFile(PathBuf);

impl fmt::Debug for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Holds a Unix socket of mode 0600 in a folder of mode 0700, which is made if it is missing. A
/// socket that an earlier process left behind is removed, one that somebody listens on is not.
fn unix(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let io_error = |error| BindError::Io(path.display().to_string(), error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    if !folder.exists() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error)?;
    }
    if folder.metadata().map_err(io_error)?.mode() & 0o077 != 0 {
        return Err(BindError::SharedFolder(folder.to_owned()));
    }
    if let Ok(existing) = path.symlink_metadata() {
        use std::os::unix::fs::FileTypeExt;
        if !existing.file_type().is_socket() {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(BindError::Taken(path.display().to_string(), "SIDEKEY_SOCKET"));
        }
        std::fs::remove_file(path).map_err(io_error)?;
    }
    let listener = UnixListener::bind(path).map_err(io_error)?;
    let file = SocketFile(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io_error)?;
    Ok((listener, file))
}
