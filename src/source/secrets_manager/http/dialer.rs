//! Makes connections, and none to Sidekey itself.

use super::super::endpoint::is_this_machine;
use super::connection::{self, Broken};
use super::trust::Trust;
use crate::http1::Connection;
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Whom a connection is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    is_secure: bool,
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// Reads whom a URL names; `None` where it names nobody.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.into();
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Some(Self { is_secure, host, port })
    }

    fn server_name(&self) -> Result<ServerName<'static>, Broken> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(bare.to_owned()).map_err(|error| Broken::Connecting(error.into()))
    }
}

/// Makes connections.
pub(super) struct Dialer {
    /// Where Sidekey itself listens.
    own_ports: Vec<u16>,
    trust: Trust,
    /// Made at the first https call: a loopback endpoint needs none.
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
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { own_ports, trust, tls: OnceLock::new(), tcp }
    }

    /// Connects to whom `uri` names, who is `origin`.
    ///
    /// # Errors
    ///
    /// Where nobody is there, who is there is not trusted, or it is Sidekey itself, whatever sent the
    /// call there: a profile's `endpoint_url`, a redirected STS.
    pub(super) async fn dial(&self, origin: &Origin, uri: &Uri) -> Result<Connection, Broken> {
        if names_itself(origin, &self.own_ports) {
            return Err(Broken::Itself);
        }
        let socket = self.tcp.clone().call(uri.clone()).await;
        let socket = socket.map_err(|error| Broken::Connecting(error.into()))?.into_inner();
        // A name may lead anywhere: only who has answered is known.
        let (local, peer) = ends(&socket).map_err(|error| Broken::Connecting(error.into()))?;
        if leads_to_itself(local, peer, &self.own_ports) {
            return Err(Broken::Itself);
        }
        if !origin.is_secure {
            return connection::over(Box::new(socket)).await;
        }
        let tls = TlsConnector::from(self.tls.get_or_init(|| self.trust.tls()).clone());
        let secure = Box::pin(tls.connect(origin.server_name()?, socket)).await;
        let secure = secure.map_err(|error| Broken::Connecting(error.into()))?;
        connection::over(Box::new(secure)).await
    }
}

fn ends(socket: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
    Ok((socket.local_addr()?, socket.peer_addr()?))
}

/// Returns whether an origin is Sidekey itself by its name, which needs no connection.
fn names_itself(origin: &Origin, own_ports: &[u16]) -> bool {
    is_this_machine(&origin.host) && own_ports.contains(&origin.port)
}

/// Returns whether a connection between these two ends at Sidekey itself: whoever calls one of his
/// own addresses calls from that same one.
fn leads_to_itself(local: SocketAddr, peer: SocketAddr, own_ports: &[u16]) -> bool {
    let is_this_machine = peer.ip() == local.ip() || peer.ip().to_canonical().is_loopback();
    is_this_machine && own_ports.contains(&peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().expect("a URL")).expect("one of HTTP's")
    }

    #[test]
    fn only_loopback_at_an_own_port_is_oneself() {
        for own in [
            "http://localhost:2773/",
            "http://localhost.:2773/",
            "http://127.0.0.1:2773",
            "http://[::1]:2773/x",
            "http://0.0.0.0:2773",
            "http://[::ffff:127.0.0.1]:2773",
            "http://localhost/",
        ] {
            assert!(names_itself(&origin(own), &[2773, 80]), "{own}");
        }
        for other in [
            "http://127.0.0.1:9001/",
            "https://secretsmanager.eu-north-1.amazonaws.com/",
            "http://10.0.0.1:2773",
        ] {
            assert!(!names_itself(&origin(other), &[2773]), "{other}");
        }
    }

    #[test]
    fn whatever_it_was_called_a_connection_to_oneself_is_known() {
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
            let [local_end, peer_end] = [local, peer].map(|end| end.parse().expect("an address"));
            assert_eq!(leads_to_itself(local_end, peer_end, &[2773]), expected, "{local} {peer}");
        }
    }
}
