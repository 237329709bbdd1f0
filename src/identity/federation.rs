//! Trust rules: which tokens of which issuers stand for which service principal.
//!
//! A token must match exactly one rule. Two that match are two answers to who calls, and that is none.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::error::IdentityError;
use crate::access::Principal;
use crate::config::identity::{FederationConfig, IdentityConfig};

/// How the source of a token begins that was got by a rule.
pub(super) const RULE_PREFIX: &str = "federation:";

pub(super) struct Federation {
    rules: Vec<Rule>,
}

pub(super) struct Rule {
    /// Made of all that the rule says: another rule has another id, wherever it stands.
    pub id: String,
    pub issuer: String,
    audience: Vec<String>,
    subject: Option<String>,
    claims: BTreeMap<String, String>,
    pub principal: Principal,
}

impl Federation {
    pub fn new(config: &IdentityConfig) -> Result<Self, IdentityError> {
        Ok(Self { rules: config.federation.iter().map(Rule::new).collect::<Result<_, _>>()? })
    }

    pub fn ids(&self) -> HashSet<String> {
        self.rules.iter().map(|rule| rule.id.clone()).collect()
    }

    /// Every audience that a rule accepts of an issuer; empty where no rule speaks of it.
    pub fn audiences(&self, issuer: &str) -> Vec<String> {
        let rules = self.rules.iter().filter(|rule| rule.issuer == issuer);
        rules.flat_map(|rule| rule.audience.iter().cloned()).collect()
    }

    /// The one rule that a verified token matches; of those for `client`, if the caller named one.
    pub fn rule(
        &self,
        issuer: &str,
        claims: &Map<String, Value>,
        client: Option<&str>,
    ) -> Result<&Rule, IdentityError> {
        let asked = |rule: &&Rule| client.is_none_or(|client| rule.principal.name == client);
        let mut matching =
            self.rules.iter().filter(asked).filter(|rule| rule.issuer == issuer && rule.matches(claims));
        match (matching.next(), matching.next()) {
            (Some(rule), None) => Ok(rule),
            (None, _) => Err(IdentityError::refused("no trust rule matches the token")),
            (Some(_), Some(_)) => Err(IdentityError::refused("more than one trust rule matches the token")),
        }
    }
}

impl Rule {
    fn new(config: &FederationConfig) -> Result<Self, IdentityError> {
        let principal = Principal::service_principal(&config.service_principal)
            .map_err(|error| IdentityError::unavailable(format!("`identity.federation`: {error}")))?;
        // Checked in the configuration too; such a rule would let in whatever the issuer signs.
        if config.audience.is_empty() || (config.subject.is_none() && config.claims.is_empty()) {
            return Err(IdentityError::unavailable(
                "`identity.federation`: a rule needs an audience, and a subject or claims",
            ));
        }
        let said = serde_json::json!([
            config.issuer,
            config.audience,
            config.subject,
            config.claims,
            config.service_principal
        ]);
        let digest = Sha256::digest(said.to_string());
        Ok(Self {
            id: format!("{RULE_PREFIX}{}", hex::encode(&digest[..8])),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            subject: config.subject.clone(),
            claims: config.claims.clone(),
            principal,
        })
    }

    fn matches(&self, claims: &Map<String, Value>) -> bool {
        let says = |name: &str, wanted: &str| claim(claims, name).and_then(Value::as_str) == Some(wanted);
        let for_us = match claims.get("aud") {
            Some(Value::String(audience)) => self.audience.contains(audience),
            Some(Value::Array(audiences)) => {
                let texts = audiences.iter().filter_map(Value::as_str);
                texts.into_iter().any(|audience| self.audience.iter().any(|ours| ours == audience))
            }
            _ => false,
        };
        for_us
            && self.subject.as_deref().is_none_or(|subject| says("sub", subject))
            && self.claims.iter().all(|(name, wanted)| says(name, wanted))
    }
}

/// A claim by its name, or one within others by a JSON pointer: names may hold periods, but do not begin
/// with a slash.
fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let mut steps = pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn federation(rules: Vec<FederationConfig>) -> Federation {
        Federation::new(&IdentityConfig { federation: rules, ..Default::default() }).unwrap()
    }

    fn rule(subject: Option<&str>, claims: &[(&str, &str)], name: &str) -> FederationConfig {
        FederationConfig {
            issuer: "https://ci".into(),
            audience: vec!["gate".into()],
            subject: subject.map(str::to_owned),
            claims: claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            service_principal: name.into(),
        }
    }

    fn found(federation: &Federation, claims: &Value, client: Option<&str>) -> Result<String, IdentityError> {
        let rule = federation.rule("https://ci", claims.as_object().unwrap(), client)?;
        Ok(rule.principal.name.clone())
    }

    #[test]
    fn all_that_a_rule_says_must_hold_exactly() {
        let federation = federation(vec![rule(
            Some("repo:a/b"),
            &[("ref", "main"), ("/kubernetes.io/namespace", "prod"), ("x.y", "z")],
            "deploy",
        )]);
        let good = json!({"aud": ["other", "gate"], "sub": "repo:a/b", "ref": "main", "x.y": "z",
            "kubernetes.io": {"namespace": "prod"}});
        assert_eq!(found(&federation, &good, None).unwrap(), "deploy");
        assert_eq!(found(&federation, &good, Some("deploy")).unwrap(), "deploy");
        assert!(found(&federation, &good, Some("other")).is_err());
        assert!(federation.rule("https://other", good.as_object().unwrap(), None).is_err());
        for (name, value) in [
            ("aud", json!("other")),
            ("aud", json!(["gate2"])),
            ("aud", json!({"gate": 1})),
            ("sub", json!("repo:a/b2")),
            ("sub", json!("REPO:a/b")),
            ("sub", json!(["repo:a/b"])),
            ("ref", json!(null)),
            ("ref", json!(true)),
            ("x.y", json!("zz")),
            ("kubernetes.io", json!("prod")),
            ("kubernetes.io", json!({"namespace": ["prod"]})),
        ] {
            let mut other = good.clone();
            other[name] = value.clone();
            assert!(found(&federation, &other, None).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn two_rules_that_match_are_none() {
        let rules = vec![rule(Some("s"), &[], "one"), rule(None, &[("ref", "main")], "two")];
        let federation = federation(rules);
        let both = json!({"aud": "gate", "sub": "s", "ref": "main"});
        assert!(found(&federation, &both, None).unwrap_err().to_string().contains("more than one"));
        // Whoever says which one is meant has one.
        assert_eq!(found(&federation, &both, Some("two")).unwrap(), "two");
        assert_eq!(found(&federation, &json!({"aud": "gate", "sub": "s"}), None).unwrap(), "one");
    }

    #[test]
    fn a_rule_for_whatever_the_issuer_signs_is_not_made() {
        for bad in [
            rule(None, &[], "x"),
            FederationConfig { audience: vec![], ..rule(Some("s"), &[], "x") },
            rule(Some("s"), &[], ""),
        ] {
            assert!(
                Federation::new(&IdentityConfig { federation: vec![bad], ..Default::default() }).is_err()
            );
        }
    }

    #[test]
    fn a_rule_that_was_changed_is_another_one() {
        let one = Rule::new(&rule(Some("s"), &[("a", "b")], "x")).unwrap();
        assert_eq!(one.id, Rule::new(&rule(Some("s"), &[("a", "b")], "x")).unwrap().id);
        for other in [rule(Some("t"), &[("a", "b")], "x"), rule(Some("s"), &[("a", "c")], "x")] {
            assert_ne!(one.id, Rule::new(&other).unwrap().id);
        }
    }
}
