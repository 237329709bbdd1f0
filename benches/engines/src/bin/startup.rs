//! How long a start takes with a large policy in the database: opening it, reading, and building the snapshot.
//!
//! ```sh
//! cargo run --release --manifest-path benches/engines/Cargo.toml --no-default-features --bin startup -- \
//!     --data-dir DIR [--url postgres://…] [--grants 1000000]
//! ```
//!
//! An empty database is filled with the world first; one that holds it already is used as it is. `startup.py` runs
//! this on SQLite and on a PostgreSQL of its own. The files are in the page cache: a machine that has just been
//! started reads them from the disk besides.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tracegate::access::{Effect, GrantId, MalformedId, Rule, SecurableKind};
use tracegate::clock::UnixMillis;
use tracegate::config::database::DatabaseConfig;
use tracegate::policy::{Builder, Levels, Snapshot};
use tracegate::store::{PolicyRow, Store, StoreError};
use tracegate_engines::measure::{load, peak_mebibytes};
use tracegate_engines::world::{NOW, Shape, World};
use tracegate_engines::{number_after, questions, text_after};

const TURNS: usize = 5;
/// Rows of one INSERT.
const TOGETHER: usize = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let data_dir =
        PathBuf::from(text_after("--data-dir").context("`--data-dir` names where the state lies")?);
    let config = DatabaseConfig { url: text_after("--url"), ..DatabaseConfig::default() };
    let world = World::new(Shape::of(number_after("--grants")?.unwrap_or(1_000_000)), 1)?;

    if Store::open(&config, &data_dir).await?.policy_version().await? == 0 {
        let begun = Instant::now();
        let url = config.url.clone().unwrap_or_else(|| format!("sqlite://{}/state.db", data_dir.display()));
        fill(&url, &world).await?;
        println!("filled in {:.1} s", begun.elapsed().as_secs_f64());
    }

    let mut turns = Vec::new();
    for _ in 0..TURNS {
        let begun = Instant::now();
        let store = Store::open(&config, &data_dir).await?;
        let opened = begun.elapsed();
        let snapshot = read(&store).await?;
        turns.push((begun.elapsed(), opened));
        check(&world, &snapshot)?;
    }
    turns.sort_unstable();
    let (whole, opened) = turns[TURNS / 2];
    println!(
        "{:10} start of {} grants: {:.2} s, of which {:.2} s until the database is open; most memory {:.0} MiB; load {}",
        if config.url.is_some() { "PostgreSQL" } else { "SQLite" },
        world.grants.len(),
        whole.as_secs_f64(),
        opened.as_secs_f64(),
        peak_mebibytes(),
        load(),
    );
    Ok(())
}

/// As the gateway does it when it starts.
async fn read(store: &Store) -> Result<Snapshot> {
    let mut builder = Builder::new(Arc::new(Levels::builtin()?));
    let version = store.read_policy(&mut |row| take(&mut builder, row)).await?;
    Ok(builder.build(version))
}

fn take(builder: &mut Builder, row: PolicyRow<'_>) -> Result<(), StoreError> {
    let corrupt = |error: MalformedId| StoreError::Corrupt(error.to_string());
    match row {
        PolicyRow::Principal { principal, active } => {
            builder.principal(&principal.parse().map_err(corrupt)?, active);
        }
        PolicyRow::Member { group, member } => {
            builder.member(&group.parse().map_err(corrupt)?, &member.parse().map_err(corrupt)?);
        }
        PolicyRow::Place { securable, parent } => {
            builder.place(&securable.parse().map_err(corrupt)?, &parent.parse().map_err(corrupt)?);
        }
        PolicyRow::Grant { id, principal, securable, privilege, deny, expires_at_ms } => {
            builder.grant(&Rule {
                id: GrantId(id),
                principal: principal.parse().map_err(corrupt)?,
                securable: securable.parse().map_err(corrupt)?,
                privilege: privilege.to_owned(),
                effect: if deny { Effect::Deny } else { Effect::Allow },
                expires_at: expires_at_ms.map(UnixMillis),
            })
        }
    }
    Ok(())
}

/// The snapshot is the world's: it answers as it must.
fn check(world: &World, snapshot: &Snapshot) -> Result<()> {
    let plain = tracegate_engines::plain::Plain::new(world)?;
    for question in questions::ask(&plain, 2_000, 3)? {
        let principal = &world.principals[question.user as usize];
        let securable = &world.securables[question.securable as usize];
        let allowed = snapshot.allows(principal, securable, question.privilege, NOW);
        ensure!(allowed == question.allowed, "what was read answers {allowed} to {question:?}");
    }
    Ok(())
}

async fn fill(url: &str, world: &World) -> Result<()> {
    let mut connection = AnyConnection::connect(url).await?;
    let mut transaction = connection.begin().await?;
    let principal = |number: u32| &world.principals[number as usize];
    let mut insert = Insert::new("principals (id, created_at_ms, created_by)");
    // `users` and `admins`, the last two, are there from the beginning.
    for number in 0..world.everybody() {
        insert.row(&mut transaction, format_args!("('{}', 0, 'world')", principal(number))).await?;
    }
    insert.finish(&mut transaction).await?;
    let mut insert = Insert::new("memberships (group_id, member_id)");
    for (group, member) in &world.memberships {
        insert
            .row(&mut transaction, format_args!("('{}', '{}')", principal(*group), principal(*member)))
            .await?;
    }
    insert.finish(&mut transaction).await?;
    let mut insert = Insert::new("securables (id, parent, name)");
    for (securable, parent) in world.securables.iter().zip(&world.parents) {
        // Folders and what is above them are in no table: their names say where they are.
        if !matches!(
            securable.kind,
            SecurableKind::Workspace | SecurableKind::Metastore | SecurableKind::Folder
        ) {
            let parent = &world.securables[*parent as usize];
            insert.row(&mut transaction, format_args!("('{securable}', '{parent}', '')")).await?;
        }
    }
    insert.finish(&mut transaction).await?;
    let mut insert = Insert::new(
        "grants (principal, securable, privilege, effect, expires_at_ms, granted_by, granted_at_ms)",
    );
    for grant in &world.grants {
        let ends = grant.expires_at.map_or("NULL".to_owned(), |end| end.0.to_string());
        let securable = &world.securables[grant.securable as usize];
        let (who, effect) = (principal(grant.principal), grant.effect.as_str());
        let row = format_args!("('{who}', '{securable}', '{}', '{effect}', {ends}, 'world', 0)", grant.given);
        insert.row(&mut transaction, row).await?;
    }
    insert.finish(&mut transaction).await?;
    sqlx::query("UPDATE policy_head SET version = 1").execute(&mut *transaction).await?;
    transaction.commit().await?;
    if url.starts_with("postgres") {
        sqlx::query("ANALYZE").execute(&mut connection).await?;
    }
    Ok(())
}

/// Rows gathered into statements of many. Every name in the world is free of quotes.
struct Insert {
    into: &'static str,
    text: String,
    rows: usize,
}

impl Insert {
    fn new(into: &'static str) -> Self {
        Self { into, text: String::new(), rows: 0 }
    }

    async fn row(&mut self, connection: &mut AnyConnection, row: std::fmt::Arguments<'_>) -> Result<()> {
        match self.rows {
            0 => write!(self.text, "INSERT INTO {} VALUES {row}", self.into)?,
            _ => write!(self.text, ", {row}")?,
        }
        self.rows += 1;
        if self.rows == TOGETHER { self.finish(connection).await } else { Ok(()) }
    }

    async fn finish(&mut self, connection: &mut AnyConnection) -> Result<()> {
        if self.rows > 0 {
            let text = std::mem::take(&mut self.text);
            sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await?;
            self.rows = 0;
        }
        Ok(())
    }
}
