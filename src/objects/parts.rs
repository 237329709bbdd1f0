//! Files that arrive in parts. Each part is an object of the store's own until the upload is completed; then they
//! become one file, whole or not at all.
//!
//! What is answered for a part is the end of its name: a part that is sent twice is two objects, and completing
//! says which is meant. The id of an upload holds when it began, by which those that nobody ended are found.

use uuid::Uuid;

use super::path::SCRATCH;
use super::{Existing, ObjectsError, Volume};
use crate::wire::Body;

/// Parts that an upload may have, as with S3.
pub const MAX_PARTS: u32 = 10_000;
/// How long an upload may take, in seconds.
pub const LIFETIME: u64 = 24 * 60 * 60;

impl Volume {
    fn parts_of(upload: Uuid) -> String {
        format!("{SCRATCH}/parts/{}", upload.simple())
    }

    fn part(upload: Uuid, number: u32, tag: &str) -> String {
        format!("{}/{number}-{tag}", Self::parts_of(upload))
    }

    /// Stores a part; answers what completing names it by.
    pub async fn put_part(&self, upload: Uuid, number: u32, body: Body) -> Result<String, ObjectsError> {
        let tag = Uuid::new_v4().simple().to_string();
        self.objects.put(&Self::part(upload, number, &tag), body).await?;
        Ok(tag)
    }

    /// Makes a file of parts, in the order of their numbers, and removes them.
    pub async fn complete(
        &self,
        path: &str,
        upload: Uuid,
        mut parts: Vec<(u32, String)>,
        existing: Existing,
    ) -> Result<u64, ObjectsError> {
        parts.sort_unstable();
        if let Some(twice) = parts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(ObjectsError::path(format!("part {} is named twice", twice[0].0)));
        }
        let mut names = Vec::with_capacity(parts.len());
        for (number, tag) in &parts {
            let plain = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
            let name = Self::part(upload, *number, tag);
            if !plain || self.objects.about(&name).await?.is_none() {
                return Err(ObjectsError::path(format!("part {number} of the upload is not there")));
            }
            names.push(name);
        }
        let size = self.objects.joined(&self.inside(path)?, &names, existing).await?;
        self.abort(upload).await?;
        Ok(size)
    }

    /// Removes the parts of an upload.
    pub async fn abort(&self, upload: Uuid) -> Result<(), ObjectsError> {
        self.objects.delete_below(&Self::parts_of(upload)).await
    }

    /// Removes the parts of uploads that nobody ended in time.
    pub async fn clear_expired(&self, now_seconds: u64) -> Result<(), ObjectsError> {
        for entry in self.objects.list(&format!("{SCRATCH}/parts")).await? {
            let began = Uuid::try_parse(&entry.name).ok().and_then(|id| Some((id, id.get_timestamp()?)));
            if let Some((upload, began)) = began
                && began.to_unix().0 + LIFETIME < now_seconds
            {
                self.abort(upload).await?;
            }
        }
        Ok(())
    }
}
