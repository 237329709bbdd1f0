//! The worker of a replica that keeps archives up, and tells monitoring how far they are.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::flow::Flow;
use crate::app::App;
use crate::backend::Backend;

/// Between rounds.
const EVERY: Duration = Duration::from_millis(250);
/// Archives that are worked on at the same time.
const AT_ONCE: usize = 4;
/// After what failed or may not be done, nothing is tried for so long.
const RESTS: Duration = Duration::from_secs(5);
/// Whose last turn is so long ago is as if it never had one.
const FORGOTTEN: Duration = Duration::from_secs(60);
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
            let holder = format!("{}-{}", app.records.replica(), uuid::Uuid::new_v4());
            let keep = async {
                tokio::select! {
                    () = keep_archives(&app, backend, &holder) => {}
                    _ = stopped => {}
                }
                // Others need not wait.
                if let Err(error) = app.store.release_archives(&holder).await {
                    tracing::warn!(%error, "archives are taken over later than they could be");
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
async fn keep_archives(app: &Arc<App>, backend: Rc<dyn Backend>, holder: &str) {
    let mut tick = actix_web::rt::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Instant> = None;
    let mut worked_on = FuturesUnordered::new();
    let mut turns = Turns::default();
    loop {
        tokio::select! {
            Some((id, halted)) = worked_on.next() => turns.over(id, halted),
            _ = tick.tick() => {}
        }
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            told = Some(Instant::now());
            tell(app).await;
        }
        if app.archives.is_empty() || worked_on.len() >= AT_ONCE {
            continue;
        }
        let due = match app.store.archives_due(app.clock.now()).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "which archives are due could not be read");
                continue;
            }
        };
        for id in turns.next(due, AT_ONCE - worked_on.len()) {
            let backend = &*backend;
            worked_on.push(async move {
                let halted = match app.archives.with_id(&id) {
                    Some(archive) => Flow { app, backend, archive: &archive }.rounds(holder).await,
                    None => false,
                };
                (id, halted)
            });
        }
    }
}

/// Whose turn it is, so that an archive with much to copy does not keep others waiting.
#[derive(Default)]
struct Turns {
    running: HashSet<String>,
    /// When the last turn of each was over, and whether something was in its way.
    last: HashMap<String, (Instant, bool)>,
}

impl Turns {
    /// Of those that are due, who waited longest; none that runs or rests.
    fn next(&mut self, due: Vec<String>, most: usize) -> Vec<String> {
        self.last.retain(|_, (over, _)| over.elapsed() < FORGOTTEN);
        let may = |id: &String| {
            let rests = self.last.get(id).is_some_and(|(over, halted)| *halted && over.elapsed() < RESTS);
            !rests && !self.running.contains(id)
        };
        let mut due: Vec<String> = due.into_iter().filter(may).collect();
        due.sort_by_key(|id| self.last.get(id).map(|(over, _)| *over));
        due.truncate(most);
        self.running.extend(due.iter().cloned());
        due
    }

    fn over(&mut self, id: String, halted: bool) {
        self.running.remove(&id);
        self.last.insert(id, (Instant::now(), halted));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_and_who_was_stopped_rests() {
        let due = || ["a", "b", "c"].map(str::to_owned).to_vec();
        let mut turns = Turns::default();
        assert_eq!(turns.next(due(), 2), ["a", "b"]);
        assert_eq!(turns.next(due(), 2), ["c"], "none twice at the same time");
        turns.over("b".to_owned(), false);
        turns.over("a".to_owned(), false);
        turns.over("c".to_owned(), true);
        assert_eq!(turns.next(due(), 1), ["b"], "who waited longest, and none that rests");
        assert_eq!(turns.next(due(), 5), ["a"]);
    }
}
