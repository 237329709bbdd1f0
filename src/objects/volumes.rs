//! Where volumes lie: each is a place below a directory or a bucket that the configuration knows.
//!
//! Places are compared as text, so what lies on the way must be what its name says: a volume's files are opened step
//! by step from a directory that the configuration names, and no step is a symbolic link.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::directory::Directory;
use super::path::is_reserved;
use super::remote::Remote;
use super::{About, Entry, Existing, Objects, ObjectsError, ObjectsFault};
use crate::wire::{Body, BodyStream};

pub struct Volumes {
    /// Directories of this machine below which volumes may lie; ours first, which is made when it is needed.
    directories: Vec<PathBuf>,
    opened: Mutex<HashMap<String, Objects>>,
}

/// The objects of one volume. Paths are those within it.
#[derive(Debug, Clone)]
pub struct Volume {
    pub(super) objects: Objects,
    /// Where it lies in them; without a slash at either end.
    pub(super) below: String,
}

impl Volumes {
    pub fn new(own: Option<PathBuf>, external: impl IntoIterator<Item = PathBuf>) -> Self {
        let directories = own.into_iter().chain(external).collect();
        Self { directories, opened: Mutex::default() }
    }

    /// The volume at a location in its canonical spelling.
    pub fn at(&self, location: &str) -> Result<Volume, ObjectsError> {
        let volume = self.find(location)?;
        // What others upload waits there.
        if is_reserved(&volume.below) {
            return Err(ObjectsError::path("a volume lies where the store keeps its own files"));
        }
        Ok(volume)
    }

    fn find(&self, location: &str) -> Result<Volume, ObjectsError> {
        match location.split_once("://") {
            Some(("file", path)) => self.in_directory(path),
            Some(("s3", rest)) => {
                let (bucket, below) = rest.split_once('/').unwrap_or((rest, ""));
                let objects =
                    self.open(&format!("s3://{bucket}"), || Remote::s3(bucket).map(Objects::Remote))?;
                Ok(Volume { objects, below: below.to_owned() })
            }
            _ => Err(ObjectsError::new(
                ObjectsFault::NotOffered,
                "files of volumes are served from directories and from `s3://` alone",
            )),
        }
    }

    fn in_directory(&self, path: &str) -> Result<Volume, ObjectsError> {
        let held = self.directories.iter().enumerate().filter_map(|(index, base)| {
            let below = std::path::Path::new(path).strip_prefix(base).ok()?;
            Some((index, base, below.to_str()?.to_owned()))
        });
        // The nearest one: what lies between it and another may be a link that its owner made.
        let Some((index, base, below)) = held.max_by_key(|(_, base, _)| base.as_os_str().len()) else {
            return Err(ObjectsError::internal("a volume lies outside of the directories of the lake"));
        };
        let objects = self.open(&base.to_string_lossy(), || {
            let opened = if index == 0 { Directory::open(base) } else { Directory::at(base) };
            opened.map(Objects::Directory)
        })?;
        Ok(Volume { objects, below })
    }

    fn open(
        &self,
        name: &str,
        open: impl FnOnce() -> std::io::Result<Objects>,
    ) -> Result<Objects, ObjectsError> {
        let mut opened = self.opened.lock();
        if let Some(objects) = opened.get(name) {
            return Ok(objects.clone());
        }
        let objects = open().map_err(|error| {
            tracing::error!(%error, name, "the place of a volume cannot be opened");
            ObjectsError::new(ObjectsFault::Unavailable, "the place of the volume cannot be opened now")
        })?;
        opened.insert(name.to_owned(), objects.clone());
        Ok(objects)
    }
}

impl Volume {
    /// Where a path of the volume is in the objects that it lies in.
    pub(super) fn inside(&self, path: &str) -> Result<String, ObjectsError> {
        if is_reserved(path) || path.split('/').any(|segment| segment == super::path::MARKER) {
            return Err(ObjectsError::path(format!("'{path}' is a name that the store keeps for itself")));
        }
        Ok(match (self.below.as_str(), path) {
            ("", path) => path.to_owned(),
            (below, "") => below.to_owned(),
            (below, path) => format!("{below}/{path}"),
        })
    }

    pub async fn store(&self, path: &str, body: Body, existing: Existing) -> Result<u64, ObjectsError> {
        self.objects.store(&self.inside(path)?, body, existing).await
    }

    pub async fn get(
        &self,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<(u64, BodyStream)>, ObjectsError> {
        self.objects.get(&self.inside(path)?, range).await
    }

    pub async fn about(&self, path: &str) -> Result<Option<About>, ObjectsError> {
        self.objects.about(&self.inside(path)?).await
    }

    /// What lies directly in a directory; the root is there even if nothing was ever stored.
    pub async fn directory(&self, path: &str) -> Result<Option<Vec<Entry>>, ObjectsError> {
        let found = self.objects.directory(&self.inside(path)?).await?;
        Ok(match found {
            None if path.is_empty() => Some(Vec::new()),
            found => found,
        })
    }

    pub async fn make_directory(&self, path: &str) -> Result<(), ObjectsError> {
        self.objects.make_directory(&self.inside(path)?).await
    }

    pub async fn remove_directory(&self, path: &str) -> Result<bool, ObjectsError> {
        self.objects.remove_directory(&self.inside(path)?).await
    }

    pub async fn delete(&self, path: &str) -> Result<bool, ObjectsError> {
        self.objects.delete(&self.inside(path)?).await
    }
}
