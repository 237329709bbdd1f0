//! What is too large for a row: artifacts, the payload of very large traces, and the files of volumes. Objects by
//! path, in a directory or in a bucket.
//!
//! `12/4f…/artifacts/model/weights.bin` is an object; `12/4f…/artifacts/model` is a directory as far as
//! something lies below it, or somebody made it. An object is there whole or not at all, and once [`Objects::put`]
//! has returned it survives a crash. Paths below [`SCRATCH`] are the store's own; whoever takes paths from callers
//! refuses them ([`is_reserved`]).

mod directory;
mod error;
mod incoming;
mod minting;
pub mod parts;
mod path;
mod remote;
mod serve;
mod volumes;

use std::ops::Range;

use self::directory::Directory;
pub use self::error::{ObjectsError, ObjectsFault};
use self::incoming::Incoming;
pub use self::incoming::collect;
pub use self::minting::{MintError, Minted, Minting};
pub use self::path::{SCRATCH, is_reserved};
use self::path::{checked, directory_path};
use self::remote::Remote;
pub use self::serve::{Asked, http_date, parse_http_date, parse_range, parse_timestamp, tag};
pub use self::volumes::{Volume, Volumes};
use crate::wire::{Body, BodyStream};

/// Objects by path.
#[derive(Debug, Clone)]
pub enum Objects {
    Directory(Directory),
    Remote(Remote),
}

/// What lies in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last segment of its path.
    pub name: String,
    /// Nothing for a directory.
    pub size: Option<u64>,
    /// Milliseconds since 1970; nothing where the store does not say.
    pub modified: Option<i64>,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    pub size: u64,
    /// Milliseconds since 1970.
    pub modified: i64,
}

/// What is to happen if something has the path of a new object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Replace,
    /// It stays, and the new one is refused: of two that come at once, one.
    Keep,
}

impl Objects {
    /// `root` is a directory, which is made if it is not there, or `s3://BUCKET/PREFIX`.
    pub fn open(root: &str) -> Result<Self, std::io::Error> {
        match root.split_once("://") {
            Some(("s3", location)) => Remote::s3(location).map(Self::Remote),
            Some(_) => Err(std::io::Error::other("must be a directory or `s3://BUCKET/PREFIX`")),
            None => Directory::open(std::path::Path::new(root)).map(Self::Directory),
        }
    }

    /// Stores an object, in place of one that has this path; answers its size. Durable once it returns; if the
    /// body stalls or breaks off, or the disk is full, everything is as it was before.
    pub async fn put(&self, path: &str, body: Body) -> Result<u64, ObjectsError> {
        self.store(path, body, Existing::Replace).await
    }

    pub async fn store(&self, path: &str, body: Body, existing: Existing) -> Result<u64, ObjectsError> {
        let path = checked(path)?;
        let incoming = Incoming::new(body);
        match self {
            Self::Directory(directory) => directory.put(path, incoming, existing).await,
            Self::Remote(remote) => remote.put(path, incoming, existing).await,
        }
    }

    /// An object's size and its bytes, or those of `range` as far as they exist.
    pub async fn get(
        &self,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<(u64, BodyStream)>, ObjectsError> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.get(path, range).await,
            Self::Remote(remote) => remote.get(path, range).await,
        }
    }

    pub async fn about(&self, path: &str) -> Result<Option<About>, ObjectsError> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.about(path).await,
            Self::Remote(remote) => remote.about(path).await,
        }
    }

    /// What lies directly in a directory, by name; nothing if there is none. The root is the empty path.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, ObjectsError> {
        Ok(self.directory(path).await?.unwrap_or_default())
    }

    /// As [`list`](Self::list), telling a directory that is empty from one that is not there.
    pub async fn directory(&self, path: &str) -> Result<Option<Vec<Entry>>, ObjectsError> {
        let path = directory_path(path)?;
        let found = match self {
            Self::Directory(directory) => directory.list(path).await?,
            Self::Remote(remote) => remote.list(path).await?,
        };
        Ok(found.map(|mut entries| {
            entries.retain(|entry| !(path.is_empty() && entry.name == SCRATCH));
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            entries
        }))
    }

    /// Makes a directory and those above it; nothing happens if it is there.
    pub async fn make_directory(&self, path: &str) -> Result<(), ObjectsError> {
        let path = directory_path(path)?;
        match self {
            Self::Directory(directory) => directory.make(path).await,
            Self::Remote(remote) => remote.make(path).await,
        }
    }

    /// Removes a directory in which nothing lies; whether there was one.
    pub async fn remove_directory(&self, path: &str) -> Result<bool, ObjectsError> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.remove(path).await,
            Self::Remote(remote) => remote.remove(path).await,
        }
    }

    /// Deletes an object; whether there was one.
    pub async fn delete(&self, path: &str) -> Result<bool, ObjectsError> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.delete(path).await,
            Self::Remote(remote) => remote.delete(path).await,
        }
    }

    /// Deletes a directory with everything below it; nothing happens if there is none.
    pub async fn delete_below(&self, path: &str) -> Result<(), ObjectsError> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.delete_below(path).await,
            Self::Remote(remote) => remote.delete_below(path).await,
        }
    }

    /// Makes one object of several, in their order; answers its size. The parts stay.
    pub async fn join(&self, path: &str, parts: &[String]) -> Result<u64, ObjectsError> {
        self.joined(path, parts, Existing::Replace).await
    }

    pub async fn joined(
        &self,
        path: &str,
        parts: &[String],
        existing: Existing,
    ) -> Result<u64, ObjectsError> {
        let mut sources = Vec::with_capacity(parts.len());
        for part in parts {
            sources.push(checked(part)?.to_owned());
        }
        let whole = incoming::in_a_row(self.clone(), sources);
        self.store(path, Body::Stream { stream: whole, length: None }, existing).await
    }
}

fn full() -> ObjectsError {
    ObjectsError::new(
        ObjectsFault::Unavailable,
        "the disk of the artifact store is full; nothing of this call was kept",
    )
}

fn exists(path: &str) -> ObjectsError {
    ObjectsError::new(ObjectsFault::Exists, format!("'{path}' exists already"))
}

#[cfg(test)]
mod tests;
