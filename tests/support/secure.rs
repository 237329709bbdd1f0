//! Certificates made for a test, and clients that speak TLS with them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::raw_http::{Answer, Request};

pub struct Authority {
    pub pem: String,
    pub der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Signed {
    pub pem: String,
    pub key_pem: String,
    pub der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// A client's, with this URI as its only name.
    pub fn client(&self, uri: &str) -> Signed {
        self.sign(|params| params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())])
    }
}

/// The files that a gateway reads.
pub struct TlsFiles {
    directory: tempfile::TempDir,
}

impl TlsFiles {
    pub fn new(signed: &Signed) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.rotate(signed);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        // As whoever mounts secrets does it: the new file takes the old one's place at once.
        let (path, fresh) = (self.path(name), self.path("fresh"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
        path
    }

    pub fn rotate(&self, signed: &Signed) {
        self.write("certificate.pem", &signed.pem);
        self.write("key.pem", &signed.key_pem);
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

pub type Stream = TlsStream<TcpStream>;

/// Shakes hands; the client trusts one authority, shows a certificate or none, and offers one protocol.
pub async fn connect(
    address: SocketAddr,
    trusted: &Authority,
    shown: Option<&Signed>,
    protocol: &str,
) -> std::io::Result<Stream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown {
        Some(signed) => {
            let key = PrivateKeyDer::try_from(signed.key_der.clone()).unwrap();
            builder.with_client_auth_cert(vec![signed.der.clone()], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Sends a request and reads until the other side closes; an error if it closed without an answer.
pub async fn exchange(stream: &mut Stream, request: &Request) -> std::io::Result<Answer> {
    stream.write_all(&request.to_bytes()).await?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    if answer.is_empty() {
        read?;
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Answer::parse(&answer, request.method == "HEAD"))
}

/// A connection of HTTP/2, driven beside the test.
pub async fn http2(stream: Stream) -> h2::client::SendRequest<Bytes> {
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    actix_rt::spawn(async move {
        let _ = connection.await;
    });
    send
}

/// One call by HTTP/2: the status, the headers as text, and the body.
pub async fn call2(
    send: &h2::client::SendRequest<Bytes>,
    request: http02::Request<()>,
    body: Option<Bytes>,
) -> Result<(u16, String, String), h2::Error> {
    let mut ready = send.clone().ready().await?;
    let (response, mut sending) = ready.send_request(request, body.is_none())?;
    if let Some(body) = body {
        sending.send_data(body, true)?;
    }
    let (head, mut stream) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok((head.status.as_u16(), format!("{:?}", head.headers), String::from_utf8_lossy(&bytes).into_owned()))
}
