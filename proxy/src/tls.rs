//! How outgoing TLS checks whom it speaks to, and shows who calls: to Keystone, to a message broker.

use hyper_rustls::ConfigBuilderExt;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Whom an outgoing connection believes, and who it says it is.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// What errors begin with: the section of the configuration.
    pub section: &'static str,
    /// Authorities of one's own, PEM; the system's when left out.
    pub cafile: Option<&'a Path>,
    /// The certificate that is shown to who asks for one; none when left out.
    pub identity: Option<Identity<'a>>,
    /// No certificate of the other side is checked.
    pub insecure: bool,
    /// Whether TLS is spoken at all. If not, no authority is needed.
    pub is_wanted: bool,
}

/// A certificate of one's own and its key, PEM.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// One's own first, then those that signed it.
    pub certificate: &'a Path,
    /// The same file, if that holds both.
    pub key: &'a Path,
}

impl Trust<'_> {
    /// # Errors
    /// A sentence for the operator when there is no authority that could be believed, or no certificate to be shown.
    pub fn client_config(&self) -> Result<ClientConfig, String> {
        let fail = |text: String| format!("{}: {text}", self.section);
        let builder = self.believing()?;
        let Some(identity) = self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let of = |path: &Path, text: String| fail(format!("{}: {text}", path.display()));
        let chain = certificates(identity.certificate).map_err(|text| of(identity.certificate, text))?;
        let key = PrivateKeyDer::from_pem_file(identity.key)
            .map_err(|error| of(identity.key, error.to_string()))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| of(identity.certificate, error.to_string()))
    }

    fn believing(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
        let fail = |text: String| format!("{}: {text}", self.section);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(format!("TLS: {error}")))?;
        if self.insecure {
            let unchecked = Arc::new(Unchecked(provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(unchecked));
        }
        if let Some(path) = self.cafile {
            let roots = roots(path).map_err(|text| fail(format!("{}: {text}", path.display())))?;
            return Ok(builder.with_root_certificates(roots));
        }
        if !self.is_wanted {
            return Ok(builder.with_root_certificates(RootCertStore::empty()));
        }
        builder.with_native_roots().map_err(|error| {
            fail(format!(
                "the system's certificates: {error}; name a file of your own"
            ))
        })
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let read: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    match read.is_empty() {
        true => Err("holds no certificate".into()),
        false => Ok(read),
    }
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
