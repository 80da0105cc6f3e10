//! The ledger: how Kafka, the write-ahead log, was cut into epochs.
//!
//! A folder of segments. A segment begins with a header that names the lake, the stream generation
//! and the fingerprint of what folds the epochs; one sealed frame per epoch follows: number, clock,
//! quiet origins, spans and a hash of its records. It holds no rows. The form of a frame is in
//! `ledger/frame.rs`, that of an entry in `ledger/entry.rs`.
//!
//! # Guarantees
//! - After [`Ledger::append`] returns, its entries survive a crash of the machine.
//! - Entries that are read back are those that were appended, in order, without a hole; a torn last
//!   frame (an append that never returned) is dropped.
//! - An append that fails leaves nothing behind that a later one would follow: a disk that is full for
//!   a while makes no hole.
//! - What is not known to be on disk is never tried again: see [`LedgerError::Sync`].
//! - Segments that bronze has no need of take at most [`KEPT_BYTES_MAX`], however many epochs come.
//!
//! # Non-guarantees
//! - A ledger may be lost or damaged: that costs a new stream generation, never data, because
//!   bronze decides what has been ingested.
//! - Segments that end before the epoch asked for are not read, so damage in them goes unseen.

mod entry;
mod frame;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemas::{EpochId, EpochStamp, Micros, Span};

use segment::{Head, Writer};

/// A segment is closed at this size, so that old entries can be dropped by deleting files.
const SEGMENT_BYTES_MAX: u64 = 4 << 20;

/// Entries stay at least this long, whatever bronze has verified, unless they are too many.
const RETENTION_US: i64 = 3_600_000_000;

/// Closed segments that bronze has verified are deleted before their time beyond this.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// What a ledger belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The lake whose epochs these are.
    pub lake: String,
    /// The stream generation: clients resume only within one.
    pub generation: String,
    /// What folds the epochs: it may change within a generation, as long as no client can tell.
    pub fingerprint: String,
}

impl Header {
    /// Whether entries under `next` go on behind those under this one.
    fn continues(&self, next: &Header) -> bool {
        (&self.lake, &self.generation) == (&next.lake, &next.generation)
    }
}

/// One recorded epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The epoch.
    pub epoch: EpochId,
    /// Its clock, in microseconds.
    pub clock: i64,
    /// The origins that are quiet in it.
    pub quiet: BTreeSet<Arc<str>>,
    /// The hash of its records, 32 hexadecimal digits; empty for a tick.
    pub hash: String,
    /// Its spans; none for a tick.
    pub spans: Vec<Span>,
}

impl Entry {
    /// The stamp that downstream sees.
    pub fn stamp(&self) -> EpochStamp {
        EpochStamp { id: self.epoch, clock: Micros(self.clock), quiet: !self.quiet.is_empty() }
    }
}

/// Why the ledger could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Nothing of the append is in the ledger; it may be tried again.
    #[error(
        "could not write the ledger in `{folder}`: {source}; free disk space or fix the folder's permissions"
    )]
    Append {
        /// The ledger's folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is on disk is unknown: the process must end and recover.
    #[error(
        "could not sync the ledger `{file}`: {source}; the process ends and will recover from what is on disk"
    )]
    Sync {
        /// The segment, or the folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was found when a ledger was read.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The header, when there is a readable ledger.
    pub header: Option<Header>,
    /// The first and the last epoch that it holds.
    pub range: Option<(EpochId, EpochId)>,
    /// The entries after the epoch asked for, in order.
    pub entries: Vec<Entry>,
    /// What is wrong, in words, when something is.
    pub damage: Option<String>,
    /// The segments, to go on behind.
    pub segments: Segments,
}

/// Segments that were read and stay as they are.
#[derive(Debug, Default)]
pub struct Segments(Vec<Head>);

/// A ledger open for appending.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    header: Header,
    durable: bool,
    open: Option<Writer>,
    closed: Vec<Head>,
}

impl Ledger {
    /// Reads the ledger in `folder` once, changing nothing: what it belongs to, and the entries of the
    /// epochs after `after`.
    ///
    /// # Errors
    /// When the folder exists but cannot be read.
    pub fn recover(folder: &Path, after: EpochId) -> io::Result<Recovered> {
        let mut found = Recovered::default();
        if let Err(damage) = read_into(&mut found, folder, after)? {
            found.damage = Some(damage);
        }
        Ok(found)
    }

    /// Starts or continues the ledger in `folder` under `header`. Segments other than `kept` are
    /// deleted: their epochs can no longer be resumed.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(
        folder: &Path,
        header: Header,
        kept: Segments,
        durable: bool,
    ) -> io::Result<Ledger> {
        fs::create_dir_all(folder)?;
        let Segments(closed) = kept;
        for path in segment::paths(folder)? {
            if !closed.iter().any(|head| head.path == path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(Ledger { folder: folder.to_path_buf(), header, durable, open: None, closed })
    }

    /// The header that entries are written under.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Appends entries in one write and one sync.
    ///
    /// # Errors
    /// [`LedgerError::Append`] when nothing was written; [`LedgerError::Sync`] when it is unknown
    /// what was.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), LedgerError> {
        let Some(first) = entries.first() else { return Ok(()) };
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => Writer::start(&self.folder, &self.header, first, self.durable)?,
        };
        match writer.append(entries, self.durable) {
            Ok(()) if writer.bytes() > SEGMENT_BYTES_MAX => self.closed.push(writer.close()),
            Ok(()) => self.open = Some(writer),
            Err(error) => {
                // The next try begins a segment of its own, whatever became of this one's end.
                if writer.has_entries() {
                    self.closed.push(writer.close());
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Deletes closed segments whose epochs are all at most `verified`: those that are older than the
    /// retention, and the oldest beyond the bound on bytes.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn trim(&mut self, verified: EpochId, now: Micros) -> io::Result<()> {
        let mut bytes: u64 = self.closed.iter().map(|head| head.bytes).sum();
        let open = self.open.as_ref().map(Writer::head);
        while let [oldest, rest @ ..] = self.closed.as_slice() {
            // A segment ends where the next one begins, in epochs and in time.
            let Some(next) = rest.first().or(open) else { break };
            let is_old = next.clock.saturating_add(RETENTION_US) < now.0;
            let is_needed = next.first > verified.saturating_add(1);
            if is_needed || !(is_old || bytes > KEPT_BYTES_MAX) {
                break;
            }
            fs::remove_file(&oldest.path)?;
            bytes -= oldest.bytes;
            self.closed.remove(0);
        }
        Ok(())
    }
}

/// Reads what is needed of the segments; the inner error says what is wrong with them.
fn read_into(
    found: &mut Recovered,
    folder: &Path,
    after: EpochId,
) -> io::Result<Result<(), String>> {
    let mut heads: Vec<Head> = Vec::new();
    for path in segment::paths(folder)? {
        let (header, head) = match segment::read_head(&path)? {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            Err(problem) => return Ok(Err(problem)),
        };
        if found.header.as_ref().is_some_and(|first| !first.continues(&header)) {
            let place = path.display();
            return Ok(Err(format!("`{place}` is of another ledger than the one before it")));
        }
        found.header = Some(header);
        heads.push(head);
    }
    let needed = heads.iter().rposition(|head| head.first <= after.saturating_add(1)).unwrap_or(0);
    let Some(start) = heads.get(needed).map(|head| head.first) else { return Ok(Ok(())) };
    let mut next = start;
    for head in heads.iter().skip(needed) {
        if head.first != next {
            let (place, first) = (head.path.display(), head.first);
            return Ok(Err(format!("`{place}` begins with epoch {first} instead of {next}")));
        }
        match segment::read_entries(head)? {
            Ok(entries) => {
                next += entries.len() as u64;
                found.entries.extend(entries.into_iter().filter(|entry| entry.epoch > after));
            }
            Err(problem) => return Ok(Err(problem)),
        }
    }
    let first = heads.first().map_or(start, |head| head.first);
    found.range = (next > first).then(|| (first, next - 1));
    // One without entries would be begun again under the same name.
    heads.retain(|head| head.first < next);
    found.segments = Segments(heads);
    Ok(Ok(()))
}
