//! State files: what silver and gold cannot be rebuilt from, one sealed file per barrier.
//!
//! # Guarantees
//! - [`StateFiles::write`] returns after the file and its folder are on disk.
//! - [`StateFiles::read`] gives back exactly the parts that were written, or says what is damaged.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use schemas::EpochId;
use xxhash_rust::xxh3::xxh3_128;

const MAGIC: &[u8; 8] = b"weirst01";

/// The folder of state files.
#[derive(Debug, Clone)]
pub struct StateFiles {
    folder: PathBuf,
}

impl StateFiles {
    /// The state files in `folder`, which is made when something is written.
    pub fn new(folder: &Path) -> StateFiles {
        StateFiles { folder: folder.to_path_buf() }
    }

    /// Writes the state of one barrier: named parts.
    ///
    /// # Errors
    /// When the file cannot be written; a half-written file is never seen under the final name.
    pub fn write(&self, epoch: EpochId, parts: &[(String, Vec<u8>)]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut body = Vec::new();
        for (name, bytes) in parts {
            body.extend((name.len() as u64).to_le_bytes());
            body.extend(name.as_bytes());
            body.extend((bytes.len() as u64).to_le_bytes());
            body.extend(bytes);
        }
        let staged = self.folder.join(format!("{epoch:020}.state.tmp"));
        let mut file = File::create(&staged)?;
        file.write_all(MAGIC)?;
        file.write_all(&xxh3_128(&body).to_le_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        fs::rename(&staged, self.path(epoch))?;
        File::open(&self.folder)?.sync_all()
    }

    /// The parts written at `epoch`.
    ///
    /// # Errors
    /// When there is no such file, or it is not what was written.
    pub fn read(&self, epoch: EpochId) -> io::Result<Vec<(String, Vec<u8>)>> {
        let path = self.path(epoch);
        let bytes = fs::read(&path)?;
        parse(&bytes).ok_or_else(|| {
            let damaged = format!("state file `{}` is damaged", path.display());
            io::Error::new(io::ErrorKind::InvalidData, damaged)
        })
    }

    /// Deletes the files of barriers before `keep_from`.
    ///
    /// # Errors
    /// When the folder cannot be read or a file not be deleted.
    pub fn drop_before(&self, keep_from: EpochId) -> io::Result<()> {
        let first_kept = self.path(keep_from);
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path < first_kept {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, epoch: EpochId) -> PathBuf {
        self.folder.join(format!("{epoch:020}.state"))
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sum, mut body) = rest.split_at_checked(16)?;
    if u128::from_le_bytes(sum.try_into().ok()?) != xxh3_128(body) {
        return None;
    }
    let mut parts = Vec::new();
    while !body.is_empty() {
        let name = take(&mut body)?;
        let value = take(&mut body)?;
        parts.push((String::from_utf8(name.to_vec()).ok()?, value.to_vec()));
    }
    Some(parts)
}

fn take<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = body.split_at_checked(8)?;
    let len = usize::try_from(u64::from_le_bytes(len.try_into().ok()?)).ok()?;
    let (value, rest) = rest.split_at_checked(len)?;
    *body = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_or_says_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let files = StateFiles::new(folder.path());
        let parts = vec![("gold".to_owned(), vec![1, 2, 3]), ("silver/orders".to_owned(), vec![])];
        files.write(7, &parts).unwrap();
        files.write(9, &parts[..1]).unwrap();
        assert_eq!(files.read(7).unwrap(), parts);
        let whole = fs::read(files.path(7)).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(files.path(7), &bytes).unwrap();
            assert!(files.read(7).is_err(), "flip at {at}");
        }
        files.drop_before(9).unwrap();
        assert!(files.read(7).is_err());
        assert_eq!(files.read(9).unwrap(), parts[..1]);
    }
}
