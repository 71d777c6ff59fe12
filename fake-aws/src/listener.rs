//! The listening socket of the fake AWS server: accepts connections, refuses new connections while
//! a test has paused the server, and closes open connections.

use crate::clock::wait;
use crate::exchange::{ConnectionHandle, State};
use crate::lock::lock;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The maximum number of open connections. If this number is reached, the fake AWS server accepts a
/// new connection only after another connection has closed.
const CONNECTIONS_MAX: usize = 4_096;

/// The maximum number of connections that the kernel queues until the fake AWS server accepts them.
const BACKLOG: u32 = 1_024;

/// How long the fake AWS server waits after it failed to accept a connection. Then the server tries
/// again.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);

pub(crate) struct Listener {
    addr: SocketAddr,
    port: AsyncMutex<Port>,
    acceptor: Acceptor,
}

enum Port {
    Listening {
        /// Cancelling this token ends the task that accepts connections. The task then closes its
        /// socket.
        close: CancellationToken,
        task: JoinHandle<()>,
    },
    /// A test has paused the fake AWS server, so the server refuses connections. The socket stays
    /// bound to the port, so that no other process can take the port.
    Reserved(TcpSocket),
    /// No socket is bound to the port, because the fake AWS server failed to pause or to resume.
    Lost,
}

#[derive(Clone)]
struct Acceptor {
    state: Arc<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Cancelling the stored token closes all open connections. A new token is then stored for
    /// later connections.
    close_connections: Arc<Mutex<CancellationToken>>,
    slots: Arc<Semaphore>,
    connections: Arc<AtomicU64>,
}

impl Listener {
    pub(crate) fn start(
        listener: TcpListener,
        state: Arc<State>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let acceptor = Acceptor {
            state,
            tasks,
            close_connections: Arc::new(Mutex::new(stop.child_token())),
            stop,
            slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            connections: Arc::default(),
        };
        let port = AsyncMutex::new(acceptor.listen(listener));
        Ok(Self { addr, port, acceptor })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn connections(&self) -> u64 {
        self.acceptor.connections.load(Ordering::Relaxed)
    }

    /// Closes all open connections, and makes the fake AWS server refuse new connections. Does
    /// nothing if a test has already paused the server.
    pub(crate) async fn pause(&self) -> io::Result<()> {
        let mut port = self.port.lock().await;
        match std::mem::replace(&mut *port, Port::Lost) {
            Port::Listening { close, task } => {
                close.cancel();
                // The result of the task is ignored: even if the task panicked, its socket is
                // closed.
                let _ = task.await;
            }
            reserved @ Port::Reserved(_) => {
                *port = reserved;
                return Ok(());
            }
            Port::Lost => {}
        }
        self.close_connections();
        *port = Port::Reserved(reserve(self.addr)?);
        Ok(())
    }

    /// Makes the fake AWS server accept connections again on the same port. Does nothing if the
    /// server is not paused.
    pub(crate) async fn resume(&self) -> io::Result<()> {
        let mut port = self.port.lock().await;
        let socket = match std::mem::replace(&mut *port, Port::Lost) {
            listening @ Port::Listening { .. } => {
                *port = listening;
                return Ok(());
            }
            Port::Reserved(socket) => socket,
            Port::Lost => reserve(self.addr)?,
        };
        *port = self.acceptor.listen(socket.listen(BACKLOG)?);
        Ok(())
    }

    pub(crate) fn close_connections(&self) {
        let next = self.acceptor.stop.child_token();
        std::mem::replace(&mut *lock(&self.acceptor.close_connections), next).cancel();
    }
}

impl Acceptor {
    fn listen(&self, listener: TcpListener) -> Port {
        let close = self.stop.child_token();
        let task = self.tasks.spawn(self.clone().accept_until(listener, close.clone()));
        Port::Listening { close, task }
    }

    async fn accept_until(self, listener: TcpListener, close: CancellationToken) {
        let accept_all = async {
            loop {
                let acquired = Arc::clone(&self.slots).acquire_owned().await;
                let slot =
                    acquired.expect("the semaphore that limits connections must never be closed");
                match listener.accept().await {
                    Ok((stream, _)) => self.spawn_connection(stream, slot),
                    // Accepting failed because the peer closed the connection early, or because the
                    // process has too many open files.
                    Err(_) => wait(ACCEPT_RETRY_DELAY).await,
                }
            }
        };
        close.run_until_cancelled(accept_all).await;
    }

    fn spawn_connection(&self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let handle = ConnectionHandle { number, reset: CancellationToken::new() };
        let close = lock(&self.close_connections).clone();
        let state = Arc::clone(&self.state);
        self.tasks.spawn(async move {
            serve(stream, state, handle, close).await;
            drop(slot);
        });
    }
}

/// Serves one connection until the client closes the connection, the token `close` asks the fake to
/// close it, or a fault resets it.
///
/// Idle connections have no timeout. If a test pauses tokio's clock, this clock jumps to the next
/// timer, so a timeout would fire at once.
async fn serve(
    stream: TcpStream,
    state: Arc<State>,
    handle: ConnectionHandle,
    close: CancellationToken,
) {
    // Without TCP_NODELAY, the bytes of `Fault::Drip` would arrive in groups. The result is
    // ignored, because setting the option fails only if the connection is already closed.
    let _ = stream.set_nodelay(true);
    let reset = handle.reset.clone();
    let service = service_fn(move |request| {
        let (state, handle) = (Arc::clone(&state), handle.clone());
        async move { Ok::<_, Infallible>(state.respond(&handle, request).await) }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = close.cancelled() => {}
        () = reset.cancelled() => {
            // With a linger time of zero, the kernel closes a socket with RST instead of FIN.
            let _ = connection.into_parts().io.into_inner().set_zero_linger();
        }
        // The result is ignored: either the client closed the connection, or the fake truncated the
        // body on purpose.
        _ = &mut connection => {}
    }
}

/// Binds a socket to a port, so that no other process can take the port. The socket does not
/// listen, so the kernel refuses connections to the port.
fn reserve(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without this option, the kernel does not allow the bind while recently closed connections
    // still occupy the port.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
