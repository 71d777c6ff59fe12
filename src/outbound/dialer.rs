//! Opens connections to other servers, and refuses connections to the agent itself.

use super::call_error::CallError;
use super::origin::Origin;
use super::trust::Trust;
use crate::http1::{Connection, Socket};
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

pub(super) struct Dialer {
    /// The loopback ports on which the agent itself listens. The agent refuses to connect to these
    /// ports, because it would call itself.
    own_ports: Vec<u16>,
    trust: Trust,
    /// The TLS configuration of all calls. The first https call creates it, so that an agent with
    /// only an http endpoint never needs it.
    tls: OnceLock<Arc<ClientConfig>>,
    tcp: HttpConnector,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("own_ports", &self.own_ports)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    pub(super) fn new(own_ports: Vec<u16>, trust: Trust) -> Self {
        let mut tcp = HttpConnector::new();
        // By default, this connector refuses https URLs. The code below adds TLS to the TCP
        // connection.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { own_ports, trust, tls: OnceLock::new(), tcp }
    }

    /// Opens a connection to `origin`: the scheme, host and port of `uri`.
    ///
    /// Returns an error if the server is unreachable, if its certificate is not trusted, or if the
    /// server is the agent itself. An AWS profile can contain the agent's own address as
    /// `endpoint_url`.
    pub(super) async fn dial(&self, origin: &Origin, uri: &Uri) -> Result<Connection, CallError> {
        if origin.is_own(&self.own_ports) {
            return Err(CallError::OwnAddress);
        }
        let socket = self.tcp.clone().call(uri.clone()).await.map_err(connect_error)?.into_inner();
        // Any host name can resolve to this machine, so the code also checks the IP address of the
        // peer.
        let (local, peer) = addresses(&socket).map_err(connect_error)?;
        if is_own_address(local, peer, &self.own_ports) {
            return Err(CallError::OwnAddress);
        }
        if !origin.is_secure {
            return start_http(Box::new(socket)).await;
        }
        let tls = TlsConnector::from(self.tls.get_or_init(|| self.trust.tls()).clone());
        // The future of a TLS handshake is large. Boxing this future keeps the future of the whole
        // call small.
        let handshake = Box::pin(tls.connect(server_name(origin)?, socket));
        start_http(Box::new(handshake.await.map_err(connect_error)?)).await
    }
}

async fn start_http(socket: Box<dyn Socket>) -> Result<Connection, CallError> {
    Connection::new(socket, usize::MAX).await.map_err(connect_error)
}

fn connect_error(error: impl Into<Box<dyn Error + Send + Sync>>) -> CallError {
    CallError::Connect(error.into())
}

/// Returns the host name or IP address that the server's TLS certificate must contain.
fn server_name(origin: &Origin) -> Result<ServerName<'static>, CallError> {
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(connect_error)
}

fn addresses(socket: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
    Ok((socket.local_addr()?, socket.peer_addr()?))
}

/// Returns whether a connection leads to the agent itself: the peer is on this machine, and the
/// peer's port is in `own_ports`.
///
/// The peer is on this machine if its IP address is a loopback address or equals the local IP
/// address.
fn is_own_address(local: SocketAddr, peer: SocketAddr, own_ports: &[u16]) -> bool {
    let is_this_machine = peer.ip() == local.ip() || peer.ip().to_canonical().is_loopback();
    is_this_machine && own_ports.contains(&peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_to_the_agent_itself_is_detected_by_its_addresses() {
        for (local, peer, expected) in [
            ("127.0.0.1:50000", "127.0.0.1:2773", true),
            ("127.0.0.1:50000", "127.1.2.3:2773", true),
            ("[::1]:50000", "[::1]:2773", true),
            ("[::ffff:127.0.0.1]:50000", "[::ffff:127.0.0.2]:2773", true),
            ("172.17.0.2:50000", "172.17.0.2:2773", true),
            ("172.17.0.2:50000", "172.17.0.3:2773", false),
            ("127.0.0.1:50000", "127.0.0.1:9001", false),
            ("10.0.0.7:50000", "10.0.0.7:443", false),
        ] {
            let [from, to] =
                [local, peer].map(|text| text.parse().expect("the test address must be valid"));
            assert_eq!(
                is_own_address(from, to, &[2773]),
                expected,
                "the check of a connection from {local} to {peer} is wrong"
            );
        }
    }
}
