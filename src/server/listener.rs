//! Listens on the configured addresses, and accepts the connections of clients.

use super::accept::Accept;
use super::connection::{self, Ways};
use super::connection_slots::ConnectionSlots;
use super::gate::ListenerKind;
use super::handler::Server;
use super::socket_folder::{self, BadFolder};
use crate::cache::flight::FLIGHTS_MAX;
use crate::telemetry::log_limiter::LogLimiter;
use rustix::io::Errno;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::replace;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The maximum number of connections that have not sent a valid token. When one more such
/// connection arrives, the server closes the oldest of them.
const UNTRUSTED_MAX: usize = 128;

/// The maximum number of connections to the metrics port. When one more connection arrives, the
/// server closes the oldest of them.
///
/// Usually only a few metrics scrapers and probes connect to this port.
const METRICS_MAX: usize = 32;

/// How long the server pauses after it could not accept a connection, unless it could free a file
/// descriptor for the next connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The number of file descriptors that connections of callers cannot use.
///
/// Each concurrent call to AWS may need a socket. In addition, listeners, polling, log output and
/// credential files need up to 32 descriptors.
const RESERVED_DESCRIPTORS: usize = FLIGHTS_MAX + 32;

/// The maximum numbers of open connections, separately for connections that have sent a valid token
/// (trusted), for other connections (untrusted), and for the metrics port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// The maximum number of connections that have sent a valid token. Such connections stay open
    /// between requests.
    pub(crate) trusted: usize,
    pub(crate) untrusted: usize,
    pub(crate) metrics: usize,
}

impl ConnectionLimits {
    /// Returns the default limits, but with `trusted` as the maximum number of connections that
    /// have sent a valid token.
    pub(crate) fn new(trusted: usize) -> Self {
        Self { trusted, untrusted: UNTRUSTED_MAX, metrics: METRICS_MAX }
    }

    /// Lowers the limits if the process may have only a few file descriptors open at the same time
    /// (`descriptors`). Some of them are reserved for calls to AWS, but at most half of them.
    #[must_use]
    pub(crate) fn within(self, descriptors: usize) -> Self {
        let left = descriptors - RESERVED_DESCRIPTORS.min(descriptors / 2);
        let metrics = self.metrics.min(left / 8).max(1);
        let untrusted = self.untrusted.min(left / 4).max(1);
        let trusted = self.trusted.min(left.saturating_sub(metrics + untrusted)).max(1);
        Self { trusted, untrusted, metrics }
    }
}

/// The addresses on which the server listens, and the limits on its connections.
#[derive(Clone, Debug)]
pub struct Config {
    /// The TCP port on which the server listens at 127.0.0.1 and ::1. If the port is 0, the system
    /// chooses a free port.
    pub(crate) port: u16,
    pub(crate) socket: Option<PathBuf>,
    /// The address of the metrics port, which other hosts can reach. If this is `None`, there is no
    /// metrics port.
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) limits: ConnectionLimits,
}

/// Why the server cannot listen on an address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Error: another process listens on the address. The fields are the address, and the name of
    /// the environment variable that sets the address.
    #[error("{0} is in use by another process; stop that process, or change {1}")]
    Taken(String, &'static str),
    /// Error: another user could replace the Unix socket, and so receive the tokens of callers.
    #[error(
        "{0}; set SIDEKEY_SOCKET to a path in a folder that belongs to the agent's user and has mode \
         0700"
    )]
    SharedFolder(BadFolder),
    /// Error: the path of the Unix socket names an existing file that is not a socket.
    #[error("the file {0} exists and is not a socket; remove the file, or change SIDEKEY_SOCKET")]
    NotASocket(PathBuf),
    /// Error: the server cannot listen on the address for any other reason. The fields are the
    /// address and the error of the system.
    #[error("Sidekey cannot listen on {0}")]
    Io(String, #[source] io::Error),
}

/// The sockets on which the server listens for connections.
#[derive(Debug)]
pub struct Listeners {
    loopback: Vec<TcpListener>,
    socket: Option<(UnixListener, SocketFile)>,
    metrics: Option<TcpListener>,
    /// Whether another process listens on the address ::1, at the port at which Sidekey listens on
    /// 127.0.0.1.
    pub(crate) is_v6_taken: bool,
    limits: ConnectionLimits,
}

impl Listeners {
    /// Listens on all configured addresses of the server. The function is asynchronous because the
    /// listeners need tokio's runtime.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot listen on one of the addresses.
    pub async fn bind(config: &Config) -> Result<Self, BindError> {
        let (bound, errors) = Self::bind_possible(config).await;
        errors.into_iter().next().map_or(Ok(bound), Err)
    }

    /// Listens on as many of the configured addresses as possible. Returns the listeners, and the
    /// errors of the other addresses.
    ///
    /// Some clients resolve `localhost` to ::1 first, so the server listens on 127.0.0.1 and on
    /// ::1.
    ///
    /// - If the machine has no IPv6, the server listens on 127.0.0.1 only, without an error.
    /// - If another process listens on ::1, [`is_v6_taken`](Self::is_v6_taken) is set.
    /// - If another process listens on 127.0.0.1, the server does not listen on ::1. Otherwise some
    ///   clients would reach Sidekey at `localhost`, and other clients would reach the other
    ///   process.
    pub async fn bind_possible(config: &Config) -> (Self, Vec<BindError>) {
        let mut errors = Vec::new();
        let mut bound = Self {
            loopback: Vec::new(),
            socket: None,
            metrics: None,
            is_v6_taken: false,
            limits: config.limits,
        };
        match bind_tcp((Ipv4Addr::LOCALHOST, config.port).into(), "SIDEKEY_PORT") {
            Ok(v4) => bound.add_loopback(v4, config.port),
            Err(error) => errors.push(error),
        }
        match config.socket.as_deref().map(bind_unix).transpose() {
            Ok(socket) => bound.socket = socket,
            Err(error) => errors.push(error),
        }
        if let Some(address) = config.metrics {
            match bind_tcp(address, "SIDEKEY_METRICS_LISTEN") {
                Ok(metrics) => bound.metrics = Some(metrics),
                Err(error) => errors.push(error),
            }
        }
        (bound, errors)
    }

    /// Adds the listener on 127.0.0.1. Also listens on ::1 at the same port if possible.
    fn add_loopback(&mut self, v4: TcpListener, configured_port: u16) {
        // If the configured port is 0, the system has chosen the port.
        let port = v4.local_addr().map_or(configured_port, |address| address.port());
        self.loopback.push(v4);
        match bind_tcp((Ipv6Addr::LOCALHOST, port).into(), "SIDEKEY_PORT") {
            Ok(v6) => self.loopback.push(v6),
            Err(BindError::Taken(..)) => self.is_v6_taken = true,
            Err(error) => {
                tracing::debug!(%error, "Sidekey cannot listen on the IPv6 address ::1, so it listens on 127.0.0.1 only")
            }
        }
    }

    /// Returns whether the server listens on at least one address that serves secrets. The metrics
    /// port serves no secrets.
    pub fn can_serve_secrets(&self) -> bool {
        !self.loopback.is_empty() || self.socket.is_some()
    }

    /// Returns the loopback addresses (127.0.0.1 and ::1) on which the server listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.loopback.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Returns the address of the metrics port, or `None` if the server does not listen on a
    /// metrics port.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Starts to accept connections, in tasks of `tasks`. Cancelling the token `stop` stops the
    /// server: it accepts no more connections, and each open connection ends after its current
    /// request.
    pub(crate) fn serve(self, server: &Arc<Server>, tasks: &TaskTracker, stop: &CancellationToken) {
        let ConnectionLimits { trusted, untrusted, metrics } = self.limits;
        let acceptor = Acceptor {
            server: server.clone(),
            slots: ConnectionSlots::new(untrusted, trusted),
            tasks: tasks.clone(),
            stop: stop.clone(),
            failures_logged: Arc::default(),
        };
        let mut all_slots = vec![acceptor.slots.clone()];
        if let Some(listener) = self.metrics {
            // The metrics port has its own limit of connections, so that other hosts cannot use up
            // the connections of local callers.
            let slots = ConnectionSlots::new(metrics, 0);
            all_slots.push(slots.clone());
            let acceptor = Acceptor { slots, failures_logged: Arc::default(), ..acceptor.clone() };
            tasks.spawn(acceptor.run(ListenerKind::Metrics, listener));
        }
        let stop = stop.clone();
        tasks.spawn(async move {
            stop.cancelled().await;
            all_slots.iter().for_each(|slots| slots.stop());
        });
        for listener in self.loopback {
            tasks.spawn(acceptor.clone().run(ListenerKind::Loopback, listener));
        }
        if let Some((listener, file)) = self.socket {
            tasks.spawn(async move {
                acceptor.run(ListenerKind::UnixSocket, listener).await;
                drop(file);
            });
        }
    }
}

#[derive(Clone)]
struct Acceptor {
    server: Arc<Server>,
    slots: Arc<ConnectionSlots>,
    tasks: TaskTracker,
    stop: CancellationToken,
    failures_logged: Arc<LogLimiter>,
}

impl Acceptor {
    async fn run(self, kind: ListenerKind, listener: impl Accept) {
        // This future lasts for all connections. Creating it takes a lock.
        let mut stopped = pin!(self.stop.cancelled());
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => return,
                accepted = poll_fn(|cx| listener.poll_accept(cx)) => accepted,
            };
            let can_continue = match accepted {
                Ok(socket) => {
                    self.slots.admit(&self.tasks, |slot| {
                        let server = self.server.clone();
                        connection::serve(server, kind, socket, slot, Ways::DirectAndHyper)
                    });
                    true
                }
                Err(error) => self.recover(&error),
            };
            if can_continue {
                // Other tasks run before the next connection is accepted. So tasks of ended
                // connections close their sockets. Also, a burst of new connections does not delay
                // pending calls to AWS.
                let_ready_tasks_run().await;
            } else {
                self.server.context.cache.clock().sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Logs why the server could not accept a connection. If no file descriptor is free, also
    /// closes a connection that has not sent a valid token, and then returns `true`.
    fn recover(&self, error: &io::Error) -> bool {
        let now = self.server.context.cache.clock().now();
        if let Some(left_out) = self.failures_logged.pass(now) {
            tracing::warn!(%error, left_out, "Sidekey could not accept a connection");
        }
        is_out_of_descriptors(error) && self.slots.close_untrusted()
    }
}

/// Returns whether the error means that no file descriptor is free. The server can then free a
/// descriptor by closing a connection.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Lets all tasks run that are ready. tokio's `yield_now` would also ask the system for events,
/// which takes a system call.
async fn let_ready_tasks_run() {
    let mut is_first = true;
    poll_fn(|cx| {
        if !replace(&mut is_first, false) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The maximum number of connections that the system holds until the server accepts them.
const BACKLOG: u32 = 128;

fn bind_tcp(address: SocketAddr, variable: &'static str) -> Result<TcpListener, BindError> {
    listen(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address.to_string(), variable),
        _ => BindError::Io(address.to_string(), error),
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restarted agent can listen while connections of its predecessor are still closing.
    socket.set_reuseaddr(true)?;
    // Each answer is written with one call, so Nagle's algorithm, which waits for more data, would
    // only delay the answer. Accepted connections inherit this option from the listener.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The path of the Unix socket's file. Dropping this value removes the file, so that clients cannot
/// connect any more.
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

/// Listens on a Unix socket with mode 0600 in a folder with mode 0700. Creates the folder if it is
/// missing, and removes the socket of an earlier process.
///
/// Fails if another process listens on the socket.
fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let io_error = |error| BindError::Io(path.display().to_string(), error);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    if !folder.exists() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error)?;
    }
    socket_folder::check(folder).map_err(io_error)?.map_err(BindError::SharedFolder)?;
    if let Ok(existing) = path.symlink_metadata() {
        if !existing.file_type().is_socket() {
            return Err(BindError::NotASocket(path.to_owned()));
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
    use crate::server::connection::tests::TestServer;
    use std::sync::Mutex;
    use std::task::Context;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    #[test]
    fn calls_to_aws_keep_descriptors_however_few_there_are() {
        let limits = ConnectionLimits::new(256);
        for (descriptors, trusted, untrusted, metrics) in [
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
            let expected = ConnectionLimits { trusted, untrusted, metrics };
            assert_eq!(
                limits.within(descriptors),
                expected,
                "a process with {descriptors} file descriptors must have these limits"
            );
        }
        let most = ConnectionLimits::new(10_000).within(1024);
        assert_eq!(most.trusted + most.untrusted + most.metrics + RESERVED_DESCRIPTORS, 1024);
    }

    #[tokio::test]
    async fn accepted_connections_send_answers_without_delay() {
        for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            // A machine without IPv6 cannot listen on ::1.
            let Ok(listener) = listen(SocketAddr::new(address, 0)) else { continue };
            let address = listener.local_addr().expect("the listener must have an address");
            let _client =
                tokio::net::TcpStream::connect(address).await.expect("the server must listen");
            let socket = poll_fn(|cx| Accept::poll_accept(&listener, cx)).await;
            let socket = socket.expect("the server must accept the connection");
            assert!(
                socket.nodelay().expect("the socket must be open"),
                "an accepted connection must inherit TCP_NODELAY from the listener"
            );
        }
    }

    #[tokio::test]
    async fn ready_tasks_run_before_the_next_connection_is_accepted() {
        let task = tokio::spawn(async {});
        let_ready_tasks_run().await;
        assert!(task.is_finished());
    }

    /// A test listener. It first accepts the connections in `sockets`, then returns the errors in
    /// `failures`, and then waits forever.
    struct Scarce {
        sockets: Mutex<Vec<DuplexStream>>,
        failures: Mutex<Vec<Errno>>,
    }

    impl Accept for Arc<Scarce> {
        type Socket = DuplexStream;

        fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<DuplexStream>> {
            let socket = self.sockets.lock().expect("no test thread may panic").pop();
            if let Some(socket) = socket {
                return Poll::Ready(Ok(socket));
            }
            let failure = self.failures.lock().expect("no test thread may panic").pop();
            failure.map_or(Poll::Pending, |failure| Poll::Ready(Err(failure.into())))
        }
    }

    /// Opens two connections without a valid token, and then makes the listener fail with each of
    /// `failures`.
    ///
    /// Returns how long it took until the listener had returned all failures, and how many of the
    /// two connections the server closed.
    async fn failing(failures: &[Errno]) -> (Duration, usize) {
        let test = TestServer::new(1);
        let clock = test.server.context.cache.clock();
        let (mut peers, sockets): (Vec<_>, Vec<_>) = (0..2).map(|_| duplex(64)).unzip();
        let failures = Mutex::new(failures.to_vec());
        let listener = Arc::new(Scarce { sockets: Mutex::new(sockets), failures });
        let acceptor = Acceptor {
            server: test.server.clone(),
            slots: ConnectionSlots::new(8, 1),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            failures_logged: Arc::default(),
        };
        let started = clock.now();
        let running = tokio::spawn(acceptor.run(ListenerKind::Loopback, listener.clone()));
        while !listener.failures.lock().expect("no test thread may panic").is_empty() {
            clock.sleep(Duration::from_millis(1)).await;
        }
        let took = clock.now().since(started).expect("the test's clock must not run backwards");
        let mut closed = 0;
        for peer in &mut peers {
            let read = peer.read_u8();
            closed +=
                usize::from(crate::clock::within(clock, Duration::ZERO, read).await.is_some());
        }
        running.abort();
        (took, closed)
    }

    #[tokio::test(start_paused = true)]
    async fn without_descriptors_untrusted_connections_are_closed() {
        const MOMENT: Duration = Duration::from_millis(2);
        for errno in [Errno::MFILE, Errno::NFILE] {
            let (took, closed) = failing(&[errno]).await;
            assert!(took <= MOMENT && closed == 1, "{took:?} {closed}");
            let (took, closed) = failing(&[errno; 2]).await;
            assert!(took <= MOMENT && closed == 2, "{took:?} {closed}");
            // If no connection is left to close, the server pauses before it accepts again.
            let (took, _) = failing(&[errno; 4]).await;
            assert!(took >= ACCEPT_PAUSE, "{took:?}");
        }
        let (took, closed) = failing(&[Errno::NOMEM; 2]).await;
        assert!(
            took >= ACCEPT_PAUSE && closed == 0,
            "if memory runs out, no connection must be closed, because this frees too little memory"
        );
    }
}
