//! The root certificates and the TLS configuration for connections to other servers.

use rustls::crypto::{CryptoProvider, KeyProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, Error, RootCertStore};
use std::sync::Arc;

/// The root certificates that the agent trusts: Mozilla's root certificates, which are compiled
/// into the program, and certificates from the user's configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    configured: Vec<CertificateDer<'static>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTrust {
    #[error("the file contains no certificate in PEM format")]
    Empty,
    /// Error: a certificate in the user's file of root certificates is invalid. The number is the
    /// position of this certificate in the file, counted from 1.
    #[error("the certificate at position {0} in the file is invalid")]
    Certificate(usize),
}

impl Trust {
    /// Trusts the certificates in `pem`, the content of a PEM file, in addition to Mozilla's root
    /// certificates. Returns an error if the file contains no certificate or an invalid
    /// certificate.
    pub(crate) fn with_bundle(pem: &[u8]) -> Result<Self, BadTrust> {
        let mut store = RootCertStore::empty();
        let mut configured = Vec::new();
        for (index, parsed) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let invalid = BadTrust::Certificate(index + 1);
            let certificate = parsed.map_err(|_| invalid)?;
            store.add(certificate.clone()).map_err(|_| invalid)?;
            configured.push(certificate);
        }
        if configured.is_empty() { Err(BadTrust::Empty) } else { Ok(Self { configured }) }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(self.configured.iter().cloned());
        roots
    }

    /// Returns the TLS configuration for connections to other servers. The configuration prefers a
    /// post-quantum key exchange, and allows only HTTP/1.1.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        let provider =
            CryptoProvider { key_provider: &NoPrivateKeys, ..aws_lc_rs::default_provider() };
        let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("the cryptography library must have cipher suites for TLS 1.2 and TLS 1.3")
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(tls)
    }
}

/// Rejects all private keys, because the agent uses no TLS client certificates. Without the code
/// that loads private keys, the Lambda layer is smaller.
#[derive(Debug)]
struct NoPrivateKeys;

impl KeyProvider for NoPrivateKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("Sidekey does not support client certificates".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn custom_roots_are_trusted_in_addition_to_compiled_in_roots() {
        let compiled_in = Trust::default().roots().len();
        assert!(
            compiled_in > 100,
            "Sidekey must contain over 100 root certificates, but contains {compiled_in}"
        );
        let own = rcgen::generate_simple_self_signed(["sidekey".to_owned()])
            .expect("the test must be able to create a self-signed certificate");
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(own.cert.der())
        );
        let trust = Trust::with_bundle(pem.as_bytes())
            .expect("a PEM file with one certificate must be valid");
        assert_eq!(trust.roots().len(), compiled_in + 1);
    }

    #[test]
    fn invalid_bundle_is_rejected_when_it_is_loaded() {
        assert_eq!(Trust::with_bundle(b"").map(|_| ()), Err(BadTrust::Empty));
        let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Trust::with_bundle(bad).map(|_| ()), Err(BadTrust::Certificate(1)));
    }
}
