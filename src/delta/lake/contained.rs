//! What a table's log names as its files must lie in the table. Whoever may write there could write a log that names
//! files of others, and ours is a hand that reaches them all.

use deltalake_core::kernel::{DeletionVectorDescriptor, StorageType};
use deltalake_core::table::state::DeltaTableState;

use crate::LakeError;

/// Characters of a deletion vector's name behind those that its writer chose.
const UUID: usize = 20;

/// Refuses a table that names files outside of it. A clone that shares the files of another table is such a one.
pub(super) fn check(state: &DeltaTableState) -> Result<(), LakeError> {
    for file in state.log_data().iter() {
        let vector = file.deletion_vector_descriptor();
        if !is_inside(&file.path()) || !vector.is_none_or(|vector| is_ours(&vector)) {
            return Err(LakeError::Unsupported("its log names files that are not in the table".to_owned()));
        }
    }
    Ok(())
}

fn is_ours(vector: &DeletionVectorDescriptor) -> bool {
    let name = &vector.path_or_inline_dv;
    match vector.storage_type {
        StorageType::Inline => true,
        StorageType::AbsolutePath => false,
        StorageType::UuidRelativePath => name
            .len()
            .checked_sub(UUID)
            .and_then(|length| name.get(..length))
            .is_some_and(|prefix| prefix.bytes().all(|byte| byte.is_ascii_alphanumeric())),
    }
}

/// A path, decoded, that no reading of URLs leads out of the directory that it is relative to.
fn is_inside(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    // `s3:`, `file:`, and `c|` as the disk that it once was.
    let scheme = first.find([':', '|']).and_then(|end| first.get(..end)).is_some_and(|name| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    });
    let plain = |part: &str| part != "." && part != "..";
    !scheme
        && !first.is_empty()
        && path.split('/').all(plain)
        // Some of them are left out of a URL, some are slashes.
        && !path.chars().any(|letter| letter.is_control() || letter == '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_inside_in_every_reading() {
        for path in
            ["part-0.parquet", "day=2026-01-01/part-0.parquet", "at=10:00:00/x", "a b/ü", "..a/b..", "p=../x"]
        {
            assert!(is_inside(path), "{path}");
        }
        for path in [
            "",
            "/x",
            "//host/x",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "./x",
            ".\t./x",
            "a/.\n./x",
            "file:///x",
            "s3://b/x",
            "File:x",
            "c|/x",
            "..\\x",
            "\\\\host\\x",
        ] {
            assert!(!is_inside(path), "{path:?}");
        }
    }

    #[test]
    fn a_deletion_vector_is_beside_the_files_or_in_the_log() {
        let vector = |storage_type, name: &str| DeletionVectorDescriptor {
            storage_type,
            path_or_inline_dv: name.to_owned(),
            offset: None,
            size_in_bytes: 1,
            cardinality: 1,
        };
        let uuid = "vBn[lx{q8@P<9BNH/isA";
        assert!(is_ours(&vector(StorageType::UuidRelativePath, uuid)));
        assert!(is_ours(&vector(StorageType::UuidRelativePath, &format!("ab{uuid}"))));
        assert!(is_ours(&vector(StorageType::Inline, "x")));
        assert!(!is_ours(&vector(StorageType::UuidRelativePath, &format!("../{uuid}"))));
        assert!(!is_ours(&vector(StorageType::UuidRelativePath, "short")));
        assert!(!is_ours(&vector(StorageType::AbsolutePath, "file:///x")));
    }
}
