//! Accepts connections, can stop doing so, and can hang up.

use super::exchange::{Desk, Line};
use super::{lock, wait};
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

/// How many connections are open at once; others wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;

/// How many connections the system holds for us until they are accepted.
const BACKLOG: u32 = 1_024;

/// How long after a failed accept the next one is tried.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The listening side of the double.
pub(super) struct Listener {
    addr: SocketAddr,
    door: AsyncMutex<Door>,
    hall: Hall,
}

/// Whether connections are accepted.
enum Door {
    Open {
        /// Ends the accepting task, which takes its socket along.
        close: CancellationToken,
        accepting: JoinHandle<()>,
    },
    /// Nobody listens. The socket keeps the port from being given to somebody else.
    Closed(TcpSocket),
    /// The port was lost while the door was to be opened or closed.
    Lost,
}

/// What connections have in common.
#[derive(Clone)]
struct Hall {
    desk: Arc<Desk>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the connections that are open now.
    hang_up: Arc<Mutex<CancellationToken>>,
    room: Arc<Semaphore>,
    connections: Arc<AtomicU64>,
}

impl Listener {
    /// Starts to accept connections. Needs a tokio runtime.
    pub(super) fn start(
        listener: TcpListener,
        desk: Arc<Desk>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let hall = Hall {
            desk,
            tasks,
            hang_up: Arc::new(Mutex::new(stop.child_token())),
            stop,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            connections: Arc::default(),
        };
        let door = AsyncMutex::new(hall.open(listener));
        Ok(Self { addr, door, hall })
    }

    /// Returns the address that connections are accepted on.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns how many connections have been accepted so far.
    pub(super) fn connections(&self) -> u64 {
        self.hall.connections.load(Ordering::Relaxed)
    }

    /// Stops accepting: whoever connects is refused. Hangs up on everybody.
    pub(super) async fn pause(&self) -> io::Result<()> {
        let mut door = self.door.lock().await;
        match std::mem::replace(&mut *door, Door::Lost) {
            Door::Open { close, accepting } => {
                close.cancel();
                // Nothing to do where the task panicked: its socket is gone either way.
                let _ = accepting.await;
            }
            closed @ Door::Closed(_) => {
                *door = closed;
                return Ok(());
            }
            Door::Lost => {}
        }
        self.hang_up();
        *door = Door::Closed(hold(self.addr)?);
        Ok(())
    }

    /// Accepts connections again, on the same port.
    pub(super) async fn resume(&self) -> io::Result<()> {
        let mut door = self.door.lock().await;
        let socket = match std::mem::replace(&mut *door, Door::Lost) {
            open @ Door::Open { .. } => {
                *door = open;
                return Ok(());
            }
            Door::Closed(socket) => socket,
            Door::Lost => hold(self.addr)?,
        };
        *door = self.hall.open(socket.listen(BACKLOG)?);
        Ok(())
    }

    /// Closes every connection that is open now, in the middle of an answer too.
    pub(super) fn hang_up(&self) {
        let next = self.hall.stop.child_token();
        std::mem::replace(&mut *lock(&self.hall.hang_up), next).cancel();
    }
}

impl Hall {
    fn open(&self, listener: TcpListener) -> Door {
        let close = self.stop.child_token();
        let accepting = self.tasks.spawn(self.clone().accept(listener, close.clone()));
        Door::Open { close, accepting }
    }

    async fn accept(self, listener: TcpListener, close: CancellationToken) {
        let accept_all = async {
            loop {
                let room = Arc::clone(&self.room).acquire_owned().await;
                let room = room.expect("nobody closes the semaphore");
                match listener.accept().await {
                    Ok((stream, _)) => self.admit(stream, room),
                    // The peer is gone already, or the process has no descriptors left.
                    Err(_) => wait(ACCEPT_AGAIN_AFTER).await,
                }
            }
        };
        close.run_until_cancelled(accept_all).await;
    }

    fn admit(&self, stream: TcpStream, room: OwnedSemaphorePermit) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let line = Line { number, reset: CancellationToken::new() };
        let hang_up = lock(&self.hang_up).clone();
        let desk = Arc::clone(&self.desk);
        self.tasks.spawn(async move {
            serve(stream, desk, line, hang_up).await;
            drop(room);
        });
    }
}

/// Serves one connection until it ends, one way or another.
///
/// There is no deadline on idle connections: under tokio's paused time it would pass at once.
async fn serve(stream: TcpStream, desk: Arc<Desk>, line: Line, hang_up: CancellationToken) {
    // Without it a dripping answer would come in lumps. A socket that is gone needs no setting.
    let _ = stream.set_nodelay(true);
    let reset = line.reset.clone();
    let service = service_fn(move |request| {
        let (desk, line) = (Arc::clone(&desk), line.clone());
        async move { Ok::<_, Infallible>(desk.answer(&line, request).await) }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = hang_up.cancelled() => {}
        () = reset.cancelled() => {
            // A socket that lingers for no time is closed with RST instead of FIN.
            let _ = connection.into_parts().io.into_inner().set_zero_linger();
        }
        // Errors are the peer's, or those of a body that is cut short on purpose.
        _ = &mut connection => {}
    }
}

/// Takes a port without listening on it, so that whoever connects is refused.
fn hold(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections that were closed a moment ago still count as users of the port.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
