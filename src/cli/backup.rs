//! `tracegate backup` and `tracegate restore`: on the host of a replica, with its configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::print_line;
use crate::backup::{self, Checked, Choices, Wanted};
use crate::clock::SystemClock;
use crate::config::Config;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct BackupArguments {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// The directory to make
    #[arg(long, required = true)]
    to: Option<PathBuf>,
    /// A TOML file, as for `tracegate serve`
    #[arg(long)]
    config: Option<PathBuf>,
    /// Put in the key that signs checkpoints, with which a record can be forged
    #[arg(long)]
    with_signing_key: bool,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Check a backup: every file, every row, the record's chain
    #[command(after_help = "Example:\n  tracegate backup verify /backups/monday --id 5d0c…")]
    Verify {
        directory: PathBuf,
        /// The id that was printed when it was made: who can write to the backup can write its manifest
        #[arg(long)]
        id: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The backup
    #[arg(long)]
    from: PathBuf,
    /// A TOML file, as for `tracegate serve`
    #[arg(long)]
    config: Option<PathBuf>,
    /// The id that was printed when it was made
    #[arg(long)]
    id: Option<String>,
    /// End every token, client secret and password; the next start prints a token for an administrator
    #[arg(long)]
    revoke_tokens: bool,
    /// The audit record of this host survived: leave it, and do not put back the older one
    #[arg(long)]
    keep_record: bool,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: BackupArguments) -> anyhow::Result<()> {
    let mut tell = |text: &str| eprintln!("{text}");
    if let Some(BackupCommand::Verify { directory, id, json }) = arguments.command {
        let checked = backup::verify(&directory, id.as_deref(), &mut tell)?;
        print(&checked, &directory, json);
        return Ok(());
    }
    let config = Config::load(arguments.config.as_deref())?;
    let Some(to) = arguments.to else { anyhow::bail!("`--to` must name the directory to make") };
    let wanted = Wanted { to: &to, signing_key: arguments.with_signing_key };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let checked = runtime.block_on(backup::make(&config, &SystemClock, &wanted, &mut tell))?;
    print(&checked, &to, arguments.json);
    Ok(())
}

fn print(checked: &Checked, directory: &Path, json: bool) {
    let manifest = &checked.manifest;
    if json {
        let told = json!({
            "id": checked.id, "directory": directory, "made_at_ms": manifest.made_at_ms, "bytes": checked.bytes,
            "files": manifest.files.len(), "policy_version": manifest.policy_version, "rows": manifest.state.rows,
            "record": manifest.record, "left_out": manifest.left_out,
        });
        print_line(&told.to_string());
        return;
    }
    print_line(&format!(
        "{}: whole, {} files, {} bytes, policy version {}, record {} up to {}",
        directory.display(),
        manifest.files.len(),
        checked.bytes,
        manifest.policy_version,
        manifest.record.replica,
        manifest.record.last_seq
    ));
    for left in &manifest.left_out {
        print_line(&format!("left out: {left}"));
    }
    print_line(&format!("id: {}", checked.id));
}

pub(super) fn restore(arguments: RestoreArguments) -> anyhow::Result<()> {
    let config = Config::load(arguments.config.as_deref())?;
    let choices = Choices {
        expected: arguments.id,
        revoke_tokens: arguments.revoke_tokens,
        keep_record: arguments.keep_record,
    };
    let mut tell = |text: &str| eprintln!("{text}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clock = Arc::new(SystemClock);
    let done = runtime.block_on(backup::restore(&config, clock, &arguments.from, &choices, &mut tell))?;
    let manifest = &done.checked.manifest;
    if arguments.json {
        let told = json!({
            "id": done.checked.id, "policy_version": done.policy_version, "credentials": done.credentials,
            "noted_at_seq": done.noted_at, "left_out": manifest.left_out,
        });
        print_line(&told.to_string());
        return Ok(());
    }
    print_line(&format!(
        "restored: policy version {}, noted in the record at {}",
        done.policy_version, done.noted_at
    ));
    print_line(&format!(
        "{} tokens and client secrets are good again, and so is every grant of then: what was revoked after the backup \
         must be revoked again",
        done.credentials
    ));
    for left in &manifest.left_out {
        print_line(&format!("not in the backup: {left}"));
    }
    Ok(())
}
