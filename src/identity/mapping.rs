//! From verified claims to a caller.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::IdentityError;
use crate::access::{Caller, Principal, Proof, Scheme};
use crate::config::identity::{IdentityConfig, IssuerConfig};

/// Groups in one token at most. Leaving some out could lose a deny, so more are refused.
const GROUP_LIMIT: usize = 1000;

/// One issuer's claims. Two issuers that say the same name speak of the same principal.
pub(super) struct Mapping {
    username_claim: String,
    groups_claim: Option<String>,
    roles_claim: Option<String>,
    service_principal_claim: Option<String>,
    group_names: BTreeMap<String, String>,
    trust_admin_group: bool,
}

impl Mapping {
    pub fn new(common: &IdentityConfig, issuer: &IssuerConfig) -> Self {
        let own = |own: &Option<String>, common: &Option<String>| own.clone().or_else(|| common.clone());
        Self {
            username_claim: issuer.username_claim.clone().unwrap_or_else(|| common.username_claim.clone()),
            groups_claim: own(&issuer.groups_claim, &common.groups_claim),
            roles_claim: issuer.roles_claim.clone(),
            service_principal_claim: own(&issuer.service_principal_claim, &common.service_principal_claim),
            group_names: issuer.group_names.clone(),
            trust_admin_group: common.trust_admin_group,
        }
    }

    pub fn caller(
        &self,
        issuer: &str,
        claims: &Map<String, Value>,
        digest: &[u8; 32],
    ) -> Result<Caller, IdentityError> {
        let jti = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() <= 200);
        // Without an id of its own, the start of the token's hash tells it from others.
        let credential = match jti {
            Some(id) => format!("{issuer}#{id}"),
            None => format!("{issuer}#{}", hex::encode(&digest[..8])),
        };
        let proof = Proof { scheme: Scheme::Jwt, credential };
        Ok(Caller::new(self.principal(claims)?, self.groups(claims)?, proof))
    }

    pub fn principal(&self, claims: &Map<String, Value>) -> Result<Principal, IdentityError> {
        let service = self.service_principal_claim.as_ref().filter(|claim| find(claims, claim).is_some());
        let claim = service.unwrap_or(&self.username_claim);
        let name = find(claims, claim)
            .and_then(Value::as_str)
            .ok_or_else(|| IdentityError::refused(format!("the token has no text claim `{claim}`")))?;
        let principal =
            if service.is_some() { Principal::service_principal(name) } else { Principal::user(name) };
        let principal = principal
            .map_err(|error| IdentityError::refused(format!("the token's claim `{claim}`: {error}")))?;
        if principal.is_reserved() {
            return Err(IdentityError::refused(format!(
                "the token's claim `{claim}`: `{principal}` stands for callers without credentials"
            )));
        }
        Ok(principal)
    }

    /// Groups and roles, by the names they have here, each once.
    pub fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<Principal>, IdentityError> {
        let mut groups = Vec::new();
        for claim in [&self.groups_claim, &self.roles_claim].into_iter().flatten() {
            for name in names(claims, claim)? {
                let name = match self.group_names.get(name) {
                    Some(known) => known.as_str(),
                    None if self.group_names.is_empty() => name,
                    None => continue,
                };
                // A name that no principal can have is in no grant, so leaving it out changes nothing.
                let Ok(group) = Principal::group(name) else { continue };
                let trusted = self.trust_admin_group || group.name != Principal::ADMINS;
                if trusted && !group.is_reserved() && !groups.contains(&group) {
                    groups.push(group);
                }
            }
        }
        Ok(groups)
    }
}

/// A claim by its whole name, or by its way down: `realm_access.roles`.
fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

/// The names that a claim lists.
fn names<'c>(claims: &'c Map<String, Value>, claim: &str) -> Result<Vec<&'c str>, IdentityError> {
    let wrong = || IdentityError::refused(format!("the token's claim `{claim}` is not a list of names"));
    let names: Vec<&str> = match find(claims, claim) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => {
            names.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    if names.len() > GROUP_LIMIT {
        return Err(IdentityError::refused(format!("the token lists more than {GROUP_LIMIT} groups")));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(config: &IdentityConfig, claims: Value) -> Result<Caller, IdentityError> {
        map_of(config, &IssuerConfig::default(), claims)
    }

    fn map_of(
        config: &IdentityConfig,
        issuer: &IssuerConfig,
        claims: Value,
    ) -> Result<Caller, IdentityError> {
        let Value::Object(claims) = claims else { panic!("not an object") };
        Mapping::new(config, issuer).caller("https://issuer", &claims, &[7; 32])
    }

    fn config() -> IdentityConfig {
        IdentityConfig {
            groups_claim: Some("groups".into()),
            service_principal_claim: Some("client".into()),
            ..Default::default()
        }
    }

    #[test]
    fn the_claims_name_a_user_or_a_service_principal() {
        let caller = map(&config(), json!({"sub": "ann", "jti": "9"})).unwrap();
        assert_eq!(caller.principal, Principal::user("ann").unwrap());
        assert_eq!(caller.proof.credential, "https://issuer#9");
        let caller = map(&config(), json!({"sub": "ann", "client": "agent"})).unwrap();
        assert_eq!(caller.principal, Principal::service_principal("agent").unwrap());
        assert_eq!(caller.proof.credential, "https://issuer#0707070707070707");
        // A service principal's claim that is no name must not fall back to the user.
        for claims in [
            json!({"sub": "ann", "client": null}),
            json!({"sub": "ann", "client": ""}),
            json!({}),
            json!({"sub": 7}),
            json!({"sub": " ann"}),
            json!({"sub": ["ann"]}),
        ] {
            assert!(map(&config(), claims.clone()).is_err(), "{claims}");
        }
    }

    #[test]
    fn a_claim_cannot_make_an_administrator_unless_it_is_trusted_to() {
        let claims = json!({"sub": "ann", "groups": ["admins", "readers", "a,b"]});
        let names = |config: &IdentityConfig| -> Vec<String> {
            let caller = map(config, claims.clone()).unwrap();
            caller.asserted_groups.into_iter().map(|group| group.name).collect()
        };
        assert_eq!(names(&config()), ["readers"]);
        assert_eq!(names(&IdentityConfig { trust_admin_group: true, ..config() }), ["admins", "readers"]);
        assert!(names(&IdentityConfig { groups_claim: None, ..config() }).is_empty());
        let alone = map(&config(), json!({"sub": "ann", "groups": "admins"})).unwrap();
        assert!(alone.asserted_groups.is_empty());
        assert!(map(&config(), json!({"sub": "ann", "groups": {"a": 1}})).is_err());
        assert!(map(&config(), json!({"sub": "ann", "groups": vec!["g"; 1001]})).is_err());
    }

    #[test]
    fn an_issuer_has_claims_of_its_own() {
        let issuer = IssuerConfig {
            username_claim: Some("email".into()),
            groups_claim: Some("https://example.com/groups".into()),
            roles_claim: Some("realm_access.roles".into()),
            service_principal_claim: Some("act.client".into()),
            ..Default::default()
        };
        let claims = json!({
            "sub": "7", "email": "ann@example.com", "client": "agent", "groups": ["common"],
            "https://example.com/groups": ["staff", "readers"], "realm_access": {"roles": ["readers", "editors"]},
        });
        let caller = map_of(&config(), &issuer, claims).unwrap();
        assert_eq!(caller.principal, Principal::user("ann@example.com").unwrap());
        let names: Vec<&str> = caller.asserted_groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["staff", "readers", "editors"]);
        let caller = map_of(&config(), &issuer, json!({"act": {"client": "agent"}})).unwrap();
        assert_eq!(caller.principal, Principal::service_principal("agent").unwrap());
        // On the way there must be objects, and a whole name comes before a way.
        assert!(
            map_of(&config(), &issuer, json!({"email": "a", "realm_access": {"roles": {"a": 1}}})).is_err()
        );
        let caller = map_of(&config(), &issuer, json!({"email": "a", "realm_access": ["roles"]})).unwrap();
        assert!(caller.asserted_groups.is_empty());
    }

    #[test]
    fn with_a_list_of_names_no_other_group_comes_through() {
        let named = [("7f-01", "analysts"), ("7f-02", "admins"), ("7f-03", "a,b")];
        let issuer = IssuerConfig {
            group_names: named.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect(),
            roles_claim: Some("roles".into()),
            ..Default::default()
        };
        let claims = json!({
            "sub": "ann", "groups": ["7f-01", "7f-02", "7f-03", "analysts", "users"], "roles": ["7f-01", "x"],
        });
        let names = |config: &IdentityConfig| -> Vec<String> {
            let caller = map_of(config, &issuer, claims.clone()).unwrap();
            caller.asserted_groups.into_iter().map(|group| group.name).collect()
        };
        assert_eq!(names(&config()), ["analysts"]);
        assert_eq!(names(&IdentityConfig { trust_admin_group: true, ..config() }), ["analysts", "admins"]);
    }
}
