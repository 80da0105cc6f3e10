//! Runs: records that are written once, found by key, and read from disk page by page.
//!
//! A run begins in memory, as the bytes that its file will have. Once they are on disk, memory holds a
//! filter over its keys and where each page begins: 12 bits a key.
//!
//! ```text
//! weirrun1 | pages | footer: filter, where pages begin, summary | length of the footer, its hash
//! ```
//!
//! # Guarantees
//! - [`Run::get`] gives the record of exactly this key, or says that a page is damaged or cannot be read.
//! - A file has its name only when all of it is on disk, and is never written again.
//!
//! # Non-guarantees
//! - Opening a run reads its footer: a damaged page is seen when it is read.

mod build;
mod filter;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use schemas::state::{Bytes, decode, encode};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::durable;
pub use build::RunBuilder;
use filter::Filter;

/// What a file begins with.
const MAGIC: &[u8; 8] = b"weirrun1";
/// Length of the footer, and its hash.
const TRAILER: usize = 8 + 16;
/// Bytes of the hash at the end of a page.
const SUM: usize = 8;

/// Why a record cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file cannot be read.
    #[error("could not read `{path}`: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "`{path}` is damaged ({problem}); without this file the next start builds silver and gold again from \
         bronze: delete it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Records by key.
#[derive(Debug)]
pub struct Run {
    pages: Mutex<Pages>,
    footer: Footer,
    /// What its file is called, once there is one.
    number: OnceLock<u64>,
}

/// Where the pages are.
#[derive(Debug)]
enum Pages {
    /// The bytes of the file, without footer.
    Memory(Vec<u8>),
    File(File, PathBuf),
}

/// What is held in memory of a run whose pages are on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Footer {
    filter: Filter,
    /// For each page the hash of its first key, and where it begins.
    index: Vec<(u64, u64)>,
    /// Where the last page ends.
    end: u64,
    count: u64,
    summary: Vec<u8>,
}

impl Run {
    /// A run in memory of records, keys being different.
    ///
    /// # Errors
    /// When a record is too long to be one.
    pub fn of(records: Vec<(&[u8], Vec<u8>)>, summary: Vec<u8>) -> io::Result<Run> {
        let mut hashed: Vec<(u64, &[u8], Vec<u8>)> =
            records.into_iter().map(|(key, value)| (xxh3_64(key), key, value)).collect();
        hashed.sort_unstable();
        let mut builder = RunBuilder::new(Vec::new(), hashed.len())?;
        for (_, key, value) in &hashed {
            builder.push(key, value)?;
        }
        let (bytes, footer) = builder.finish(summary)?;
        Ok(Run { pages: Mutex::new(Pages::Memory(bytes)), footer, number: OnceLock::new() })
    }

    /// Whether there may be a record of this key: wrong for a few keys in a thousand.
    pub fn may_have(&self, key: &[u8]) -> bool {
        self.footer.filter.may_have(xxh3_64(key))
    }

    /// The record of a key.
    ///
    /// # Errors
    /// When its page cannot be read, or is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RunError> {
        let hash = xxh3_64(key);
        if !self.footer.filter.may_have(hash) {
            return Ok(None);
        }
        let index = &self.footer.index;
        // Keys of one hash may lie in several pages.
        let first = index.partition_point(|(page, _)| *page < hash).saturating_sub(1);
        let pages = index.iter().enumerate().skip(first).take_while(|(_, (page, _))| *page <= hash);
        for (page, _) in pages {
            let page = self.page(page)?;
            if let Some((_, value)) = page.records()?.into_iter().find(|(own, _)| own.0 == key) {
                return Ok(Some(value.0.to_vec()));
            }
        }
        Ok(None)
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.footer.index.len()
    }

    /// A page, by number: its records are those after the pages before, by hash of their keys.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn page(&self, number: usize) -> Result<Page, RunError> {
        let start = |at: usize| self.footer.index.get(at).map(|(_, start)| *start);
        let from = start(number).unwrap_or(self.footer.end);
        let to = start(number + 1).unwrap_or(self.footer.end);
        let length = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, path) = match &*pages {
            Pages::Memory(all) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX);
                let page = all.get(from..from.saturating_add(length)).unwrap_or_default();
                (page.to_vec(), PathBuf::new())
            }
            Pages::File(file, path) => {
                let mut bytes = vec![0; length];
                let read = file.read_exact_at(&mut bytes, from);
                read.map_err(|error| RunError::Io { path: path.clone(), error })?;
                (bytes, path.clone())
            }
        };
        Ok(Page { bytes, path })
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.footer.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.footer.count == 0
    }

    /// What its maker says about it.
    pub fn summary(&self) -> &[u8] {
        &self.footer.summary
    }

    /// Says that what a record holds is not what it should.
    pub fn damaged(&self, problem: &'static str) -> RunError {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let path = if let Pages::File(_, path) = &*pages { path.clone() } else { PathBuf::new() };
        RunError::Damaged { path, problem }
    }

    /// What its file is called; `None` while it is in memory.
    pub fn number(&self) -> Option<u64> {
        self.number.get().copied()
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = if let Pages::Memory(bytes) = &*pages { bytes.capacity() } else { 0 };
        pages + self.footer.filter.bytes() + self.footer.index.len() * 16
    }

    /// Writes the file of a run that is in memory, and lets go of its pages. Returns its bytes.
    pub(crate) fn write(&self, path: &Path, number: u64) -> io::Result<u64> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let Pages::Memory(bytes) = &*pages else { return Ok(0) };
        let tail = self.footer.tail();
        durable::put_replace(path, [bytes.as_slice(), &tail].into_iter())?;
        let written = (bytes.len() + tail.len()) as u64;
        *pages = Pages::File(File::open(path)?, path.to_path_buf());
        self.number.get_or_init(|| number);
        Ok(written)
    }

    /// Writes a run of what `fill` pushes, `most` records at the most, to disk as they come.
    pub(crate) fn create<E: From<io::Error>>(
        path: &Path,
        number: u64,
        most: usize,
        fill: impl FnOnce(&mut RunBuilder<io::BufWriter<File>>) -> Result<Vec<u8>, E>,
    ) -> Result<Run, E> {
        let (file, staged) = durable::create_staged(path)?;
        let written = (|| -> Result<Footer, E> {
            let mut builder = RunBuilder::new(io::BufWriter::new(file), most)?;
            let summary = fill(&mut builder)?;
            let (mut out, footer) = builder.finish(summary)?;
            io::Write::write_all(&mut out, &footer.tail())?;
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            durable::sync_file(&file, &staged)?;
            Ok(footer)
        })();
        let footer = written.inspect_err(|_| durable::remove_quietly(&staged))?;
        durable::rename_staged(&staged, path)?;
        let pages = Mutex::new(Pages::File(File::open(path)?, path.to_path_buf()));
        Ok(Run { pages, footer, number: OnceLock::from(number) })
    }

    /// Opens a file.
    pub(crate) fn open(path: &Path, number: u64) -> Result<Run, RunError> {
        let io = |error| RunError::Io { path: path.to_path_buf(), error };
        let damaged = |problem| RunError::Damaged { path: path.to_path_buf(), problem };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut magic = *MAGIC;
        file.read_exact_at(&mut magic, 0).map_err(io)?;
        if magic != *MAGIC {
            return Err(damaged("it is no run of this release"));
        }
        let mut trailer = [0; TRAILER];
        let at = length.checked_sub(TRAILER as u64).ok_or_else(|| damaged("it is cut short"))?;
        file.read_exact_at(&mut trailer, at).map_err(io)?;
        let (size, hash) = trailer.split_at(8);
        let size = u64::from_le_bytes(size.try_into().unwrap_or_default());
        let from = at.checked_sub(size).ok_or_else(|| damaged("it has no footer"))?;
        let mut body = vec![0; usize::try_from(size).unwrap_or_default()];
        file.read_exact_at(&mut body, from).map_err(io)?;
        if xxh3_128(&body).to_le_bytes() != *hash {
            return Err(damaged("its footer does not match its hash"));
        }
        let footer: Footer = decode(&body).ok_or_else(|| damaged("it has no footer"))?;
        if footer.end != from {
            return Err(damaged("its pages are not as long as its footer says"));
        }
        let pages = Mutex::new(Pages::File(file, path.to_path_buf()));
        Ok(Run { pages, footer, number: OnceLock::from(number) })
    }
}

impl Footer {
    fn tail(&self) -> Vec<u8> {
        let mut tail = Vec::new();
        encode(self, &mut tail);
        let (length, hash) = (tail.len() as u64, xxh3_128(&tail));
        tail.extend_from_slice(&length.to_le_bytes());
        tail.extend_from_slice(&hash.to_le_bytes());
        tail
    }
}

/// Some records of a run.
#[derive(Debug)]
pub struct Page {
    bytes: Vec<u8>,
    path: PathBuf,
}

impl Page {
    /// Keys with their values.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn records(&self) -> Result<Vec<(Bytes<'_>, Bytes<'_>)>, RunError> {
        let damaged = |problem| RunError::Damaged { path: self.path.clone(), problem };
        let body = self.bytes.split_last_chunk::<SUM>();
        let (body, sum) = body.ok_or_else(|| damaged("a page is cut short"))?;
        if xxh3_64(body).to_le_bytes() != *sum {
            return Err(damaged("a page does not match its hash"));
        }
        decode(body).ok_or_else(|| damaged("a page is not what this release writes"))
    }
}

/// Where a key stands among those of a run.
pub fn rank(key: &[u8]) -> (u64, &[u8]) {
    (xxh3_64(key), key)
}
