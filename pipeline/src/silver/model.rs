//! The fold against a model that keeps every change and sorts.

use lake::keyed::FrozenRows;
use lake::run::{Run, RunError};
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use schemas::{Contract, Micros, Place, RowBuilder, Saved};

use super::*;
use crate::decode::{Change, ChangeBatch, DecodeError, NO_ORIGIN};
use crate::record::TopicPartition;

pub(super) fn prepared() -> Arc<PreparedContract> {
    let text = "name='t'\nformat='f'\nkey=['k']\ntenant='tenant'\ncolumns=[{name='k',type='text'},\
                {name='tenant',type='text'},{name='v',type='text'},{name='n',type='decimal(10,0)'}]";
    Arc::new(PreparedContract::new(Contract::parse(text).unwrap()).unwrap())
}

pub(super) fn fold() -> TableFold {
    TableFold::new(prepared())
}

/// The stamp of an epoch whose number is its clock.
pub(super) fn stamp(clock: i64) -> EpochStamp {
    EpochStamp { id: u64::try_from(clock).unwrap(), clock: Micros(clock), quiet: false }
}

pub(super) fn text_rows(fold: &TableFold) -> Vec<(String, String)> {
    let text = |live: LiveRow<'_>, column| {
        fold.contract().layout().row(live.row).text(column).unwrap_or("null").to_owned()
    };
    let mut rows: Vec<_> = fold.rows().map(|(_, live)| (text(live, 0), text(live, 2))).collect();
    rows.sort();
    rows
}

fn topic(life: u32, partition: i32) -> TopicPartition {
    let (source, topic) = ("s".into(), "t".into());
    TopicPartition { source, topic, incarnation: life.to_string().into(), partition }
}

/// Writes change batches of one partition.
pub(super) struct Builder {
    contract: Arc<PreparedContract>,
    batch: ChangeBatch,
    partition: i32,
    /// The life of the topic.
    pub(super) life: u32,
    pub(super) next: i64,
    source_ms: i64,
    /// Whether changes say where they stand in the source.
    has_place: bool,
    origin: &'static str,
    /// Whether snapshots are promised to be whole.
    is_whole: bool,
}

impl Builder {
    const ABSENT: &str = "absent";

    pub(super) fn new(partition: i32) -> Builder {
        let mut batch = ChangeBatch::default();
        batch.clear(&topic(0, partition));
        Builder {
            contract: prepared(),
            batch,
            partition,
            life: 0,
            next: 0,
            source_ms: 0,
            has_place: true,
            origin: "o",
            is_whole: false,
        }
    }

    pub(super) fn partition(&self) -> i32 {
        self.partition
    }

    pub(super) fn at(&mut self, source_ms: i64) -> &mut Builder {
        self.source_ms = source_ms;
        self
    }

    pub(super) fn place(&mut self, sequence: Option<u128>) -> &mut Builder {
        self.has_place = sequence.is_some();
        self
    }

    pub(super) fn of(&mut self, origin: &'static str) -> &mut Builder {
        self.origin = origin;
        self
    }

    /// From here on snapshots are promised to be whole.
    pub(super) fn whole(&mut self) -> &mut Builder {
        self.is_whole = true;
        self.batch.promise_whole(true);
        self
    }

    /// The topic is made anew: its offsets begin at 0.
    pub(super) fn recreate(&mut self) {
        (self.life, self.next) = (self.life + 1, 0);
        let _ = self.take();
    }

    /// The change before is one half of a changed key; this is the other key.
    pub(super) fn moved(&mut self, other: &str) -> &mut Builder {
        self.batch.set_other(other.as_bytes());
        self
    }

    /// A null value.
    pub(super) fn null(&mut self, key: &str) -> &mut Builder {
        self.push(ChangeKind::Tombstone, key, None, 0, SnapshotMarker::Live)
    }

    pub(super) fn take(&mut self) -> ChangeBatch {
        let batch = std::mem::take(&mut self.batch);
        self.batch.clear(&topic(self.life, self.partition));
        self.batch.promise_whole(self.is_whole);
        batch
    }

    pub(super) fn upsert(&mut self, key: &str, value: &str, sequence: u128) -> &mut Builder {
        self.push(ChangeKind::Upsert, key, Some(value), sequence, SnapshotMarker::Live)
    }

    pub(super) fn upsert_unavailable(&mut self, key: &str, sequence: u128) -> &mut Builder {
        self.push(ChangeKind::Upsert, key, None, sequence, SnapshotMarker::Live)
    }

    /// An event whose column `v` is an infinity.
    pub(super) fn upsert_infinite(&mut self, key: &str, sequence: u128) -> &mut Builder {
        self.upsert(key, "", sequence);
        self.batch.set_infinite(&[2]);
        self
    }

    /// An event that does not have the column `v`.
    pub(super) fn upsert_absent(&mut self, key: &str, sequence: u128) -> &mut Builder {
        self.push(ChangeKind::Upsert, key, Some(Builder::ABSENT), sequence, SnapshotMarker::Live);
        self.batch.set_absent(&[2]);
        self
    }

    /// An event of a batch that is read when the contract has no column `v` yet.
    pub(super) fn upsert_unread(&mut self, key: &str, sequence: u128) -> &mut Builder {
        self.push(ChangeKind::Upsert, key, Some(Builder::ABSENT), sequence, SnapshotMarker::Live);
        self.batch.read_for(2);
        self
    }

    pub(super) fn delete(&mut self, key: &str, sequence: u128) -> &mut Builder {
        self.push(ChangeKind::Delete, key, None, sequence, SnapshotMarker::Live)
    }

    /// A record that cannot be decoded: of the origin where it names a place, else only with its key.
    pub(super) fn unreadable(&mut self, key: &str, sequence: Option<u128>) -> &mut Builder {
        self.push_change(ChangeKind::Unreadable, key, None, sequence, SnapshotMarker::Live);
        self.batch.push_error(0, DecodeError(format!("{key} is wrong")));
        self
    }

    pub(super) fn truncate(&mut self, sequence: u128) -> &mut Builder {
        self.push(ChangeKind::Truncate, "", None, sequence, SnapshotMarker::Live)
    }

    pub(super) fn snapshot(
        &mut self,
        key: &str,
        value: &str,
        sequence: u128,
        marker: SnapshotMarker,
    ) -> &mut Builder {
        self.push(ChangeKind::Upsert, key, Some(value), sequence, marker)
    }

    pub(super) fn incremental(&mut self, key: &str, value: &str, sequence: u128) -> &mut Builder {
        self.push(ChangeKind::Upsert, key, Some(value), sequence, SnapshotMarker::Incremental)
    }

    fn push(
        &mut self,
        kind: ChangeKind,
        key: &str,
        value: Option<&str>,
        sequence: u128,
        marker: SnapshotMarker,
    ) -> &mut Builder {
        self.push_change(kind, key, value, Some(sequence), marker)
    }

    fn push_change(
        &mut self,
        kind: ChangeKind,
        key: &str,
        value: Option<&str>,
        sequence: Option<u128>,
        marker: SnapshotMarker,
    ) -> &mut Builder {
        let mut change = Change::new(kind, b'u');
        let place = sequence.map(|at| Place::Log { log: 0, at });
        change.position.place = place.filter(|_| self.has_place);
        change.position.source_ms = self.source_ms;
        change.position.snapshot = marker != SnapshotMarker::Live;
        change.marker = marker;
        let (mut row, mut builder) = (Vec::new(), RowBuilder::default());
        let mut unavailable = None;
        if kind == ChangeKind::Upsert {
            builder.reset(4);
            builder.set_text(0, key);
            builder.set_text(1, "default");
            builder.set_decimal(3, 5);
            match value {
                Some(Builder::ABSENT) => builder.set_null(2),
                Some(value) => builder.set_text(2, value),
                None => {
                    builder.set_unknown(2);
                    unavailable = Some(2);
                }
            }
            builder.finish(self.contract.layout(), &mut row);
        }
        change.origin = match sequence {
            Some(_) => self.batch.origin(self.origin),
            None => NO_ORIGIN,
        };
        self.batch.begin_record(0, self.next);
        self.next += 1;
        self.batch.push(change, key.as_bytes(), &row, unavailable.as_slice());
        self
    }
}

/// What happens to one key at one place of the source's log.
#[derive(Debug, Clone, Copy)]
struct Step {
    key: u8,
    /// `None` deletes.
    value: Option<u8>,
    partition: i32,
    /// How many of the partition's latest records are delivered again after it, as a restarted
    /// connector does: same positions in the source, new offsets.
    again: usize,
}

const PARTITIONS: i32 = 3;

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![1 => Just(None), 4 => (0..5_u8).prop_map(Some)];
    let again = prop_oneof![8 => Just(0_usize), 1 => 1..6_usize];
    (0..6_u8, value, 0..PARTITIONS, again).prop_map(|(key, value, partition, again)| Step {
        key,
        value,
        partition,
        again,
    })
}

/// A record as it lies in its partition.
#[derive(Debug, Clone, Copy)]
struct Record {
    key: u8,
    value: Option<u8>,
    sequence: u128,
}

fn partitions(steps: &[Step]) -> Vec<Vec<Record>> {
    let mut all = vec![Vec::new(); 3];
    for (at, step) in steps.iter().enumerate() {
        let log = &mut all[usize::try_from(step.partition).unwrap()];
        log.push(Record { key: step.key, value: step.value, sequence: at as u128 + 1 });
        let from = log.len().saturating_sub(step.again);
        log.extend_from_within(from..);
    }
    all
}

fn key_name(key: u8) -> String {
    format!("key-{key}")
}

/// Per key the change with the highest position.
fn expected(partitions: &[Vec<Record>]) -> BTreeMap<String, String> {
    let mut all: Vec<&Record> = partitions.iter().flatten().collect();
    all.sort_by_key(|record| record.sequence);
    let mut rows = BTreeMap::new();
    for record in all {
        match record.value {
            Some(value) => rows.insert(key_name(record.key), value.to_string()),
            None => rows.remove(&key_name(record.key)),
        };
    }
    rows
}

/// Applies partitions cut where `cuts` says, restarting from saved rows and state now and then.
/// The sum of all deltas must be the rows.
fn run(partitions: &[Vec<Record>], cuts: &[(usize, usize, bool)]) -> TableFold {
    let mut fold = fold();
    let mut views: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut builders: Vec<Builder> = (0..PARTITIONS).map(Builder::new).collect();
    let mut read = [0_usize; 3];
    let mut clock = 0;
    let rest = (0..3).map(|partition| (partition, usize::MAX, false));
    for (partition, count, restart) in cuts.iter().copied().chain(rest) {
        let (log, builder) = (&partitions[partition], &mut builders[partition]);
        let to = read[partition].saturating_add(count).min(log.len());
        for record in &log[read[partition]..to] {
            builder.at(i64::try_from(record.sequence).unwrap());
            let key = key_name(record.key);
            match record.value {
                Some(value) => builder.upsert(&key, &value.to_string(), record.sequence),
                None => builder.delete(&key, record.sequence),
            };
        }
        read[partition] = to;
        clock += 1;
        let mut delta = fold.no_changes();
        fold.apply(&builder.take(), &stamp(clock), &mut delta);
        delta.consolidate();
        let mut keys = BTreeSet::new();
        for change in delta.keys() {
            assert!(keys.insert(change.key().to_vec()), "a key is there twice");
            assert!(change.sides().is_some(), "more than a row before and a row after");
        }
        for (row, weight) in delta.iter() {
            *views.entry(row.bytes().to_vec()).or_default() += weight;
        }
        if restart {
            fold = reloaded(&mut fold);
        }
    }
    views.retain(|_, weight| *weight != 0);
    let mut rows: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for (_, live) in fold.rows() {
        *rows.entry(live.row.to_vec()).or_default() += 1;
    }
    assert_eq!(views, rows, "the deltas say other changes than the rows had");
    assert!(fold.halts().next().is_none());
    fold
}

/// No barrier here has runs.
pub(super) fn no_runs(number: u64) -> Result<Run, RunError> {
    panic!("run {number} was never written")
}

/// The fold as a restart finds it: rows from the table, the rest from saved state.
pub(super) fn reloaded(fold: &mut TableFold) -> TableFold {
    let mut fresh = TableFold::new(Arc::clone(fold.contract()));
    let saved = Saved::of(&fold.freeze().parts());
    fresh.load_state(&saved, &no_runs).unwrap();
    let rows: Vec<SilverRow> = flushed(&fold.freeze()).into_values().collect();
    let batch = row_batch(fold.contract(), &rows).unwrap();
    for row in rows_from_batch(fold.contract(), &batch).unwrap() {
        fresh.load(row).unwrap();
    }
    let changed = fresh.freeze().tombstones.changed;
    assert_eq!(changed, Some(Vec::new()), "what was loaded is saved already");
    assert_eq!(Saved::of(&fresh.freeze().parts()), saved);
    fresh
}

/// The rows of a frozen table, by slot.
fn flushed(frozen: &FrozenTable) -> BTreeMap<u32, SilverRow> {
    frozen.live_slots().map(|slot| (slot, frozen.silver_row(slot).unwrap())).collect()
}

/// Every row with its position, by key.
fn positions(fold: &TableFold) -> BTreeMap<Vec<u8>, (Vec<u8>, Position)> {
    let rows = fold.rows();
    let key = |row: &[u8]| {
        let mut key = Vec::new();
        fold.contract().key_of(fold.contract().layout().row(row), &mut key);
        key
    };
    rows.map(|(_, live)| (key(live.row), (live.row.to_vec(), live.position))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn any_cut_and_any_redelivery_give_the_rows_of_the_model(
        steps in proptest::collection::vec(step(), 1..60),
        cuts in proptest::collection::vec((0..3_usize, 0..8_usize, proptest::bool::weighted(0.2)), 0..20),
    ) {
        let partitions = partitions(&steps);
        let cut = run(&partitions, &cuts);
        let rows: BTreeMap<_, _> = text_rows(&cut).into_iter().collect();
        prop_assert_eq!(rows, expected(&partitions));
        let whole = run(&partitions, &[]);
        prop_assert_eq!(positions(&cut), positions(&whole));
    }

    #[test]
    fn drained_slots_rebuild_the_rows(
        steps in proptest::collection::vec(step(), 1..60),
        every in 1..9_usize,
    ) {
        let (mut fold, mut events) = (fold(), Builder::new(0));
        let mut table: BTreeMap<u32, SilverRow> = BTreeMap::new();
        let mut saved = Saved::default();
        let mut flush = |(changed, frozen): (Vec<u32>, FrozenTable)| {
            saved.update(&frozen.parts());
            assert_eq!(saved, Saved::of(&frozen.parts()), "a tombstone changed and was not named");
            for slot in changed {
                match frozen.silver_row(slot) {
                    Some(row) => table.insert(slot, row),
                    None => table.remove(&slot),
                };
            }
            assert_eq!(table, flushed(&frozen));
        };
        let mut held = None;
        for (at, step) in steps.iter().enumerate() {
            let key = key_name(step.key);
            let sequence = at as u128 + 1;
            match step.value {
                Some(value) => events.upsert(&key, &value.to_string(), sequence),
                None => events.delete(&key, sequence),
            };
            fold.apply(&events.take(), &stamp(i64::try_from(sequence).unwrap()), &mut fold.no_changes());
            // What was frozen is written while the fold goes on.
            held.take().into_iter().for_each(&mut flush);
            if at % every == 0 || at + 1 == steps.len() {
                held = Some((fold.take_changed_slots(), fold.freeze()));
            }
        }
        held.into_iter().for_each(&mut flush);
        let rows: Vec<_> = fold.rows().map(|(slot, live)| (slot, live.row.to_vec())).collect();
        let table: Vec<_> = table.into_iter().map(|(slot, row)| (slot, row.row.to_vec())).collect();
        prop_assert_eq!(table, rows);
    }
}
