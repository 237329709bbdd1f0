//! The keys in force: what is made, and what is believed, by which key.
//!
//! Each purpose has a [`Ring`]. Its keys are in the database, so that all replicas have the same; or in a
//! file that the operator keeps, and then those of the database are accepted until they are retired, and
//! make nothing. A replica reads both again every few seconds, and at once, though not more than once a
//! second, when it meets what no key of its own made.

mod listing;
mod ring;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::time::MissedTickBehavior;

pub use listing::{KeyState, ListedKey, Source};
pub use ring::Ring;

use crate::clock::Clock;
use crate::config::keys_file::{FileKeys, KeysFile, KeysText};
use crate::store::{KeyRow, Purpose, Store, StoreError};

/// How often keys are read again. An overlap that is longer than a few of these reaches every replica.
const EVERY: Duration = Duration::from_secs(5);
/// Between two readings because something unknown was met.
const COOL_DOWN: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`server.keys_file` `{path}`: {problem}")]
    File { path: String, problem: String },
    #[error("`{0}` has no key, neither in the database nor in `server.keys_file`")]
    None(&'static str),
}

/// The rings of all purposes; share it behind an `Arc`.
pub struct Keys {
    store: Store,
    clock: Arc<dyn Clock>,
    path: Option<PathBuf>,
    held: ArcSwap<Held>,
    /// Held while they are read; when that was last done because of something unknown.
    reading: tokio::sync::Mutex<Option<Instant>>,
    /// What was said of the file last, so that it is said once.
    complained: parking_lot::Mutex<Option<String>>,
}

struct Held {
    rings: [Arc<Ring>; Purpose::ALL.len()],
    file: Option<Arc<ReadFile>>,
    /// How many readings led here.
    readings: u64,
}

struct ReadFile {
    digest: [u8; 32],
    keys: KeysFile,
}

impl ReadFile {
    fn of(&self, purpose: Purpose) -> Option<&FileKeys> {
        self.keys.purposes.get(purpose.as_str())
    }
}

impl Keys {
    /// Reads the keys, and makes those that are missing.
    pub async fn open(
        store: Store,
        clock: Arc<dyn Clock>,
        file: Option<&Path>,
    ) -> Result<Arc<Self>, KeysError> {
        let read = match file {
            Some(path) => Some(Arc::new(read_file(path)?)),
            None => None,
        };
        let rows = ensured(&store, clock.as_ref(), read.as_deref()).await?;
        let rings = Purpose::ALL.map(|purpose| ring::build(purpose, &rows, read.as_deref()).map(Arc::new));
        let held = Held { rings: all(rings)?, file: read, readings: 1 };
        Ok(Arc::new(Self {
            store,
            clock,
            path: file.map(Path::to_owned),
            held: ArcSwap::from_pointee(held),
            reading: tokio::sync::Mutex::default(),
            complained: parking_lot::Mutex::default(),
        }))
    }

    /// The keys of a purpose as they are known now.
    pub fn ring(&self, purpose: Purpose) -> Arc<Ring> {
        Arc::clone(&self.held.load().rings[purpose as usize])
    }

    /// As [`ring`](Self::ring), read again if it does not know the key that a sealed text names.
    pub async fn ring_for(&self, purpose: Purpose, sealed: &str) -> Arc<Ring> {
        let ring = self.ring(purpose);
        if ring.knows(sealed) {
            return ring;
        }
        self.newer_than(&ring).await.unwrap_or(ring)
    }

    /// A ring that was read after this one and differs, for whoever met what this one does not know.
    pub async fn newer_than(&self, ring: &Ring) -> Option<Arc<Ring>> {
        let before = self.held.load().readings;
        let mut last = self.reading.lock().await;
        if self.held.load().readings == before {
            if last.is_some_and(|last| last.elapsed() < COOL_DOWN) {
                return None;
            }
            *last = Some(Instant::now());
            if let Err(error) = self.read().await {
                tracing::warn!(%error, "keys could not be read again");
                return None;
            }
        }
        Some(self.ring(ring.purpose)).filter(|newer| newer.generation != ring.generation)
    }

    /// Reads keys again, after they were changed here.
    pub async fn refresh(&self) -> Result<(), KeysError> {
        let _turn = self.reading.lock().await;
        self.read().await
    }

    /// Reads keys again and again, until the task is aborted.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "keys could not be read again; those known stay in force");
            }
        }
    }

    /// What is wrong with the file, if anything is: the keys that were read before stay in force.
    pub fn complaint(&self) -> Option<String> {
        self.complained.lock().clone()
    }

    async fn read(&self) -> Result<(), KeysError> {
        let held = self.held.load_full();
        let file = self.file_now(held.file.clone());
        let rows = ensured(&self.store, self.clock.as_ref(), file.as_deref()).await?;
        let rings = Purpose::ALL.map(|purpose| {
            let old = &held.rings[purpose as usize];
            let new = ring::build(purpose, &rows, file.as_deref())?;
            // The same ring, so that what is remembered under it counts on.
            Ok(if new.generation == old.generation { Arc::clone(old) } else { Arc::new(new) })
        });
        let rings = all(rings)?;
        for (old, new) in held.rings.iter().zip(&rings) {
            if old.generation != new.generation {
                tracing::info!(purpose = new.purpose.as_str(), keys = ?new.ids(), "keys changed");
            }
        }
        self.held.store(Arc::new(Held { rings, file, readings: held.readings + 1 }));
        Ok(())
    }

    /// The file as it is now, or as it was when it was last good.
    fn file_now(&self, known: Option<Arc<ReadFile>>) -> Option<Arc<ReadFile>> {
        let path = self.path.as_deref()?;
        let read = KeysText::read(path).map_err(|problem| file_error(path, problem));
        let unchanged = |text: &KeysText| known.as_ref().is_some_and(|known| known.digest == text.digest());
        let read = match read {
            Ok(text) if unchanged(&text) => Ok(known.clone()),
            Ok(text) => parsed(path, &text).map(|file| Some(Arc::new(file))),
            Err(error) => Err(error),
        };
        let mut complained = self.complained.lock();
        match read {
            Ok(file) => {
                *complained = None;
                file
            }
            Err(error) => {
                let problem = error.to_string();
                if complained.as_ref() != Some(&problem) {
                    tracing::error!(error = %problem, "the file of keys is refused; those read before stay in force");
                    *complained = Some(problem);
                }
                known
            }
        }
    }
}

fn file_error(path: &Path, problem: String) -> KeysError {
    KeysError::File { path: path.display().to_string(), problem }
}

fn read_file(path: &Path) -> Result<ReadFile, KeysError> {
    let text = KeysText::read(path).map_err(|problem| file_error(path, problem))?;
    parsed(path, &text)
}

fn parsed(path: &Path, text: &KeysText) -> Result<ReadFile, KeysError> {
    let keys = text.parse(&Purpose::ALL.map(Purpose::as_str)).map_err(|problem| file_error(path, problem))?;
    if text.readable_by_others {
        tracing::warn!(
            path = %path.display(),
            "the file of keys can be read by everybody on this host; give it mode 0400 or 0440"
        );
    }
    Ok(ReadFile { digest: text.digest(), keys })
}

/// The keys of the database, with a first one for each purpose that neither it nor the file has.
async fn ensured(
    store: &Store,
    clock: &dyn Clock,
    file: Option<&ReadFile>,
) -> Result<Vec<KeyRow>, StoreError> {
    let rows = store.keys().await?;
    let missing = |purpose: &Purpose| {
        file.is_none_or(|file| file.of(*purpose).is_none())
            && !rows.iter().any(|row| row.purpose == *purpose && row.value.is_some())
    };
    let missing: Vec<Purpose> = Purpose::ALL.into_iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(rows);
    }
    for purpose in missing {
        store.ensure_key(purpose, clock.now()).await?;
    }
    store.keys().await
}

fn all<const N: usize>(rings: [Result<Arc<Ring>, KeysError>; N]) -> Result<[Arc<Ring>; N], KeysError> {
    let rings: Vec<Arc<Ring>> = rings.into_iter().collect::<Result<_, _>>()?;
    rings.try_into().map_err(|_| KeysError::None("a purpose"))
}
