//! From verified claims to a caller.

use serde_json::{Map, Value};

use super::error::IdentityError;
use crate::access::{Caller, Principal, Proof, Scheme};
use crate::config::identity::IdentityConfig;

/// Groups in one token at most. Leaving some out could lose a deny, so more are refused.
const GROUP_LIMIT: usize = 1000;

pub(super) struct Mapping {
    username_claim: String,
    groups_claim: Option<String>,
    service_principal_claim: Option<String>,
    trust_admin_group: bool,
}

impl Mapping {
    pub fn new(config: &IdentityConfig) -> Self {
        Self {
            username_claim: config.username_claim.clone(),
            groups_claim: config.groups_claim.clone(),
            service_principal_claim: config.service_principal_claim.clone(),
            trust_admin_group: config.trust_admin_group,
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

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal, IdentityError> {
        let service = self.service_principal_claim.as_ref().filter(|claim| claims.contains_key(*claim));
        let claim = service.unwrap_or(&self.username_claim);
        let name = claims
            .get(claim)
            .and_then(Value::as_str)
            .ok_or_else(|| IdentityError::refused(format!("the token has no text claim `{claim}`")))?;
        let principal =
            if service.is_some() { Principal::service_principal(name) } else { Principal::user(name) };
        principal.map_err(|error| IdentityError::refused(format!("the token's claim `{claim}`: {error}")))
    }

    fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<Principal>, IdentityError> {
        let Some(claim) = &self.groups_claim else { return Ok(Vec::new()) };
        let wrong = || IdentityError::refused(format!("the token's claim `{claim}` is not a list of names"));
        let names: Vec<&str> = match claims.get(claim) {
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
        // A name that no principal can have is in no grant, so leaving it out changes nothing.
        let groups = names.into_iter().filter_map(|name| Principal::group(name).ok());
        Ok(groups.filter(|group| self.trust_admin_group || group.name != Principal::ADMINS).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(config: &IdentityConfig, claims: Value) -> Result<Caller, IdentityError> {
        let Value::Object(claims) = claims else { panic!("not an object") };
        Mapping::new(config).caller("https://issuer", &claims, &[7; 32])
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
}
