//! Who may say who calls: our own tokens always, and the JWT issuers named here.

mod sign_in;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::access::Principal;
use crate::secret::SecretText;

const SECRET_ALGORITHMS: [&str; 3] = ["HS256", "HS384", "HS512"];
const PUBLIC_KEY_ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// The `[identity]` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// The JWT claim that names the user (claim name).
    pub username_claim: String,
    /// The JWT claim that lists the caller's groups (claim name). Without it, groups are local only.
    pub groups_claim: Option<String>,
    /// The JWT claim that names a service principal (claim name). Where a token has it, the caller is that
    /// service principal and not a user.
    pub service_principal_claim: Option<String>,
    /// Whether the groups claim may say `admins`. Off: administrators are made in Tracegate alone, and
    /// whoever can name a group at the issuer cannot make himself one.
    pub trust_admin_group: bool,
    /// How far an issuer's clock may differ from ours (seconds, at most 300).
    pub clock_skew_seconds: u64,
    /// The issuers whose JWTs are accepted.
    pub issuers: Vec<IssuerConfig>,
    /// Which tokens of an issuer may be exchanged for one of a service principal: a CI job's, a Kubernetes
    /// service account's.
    pub federation: Vec<FederationConfig>,
    /// Which client certificates stand for which service principals.
    pub certificates: Vec<CertificateConfig>,
    /// How long a person stays signed in with a browser at most (minutes).
    pub session_minutes: u64,
    /// After how long without a request a browser's session ends (minutes).
    pub session_idle_minutes: u64,
    /// How long a new token may live at most (days). Without it, tokens may be made that do not end.
    pub token_max_days: Option<u64>,
    /// How long an access token lives that a service principal gets for its secret or another issuer's token
    /// (seconds, 60 to 86400).
    pub access_token_seconds: u64,
    /// Whether people may have passwords of Tracegate's own, for clients of MLflow's basic-auth. Off: a
    /// password is not even looked at.
    pub passwords: bool,
    /// How long a token or a principal's state may be served from memory (seconds, at most 60): the time
    /// in which a revocation reaches the other replicas. This one knows at once.
    pub token_cache_seconds: u64,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            username_claim: "sub".to_owned(),
            groups_claim: None,
            service_principal_claim: None,
            trust_admin_group: false,
            clock_skew_seconds: 60,
            issuers: Vec::new(),
            federation: Vec::new(),
            certificates: Vec::new(),
            session_minutes: 720,
            session_idle_minutes: 60,
            token_max_days: None,
            access_token_seconds: 3600,
            passwords: false,
            token_cache_seconds: 5,
        }
    }
}

/// One `[[identity.issuers]]`: an issuer with public keys (its JWKS, found by discovery if not named) or
/// with one shared secret.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` claim, exactly.
    pub issuer: String,
    /// The `aud` claims accepted; one of them must be in the token. Without any, tokens of this issuer are only
    /// to be exchanged by the rules of `[[identity.federation]]`, and nobody can call with one.
    pub audience: Vec<String>,
    /// Where the issuer publishes its keys (URL). Without it and without a secret, the issuer's
    /// `/.well-known/openid-configuration` says where.
    pub jwks_url: Option<String>,
    /// The secret shared with the issuer (at least 32 bytes).
    pub hs256_secret: Option<SecretText>,
    /// A file that holds that secret; a newline at its end does not count (path).
    pub hs256_secret_file: Option<PathBuf>,
    /// The algorithms accepted (JWA names). By default `HS256` with a secret, else `RS256`, `ES256` and
    /// `EdDSA`.
    pub algorithms: Vec<String>,
    /// Whether keys may be fetched over plain HTTP from another machine: whoever is on the way can then
    /// be anyone. Loopback needs no permission.
    pub allow_plain_http: bool,
    /// By what name the sign-in page calls it. By default the issuer's host.
    pub display_name: Option<String>,
    /// The id under which the issuer knows Tracegate. With it people can sign in with a browser.
    pub client_id: Option<String>,
    /// The secret that goes with `client_id`, unless Tracegate is a public client there.
    pub client_secret: Option<SecretText>,
    /// A file that holds that secret; a newline at its end does not count (path).
    pub client_secret_file: Option<PathBuf>,
    /// The scopes asked for at sign-in (scope names). By default `openid`, `profile` and `email`; with
    /// `offline_access` a session can be renewed while nobody looks.
    pub scopes: Vec<String>,
    /// The claim that names the user, if other than `identity.username_claim` (claim name).
    pub username_claim: Option<String>,
    /// The claim that lists groups, if other than `identity.groups_claim` (claim name).
    pub groups_claim: Option<String>,
    /// A claim that lists roles, which become groups too (claim name; `a.b` is `b` within `a`).
    pub roles_claim: Option<String>,
    /// The claim that names a service principal, if other than `identity.service_principal_claim` (claim name).
    pub service_principal_claim: Option<String>,
    /// What the issuer's groups and roles are called here. With it, groups that are not listed are left out.
    pub group_names: BTreeMap<String, String>,
    /// Whether whoever comes with a good token is entered as a principal on first sight. Off: those whom nobody
    /// entered before are refused.
    pub enroll: bool,
}

/// One `[[identity.federation]]`: a rule by which a foreign token stands for a service principal. All that is
/// said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FederationConfig {
    /// The `iss` of an issuer of `[[identity.issuers]]`, whose keys and algorithms count.
    pub issuer: String,
    /// The `aud` claims accepted; one of them must be in the token. Not those of people's tokens.
    pub audience: Vec<String>,
    /// The `sub` claim, exactly.
    pub subject: Option<String>,
    /// Further claims and the text each must have, exactly. A name that begins with `/` is a JSON pointer:
    /// `/kubernetes.io/namespace` is `namespace` within `kubernetes.io`. A rule needs a subject or a claim.
    pub claims: BTreeMap<String, String>,
    /// The name of the service principal that it stands for.
    pub service_principal: String,
}

/// One `[[identity.certificates]]`: the one name by which a certificate of `server.tls_client_ca` stands for a
/// service principal. Names are compared whole, never by pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateConfig {
    /// A URI among the certificate's alternative names, exactly: `spiffe://example.org/agent`.
    pub uri: Option<String>,
    /// A DNS name among them, in any case.
    pub dns: Option<String>,
    /// The subject's common name, exactly. It counts only in a certificate that has one alone.
    pub common_name: Option<String>,
    /// The name of the service principal that it stands for.
    pub service_principal: String,
}

impl Default for IssuerConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: Vec::new(),
            jwks_url: None,
            hs256_secret: None,
            hs256_secret_file: None,
            algorithms: Vec::new(),
            allow_plain_http: false,
            display_name: None,
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            scopes: Vec::new(),
            username_claim: None,
            groups_claim: None,
            roles_claim: None,
            service_principal_claim: None,
            group_names: BTreeMap::new(),
            enroll: true,
        }
    }
}

impl IssuerConfig {
    /// Whether tokens are signed with a shared secret.
    pub fn has_secret(&self) -> bool {
        self.hs256_secret.is_some() || self.hs256_secret_file.is_some()
    }

    /// The algorithms accepted, defaults filled in.
    pub fn accepted_algorithms(&self) -> Vec<String> {
        if !self.algorithms.is_empty() {
            return self.algorithms.clone();
        }
        let default: &[&str] = if self.has_secret() { &["HS256"] } else { &["RS256", "ES256", "EdDSA"] };
        default.iter().map(|name| (*name).to_owned()).collect()
    }
}

impl IdentityConfig {
    /// How far an issuer's clock may differ from ours, in milliseconds.
    pub fn clock_skew_ms(&self) -> i64 {
        i64::try_from(self.clock_skew_seconds.min(300)).unwrap_or(0) * 1000
    }

    pub fn validate(&self, problems: &mut Vec<String>) {
        let claims = [
            ("username_claim", Some(&self.username_claim)),
            ("groups_claim", self.groups_claim.as_ref()),
            ("service_principal_claim", self.service_principal_claim.as_ref()),
        ];
        for (key, claim) in claims {
            if claim.is_some_and(String::is_empty) {
                problems.push(format!("`identity.{key}` is empty; name a claim or leave the key out"));
            }
        }
        if self.clock_skew_seconds > 300 {
            problems.push("`identity.clock_skew_seconds` is over 300; set the clocks instead".to_owned());
        }
        if self.token_cache_seconds > 60 {
            problems.push(
                "`identity.token_cache_seconds` is over 60; a revoked token would work for that long"
                    .to_owned(),
            );
        }
        sign_in::validate_sessions(self, problems);
        if self.token_max_days == Some(0) {
            problems
                .push("`identity.token_max_days` is 0; leave it out for tokens without an end".to_owned());
        }
        if !(60..=86_400).contains(&self.access_token_seconds) {
            problems.push("`identity.access_token_seconds` must be 60 to 86400".to_owned());
        }
        for (index, rule) in self.federation.iter().enumerate() {
            rule.validate(&format!("identity.federation[{index}]"), &self.issuers, problems);
        }
        for (index, issuer) in self.issuers.iter().enumerate() {
            if issuer.audience.is_empty() && self.federation.iter().all(|rule| rule.issuer != issuer.issuer) {
                problems.push(format!(
                    "`identity.issuers[{index}].audience` is missing; set it to the `aud` claim that the issuer \
                     gives for Tracegate, or name the issuer in `[[identity.federation]]`"
                ));
            }
            issuer.validate(&format!("identity.issuers[{index}]"), problems);
            sign_in::validate(self, issuer, &format!("identity.issuers[{index}]"), problems);
            if self.issuers.iter().take(index).any(|other| other.issuer == issuer.issuer) {
                problems.push(format!("`identity.issuers[{index}].issuer` is listed twice; keep one"));
            }
        }
        for (index, rule) in self.certificates.iter().enumerate() {
            rule.validate(&format!("identity.certificates[{index}]"), problems);
            if self.certificates.iter().take(index).any(|other| other.same_name(rule)) {
                problems
                    .push(format!("`identity.certificates[{index}]` names a certificate twice; keep one"));
            }
        }
    }
}

impl CertificateConfig {
    fn names(&self) -> [Option<&String>; 3] {
        [self.uri.as_ref(), self.dns.as_ref(), self.common_name.as_ref()]
    }

    fn same_name(&self, other: &Self) -> bool {
        let dns = |rule: &Self| rule.dns.as_ref().map(|name| name.to_ascii_lowercase());
        (&self.uri, &self.common_name, dns(self)) == (&other.uri, &other.common_name, dns(other))
    }

    fn validate(&self, at: &str, problems: &mut Vec<String>) {
        if self.names().into_iter().flatten().count() != 1 {
            problems.push(format!("`{at}` needs exactly one of `uri`, `dns` and `common_name`"));
        }
        if self.names().into_iter().flatten().any(|name| name.is_empty() || name.contains('*')) {
            problems.push(format!("`{at}` has an empty name or a `*`; names are compared whole"));
        }
        if Principal::service_principal(&self.service_principal).is_err() {
            problems.push(format!("`{at}.service_principal` is missing or no name of a service principal"));
        }
    }
}

impl FederationConfig {
    fn validate(&self, at: &str, issuers: &[IssuerConfig], problems: &mut Vec<String>) {
        let Some(issuer) = issuers.iter().find(|issuer| issuer.issuer == self.issuer) else {
            problems
                .push(format!("`{at}.issuer` is `{}`, which `identity.issuers` does not list", self.issuer));
            return;
        };
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            problems.push(format!(
                "`{at}.audience` is missing; set it to the `aud` claim of the workload's tokens"
            ));
        }
        // Such a token would be two things at once: exchanged, and sent as it is.
        if let Some(both) = self.audience.iter().find(|audience| issuer.audience.contains(audience)) {
            problems.push(format!(
                "`{at}.audience` has `{both}`, which is the issuer's own for people too; let the workload's tokens \
                 have another"
            ));
        }
        if self.subject.is_none() && self.claims.is_empty() {
            problems.push(format!(
                "`{at}` has neither `subject` nor `claims`, so that every token of the issuer would do; say which"
            ));
        }
        let empty = |text: &String| text.is_empty();
        if self.subject.as_ref().is_some_and(empty)
            || self.claims.iter().any(|(name, wanted)| name.is_empty() || wanted.is_empty())
        {
            problems.push(format!("`{at}` has an empty subject or claim; leave it out instead"));
        }
        if let Err(error) = crate::access::Principal::service_principal(&self.service_principal) {
            problems.push(format!("`{at}.service_principal`: {error}"));
        }
    }
}

impl IssuerConfig {
    fn validate(&self, at: &str, problems: &mut Vec<String>) {
        if self.issuer.is_empty() {
            problems.push(format!("`{at}.issuer` is missing; set it to the tokens' `iss` claim"));
        }
        if self.audience.iter().any(String::is_empty) {
            problems
                .push(format!("`{at}.audience` has an empty name; an audience is the `aud` claim of tokens"));
        }
        let sources =
            [self.jwks_url.is_some(), self.hs256_secret.is_some(), self.hs256_secret_file.is_some()];
        if sources.iter().filter(|set| **set).count() > 1 {
            problems.push(format!(
                "`{at}` has more than one of `jwks_url`, `hs256_secret` and `hs256_secret_file`; keep one"
            ));
        }
        if self.hs256_secret.as_ref().is_some_and(|secret| secret.expose().len() < 32) {
            problems.push(format!("`{at}.hs256_secret` is shorter than 32 bytes; make a longer one"));
        }
        let allowed: &[&str] = if self.has_secret() { &SECRET_ALGORITHMS } else { &PUBLIC_KEY_ALGORITHMS };
        for name in self.algorithms.iter().filter(|name| !allowed.contains(&name.as_str())) {
            problems.push(format!(
                "`{at}.algorithms` has `{name}`, which does not go with its keys; use any of {}",
                allowed.join(", ")
            ));
        }
        if !self.has_secret() {
            let (key, url) = match &self.jwks_url {
                Some(url) => ("jwks_url", url),
                None => ("issuer", &self.issuer),
            };
            if !self.allows(url) {
                problems.push(format!(
                    "`{at}.{key}` must be an `https://` URL to fetch keys from; set `{at}.allow_plain_http = true` \
                     to trust everyone on the way"
                ));
            }
        }
    }

    /// Whether keys may be fetched from this URL.
    pub fn allows(&self, url: &str) -> bool {
        if url.starts_with("https://") {
            return true;
        }
        let Some(rest) = url.strip_prefix("http://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => authority.split(':').next().unwrap_or_default(),
        };
        // A name before `@` would only look like the host.
        let is_loopback = !authority.contains('@') && matches!(host, "localhost" | "127.0.0.1" | "::1");
        self.allow_plain_http || is_loopback
    }
}

/// The secret is not shown.
impl fmt::Debug for IssuerConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssuerConfig")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("jwks_url", &self.jwks_url)
            .field("hs256_secret", &self.hs256_secret)
            .field("hs256_secret_file", &self.hs256_secret_file)
            .field("algorithms", &self.algorithms)
            .field("allow_plain_http", &self.allow_plain_http)
            .field("display_name", &self.display_name)
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("client_secret_file", &self.client_secret_file)
            .field("scopes", &self.scopes)
            .field("username_claim", &self.username_claim)
            .field("groups_claim", &self.groups_claim)
            .field("roles_claim", &self.roles_claim)
            .field("service_principal_claim", &self.service_principal_claim)
            .field("group_names", &self.group_names)
            .field("enroll", &self.enroll)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let config: IdentityConfig = toml::from_str(text).unwrap();
        let mut problems = Vec::new();
        config.validate(&mut problems);
        problems
    }

    #[test]
    fn a_rule_for_certificates_has_one_whole_name_and_one_service_principal() {
        let rule = |name: &str| format!("[[certificates]]\n {name}\n service_principal = \"agent\"\n");
        assert!(problems(&[rule("uri = \"spiffe://a\""), rule("dns = \"a.example\"")].concat()).is_empty());
        for (text, named) in [
            (rule(""), "exactly one"),
            (rule("uri = \"a\"\n dns = \"b\""), "exactly one"),
            (rule("dns = \"*.example\""), "compared whole"),
            (rule("common_name = \"\""), "compared whole"),
            ([rule("dns = \"a.example\""), rule("dns = \"A.example\"")].concat(), "certificates[1]"),
            ("[[certificates]]\n uri = \"a\"\n".to_owned(), "service_principal"),
        ] {
            let found = problems(&text);
            assert!(found.len() == 1 && found[0].contains(named), "{text}: {found:?}");
        }
    }

    #[test]
    fn each_bad_value_is_named_by_its_key() {
        assert!(problems("").is_empty());
        let found = problems(
            "clock_skew_seconds = 3600\n\
             [[issuers]]\n issuer = \"https://a\"\n audience = [\"t\"]\n\
             [[issuers]]\n issuer = \"https://b\"\n hs256_secret = \"short\"\n algorithms = [\"RS256\"]\n\
             [[issuers]]\n issuer = \"http://c\"\n audience = [\"t\"]\n algorithms = [\"none\", \"HS256\"]\n",
        );
        let expected = [
            "identity.clock_skew_seconds",
            "identity.issuers[1].audience",
            "identity.issuers[1].hs256_secret",
            "identity.issuers[1].algorithms",
            "identity.issuers[2].algorithms` has `none`",
            "identity.issuers[2].algorithms` has `HS256`",
            "identity.issuers[2].issuer",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (problem, key) in found.iter().zip(expected) {
            assert!(problem.contains(key), "{problem} should name {key}");
        }
    }

    #[test]
    fn a_trust_rule_must_say_whom_it_trusts() {
        let issuers = "[[issuers]]\n issuer = \"https://people\"\n audience = [\"t\"]\n\
             [[issuers]]\n issuer = \"https://ci\"\n";
        let with = |rule: &str| problems(&format!("{issuers}[[federation]]\n{rule}"));
        let good =
            "issuer = \"https://ci\"\n audience = [\"ci\"]\n subject = \"a\"\n service_principal = \"x\"";
        assert!(with(good).is_empty(), "{:?}", with(good));
        let people = good.replace("https://ci", "https://people");
        for (key, rule) in [
            ("federation[0].issuer", good.replace("https://ci", "https://elsewhere")),
            ("federation[0].audience", good.replace("[\"ci\"]", "[]")),
            ("federation[0].audience", people.replace("[\"ci\"]", "[\"t\"]")),
            ("federation[0]` has neither", good.replace("subject = \"a\"", "")),
            ("federation[0]` has an empty", good.replace("subject = \"a\"", "subject = \"\"")),
            ("federation[0].service_principal", good.replace("\"x\"", "\"\"")),
            // Nothing speaks of the second issuer: its tokens would be for nothing.
            ("issuers[1].audience", people),
        ] {
            let found = with(&rule);
            assert!(found.iter().any(|problem| problem.contains(key)), "{key}: {found:?}");
        }
        let limits = problems("token_max_days = 0\naccess_token_seconds = 59");
        assert!(limits[0].contains("token_max_days") && limits[1].contains("access_token_seconds"));
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        let issuer = IssuerConfig::default();
        for good in ["https://x", "http://127.0.0.1:80/x", "http://localhost", "http://[::1]:8/"] {
            assert!(issuer.allows(good), "{good}");
        }
        for bad in [
            "http://x",
            "http://localhost.evil",
            "http://localhost@evil/",
            "http://127.0.0.1.evil/",
            "file:///etc/x",
        ] {
            assert!(!issuer.allows(bad), "{bad}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let issuer = IssuerConfig { hs256_secret: Some("hunter2".into()), ..Default::default() };
        assert!(!format!("{issuer:?}").contains("hunter2"));
    }
}
