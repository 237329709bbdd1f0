//! TLS of our own: the certificate and key from their files, read again when they change, and the client
//! certificates of the authorities that are trusted.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig as TlsConfig};
use sha2::{Digest, Sha256};

use crate::clock::UnixMillis;
use crate::config::server::ServerConfig;
use crate::identity::Certificate;

/// What is in use now.
#[derive(Debug)]
pub(in crate::http) struct Loaded {
    pub config: Arc<TlsConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Our certificate is good until then.
    pub not_after: UnixMillis,
    contents: [u8; 32],
    authorities: [u8; 32],
}

/// A client certificate as it was shown in a handshake.
#[derive(Debug)]
pub(in crate::http) struct Presented {
    pub certificate: Arc<Certificate>,
    chain: Vec<CertificateDer<'static>>,
    /// The authorities that it was last verified with.
    authorities: Cell<[u8; 32]>,
}

#[derive(Debug)]
pub(in crate::http) struct Tls {
    settings: ServerConfig,
    current: ArcSwap<Loaded>,
}

impl Tls {
    /// Loads the files; `None` if TLS is not spoken. A certificate that is no good refuses the start.
    pub fn open(settings: &ServerConfig, now: UnixMillis) -> Result<Option<Self>, String> {
        if !settings.speaks_tls() {
            return Ok(None);
        }
        let loaded = load(settings, now, None)?.ok_or("nothing was loaded")?;
        Ok(Some(Self { settings: settings.clone(), current: ArcSwap::from_pointee(loaded) }))
    }

    pub fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// Reads the files again; true if they changed and are in use from now on.
    pub fn reload(&self, now: UnixMillis) -> Result<bool, String> {
        let Some(loaded) = load(&self.settings, now, Some(self.current.load().contents))? else {
            return Ok(false);
        };
        self.current.store(Arc::new(loaded));
        Ok(true)
    }

    /// What the client showed in the handshake that `loaded` was used for.
    pub fn presented(
        loaded: &Loaded,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<Presented>, String> {
        let Some([first, ..]) = chain else { return Ok(None) };
        let certificate = Certificate::from_der(first).ok_or("the client certificate cannot be read")?;
        let chain = chain.unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();
        let authorities = Cell::new(loaded.authorities);
        Ok(Some(Presented { certificate: Arc::new(certificate), chain, authorities }))
    }

    /// Whether those whom we trust now vouch for it: authorities may have changed since the handshake.
    pub fn still_trusts(&self, presented: &Presented, now: UnixMillis) -> bool {
        let loaded = self.current.load();
        if presented.authorities.get() == loaded.authorities {
            return true;
        }
        let (Some(verifier), [first, rest @ ..]) = (&loaded.verifier, presented.chain.as_slice()) else {
            return false;
        };
        let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.0).unwrap_or(0)));
        let trusted = verifier.verify_client_cert(first, rest, now).is_ok();
        if trusted {
            presented.authorities.set(loaded.authorities);
        }
        trusted
    }
}

fn read(key: &str, path: Option<&Path>) -> Result<Vec<u8>, String> {
    let Some(path) = path else { return Ok(Vec::new()) };
    std::fs::read(path).map_err(|error| format!("`server.{key}` `{}`: {error}", path.display()))
}

/// Loads what the files hold; `None` if that is `known`.
fn load(settings: &ServerConfig, now: UnixMillis, known: Option<[u8; 32]>) -> Result<Option<Loaded>, String> {
    let certificate = read("tls_certificate", settings.tls_certificate.as_deref())?;
    let key = read("tls_key", settings.tls_key.as_deref())?;
    let authorities = read("tls_client_ca", settings.tls_client_ca.as_deref())?;
    let mut digest = Sha256::new();
    for part in [&certificate, &key, &authorities] {
        digest.update(Sha256::digest(part));
    }
    let contents = digest.finalize().into();
    if known == Some(contents) {
        return Ok(None);
    }
    let bad = |key: &str, problem: &dyn std::fmt::Display| format!("`server.{key}` is no good: {problem}");
    let chain = certificates(&certificate).map_err(|problem| bad("tls_certificate", &problem))?;
    let own = Certificate::from_der(&chain[0])
        .ok_or_else(|| bad("tls_certificate", &"the first certificate cannot be read"))?;
    if !own.is_valid_at(now) {
        return Err(bad("tls_certificate", &"it has expired or is not valid yet"));
    }
    // The error would say what stands in the file, and it is a secret.
    let private = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| bad("tls_key", &"it holds no private key in PEM form"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = TlsConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let verifier = match &settings.tls_client_ca {
        Some(_) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(&authorities).map_err(|problem| bad("tls_client_ca", &problem))? {
                roots.add(authority).map_err(|error| bad("tls_client_ca", &error))?;
            }
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            if !settings.tls_client_required {
                verifier = verifier.allow_unauthenticated();
            }
            Some(verifier.build().map_err(|error| bad("tls_client_ca", &error))?)
        }
        None => None,
    };
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, private)
        .map_err(|error| bad("tls_key", &format!("it does not go with the certificate: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if verifier.is_some() {
        // A resumed session brings its client certificate along, and nobody verifies it again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Some(Loaded {
        config: Arc::new(config),
        verifier,
        not_after: own.not_after,
        contents,
        authorities: Sha256::digest(&authorities).into(),
    }))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("it holds no certificate in PEM form".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
