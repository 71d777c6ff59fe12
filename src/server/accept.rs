//! The listeners that accept connections.

use std::io;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// Accepts new connections. Implemented for TCP listeners, Unix listeners and listeners of tests.
pub(super) trait Accept: Send + 'static {
    type Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Socket>>;
}

impl Accept for TcpListener {
    type Socket = tokio::net::TcpStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Socket>> {
        TcpListener::poll_accept(self, cx).map_ok(|(socket, _)| socket)
    }
}

impl Accept for UnixListener {
    type Socket = tokio::net::UnixStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Socket>> {
        UnixListener::poll_accept(self, cx).map_ok(|(socket, _)| socket)
    }
}
