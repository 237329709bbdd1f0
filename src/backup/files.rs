//! Files of a backup: written privately, hashed while they are copied.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::manifest::FileFacts;

pub fn at<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> BackupError + 'a {
    move |error| BackupError::File { what: format!("`{}` {what}", path.display()), error }
}

/// Makes a directory that its owner alone may enter, and those above it.
pub fn make_directory(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("cannot be made", path))
}

/// A new file whose hash is known when it is finished.
pub struct Written {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Written {
    pub fn create(path: &Path) -> Result<Self, BackupError> {
        if let Some(parent) = path.parent() {
            make_directory(parent)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = BufWriter::with_capacity(1 << 20, file.map_err(at("cannot be made", path))?);
        Ok(Self { path: path.to_owned(), file, hash: Sha256::new(), bytes: 0 })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(at("cannot be written", &self.path))
    }

    /// On the disk when it returns.
    pub fn finish(mut self) -> Result<FileFacts, BackupError> {
        let failed = at("cannot be written", &self.path);
        match self.file.flush().and_then(|()| self.file.get_ref().sync_all()) {
            Ok(()) => Ok(FileFacts { bytes: self.bytes, sha256: hex::encode(self.hash.finalize()) }),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Leaves nothing if there is nothing to copy.
pub fn copy(from: &Path, to: &Path) -> Result<FileFacts, BackupError> {
    let mut file = File::open(from).map_err(at("cannot be read", from))?;
    let mut written = Written::create(to)?;
    read_all(&mut file, from, &mut |bytes| written.write(bytes))?;
    written.finish()
}

pub fn facts(path: &Path) -> Result<FileFacts, BackupError> {
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut file = File::open(path).map_err(at("cannot be read", path))?;
    read_all(&mut file, path, &mut |bytes| {
        hash.update(bytes);
        length += bytes.len() as u64;
        Ok(())
    })?;
    Ok(FileFacts { bytes: length, sha256: hex::encode(hash.finalize()) })
}

fn read_all(
    file: &mut File,
    path: &Path,
    each: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(at("cannot be read", path))? {
            0 => return Ok(()),
            length => each(&buffer[..length])?,
        }
    }
}

/// All files below a directory, by their paths from it, in order. What is neither file nor directory is refused.
pub fn below(root: &Path) -> Result<Vec<String>, BackupError> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), String::new())];
    while let Some((directory, prefix)) = waiting.pop() {
        for entry in fs::read_dir(&directory).map_err(at("cannot be read", &directory))? {
            let entry = entry.map_err(at("cannot be read", &directory))?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|_| {
                BackupError::Refused(format!("`{}` has a name that is not UTF-8", path.display()))
            })?;
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(at("cannot be read", &path))?;
            if kind.is_dir() {
                waiting.push((path, name));
            } else if kind.is_file() {
                found.push(name);
            } else {
                return Err(BackupError::Refused(format!(
                    "`{}` is neither a file nor a directory",
                    path.display()
                )));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

pub fn sync_directory(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at("cannot be written", path))
}

/// Whether there is nothing, or an empty directory.
pub fn is_free(path: &Path) -> Result<bool, BackupError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(at("cannot be read", path)(error)),
        Ok(metadata) if metadata.is_dir() => {
            Ok(fs::read_dir(path).map_err(at("cannot be read", path))?.next().is_none())
        }
        Ok(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_before_it_is_copied_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to/copy"));
        assert!(matches!(
            copy(&from, &to),
            Err(BackupError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound
        ));
        assert!(!to.exists());
        fs::write(&from, "kept").unwrap();
        assert_eq!(copy(&from, &to).unwrap(), facts(&from).unwrap());
        assert!(copy(&from, &to).is_err(), "nothing is overwritten");
    }
}
