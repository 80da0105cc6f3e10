//! The built-in source of control records, and the file that commands and Weir itself append to.
//!
//! # Guarantees
//! - When [`ControlFile::append`] returns, the record is on disk, as one whole line. Any number of
//!   processes may append at once: a lock of the operating system makes them take turns, and ends with
//!   the process.
//! - A line that was cut off (a process killed, a power cut, a full disk) is blanked by the next
//!   append, never shortened: who reads meanwhile reads a line that is whole, or none.
//! - Offsets ascend also where the file was lost: they are instants, raised where the clock stands or
//!   went back. So a new file does not say again what was read from the old one.
//! - What the source hands out is on disk, whoever wrote it: an epoch cannot outlive its records.
//!
//! # Non-guarantees
//! - After a failed sync nobody knows whether the record is kept; it is not tried again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use schemas::{CONTROL, ControlRecord};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::to_raw_value;

use super::file::INCARNATION;
use super::{FileConfig, FileSource, Limits, Reached, Snapshots, Source, SourceError};
use crate::record::{RawBatch, TopicPartition};

/// The file's name.
const FILE: &str = "control.ndjson";

/// How long an append waits for others.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Between tries.
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// The end of the file is read in pieces of this size, backwards.
const PIECE: u64 = 64 << 10;

/// The file of control records.
#[derive(Debug, Clone)]
pub struct ControlFile {
    path: PathBuf,
    durable: bool,
}

/// Why a control record could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum ControlFileError {
    /// Nothing is kept; it may be tried again.
    #[error(
        "could not write `{path}`: {source}; nothing is decided: free disk space or fix the permissions, and try again"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others have held the file for too long.
    #[error("other processes have been writing `{path}` for 10 s; nothing is decided: try again")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Nobody knows what is kept.
    #[error(
        "could not sync `{path}`: {source}; whether the decision is kept shows at the next start: check the disk"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The last line of the file.
struct Last {
    /// Where it ends.
    end: u64,
    offset: Option<i64>,
}

#[derive(Deserialize)]
struct Coordinates {
    offset: i64,
}

impl ControlFile {
    /// The file in a lake's state folder. `durable`: records outlive a power cut.
    pub fn new(state: &Path, durable: bool) -> ControlFile {
        ControlFile { path: state.join(FILE), durable }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file where there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> Result<(), ControlFileError> {
        self.open().map(drop)
    }

    /// The source that reads it.
    pub fn source(&self) -> FileSource {
        let (name, path) = (CONTROL.to_owned(), self.path.clone());
        let (topics, snapshots) = (BTreeMap::new(), Snapshots::default());
        let config = FileConfig { name, path, contract: None, topics, snapshots };
        if self.durable { FileSource::synced(config) } else { FileSource::new(config) }
    }

    /// The decisions beyond `next`, in order; none where there is no file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn beyond(&self, next: i64) -> Result<Vec<ControlRecord>, SourceError> {
        const LIMIT: usize = 1 << 26;
        let limits = Limits {
            records: LIMIT,
            bytes: LIMIT,
            partition_records: LIMIT,
            partition_bytes: LIMIT,
        };
        let (mut source, mut all) = (self.source(), Vec::new());
        if !self.path.exists() {
            return Ok(all);
        }
        source.start(&[(control_partition(), Reached { next, last: None })].into())?;
        loop {
            let mut batches: Vec<RawBatch> = Vec::new();
            source.poll(Duration::ZERO, Duration::ZERO, &limits, &mut batches)?;
            if batches.is_empty() {
                return Ok(all);
            }
            let values = batches.iter().flat_map(RawBatch::iter).filter_map(|record| record.value);
            all.extend(values.filter_map(|value| ControlRecord::parse(value).ok()));
        }
    }

    /// Appends a record and returns its offset.
    ///
    /// # Errors
    /// [`ControlFileError::Unknown`] when it may be kept or not, else nothing is kept.
    pub fn append(&self, record: &ControlRecord) -> Result<i64, ControlFileError> {
        let failed = |source| ControlFileError::Write { path: self.path.clone(), source };
        let mut file = self.open()?;
        self.lock(&file)?;
        let last = repaired_end(&mut file).map_err(failed)?;
        let after = last.offset.map_or(0, |offset| offset.saturating_add(1));
        let offset = after.max(record.at.0);
        let line = line(record, offset).map_err(failed)?;
        file.seek(SeekFrom::Start(last.end)).map_err(failed)?;
        if let Err(source) = file.write_all(line.as_bytes()) {
            blank(&mut file, last.end).map_err(|source| self.unknown(source))?;
            return Err(failed(source));
        }
        if self.durable {
            file.sync_data().map_err(|source| self.unknown(source))?;
        }
        Ok(offset)
    }

    fn open(&self) -> Result<File, ControlFileError> {
        let failed = |source| ControlFileError::Write { path: self.path.clone(), source };
        let is_new = !self.path.exists();
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = options.open(&self.path).map_err(failed)?;
        if let Some(folder) = self.path.parent().filter(|_| self.durable && is_new) {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|source| self.unknown(source))?;
        }
        Ok(file)
    }

    fn lock(&self, file: &File) -> Result<(), ControlFileError> {
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(LOCK_RETRY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(ControlFileError::Busy { path: self.path.clone() });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(ControlFileError::Write { path: self.path.clone(), source });
                }
            }
        }
    }

    fn unknown(&self, source: io::Error) -> ControlFileError {
        ControlFileError::Unknown { path: self.path.clone(), source }
    }
}

/// The only partition of the built-in source.
pub fn control_partition() -> TopicPartition {
    TopicPartition {
        source: CONTROL.into(),
        topic: CONTROL.into(),
        incarnation: INCARNATION.into(),
        partition: 0,
    }
}

/// Whether records of this partition are control records.
pub fn is_control(of: &TopicPartition) -> bool {
    *of.source == *CONTROL
}

fn line(record: &ControlRecord, offset: i64) -> io::Result<String> {
    let millis = record.at.0.div_euclid(1_000);
    let key = to_raw_value(&record.id)?;
    let value = record.to_json();
    Ok(format!(
        "{{\"topic\":\"{CONTROL}\",\"partition\":0,\"offset\":{offset},\"timestamp\":{millis},\
         \"key\":{key},\"value\":{value}}}\n"
    ))
}

/// The last line that is a record, after the end of the file has been put right: what was cut off is
/// blanked, or ended where nothing but its end is missing, as it may have been read like that.
fn repaired_end(file: &mut File) -> io::Result<Last> {
    let size = file.metadata()?.len();
    let (begin, bytes) = last_lines(file, size)?;
    let cut = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, rest) = bytes.split_at(cut);
    let mut end = size;
    let mut offset = None;
    if !rest.is_empty() {
        let is_whole = serde_json::from_slice::<IgnoredAny>(rest).is_ok();
        if is_whole {
            file.seek(SeekFrom::Start(size))?;
            file.write_all(b"\n")?;
            offset = offset_of(rest);
        } else {
            blank(file, begin + cut as u64)?;
            file.seek(SeekFrom::Start(size))?;
            file.write_all(b"\n")?;
        }
        end += 1;
    }
    let offset = offset.or_else(|| lines.rsplit(|byte| *byte == b'\n').find_map(offset_of));
    Ok(Last { end, offset })
}

/// The end of the file, from the beginning of a line on that is a record where there is one.
fn last_lines(file: &mut File, size: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut begin = size;
    let mut bytes = Vec::new();
    loop {
        let from = begin.saturating_sub(PIECE);
        let mut piece = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        Read::by_ref(file).take(begin - from).read_to_end(&mut piece)?;
        piece.append(&mut bytes);
        (begin, bytes) = (from, piece);
        // What comes before the first line feed may be the rest of a line.
        let mut whole = bytes
            .splitn(2, |byte| *byte == b'\n')
            .skip(1)
            .flat_map(|rest| rest.split(|byte| *byte == b'\n'));
        if begin == 0 || whole.any(|line| offset_of(line).is_some()) {
            return Ok((begin, bytes));
        }
    }
}

fn offset_of(line: &[u8]) -> Option<i64> {
    let coordinates: Option<Coordinates> = serde_json::from_slice(line).ok();
    coordinates.map(|coordinates| coordinates.offset)
}

/// Overwrites what follows `from` with what no reader takes for a record.
fn blank(file: &mut File, from: u64) -> io::Result<()> {
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(from))?;
    io::copy(&mut io::repeat(b' ').take(size.saturating_sub(from)), file).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use schemas::{Decision, Micros};

    use super::*;
    use crate::source::Progress;

    fn record(id: &str, at: i64) -> ControlRecord {
        let decision = Decision::ResumeTable { table: format!("table-{id}") };
        ControlRecord { id: id.into(), at: Micros(at), by: "test".into(), decision }
    }

    fn place() -> (tempfile::TempDir, ControlFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = ControlFile::new(folder.path(), true);
        (folder, file)
    }

    fn poll(source: &mut dyn Source) -> Vec<(i64, String)> {
        let mut batches: Vec<RawBatch> = Vec::new();
        let limits = Limits {
            records: 100,
            bytes: 1 << 20,
            partition_records: 100,
            partition_bytes: 1 << 20,
        };
        source.poll(Duration::ZERO, Duration::ZERO, &limits, &mut batches).unwrap();
        let id = |value: Option<&[u8]>| ControlRecord::parse(value.unwrap()).unwrap().id;
        let all = batches.iter().flat_map(RawBatch::iter);
        all.map(|record| (record.offset, id(record.value))).collect()
    }

    fn read_all(file: &ControlFile) -> Vec<(i64, String)> {
        let mut source = file.source();
        source.start(&Progress::new()).unwrap();
        poll(&mut source)
    }

    #[test]
    fn records_are_read_as_they_were_appended() {
        let (_folder, file) = place();
        assert_eq!(file.append(&record("a", 1_000)).unwrap(), 1_000);
        assert_eq!(file.append(&record("b", 500)).unwrap(), 1_001, "the clock went back");
        assert_eq!(file.append(&record("c", 9_000)).unwrap(), 9_000);
        let all = [(1_000, "a".into()), (1_001, "b".into()), (9_000, "c".into())];
        assert_eq!(read_all(&file), all);
    }

    #[test]
    fn appends_of_many_at_once_are_all_kept_in_one_order() {
        let (_folder, file) = place();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let file = file.clone();
                scope.spawn(move || {
                    for number in 0..10 {
                        file.append(&record(&format!("{writer}-{number}"), 7)).unwrap();
                    }
                });
            }
        });
        let read = read_all(&file);
        let offsets: Vec<i64> = read.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (7..87).collect::<Vec<_>>());
        let ids: std::collections::BTreeSet<&String> = read.iter().map(|(_, id)| id).collect();
        assert_eq!(ids.len(), 80);
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_record_and_hides_none() {
        let (_folder, file) = place();
        file.append(&record("a", 1)).unwrap();
        let first = fs::read(&file.path).unwrap();
        file.append(&record("b", 2)).unwrap();
        let both = fs::read(&file.path).unwrap();
        for cut in first.len()..both.len() {
            fs::write(&file.path, &both[..cut]).unwrap();
            let mut reader = file.source();
            reader.start(&Progress::new()).unwrap();
            let before = poll(&mut reader);
            file.append(&record("c", 3)).unwrap();
            let size = fs::metadata(&file.path).unwrap().len();
            assert!(size > cut as u64, "never shorter: a reader may have seen it");
            // Only the end of the line is missing: it counts, for it may have been read.
            let is_whole = cut + 1 == both.len();
            let kept: &[&str] = if is_whole { &["a", "b", "c"] } else { &["a", "c"] };
            let ids: Vec<String> = read_all(&file).into_iter().map(|(_, id)| id).collect();
            assert_eq!(ids, kept, "cut at {cut}");
            let progress: Progress = read_progress(&before);
            let mut reader = file.source();
            reader.start(&progress).unwrap();
            let after: Vec<String> = poll(&mut reader).into_iter().map(|(_, id)| id).collect();
            let seen: Vec<String> = before.into_iter().map(|(_, id)| id).collect();
            assert_eq!([seen, after].concat(), kept, "read in two goes, cut at {cut}");
        }
    }

    /// Where a reader goes on that has read these.
    fn read_progress(read: &[(i64, String)]) -> Progress {
        let next = read.last().map_or(0, |(offset, _)| offset + 1);
        [(control_partition(), Reached { next, last: None })].into()
    }

    #[test]
    fn a_file_that_was_lost_says_nothing_again() {
        let (_folder, file) = place();
        file.append(&record("a", 100)).unwrap();
        let progress = read_progress(&read_all(&file));
        fs::remove_file(&file.path).unwrap();
        file.create().unwrap();
        file.append(&record("b", 200)).unwrap();
        let mut source = file.source();
        source.start(&progress).unwrap();
        assert_eq!(poll(&mut source), [(200, "b".into())]);
    }

    #[test]
    fn what_is_decided_beyond_an_offset_is_told_without_a_reader() {
        let (_folder, file) = place();
        assert_eq!(file.beyond(0).unwrap(), []);
        file.append(&record("a", 100)).unwrap();
        file.append(&record("b", 200)).unwrap();
        let ids = |next| -> Vec<String> {
            file.beyond(next).unwrap().into_iter().map(|own| own.id).collect()
        };
        assert_eq!(
            (ids(0), ids(101), ids(201)),
            (vec!["a".into(), "b".into()], vec!["b".into()], vec![])
        );
    }

    #[test]
    fn the_last_record_is_found_behind_much_else() {
        let (_folder, file) = place();
        file.append(&record("a", 5)).unwrap();
        let noise = vec![b' '; usize::try_from(3 * PIECE).unwrap()];
        let mut text = fs::read(&file.path).unwrap();
        text.extend_from_slice(&noise);
        fs::write(&file.path, &text).unwrap();
        assert_eq!(file.append(&record("b", 1)).unwrap(), 6);
        assert_eq!(read_all(&file).len(), 2);
    }
}
