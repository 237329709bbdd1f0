//! Client certificates: what of one counts, and which service principal it stands for.
//!
//! That a trusted authority signed it, and that the client holds its key, was verified in the TLS handshake.
//! What the handshake cannot know is checked here at each request: that it has not expired meanwhile, and that
//! the principal is known and active.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::IdentityError;
use super::short_cache::ShortCache;
use super::tokens::deactivated;
use crate::access::{Caller, Principal, Proof, Scheme};
use crate::clock::{Clock, UnixMillis};
use crate::config::identity::{CertificateConfig, IdentityConfig};
use crate::store::Store;

/// What counts of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub uris: Vec<String>,
    pub dns: Vec<String>,
    pub common_names: Vec<String>,
    pub not_before: UnixMillis,
    pub not_after: UnixMillis,
    /// The SHA-256 of the whole, in hexadecimal: how the record calls it.
    pub fingerprint: String,
}

impl Certificate {
    /// Reads one in DER form; `None` if it is none.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let (mut uris, mut dns) = (Vec::new(), Vec::new());
        // An error here is a second list of names, or one that cannot be read.
        if let Some(names) = parsed.subject_alternative_name().ok()? {
            for name in &names.value.general_names {
                match name {
                    GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                    GeneralName::DNSName(name) => dns.push((*name).to_owned()),
                    _ => {}
                }
            }
        }
        let common_names = parsed.subject().iter_common_name().map(|name| name.as_str().map(str::to_owned));
        let millis = |seconds: i64| UnixMillis(seconds.saturating_mul(1000));
        Some(Self {
            uris,
            dns,
            common_names: common_names.collect::<Result<_, _>>().ok()?,
            not_before: millis(parsed.validity().not_before.timestamp()),
            not_after: millis(parsed.validity().not_after.timestamp()),
            fingerprint: hex::encode(Sha256::digest(der)),
        })
    }

    /// Whether it is valid at a moment; it is through the whole of its last second.
    pub fn is_valid_at(&self, now: UnixMillis) -> bool {
        self.not_before <= now && now.0 < self.not_after.0.saturating_add(1000)
    }
}

pub(super) struct Certificates {
    rules: Vec<CertificateConfig>,
    store: Store,
    clock: Arc<dyn Clock>,
    active: ShortCache<Principal, Option<bool>>,
}

impl Certificates {
    pub fn new(config: &IdentityConfig, store: Store, clock: Arc<dyn Clock>) -> Self {
        let active = ShortCache::new(config.token_cache_seconds, clock.clone());
        Self { rules: config.certificates.clone(), store, clock, active }
    }

    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    pub fn forget(&self) {
        self.active.forget();
    }

    pub async fn authenticate(&self, certificate: &Certificate) -> Result<Caller, IdentityError> {
        if !certificate.is_valid_at(self.clock.now()) {
            return Err(IdentityError::refused("the client certificate has expired or is not valid yet"));
        }
        let name = service_principal(&self.rules, certificate)?;
        let principal =
            Principal::service_principal(name).map_err(|error| IdentityError::refused(error.to_string()))?;
        let active = match self.active.get(&principal) {
            Some(active) => active,
            None => {
                let asked = self.active.asking();
                let active = self.store.is_active(&principal).await?;
                self.active.put(principal.clone(), active, asked);
                active
            }
        };
        match active {
            Some(true) => {
                let credential = certificate.fingerprint.clone();
                Ok(Caller::new(principal, Vec::new(), Proof { scheme: Scheme::Certificate, credential }))
            }
            Some(false) => Err(deactivated(&principal)),
            None => Err(IdentityError::refused(format!("`{principal}` is not known here"))),
        }
    }
}

/// The one service principal that the certificate's names stand for.
fn service_principal<'r>(
    rules: &'r [CertificateConfig],
    certificate: &Certificate,
) -> Result<&'r str, IdentityError> {
    let mut matching = rules.iter().filter(|rule| matches(rule, certificate));
    let Some(first) = matching.next() else {
        return Err(IdentityError::refused("the client certificate stands for no service principal"));
    };
    if matching.any(|other| other.service_principal != first.service_principal) {
        return Err(IdentityError::refused("the client certificate stands for several service principals"));
    }
    Ok(&first.service_principal)
}

fn matches(rule: &CertificateConfig, certificate: &Certificate) -> bool {
    if let Some(uri) = &rule.uri {
        return certificate.uris.contains(uri);
    }
    if let Some(dns) = &rule.dns {
        return certificate.dns.iter().any(|name| name.eq_ignore_ascii_case(dns));
    }
    // Of several common names nobody knows which is meant.
    matches!((&rule.common_name, certificate.common_names.as_slice()), (Some(name), [only]) if name == only)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(uris: &[&str], dns: &[&str], common_names: &[&str]) -> Certificate {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Certificate {
            uris: owned(uris),
            dns: owned(dns),
            common_names: owned(common_names),
            not_before: UnixMillis(1000),
            not_after: UnixMillis(5000),
            fingerprint: String::new(),
        }
    }

    fn rules() -> Vec<CertificateConfig> {
        let rule = |service_principal: &str| CertificateConfig {
            service_principal: service_principal.to_owned(),
            ..CertificateConfig::default()
        };
        vec![
            CertificateConfig { uri: Some("spiffe://a/agent".into()), ..rule("agent") },
            CertificateConfig { dns: Some("batch.example.org".into()), ..rule("batch") },
            CertificateConfig { common_name: Some("robot".into()), ..rule("robot") },
            CertificateConfig { dns: Some("agent.example.org".into()), ..rule("agent") },
        ]
    }

    #[test]
    fn a_certificate_stands_for_whom_one_of_its_whole_names_says() {
        let rules = rules();
        let found = |uris: &[&str], dns: &[&str], names: &[&str]| {
            service_principal(&rules, &certificate(uris, dns, names)).ok().map(str::to_owned)
        };
        assert_eq!(found(&["spiffe://a/agent"], &[], &[]).as_deref(), Some("agent"));
        assert_eq!(found(&["spiffe://a/agent"], &["agent.example.org"], &[]).as_deref(), Some("agent"));
        assert_eq!(found(&[], &["other", "BATCH.example.org"], &["x"]).as_deref(), Some("batch"));
        assert_eq!(found(&[], &[], &["robot"]).as_deref(), Some("robot"));
        // Longer, shorter, in another place, in another case, and of two principals at once.
        for (uris, dns, names) in [
            (&["spiffe://a/agent/x"][..], &[][..], &[][..]),
            (&["spiffe://a/agen"], &[], &[]),
            (&["spiffe://A/agent"], &[], &[]),
            (&[], &["spiffe://a/agent"], &["spiffe://a/agent", "batch.example.org"]),
            (&["batch.example.org"], &["robot", "*.example.org", "batch.example.org.evil"], &[]),
            (&[], &[], &["robot", "other"]),
            (&[], &[], &["Robot"]),
            (&["spiffe://a/agent"], &["batch.example.org"], &[]),
            (&[], &[], &[]),
        ] {
            assert_eq!(found(uris, dns, names), None, "{uris:?} {dns:?} {names:?}");
        }
    }

    #[test]
    fn it_is_valid_from_its_first_second_through_its_last() {
        let certificate = certificate(&[], &[], &[]);
        for (now, valid) in [(999, false), (1000, true), (5999, true), (6000, false)] {
            assert_eq!(certificate.is_valid_at(UnixMillis(now)), valid, "{now}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        for bytes in [&b""[..], b"\x30\x00", b"-----BEGIN CERTIFICATE-----", &[0xff; 64]] {
            assert_eq!(Certificate::from_der(bytes), None);
        }
    }
}
