//! The HTTP client of every AWS client here: what it trusts, and whom it never calls.

use super::endpoint::is_this_machine;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a connection to AWS may lie idle and still be used again: as long as a burst of
/// refreshes lasts. Lambda and NAT gateways drop idle connections without a word, and a freeze
/// leaves them broken.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// The roots of trust: Mozilla's, compiled in, and a company's own.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    own: Vec<CertificateDer<'static>>,
}

/// Why a bundle of certificates cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTrust {
    /// It has no certificate in PEM.
    #[error("no certificate in PEM found")]
    Empty,
    /// One of its certificates cannot be read.
    #[error("certificate {0} cannot be read")]
    Certificate(usize),
}

impl Trust {
    /// Trusts the certificates of a PEM bundle beside the compiled-in ones.
    ///
    /// # Errors
    ///
    /// Where there is none, or one cannot be read.
    pub fn with_bundle(pem: &[u8]) -> Result<Self, BadTrust> {
        let mut store = RootCertStore::empty();
        let mut own = Vec::new();
        for (at, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let bad = BadTrust::Certificate(at + 1);
            let certificate = certificate.map_err(|_| bad)?;
            store.add(certificate.clone()).map_err(|_| bad)?;
            own.push(certificate);
        }
        if own.is_empty() { Err(BadTrust::Empty) } else { Ok(Self { own }) }
    }

    fn pem(&self) -> Vec<u8> {
        let mut pem = String::new();
        for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain(&self.own) {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            STANDARD.encode_string(certificate, &mut pem);
            pem.push_str("\n-----END CERTIFICATE-----\n");
        }
        pem.into_bytes()
    }
}

/// What becomes of a connection that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// It is kept for [`IDLE_MAX`].
    Kept,
    /// It is closed: none is carried through a snapshot, whose clock would not tell its age.
    Closed,
}

impl Idle {
    fn of<T>(self, builder: Builder<T>) -> Builder<T> {
        match self {
            Self::Kept => builder.pool_idle_timeout(IDLE_MAX),
            Self::Closed => builder.pool_max_idle_per_host(0),
        }
    }
}

/// Builds the client of every AWS client here.
pub(super) fn client(trust: Trust, own_ports: Vec<u16>, idle: Idle) -> SharedHttpClient {
    let clear = idle.of(Builder::new()).build_http();
    SharedHttpClient::new(Guarded(Arc::new(Clients {
        clear,
        secure: OnceLock::new(),
        trust,
        idle,
        own_ports,
    })))
}

/// The clients by scheme. The one for https is made at its first call: reading the roots of trust
/// takes milliseconds of processor time, which a loopback endpoint does not need.
#[derive(Debug)]
struct Clients {
    clear: SharedHttpClient,
    secure: OnceLock<SharedHttpClient>,
    trust: Trust,
    idle: Idle,
    own_ports: Vec<u16>,
}

impl Clients {
    fn of(&self, scheme: Option<&str>) -> &SharedHttpClient {
        match scheme {
            Some("https") => self.secure.get_or_init(|| secure(&self.trust, self.idle)),
            _ => &self.clear,
        }
    }
}

/// Builds a client with rustls and aws-lc, whose key exchange is post-quantum by preference.
fn secure(trust: &Trust, idle: Idle) -> SharedHttpClient {
    let roots = TrustStore::empty().with_pem_certificate(trust.pem());
    let tls = TlsContext::builder().with_trust_store(roots).build();
    idle.of(Builder::new())
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .tls_context(tls.expect("every certificate has been read once"))
        .build_https()
}

/// Refuses to call Sidekey itself, whatever sent it there: a profile's `endpoint_url`, a redirected
/// STS.
#[derive(Debug)]
struct Guarded(Arc<Clients>);

impl HttpClient for Guarded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(GuardedConnector {
            clients: self.0.clone(),
            settings: settings.clone(),
            components: components.clone(),
        })
    }
}

#[derive(Debug)]
struct GuardedConnector {
    clients: Arc<Clients>,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for GuardedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri().parse::<hyper::Uri>().unwrap_or_default();
        if is_self(&uri, &self.clients.own_ports) {
            let message = "the endpoint of an AWS client is Sidekey itself";
            return HttpConnectorFuture::ready(Err(ConnectorError::user(message.into())));
        }
        let client = self.clients.of(uri.scheme_str());
        client.http_connector(&self.settings, &self.components).call(request)
    }
}

fn is_self(uri: &hyper::Uri, own_ports: &[u16]) -> bool {
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    uri.host().is_some_and(is_this_machine) && own_ports.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_roots_are_there() {
        let pem = Trust::default().pem();
        let trust = Trust::with_bundle(&pem).expect("the roots can be read");
        assert!(trust.own.len() > 100, "{} roots", trust.own.len());
    }

    #[test]
    fn a_bundle_that_cannot_be_read_is_refused_here_and_not_at_the_first_call() {
        assert_eq!(Trust::with_bundle(b"").map(|_| ()), Err(BadTrust::Empty));
        let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Trust::with_bundle(bad).map(|_| ()), Err(BadTrust::Certificate(1)));
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
            assert!(is_self(&own.parse().expect("a URI"), &[2773, 80]), "{own}");
        }
        for other in [
            "http://127.0.0.1:9001/",
            "https://secretsmanager.eu-north-1.amazonaws.com/",
            "http://10.0.0.1:2773",
        ] {
            assert!(!is_self(&other.parse().expect("a URI"), &[2773]), "{other}");
        }
    }
}
