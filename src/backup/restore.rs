//! Puts a backup where there is nothing: all of it, or nothing.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::files::{self, at};
use super::manifest::Rows;
use super::{BackupError, Checked, Databases, Tell, artifacts, file_of, verify};
use crate::access::{Event, EventId, EventKind, Outcome, PolicyChange, RequestContext, Verdict};
use crate::audit;
use crate::clock::{Clock, UnixMillis};
use crate::config::Config;
use crate::database::rows::{JsonRow, RowsError};
use crate::database::{Place, Schema};

/// What may be decided differently.
#[derive(Debug, Default)]
pub struct Choices {
    /// The id that the backup must have.
    pub expected: Option<String>,
    /// Every token, client secret and password ends: some were perhaps revoked after the backup.
    pub revoke_tokens: bool,
    /// The record survived, and is newer than that of the backup.
    pub keep_record: bool,
}

#[derive(Debug)]
pub struct Restored {
    pub checked: Checked,
    pub policy_version: i64,
    /// Tokens and client secrets that are good again.
    pub credentials: u64,
    /// The record's last seq, which says that this happened.
    pub noted_at: u64,
}

/// How far policy versions jump: no client may demand a version that means something else now, and nobody knows
/// how many there were after the backup.
const JUMP: i64 = 1_000_000;
const STAGING: &str = ".restore";
/// What somebody used has rows in one of these.
const USED: &[&str] = &["tokens", "grants", "policy_changes", "trace_claims"];
const USED_TRACES: &[&str] = &["traces", "runs"];

pub async fn restore(
    config: &Config,
    clock: Arc<dyn Clock>,
    from: &Path,
    choices: &Choices,
    tell: Tell<'_>,
) -> Result<Restored, BackupError> {
    tell("checking the backup");
    let checked = verify::verify(from, choices.expected.as_deref(), tell)?;
    let databases = Databases::of(config);
    let data_dir = config.server.data_dir.clone();
    files::make_directory(&data_dir)?;
    let staging = data_dir.join(STAGING);
    let _alone = staged(&staging)?;
    let target = Target { config, choices, databases: &databases, staging: &staging };
    let done = target.fill(clock, &checked, from, tell).await;
    let _ = fs::remove_dir_all(&staging);
    let (policy_version, credentials, noted_at) = done?;
    Ok(Restored { checked, policy_version, credentials, noted_at })
}

/// An empty directory to make everything in, which nobody else has while the lock is held.
fn staged(staging: &Path) -> Result<fs::File, BackupError> {
    files::make_directory(staging)?;
    let lock = fs::File::open(staging).map_err(at("cannot be used", staging))?;
    if lock.try_lock().is_err() {
        return Err(BackupError::Refused(format!("another restore makes `{}`", staging.display())));
    }
    // What one that was cut short left.
    for entry in fs::read_dir(staging).map_err(at("cannot be read", staging))? {
        let path = entry.map_err(at("cannot be read", staging))?.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(at("cannot be removed", &path))?;
    }
    Ok(lock)
}

/// A part of the backup, and where it belongs.
struct Move {
    part: &'static str,
    to: PathBuf,
}

fn moves(
    config: &Config,
    databases: &Databases,
    checked: &Checked,
    choices: &Choices,
) -> Result<Vec<Move>, BackupError> {
    let data_dir = &config.server.data_dir;
    let has = |part: &str| {
        let inside = format!("{part}/");
        checked.manifest.files.keys().any(|path| path == part || path.starts_with(&inside))
    };
    let mut moves = Vec::new();
    let mut add = |part, to: PathBuf| {
        if has(part) {
            moves.push(Move { part, to });
        }
    };
    match databases.traces.as_ref().map(file_of) {
        Some(Some(file)) if checked.manifest.traces.is_none() => add("traces.db", file.to_owned()),
        Some(None) if !has("traces.db") => {}
        None if !has("traces.db") && checked.manifest.traces.is_none() => {}
        _ => {
            return Err(BackupError::Refused(
                "the backup's traces cannot be kept by this configuration: they go back into the kind of \
                 database that they came from (`database.url`), and not before an MLflow server (`mlflow.url`)"
                    .to_owned(),
            ));
        }
    }
    match artifacts(config) {
        Some(root) => add("artifacts", root),
        None if has("artifacts") => {
            return Err(BackupError::Refused(
                "the backup holds artifacts, and `mlflow.artifacts` is no directory".to_owned(),
            ));
        }
        None => {}
    }
    // An index of a record that went on would know less than it.
    if let (Some(file), false) = (file_of(&databases.index), choices.keep_record) {
        add("audit.db", file.to_owned());
    }
    if !choices.keep_record {
        add("audit", config.audit.directory_in(data_dir));
    }
    let key = config.audit.signing_key_in(data_dir);
    if !key.exists() {
        add("audit-signing-key.pem", key);
    }
    Ok(moves)
}

async fn refuse_what_is_used(
    databases: &Databases,
    checked: &Checked,
    moves: &[Move],
) -> Result<(), BackupError> {
    let state_file = file_of(&databases.state).map(Path::to_owned);
    for path in moves.iter().map(|one| &one.to).chain(&state_file) {
        if !files::is_free(path)? {
            return Err(BackupError::Refused(format!(
                "`{}` is there already, and a restore overwrites nothing: use an empty `server.data_dir`, or move it away",
                path.display()
            )));
        }
    }
    let mut schemas = vec![("state", &databases.state, USED)];
    if let (Some(traces), Some(_)) = (&databases.traces, &checked.manifest.traces) {
        schemas.push(("traces", traces, USED_TRACES));
    }
    for (what, schema, used) in schemas {
        if file_of(schema).is_none() {
            schema.refuse_used(used).await.map_err(|error| BackupError::Rows { what, error })?;
        }
    }
    Ok(())
}

fn signing_key_is_there(config: &Config, checked: &Checked) -> Result<(), BackupError> {
    let key = config.audit.signing_key_in(&config.server.data_dir);
    if key.exists() || checked.manifest.files.contains_key("audit-signing-key.pem") {
        return Ok(());
    }
    Err(BackupError::Refused(format!(
        "the key that signs checkpoints is not in the backup; put it at `{}` before (docs/OPERATING.md, \
         \"The signing key\", says what to do if it is lost)",
        key.display()
    )))
}

struct Target<'a> {
    config: &'a Config,
    choices: &'a Choices,
    databases: &'a Databases,
    staging: &'a Path,
}

impl Target<'_> {
    async fn fill(
        &self,
        clock: Arc<dyn Clock>,
        checked: &Checked,
        from: &Path,
        tell: Tell<'_>,
    ) -> Result<(i64, u64, u64), BackupError> {
        let moves = moves(self.config, self.databases, checked, self.choices)?;
        refuse_what_is_used(self.databases, checked, &moves).await?;
        signing_key_is_there(self.config, checked)?;
        self.put(clock, checked, from, moves, tell).await
    }

    /// Makes everything aside, notes what is about to be, and lets it take its place. The policy version, the credentials
    /// that are good, and the seq of the note.
    async fn put(
        &self,
        clock: Arc<dyn Clock>,
        checked: &Checked,
        from: &Path,
        mut moves: Vec<Move>,
        tell: Tell<'_>,
    ) -> Result<(i64, u64, u64), BackupError> {
        self.copy(checked, from, &moves, tell)?;
        let version = checked.manifest.policy_version.max(0).saturating_add(JUMP);
        let now = clock.now();
        let revoke = self.choices.revoke_tokens;
        let mut edit = Edit { version, checked, now, revoke_tokens: revoke, credentials: 0 };
        let state = &checked.manifest.state;
        let in_file = file_of(&self.databases.state);
        if let Some(file) = in_file {
            let schema = at_place(&self.databases.state, Place::Sqlite(self.staging.join("state.db")));
            load("state", &schema, state, from, &mut edit, tell).await?;
            moves.push(Move { part: "state.db", to: file.to_owned() });
        }
        tell("noting it in the record");
        let noted_at = self.note(&moves, clock, event(checked, version, self.choices, now)).await?;
        take(self.config, self.staging, &moves)?;
        if in_file.is_none() {
            // A database has no other place to be made in: it is what nothing comes after.
            let loaded = async {
                if let (Some(schema), Some(rows)) = (&self.databases.traces, &checked.manifest.traces) {
                    load("traces", schema, rows, from, &mut edit, tell).await?;
                }
                load("state", &self.databases.state, state, from, &mut edit, tell).await
            };
            if let Err(error) = loaded.await {
                undo(&moves);
                return Err(error);
            }
        }
        Ok((version, edit.credentials, noted_at))
    }

    fn copy(
        &self,
        checked: &Checked,
        from: &Path,
        moves: &[Move],
        tell: Tell<'_>,
    ) -> Result<(), BackupError> {
        for one in moves {
            tell(one.part);
            let inside = format!("{}/", one.part);
            for (path, facts) in &checked.manifest.files {
                if (path == one.part || path.starts_with(&inside))
                    && files::copy(&from.join(path), &self.staging.join(path))? != *facts
                {
                    return Err(BackupError::Damaged(format!("`{path}` changed while it was read")));
                }
            }
        }
        Ok(())
    }

    /// In the record where it is now: aside, or where it survived.
    async fn note(&self, moves: &[Move], clock: Arc<dyn Clock>, event: Event) -> Result<u64, BackupError> {
        let data_dir = &self.config.server.data_dir;
        let now_at = |part: &str, place: PathBuf| {
            let aside = moves.iter().any(|one| one.part == part);
            Some(if aside { self.staging.join(part) } else { place })
        };
        let audit = &self.config.audit;
        let mut settings = audit.clone();
        settings.directory = now_at("audit", audit.directory_in(data_dir));
        settings.signing_key_file = now_at("audit-signing-key.pem", audit.signing_key_in(data_dir));
        let noted = audit::note(&settings, data_dir, clock, event).await;
        noted.map_err(|error| BackupError::Record(error.to_string()))
    }
}

/// Gives what was made its names, or takes back those that were given.
fn take(config: &Config, staging: &Path, moves: &[Move]) -> Result<(), BackupError> {
    for (done, one) in moves.iter().enumerate() {
        let moved = (|| {
            if let Some(parent) = one.to.parent() {
                files::make_directory(parent)?;
            }
            if one.to.is_dir() {
                // Empty, as was seen.
                fs::remove_dir(&one.to).map_err(at("cannot be replaced", &one.to))?;
            }
            let made = staging.join(one.part);
            match fs::rename(&made, &one.to) {
                // On another file system.
                Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => copy_over(&made, &one.to),
                moved => moved.map_err(at("cannot be made", &one.to)),
            }
        })();
        if let Err(error) = moved {
            undo(&moves[..done]);
            return Err(error);
        }
    }
    files::sync_directory(&config.server.data_dir)
}

/// Where these are now was nothing before.
fn undo(moves: &[Move]) {
    for one in moves {
        let _ = if one.to.is_dir() { fs::remove_dir_all(&one.to) } else { fs::remove_file(&one.to) };
    }
}

fn copy_over(from: &Path, to: &Path) -> Result<(), BackupError> {
    if from.is_file() {
        return files::copy(from, to).map(|_| ());
    }
    let copied = files::below(from)?
        .into_iter()
        .try_for_each(|path| files::copy(&from.join(&path), &to.join(&path)).map(|_| ()));
    if copied.is_err() {
        let _ = fs::remove_dir_all(to);
    }
    copied
}

fn at_place(schema: &Schema, place: Place) -> Schema {
    Schema { name: schema.name, place, migrations: schema.up_to(i64::MAX) }
}

/// To the version that the rows had, then the rows, then what came since: a migration finds what it would have found.
async fn load(
    what: &'static str,
    schema: &Schema,
    rows: &Rows,
    from: &Path,
    edit: &mut Edit<'_>,
    tell: Tell<'_>,
) -> Result<(), BackupError> {
    let place = match &schema.place {
        Place::Sqlite(file) => Place::Sqlite(file.clone()),
        Place::Postgres(url) => Place::Postgres(url.clone()),
    };
    let known = schema.migrations.iter().map(|one| one.version).max().unwrap_or(0);
    if rows.schema_version > known {
        return Err(BackupError::Refused(format!(
            "the backup's {what} is of version {}, and this program knows {known}: use the program that made it, or a newer one",
            rows.schema_version
        )));
    }
    let then = Schema { name: schema.name, place, migrations: schema.up_to(rows.schema_version) };
    // A schema that somebody migrated and nobody used is newer, which is as good.
    let then = if then.state().await?.version.is_some() { schema } else { &then };
    then.migrate().await?;
    let mut tables =
        then.tables().into_iter().filter(|table| rows.rows.get(table).is_some_and(|rows| *rows > 0));
    let mut open: Option<(String, BufReader<fs::File>)> = None;
    let mut added = Vec::new();
    let mut next = || -> Result<Option<(String, JsonRow)>, RowsError> {
        loop {
            if let Some((table, lines)) = &mut open {
                let mut line = String::new();
                let read = lines.read_line(&mut line).map_err(|error| RowsError::Other(error.to_string()))?;
                if read > 0 {
                    let mut row = serde_json::from_str(&line).map_err(|error| RowsError::Row {
                        table: table.clone(),
                        problem: error.to_string(),
                    })?;
                    if what == "state" && !edit.row(table, &mut row) {
                        continue;
                    }
                    return Ok(Some((table.clone(), row)));
                }
                if what == "state" {
                    added.extend(edit.after(table).map(|row| (table.clone(), row)));
                }
                open = None;
            } else if let Some(row) = added.pop() {
                return Ok(Some(row));
            } else {
                let Some(table) = tables.next() else { return Ok(None) };
                let path = from.join(what).join(format!("{table}.jsonl"));
                let file = fs::File::open(path).map_err(|error| RowsError::Other(error.to_string()))?;
                open = Some((table, BufReader::new(file)));
            }
        }
    };
    then.load(&rows.last_ids, &mut next).await.map_err(|error| BackupError::Rows { what, error })?;
    schema.migrate().await?;
    tell(&format!("{what}: {} rows", rows.rows.values().sum::<u64>()));
    Ok(())
}

/// What a restored state must not say as it was.
struct Edit<'a> {
    version: i64,
    checked: &'a Checked,
    now: UnixMillis,
    revoke_tokens: bool,
    credentials: u64,
}

impl Edit<'_> {
    /// Whether the row comes back at all.
    fn row(&mut self, table: &str, row: &mut JsonRow) -> bool {
        match table {
            "passwords" => return !self.revoke_tokens,
            "policy_head" => {
                row.insert("version".to_owned(), json!(self.version));
            }
            "tokens" | "client_secrets" => {
                let alive = row.get("revoked_at_ms").is_none_or(Value::is_null);
                if alive && self.revoke_tokens {
                    row.insert("revoked_at_ms".to_owned(), json!(self.now));
                } else if alive
                    && row.get("expires_at_ms").and_then(Value::as_i64).is_none_or(|end| end > self.now.0)
                {
                    self.credentials += 1;
                }
            }
            _ => {}
        }
        true
    }

    fn after(&self, table: &str) -> Option<JsonRow> {
        let (before, after) = changes(self.checked, self.version, self.revoke_tokens);
        let row = json!({
            "version": self.version, "at_ms": self.now, "changed_by": "tracegate", "action": "restore",
            "before_json": before.to_string(), "after_json": after.to_string(),
        });
        match row {
            Value::Object(row) if table == "policy_changes" => Some(row),
            _ => None,
        }
    }
}

fn changes(checked: &Checked, version: i64, revoked: bool) -> (Value, Value) {
    let manifest = &checked.manifest;
    let before = json!({
        "backup": checked.id, "made_at_ms": manifest.made_at_ms, "policy_version": manifest.policy_version,
        "record_seq": manifest.record.last_seq,
    });
    (before, json!({ "policy_version": version, "tokens_revoked": revoked }))
}

fn event(checked: &Checked, version: i64, choices: &Choices, now: UnixMillis) -> Event {
    let (before, after) = changes(checked, version, choices.revoke_tokens);
    let id = Uuid::now_v7();
    Event {
        id: EventId(id),
        kind: EventKind::PolicyChange,
        time: now,
        principal: None,
        proof: None,
        actor: None,
        request: RequestContext {
            source_address: None,
            user_agent: None,
            request_id: id.to_string(),
            trace_parent: None,
            method: String::new(),
            path: String::new(),
        },
        operation: "tracegate.restore".to_owned(),
        securables: vec!["workspace".to_owned()],
        privileges: Vec::new(),
        decision_id: id.to_string(),
        decision: Verdict::Allow,
        deciding_grants: Vec::new(),
        policy_version: version,
        outcome: Outcome::Success,
        status: None,
        reason: Some("by whoever can write to the gateway's data".to_owned()),
        bytes_in: 0,
        bytes_out: 0,
        duration_us: 0,
        trace_ids: Vec::new(),
        sight: None,
        listed_trace_ids: Vec::new(),
        question: Default::default(),
        claimed: None,
        repeated: None,
        shadowed: Vec::new(),
        policy_change: Some(PolicyChange { action: "restore".to_owned(), before, after }),
    }
}
