//! How outgoing TLS checks whom it speaks to: Keystone, a message broker.

use hyper_rustls::ConfigBuilderExt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Whom an outgoing connection believes.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// What errors begin with: the section of the configuration.
    pub section: &'static str,
    /// Authorities of one's own, PEM; the system's when left out.
    pub cafile: Option<&'a Path>,
    /// No certificate is checked.
    pub insecure: bool,
    /// Whether TLS is spoken at all. If not, no authority is needed.
    pub is_wanted: bool,
}

impl Trust<'_> {
    /// # Errors
    /// A sentence for the operator when there is no authority that could be believed.
    pub fn client_config(&self) -> Result<ClientConfig, String> {
        let fail = |text: String| format!("{}: {text}", self.section);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(format!("TLS: {error}")))?;
        if self.insecure {
            let unchecked = Arc::new(Unchecked(provider));
            return Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(unchecked)
                .with_no_client_auth());
        }
        if let Some(path) = self.cafile {
            let roots = roots(path).map_err(|text| fail(format!("{}: {text}", path.display())))?;
            return Ok(builder.with_root_certificates(roots).with_no_client_auth());
        }
        if !self.is_wanted {
            return Ok(builder
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth());
        }
        let builder = builder.with_native_roots().map_err(|error| {
            fail(format!(
                "the system's certificates: {error}; name a file of your own"
            ))
        })?;
        Ok(builder.with_no_client_auth())
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("holds no certificate".into());
    }
    Ok(roots)
}

/// Takes every certificate. That the other side holds its key is still checked, which keeps out nobody who would put
/// himself between.
struct Unchecked(Arc<CryptoProvider>);

impl fmt::Debug for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unchecked")
    }
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
