//! Objects as files below a directory.
//!
//! A file is written under a name of its own, made durable, and only then renamed into place; the directory
//! entry is made durable as well before anybody is told. Symbolic links below the root are never followed:
//! they count as absent for readers and as an obstacle for writers.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use parking_lot::RwLock;
use tempfile::NamedTempFile;

use super::path::SCRATCH;
use super::{About, Entry, Incoming, full};
use crate::backend::embedded::problem::Problem;
use crate::wire::BodyStream;

/// Bytes gathered before one write, and of one read.
const PIECE: usize = 256 * 1024;
/// An upload that nobody has written to for so long is what a crash has left.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone)]
pub(in crate::backend::embedded) struct Directory(Arc<Root>);

#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Where files are written before they have their name; of the same file system.
    incoming: PathBuf,
    /// Written by whoever makes or removes directories, until that is durable: who reads it and finds a
    /// directory may rely on it.
    layout: RwLock<()>,
}

impl Directory {
    pub fn open(root: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let path = root.canonicalize()?;
        let incoming = path.join(SCRATCH).join("incoming");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&incoming)?;
        sweep(&incoming)?;
        Ok(Self(Arc::new(Root { path, incoming, layout: RwLock::new(()) })))
    }

    pub(super) async fn put(&self, path: &str, mut body: Incoming) -> Result<u64, Problem> {
        let mut file = self.run(path, |root, _| NamedTempFile::new_in(&root.incoming)).await?;
        let mut size = 0;
        while let Some(piece) = body.next(PIECE).await? {
            size += piece.len() as u64;
            file = self
                .run(path, move |_, _| {
                    file.write_all(&piece)?;
                    Ok(file)
                })
                .await?;
        }
        self.run(path, move |root, path| root.publish(file, path)).await?;
        Ok(size)
    }

    pub async fn get(
        &self,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<(u64, BodyStream)>, Problem> {
        let opened = self.run(path, |root, path| {
            let Some(found) = root.find(path)? else { return Ok(None) };
            let file = File::open(found)?;
            let about = file.metadata()?;
            Ok(about.is_file().then_some((file, about.len())))
        });
        let Some((file, size)) = absent_if_gone(opened.await)? else { return Ok(None) };
        let range = range.unwrap_or(0..size);
        let end = range.end.min(size);
        Ok(Some((size, read(file, range.start.min(end)..end))))
    }

    pub async fn about(&self, path: &str) -> Result<Option<About>, Problem> {
        let found = self.run(path, |root, path| {
            let Some(found) = root.find(path)? else { return Ok(None) };
            let metadata = std::fs::symlink_metadata(found)?;
            if !metadata.is_file() {
                return Ok(None);
            }
            let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let modified = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
            Ok(Some(About { size: metadata.len(), modified }))
        });
        absent_if_gone(found.await)
    }

    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, Problem> {
        let listed = self.run(path, |root, path| {
            let Some(found) = root.find(path)? else { return Ok(None) };
            if !std::fs::symlink_metadata(&found)?.is_dir() {
                return Ok(None);
            }
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(found)? {
                let entry = entry?;
                // One that is deleted meanwhile, or has no name in UTF-8, is not listed.
                let (Ok(metadata), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else {
                    continue;
                };
                if metadata.is_dir() || metadata.is_file() {
                    entries.push(Entry { name, size: metadata.is_file().then_some(metadata.len()) });
                }
            }
            Ok(Some(entries))
        });
        Ok(absent_if_gone(listed.await)?.unwrap_or_default())
    }

    pub async fn delete(&self, path: &str) -> Result<bool, Problem> {
        let deleted = self.run(path, |root, path| {
            let Some(found) = root.find(path)? else { return Ok(None) };
            if !std::fs::symlink_metadata(&found)?.is_file() {
                return Ok(None);
            }
            std::fs::remove_file(&found)?;
            sync_parent(&found)?;
            Ok(Some(()))
        });
        Ok(absent_if_gone(deleted.await)?.is_some())
    }

    pub async fn delete_below(&self, path: &str) -> Result<(), Problem> {
        let deleted = self.run(path, |root, path| {
            let Some(found) = root.find(path)? else { return Ok(None) };
            if !std::fs::symlink_metadata(&found)?.is_dir() {
                return Ok(None);
            }
            // Gone at once for everybody, and then file by file.
            let doomed = tempfile::TempDir::new_in(&root.incoming)?;
            {
                let _alone = root.layout.write();
                std::fs::rename(&found, doomed.path().join("below"))?;
                sync_parent(&found)?;
            }
            doomed.close()?;
            Ok(Some(()))
        });
        absent_if_gone(deleted.await).map(|_| ())
    }

    /// Does something off the reactor, and says what went wrong with `path`.
    async fn run<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Root, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (root, own) = (Arc::clone(&self.0), path.to_owned());
        let done = tokio::task::spawn_blocking(move || work(&root, &own)).await;
        done.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(|error| Failure { error, path: path.to_owned() })
    }
}

struct Failure {
    error: io::Error,
    path: String,
}

impl From<Failure> for Problem {
    fn from(Failure { error, path }: Failure) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                tracing::error!(%error, "the disk of the artifact store is full");
                full()
            }
            ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty => {
                Self::invalid(format!(
                    "Invalid artifact path: '{path}'. What lies there is a file where a directory is needed, or \
                     the other way round."
                ))
            }
            ErrorKind::InvalidFilename => Self::invalid(format!("Invalid artifact path: '{path}'.")),
            _ => Self::internal(error),
        }
    }
}

/// What is deleted while it is looked at, or would lie below a file, is not there.
fn absent_if_gone<T>(found: Result<Option<T>, Failure>) -> Result<Option<T>, Problem> {
    match found {
        Err(failure) if matches!(failure.error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        other => Ok(other?),
    }
}

impl Root {
    /// The file or directory at `path`, unless it is a symbolic link or behind one.
    fn find(&self, path: &str) -> io::Result<Option<PathBuf>> {
        let mut found = self.path.clone();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            found.push(segment);
            if std::fs::symlink_metadata(&found)?.is_symlink() {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// Makes what was written durable under its name.
    fn publish(&self, file: NamedTempFile, path: &str) -> io::Result<()> {
        file.as_file().sync_all()?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut unnamed = file;
        while let Some(again) = self.place(unnamed, parent, name)? {
            unnamed = again;
            self.make_directories(parent)?;
        }
        Ok(())
    }

    /// Gives a file its name; hands it back if its directory is not there (any more).
    fn place(&self, file: NamedTempFile, parent: &str, name: &str) -> io::Result<Option<NamedTempFile>> {
        let _unchanged = self.layout.read();
        let directory = match self.find(parent) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(file)),
            found => found?.ok_or(ErrorKind::NotADirectory)?,
        };
        match file.persist(directory.join(name)) {
            Ok(_) => File::open(&directory)?.sync_all().map(|()| None),
            Err(refused) if refused.error.kind() == ErrorKind::NotFound => Ok(Some(refused.file)),
            Err(refused) => Err(refused.error),
        }
    }

    fn make_directories(&self, path: &str) -> io::Result<()> {
        let _alone = self.layout.write();
        let mut made = self.path.clone();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            made.push(segment);
            match std::fs::DirBuilder::new().mode(0o700).create(&made) {
                Ok(()) => sync_parent(&made)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !std::fs::symlink_metadata(&made)?.is_dir() {
                        return Err(ErrorKind::NotADirectory.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes the entry of `path` in its directory, or its absence, durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn read(file: File, range: Range<u64>) -> BodyStream {
    let file = Arc::new(file);
    Box::pin(stream::try_unfold(range, move |range| {
        let file = Arc::clone(&file);
        async move {
            let length = usize::try_from(range.end - range.start).unwrap_or(PIECE).min(PIECE);
            if length == 0 {
                return Ok(None);
            }
            let start = range.start;
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, start)?;
                Ok(Bytes::from(piece))
            });
            let piece = read.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))?;
            Ok(Some((piece, start + length as u64..range.end)))
        }
    }))
}

/// Removes what a crash has left. Other replicas may be receiving into the same directory.
fn sweep(incoming: &Path) -> io::Result<()> {
    // By the clock that the file system dates them with.
    let now = NamedTempFile::new_in(incoming)?.as_file().metadata()?.modified()?;
    for entry in std::fs::read_dir(incoming)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        let idle = now.duration_since(metadata.modified()?).unwrap_or_default();
        if idle < ABANDONED {
            continue;
        }
        let removed = if metadata.is_dir() {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "an abandoned upload cannot be removed");
        }
    }
    Ok(())
}
