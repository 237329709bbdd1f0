//! News of policy changes that other replicas make, as PostgreSQL notifies of them.
//!
//! A notification says no more than that there is a version. It can get lost, with the connection or while
//! it is made again; after that the feed says [`FeedEvent::Lost`], and its reader asks the store. Whoever
//! reads the feed polls all the same: a connection can be dead for long before anybody notices.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Store;
use super::error::StoreError;

/// Every replica listens on it; the payload is the version.
pub(super) const CHANNEL: &str = "tracegate_policy";
/// What the database's list of connections shows.
const APPLICATION: &str = "tracegate policy feed";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the first attempt to connect again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the feed has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedEvent {
    /// This version was committed. If several were since the last event, it is the last of them.
    Changed(i64),
    /// Changes may have been missed: ask the store which version is in force.
    Lost,
}

/// Where the feed connects; `None` on SQLite.
#[derive(Clone)]
pub(super) struct Source(Option<PgConnectOptions>);

impl Source {
    pub fn new(url: Option<&str>) -> Result<Self, StoreError> {
        // What is wrong with it is not said: it may hold a password.
        let malformed = |_| StoreError::Unavailable("`database.url` is not a PostgreSQL URL".to_owned());
        let options = url.map(|url| url.parse::<PgConnectOptions>().map_err(malformed)).transpose()?;
        Ok(Self(options.map(|options| options.application_name(APPLICATION))))
    }
}

/// The options hold a password.
impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Source")
    }
}

/// The end of the feed that is read. Dropping it closes its connection.
#[derive(Debug)]
pub struct PolicyFeed {
    listening: Option<Listening>,
}

#[derive(Debug)]
struct Listening {
    heard: watch::Receiver<Heard>,
    losses: u64,
    task: AbortHandle,
}

/// Everything so far, so that a slow reader misses nothing that matters.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    version: i64,
    losses: u64,
}

impl Store {
    /// Begins to listen. What is committed after this returns is heard of, or its loss is; what was before
    /// is the caller's to read.
    pub async fn policy_feed(&self) -> Result<PolicyFeed, StoreError> {
        let Some(options) = &self.feed.0 else { return Ok(PolicyFeed { listening: None }) };
        let listener = listen(options).await?;
        let (sender, heard) = watch::channel(Heard::default());
        let task = tokio::spawn(run(options.clone(), listener, sender)).abort_handle();
        Ok(PolicyFeed { listening: Some(Listening { heard, losses: 0, task }) })
    }
}

impl PolicyFeed {
    /// Waits for the next event; on SQLite, where nothing notifies, for ever. Nothing is lost when the
    /// wait is given up.
    pub async fn next(&mut self) -> FeedEvent {
        let Some(listening) = &mut self.listening else { return std::future::pending().await };
        if listening.heard.changed().await.is_err() {
            return std::future::pending().await;
        }
        let heard = *listening.heard.borrow_and_update();
        if heard.losses > listening.losses {
            listening.losses = heard.losses;
            FeedEvent::Lost
        } else {
            FeedEvent::Changed(heard.version)
        }
    }
}

impl Drop for PolicyFeed {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.task.abort();
        }
    }
}

async fn listen(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_with(options.clone())
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    // A listener that connects again by itself goes on with a connection that was reset, for ever.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Listens until the feed is dropped, on a new connection after each loss.
async fn run(options: PgConnectOptions, mut listener: PgListener, sender: watch::Sender<Heard>) {
    loop {
        let problem = hear(&mut listener, &sender).await;
        tracing::warn!(problem, "the notifications of policy changes broke off; polling goes on");
        drop(listener);
        listener = listen_again(&options).await;
        sender.send_modify(|heard| heard.losses += 1);
        tracing::info!("policy changes are notified again");
    }
}

/// Passes on what is heard, and answers why it ended.
async fn hear(listener: &mut PgListener, sender: &watch::Sender<Heard>) -> String {
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) => match notification.payload().parse() {
                Ok(version) => sender.send_modify(|heard| heard.version = version),
                // Somebody else's: it says nothing, but that somebody notifies on our channel.
                Err(_) => sender.send_modify(|heard| heard.losses += 1),
            },
            Ok(None) => return "the connection was closed".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
}

async fn listen_again(options: &PgConnectOptions) -> PgListener {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        match listen(options).await {
            Ok(listener) => return listener,
            Err(error) => tracing::debug!(%error, "no connection for policy notifications"),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
