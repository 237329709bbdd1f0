//! Objects in a bucket that speaks S3. A small one is stored in one call, a large one in parts, of which two
//! are in memory at most; a bucket shows an object only once it is complete.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload,
};

use super::path::MARKER;
use super::{About, Entry, Existing, Incoming, ObjectsError, ObjectsFault, exists};
use crate::wire::BodyStream;

/// Bytes of a part; also the size up to which an object is stored in one call.
const PART: u64 = 8 * 1024 * 1024;
/// Parts that an upload may have; S3 takes 10,000.
const MAX_PARTS: u64 = 9_000;

#[derive(Clone)]
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    /// Empty, or with a `/` at its end.
    prefix: String,
}

impl fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Remote({}, {:?})", self.store, self.prefix)
    }
}

impl Remote {
    /// `location` is `BUCKET/PREFIX`. Credentials, region and endpoint are those of the `AWS_…` variables.
    pub fn s3(location: &str) -> io::Result<Self> {
        let (bucket, prefix) = location.split_once('/').unwrap_or((location, ""));
        let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(io::Error::other)?;
        Ok(Self::new(Arc::new(store), prefix))
    }

    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { store, prefix }
    }

    pub(super) async fn put(
        &self,
        path: &str,
        mut body: Incoming,
        existing: Existing,
    ) -> Result<u64, ObjectsError> {
        let key = self.key(path)?;
        if existing == Existing::Keep && self.about(path).await?.is_some() {
            return Err(exists(path));
        }
        let part = PART.max(body.declared().unwrap_or_default() / MAX_PARTS);
        let part = usize::try_from(part).map_err(ObjectsError::internal)?;
        let first = body.next(part).await?.unwrap_or_default();
        let Some(second) = body.next(part).await? else {
            let size = first.len() as u64;
            let mode = match existing {
                Existing::Replace => PutMode::Overwrite,
                Existing::Keep => PutMode::Create,
            };
            return match self.store.put_opts(&key, PutPayload::from_bytes(first), mode.into()).await {
                Ok(_) => Ok(size),
                Err(Error::AlreadyExists { .. }) => Err(exists(path)),
                Err(error) => Err(failed(error)),
            };
        };
        let mut upload = Upload(Some(self.store.put_multipart(&key).await.map_err(failed)?));
        let mut size = first.len() as u64;
        upload.send(first).await?;
        let mut next = Some(second);
        while let Some(piece) = next {
            size += piece.len() as u64;
            let (sent, read) = futures_util::join!(upload.send(piece), body.next(part));
            sent?;
            next = read?;
        }
        // A bucket completes an upload in parts whatever is there; so it is asked again as late as can be.
        if existing == Existing::Keep && self.about(path).await?.is_some() {
            return Err(exists(path));
        }
        upload.complete().await?;
        Ok(size)
    }

    pub async fn get(
        &self,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<(u64, BodyStream)>, ObjectsError> {
        let key = self.key(path)?;
        let mut options = GetOptions::default();
        if let Some(range) = range {
            // A range that begins behind the end is an error to a bucket.
            let Some(about) = self.about(path).await? else { return Ok(None) };
            let end = range.end.min(about.size);
            if range.start >= end {
                return Ok(Some((about.size, Box::pin(futures_util::stream::empty()))));
            }
            options.range = Some(GetRange::Bounded(range.start..end));
        }
        let found = match self.store.get_opts(&key, options).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let size = found.meta.size;
        Ok(Some((size, Box::pin(found.into_stream().map_err(io::Error::other)))))
    }

    pub async fn about(&self, path: &str) -> Result<Option<About>, ObjectsError> {
        match self.store.head(&self.key(path)?).await {
            Err(Error::NotFound { .. }) => Ok(None),
            found => {
                let meta = found.map_err(failed)?;
                Ok(Some(About { size: meta.size, modified: meta.last_modified.timestamp_millis() }))
            }
        }
    }

    pub async fn list(&self, path: &str) -> Result<Option<Vec<Entry>>, ObjectsError> {
        let found = self.store.list_with_delimiter(Some(&self.key(path)?)).await.map_err(failed)?;
        let there = path.is_empty() || !found.common_prefixes.is_empty() || !found.objects.is_empty();
        let directories = found.common_prefixes.into_iter().map(|path| (path, None, None));
        let files = found.objects.into_iter().map(|object| {
            (object.location, Some(object.size), Some(object.last_modified.timestamp_millis()))
        });
        let named = directories.chain(files).filter_map(|(path, size, modified)| {
            Some(Entry { name: path.filename()?.to_owned(), size, modified })
        });
        let shown = named.filter(|entry| entry.name != MARKER).collect();
        Ok(there.then_some(shown))
    }

    /// A bucket has no directories: an empty object marks one in which nothing lies yet.
    pub async fn make(&self, path: &str) -> Result<(), ObjectsError> {
        if self.list(path).await?.is_some() {
            return Ok(());
        }
        let key = self.key(&format!("{path}/{MARKER}"))?;
        self.store.put(&key, PutPayload::default()).await.map_err(failed)?;
        Ok(())
    }

    pub async fn remove(&self, path: &str) -> Result<bool, ObjectsError> {
        match self.list(path).await? {
            None => Ok(false),
            Some(entries) if !entries.is_empty() => {
                Err(ObjectsError::new(ObjectsFault::NotEmpty, format!("'{path}' is not empty")))
            }
            Some(_) => {
                self.delete(&format!("{path}/{MARKER}")).await?;
                Ok(true)
            }
        }
    }

    pub async fn delete(&self, path: &str) -> Result<bool, ObjectsError> {
        // A bucket does not say whether there was something.
        if self.about(path).await?.is_none() {
            return Ok(false);
        }
        match self.store.delete(&self.key(path)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(failed(error)),
        }
    }

    pub async fn delete_below(&self, path: &str) -> Result<(), ObjectsError> {
        let below = self.store.list(Some(&self.key(path)?)).map_ok(|object| object.location).boxed();
        let mut deleted = self.store.delete_stream(below);
        while let Some(one) = deleted.next().await {
            match one {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    fn key(&self, path: &str) -> Result<Path, ObjectsError> {
        Path::parse(format!("{}{path}", self.prefix))
            .map_err(|error| ObjectsError::path(format!("Invalid artifact path: '{path}'. {error}")))
    }
}

/// An upload in parts. One that is dropped before its end is aborted: a bucket keeps parts, and bills them,
/// until somebody says so.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Upload {
    async fn send(&mut self, piece: Bytes) -> Result<(), ObjectsError> {
        let Some(upload) = &mut self.0 else { return Err(ObjectsError::internal("an upload has ended")) };
        upload.put_part(PutPayload::from_bytes(piece)).await.map_err(failed)
    }

    async fn complete(&mut self) -> Result<(), ObjectsError> {
        if let Some(upload) = &mut self.0 {
            upload.complete().await.map_err(failed)?;
            self.0 = None;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "an upload in parts cannot be aborted");
                }
            });
        }
    }
}

fn failed(error: Error) -> ObjectsError {
    tracing::error!(%error, "the artifact store failed");
    ObjectsError::new(ObjectsFault::Unavailable, "the artifact store did not answer as it should; try again")
}
