//! The worker of a replica that keeps archives up, and tells monitoring how far they are.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::flow::Flow;
use crate::app::App;
use crate::backend::Backend;

/// Between rounds.
const EVERY: Duration = Duration::from_millis(250);
/// Archives that are worked on at the same time.
const AT_ONCE: usize = 4;
/// After what failed or may not be done, nothing is tried for so long.
const RESTS: Duration = Duration::from_secs(5);
/// How often it is told how far archives are.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// The thread that copies traces into archives, with a backend of its own.
pub(in crate::http) struct Worker {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub fn start(app: &Arc<App>) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let app = Arc::clone(app);
        let work = move || {
            let backend = app.backend.for_worker();
            let keep = async {
                tokio::select! {
                    () = keep_archives(app, backend) => {}
                    _ = stopped => {}
                }
            };
            actix_web::rt::System::new().block_on(keep);
        };
        let thread = std::thread::Builder::new().name("archives".to_owned()).spawn(work)?;
        Ok(Self { stop, thread })
    }

    /// Stops at once: what becomes of a batch that is cut off is found out by whoever goes on.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        if !matches!(tokio::task::spawn_blocking(move || self.thread.join()).await, Ok(Ok(()))) {
            tracing::warn!("the thread that copies traces into archives broke off");
        }
    }
}

/// Copies what is due, as long as the gateway runs.
async fn keep_archives(app: Arc<App>, backend: Rc<dyn Backend>) {
    let holder = format!("{}-{}", app.records.replica(), uuid::Uuid::new_v4());
    let mut resting: HashMap<String, Instant> = HashMap::new();
    let mut told: Option<Instant> = None;
    loop {
        actix_web::rt::time::sleep(EVERY).await;
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            told = Some(Instant::now());
            tell(&app).await;
        }
        if app.archives.is_empty() {
            continue;
        }
        let due = match app.store.archives_due(app.clock.now()).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "which archives are due could not be read");
                continue;
            }
        };
        resting.retain(|_, since| since.elapsed() < RESTS);
        let due = due.into_iter().filter(|id| !resting.contains_key(id));
        let rounds = due.filter_map(|id| app.archives.with_id(&id)).map(|archive| {
            let (app, backend, holder) = (&app, &*backend, &holder);
            async move {
                let halted = Flow { app, backend, archive: &archive }.rounds(holder).await;
                halted.then_some(archive.id)
            }
        });
        let halted: Vec<Option<String>> =
            futures_util::stream::iter(rounds).buffer_unordered(AT_ONCE).collect().await;
        resting.extend(halted.into_iter().flatten().map(|id| (id, Instant::now())));
    }
}

/// Tells monitoring how far archives are.
async fn tell(app: &App) {
    match app.store.archive_lags().await {
        Ok(lags) => {
            let now = app.clock.now().0;
            app.metrics.archives(lags.iter().map(|(experiment, stopped, since)| {
                let lag = since.map_or(0, |since| now - since.0);
                (
                    experiment.to_string(),
                    stopped.is_some(),
                    Duration::from_millis(u64::try_from(lag).unwrap_or(0)),
                )
            }));
        }
        Err(error) => tracing::warn!(%error, "how far archives are could not be read"),
    }
}
