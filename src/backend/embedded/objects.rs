//! What is too large for a row: artifacts, and the payload of very large traces. Objects by path, in a
//! directory or in a bucket.
//!
//! `12/4f…/artifacts/model/weights.bin` is an object; `12/4f…/artifacts/model` is a directory as far as
//! something lies below it. An object is there whole or not at all, and once [`Objects::put`] has returned it
//! survives a crash. Paths below [`SCRATCH`] are the store's own; whoever takes paths from callers refuses
//! them ([`is_reserved`]).

mod directory;
mod incoming;
mod path;
mod remote;

use std::ops::Range;

use self::directory::Directory;
use self::incoming::Incoming;
pub(super) use self::incoming::collect;
pub(super) use self::path::{SCRATCH, is_reserved};
use self::path::{checked, directory_path};
use self::remote::Remote;
use super::problem::{Code, Problem};
use crate::wire::{Body, BodyStream};

/// Objects by path.
#[derive(Debug, Clone)]
pub(super) enum Objects {
    Directory(Directory),
    Remote(Remote),
}

/// What lies in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The last segment of its path.
    pub name: String,
    /// Nothing for a directory.
    pub size: Option<u64>,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub size: u64,
    /// Milliseconds since 1970.
    pub modified: i64,
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
    pub async fn put(&self, path: &str, body: Body) -> Result<u64, Problem> {
        let path = checked(path)?;
        let incoming = Incoming::new(body);
        match self {
            Self::Directory(directory) => directory.put(path, incoming).await,
            Self::Remote(remote) => remote.put(path, incoming).await,
        }
    }

    /// An object's size and its bytes, or those of `range` as far as they exist.
    pub async fn get(
        &self,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<(u64, BodyStream)>, Problem> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.get(path, range).await,
            Self::Remote(remote) => remote.get(path, range).await,
        }
    }

    pub async fn about(&self, path: &str) -> Result<Option<About>, Problem> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.about(path).await,
            Self::Remote(remote) => remote.about(path).await,
        }
    }

    /// What lies directly in a directory, by name; nothing if there is none. The root is the empty path.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, Problem> {
        let path = directory_path(path)?;
        let mut entries = match self {
            Self::Directory(directory) => directory.list(path).await?,
            Self::Remote(remote) => remote.list(path).await?,
        };
        entries.retain(|entry| !(path.is_empty() && entry.name == SCRATCH));
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Deletes an object; whether there was one.
    pub async fn delete(&self, path: &str) -> Result<bool, Problem> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.delete(path).await,
            Self::Remote(remote) => remote.delete(path).await,
        }
    }

    /// Deletes a directory with everything below it; nothing happens if there is none.
    pub async fn delete_below(&self, path: &str) -> Result<(), Problem> {
        let path = checked(path)?;
        match self {
            Self::Directory(directory) => directory.delete_below(path).await,
            Self::Remote(remote) => remote.delete_below(path).await,
        }
    }

    /// Makes one object of several, in their order; answers its size. The parts stay.
    pub async fn join(&self, path: &str, parts: &[String]) -> Result<u64, Problem> {
        let mut sources = Vec::with_capacity(parts.len());
        for part in parts {
            sources.push(checked(part)?.to_owned());
        }
        let whole = incoming::in_a_row(self.clone(), sources);
        self.put(path, Body::Stream { stream: whole, length: None }).await
    }
}

fn full() -> Problem {
    Problem::new(
        Code::TemporarilyUnavailable,
        "the disk of the artifact store is full; nothing of this call was kept",
    )
}

#[cfg(test)]
mod tests;
