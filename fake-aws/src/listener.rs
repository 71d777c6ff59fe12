//! The listening socket: accepts connections, can refuse new connections, and can close open ones.

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

/// The maximum number of open connections. Further connections wait until another connection closes.
const CONNECTIONS_MAX: usize = 4_096;

/// The maximum number of connections that the kernel queues until the fake accepts them.
const BACKLOG: u32 = 1_024;

/// The time between a failed accept and the next attempt.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);

/// The listening socket of a fake, and the connections that it accepted.
pub(crate) struct Listener {
    addr: SocketAddr,
    port: AsyncMutex<Port>,
    acceptor: Acceptor,
}

/// The state of the port.
enum Port {
    /// A task accepts connections.
    Listening {
        /// Ends the task. The task then closes its socket.
        close: CancellationToken,
        /// The task that accepts connections.
        task: JoinHandle<()>,
    },
    /// Connections are refused. The socket is bound, so that no other process takes the port.
    Reserved(TcpSocket),
    /// Pausing or resuming failed halfway, so the port is not bound.
    Lost,
}

/// What the accepting task and all connections share.
#[derive(Clone)]
struct Acceptor {
    state: Arc<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Closes all connections that are open now. Each use replaces the token.
    close_connections: Arc<Mutex<CancellationToken>>,
    slots: Arc<Semaphore>,
    connections: Arc<AtomicU64>,
}

impl Listener {
    /// Starts to accept connections. Requires a tokio runtime.
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

    /// Returns the address of the listening socket.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the number of connections that were accepted since the start.
    pub(crate) fn connections(&self) -> u64 {
        self.acceptor.connections.load(Ordering::Relaxed)
    }

    /// Refuses new connections and closes open connections. A second call is a no-op.
    pub(crate) async fn pause(&self) -> io::Result<()> {
        let mut port = self.port.lock().await;
        match std::mem::replace(&mut *port, Port::Lost) {
            Port::Listening { close, task } => {
                close.cancel();
                // The result does not matter: if the task panicked, its socket is closed as well.
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

    /// Accepts connections again, on the same port. A second call is a no-op.
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

    /// Closes all open connections, even in the middle of a response.
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

    /// Accepts connections until `close` is cancelled.
    async fn accept_until(self, listener: TcpListener, close: CancellationToken) {
        let accept_all = async {
            loop {
                let acquired = Arc::clone(&self.slots).acquire_owned().await;
                let slot = acquired.expect("the semaphore is never closed");
                match listener.accept().await {
                    Ok((stream, _)) => self.spawn_connection(stream, slot),
                    // The peer closed the connection early, or the process has too many open files.
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

/// Serves one connection until the peer closes it, `close` is cancelled, or a fault resets it.
///
/// Idle connections have no timeout: under tokio's paused time, a timeout would fire at once.
async fn serve(
    stream: TcpStream,
    state: Arc<State>,
    handle: ConnectionHandle,
    close: CancellationToken,
) {
    // Without TCP_NODELAY the bytes of `Fault::Drip` would arrive in groups. The result is ignored,
    // because the call fails only if the connection is closed already.
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
        // An error comes from the peer, or from a body that is truncated on purpose.
        _ = &mut connection => {}
    }
}

/// Binds a port without listening on it, so that connections to the port are refused.
fn reserve(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections that closed recently still occupy the port for the kernel.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
