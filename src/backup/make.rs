//! Takes a backup, beside a gateway that serves on or of one that is stopped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::{self, Written, at};
use super::manifest::{FILE, FORMAT, Manifest, Record, Rows};
use super::{BackupError, Checked, Databases, Tell, artifacts, file_of, verify};
use crate::clock::Clock;
use crate::config::Config;
use crate::database::Schema;
use crate::database::rows::RowsError;

/// What is to be in it.
pub struct Wanted<'a> {
    pub to: &'a Path,
    /// Who has it can sign checkpoints of a record of his own making.
    pub signing_key: bool,
}

/// Sessions end with the disaster: who had one signs in again.
const LEFT: &[&str] = &["sessions"];

/// Makes the backup under another name, checks it, and then gives it its own.
pub async fn make(
    config: &Config,
    clock: &dyn Clock,
    wanted: &Wanted<'_>,
    tell: Tell<'_>,
) -> Result<Checked, BackupError> {
    if !files::is_free(wanted.to)? {
        return Err(BackupError::Refused(format!(
            "`{}` is there already; a backup goes into a directory of its own",
            wanted.to.display()
        )));
    }
    let unfinished = unfinished(wanted.to);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)
            .map_err(at("of a backup that was cut short cannot be removed", &unfinished))?;
    }
    files::make_directory(&unfinished)?;
    match fill(config, clock, wanted, &unfinished, tell).await {
        Ok(checked) => {
            fs::rename(&unfinished, wanted.to).map_err(at("cannot be made", wanted.to))?;
            files::sync_directory(
                wanted.to.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")),
            )?;
            Ok(checked)
        }
        Err(error) => {
            // Half a backup helps nobody.
            let _ = fs::remove_dir_all(&unfinished);
            Err(error)
        }
    }
}

fn unfinished(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    to.with_file_name(name)
}

async fn fill(
    config: &Config,
    clock: &dyn Clock,
    wanted: &Wanted<'_>,
    to: &Path,
    tell: Tell<'_>,
) -> Result<Checked, BackupError> {
    let databases = Databases::of(config);
    let data_dir = &config.server.data_dir;
    let mut files = BTreeMap::new();
    let mut left_out = vec!["sessions of browsers: people sign in again".to_owned()];
    let mut policy_version = 0;

    let (state, head) = rows("state", &databases.state, to, &mut files, tell).await?;
    if let Some(version) = head {
        policy_version = version;
    }
    let mut traces = None;
    match &databases.traces {
        None => {
            left_out.push("traces: the MLflow server keeps them; back it up with its own means".to_owned())
        }
        Some(schema) if file_of(schema).is_none() => {
            traces = Some(rows("traces", schema, to, &mut files, tell).await?.0);
        }
        Some(schema) => snapshot("traces.db", schema, to, &mut files, tell).await?,
    }
    if databases.traces.is_some() {
        match artifacts(config) {
            Some(root) if root.exists() => {
                tell("artifacts");
                copy_tree(&root, "artifacts", to, &mut files, &|_| true)?;
            }
            Some(_) => {}
            None => {
                left_out.push("artifacts: they lie in an object store, which has its own versions".to_owned())
            }
        }
    }
    if file_of(&databases.index).is_some_and(Path::exists) {
        snapshot("audit.db", &databases.index, to, &mut files, tell).await?;
    } else {
        left_out.push(
            "the audit index: the record fills it again, but for sessions and end users of traces".to_owned(),
        );
    }
    if wanted.signing_key {
        let key = config.audit.signing_key_in(data_dir);
        files.insert(
            "audit-signing-key.pem".to_owned(),
            files::copy(&key, &to.join("audit-signing-key.pem"))?,
        );
    } else {
        left_out.push(
            "the key that signs checkpoints: keep it apart, or ask for it with --with-signing-key".to_owned(),
        );
    }
    if config.server.keys_file.is_some() {
        left_out
            .push("the file of `server.keys_file`: what was sealed and hashed with it needs it".to_owned());
    }
    // The record comes last, so that it holds every change that the rest holds.
    tell("audit record");
    let spool = config.audit.directory_in(data_dir);
    let belongs = |name: &str| name != "lock" && !name.ends_with(".new");
    copy_tree(&spool, "audit", to, &mut files, &belongs)?;
    let record = verify::chain(&to.join("audit"))?;

    let manifest = Manifest {
        format: FORMAT,
        tracegate: env!("CARGO_PKG_VERSION").to_owned(),
        made_at_ms: clock.now(),
        policy_version,
        state,
        traces,
        record: Record {
            replica: record.replica,
            first_seq: record.first_seq,
            last_seq: record.last_seq,
            last_hash: record.last_hash,
        },
        left_out,
        files,
    };
    let text =
        serde_json::to_vec_pretty(&manifest).map_err(|error| BackupError::Refused(error.to_string()))?;
    let mut file = Written::create(&to.join(FILE))?;
    file.write(&text)?;
    file.finish()?;
    verify::verify(to, None, tell)
}

/// Writes every table as a file; and the policy version, if it is among them.
async fn rows(
    what: &'static str,
    schema: &Schema,
    to: &Path,
    files: &mut BTreeMap<String, super::manifest::FileFacts>,
    tell: Tell<'_>,
) -> Result<(Rows, Option<i64>), BackupError> {
    let state = schema.state().await?;
    let Some(schema_version) = state.version.filter(|_| state.newer.is_empty() && state.pending.is_empty())
    else {
        return Err(BackupError::Refused(format!(
            "the {what} has another schema than this program's; `tracegate migrate --check` says which"
        )));
    };
    let (mut counts, mut open, mut done, mut head) =
        (BTreeMap::new(), None::<(String, Written)>, Vec::new(), None);
    for table in schema.tables() {
        counts.insert(table, 0_u64);
    }
    let failed = |error: BackupError| RowsError::Other(error.to_string());
    let last_ids = schema
        .dump(&mut |table, row| {
            if LEFT.contains(&table) {
                return Ok(());
            }
            if table == "policy_head" {
                head = row.get("version").and_then(serde_json::Value::as_i64);
            }
            if open.as_ref().is_none_or(|(name, _)| name != table) {
                done.extend(open.take());
                let file = Written::create(&to.join(what).join(format!("{table}.jsonl"))).map_err(failed)?;
                open = Some((table.to_owned(), file));
            }
            let line = serde_json::to_string(&row).map_err(|error| RowsError::Other(error.to_string()))?;
            if let Some((_, file)) = &mut open {
                file.write(line.as_bytes()).and_then(|()| file.write(b"\n")).map_err(failed)?;
            }
            *counts.entry(table.to_owned()).or_default() += 1;
            Ok(())
        })
        .await
        .map_err(|error| BackupError::Rows { what, error })?;
    done.extend(open);
    for (table, file) in done {
        files.insert(format!("{what}/{table}.jsonl"), file.finish()?);
    }
    tell(&format!("{what}: {} rows", counts.values().sum::<u64>()));
    Ok((Rows { schema_version, rows: counts, last_ids }, head))
}

async fn snapshot(
    name: &'static str,
    schema: &Schema,
    to: &Path,
    files: &mut BTreeMap<String, super::manifest::FileFacts>,
    tell: Tell<'_>,
) -> Result<(), BackupError> {
    use std::os::unix::fs::PermissionsExt as _;
    tell(name);
    let path = to.join(name);
    schema.snapshot(&path).await.map_err(|error| BackupError::Rows { what: name, error })?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(at("cannot be made private", &path))?;
    fs::File::open(&path).and_then(|file| file.sync_all()).map_err(at("cannot be written", &path))?;
    files.insert(name.to_owned(), files::facts(&path)?);
    Ok(())
}

fn copy_tree(
    from: &Path,
    name: &str,
    to: &Path,
    files: &mut BTreeMap<String, super::manifest::FileFacts>,
    belongs: &dyn Fn(&str) -> bool,
) -> Result<(), BackupError> {
    for path in files::below(from)?.into_iter().filter(|path| belongs(path)) {
        let name = format!("{name}/{path}");
        match files::copy(&from.join(&path), &to.join(&name)) {
            Ok(facts) => {
                files.insert(name, facts);
            }
            // Removed since the list was made, as retention and deletions do. If the record lacks it, the check says so.
            Err(BackupError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
