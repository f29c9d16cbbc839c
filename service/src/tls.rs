//! TLS of a listener, and of calls to other nodes. Files are read again on demand; a set that cannot be used changes
//! nothing, and connections under way stay as they began.

use crate::Stream;
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What both ends of one TLS session derive from it and nobody else can; see [`crate::ClusterKeys`].
const BINDING_LABEL: &[u8] = b"EXPORTER-martlet-cluster-key";

/// Names the TLS session below a connection; zeros without one.
pub type Binding = [u8; 32];

/// Why files cannot be used for TLS. Names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl TlsError {
    fn of(path: &Path, error: impl fmt::Display) -> Self {
        TlsError(format!("{}: {error}", path.display()))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificate of a listener. Clones share what [`TlsServer::reload`] reads.
#[derive(Clone)]
pub struct TlsServer(Arc<ServerSide>);

struct ServerSide {
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
}

impl TlsServer {
    /// Reads a chain of certificates (the listener's own first) and its key, both PEM.
    pub fn load(certificate: &Path, key: &Path) -> Result<TlsServer, TlsError> {
        Ok(TlsServer(Arc::new(ServerSide {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            config: ArcSwap::from_pointee(server_config(certificate, key)?),
        })))
    }

    pub fn files(&self) -> Vec<PathBuf> {
        vec![self.0.certificate.clone(), self.0.key.clone()]
    }

    /// Reads the files again; connections from now on see what is in them.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = server_config(&self.0.certificate, &self.0.key)?;
        self.0.config.store(Arc::new(config));
        Ok(())
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(Stream, Binding)> {
        let acceptor = TlsAcceptor::from(self.0.config.load_full());
        let stream = acceptor.accept(stream).await?;
        let binding = stream
            .get_ref()
            .1
            .export_keying_material([0; 32], BINDING_LABEL, None)
            .map_err(io::Error::other)?;
        Ok((Stream::from(tokio_rustls::TlsStream::from(stream)), binding))
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsServer({})", self.0.certificate.display())
    }
}

fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::of(key, error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| TlsError::of(certificate, error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| TlsError::of(path, error))?;
    let read: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::of(path, error))?;
    if read.is_empty() {
        return Err(TlsError::of(path, "holds no certificate"));
    }
    Ok(read)
}

/// What certificates a caller believes. Clones share what [`TlsClient::reload`] reads.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientSide>);

struct ClientSide {
    authorities: PathBuf,
    /// The name that must stand in every certificate; the address that is called when `None`.
    name: Option<ServerName<'static>>,
    config: ArcSwap<ClientConfig>,
}

impl TlsClient {
    /// Believes what the authorities of a PEM file have signed, for `name` if one is given, else for the address that is
    /// called.
    pub fn load(authorities: &Path, name: Option<&str>) -> Result<TlsClient, TlsError> {
        let name = name.map(|name| ServerName::try_from(name.to_owned()));
        let name = name.transpose().map_err(|error| TlsError(error.to_string()))?;
        Ok(TlsClient(Arc::new(ClientSide {
            authorities: authorities.to_owned(),
            name,
            config: ArcSwap::from_pointee(client_config(authorities)?),
        })))
    }

    pub fn files(&self) -> Vec<PathBuf> {
        vec![self.0.authorities.clone()]
    }

    /// Reads the file again.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.config.store(Arc::new(client_config(&self.0.authorities)?));
        Ok(())
    }

    /// Speaks TLS over a connection to `host`, a name or an address.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<(Stream, Binding)> {
        let name = match &self.0.name {
            Some(name) => name.clone(),
            None => match host.parse::<IpAddr>() {
                Ok(address) => ServerName::from(address),
                Err(_) => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
            },
        };
        let connector = TlsConnector::from(self.0.config.load_full());
        let stream = connector.connect(name, stream).await?;
        let binding = stream
            .get_ref()
            .1
            .export_keying_material([0; 32], BINDING_LABEL, None)
            .map_err(io::Error::other)?;
        Ok((Stream::from(tokio_rustls::TlsStream::from(stream)), binding))
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsClient({})", self.0.authorities.display())
    }
}

fn client_config(authorities: &Path) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::of(authorities, error))?;
    }
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
