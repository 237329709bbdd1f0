//! Effective permissions: what is granted on a securable or on what it lies in, and where it comes from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::permissions::{named, of_principal, page, sees_all};
use super::privileges::{Spelling, is_of_catalog};
use super::{kinds, people};
use crate::access::{Effect, Given, Grant, Principal, Securable, SecurableKind};
use crate::clock::UnixMillis;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::pages;
use crate::wire::Reply;

/// A privilege, and the securable that it is inherited from.
type Held = (Given, Option<Securable>);

pub(super) async fn show(call: &mut Call<'_>) -> Result<Reply, Refusal> {
    pages::open(call).await?;
    let securable = named(call).await?;
    let all = sees_all(call, &securable)?;
    let asks = call.head.query.one("principal")?.is_some_and(|name| !name.is_empty());
    let asked = match asks && !all {
        // Not whether there is such a principal.
        true => of_principal(call).await.ok().flatten().or_else(|| Some(Principal::anonymous())),
        false => of_principal(call).await?,
    };
    let mut places = Vec::new();
    let mut next = Some(securable.clone());
    while let Some(place) = next {
        next = place.parent().filter(|above| inherits(above.kind));
        places.push((call.app.store.grants(None, Some(&place)).await?, place));
    }
    let mut rows = rows(&securable, &places, call.app.clock.now());
    let view = call.view()?;
    rows.retain(|principal, _| {
        asked.as_ref().is_none_or(|asked| asked == principal) && (all || view.acts_as(call.caller, principal))
    });
    let (page, next) = page(call, rows)?;
    let listed: Vec<&Principal> = page.iter().map(|(principal, _)| principal).collect();
    let names = people::spelled(call, &listed).await?;
    let spelling = Spelling::of(call, &[]);
    let assignments = page.iter().filter_map(|(principal, held)| {
        let privileges: Vec<Value> = held.iter().filter_map(|held| written(held, spelling)).collect();
        let row = json!({ "principal": names.get(principal), "privileges": privileges });
        (!privileges.is_empty()).then_some(row)
    });
    let mut answer = Map::from_iter([("privilege_assignments".to_owned(), assignments.collect())]);
    if let Some(next) = next {
        let token = pages::sealed_token(call, &next.to_string())?;
        answer.insert("next_page_token".to_owned(), json!(token));
    }
    Ok(pages::written(200, &answer))
}

/// What is granted on the metastore is not inherited.
fn inherits(kind: SecurableKind) -> bool {
    matches!(kind, SecurableKind::Catalog | SecurableKind::Schema)
}

fn rows(
    securable: &Securable,
    places: &[(Vec<Grant>, Securable)],
    now: UnixMillis,
) -> BTreeMap<Principal, BTreeSet<Held>> {
    let in_force = |grant: &&Grant| grant.grant.expires_at.is_none_or(|end| now < end);
    let given = |grant: &Grant| grant.grant.privilege.parse::<Given>().ok();
    let grants =
        || places.iter().flat_map(|(grants, place)| grants.iter().filter(in_force).map(move |g| (g, place)));
    let denied: BTreeSet<(&Principal, Given)> = grants()
        .filter(|(grant, _)| grant.grant.effect == Effect::Deny)
        .filter_map(|(grant, _)| Some((&grant.grant.principal, given(grant)?)))
        .collect();
    let mut rows: BTreeMap<Principal, BTreeSet<Held>> = BTreeMap::new();
    for (grant, place) in grants().filter(|(grant, _)| grant.grant.effect == Effect::Allow) {
        let (Some(held), principal) = (given(grant), &grant.grant.principal) else { continue };
        let counts = held
            .privilege()
            .is_none_or(|one| one.applies_to(securable.kind) || one.grantable_on(securable.kind));
        let is_denied =
            denied.contains(&(principal, held)) || denied.contains(&(principal, Given::ALL_PRIVILEGES));
        if is_of_catalog(held) && counts && !is_denied {
            let from = (place != securable).then(|| place.clone());
            rows.entry(principal.clone()).or_default().insert((held, from));
        }
    }
    rows
}

fn written((given, from): &Held, spelling: Spelling) -> Option<Value> {
    let privilege = spelling.write(*given)?;
    Some(match from {
        None => json!({ "privilege": privilege }),
        Some(from) => json!({
            "privilege": privilege,
            "inherited_from_type": kinds::on_wire(from.kind),
            "inherited_from_name": from.id,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{GrantId, NewGrant};

    fn grant(id: i64, who: &str, on: &str, privilege: &str, effect: Effect, ends: Option<i64>) -> Grant {
        Grant {
            id: GrantId(id),
            grant: NewGrant {
                principal: who.parse().unwrap(),
                securable: on.parse().unwrap(),
                privilege: privilege.to_owned(),
                effect,
                reason: None,
                expires_at: ends.map(UnixMillis),
            },
            granted_by: "user:root".to_owned(),
            granted_at: UnixMillis(0),
        }
    }

    #[test]
    fn what_counts_on_a_table_comes_from_it_and_from_above_and_says_whence() {
        use Effect::{Allow, Deny};
        let (table, catalog) = ("table:main.s.t", "catalog:main");
        let places = [
            (
                vec![
                    grant(1, "user:a", table, "MODIFY", Allow, None),
                    grant(2, "user:a", table, "OWNER", Allow, None),
                ],
                table,
            ),
            (
                vec![
                    grant(3, "user:a", catalog, "SELECT", Allow, None),
                    grant(4, "user:a", catalog, "USE_CATALOG", Allow, None),
                    grant(5, "user:a", catalog, "READ_VOLUME", Allow, None),
                    grant(6, "user:b", catalog, "SELECT", Allow, Some(10)),
                    grant(7, "user:c", catalog, "SELECT", Allow, None),
                    grant(8, "user:c", catalog, "SELECT", Deny, None),
                    grant(9, "user:d", catalog, "ALL_PRIVILEGES", Allow, None),
                ],
                catalog,
            ),
        ]
        .map(|(grants, place)| (grants, place.parse::<Securable>().unwrap()));
        let rows = rows(&table.parse().unwrap(), &places, UnixMillis(10));
        let shown: Vec<String> = rows
            .iter()
            .flat_map(|(who, held)| {
                held.iter().map(move |(given, from)| {
                    format!(
                        "{who} {given} {}",
                        from.as_ref().map_or_else(String::new, |from| from.to_string())
                    )
                })
            })
            .collect();
        assert_eq!(
            shown,
            ["user:a SELECT catalog:main", "user:a MODIFY ", "user:d ALL_PRIVILEGES catalog:main"]
        );
    }
}
