//! A TLS server in front of the fake AWS server. Each run generates a new certificate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A TLS server that decrypts connections, and forwards the bytes to another server. Dropping this
/// value stops the TLS server.
#[derive(Debug)]
pub(crate) struct TlsFront {
    address: SocketAddr,
    bundle: PathBuf,
    accepting: JoinHandle<()>,
}

impl TlsFront {
    /// Starts a TLS server on a free port of 127.0.0.1, which forwards to `upstream`. Writes the
    /// root certificate into `folder`.
    ///
    /// # Errors
    ///
    /// If a certificate cannot be generated or written, or a port cannot be bound.
    pub(crate) async fn start(upstream: SocketAddr, folder: &Path) -> io::Result<Self> {
        let (config, root) = certificates().map_err(io::Error::other)?;
        let bundle = folder.join(format!("root-{}.pem", std::process::id()));
        let text = STANDARD.encode(&root);
        std::fs::write(
            &bundle,
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"),
        )?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // An error of one client ends only that client's connection.
                    let _ = pass_on(acceptor, socket, upstream).await;
                });
            }
        });
        Ok(Self { address, bundle, accepting })
    }

    /// Returns the URL of the TLS server.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Returns the path of the file that contains the root certificate.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_file(&self.bundle);
    }
}

async fn pass_on(acceptor: TlsAcceptor, socket: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut secured = acceptor.accept(socket).await?;
    let mut plain = TcpStream::connect(upstream).await?;
    plain.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut secured, &mut plain).await?;
    Ok(())
}

/// Generates a root certificate, and a certificate for the TLS server on 127.0.0.1. Returns the
/// server's configuration, and the root certificate in the format DER.
fn certificates() -> Result<(ServerConfig, Vec<u8>), Box<dyn std::error::Error + Send + Sync>> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate()?;
    let signed = root.self_signed(&root_key)?;
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate()?;
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key.into())?;
    Ok((config, signed.der().to_vec()))
}
