//! Keyed tables against a model, read back by the oracle, which shares no code with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use harness::delta_log::DeltaLog;
use proptest::prelude::*;
use schemas::Micros;

use super::super::*;
use super::table::{NAME, spec};
use crate::folder::Lake;
use crate::table::At;
use crate::table::tests_support::{START, lake};

/// Rows by key, and the slots that they have in this life of the process.
#[derive(Debug, Clone, Default)]
struct World {
    rows: BTreeMap<u32, i64>,
    slot_of: BTreeMap<u32, u32>,
    key_in: BTreeMap<u32, u32>,
    changed: Vec<u32>,
    next: i64,
}

impl World {
    fn upsert(&mut self, key: u32) {
        self.next += 1;
        self.rows.insert(key, self.next);
        let slot = match self.slot_of.get(&key) {
            Some(slot) => *slot,
            None => (0..).find(|slot| !self.key_in.contains_key(slot)).unwrap(),
        };
        self.slot_of.insert(key, slot);
        self.key_in.insert(slot, key);
        self.changed.push(slot);
    }

    fn delete(&mut self, key: u32) {
        self.rows.remove(&key);
        if let Some(slot) = self.slot_of.remove(&key) {
            self.key_in.remove(&slot);
            self.changed.push(slot);
        }
    }

    /// Another life gives other slots.
    fn restart(&mut self) {
        self.changed.clear();
        let keys: Vec<u32> = self.rows.keys().rev().copied().collect();
        self.slot_of = keys.iter().copied().zip(0..).collect();
        self.key_in = (0..).zip(keys).collect();
    }
}

impl FrozenRows for World {
    fn has_row(&self, slot: u32) -> bool {
        self.key_in.contains_key(&slot)
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        Box::new(self.key_in.keys().copied())
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        let keys = || slots.iter().map(|slot| self.key_in[slot]);
        let ids = StringArray::from_iter_values(keys().map(|key| key.to_string()));
        let values = Int64Array::from_iter_values(keys().map(|key| self.rows[&key]));
        Ok(RecordBatch::try_new(spec().schema, vec![Arc::new(ids), Arc::new(values)])?)
    }
}

/// Opens the table and takes the places of `world`'s rows from it, by key. Rows that differ are written
/// by the next flush.
async fn open(lake: &Lake, deletes: Deletes, world: &World) -> KeyedTable {
    let table = Table::open_or_create(lake, &spec()).await.unwrap();
    let mut keyed = KeyedTable::new(table, deletes);
    let mut files = Vec::new();
    for file in keyed.table().files() {
        let (mut slots, mut other) = (Vec::new(), Vec::new());
        for batch in keyed.table().read(&[file.as_ref()], None).unwrap() {
            let batch = batch.unwrap();
            let values = batch.column(1).as_primitive::<Int64Type>().values();
            for (id, value) in batch.column(0).as_string::<i32>().iter().zip(values) {
                let key: u32 = id.unwrap().parse().unwrap();
                slots.push(world.slot_of.get(&key).copied());
                if world.rows.get(&key).is_some_and(|row| row != value) {
                    other.extend(world.slot_of.get(&key));
                }
            }
        }
        files.push((file.path.clone(), slots, other));
    }
    for (path, slots, other) in files {
        keyed.load(&path, &slots).unwrap();
        other.into_iter().for_each(|slot| keyed.touch(slot));
    }
    keyed.touch_missing(world.live_slots());
    keyed
}

/// What the oracle reads.
fn oracle(root: &Path) -> (BTreeMap<u32, i64>, Option<i64>) {
    let log = DeltaLog::open(&root.join(NAME)).unwrap();
    let snapshot = log.at(log.newest());
    let mut rows = BTreeMap::new();
    for file in &snapshot.files {
        log.read(file, None, |batch| {
            let values = batch.column(1).as_primitive::<Int64Type>().values();
            for (id, value) in batch.column(0).as_string::<i32>().iter().zip(values) {
                let key: u32 = id.unwrap().parse().unwrap();
                assert!(rows.insert(key, *value).is_none(), "key {key} is there twice");
            }
            Ok(())
        })
        .unwrap();
    }
    (rows, snapshot.txns.get("weir/epoch").copied())
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Upsert(u32, u32),
    Delete(u32, u32),
    Flush,
    Whole,
    Compact {
        is_idle: bool,
    },
    Checkpoint,
    Vacuum,
    /// The process ends: with its changes in hand, or with their files written and not committed.
    Crash {
        staged: bool,
        deletes: Deletes,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let deletes = || prop_oneof![4 => Just(Deletes::Mark), 1 => Just(Deletes::Rewrite)];
    let step = prop_oneof![
        8 => (0_u32..2_000, 1_u32..700).prop_map(|(from, count)| Step::Upsert(from, count)),
        3 => (0_u32..2_000, 1_u32..400).prop_map(|(from, count)| Step::Delete(from, count)),
        6 => Just(Step::Flush),
        1 => Just(Step::Whole),
        3 => any::<bool>().prop_map(|is_idle| Step::Compact { is_idle }),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Vacuum),
        2 => (any::<bool>(), deletes())
            .prop_map(|(staged, deletes)| Step::Crash { staged, deletes }),
    ];
    prop::collection::vec(step, 1..40)
}

async fn run(root: &Path, steps: Vec<Step>) {
    let lake = lake(root);
    let mut world = World::default();
    let mut keyed = open(&lake, Deletes::Mark, &world).await;
    let (mut flushed, mut epoch) = (BTreeMap::new(), 0);
    for step in steps {
        match step {
            Step::Upsert(from, count) => {
                (from..from + count).step_by(3).for_each(|k| world.upsert(k))
            }
            Step::Delete(from, count) => {
                (from..from + count).step_by(2).for_each(|k| world.delete(k))
            }
            Step::Flush | Step::Whole => {
                epoch += 1;
                let changed = std::mem::take(&mut world.changed);
                let plan = keyed.plan(&world, &changed, matches!(step, Step::Whole));
                let staged = keyed.stage(&plan, &world).unwrap();
                let progress = vec![("weir/epoch".to_owned(), epoch)];
                keyed.commit(&plan, &staged, progress).await.unwrap();
                flushed.clone_from(&world.rows);
                assert_eq!(keyed.live(), world.rows.len());
            }
            Step::Compact { is_idle } => {
                let idle_after = if is_idle { Duration::ZERO } else { IDLE_AFTER };
                keyed.compact(idle_after).await.unwrap();
            }
            Step::Checkpoint => drop(keyed.table_mut().checkpoint().run().unwrap()),
            Step::Vacuum => {
                let newest = keyed.table().version();
                keyed.table_mut().vacuum(Micros(START + 3_600_000_000), newest).unwrap();
            }
            Step::Crash { staged, deletes } => {
                if staged {
                    let changed = std::mem::take(&mut world.changed);
                    let plan = keyed.plan(&world, &changed, false);
                    std::mem::forget(keyed.stage(&plan, &world).unwrap());
                }
                drop(keyed);
                world.restart();
                keyed = open(&lake, deletes, &world).await;
            }
        }
        let (rows, held) = oracle(root);
        assert_eq!(rows, flushed, "after {step:?}");
        assert_eq!(held.unwrap_or(0), epoch);
    }
    let reader = Table::open(&lake, NAME, At::Newest).unwrap();
    assert_eq!(super::table::values(&reader), flushed.into_values().collect::<Vec<_>>());
    assert!(reader.verify(true).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_oracle_reads_what_was_flushed(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(run(folder.path(), steps));
    }
}
