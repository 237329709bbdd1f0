//! Objects as files below a directory.
//!
//! A file is written under a name of its own, made durable, and only then renamed into place; the directory
//! entry is made durable as well before anybody is told. Every step of a path is opened from the directory above
//! it, and none that is a symbolic link: links below the root count as absent for readers and as an obstacle for
//! writers, whoever puts one there and when.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use parking_lot::RwLock;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::path::SCRATCH;
use super::{About, Entry, Existing, Incoming, ObjectsError, ObjectsFault, exists, full};
use crate::wire::BodyStream;

/// Bytes gathered before one write, and of one read.
const PIECE: usize = 256 * 1024;
/// An upload that nobody has written to for so long is what a crash has left.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Times that directories are made for one file.
const ATTEMPTS: usize = 50;

#[derive(Debug, Clone)]
pub struct Directory(Arc<Root>);

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
        make_private(root)?;
        let directory = Self::at(root)?;
        make_private(&directory.0.incoming)?;
        sweep(&directory.0.incoming)?;
        Ok(directory)
    }

    /// One that is there and stays as it is until something is stored.
    pub fn at(root: &Path) -> io::Result<Self> {
        let path = root.canonicalize()?;
        let incoming = path.join(SCRATCH).join("incoming");
        Ok(Self(Arc::new(Root { path, incoming, layout: RwLock::new(()) })))
    }

    pub(super) async fn put(
        &self,
        path: &str,
        mut body: Incoming,
        existing: Existing,
    ) -> Result<u64, ObjectsError> {
        let mut file = self.run(path, |root, _| root.unnamed()).await?;
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
        self.run(path, move |root, path| root.publish(file, path, existing)).await?;
        Ok(size)
    }

    pub async fn get(
        &self,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<(u64, BodyStream)>, ObjectsError> {
        let opened = self.run(path, |root, path| {
            let (parent, name) = root.parent(path)?;
            // A pipe that somebody put there must not hold us up.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(failed)?);
            let about = file.metadata()?;
            Ok(about.is_file().then_some((file, about.len())))
        });
        let Some((file, size)) = absent_if_gone(opened.await)? else { return Ok(None) };
        let range = range.unwrap_or(0..size);
        let end = range.end.min(size);
        Ok(Some((size, read(file, range.start.min(end)..end))))
    }

    pub async fn about(&self, path: &str) -> Result<Option<About>, ObjectsError> {
        let found = self.run(path, |root, path| {
            let (parent, name) = root.parent(path)?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(failed)?);
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Ok(None);
            }
            Ok(Some(About { size: metadata.len(), modified: milliseconds(&metadata)? }))
        });
        absent_if_gone(found.await)
    }

    pub async fn list(&self, path: &str) -> Result<Option<Vec<Entry>>, ObjectsError> {
        let listed = self.run(path, |root, path| {
            let directory = root.directory(path)?;
            let mut entries = Vec::new();
            for entry in Dir::read_from(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                // One without a name in UTF-8 is not listed, and neither is one that is deleted meanwhile.
                let Ok(text) = name.to_str() else { continue };
                if matches!(text, "." | "..") {
                    continue;
                }
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let Ok(opened) = rustix::fs::openat(&directory, name, flags, Mode::empty()) else { continue };
                let metadata = File::from(opened).metadata()?;
                if metadata.is_dir() || metadata.is_file() {
                    entries.push(Entry {
                        name: text.to_owned(),
                        size: metadata.is_file().then_some(metadata.len()),
                        modified: Some(milliseconds(&metadata)?),
                    });
                }
            }
            Ok(Some(entries))
        });
        absent_if_gone(listed.await)
    }

    pub async fn make(&self, path: &str) -> Result<(), ObjectsError> {
        Ok(self.run(path, |root, path| root.make_directories(path)).await?)
    }

    pub async fn remove(&self, path: &str) -> Result<bool, ObjectsError> {
        let removed = self.run(path, |root, path| {
            let (parent, name) = root.parent(path)?;
            let _alone = root.layout.write();
            rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).map_err(failed)?;
            File::from(parent).sync_all()?;
            Ok(Some(()))
        });
        match removed.await {
            Err(failure) if failure.error.kind() == ErrorKind::DirectoryNotEmpty => {
                Err(ObjectsError::new(ObjectsFault::NotEmpty, format!("'{path}' is not empty")))
            }
            other => Ok(absent_if_gone(other)?.is_some()),
        }
    }

    pub async fn delete(&self, path: &str) -> Result<bool, ObjectsError> {
        let deleted = self.run(path, |root, path| {
            let (parent, name) = root.parent(path)?;
            let about = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            if !rustix::fs::FileType::from_raw_mode(about.st_mode).is_file() {
                return Ok(None);
            }
            rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed)?;
            File::from(parent).sync_all()?;
            Ok(Some(()))
        });
        Ok(absent_if_gone(deleted.await)?.is_some())
    }

    pub async fn delete_below(&self, path: &str) -> Result<(), ObjectsError> {
        let deleted = self.run(path, |root, path| {
            // That it is a directory, and no link to one.
            root.directory(path)?;
            let (parent, name) = root.parent(path)?;
            // Gone at once for everybody, and then file by file.
            make_private(&root.incoming)?;
            let doomed = tempfile::TempDir::new_in(&root.incoming)?;
            {
                let _alone = root.layout.write();
                rustix::fs::renameat(&parent, name, CWD, doomed.path().join("below")).map_err(failed)?;
                File::from(parent).sync_all()?;
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

impl From<Failure> for ObjectsError {
    fn from(Failure { error, path }: Failure) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                tracing::error!(%error, "the disk of the artifact store is full");
                full()
            }
            ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty => {
                Self::path(format!(
                    "Invalid artifact path: '{path}'. What lies there is a file where a directory is needed, or \
                     the other way round."
                ))
            }
            ErrorKind::AlreadyExists => exists(&path),
            ErrorKind::InvalidFilename => Self::path(format!("Invalid artifact path: '{path}'.")),
            _ => Self::internal(error),
        }
    }
}

/// What is deleted while it is looked at, or would lie below a file, is not there.
fn absent_if_gone<T>(found: Result<Option<T>, Failure>) -> Result<Option<T>, ObjectsError> {
    match found {
        Err(failure) if matches!(failure.error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        other => Ok(other?),
    }
}

impl Root {
    /// A file that has no name yet.
    fn unnamed(&self) -> io::Result<NamedTempFile> {
        match NamedTempFile::new_in(&self.incoming) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_private(&self.incoming)?;
                NamedTempFile::new_in(&self.incoming)
            }
            made => made,
        }
    }

    /// The directory at `path`, unless a symbolic link is on the way.
    fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut found = rustix::fs::open(&self.path, flags, Mode::empty()).map_err(failed)?;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let step = rustix::fs::openat(&found, segment, flags | OFlags::NOFOLLOW, Mode::empty());
            found = step.map_err(failed)?;
        }
        Ok(found)
    }

    /// The directory in which `path` is or would be, and its name there.
    fn parent<'p>(&self, path: &'p str) -> io::Result<(OwnedFd, &'p OsStr)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.directory(parent)?, OsStr::from_bytes(name.as_bytes())))
    }

    /// Makes what was written durable under its name.
    fn publish(&self, file: NamedTempFile, path: &str, existing: Existing) -> io::Result<()> {
        file.as_file().sync_all()?;
        let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
        let mut attempts = 0;
        while !self.place(&file, path, existing)? {
            // Another replica may remove directories meanwhile; not for ever.
            attempts += 1;
            if attempts > ATTEMPTS {
                return Err(ErrorKind::NotFound.into());
            }
            self.make_directories(parent)?;
        }
        if existing == Existing::Replace {
            // Its name of the time before is gone.
            let _ = file.into_temp_path().keep();
        }
        Ok(())
    }

    /// Gives a file its name; false if its directory is not there (any more).
    fn place(&self, file: &NamedTempFile, path: &str, existing: Existing) -> io::Result<bool> {
        let _unchanged = self.layout.read();
        let (parent, name) = match self.parent(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            found => found?,
        };
        let placed = match existing {
            Existing::Replace => rustix::fs::renameat(CWD, file.path(), &parent, name),
            // A second name fails if the name is taken; the first one goes with `file`.
            Existing::Keep => rustix::fs::linkat(CWD, file.path(), &parent, name, AtFlags::empty()),
        };
        match placed {
            Ok(()) => File::from(parent).sync_all().map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn make_directories(&self, path: &str) -> io::Result<()> {
        let _alone = self.layout.write();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut made = self.directory("")?;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            match rustix::fs::mkdirat(&made, segment, Mode::RWXU) {
                Ok(()) => rustix::fs::fsync(&made).map_err(failed)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            made = rustix::fs::openat(&made, segment, flags, Mode::empty()).map_err(failed)?;
        }
        Ok(())
    }
}

/// A link on the way is as good as a file where a directory is needed.
fn failed(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => ErrorKind::NotADirectory.into(),
        other => other.into(),
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn milliseconds(metadata: &std::fs::Metadata) -> io::Result<i64> {
    let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
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
