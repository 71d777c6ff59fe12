//! Holds the addresses at which one asks, and accepts.

use super::Server;
use super::connection;
use super::gate::Door;
use super::places::Places;
use crate::cache::flight::FLIGHTS_MAX;
use crate::telemetry::limited::Limited;
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections of readers are open that have not shown a good token. Beyond it the one that
/// has waited longest is closed.
const WAITING_MAX: usize = 128;

/// How many connections are open at `SIDEKEY_METRICS_LISTEN`, where none is kept: a scraper or two, and
/// probes. Beyond it the one that has waited longest is closed.
const PROBES_MAX: usize = 32;

/// How long accepting pauses when the system has no more descriptors, and no connection to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many descriptors the agent keeps for itself: a socket for each call to AWS, and 32 for what it
/// listens on, polls, writes and reads credentials from.
const RESERVED: usize = FLIGHTS_MAX + 32;

/// How many connections are open at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Those of readers with a good token, which are kept.
    pub kept: usize,
    /// Those of readers that have not shown a good token yet.
    pub waiting: usize,
    /// Those of probes.
    pub probes: usize,
}

impl Room {
    /// Makes room for `kept` connections of readers with a good token.
    pub fn of(kept: usize) -> Self {
        Self { kept, waiting: WAITING_MAX, probes: PROBES_MAX }
    }

    /// Makes less room, if the process may not have so many descriptors: those that calls to AWS need
    /// are left out, or half of all if there are few.
    #[must_use]
    pub fn within(self, descriptors: usize) -> Self {
        let left = descriptors - RESERVED.min(descriptors / 2);
        let probes = self.probes.min(left / 8).max(1);
        let waiting = self.waiting.min(left / 4).max(1);
        let kept = self.kept.min(left.saturating_sub(probes + waiting)).max(1);
        Self { kept, waiting, probes }
    }
}

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port on 127.0.0.1 and ::1; 0 takes a free one.
    pub port: u16,
    /// A Unix socket.
    pub socket: Option<PathBuf>,
    /// Where other hosts' probes and scrapers ask.
    pub probes: Option<SocketAddr>,
    /// The most connections that are open.
    pub room: Room,
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
    room: Room,
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
            room: config.room,
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
        let accepting = |places: Arc<Places>| Accepting {
            server: server.clone(),
            places,
            tasks: tasks.clone(),
            stop: stop.clone(),
            failures_logged: Arc::default(),
        };
        let readers = accepting(Places::new(self.room.waiting, self.room.kept));
        for listener in self.loopback {
            tasks.spawn(readers.clone().run(Door::Loopback, listener));
        }
        if let Some(listener) = self.probes {
            // Other hosts cannot take a reader's place.
            let probes = accepting(Places::new(self.room.probes, 0));
            tasks.spawn(probes.run(Door::Probes, listener));
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
    places: Arc<Places>,
    tasks: TaskTracker,
    stop: CancellationToken,
    failures_logged: Arc<Limited>,
}

impl Accepting {
    async fn run(self, door: Door, listener: impl Accept) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let is_room_made = match accepted {
                Ok(socket) => {
                    self.places.admit(&self.tasks, |place| {
                        let (server, stop) = (self.server.clone(), self.stop.clone());
                        connection::serve(server, door, socket, place, stop)
                    });
                    true
                }
                Err(error) => {
                    let now = self.server.cache.clock().now();
                    if let Some(left_out) = self.failures_logged.pass(now) {
                        tracing::warn!(%error, left_out, "a connection could not be accepted");
                    }
                    is_out_of_descriptors(&error) && self.places.close_waiting()
                }
            };
            if is_room_made {
                // Connections that end close their sockets meanwhile, and a burst of new ones takes
                // turns with calls that are being sent.
                tokio::task::yield_now().await;
            } else {
                self.server.cache.clock().sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Returns whether closing a socket would help.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_left_to_calls_however_few_there_are() {
        let room = Room::of(256);
        for (descriptors, kept, waiting, probes) in [
            (usize::MAX, 256, 128, 32),
            (1024, 256, 128, 32),
            (576, 256, 128, 32),
            (480, 256, 104, 32),
            (256, 120, 48, 24),
            (128, 40, 16, 8),
            (64, 20, 8, 4),
            (16, 5, 2, 1),
            (2, 1, 1, 1),
        ] {
            assert_eq!(room.within(descriptors), Room { kept, waiting, probes }, "{descriptors}");
        }
        let most = Room::of(10_000).within(1024);
        assert_eq!(most.kept + most.waiting + most.probes + RESERVED, 1024);
    }
    use crate::server::connection::tests::Served;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    /// Accepts the sockets of one list, then fails with the errors of another, then waits for ever.
    struct Scarce {
        sockets: Mutex<Vec<DuplexStream>>,
        failures: Mutex<Vec<Errno>>,
    }

    impl Accept for Arc<Scarce> {
        type Socket = DuplexStream;

        async fn accept(&self) -> io::Result<DuplexStream> {
            let socket = self.sockets.lock().expect("no panic").pop();
            if let Some(socket) = socket {
                return Ok(socket);
            }
            let failure = self.failures.lock().expect("no panic").pop();
            match failure {
                Some(failure) => Err(failure.into()),
                None => std::future::pending().await,
            }
        }
    }

    /// Returns how long accepting takes to see these failures with two connections that wait, and how
    /// many of them end meanwhile.
    async fn failing(failures: &[Errno]) -> (Duration, usize) {
        let served = Served::new(1);
        let clock = served.server.cache.clock();
        let (mut peers, sockets): (Vec<_>, Vec<_>) = (0..2).map(|_| duplex(64)).unzip();
        let failures = Mutex::new(failures.to_vec());
        let listener = Arc::new(Scarce { sockets: Mutex::new(sockets), failures });
        let accepting = Accepting {
            server: served.server.clone(),
            places: Places::new(8, 1),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            failures_logged: Arc::default(),
        };
        let started = clock.now();
        let running = tokio::spawn(accepting.run(Door::Loopback, listener.clone()));
        while !listener.failures.lock().expect("no panic").is_empty() {
            clock.sleep(Duration::from_millis(1)).await;
        }
        let took = clock.now().since(started).expect("the clock runs");
        let mut ended = 0;
        for peer in &mut peers {
            let read = peer.read_u8();
            ended += usize::from(crate::clock::within(clock, Duration::ZERO, read).await.is_some());
        }
        running.abort();
        (took, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn without_descriptors_a_connection_that_waits_makes_room() {
        const MOMENT: Duration = Duration::from_millis(2);
        for errno in [Errno::MFILE, Errno::NFILE] {
            let (took, ended) = failing(&[errno]).await;
            assert!(took <= MOMENT && ended == 1, "{took:?} {ended}");
            let (took, ended) = failing(&[errno; 2]).await;
            assert!(took <= MOMENT && ended == 2, "{took:?} {ended}");
            // With no connection left to close, accepting pauses.
            let (took, _) = failing(&[errno; 4]).await;
            assert!(took >= ACCEPT_PAUSE, "{took:?}");
        }
        let (took, ended) = failing(&[Errno::NOMEM; 2]).await;
        assert!(took >= ACCEPT_PAUSE && ended == 0, "closing a socket would not help");
    }
}
