//! Where tables may lie, and the store that holds one.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use deltalake_core::logstore::LogStoreRef;
use deltalake_core::{DeltaTableBuilder, ObjectStore};
use object_store::aws::AmazonS3Builder;
use url::Url;

use crate::LakeError;

/// Makes a place's object store another one; for tests.
type Wrap = dyn Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> + Send + Sync;

pub(super) struct Places {
    directories: Vec<PathBuf>,
    wrap: Option<Arc<Wrap>>,
}

impl std::fmt::Debug for Places {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.directories.fmt(formatter)
    }
}

/// A table's store, and its directory if it lies on this machine.
pub(super) struct Opened {
    pub place: String,
    pub log_store: LogStoreRef,
    pub directory: Option<PathBuf>,
}

fn storage(error: impl std::fmt::Display) -> LakeError {
    LakeError::Storage(error.to_string())
}

impl Places {
    pub fn new(directories: &[PathBuf]) -> Self {
        Self { directories: directories.to_vec(), wrap: None }
    }

    #[cfg(test)]
    pub fn wrapped(
        directories: &[PathBuf],
        wrap: impl Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> + Send + Sync + 'static,
    ) -> Self {
        Self { directories: directories.to_vec(), wrap: Some(Arc::new(wrap)) }
    }

    pub fn open(&self, place: &str) -> Result<Opened, LakeError> {
        let (store, url, directory): (Arc<dyn ObjectStore>, Url, _) = match place.split_once("://") {
            Some(("file", path)) => {
                let directory = self.within(Path::new(path))?;
                let url = Url::from_directory_path(&directory)
                    .map_err(|()| LakeError::Storage("a place is no directory".to_owned()))?;
                (Arc::new(object_store::local::LocalFileSystem::new()), url, Some(directory))
            }
            Some(("s3", path)) => {
                let bucket = path.split('/').next().unwrap_or_default();
                let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(storage)?;
                let url = Url::parse(&format!("{}/", place.trim_end_matches('/'))).map_err(storage)?;
                (Arc::new(store), url, None)
            }
            _ => return Err(LakeError::Storage("tables lie in `file://` or `s3://`".to_owned())),
        };
        let store = self.wrap.as_ref().map_or(Arc::clone(&store), |wrap| wrap(store));
        let builder = DeltaTableBuilder::from_url(url.clone()).map_err(storage)?;
        let log_store = builder.with_storage_backend(store, url).build_storage().map_err(storage)?;
        Ok(Opened { place: place.to_owned(), log_store, directory })
    }

    /// The directory that a path really is, which must lie in one that may hold tables. Places are compared as text
    /// elsewhere, so a symlink must not make of one place another.
    fn within(&self, path: &Path) -> Result<PathBuf, LakeError> {
        let refuse =
            || LakeError::Storage("a table lies outside of the directories that may hold tables".to_owned());
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            return Err(refuse());
        }
        for allowed in self.directories.iter().filter(|allowed| path.starts_with(allowed)) {
            std::fs::create_dir_all(allowed).map_err(storage)?;
            let mut real = allowed.canonicalize().map_err(storage)?;
            let below = path.strip_prefix(allowed).map_err(storage)?;
            if below.components().all(|part| enter(&mut real, part.as_os_str())) {
                return Ok(real);
            }
        }
        Err(refuse())
    }
}

/// Goes into a directory that is none by another name. One that is missing is made, for its owner alone.
fn enter(at: &mut PathBuf, name: &std::ffi::OsStr) -> bool {
    use std::os::unix::fs::DirBuilderExt as _;
    at.push(name);
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&*at);
    std::fs::symlink_metadata(&*at).is_ok_and(|found| found.is_dir())
}
