//! Changes of rows: what decoders make and the fold takes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use schemas::Position;

use super::DecodeError;
use super::source_block::Source;
use crate::record::TopicPartition;

/// The origin of a record that does not say of which table it is.
pub const NO_ORIGIN: u32 = u32::MAX;

/// What a record means for its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The key has this row from here on.
    Upsert,
    /// The key has no row from here on.
    Delete,
    /// A null value, which follows a delete for Kafka's log compaction and may be all that is left of it.
    Tombstone,
    /// No key below this position has a row from here on.
    Truncate,
    /// A record that cannot be decoded: a change of its row, if it says of which, that nobody knows.
    Unreadable,
    /// A heartbeat, a logical message or transaction or schema metadata: no change of rows.
    Ignored,
}

/// Whether and where in a snapshot an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotMarker {
    /// It is live.
    #[default]
    Live,
    /// Somewhere inside.
    Within,
    /// The first row of the snapshot or of this table in it.
    First,
    /// The last row of the snapshot or of this table in it.
    Last,
    /// Part of an incremental snapshot, which runs beside live changes.
    Incremental,
}

/// One decoded record. Bytes lie in the batch's arena.
#[derive(Debug, Clone)]
pub struct Change {
    /// Index of its record in the raw batch.
    pub record: usize,
    /// What it means.
    pub kind: ChangeKind,
    /// The operation as the event names it (`b'c'`), 0 where it names none.
    pub op: u8,
    /// Where it stands; the incarnation is 0 and filled in by the fold.
    pub position: Position,
    /// Its place in a snapshot.
    pub marker: SnapshotMarker,
    /// The number of its origin in [`ChangeBatch::origins`]; [`NO_ORIGIN`] of what does not say.
    pub origin: u32,
    key: Range<usize>,
    row: Range<usize>,
    other: Range<usize>,
    unavailable: Range<usize>,
    absent: Range<usize>,
    infinite: Range<usize>,
}

impl Change {
    /// A change without key and row; the batch fills record, partition and offset.
    pub(crate) fn new(kind: ChangeKind, op: u8) -> Change {
        Change {
            record: 0,
            kind,
            op,
            position: Position::NOWHERE,
            marker: SnapshotMarker::Live,
            origin: 0,
            key: 0..0,
            row: 0..0,
            other: 0..0,
            unavailable: 0..0,
            absent: 0..0,
            infinite: 0..0,
        }
    }

    /// Says where it stands by what its event tells of the source; nothing, where that is nothing.
    pub(super) fn place_in(&mut self, source: Option<&Source>) {
        let is_read = self.op == b'r';
        let marker = source.map_or(SnapshotMarker::Live, |source| source.marker);
        self.marker = match marker {
            SnapshotMarker::Live if is_read => SnapshotMarker::Within,
            marker => marker,
        };
        self.position.snapshot = self.marker != SnapshotMarker::Live;
        if let Some(source) = source {
            self.position.place = source.place(self.position.snapshot);
            self.position.source_ms = source.clock();
        }
    }
}

/// A change with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct ChangeRef<'a> {
    /// Everything but bytes.
    pub change: &'a Change,
    /// Key text; empty for changes without a key.
    pub key: &'a [u8],
    /// Row bytes; empty unless it is an upsert.
    pub row: &'a [u8],
    /// Where a key was changed: of the delete the new key, of the upsert the old one. Of a null value the table that
    /// its key names, where several share a topic. Else empty.
    pub other: &'a [u8],
    /// Columns whose value the event does not carry, because it did not change. In the row they are
    /// unknown.
    pub unavailable: &'a [usize],
    /// Columns that the event does not have at all. In the row they are null, or unknown where the event's
    /// schema names them.
    pub absent: &'a [usize],
    /// Columns whose value is an infinity or no number. In the row they are null.
    pub infinite: &'a [usize],
    /// The table that it is of.
    pub origin: &'a str,
    /// How many columns of the table its record was read for: of those behind nothing is known, and they are null.
    pub columns: usize,
}

/// The changes of one batch of records.
#[derive(Debug, Clone, Default)]
pub struct ChangeBatch {
    partition: i32,
    topic: String,
    is_whole: bool,
    covers: Option<(i64, i64)>,
    /// How many columns the contract has that its records are read by; all of the table where that is not said.
    columns: Option<usize>,
    origins: Vec<Arc<str>>,
    /// Which of them are quiet in the epoch; empty while none is.
    quiet: Vec<bool>,
    current: (usize, i64),
    changes: Vec<Change>,
    bytes: Vec<u8>,
    unavailable: Vec<usize>,
    errors: Vec<(usize, DecodeError)>,
}

impl ChangeBatch {
    /// Forgets everything; what follows is of this partition.
    pub fn clear(&mut self, of: &TopicPartition) {
        let TopicPartition { source, topic, incarnation, partition } = of;
        self.partition = *partition;
        self.is_whole = false;
        self.covers = None;
        self.columns = None;
        self.topic.clear();
        for part in [&**source, "/", &**topic, "/", &**incarnation] {
            self.topic.push_str(part);
        }
        self.origins.clear();
        self.quiet.clear();
        self.changes.clear();
        self.bytes.clear();
        self.unavailable.clear();
        self.errors.clear();
    }

    /// Says whether its source promises that no snapshot is taken with conditions.
    pub fn promise_whole(&mut self, is_whole: bool) {
        self.is_whole = is_whole;
    }

    /// Says which offsets its records cover: from the first, included, to the last, excluded.
    pub fn cover(&mut self, offsets: Option<(i64, i64)>) {
        self.covers = offsets;
    }

    /// Says how many columns the contract has that its records are read by.
    pub(crate) fn read_for(&mut self, columns: usize) {
        self.columns = Some(columns);
    }

    /// The partition, and the offsets that its records cover.
    pub fn covers(&self) -> Option<(i32, i64, i64)> {
        self.covers.map(|(from, to)| (self.partition, from, to))
    }

    /// Says that all changes are of this origin, which their source goes on with.
    pub fn continue_as(&mut self, origin: &str) {
        self.origins.clear();
        self.origins.push(origin.into());
        self.changes.iter_mut().for_each(|change| change.origin = 0);
    }

    /// Whether its source promises that no snapshot is taken with conditions.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The life of a topic that changes came by, as one text.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Says which record the next change belongs to.
    pub fn begin_record(&mut self, index: usize, offset: i64) {
        self.current = (index, offset);
    }

    /// The number of an origin, which a batch has few of.
    pub(crate) fn origin(&mut self, origin: &str) -> u32 {
        let known = self.origins.iter().rposition(|known| **known == *origin);
        let at = known.unwrap_or_else(|| {
            self.origins.push(origin.into());
            self.origins.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// The tables that changes are of: logical server, database, schema and table, or the topic.
    pub fn origins(&self) -> &[Arc<str>] {
        &self.origins
    }

    /// Says which origins are quiet in the epoch; returns whether any of these is.
    pub fn hush(&mut self, quiet: &BTreeSet<Arc<str>>) -> bool {
        self.quiet.clear();
        self.quiet.extend(self.origins.iter().map(|origin| quiet.contains(origin)));
        self.has_quiet()
    }

    /// Whether an origin is quiet in the epoch.
    pub fn is_quiet(&self, origin: u32) -> bool {
        self.quiet.get(origin as usize).copied().unwrap_or(false)
    }

    /// Whether any is.
    pub fn has_quiet(&self) -> bool {
        self.quiet.contains(&true)
    }

    /// The origins that are.
    pub fn quiet_origins(&self) -> impl Iterator<Item = &Arc<str>> {
        self.origins.iter().zip(&self.quiet).filter(|(_, quiet)| **quiet).map(|(origin, _)| origin)
    }

    /// Appends a change of the current record.
    pub(crate) fn push(
        &mut self,
        mut change: Change,
        key: &[u8],
        row: &[u8],
        unavailable: &[usize],
    ) {
        change.record = self.current.0;
        change.position.partition = self.partition;
        change.position.offset = self.current.1;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        change.key = start..self.bytes.len();
        self.bytes.extend_from_slice(row);
        change.row = change.key.end..self.bytes.len();
        change.other = change.row.end..change.row.end;
        let start = self.unavailable.len();
        self.unavailable.extend_from_slice(unavailable);
        change.unavailable = start..self.unavailable.len();
        change.absent = change.unavailable.end..change.unavailable.end;
        change.infinite = change.absent.clone();
        self.changes.push(change);
    }

    /// Says the other key of the change that was appended last: where it came from or went.
    pub(crate) fn set_other(&mut self, key: &[u8]) {
        let Some(change) = self.changes.last_mut() else { return };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        change.other = start..self.bytes.len();
    }

    /// Says which columns the event of the change that was appended last does not have.
    pub(crate) fn set_absent(&mut self, columns: &[usize]) {
        let Some(change) = self.changes.last_mut() else { return };
        let start = self.unavailable.len();
        self.unavailable.extend_from_slice(columns);
        change.absent = start..self.unavailable.len();
    }

    /// Says which columns of the change that was appended last are null for an infinity.
    pub(crate) fn set_infinite(&mut self, columns: &[usize]) {
        let Some(change) = self.changes.last_mut() else { return };
        let start = self.unavailable.len();
        self.unavailable.extend_from_slice(columns);
        change.infinite = start..self.unavailable.len();
    }

    /// Notes that a record cannot be decoded.
    pub fn push_error(&mut self, index: usize, error: DecodeError) {
        self.errors.push((index, error));
    }

    /// Records that could not be decoded: index in the raw batch, and why. In order.
    pub fn errors(&self) -> &[(usize, DecodeError)] {
        &self.errors
    }

    /// Why a record could not be decoded.
    pub fn error(&self, record: usize) -> Option<&DecodeError> {
        let at = self.errors.binary_search_by_key(&record, |(at, _)| *at).ok()?;
        self.errors.get(at).map(|(_, error)| error)
    }

    /// Every change, in record order.
    pub fn iter(&self) -> impl Iterator<Item = ChangeRef<'_>> {
        self.changes.iter().map(|change| ChangeRef {
            change,
            key: self.bytes.get(change.key.clone()).unwrap_or_default(),
            row: self.bytes.get(change.row.clone()).unwrap_or_default(),
            other: self.bytes.get(change.other.clone()).unwrap_or_default(),
            unavailable: self.unavailable.get(change.unavailable.clone()).unwrap_or_default(),
            absent: self.unavailable.get(change.absent.clone()).unwrap_or_default(),
            infinite: self.unavailable.get(change.infinite.clone()).unwrap_or_default(),
            origin: self.origins.get(change.origin as usize).map_or("", |origin| origin),
            columns: self.columns.unwrap_or(usize::MAX),
        })
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
