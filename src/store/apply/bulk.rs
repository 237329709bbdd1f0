//! Steps of one kind by the hundred: what is new is inserted, what is there is left to the single steps.
//!
//! A statement for each of ten thousand steps would hold the policy lock for as many round trips.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;

use crate::access::{Given, Grant, GrantId, NewGrant, PolicyEdit, Principal, PrincipalKind};
use crate::clock::UnixMillis;
use crate::store::change::PolicyTransaction;
use crate::store::error::StoreError;
use crate::store::{grants, rows};

/// Steps in one statement.
const CHUNK: usize = 500;

/// Inserts those grants that are new, and answers them at their places. Owners are not among them: one
/// replaces another, in their order.
pub(in crate::store) async fn grant(
    policy: &mut PolicyTransaction,
    wanted: &[&NewGrant],
    by: &str,
    now: UnixMillis,
) -> Result<Vec<Option<Grant>>, StoreError> {
    let mut inserted: Vec<Option<Grant>> = vec![None; wanted.len()];
    let mut places: HashMap<[String; 4], usize> = HashMap::new();
    let mut first: Vec<NewGrant> = Vec::new();
    for (place, grant) in wanted.iter().enumerate() {
        let grant = grants::canonical(grant)?;
        let key = key(&grant);
        if grant.privilege != Given::OWNER.as_str() && !places.contains_key(&key) {
            places.insert(key, place);
            first.push(grant);
        }
    }
    for chunk in first.chunks(CHUNK) {
        let statement = format!(
            "INSERT INTO grants (granted_by, granted_at_ms, principal, securable, privilege, effect, reason, \
             expires_at_ms) VALUES {} ON CONFLICT (principal, securable, privilege, effect) DO NOTHING \
             RETURNING id, principal, securable, privilege, effect",
            tuples("$1, $2, ", 3, 6, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(by).bind(now.0);
        for grant in chunk {
            for text in key(grant) {
                query = query.bind(text);
            }
            query = query.bind(grant.reason.clone()).bind(grant.expires_at.map(|time| time.0));
        }
        let mut ids: HashMap<[String; 4], i64> = HashMap::new();
        for row in query.fetch_all(&mut *policy.transaction).await? {
            let text = |column| rows::text(&row, column);
            let key = [text("principal")?, text("securable")?, text("privilege")?, text("effect")?];
            ids.insert(key, rows::number(&row, "id")?);
        }
        for grant in chunk {
            let key = key(grant);
            if let (Some(id), Some(place)) = (ids.get(&key), places.get(&key)) {
                let (id, granted_by) = (GrantId(*id), by.to_owned());
                let grant = Grant { id, grant: grant.clone(), granted_by, granted_at: now };
                policy.edit(PolicyEdit::Grant(grant.rule()));
                inserted[*place] = Some(grant);
            }
        }
    }
    Ok(inserted)
}

fn key(grant: &NewGrant) -> [String; 4] {
    [
        grant.principal.to_string(),
        grant.securable.to_string(),
        grant.privilege.clone(),
        grant.effect.as_str().to_owned(),
    ]
}

pub(in crate::store) async fn revoke(
    policy: &mut PolicyTransaction,
    wanted: &[GrantId],
) -> Result<Vec<Grant>, StoreError> {
    let mut removed = Vec::new();
    for chunk in wanted.chunks(CHUNK) {
        let statement = grants::delete_of_ids(&tuples("", 1, 1, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for id in chunk {
            query = query.bind(id.0);
        }
        for row in query.fetch_all(&mut *policy.transaction).await? {
            let grant = grants::read(&row)?;
            policy.edit(PolicyEdit::Revoke(grant.rule()));
            removed.push(grant);
        }
    }
    Ok(removed)
}

/// Inserts those memberships that are new and not of groups in groups, and answers which they are.
pub(in crate::store) async fn join(
    policy: &mut PolicyTransaction,
    wanted: &[(&Principal, &Principal)],
) -> Result<Vec<bool>, StoreError> {
    let mut inserted = vec![false; wanted.len()];
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for (place, (group, member)) in wanted.iter().enumerate() {
        if group.kind == PrincipalKind::Group && member.kind != PrincipalKind::Group {
            places.entry((group.to_string(), member.to_string())).or_insert(place);
        }
    }
    let mut order: Vec<usize> = places.values().copied().collect();
    order.sort_unstable();
    for chunk in order.chunks(CHUNK) {
        let statement = format!(
            "INSERT INTO memberships (group_id, member_id) VALUES {} \
             ON CONFLICT (group_id, member_id) DO NOTHING RETURNING group_id, member_id",
            tuples("", 1, 2, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for place in chunk {
            let (group, member) = wanted[*place];
            query = query.bind(group.to_string()).bind(member.to_string());
        }
        for row in query.fetch_all(&mut *policy.transaction).await? {
            let pair = (rows::text(&row, "group_id")?, rows::text(&row, "member_id")?);
            let Some(place) = places.get(&pair) else { continue };
            let (group, member) = wanted[*place];
            policy.edit(PolicyEdit::Join { group: group.clone(), member: member.clone() });
            inserted[*place] = true;
        }
    }
    Ok(inserted)
}

/// Removes those memberships that there are, and answers them.
pub(in crate::store) async fn leave(
    policy: &mut PolicyTransaction,
    wanted: &[(&Principal, &Principal)],
) -> Result<Vec<(Principal, Principal)>, StoreError> {
    let mut removed = Vec::new();
    for chunk in wanted.chunks(CHUNK) {
        let statement = format!(
            "DELETE FROM memberships WHERE (group_id, member_id) IN (VALUES {}) RETURNING group_id, member_id",
            tuples("", 1, 2, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (group, member) in chunk {
            query = query.bind(group.to_string()).bind(member.to_string());
        }
        for row in query.fetch_all(&mut *policy.transaction).await? {
            let (group, member): (Principal, Principal) =
                (rows::parsed(&row, "group_id")?, rows::parsed(&row, "member_id")?);
            policy.left(&group, &member);
            removed.push((group, member));
        }
    }
    Ok(removed)
}

/// `(SHARED$3, $4), (SHARED$5, $6)`: `count` tuples of `width` places from `start` on.
fn tuples(shared: &str, start: usize, width: usize, count: usize) -> String {
    let one = |row: usize| {
        let places: Vec<String> =
            (0..width).map(|place| format!("${}", start + row * width + place)).collect();
        format!("({shared}{})", places.join(", "))
    };
    (0..count).map(one).collect::<Vec<_>>().join(", ")
}
