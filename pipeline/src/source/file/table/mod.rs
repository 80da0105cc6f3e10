//! Rows from files that are tables: CSV and Parquet.
//!
//! # Guarantees
//! - A file with one content is one life of its topic: the topic is the file's name, the incarnation the
//!   hash of its bytes, the offset the number of the row, from 0. Starting again goes on at the row behind
//!   the last one that was committed; a file with another content is a new life, read from its first row.
//! - A row is one record, whose value is the row as JSON. What is no row (too many cells, no UTF-8), and
//!   what a file cannot be read behind, is a record all the same, and ends as a dead letter that names the
//!   line.
//! - Within one poll a topic has rows of one life only, so that the life that was seen later is later.
//!
//! # Non-guarantees
//! - A file is read when it has stayed as it is from one look to the next. One that is written to while
//!   it is read may give rows of both contents before it is read anew: put a new file in its place.
//! - A content that was read before is not read again.

mod again;
mod csv;
mod encode;
mod parquet;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use schemas::Span;
use xxhash_rust::xxh3::Xxh3;

use self::again::Again;
use super::walk::{list, unreadable};
use super::{LOOK_EVERY, TABLE_LIFE, WRONG};
use crate::record::{RawBatch, TopicPartition};
use crate::source::{
    FileConfig, Lag, Limits, Notice, Progress, Pulled, Reread, Source, SourceError,
};

/// The header with the line of a row, where it is not two behind the row's number.
pub(super) const LINE: &str = "weir-row-line";

/// What the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Csv,
    Parquet,
}

impl Kind {
    /// The kind that contracts write so.
    pub(crate) fn of(format: &str) -> Option<Kind> {
        match format {
            "csv" => Some(Kind::Csv),
            "parquet" => Some(Kind::Parquet),
            _ => None,
        }
    }
}

/// A row of a file, or why there is none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    /// The row as JSON; the bytes that are none where something is wrong.
    value: Vec<u8>,
    /// Where it begins, from 1, where that does not follow from its number.
    line: Option<u64>,
    wrong: Option<String>,
}

impl Row {
    fn wrong(value: impl Into<Vec<u8>>, reason: impl Into<String>) -> Row {
        Row { value: value.into(), line: None, wrong: Some(reason.into()) }
    }
}

/// The rows of one content, in order.
trait Rows: Send {
    /// The next row; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Row>>;
}

/// A file, or a folder of files, with rows.
#[derive(Debug)]
pub(crate) struct TableFiles {
    config: FileConfig,
    kind: Kind,
    progress: Progress,
    files: BTreeMap<OsString, Watched>,
    looked: Option<Instant>,
    fixed: bool,
    held: Option<SourceError>,
}

/// How a file looks from outside.
type Stamp = (u64, Option<SystemTime>);

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    stamp: Stamp,
    /// It has stayed as it is.
    settled: bool,
    life: Option<Life>,
    /// Rows of the life were given in this poll.
    gave: bool,
}

/// One content of a file, and how far it has been read.
struct Life {
    of: Arc<TopicPartition>,
    stamp: Stamp,
    rows: Box<dyn Rows>,
    next: i64,
    ended: bool,
    slot: Option<usize>,
    records: usize,
    bytes: usize,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("of", &self.of).field("next", &self.next).finish()
    }
}

impl TableFiles {
    /// A source that opens its files when it is started.
    pub(crate) fn new(config: FileConfig, kind: Kind) -> TableFiles {
        let (progress, files) = (Progress::new(), BTreeMap::new());
        TableFiles { config, kind, progress, files, looked: None, fixed: false, held: None }
    }

    /// Looks at the files from outside.
    fn look(&mut self) -> Result<(), SourceError> {
        for path in list(&self.config.path)? {
            let Some(name) = path.file_name().map(ToOwned::to_owned) else { continue };
            let stamp = match fs::metadata(&path) {
                Ok(metadata) => stamp_of(&metadata),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(&path, error)),
            };
            let watched = self.files.entry(name).or_insert_with(|| Watched {
                path: path.clone(),
                stamp: (u64::MAX, None),
                settled: false,
                life: None,
                gave: false,
            });
            watched.settled = watched.stamp == stamp || self.fixed;
            watched.stamp = stamp;
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// Reads rows until there are no more, a limit or the deadline. Returns whether there are none.
    fn read(
        &mut self,
        limits: &Limits,
        deadline: Instant,
        into: &mut Vec<RawBatch>,
        pulled: &mut Pulled,
    ) -> Result<bool, SourceError> {
        let mut count = 0_u64;
        for (name, watched) in &mut self.files {
            loop {
                if !watched.open(
                    name,
                    &self.config,
                    self.kind,
                    &self.progress,
                    self.fixed,
                    pulled,
                )? {
                    break;
                }
                let Watched { path, life: Some(life), gave, .. } = &mut *watched else { break };
                let unreadable = |error| unreadable(path, error);
                while let Some(row) = life.read().map_err(unreadable)? {
                    *gave = true;
                    let size = life.push(&row, into);
                    pulled.records += 1;
                    pulled.bytes += size;
                    count += 1;
                    if pulled.records >= limits.records
                        || pulled.bytes >= limits.bytes
                        || life.records >= limits.partition_records
                        || life.bytes >= limits.partition_bytes
                        || (count.is_multiple_of(1024) && Instant::now() >= deadline)
                    {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The file of this name, open at its first byte, if it has this content.
    fn content(&self, span: &Span) -> Result<(PathBuf, Box<dyn Rows>), SourceError> {
        let lost = |reason: String| SourceError::Lost { span: Box::new(span.clone()), reason };
        let named =
            |path: &PathBuf| path.file_name().is_some_and(|n| *n.to_string_lossy() == span.topic);
        let Some(path) = list(&self.config.path)?.into_iter().find(named) else {
            let folder = self.config.path.display();
            return Err(lost(format!("there is no such file at `{folder}`; put it back")));
        };
        let mut file = File::open(&path).map_err(|e| unreadable(&path, e))?;
        let hash = life_of(&mut file).map_err(|e| unreadable(&path, e))?;
        if hash != span.incarnation {
            let path = path.display();
            return Err(lost(format!(
                "`{path}` has another content now; put back the file that was read"
            )));
        }
        let rows = open(self.kind, file, &path, span.from).map_err(|e| unreadable(&path, e))?;
        Ok((path, rows))
    }
}

impl Watched {
    /// Makes sure that a life is there which has not ended. False when there is nothing to read now.
    fn open(
        &mut self,
        name: &OsString,
        config: &FileConfig,
        kind: Kind,
        progress: &Progress,
        fixed: bool,
        pulled: &mut Pulled,
    ) -> Result<bool, SourceError> {
        match &self.life {
            Some(life) if !life.ended => return Ok(true),
            Some(life) if life.stamp == self.stamp => return Ok(false),
            _ if !self.settled || self.gave => return Ok(false),
            _ => {}
        }
        let path = &self.path;
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.settled = false;
                return Ok(false);
            }
            opened => opened.map_err(|e| unreadable(path, e))?,
        };
        let (incarnation, stamp) = life_of(&mut file)
            .and_then(|hash| Ok((hash, stamp_of(&file.metadata()?))))
            .map_err(|e| unreadable(path, e))?;
        if stamp != self.stamp {
            (self.stamp, self.settled) = (stamp, false);
            if !fixed {
                return Ok(false);
            }
            let reason = "the file is being written to; start again when it is whole".to_owned();
            return Err(SourceError::File { path: path.display().to_string(), line: 1, reason });
        }
        let of = Arc::new(TopicPartition {
            source: Arc::from(config.name.as_str()),
            topic: Arc::from(name.to_string_lossy()),
            incarnation: incarnation.into(),
            partition: 0,
        });
        let before = self.life.as_ref().map(|life| Arc::clone(&life.of.incarnation));
        if before.as_ref() == Some(&of.incarnation) {
            // Touched, and not changed.
            self.life.iter_mut().for_each(|life| life.stamp = stamp);
            return Ok(false);
        }
        let next = progress.get(&*of).map_or(0, |reached| reached.next);
        let lives =
            || progress.keys().filter(|known| known.topic == of.topic && known.source == of.source);
        let is_new = next == 0;
        let before = before.or_else(|| lives().next().map(|known| Arc::clone(&known.incarnation)));
        if let Some(old) = before.filter(|_| is_new) {
            let (topic, new) = (Arc::clone(&of.topic), Arc::clone(&of.incarnation));
            pulled.notices.push(Notice::Replaced { topic, old, new });
        }
        pulled.notices.push(Notice::Assigned { partition: Arc::clone(&of), from: next });
        let rows = open(kind, file, path, next).map_err(|e| unreadable(path, e))?;
        let (slot, records, bytes, ended) = (None, 0, 0, false);
        self.life = Some(Life { of, stamp, rows, next, ended, slot, records, bytes });
        Ok(true)
    }
}

impl Life {
    fn read(&mut self) -> io::Result<Option<Row>> {
        if self.ended {
            return Ok(None);
        }
        let row = self.rows.next()?;
        self.ended = row.is_none();
        Ok(row)
    }

    fn push(&mut self, row: &Row, into: &mut Vec<RawBatch>) -> usize {
        let slot = *self.slot.get_or_insert_with(|| {
            let mut batch = RawBatch::new(Arc::clone(&self.of));
            batch.set_first_prev_offset(self.next);
            into.push(batch);
            into.len() - 1
        });
        into.get_mut(slot).into_iter().for_each(|batch| push(batch, self.next, row));
        self.next += 1;
        self.records += 1;
        self.bytes += row.value.len();
        row.value.len()
    }
}

fn push(batch: &mut RawBatch, offset: i64, row: &Row) {
    let line = row.line.map(|line| line.to_string());
    let line = line.as_deref().map(|line| (LINE, Some(line.as_bytes())));
    let wrong = row.wrong.as_deref().map(|wrong| (WRONG, Some(wrong.as_bytes())));
    let headers: Vec<_> = wrong.into_iter().chain(line).collect();
    batch.push(offset, None, None, Some(&row.value), &headers);
}

impl Source for TableFiles {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn replayable(&self) -> bool {
        true
    }

    fn start(&mut self, progress: &Progress) -> Result<(), SourceError> {
        self.progress = progress.clone();
        self.files.clear();
        (self.held, self.fixed) = (None, false);
        self.look()
    }

    fn stop_at_end(&mut self) -> Result<(), SourceError> {
        self.fixed = true;
        self.look()
    }

    fn poll(
        &mut self,
        wait: Duration,
        linger: Duration,
        limits: &Limits,
        into: &mut Vec<RawBatch>,
    ) -> Result<Pulled, SourceError> {
        let mut pulled = Pulled::default();
        for watched in self.files.values_mut() {
            watched.gave = false;
            let life = watched.life.iter_mut();
            life.for_each(|life| (life.slot, life.records, life.bytes) = (None, 0, 0));
        }
        if let Some(error) = self.held.take() {
            return Err(error);
        }
        let until = Instant::now() + wait;
        loop {
            let deadline = until.max(Instant::now() + linger);
            match self.read(limits, deadline, into, &mut pulled) {
                Ok(idle) => pulled.idle = idle,
                // What was read before the bad place comes first; the error comes with the next poll.
                Err(error) if pulled.records > 0 => {
                    self.held = Some(error);
                    return Ok(pulled);
                }
                Err(error) => return Err(error),
            }
            pulled.at_end = self.fixed && pulled.idle;
            if pulled.records > 0 || pulled.at_end || Instant::now() >= until {
                return Ok(pulled);
            }
            if self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) && !self.fixed {
                self.look()?;
            } else {
                let left = until.saturating_duration_since(Instant::now());
                std::thread::sleep(left.min(LOOK_EVERY / 10));
            }
        }
    }

    fn reread<'a>(&'a mut self, spans: &'a [Span]) -> Result<Box<dyn Reread + 'a>, SourceError> {
        Ok(Box::new(Again::new(self, spans)))
    }

    /// How many rows a file has is known when they are read: the end is the next offset.
    fn lag(&self) -> Vec<Lag> {
        let lives = self.files.values().filter_map(|watched| watched.life.as_ref());
        let lag =
            |life: &Life| Lag { partition: Arc::clone(&life.of), next: life.next, end: life.next };
        lives.map(lag).collect()
    }

    fn commit_group_offsets(&mut self, _: &[(Arc<TopicPartition>, i64)]) {}
}

/// The rows of a file from row `from` on.
fn open(kind: Kind, file: File, path: &Path, from: i64) -> io::Result<Box<dyn Rows>> {
    let skip = u64::try_from(from).unwrap_or(0);
    Ok(match kind {
        Kind::Csv => {
            let packed = path.extension().is_some_and(|extension| extension == "gz");
            let mut rows = csv::CsvRows::new(file, packed);
            for _ in 0..skip {
                if rows.next()?.is_none() {
                    break;
                }
            }
            Box::new(rows)
        }
        Kind::Parquet => Box::new(parquet::ParquetRows::new(file, skip)),
    })
}

/// The incarnation of a file's content. Leaves the file at its first byte.
fn life_of(file: &mut File) -> io::Result<String> {
    let (mut hash, mut piece) = (Xxh3::new(), vec![0; 1 << 18]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hash.update(piece.get(..read).unwrap_or_default());
    }
    file.rewind()?;
    Ok(format!("{TABLE_LIFE}{:032x}", hash.digest128()))
}

fn stamp_of(metadata: &fs::Metadata) -> Stamp {
    (metadata.len(), metadata.modified().ok())
}

/// Text as JSON.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
