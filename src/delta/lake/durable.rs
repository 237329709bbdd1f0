//! Files that survive a power cut. The object store of a local disk leaves its files to the page cache.

use std::fs::File;
use std::path::Path;

use crate::LakeError;

/// Brings files of a table, and the directories that name them, to the disk. Of a table elsewhere its store has
/// taken care.
pub(super) fn sync(directory: Option<&Path>, files: &[String]) -> Result<(), LakeError> {
    let Some(directory) = directory else { return Ok(()) };
    let failed =
        |error: std::io::Error| LakeError::Storage(format!("a file could not be made durable: {error}"));
    let mut parents: Vec<std::path::PathBuf> = Vec::new();
    for file in files {
        let path = directory.join(file);
        File::open(&path).and_then(|file| file.sync_all()).map_err(failed)?;
        if let Some(parent) = path.parent()
            && !parents.iter().any(|known| known == parent)
        {
            parents.push(parent.to_owned());
        }
    }
    for parent in parents {
        File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    Ok(())
}

/// The file of a commit.
pub(super) fn commit_file(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}
