//! Records from files: lines with Kafka's coordinates, or plain Debezium values.
//!
//! # Guarantees
//! - Every line that is not blank is one record. A line that is none (not JSON, a field missing) is a
//!   record all the same: its bytes are the value, its topic is the file's name, its partition 0, and
//!   its offset counts such lines of that file. A header says why, see [`wrong_line`], and it ends as
//!   a dead letter.
//! - A last line that is still being written is not taken before its end has come; where the end is
//!   fixed, it is named and left for the next start.
//! - Offsets of a topic and partition rise, in file name order; a line that goes back stops the source
//!   with its place, as it might be a record that was never read.
//! - Starting again skips what progress covers. Where the last committed record is not the same any
//!   more, or is gone while its partition or file is still there, the source stops by name.
//!
//! # Non-guarantees
//! - Files may grow and new ones may appear (later in name order, if they go on with the same
//!   partitions), and files that were read may be taken away, but what was read must not change. Of
//!   what was read, only the last record of each partition is compared.

mod again;
mod event_time;
mod line;
pub(crate) mod table;
mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use schemas::Span;

use self::again::Again;
use self::event_time::event_time;
use self::line::Line;
use self::walk::Walk;
use super::record_hash;
use super::{
    FileConfig, Lag, LastRecord, Limits, Notice, Progress, Pulled, Reread, Source, SourceError,
};
use crate::record::{RawBatch, RawRecord, TopicPartition};

/// The incarnation of every topic in files.
pub(super) const INCARNATION: &str = "file";

/// What the incarnation of a file begins with that is a table: the hash of its content follows.
const TABLE_LIFE: &str = "file:";

/// The header that says why a line is no record.
const WRONG: &str = "weir-line";

/// How often files are looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file, or a folder of files.
#[derive(Debug)]
pub struct FileSource {
    config: FileConfig,
    progress: Progress,
    walk: Option<Walk>,
    spots: Spots,
    looked: Option<Instant>,
    held: Option<SourceError>,
    /// Whether everything that was there at the start has been walked through, and compared.
    compared: bool,
    /// New lines are on disk before they are read, whoever wrote them.
    synced: bool,
}

/// By topic, then partition.
type Spots = HashMap<Arc<str>, BTreeMap<i32, Spot>>;

/// Where one partition stands.
#[derive(Debug)]
struct Spot {
    partition: Arc<TopicPartition>,
    /// The next offset to hand out; smaller ones were committed before.
    next: i64,
    /// One past the last offset seen in this walk; 0 before the first.
    seen: i64,
    /// The partition is a file, whose first line must still be there.
    rooted: bool,
    /// The last committed record, until it is compared.
    last: Option<LastRecord>,
    slot: Option<usize>,
    records: usize,
    bytes: usize,
}

impl FileSource {
    /// A source that opens its files when it is started.
    pub fn new(config: FileConfig) -> FileSource {
        let (progress, spots) = (Progress::new(), Spots::new());
        FileSource {
            config,
            progress,
            walk: None,
            spots,
            looked: None,
            held: None,
            compared: false,
            synced: false,
        }
    }

    /// A source of lines that outlive a power cut once they are handed out: a file is synced before
    /// its new lines are read.
    pub fn synced(config: FileConfig) -> FileSource {
        FileSource { synced: true, ..FileSource::new(config) }
    }

    /// Reads lines until there are no more, a limit or the deadline. Returns whether there are none.
    fn read(
        &mut self,
        limits: &Limits,
        deadline: Instant,
        into: &mut Vec<RawBatch>,
        pulled: &mut Pulled,
    ) -> Result<bool, SourceError> {
        let plain = self.config.contract.is_some();
        let source: Arc<str> = Arc::from(self.config.name.as_str());
        let Some(walk) = self.walk.as_mut() else { return Ok(true) };
        for count in 1_u64.. {
            if count.is_multiple_of(1024) && Instant::now() >= deadline {
                return Ok(false);
            }
            if !walk.advance()? {
                return Ok(true);
            }
            let Some((text, input)) = walk.line() else { return Ok(true) };
            let line = read_line(text, input, plain);
            let first = |line: &Line<'_>| first_spot(&source, line, &self.progress, plain);
            let spot = spot(&mut self.spots, &line, first, &mut pulled.notices);
            let is_new = spot.compare(&line).and_then(|()| spot.see(line.offset));
            if !is_new.map_err(|reason| input.error(reason))? {
                continue;
            }
            let size = spot.push(&line, into);
            pulled.records += 1;
            pulled.bytes += size;
            if pulled.records >= limits.records
                || pulled.bytes >= limits.bytes
                || spot.records >= limits.partition_records
                || spot.bytes >= limits.partition_bytes
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// When all that was there at the start has been read: whether the last committed records were
    /// among it.
    fn compare_ends(&mut self) -> Result<(), SourceError> {
        if self.compared {
            return Ok(());
        }
        self.compared = true;
        let has = |file: &str| self.walk.as_ref().is_some_and(|walk| walk.has(file));
        let plain = self.config.contract.is_some();
        for (of, last) in self.progress.iter().filter_map(|(of, r)| Some((of, r.last?))) {
            let spot = self.spots.get(&of.topic).and_then(|spots| spots.get(&of.partition));
            let end = match spot {
                Some(spot) if spot.last.is_some() => spot.seen,
                None if plain && has(&of.topic) => 0,
                _ => continue,
            };
            let reason = format!(
                "what was read to offset {} before ends at offset {end} now; restore the file, or \
                 read the new one under another source name",
                last.offset.saturating_add(1)
            );
            let span = Box::new(span_of(of, last.offset));
            return Err(SourceError::Lost { span, reason });
        }
        Ok(())
    }

    fn look_again(&mut self) -> Result<bool, SourceError> {
        let due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        let Some(walk) = self.walk.as_mut() else { return Ok(false) };
        if due && !walk.is_fixed() {
            walk.look_again()?;
            self.looked = Some(Instant::now());
            return Ok(true);
        }
        Ok(false)
    }
}

impl Source for FileSource {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn replayable(&self) -> bool {
        true
    }

    fn start(&mut self, progress: &Progress) -> Result<(), SourceError> {
        self.progress = progress.clone();
        self.spots.clear();
        self.held = None;
        self.compared = false;
        self.walk = Some(Walk::new(&self.config.path, self.synced)?);
        self.looked = Some(Instant::now());
        Ok(())
    }

    fn stop_at_end(&mut self) -> Result<(), SourceError> {
        self.walk.as_mut().map_or(Ok(()), Walk::fix_end)
    }

    fn poll(
        &mut self,
        wait: Duration,
        linger: Duration,
        limits: &Limits,
        into: &mut Vec<RawBatch>,
    ) -> Result<Pulled, SourceError> {
        let mut pulled = Pulled::default();
        for spot in self.spots.values_mut().flat_map(BTreeMap::values_mut) {
            (spot.slot, spot.records, spot.bytes) = (None, 0, 0);
        }
        if let Some(error) = self.held.take() {
            return Err(error);
        }
        let until = Instant::now() + wait;
        loop {
            let deadline = until.max(Instant::now() + linger);
            let read = self.read(limits, deadline, into, &mut pulled);
            let read = read.and_then(|idle| match idle {
                true => self.compare_ends().map(|()| idle),
                false => Ok(idle),
            });
            match read {
                Ok(idle) => pulled.idle = idle,
                // What was read before the bad place comes first; the error comes with the next poll.
                Err(error) if pulled.records > 0 => {
                    self.held = Some(error);
                    return Ok(pulled);
                }
                Err(error) => return Err(error),
            }
            let fixed = self.walk.as_ref().is_none_or(Walk::is_fixed);
            pulled.at_end = fixed && pulled.idle;
            if let Some(walk) = self.walk.as_ref().filter(|_| pulled.at_end) {
                let left = walk.left().map(|(path, line)| Notice::Unended { path, line });
                pulled.notices.extend(left);
            }
            if pulled.records > 0 || pulled.at_end || Instant::now() >= until {
                return Ok(pulled);
            }
            if !self.look_again()? {
                let left = until.saturating_duration_since(Instant::now());
                std::thread::sleep(left.min(LOOK_EVERY / 10));
            }
        }
    }

    fn reread<'a>(&'a mut self, spans: &'a [Span]) -> Result<Box<dyn Reread + 'a>, SourceError> {
        Ok(Box::new(Again::new(&self.config, self.synced, spans)?))
    }

    /// The end of a file is known when it is read: the end is the next offset.
    fn lag(&self) -> Vec<Lag> {
        let spots = self.spots.values().flat_map(BTreeMap::values);
        let lag = |s: &Spot| Lag { partition: Arc::clone(&s.partition), next: s.next, end: s.next };
        let mut lag: Vec<Lag> = spots.map(lag).collect();
        lag.sort_by(|a, b| a.partition.cmp(&b.partition));
        lag
    }

    fn commit_group_offsets(&mut self, _: &[(Arc<TopicPartition>, i64)]) {}
}

impl Spot {
    /// Offsets rise within a walk. Returns whether the record was not committed before.
    fn see(&mut self, offset: i64) -> Result<bool, String> {
        if offset < self.seen {
            return Err(format!(
                "offset {offset} of topic `{}` partition {} comes after offset {}; offsets must rise, \
                 in file name order too: remove the line if it repeats a record, or give it its own \
                 partition",
                self.partition.topic,
                self.partition.partition,
                self.seen - 1
            ));
        }
        self.seen = offset.saturating_add(1);
        Ok(offset >= self.next)
    }

    /// Compares the last committed record when the walk comes to it.
    fn compare(&mut self, line: &Line<'_>) -> Result<(), String> {
        let Some(last) = self.last.filter(|last| line.offset >= last.offset) else { return Ok(()) };
        let is_same = match line.offset == last.offset {
            // Lakes of before know no time of events.
            true => [line.as_record(), RawRecord { timestamp: None, ..line.as_record() }]
                .iter()
                .any(|record| record_hash(record) == last.hash),
            // Files that were read may have been taken away, unless the partition is this file.
            false => self.seen == 0 && !self.rooted,
        };
        if !is_same {
            return Err(format!(
                "the record at offset {} of topic `{}` partition {} is not the one that was \
                 committed; restore the file, or read the new one under another source name",
                last.offset, self.partition.topic, self.partition.partition
            ));
        }
        self.last = None;
        Ok(())
    }

    fn push(&mut self, line: &Line<'_>, into: &mut Vec<RawBatch>) -> usize {
        let partition = &self.partition;
        let slot = *self.slot.get_or_insert_with(|| {
            let mut batch = RawBatch::new(Arc::clone(partition));
            batch.set_first_prev_offset(self.next);
            into.push(batch);
            into.len() - 1
        });
        let size = into.get_mut(slot).map_or(0, |batch| push(batch, line));
        self.next = line.offset.saturating_add(1);
        self.records += 1;
        self.bytes += size;
        size
    }
}

fn push(batch: &mut RawBatch, line: &Line<'_>) -> usize {
    let (key, value) = (line.key.as_deref(), line.value.as_deref());
    match &line.wrong {
        None => batch.push(line.offset, line.timestamp, key, value, &[]),
        Some(wrong) => {
            let headers = [(WRONG, Some(wrong.as_bytes()))];
            batch.push(line.offset, line.timestamp, key, value, &headers);
        }
    }
    key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)
}

/// Why the line of a file is no record, if this record stands for one.
pub fn wrong_line<'a>(of: &TopicPartition, record: &RawRecord<'a>) -> Option<&'a str> {
    let header = record.headers.iter().find(|header| &*header.key == WRONG);
    let is_file = *of.incarnation == *INCARNATION || is_table(of);
    let header = header.filter(|_| is_file)?;
    std::str::from_utf8(header.value.as_deref()?).ok()
}

fn is_table(of: &TopicPartition) -> bool {
    of.incarnation.starts_with(TABLE_LIFE)
}

/// Where a row stands in its file, in words: the line of a row of text.
pub fn row_place(record: &RawRecord<'_>, is_text: bool) -> String {
    let line = record.headers.iter().find(|header| &*header.key == table::LINE);
    let line = line.and_then(|header| std::str::from_utf8(header.value.as_deref()?).ok());
    match line {
        _ if !is_text => format!("row {}", record.offset),
        Some(line) => format!("line {line}"),
        // The first line has the names.
        None => format!("line {}", record.offset.saturating_add(2)),
    }
}

/// A line as a record, whatever it holds.
fn read_line<'a>(text: &'a [u8], input: &mut walk::Input, plain: bool) -> Line<'a> {
    let own = |input: &walk::Input, offset, wrong| Line {
        topic: Cow::Owned(input.topic().to_string()),
        partition: 0,
        offset,
        timestamp: None,
        key: None,
        value: Some(Cow::Borrowed(text)),
        wrong,
    };
    let line = if plain {
        own(input, input.number(), None)
    } else {
        line::parse(text).unwrap_or_else(|wrong| {
            let offset = input.next_bad();
            own(input, offset, Some(wrong))
        })
    };
    let is_event = line.wrong.is_none() && line.timestamp.is_none();
    let time = line.value.as_deref().filter(|_| is_event).and_then(event_time);
    Line { timestamp: line.timestamp.or(time), ..line }
}

/// The line's partition, announced when it is new.
fn spot<'a>(
    spots: &'a mut Spots,
    line: &Line<'_>,
    first: impl FnOnce(&Line<'_>) -> Spot,
    notices: &mut Vec<Notice>,
) -> &'a mut Spot {
    let partitions = spots.entry_ref(&*line.topic).or_default();
    partitions.entry(line.partition).or_insert_with(|| {
        let spot = first(line);
        let partition = Arc::clone(&spot.partition);
        notices.push(Notice::Assigned { partition, from: spot.next });
        spot
    })
}

fn first_spot(source: &Arc<str>, line: &Line<'_>, progress: &Progress, plain: bool) -> Spot {
    let key = TopicPartition {
        source: Arc::clone(source),
        topic: Arc::from(&*line.topic),
        incarnation: Arc::from(INCARNATION),
        partition: line.partition,
    };
    let reached = progress.get(&key);
    Spot {
        next: reached.map_or(line.offset, |r| r.next),
        seen: 0,
        rooted: plain || line.wrong.is_some(),
        last: reached.and_then(|r| r.last),
        partition: Arc::new(key),
        slot: None,
        records: 0,
        bytes: 0,
    }
}

fn span_of(of: &TopicPartition, offset: i64) -> Span {
    Span {
        source: of.source.to_string(),
        topic: of.topic.to_string(),
        incarnation: of.incarnation.to_string(),
        partition: of.partition,
        from: offset,
        to: offset.saturating_add(1),
    }
}
