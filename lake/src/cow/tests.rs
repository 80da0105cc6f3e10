//! The slot tracker against a model that keeps the rows of each file.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// A table as its files: the rows in each, some of them perhaps out of date.
#[derive(Default)]
struct Model {
    files: BTreeMap<FileId, BTreeMap<u32, u64>>,
    live: BTreeMap<u32, u64>,
    next: u64,
}

impl Model {
    fn upsert(&mut self, slot: u32) {
        self.next += 1;
        self.live.insert(slot, self.next);
    }

    /// Applies a rewrite; the files must then hold exactly the live rows.
    fn commit(&mut self, rewrite: &Rewrite) {
        for id in &rewrite.removes {
            assert!(self.files.remove(id).is_some(), "{id:?} was removed twice");
        }
        for (id, slots) in &rewrite.writes {
            assert!(slots.is_sorted() && !slots.is_empty());
            let rows = slots.iter().map(|slot| (*slot, self.live[slot])).collect();
            assert!(self.files.insert(*id, rows).is_none(), "{id:?} was written twice");
        }
        let mut held = BTreeMap::new();
        for (slot, row) in self.files.values().flatten() {
            assert!(held.insert(*slot, *row).is_none(), "slot {slot} is in two files");
        }
        assert_eq!(held, self.live);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Upsert(u32),
    Delete(u32),
    Plan,
    PlanFull,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u32..40).prop_map(Step::Upsert),
        5 => (0_u32..40).prop_map(Step::Delete),
        3 => Just(Step::Plan),
        1 => Just(Step::PlanFull),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn files_hold_exactly_the_live_rows(steps in steps(), max in 1_usize..20) {
        let (mut slots, mut model) = (SlotFiles::new(), Model::default());
        for step in steps {
            match step {
                Step::Upsert(slot) => {
                    slots.upsert(slot);
                    model.upsert(slot);
                }
                Step::Delete(slot) => {
                    slots.delete(slot);
                    model.live.remove(&slot);
                }
                Step::Plan => {
                    let dirty = slots.dirty();
                    let rewrite = slots.plan(max);
                    let written: usize = rewrite.writes.iter().map(|(_, it)| it.len()).sum();
                    prop_assert!(written >= dirty);
                    prop_assert!(rewrite.writes.iter().all(|(_, it)| it.len() <= max));
                    model.commit(&rewrite);
                    prop_assert_eq!(slots.dirty(), 0);
                }
                Step::PlanFull => {
                    let rewrite = slots.plan_full(max);
                    model.commit(&rewrite);
                }
            }
            prop_assert_eq!(slots.live(), model.live.len());
            prop_assert_eq!(slots.file_count(), model.files.len());
        }
        model.commit(&slots.plan(max));
    }
}

#[test]
fn nothing_changed_means_nothing_to_do() {
    let mut slots = SlotFiles::new();
    slots.load(FileId(7), 0..5);
    assert_eq!(slots.plan(100), Rewrite::default());
    assert_eq!(slots.live(), 5);
}

#[test]
fn a_dead_row_moves_the_others_of_its_file_only() {
    let mut slots = SlotFiles::new();
    slots.load(FileId(3), 0..100);
    slots.load(FileId(4), 100..200);
    slots.delete(150);
    slots.upsert(150); // another row in the same slot
    assert_eq!(slots.dirty(), 100);
    let rewrite = slots.plan(100);
    assert_eq!(rewrite.removes, [FileId(4)]);
    assert_eq!(rewrite.writes, [(FileId(5), (100..200).collect())]);
}

#[test]
fn a_row_that_came_and_went_leaves_no_trace() {
    let mut slots = SlotFiles::new();
    slots.upsert(9);
    slots.delete(9);
    slots.delete(9);
    slots.delete(1_000);
    assert_eq!((slots.dirty(), slots.live()), (0, 0));
    assert_eq!(slots.plan(10), Rewrite::default());
}

#[test]
fn an_emptied_file_is_removed() {
    let mut slots = SlotFiles::new();
    slots.load(FileId(0), [1, 2]);
    slots.delete(1);
    slots.delete(2);
    assert_eq!(slots.plan(10), Rewrite { removes: vec![FileId(0)], writes: vec![] });
}

#[test]
fn appending_keeps_the_number_of_files_small() {
    let mut slots = SlotFiles::new();
    let (mut written, mut most) = (0_usize, 0);
    for flush in 0..1_000_u32 {
        for slot in flush * 100..(flush + 1) * 100 {
            slots.upsert(slot);
        }
        written += slots.plan(20_000).writes.iter().map(|(_, it)| it.len()).sum::<usize>();
        most = most.max(slots.file_count());
    }
    let full = 100_000 / 10_000;
    assert!(most <= full + 15, "{most} files");
    assert!(written <= 100_000 * 9, "{written} rows written for 100,000");
}

#[test]
fn after_a_failed_commit_everything_can_be_written_anew() {
    let mut slots = SlotFiles::new();
    slots.load(FileId(0), 0..10);
    slots.upsert(3);
    slots.upsert(11);
    let lost = slots.plan(100);
    assert_eq!(lost.removes, [FileId(0)]);
    slots.upsert(4);
    let all: Vec<u32> = slots.plan_full(100).writes.into_iter().flat_map(|(_, it)| it).collect();
    let expected: BTreeSet<u32> = (0..10).chain([11]).collect();
    assert_eq!(all, expected.into_iter().collect::<Vec<_>>());
}
