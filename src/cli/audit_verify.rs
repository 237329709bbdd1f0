//! `tracegate audit verify` and `tracegate audit export-chain`: a record, or a copy of it, without a server.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::audit::{self, IndexVerified, Known, Progress, PublicKey, Verified};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// A spool's directory, a copy of one, or a file written by `audit export-chain` or by `audit export
    /// --format jsonl` of a whole period
    record: Option<PathBuf>,
    /// The gateway's configuration: the chain is also held against what the index remembers
    #[arg(long)]
    config: Option<PathBuf>,
    /// Also check every row of the index: against the spool, or without one by itself
    #[arg(long, requires = "config")]
    database: bool,
    /// Of an index, or an export of several: the replica to check. Default: all
    #[arg(long)]
    replica: Option<String>,
    /// A copy of the file `checkpoints`, such as the mirror's
    #[arg(long)]
    checkpoints: Option<PathBuf>,
    /// A public key to trust, in PEM or hex; may be given several times. Default: the first in the record
    #[arg(long)]
    public_key: Vec<PathBuf>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The spool's directory, or a copy of it
    directory: PathBuf,
    #[arg(long, default_value_t = 1)]
    from_seq: u64,
    #[arg(long, default_value_t = u64::MAX)]
    to_seq: u64,
}

/// Writes records as JSON lines that keep their place in the chain, to stdout.
pub(super) fn export(arguments: &ExportArguments) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = audit::export(&arguments.directory, arguments.from_seq..=arguments.to_seq, &mut out)?;
    out.flush()?;
    eprintln!("{written} records exported");
    Ok(())
}

pub(super) fn run(arguments: VerifyArguments) -> anyhow::Result<()> {
    let mut known = Known { replica: arguments.replica.clone(), ..Known::default() };
    for path in &arguments.public_key {
        let text = std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("`{}` cannot be read: {error}", path.display()))?;
        known.public_keys.push(
            PublicKey::parse(&text).ok_or_else(|| {
                anyhow::anyhow!("`{}` is no Ed25519 public key in PEM or hex", path.display())
            })?,
        );
    }
    if let Some(path) = &arguments.checkpoints {
        known.checkpoints = audit::read_checkpoints(path)
            .map_err(|error| anyhow::anyhow!("`{}` cannot be read: {error}", path.display()))?;
    }
    let config = arguments.config.as_deref().map(|file| Config::load(Some(file))).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bar = Bar::new();
    let mut progress = |progress: Progress| bar.show(progress);
    let mut records = Vec::new();
    match (&arguments.record, &config) {
        (Some(file), _) if file.is_file() => {
            records = audit::verify_export(file, known.clone(), &mut progress)?;
        }
        (Some(directory), config) => {
            if let Some(config) = config {
                let url = config.database.url.as_deref();
                let indexed = audit::known_to_index(&config.audit, url, &config.server.data_dir);
                known.position = runtime.block_on(indexed)?;
                known.whole = config.audit.keeps_everything();
            }
            records.push(audit::verify(directory, known.clone(), &mut progress)?);
        }
        (None, Some(_)) if arguments.database => {}
        (None, _) => anyhow::bail!("name a spool's directory or an export, or give --config and --database"),
    }
    let mut rows = Vec::new();
    if let Some(config) = config.as_ref().filter(|_| arguments.database) {
        let checked = index_rows(config, &arguments, &known, &mut progress);
        rows = runtime.block_on(checked)?;
    }
    bar.end();
    if arguments.json {
        // One spool is told by itself, with its rows beside; an export may hold several chains.
        let of_spool = arguments.record.as_deref().is_some_and(std::path::Path::is_dir);
        let mut told = match records.as_slice() {
            [] => serde_json::to_value(&rows)?,
            [one] if of_spool => serde_json::to_value(one)?,
            several => serde_json::to_value(several)?,
        };
        if of_spool && arguments.database {
            told["index"] = serde_json::to_value(&rows)?;
        }
        let text = serde_json::to_string_pretty(&told)?;
        super::print_line(&text);
        return Ok(());
    }
    for record in &records {
        tell(record);
    }
    for rows in rows {
        super::print_line(&format!(
            "the index is whole: {} rows of replica {} up to record {}; {} expired, {} unproven",
            rows.rows, rows.replica, rows.last_seq, rows.expired, rows.unproven
        ));
    }
    Ok(())
}

async fn index_rows(
    config: &Config,
    arguments: &VerifyArguments,
    known: &Known,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Vec<IndexVerified>> {
    let index = audit::open_index(config.database.url.as_deref(), &config.server.data_dir).await?;
    let mut verified = Vec::new();
    if let Some(directory) = arguments.record.as_deref().filter(|path| path.is_dir()) {
        let now = SystemClock.now();
        verified.push(audit::verify_index(&index, directory, &config.audit, now, progress).await?);
    } else {
        let replicas = match &known.replica {
            Some(replica) => vec![replica.clone()],
            None => index.replicas().await?,
        };
        for replica in replicas {
            let checked = audit::verify_index_alone(&index, &replica, known, &config.audit, progress);
            verified.push(checked.await?);
        }
    }
    index.close().await;
    Ok(verified)
}

fn tell(verified: &Verified) {
    let Verified { first_seq, last_seq, replica, last_hash, .. } = verified;
    super::print_line(&format!(
        "the chain is whole: records {first_seq} to {last_seq} of replica {replica}, last hash {last_hash}"
    ));
    if *first_seq > 1 {
        super::print_line(&format!(
            "records before {first_seq} are not in it; those up to {} were pruned on purpose",
            verified.pruned_through
        ));
    }
    if verified.absent > 0 {
        super::print_line(&format!(
            "{} of them are not in it: the index had let them go; {} behind such gaps are unproven",
            verified.absent, verified.unproven
        ));
    }
    match verified.vouched_seq {
        0 => super::print_line("no trusted checkpoint: no signature says that it was not written anew"),
        seq => super::print_line(&format!(
            "{} checkpoints; records up to {seq} are signed, {} came after; keys: {}",
            verified.checkpoints,
            last_seq.saturating_sub(seq),
            verified.keys.join(", ")
        )),
    }
    if !verified.recoveries.is_empty() {
        super::print_line(&format!("without a clean end before records {:?}", verified.recoveries));
    }
}

/// A bar that is drawn over on a terminal; elsewhere a line now and then.
struct Bar {
    start: Instant,
    shown: Option<Instant>,
    on_terminal: bool,
}

impl Bar {
    fn new() -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        Self { start: Instant::now(), shown: None, on_terminal }
    }

    fn show(&mut self, progress: Progress) {
        let pause = Duration::from_millis(if self.on_terminal { 100 } else { 5_000 });
        if self.shown.unwrap_or(self.start).elapsed() < pause {
            return;
        }
        self.shown = Some(Instant::now());
        let share = progress.bytes as f64 / progress.total_bytes.max(1) as f64;
        let rate = progress.seq as f64 / self.start.elapsed().as_secs_f64();
        let text = format!("{:3.0} %  {} records  {rate:.0} a second", share * 100.0, progress.seq);
        if self.on_terminal {
            let full = (share * 30.0) as usize;
            eprint!("\r[{}{}] {text}\x1b[K", "#".repeat(full.min(30)), "-".repeat(30 - full.min(30)));
        } else {
            eprintln!("{text}");
        }
    }

    fn end(&self) {
        if self.on_terminal && self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
