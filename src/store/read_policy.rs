//! Everything that decides, read at one version, fast enough for a million grants at the start.
//!
//! A driver's row costs about a microsecond a column. So the database joins the fields of thousands of rows
//! into one text, by separators that no id can contain, and only that is a row here. No more than one such
//! text is in memory at a time.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction};

use super::Store;
use super::error::StoreError;

/// Rows in one text.
const CHUNK: i64 = 5_000;
const FIELD: char = '\u{1f}';
const LINE: char = '\u{1e}';

/// One fact of policy, as text: whoever builds from it parses it, and refuses what does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyRow<'a> {
    Principal {
        principal: &'a str,
        active: bool,
    },
    Member {
        group: &'a str,
        member: &'a str,
    },
    Place {
        securable: &'a str,
        parent: &'a str,
    },
    Grant {
        id: i64,
        principal: &'a str,
        securable: &'a str,
        privilege: &'a str,
        deny: bool,
        expires_at_ms: Option<i64>,
    },
}

const PRINCIPALS: &str = "SELECT COUNT(*), string_agg(id || '\u{1f}' || active, '\u{1e}') FROM ( \
     SELECT id, active FROM principals WHERE id > $1 ORDER BY id LIMIT $2) AS chunk";
const MEMBERS: &str = "SELECT COUNT(*), string_agg(group_id || '\u{1f}' || member_id, '\u{1e}') FROM ( \
     SELECT group_id, member_id FROM memberships WHERE (group_id, member_id) > ($1, $2) \
     ORDER BY group_id, member_id LIMIT $3) AS chunk";
const PLACES: &str = "SELECT COUNT(*), string_agg(id || '\u{1f}' || parent, '\u{1e}') FROM ( \
     SELECT id, parent FROM securables WHERE id > $1 ORDER BY id LIMIT $2) AS chunk";
const GRANTS: &str = "SELECT COUNT(*), string_agg(id || '\u{1f}' || principal || '\u{1f}' || securable \
     || '\u{1f}' || privilege || '\u{1f}' || effect || '\u{1f}' || COALESCE(CAST(expires_at_ms AS TEXT), ''), \
     '\u{1e}') FROM ( \
     SELECT id, principal, securable, privilege, effect, expires_at_ms FROM grants WHERE id > $1 \
     ORDER BY id LIMIT $2) AS chunk";

impl Store {
    /// Shows the visitor all of policy as of one version, which is returned: principals, then members,
    /// places and grants. The first refusal of the visitor ends the reading and is the answer.
    pub async fn read_policy(
        &self,
        visit: &mut (dyn FnMut(PolicyRow<'_>) -> Result<(), StoreError> + Send),
    ) -> Result<i64, StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let version = sqlx::query("SELECT version FROM policy_head WHERE id = 1")
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?;

        let mut after = String::new();
        while let Some(chunk) = next(&mut transaction, sqlx::query(PRINCIPALS).bind(after)).await? {
            [after, _] = chunk.each(|[principal, active]| {
                visit(PolicyRow::Principal { principal, active: number(active)? != 0 })
            })?;
        }
        let (mut group, mut member) = (String::new(), String::new());
        while let Some(chunk) = next(&mut transaction, sqlx::query(MEMBERS).bind(group).bind(member)).await? {
            [group, member] = chunk.each(|[group, member]| visit(PolicyRow::Member { group, member }))?;
        }
        let mut after = String::new();
        while let Some(chunk) = next(&mut transaction, sqlx::query(PLACES).bind(after)).await? {
            [after, _] = chunk.each(|[securable, parent]| visit(PolicyRow::Place { securable, parent }))?;
        }
        let mut after = i64::MIN;
        while let Some(chunk) = next(&mut transaction, sqlx::query(GRANTS).bind(after)).await? {
            let [last, ..] = chunk.each(|fields| visit(grant(fields)?))?;
            after = number(&last)?;
        }
        transaction.rollback().await?;
        Ok(version)
    }
}

/// Rows of a table, joined.
struct Chunk {
    rows: i64,
    text: String,
}

/// `None`: the table has no further row. The statement's last parameter is the size of a chunk.
async fn next(
    transaction: &mut Transaction<'static, Any>,
    query: Query<'static, Any, AnyArguments>,
) -> Result<Option<Chunk>, StoreError> {
    let row = query.bind(CHUNK).fetch_one(&mut **transaction).await?;
    let text: Option<String> = row.try_get(1)?;
    Ok(text.map(|text| row.try_get(0).map(|rows| Chunk { rows, text })).transpose()?)
}

impl Chunk {
    /// Takes each row, and answers the last one.
    fn each<const N: usize>(
        &self,
        mut take: impl FnMut([&str; N]) -> Result<(), StoreError>,
    ) -> Result<[String; N], StoreError> {
        let mut last = [""; N];
        let mut rows = 0;
        for line in self.text.split(LINE) {
            last = fields(line)?;
            take(last)?;
            rows += 1;
        }
        if rows == self.rows {
            Ok(last.map(str::to_owned))
        } else {
            Err(StoreError::Corrupt(format!("{} rows of policy read as {rows}", self.rows)))
        }
    }
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N], StoreError> {
    let misread = || StoreError::Corrupt(format!("a row of policy does not have {N} fields"));
    let mut found = [""; N];
    let mut rest = line.split(FIELD);
    for field in &mut found {
        *field = rest.next().ok_or_else(misread)?;
    }
    if rest.next().is_some() { Err(misread()) } else { Ok(found) }
}

fn grant(
    [id, principal, securable, privilege, effect, expires]: [&str; 6],
) -> Result<PolicyRow<'_>, StoreError> {
    Ok(PolicyRow::Grant {
        id: number(id)?,
        principal,
        securable,
        privilege,
        deny: match effect {
            "allow" => false,
            "deny" => true,
            other => return Err(StoreError::Corrupt(format!("`{other}` is not an effect of a grant"))),
        },
        expires_at_ms: if expires.is_empty() { None } else { Some(number(expires)?) },
    })
}

fn number(text: &str) -> Result<i64, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("`{text}` in policy is not a number")))
}
