//! Whom a TLS connection to AWS trusts, and how it is encrypted.

use rustls::crypto::{CryptoProvider, KeyProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, Error, RootCertStore};
use std::sync::Arc;

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

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(self.own.iter().cloned());
        roots
    }

    /// Returns how TLS is spoken: by aws-lc, whose key exchange is post-quantum by preference, with
    /// HTTP/1.1 in it.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        let provider = CryptoProvider { key_provider: &NoKeys, ..aws_lc_rs::default_provider() };
        let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers of both versions")
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(tls)
    }
}

/// Reads no private key: none is ever shown to a peer. A layer without the code for it is smaller.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("no private key is ever used".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn the_compiled_in_roots_are_trusted_beside_ones_own() {
        let compiled_in = Trust::default().roots().len();
        assert!(compiled_in > 100, "{compiled_in} roots");
        let own = rcgen::generate_simple_self_signed(["sidekey".to_owned()]).expect("a key");
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(own.cert.der())
        );
        let trust = Trust::with_bundle(pem.as_bytes()).expect("a bundle of one");
        assert_eq!(trust.roots().len(), compiled_in + 1);
    }

    #[test]
    fn a_bundle_that_cannot_be_read_is_refused_here_and_not_at_the_first_call() {
        assert_eq!(Trust::with_bundle(b"").map(|_| ()), Err(BadTrust::Empty));
        let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Trust::with_bundle(bad).map(|_| ()), Err(BadTrust::Certificate(1)));
    }
}
