//! A store of which one in so many writes fails: before it does anything, or after it has done all of it. A read that
//! fails says nothing wrong, and stores' clients try those again by themselves.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[derive(Debug)]
pub(super) struct Failing {
    pub inner: Arc<dyn ObjectStore>,
    pub calls: Arc<AtomicUsize>,
    pub every: usize,
    /// Whether the work is done before the call fails.
    pub after: bool,
}

impl fmt::Display for Failing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Failing")
    }
}

impl Failing {
    fn fails(&self) -> bool {
        // Every so many-th, and not always the same call of what is done again and again.
        let call = self.calls.fetch_add(1, Ordering::SeqCst) as u64;
        let scattered = call.wrapping_add(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        scattered.is_multiple_of(self.every as u64)
    }

    async fn through<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let broken = || Error::Generic { store: "failing", source: "broken off".into() };
        if !self.fails() {
            return work.await;
        }
        if self.after {
            work.await?;
        }
        Err(broken())
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.through(self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.through(self.inner.put_multipart_opts(location, opts)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.through(self.inner.copy_opts(from, to, options)).await
    }
}
