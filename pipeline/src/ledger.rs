//! The ledger: how Kafka, the write-ahead log, was cut into epochs.
//!
//! A folder of segments. Each line of a segment is `<checksum> <json>`: first a header that names
//! the lake, the stream generation and the fingerprint of what folds the epochs, then one entry per
//! epoch: number, clock, quiet bit, spans and a hash of its records. It holds no rows.
//!
//! # Guarantees
//! - After [`Ledger::append`] returns, its entries survive a crash of the machine.
//! - Entries that are read back are those that were appended, in order, without a hole; a torn last
//!   line (an append that never returned) is dropped.
//!
//! # Non-guarantees
//! - A ledger may be lost or damaged: that costs a new stream generation, never data, because
//!   bronze decides what has been ingested.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use schemas::{EpochId, EpochStamp, Micros, Span};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// A segment is closed at this size, so that old entries can be dropped by deleting files.
const SEGMENT_BYTES_MAX: u64 = 4 << 20;

/// Entries stay at least this long, whatever bronze has verified.
const RETENTION_US: i64 = 3_600_000_000;

/// What a ledger belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The epoch.
    pub epoch: EpochId,
    /// Its clock, in microseconds.
    pub clock: i64,
    /// Its quiet bit.
    pub quiet: bool,
    /// The hash of its records, in hexadecimal; empty for a tick.
    pub hash: String,
    /// Its spans; none for a tick.
    pub spans: Vec<Span>,
}

impl Entry {
    /// The stamp that downstream sees.
    pub fn stamp(&self) -> EpochStamp {
        EpochStamp { id: self.epoch, clock: Micros(self.clock), quiet: self.quiet }
    }
}

/// Why the ledger could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Nothing of the append is on disk; it may be tried again.
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
        /// The segment.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was found when a ledger was opened.
#[derive(Debug)]
pub struct Recovered {
    /// The header, when there is a readable ledger.
    pub header: Option<Header>,
    /// Every entry still held, in order.
    pub entries: Vec<Entry>,
    /// What is wrong, in words, when something is.
    pub damage: Option<String>,
}

/// A ledger open for appending.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    header: Header,
    durable: bool,
    segment: Option<Segment>,
    /// Closed segments: file, last epoch and last clock.
    closed: Vec<(PathBuf, EpochId, i64)>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    bytes: u64,
    last: (EpochId, i64),
}

impl Ledger {
    /// Reads the ledger in `folder`, changing nothing.
    ///
    /// # Errors
    /// When the folder exists but cannot be read.
    pub fn recover(folder: &Path) -> io::Result<Recovered> {
        let mut found = Recovered { header: None, entries: Vec::new(), damage: None };
        for path in segments(folder)? {
            let text = fs::read(&path)?;
            if let Err(problem) = read_segment(&text, &mut found) {
                found.damage = Some(format!("{}: {problem}", path.display()));
                break;
            }
        }
        Ok(found)
    }

    /// Starts or continues the ledger in `folder` under `header`. Segments of another generation
    /// are deleted: their epochs can no longer be resumed.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(folder: &Path, header: Header, durable: bool) -> io::Result<Ledger> {
        fs::create_dir_all(folder)?;
        let mut closed = Vec::new();
        for path in segments(folder)? {
            let mut found = Recovered { header: None, entries: Vec::new(), damage: None };
            let readable = read_segment(&fs::read(&path)?, &mut found).is_ok();
            match found.entries.last() {
                Some(last)
                    if readable
                        && found.header.as_ref().is_some_and(|own| own.continues(&header)) =>
                {
                    closed.push((path, last.epoch, last.clock));
                }
                _ => fs::remove_file(&path)?,
            }
        }
        Ok(Ledger { folder: folder.to_path_buf(), header, durable, segment: None, closed })
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
        let Some(last) = entries.last() else { return Ok(()) };
        let failed = |folder: &Path, source| LedgerError::Append { folder: folder.into(), source };
        if self.segment.is_none() {
            let segment = self.start_segment(entries[0].epoch);
            self.segment = Some(segment.map_err(|e| failed(&self.folder, e))?);
        }
        let Some(segment) = &mut self.segment else { return Ok(()) };
        let mut lines = Vec::with_capacity(entries.len() * 256);
        for entry in entries {
            push_line(&mut lines, entry).map_err(|e| failed(&self.folder, e))?;
        }
        if let Err(source) = segment.file.write_all(&lines) {
            let undone = segment.file.set_len(segment.bytes);
            return Err(match undone {
                Ok(()) => failed(&self.folder, source),
                Err(source) => LedgerError::Sync { file: segment.path.clone(), source },
            });
        }
        if self.durable {
            let synced = segment.file.sync_data();
            synced.map_err(|source| LedgerError::Sync { file: segment.path.clone(), source })?;
        }
        segment.bytes += lines.len() as u64;
        segment.last = (last.epoch, last.clock);
        if segment.bytes > SEGMENT_BYTES_MAX
            && let Some(full) = self.segment.take()
        {
            self.closed.push((full.path, full.last.0, full.last.1));
        }
        Ok(())
    }

    /// Deletes segments whose last epoch is at most `verified` and older than the retention.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn trim(&mut self, verified: EpochId, now: Micros) -> io::Result<()> {
        let is_old = |last: EpochId, clock: i64| {
            last <= verified && clock.saturating_add(RETENTION_US) < now.0
        };
        for (path, last, clock) in &self.closed {
            if is_old(*last, *clock) {
                fs::remove_file(path)?;
            }
        }
        self.closed.retain(|(_, last, clock)| !is_old(*last, *clock));
        Ok(())
    }

    fn start_segment(&self, first: EpochId) -> io::Result<Segment> {
        let path = self.folder.join(format!("{first:020}.ledger"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        let mut line = Vec::new();
        push_line(&mut line, &self.header)?;
        file.write_all(&line)?;
        if self.durable {
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(Segment { path, file, bytes: line.len() as u64, last: (first, 0) })
    }
}

fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(paths),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ledger") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn push_line<T: Serialize>(lines: &mut Vec<u8>, value: &T) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    write!(lines, "{:016x} ", xxh3_64(&json))?;
    lines.extend_from_slice(&json);
    lines.push(b'\n');
    Ok(())
}

fn read_line(line: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = line.split_at_checked(16)?;
    let json = rest.strip_prefix(b" ")?;
    let sum = u64::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (sum == xxh3_64(json)).then_some(json)
}

/// Adds a segment's entries to `found`. The last line may be torn, any other may not.
fn read_segment(text: &[u8], found: &mut Recovered) -> Result<(), String> {
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    // Every whole line ends in a newline, so what follows the last one is torn or empty.
    lines.pop();
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        let json = read_line(line).ok_or_else(|| format!("line {number} is damaged"))?;
        if index == 0 {
            let header: Header = parse(json, number)?;
            if found.header.as_ref().is_some_and(|first| !first.continues(&header)) {
                return Err("it is of another generation than the segment before it".into());
            }
            found.header = Some(header);
        } else {
            let entry: Entry = parse(json, number)?;
            let expected = found.entries.last().map(|last| last.epoch + 1);
            if expected.is_some_and(|expected| expected != entry.epoch) {
                return Err(format!("line {number} holds epoch {}, out of order", entry.epoch));
            }
            found.entries.push(entry);
        }
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8], number: usize) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|e| format!("line {number}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { lake: "l".into(), generation: "g".into(), fingerprint: "f".into() }
    }

    fn entry(epoch: EpochId) -> Entry {
        let span = Span {
            source: "s".into(),
            topic: "t".into(),
            incarnation: "i".into(),
            partition: 0,
            from: 1,
            to: 2,
        };
        Entry { epoch, clock: 5, quiet: false, hash: "00".into(), spans: vec![span] }
    }

    fn written(entries: &[Entry]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), header(), true).unwrap();
        for entry in entries {
            ledger.append(std::slice::from_ref(entry)).unwrap();
        }
        let path = segments(folder.path()).unwrap().remove(0);
        (folder, path)
    }

    #[test]
    fn reads_back_what_was_appended_over_restarts() {
        let (folder, _) = written(&[entry(1), entry(2)]);
        let mut ledger = Ledger::open(folder.path(), header(), true).unwrap();
        ledger.append(&[entry(3), entry(4)]).unwrap();
        let found = Ledger::recover(folder.path()).unwrap();
        assert_eq!(found.entries, [entry(1), entry(2), entry(3), entry(4)]);
        assert_eq!((found.header, found.damage), (Some(header()), None));
    }

    #[test]
    fn drops_a_torn_last_line_and_says_any_other_damage() {
        let (folder, path) = written(&[entry(1), entry(2)]);
        let whole = fs::read(&path).unwrap();
        let last_line = whole.iter().rposition(|&b| b == b'{').unwrap();
        for cut in last_line..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let found = Ledger::recover(folder.path()).unwrap();
            assert_eq!((found.entries, found.damage), (vec![entry(1)], None), "cut at {cut}");
        }
        for flipped in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[flipped] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let found = Ledger::recover(folder.path()).unwrap();
            let kept_all = found.entries == [entry(1), entry(2)];
            assert!(!kept_all || found.damage.is_some(), "flip at {flipped} went unseen");
        }
    }

    #[test]
    fn another_generation_starts_anew() {
        let (folder, _) = written(&[entry(1)]);
        let other = Header { generation: "h".into(), ..header() };
        let mut ledger = Ledger::open(folder.path(), other.clone(), true).unwrap();
        ledger.append(&[entry(7)]).unwrap();
        let found = Ledger::recover(folder.path()).unwrap();
        assert_eq!((found.header, found.entries), (Some(other), vec![entry(7)]));
    }

    #[test]
    fn trims_only_what_is_old_and_verified() {
        let (folder, _) = written(&[entry(1), entry(2)]);
        let mut ledger = Ledger::open(folder.path(), header(), true).unwrap();
        let late = Micros(RETENTION_US * 2);
        ledger.trim(1, late).unwrap();
        assert_eq!(Ledger::recover(folder.path()).unwrap().entries.len(), 2, "epoch 2 unverified");
        ledger.trim(2, Micros(6)).unwrap();
        assert_eq!(Ledger::recover(folder.path()).unwrap().entries.len(), 2, "too young");
        ledger.trim(2, late).unwrap();
        assert_eq!(Ledger::recover(folder.path()).unwrap().entries.len(), 0);
    }
}
