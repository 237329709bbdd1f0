//! `tracegate audit export`: the record as lines, into a file, to stdout, or to an OTLP endpoint.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::client::{Client, http_client};
use super::times;

/// How many lines pass between two words on progress.
const PROGRESS: u64 = 10_000;

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// jsonl, ocsf, cef, otlp or databricks
    #[arg(long)]
    format: String,
    /// Not before this time: 2026-01-31, 2026-01-31T12:00:00Z or milliseconds since 1970
    #[arg(long, value_parser = times::parse)]
    from: Option<i64>,
    /// Before this time; up to now if not given
    #[arg(long, value_parser = times::parse)]
    to: Option<i64>,
    /// Of this principal alone
    #[arg(long)]
    principal: Option<String>,
    /// Where to write; stdout if not given. The file has this name only once it is whole
    #[arg(long, conflicts_with = "endpoint")]
    output: Option<PathBuf>,
    /// With `--format otlp`: the URL of a collector's `/v1/logs` to send the records to
    #[arg(long)]
    endpoint: Option<String>,
}

pub(super) fn run(arguments: ExportArguments) -> anyhow::Result<()> {
    if arguments.endpoint.is_some() && arguments.format != "otlp" {
        anyhow::bail!("`--endpoint` takes OTLP: add `--format otlp`");
    }
    let client = Client::from_environment()?;
    let query: Vec<(&str, String)> = [
        ("format", Some(arguments.format)),
        ("since", arguments.from.map(|from| from.to_string())),
        ("until", arguments.to.map(|to| to.to_string())),
        ("principal", arguments.principal),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match (arguments.endpoint, arguments.output) {
            (Some(endpoint), _) => send(&client, &query, &endpoint).await,
            (None, Some(path)) => into_file(&client, &query, &path).await,
            (None, None) => {
                let stdout = &mut std::io::stdout();
                lines(&client, &query, async |line| Ok(stdout.write_all(line)?)).await
            }
        }
    })
}

async fn into_file(client: &Client, query: &[(&str, String)], path: &Path) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    // It tells who did what: for its owner alone.
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let file = file.map_err(|error| anyhow::anyhow!("`{}` cannot be written: {error}", part.display()))?;
    let mut file = std::io::BufWriter::new(file);
    lines(client, query, async |line| Ok(file.write_all(line)?)).await?;
    file.into_inner()?.sync_all()?;
    std::fs::rename(&part, path)?;
    Ok(())
}

async fn send(client: &Client, query: &[(&str, String)], endpoint: &str) -> anyhow::Result<()> {
    let collector = http_client()?;
    lines(client, query, async |line| {
        let request = collector.post(endpoint).header("content-type", "application/json").body(line.to_vec());
        let answer = request.send().await.map_err(|error| {
            anyhow::anyhow!("the collector at `{endpoint}` cannot be reached: {}", error.without_url())
        })?;
        let status = answer.status();
        if !status.is_success() {
            anyhow::bail!("the collector refused records with {}: {}", status.as_u16(), answer.text().await?);
        }
        Ok(())
    })
    .await
}

/// Hands each line on as it comes, and says how far it is. A stream that breaks off is an error.
async fn lines(
    client: &Client,
    query: &[(&str, String)],
    mut each: impl AsyncFnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut answer = client.begin("audit/export", query).await?;
    let header =
        |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let records = header("x-tracegate-records").unwrap_or_default();
    if header("x-tracegate-complete").as_deref() != Some("true") {
        eprintln!("the latest records are still on their way into the index and are not in this export");
    }
    let (mut rest, mut done) = (Vec::new(), 0_u64);
    while let Some(bytes) = answer.chunk().await.map_err(|_| {
        anyhow::anyhow!("the export broke off after {done} lines; what was written is not whole")
    })? {
        rest.extend_from_slice(&bytes);
        let mut from = 0;
        while let Some(length) = rest[from..].iter().position(|byte| *byte == b'\n') {
            each(&rest[from..=from + length]).await?;
            from += length + 1;
            done += 1;
            if done.is_multiple_of(PROGRESS) {
                eprintln!("{done} lines, of {records} records");
            }
        }
        rest.drain(..from);
    }
    eprintln!("{done} lines, of {records} records");
    Ok(())
}
