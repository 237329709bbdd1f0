//! Principals as the catalog's clients name them: by a bare name, whatever kind of principal has it.
//!
//! A name that two principals have says neither: it is refused, and written with its kind where we name one.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::{Principal, PrincipalKind};
use crate::http::call::Call;
use crate::http::error::{CatalogFault, Refusal};
use crate::wire::Malformed;

/// The group of all, as the platform's clients call it.
const ALL_USERS: &str = "account users";

/// The principal of a name that stands in `field`.
pub(super) async fn named(call: &Call<'_>, field: &str, name: &str) -> Result<Principal, Refusal> {
    let mut candidates: Vec<Principal> = name.parse().into_iter().collect();
    if name == ALL_USERS {
        candidates.push(Principal::group(Principal::USERS)?);
    } else {
        candidates.extend(PrincipalKind::ALL.iter().filter_map(|kind| Principal::new(*kind, name).ok()));
    }
    candidates.retain(|candidate| !candidate.is_reserved());
    let asked: Vec<&Principal> = candidates.iter().collect();
    let mut known = call.app.store.directory_of_all(&asked).await?.into_iter().map(|entry| entry.principal);
    let shown: String = name.chars().take(80).collect();
    match (known.next(), known.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => {
            let problem = format!(
                "`{shown}` is the name of more than one principal; write `user:{shown}`, `group:{shown}` or `service_principal:{shown}`"
            );
            Err(Malformed::new(field, problem).into())
        }
        (None, _) => Err(Refusal::Catalog {
            fault: CatalogFault::Missing,
            code: "PRINCIPAL_DOES_NOT_EXIST",
            message: format!("there is no principal `{shown}`"),
        }),
    }
}

/// How answers name each of these.
pub(super) async fn spelled(
    call: &Call<'_>,
    principals: &[&Principal],
) -> Result<BTreeMap<Principal, String>, Refusal> {
    // Many objects have few owners.
    let principals: BTreeSet<&Principal> = principals.iter().copied().collect();
    let others: Vec<Principal> = principals
        .iter()
        .flat_map(|one| PrincipalKind::ALL.map(|kind| Principal { kind, name: one.name.clone() }))
        .collect();
    let known: Vec<Principal> = call
        .app
        .store
        .directory_of_all(&others.iter().collect::<Vec<_>>())
        .await?
        .into_iter()
        .map(|entry| entry.principal)
        .collect();
    let spelled = |one: &&Principal| {
        let shared = known.iter().any(|other| other.name == one.name && other != *one);
        ((*one).clone(), if shared { one.to_string() } else { one.name.clone() })
    };
    Ok(principals.iter().map(spelled).collect())
}

/// Who did something, as the store keeps it, without the kind.
pub(in crate::http) fn bare(principal: &str) -> &str {
    principal.split_once(':').map_or(principal, |(_, name)| name)
}
