//! Checks of what concerns people with a browser, and of what the claims are called.

use super::{IdentityConfig, IssuerConfig};
use crate::access::Principal;

/// A session of more than a month would outlive what anybody remembers of it.
const LONGEST_SESSION_MINUTES: u64 = 43_200;

pub(super) fn validate_sessions(config: &IdentityConfig, problems: &mut Vec<String>) {
    for (key, minutes) in
        [("session_minutes", config.session_minutes), ("session_idle_minutes", config.session_idle_minutes)]
    {
        if !(1..=LONGEST_SESSION_MINUTES).contains(&minutes) {
            problems.push(format!("`identity.{key}` is {minutes}: expected 1 to {LONGEST_SESSION_MINUTES}"));
        }
    }
}

pub(super) fn validate(config: &IdentityConfig, issuer: &IssuerConfig, at: &str, problems: &mut Vec<String>) {
    let mut wrong = |problem: String| problems.push(format!("`{at}.{problem}"));
    for (key, text) in [
        ("display_name", &issuer.display_name),
        ("client_id", &issuer.client_id),
        ("username_claim", &issuer.username_claim),
        ("groups_claim", &issuer.groups_claim),
        ("roles_claim", &issuer.roles_claim),
        ("service_principal_claim", &issuer.service_principal_claim),
    ] {
        if text.as_ref().is_some_and(String::is_empty) {
            wrong(format!("{key}` is empty; give it a value or leave the key out"));
        }
    }
    if issuer.client_secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
        wrong("client_secret` is empty; give it a value or leave the key out".to_owned());
    }
    if issuer.client_secret.is_some() && issuer.client_secret_file.is_some() {
        wrong("client_secret` is set, and `client_secret_file` too; keep one".to_owned());
    }
    match &issuer.client_id {
        None => {
            if issuer.client_secret.is_some() || issuer.client_secret_file.is_some() {
                wrong("client_secret` is of no use without `client_id`".to_owned());
            }
        }
        Some(_) => {
            if issuer.has_secret() {
                wrong(
                    "client_id` is set, but people sign in at issuers with public keys alone; remove \
                     `hs256_secret` and `hs256_secret_file`"
                        .to_owned(),
                );
            }
            if issuer.jwks_url.is_some() && !issuer.allows(&issuer.issuer) {
                wrong("issuer` must be an `https://` URL, where discovery says how to sign in".to_owned());
            }
        }
    }
    let is_scope = |scope: &String| {
        !scope.is_empty()
            && scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    if !issuer.scopes.iter().all(is_scope) {
        wrong("scopes` has one that is empty or has spaces; list each by itself".to_owned());
    }
    if !issuer.scopes.is_empty() && !issuer.scopes.iter().any(|scope| scope == "openid") {
        wrong("scopes` lacks `openid`, without which an issuer does not say who signed in".to_owned());
    }
    let lists =
        issuer.groups_claim.is_some() || issuer.roles_claim.is_some() || config.groups_claim.is_some();
    if !issuer.group_names.is_empty() && !lists {
        wrong("group_names` is of no use without a claim that lists groups or roles".to_owned());
    }
    for (theirs, ours) in &issuer.group_names {
        if Principal::group(ours).is_err() {
            wrong(format!("group_names` calls `{theirs}` what no group can be called: `{ours}`"));
        }
        if ours == Principal::ADMINS && !config.trust_admin_group {
            wrong(format!(
                "group_names` makes `{theirs}` administrators, which `identity.trust_admin_group` must allow"
            ));
        }
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

    fn of_issuer(lines: &str) -> Vec<String> {
        problems(&format!("[[issuers]]\nissuer = \"https://a\"\naudience = [\"t\"]\n{lines}"))
    }

    #[test]
    fn a_whole_issuer_is_fine() {
        let lines = "client_id = \"c\"\nclient_secret_file = \"/x\"\nscopes = [\"openid\", \"api://x/.default\"]\n\
                     groups_claim = \"groups\"\nroles_claim = \"realm_access.roles\"\nenroll = false\n\
                     group_names = { \"7f-01\" = \"analysts\" }";
        assert_eq!(of_issuer(lines), Vec::<String>::new());
    }

    #[test]
    fn each_bad_value_is_named_by_its_key() {
        for (lines, key) in [
            ("client_id = \"\"", "client_id` is empty"),
            ("display_name = \"\"", "display_name` is empty"),
            ("roles_claim = \"\"", "roles_claim` is empty"),
            ("client_secret = \"s\"", "client_secret` is of no use"),
            ("client_secret_file = \"/s\"", "client_secret` is of no use"),
            ("client_id = \"c\"\nclient_secret = \"s\"\nclient_secret_file = \"/s\"", "keep one"),
            ("client_id = \"c\"\nhs256_secret = \"01234567890123456789012345678901\"", "public keys alone"),
            ("scopes = [\"openid profile\"]", "scopes` has one"),
            ("scopes = [\"profile\"]", "lacks `openid`"),
            ("group_names = { a = \"b\" }", "group_names` is of no use"),
            ("groups_claim = \"g\"\ngroup_names = { a = \"b,c\" }", "no group can be called"),
            ("groups_claim = \"g\"\ngroup_names = { a = \"admins\" }", "trust_admin_group"),
        ] {
            let found = of_issuer(lines);
            assert!(found.iter().any(|problem| problem.contains(key)), "{lines}: {found:?}");
            assert!(found.iter().all(|problem| problem.starts_with("`identity.issuers[0].")), "{found:?}");
        }
        let trusted = "trust_admin_group = true\n[[issuers]]\nissuer = \"https://a\"\naudience = [\"t\"]\n\
                       groups_claim = \"g\"\ngroup_names = { a = \"admins\" }";
        assert!(problems(trusted).is_empty());
        let discovered =
            "[[issuers]]\nissuer = \"http://a\"\naudience = [\"t\"]\njwks_url = \"https://a/k\"\n";
        assert!(problems(discovered).is_empty());
        assert_eq!(problems(&format!("{discovered}client_id = \"c\"")).len(), 1);
    }

    #[test]
    fn a_session_has_an_end() {
        for (line, key) in [
            ("session_minutes = 0", "session_minutes"),
            ("session_minutes = 100000", "session_minutes"),
            ("session_idle_minutes = 0", "session_idle_minutes"),
        ] {
            assert!(problems(line)[0].contains(key), "{line}");
        }
    }

    #[test]
    fn signing_in_needs_a_public_url() {
        use crate::config::Config;
        let issuers = "[{issuer = \"https://a\", audience = [\"t\"], client_id = \"c\"}]";
        let load = |url: Option<&str>| {
            let mut pairs = vec![("TRACEGATE__IDENTITY__ISSUERS".to_owned(), issuers.to_owned())];
            pairs.extend(url.map(|url| ("TRACEGATE__SERVER__PUBLIC_URL".to_owned(), url.to_owned())));
            Config::from_sources(None, pairs.into_iter())
        };
        assert!(load(Some("https://traces.example")).is_ok());
        for url in [None, Some("traces.example"), Some("https://traces.example/mlflow")] {
            assert!(load(url).unwrap_err().to_string().contains("server.public_url"), "{url:?}");
        }
    }
}
