//! Runs of tombstones, oldest first: what a newer one says of a key counts.
//!
//! # Guarantees
//! - A change above every position that a run and those before it hold is not looked up there: it can be
//!   older than none of them. So a source whose positions grow costs no look-up.
//! - Eight runs of about one size become one, up to [`MERGE_MAX`] tombstones, while the core goes on.

use std::cmp::Ordering;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use lake::run::{Page, Run, RunBuilder, RunError, rank};
use lake::state::StateLog;
use schemas::state::{decode, encode};
use schemas::{Micros, Place, Position};
use serde::{Deserialize, Serialize};

use super::{Fate, TOMBSTONE_RETENTION_US};

/// Runs that become one.
const FAN_IN: usize = 8;
/// Tombstones of a run that is made of others, about.
const MERGE_MAX: u64 = 4 << 20;

/// Why runs cannot be written or merged.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The disk refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A run cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// The highest of some tombstones, in each of what their positions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Top {
    incarnation: u32,
    /// The log that they all stand in; `None` is PostgreSQL's.
    log: Option<u32>,
    at: u128,
    commit: u64,
    source_ms: i64,
}

impl Top {
    /// Of one position; `None` when it has no place.
    pub(super) fn of(position: &Position) -> Option<Top> {
        let (log, commit) = match position.place? {
            Place::Log { log, .. } => (Some(log), 0),
            Place::Wal { commit, .. } => (None, commit.unwrap_or(0)),
        };
        let at = position.place.map_or(0, |place| place.number());
        let Position { incarnation, source_ms, .. } = *position;
        Some(Top { incarnation, log, at, commit, source_ms })
    }

    /// The highest of both; `None` when they stand in different logs.
    fn max(self, other: Top) -> Option<Top> {
        (self.log == other.log).then(|| Top {
            incarnation: self.incarnation.max(other.incarnation),
            log: self.log,
            at: self.at.max(other.at),
            commit: self.commit.max(other.commit),
            source_ms: self.source_ms.max(other.source_ms),
        })
    }
}

/// The highest of tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Highest {
    /// There are none.
    Empty,
    At(Top),
    /// They cannot be compared, and nothing is above them.
    Unknown,
}

impl Highest {
    fn with(self, other: Highest) -> Highest {
        match (self, other) {
            (Highest::Empty, other) | (other, Highest::Empty) => other,
            (Highest::At(own), Highest::At(other)) => {
                own.max(other).map_or(Highest::Unknown, Highest::At)
            }
            _ => Highest::Unknown,
        }
    }

    fn is_below(&self, position: &Position) -> bool {
        match self {
            Highest::Empty => true,
            Highest::At(top) => is_above(position, Some(top)),
            Highest::Unknown => false,
        }
    }
}

/// What a run says about all of its tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    top: Highest,
    /// The newest clock.
    newest: Micros,
}

impl Summary {
    const EMPTY: Summary = Summary { top: Highest::Empty, newest: Micros(i64::MIN) };

    fn add(&mut self, fate: &Fate) {
        self.newest = self.newest.max(fate.clock());
        if let Fate::Deleted(tombstone) = fate {
            let own = Top::of(&tombstone.position).map_or(Highest::Unknown, Highest::At);
            self.top = self.top.with(own);
        }
    }

    pub(super) fn saved(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(self, &mut bytes);
        bytes
    }
}

/// The summary of these.
pub(super) fn summary<'a>(fates: impl Iterator<Item = &'a Fate>) -> Summary {
    let mut summary = Summary::EMPTY;
    fates.for_each(|fate| summary.add(fate));
    summary
}

/// Whether a change at `position` is later than every tombstone below `top`, whatever its key.
pub(super) fn is_above(position: &Position, top: Option<&Top>) -> bool {
    let Some((own, top)) = Top::of(position).zip(top) else { return false };
    if own.log != top.log {
        return false;
    }
    match own.incarnation.cmp(&top.incarnation) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => {
            own.at > top.at && own.commit >= top.commit && own.source_ms >= top.source_ms
        }
    }
}

#[derive(Debug, Clone)]
struct Held {
    run: Arc<Run>,
    summary: Summary,
    /// Of this run and all before it.
    top: Highest,
}

#[derive(Debug, Default)]
pub(in crate::silver) struct Runs {
    held: Vec<Held>,
    merged: Arc<Mutex<Option<Merged>>>,
}

/// A run made of others.
#[derive(Debug)]
struct Merged {
    run: Arc<Run>,
    summary: Summary,
    of: Vec<Arc<Run>>,
}

impl Runs {
    /// Runs as a barrier names them.
    pub(in crate::silver) fn open(runs: Vec<Run>) -> Result<Runs, RunError> {
        let mut opened = Runs::default();
        for run in runs {
            let summary = decode(run.summary());
            let summary = summary.ok_or_else(|| run.damaged("its summary is not one"))?;
            opened.push(Arc::new(run), summary);
        }
        Ok(opened)
    }

    pub(super) fn push(&mut self, run: Arc<Run>, summary: Summary) {
        self.held.push(Held { run, summary, top: Highest::Empty });
        self.find_tops();
    }

    fn find_tops(&mut self) {
        let mut top = Summary::EMPTY.top;
        for held in &mut self.held {
            top = top.with(held.summary.top);
            held.top = top;
        }
    }

    /// The runs that a change at `position` may be older than, newest first.
    fn above<'a>(&'a self, position: Option<&'a Position>) -> impl Iterator<Item = &'a Run> {
        let below = move |held: &&Held| position.is_none_or(|own| !held.top.is_below(own));
        self.held.iter().rev().take_while(below).map(|held| &*held.run)
    }

    pub(super) fn get(
        &self,
        key: &[u8],
        position: Option<&Position>,
    ) -> Result<Option<Fate>, RunError> {
        for run in self.above(position) {
            if let Some(found) = run.get(key)? {
                return decode(&found)
                    .map(Some)
                    .ok_or_else(|| run.damaged("it has another record"));
            }
        }
        Ok(None)
    }

    /// Whether a run that a change at `position` may be older than may know the key.
    pub(super) fn may_have(&self, key: &[u8], position: Option<&Position>) -> bool {
        self.above(position).any(|run| run.may_have(key))
    }

    /// Forgets runs of which all is over.
    pub(super) fn purge(&mut self, now: Micros) {
        let is_over = |held: &Held| held.summary.newest.plus(TOMBSTONE_RETENTION_US) <= now;
        if self.held.iter().any(is_over) {
            self.held.retain(|held| !is_over(held));
            self.find_tops();
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.held.iter().map(|held| held.run.len()).sum()
    }

    /// The runs as they are now, those that were merged meanwhile being one.
    pub(super) fn freeze(&mut self, now: Micros) -> FrozenRuns {
        let merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Merged { run, summary, of }) = merged {
            let is_part = |held: &Held| of.iter().any(|part| Arc::ptr_eq(part, &held.run));
            let at = self.held.iter().position(is_part).unwrap_or(0);
            self.held.retain(|held| !is_part(held));
            self.held.insert(at, Held { run, summary, top: Highest::Empty });
            self.find_tops();
        }
        let runs = self.held.iter().map(|held| Arc::clone(&held.run)).collect();
        FrozenRuns { runs, merged: Arc::clone(&self.merged), now }
    }
}

/// The runs of a table at one epoch.
#[derive(Debug, Clone)]
pub struct FrozenRuns {
    runs: Vec<Arc<Run>>,
    merged: Arc<Mutex<Option<Merged>>>,
    now: Micros,
}

impl FrozenRuns {
    /// The runs, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().map(|run| &**run)
    }

    /// What their files are called; a number that no file has for one that is not written.
    pub(in crate::silver) fn numbers(&self) -> Vec<u64> {
        self.iter().map(|run| run.number().unwrap_or(u64::MAX)).collect()
    }

    /// Makes one run of the newest of about one size, when there are enough and all are on disk. The
    /// table takes it when it is frozen next.
    ///
    /// # Errors
    /// When a run cannot be read, or the disk refuses: nothing has changed then.
    pub fn merge(&self, log: &mut StateLog) -> Result<(), RunsError> {
        let is_waiting = || self.merged.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let from = self.to_merge();
        let of = self.runs.get(from..).unwrap_or_default().to_vec();
        if of.is_empty() || is_waiting() {
            return Ok(());
        }
        let most = usize::try_from(of.iter().map(|run| run.len()).sum::<u64>()).unwrap_or(0);
        let mut summary = Summary::EMPTY;
        let run = log.create_run(most, |out| {
            merge(&of, from == 0, self.now, &mut summary, out)?;
            Ok::<_, RunsError>(summary.saved())
        })?;
        let merged = Merged { run: Arc::new(run), summary, of };
        *self.merged.lock().unwrap_or_else(PoisonError::into_inner) = Some(merged);
        Ok(())
    }

    /// Where the runs begin that are to become one.
    fn to_merge(&self) -> usize {
        let none = self.runs.len();
        let Some(last) = self.runs.last() else { return none };
        let tier = tier(last.len());
        let same = self.runs.iter().rev().take_while(|run| self::tier(run.len()) == tier);
        let same: Vec<&Arc<Run>> = same.collect();
        let most = same.iter().map(|run| run.len()).max().unwrap_or(0);
        let fits = same.len() >= FAN_IN && most.saturating_mul(FAN_IN as u64) <= 2 * MERGE_MAX;
        let written = same.iter().all(|run| run.number().is_some());
        if fits && written { none - same.len() } else { none }
    }
}

/// Runs of one tier differ in size by less than [`FAN_IN`] times.
fn tier(count: u64) -> u32 {
    count.max(1).ilog2() / FAN_IN.ilog2()
}

/// Pushes what `runs`, oldest first, say together.
fn merge<W: io::Write>(
    runs: &[Arc<Run>],
    is_oldest: bool,
    now: Micros,
    summary: &mut Summary,
    out: &mut RunBuilder<W>,
) -> Result<(), RunsError> {
    let mut cursors = Vec::new();
    for run in runs.iter().rev() {
        cursors.push(Cursor::new(run)?);
    }
    loop {
        let ranks = cursors.iter().filter_map(Cursor::rank);
        let Some(key) = ranks.min().map(|(_, key)| key.to_vec()) else { return Ok(()) };
        let mut newest = None;
        for cursor in &mut cursors {
            if cursor.rank().is_some_and(|(_, own)| own == key) {
                let value = cursor.next()?;
                newest = newest.or(value.map(|value| (value, cursor.run)));
            }
        }
        let Some((value, run)) = newest else { return Ok(()) };
        let fate: Fate = decode(&value).ok_or_else(|| run.damaged("it has another record"))?;
        let is_void = is_oldest && matches!(fate, Fate::Back(_));
        if !is_void && fate.clock().plus(TOMBSTONE_RETENTION_US) > now {
            summary.add(&fate);
            out.push(&key, &value)?;
        }
    }
}

/// Goes through a run.
struct Cursor<'a> {
    run: &'a Run,
    next_page: usize,
    /// The records of the page that are still to come, the next one last.
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Cursor<'a> {
    fn new(run: &'a Run) -> Result<Cursor<'a>, RunError> {
        let mut cursor = Cursor { run, next_page: 0, records: Vec::new() };
        cursor.fill()?;
        Ok(cursor)
    }

    fn fill(&mut self) -> Result<(), RunError> {
        while self.records.is_empty() && self.next_page < self.run.pages() {
            let page: Page = self.run.page(self.next_page)?;
            self.next_page += 1;
            let records = page.records()?.into_iter().rev();
            self.records.extend(records.map(|(key, value)| (key.0.to_vec(), value.0.to_vec())));
        }
        Ok(())
    }

    fn rank(&self) -> Option<(u64, &[u8])> {
        self.records.last().map(|(key, _)| rank(key))
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, RunError> {
        let record = self.records.pop();
        self.fill()?;
        Ok(record.map(|(_, value)| value))
    }
}
