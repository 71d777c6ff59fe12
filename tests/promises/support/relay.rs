//! A TCP relay between a client and an agent. The relay counts the client's connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A TCP relay, which forwards all bytes between a client and an agent.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    opened: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl Relay {
    /// Starts a relay to the address `target`.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("the test must find a free port");
        let address = listener.local_addr().expect("the bound socket must have an address");
        let opened = Arc::new(AtomicU64::new(0));
        let closed = Arc::new(AtomicU64::new(0));
        let counts = (opened.clone(), closed.clone());
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                counts.0.fetch_add(1, Ordering::Relaxed);
                let closed = counts.1.clone();
                connections.spawn(async move {
                    // The connection has ended, whether with or without an error.
                    let _ = pass_on(socket, target).await;
                    closed.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, opened, closed, serving }
    }

    /// Returns the number of connections that were opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Returns the number of connections that were closed so far.
    pub(crate) fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass_on(mut socket: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut target = TcpStream::connect(target).await?;
    tokio::io::copy_bidirectional(&mut socket, &mut target).await?;
    Ok(())
}
