//! Copies the ledger to a second place, line by line and in order, so that whoever controls this host
//! cannot write the whole record anew unseen.
//!
//! `checkpoints.mirrored` holds how many bytes of `checkpoints` are over there. A line may arrive twice, if
//! the process ends between the two; none is left out. Nothing waits for the mirror: what is behind shows
//! in [`Mirror::lag`].

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::{directory, ledger};

const MIRRORED: &str = "checkpoints.mirrored";
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
const ONE_LINE: Duration = Duration::from_secs(15);

/// The second place.
#[derive(Debug)]
enum Target {
    File(PathBuf),
    Http { url: String, client: reqwest::Client },
}

#[derive(Debug)]
pub struct Mirror {
    directory: PathBuf,
    target: Target,
    lag: AtomicU64,
    wake: Notify,
    one_at_a_time: Mutex<()>,
}

impl Mirror {
    /// `target` is `file:/path` or an HTTP URL, as the configuration has checked.
    pub fn new(directory: &Path, target: &str) -> std::io::Result<Self> {
        let target = match target.strip_prefix("file:") {
            Some(path) => Target::File(PathBuf::from(path)),
            None => Target::Http {
                url: target.to_owned(),
                client: reqwest::Client::builder()
                    .redirect(reqwest::redirect::Policy::none())
                    .timeout(ONE_LINE)
                    .build()
                    .map_err(std::io::Error::other)?,
            },
        };
        Ok(Self {
            directory: directory.to_owned(),
            target,
            lag: AtomicU64::new(0),
            wake: Notify::new(),
            one_at_a_time: Mutex::new(()),
        })
    }

    /// More lines are in the ledger.
    pub fn more(&self, lines: u64) {
        self.lag.fetch_add(lines, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// How many lines are not over there, as last known.
    pub fn lag(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
    }

    pub async fn run(self: std::sync::Arc<Self>) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.send_all().await {
                Ok(()) => {
                    pause = SHORTEST_PAUSE;
                    self.wake.notified().await;
                }
                Err(error) => {
                    tracing::warn!(%error, lag = self.lag(), "checkpoints wait for their mirror");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Sends what is not over there; ends at the first line that cannot be.
    pub async fn send_all(&self) -> std::io::Result<()> {
        let _alone = self.one_at_a_time.lock().await;
        let mark = self.directory.join(MIRRORED);
        let text = match std::fs::read_to_string(self.directory.join(ledger::CHECKPOINTS)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let sent = std::fs::read_to_string(&mark).ok().and_then(|sent| sent.trim().parse().ok());
        let mut sent: usize = sent.filter(|sent| text.is_char_boundary(*sent)).unwrap_or(0);
        let lag = |sent: usize| text[sent..].bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.lag.store(lag(sent), Ordering::Relaxed);
        while let Some(end) = text[sent..].find('\n') {
            self.send(&text[sent..=sent + end]).await?;
            sent += end + 1;
            directory::write_whole(&self.directory, MIRRORED, format!("{sent}\n").as_bytes())?;
            self.lag.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn send(&self, line: &str) -> std::io::Result<()> {
        match &self.target {
            Target::File(path) => {
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
                file.write_all(line.as_bytes())?;
                file.sync_data()
            }
            Target::Http { url, client } => {
                let request =
                    client.post(url).header("content-type", "application/json").body(line.to_owned());
                // Without the URL: it may hold a credential, and this is logged.
                let failed = |error: reqwest::Error| std::io::Error::other(error.without_url());
                let answer = request.send().await.map_err(failed)?;
                if answer.status().is_success() {
                    return Ok(());
                }
                Err(std::io::Error::other(format!("the mirror answered {}", answer.status())))
            }
        }
    }
}
