//! A server that stands for the server of a route, such as OpenAI's. A test defines its answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::convert::Infallible;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

type Handler = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// A request that the server has received.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// The target of the request line.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    /// Returns the only value of a header. Panics if the header occurs twice.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().expect("the header is text"));
        assert!(values.next().is_none(), "the header {name} must occur only once");
        first
    }
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    is_secure: bool,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Upstream {
    /// Starts a server that reads each request completely, and answers with the result of `answer`.
    pub(crate) async fn start(
        answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::with_tls(None, answer).await
    }

    /// Starts a server like [`start`](Self::start), over TLS if `tls` is given.
    pub(crate) async fn with_tls(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (record, answer) = (seen.clone(), Arc::new(answer));
        let handler = move |request: Request<Incoming>| -> Answering {
            let (record, answer) = (record.clone(), answer.clone());
            Box::pin(async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let target = head.uri.to_string();
                let seen = Seen { method: head.method, target, headers: head.headers, body };
                let response = answer(&seen);
                record.lock().expect("no thread may panic while it holds the lock").push(seen);
                response
            })
        };
        Self::serve(tls, Arc::new(handler), seen).await
    }

    /// Starts a server that passes each request to `handler`, which may read and answer slowly.
    pub(crate) async fn streaming<F>(
        handler: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let handler = move |request| -> Answering { Box::pin(handler(request)) };
        Self::serve(None, Arc::new(handler), Arc::default()).await
    }

    async fn serve(
        tls: Option<TlsAcceptor>,
        handler: Handler,
        seen: Arc<Mutex<Vec<Seen>>>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("the test must find a free port");
        let address = listener.local_addr().expect("the bound socket must have an address");
        let connections = Arc::new(AtomicU64::new(0));
        let (counted, is_secure) = (connections.clone(), tls.is_some());
        let ended = Arc::new(AtomicU64::new(0));
        let counted_ends = ended.clone();
        let serving = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (handler, tls, ended) = (handler.clone(), tls.clone(), counted_ends.clone());
                let _ = socket.set_nodelay(true);
                tasks.spawn(async move {
                    match tls {
                        None => serve_connection(socket, handler).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve_connection(socket, handler).await;
                            }
                        }
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, is_secure, seen, connections, ended, serving }
    }

    pub(crate) fn url(&self) -> String {
        match self.is_secure {
            true => format!("https://localhost:{}", self.address.port()),
            false => format!("http://{}", self.address),
        }
    }

    /// Returns all requests that were received so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no thread may panic while it holds the lock").clone()
    }

    /// Returns the last request that was received.
    #[track_caller]
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the server must have received a request")
    }

    /// Returns the number of open connections.
    pub(crate) fn open_connections(&self) -> u64 {
        self.connections() - self.ended.load(Ordering::Relaxed)
    }

    /// Returns the number of connections that were opened so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve_connection<S>(socket: S, handler: Handler)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let answering = handler(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    // The client may close the connection at any time.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

/// Builds a response with a complete body.
pub(crate) fn answer(
    status: u16,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let body = Full::new(body.into()).map_err(|never| match never {});
    response.body(UnsyncBoxBody::new(body)).expect("the response is valid")
}

/// A private certificate authority.
pub(crate) struct Authority {
    /// The certificate of the authority in PEM format.
    pub(crate) pem: String,
    /// TLS for a server with a certificate of the authority, for the host `localhost`.
    pub(crate) tls: TlsAcceptor,
}

impl Authority {
    pub(crate) fn new() -> Self {
        const VALID: &str = "the certificate's parameters are valid";
        let mut params = CertificateParams::new(Vec::new()).expect(VALID);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect(VALID);
        let pem = pem(params.self_signed(&authority_key).expect(VALID).der());
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().expect(VALID);
        let server = CertificateParams::new(vec!["localhost".to_owned()]).expect(VALID);
        let server = server.signed_by(&key, &issuer).expect(VALID);
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect(VALID)
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], key.into())
            .expect(VALID);
        Self { pem, tls: TlsAcceptor::from(Arc::new(config)) }
    }
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}
