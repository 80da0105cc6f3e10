//! Plans against a model that keeps the rows of each file and which of them are marked.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::super::compaction::pick;
use super::super::locations::Locations;
use super::super::plan::Rules;
use super::super::{Cluster, Deletes, FileId, FilePlan};

/// A plan for rows that are all of one cluster.
pub(super) fn plan(locations: &mut Locations, deletes: Deletes, max: usize) -> FilePlan {
    let cluster = &|_| Cluster::Settled;
    locations.plan(&Rules { deletes, cluster, file_rows_max: &|_| max })
}

/// Even slots run, and lie in smaller files.
fn clustered(locations: &mut Locations, deletes: Deletes, max: usize) -> FilePlan {
    let file_rows_max = &|cluster| if cluster == Cluster::Running { max.div_ceil(3) } else { max };
    locations.plan(&Rules { deletes, cluster: &cluster, file_rows_max })
}

fn cluster(slot: u32) -> Cluster {
    if slot.is_multiple_of(2) { Cluster::Running } else { Cluster::Settled }
}

/// A table as its files: the rows in each, and which are marked as gone.
#[derive(Default)]
struct Model {
    files: BTreeMap<FileId, (Vec<(u32, u64)>, RoaringBitmap)>,
    live: BTreeMap<u32, u64>,
    next: u64,
}

impl Model {
    fn upsert(&mut self, slot: u32) {
        self.next += 1;
        self.live.insert(slot, self.next);
    }

    /// Applies a plan; what is not marked must then be exactly the live rows.
    fn commit(&mut self, plan: &FilePlan, deletes: Deletes) {
        for id in &plan.removes {
            assert!(self.files.remove(id).is_some(), "{id:?} was removed twice");
        }
        for (id, gone) in &plan.marks {
            let file = self.files.get_mut(id).unwrap();
            assert!(file.1.is_subset(gone) && file.1 != *gone, "a vector only grows");
            file.1.clone_from(gone);
        }
        for (id, slots) in &plan.writes {
            assert!(slots.is_sorted() && !slots.is_empty());
            let rows = slots.iter().map(|slot| (*slot, self.live[slot])).collect();
            let before = self.files.insert(*id, (rows, RoaringBitmap::new()));
            assert!(before.is_none(), "{id:?} was written twice");
        }
        if deletes == Deletes::Rewrite {
            assert!(self.files.values().all(|(_, gone)| gone.is_empty()));
        }
        self.check();
    }

    fn compact(&mut self, sources: &[FileId], written: &[FileId]) {
        let rows: Vec<_> = sources.iter().flat_map(|id| rows(&self.files[id])).collect();
        sources.iter().for_each(|id| drop(self.files.remove(id)));
        assert_eq!(written.len(), 1);
        self.files.insert(written[0], (rows, RoaringBitmap::new()));
        self.check();
    }

    fn check(&self) {
        let mut held = BTreeMap::new();
        for (slot, row) in self.files.values().flat_map(rows) {
            assert!(held.insert(slot, row).is_none(), "slot {slot} is in two files");
        }
        assert_eq!(held, self.live);
    }
}

fn rows(file: &(Vec<(u32, u64)>, RoaringBitmap)) -> Vec<(u32, u64)> {
    let rows = (0_u32..).zip(&file.0);
    rows.filter(|(at, _)| !file.1.contains(*at)).map(|(_, row)| *row).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Upsert(u32),
    Delete(u32),
    Plan(Deletes),
    Compact { is_idle: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        14 => (0_u32..60).prop_map(Step::Upsert),
        5 => (0_u32..60).prop_map(Step::Delete),
        4 => Just(Step::Plan(Deletes::Mark)),
        1 => Just(Step::Plan(Deletes::Rewrite)),
        2 => any::<bool>().prop_map(|is_idle| Step::Compact { is_idle }),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn files_hold_exactly_the_live_rows(steps in steps(), max in 1_usize..40) {
        let (mut locations, mut model) = (Locations::default(), Model::default());
        for step in steps {
            match step {
                Step::Upsert(slot) => {
                    locations.upsert(slot);
                    model.upsert(slot);
                }
                Step::Delete(slot) => {
                    locations.delete(slot);
                    model.live.remove(&slot);
                }
                Step::Plan(deletes) => {
                    let plan = match deletes {
                        Deletes::Mark => plan(&mut locations, deletes, max),
                        Deletes::Rewrite => clustered(&mut locations, deletes, max),
                    };
                    for (_, slots) in plan.writes.iter().filter(|_| deletes == Deletes::Rewrite) {
                        prop_assert!(slots.iter().all(|slot| cluster(*slot) == cluster(slots[0])));
                    }
                    prop_assert!(plan.writes.iter().all(|(_, it)| it.len() <= max));
                    model.commit(&plan, deletes);
                    prop_assert!(locations.is_settled());
                }
                Step::Compact { is_idle } => {
                    model.commit(&plan(&mut locations, Deletes::Mark, max), Deletes::Mark);
                    let shapes = locations.shapes();
                    let Some(pick) = pick(&shapes, max, max, is_idle) else { continue };
                    prop_assert!(pick.rows <= max || pick.files.len() == 1);
                    let rows = u64::try_from(pick.rows).unwrap();
                    let written = locations.moved(&pick.files, std::iter::once(rows));
                    model.compact(&pick.files, &written);
                }
            }
            prop_assert_eq!(locations.live(), model.live.len());
        }
        model.commit(&plan(&mut locations, Deletes::Mark, max), Deletes::Mark);
    }
}

/// Full files with ascending slots, each up to one of `ends`.
fn loaded(ends: &[u32]) -> Locations {
    let mut locations = Locations::default();
    let mut start = 0;
    for &end in ends {
        let slots: Vec<_> = (std::mem::replace(&mut start, end)..end).map(Some).collect();
        locations.load(u32::try_from(slots.len()).unwrap(), RoaringBitmap::new(), &slots);
    }
    locations
}

#[test]
fn nothing_changed_means_nothing_to_do() {
    for deletes in [Deletes::Mark, Deletes::Rewrite] {
        let mut locations = loaded(&[5]);
        assert!(plan(&mut locations, deletes, 100).is_empty());
        assert_eq!(locations.live(), 5);
    }
}

#[test]
fn a_changed_row_is_written_alone_and_marked_where_it_was() {
    let mut locations = loaded(&[100, 200]);
    locations.delete(150);
    locations.upsert(150); // another row in the same slot
    let plan = plan(&mut locations, Deletes::Mark, 100);
    assert_eq!(plan.marks, [(FileId(1), [50].into_iter().collect())]);
    assert_eq!(plan.writes, [(FileId(2), vec![150])]);
    assert!(plan.removes.is_empty());
}

#[test]
fn rewriting_moves_the_other_rows_of_the_file_only() {
    let mut locations = loaded(&[100, 200]);
    locations.upsert(150);
    let plan = plan(&mut locations, Deletes::Rewrite, 100);
    assert_eq!(plan.removes, [FileId(1)]);
    assert_eq!(plan.writes, [(FileId(2), (100..200).collect())]);
    assert!(plan.marks.is_empty());
}

#[test]
fn rewriting_ends_the_vectors_that_marking_left() {
    let mut locations = Locations::default();
    locations.load(4, [1].into_iter().collect(), &[Some(7), Some(8), Some(9)]);
    locations.load(2, RoaringBitmap::new(), &[Some(1), Some(2)]);
    let first = plan(&mut locations, Deletes::Rewrite, 6);
    assert_eq!(first.removes, [FileId(0), FileId(1)], "the other is small and merged");
    assert_eq!(first.writes, [(FileId(2), vec![1, 2, 7, 8, 9])]);
    assert!(plan(&mut locations, Deletes::Rewrite, 6).is_empty());
}

#[test]
fn running_rows_are_rewritten_without_those_that_are_settled() {
    let mut locations = Locations::default();
    (0..100).for_each(|slot| locations.upsert(slot));
    let first = clustered(&mut locations, Deletes::Rewrite, 100);
    assert_eq!(first.writes.iter().map(|(_, it)| it.len()).collect::<Vec<_>>(), [50, 25, 25]);
    locations.upsert(8);
    let second = clustered(&mut locations, Deletes::Rewrite, 100);
    assert_eq!(second.removes, [FileId(1)]);
    assert_eq!(second.rows(), 25);
}

#[test]
fn a_row_that_came_and_went_leaves_no_trace() {
    let mut locations = Locations::default();
    locations.upsert(9);
    locations.delete(9);
    locations.delete(9);
    locations.delete(1_000);
    assert_eq!(locations.live(), 0);
    assert!(plan(&mut locations, Deletes::Mark, 10).is_empty());
}

#[test]
fn an_emptied_file_is_removed_without_a_vector() {
    for deletes in [Deletes::Mark, Deletes::Rewrite] {
        let mut locations = loaded(&[2]);
        locations.delete(0);
        locations.delete(1);
        let expected = FilePlan { removes: vec![FileId(0)], ..FilePlan::default() };
        assert_eq!(plan(&mut locations, deletes, 10), expected);
    }
}

#[test]
fn rows_that_nobody_holds_any_more_are_marked() {
    let mut locations = Locations::default();
    locations.load(3, RoaringBitmap::new(), &[Some(4), None, Some(5)]);
    let plan = plan(&mut locations, Deletes::Mark, 10);
    assert_eq!(plan.marks, [(FileId(0), [1].into_iter().collect())]);
}

#[test]
fn rewriting_keeps_the_number_of_files_small() {
    let mut locations = Locations::default();
    let (mut written, mut most) = (0_usize, 0);
    for flush in 0..1_000_u32 {
        (flush * 100..(flush + 1) * 100).for_each(|slot| locations.upsert(slot));
        written += plan(&mut locations, Deletes::Rewrite, 20_000).rows();
        most = most.max(locations.shapes().len());
    }
    let full = 100_000 / 10_000;
    assert!(most <= full + 15, "{most} files");
    assert!(written <= 100_000 * 9, "{written} rows written for 100,000");
}

#[test]
fn after_a_failed_commit_everything_can_be_written_anew() {
    let mut locations = loaded(&[10]);
    locations.upsert(3);
    locations.upsert(11);
    drop(plan(&mut locations, Deletes::Mark, 100));
    let mut anew = Locations::default();
    (0..10).chain([11]).for_each(|slot| anew.upsert(slot));
    let all: BTreeSet<u32> =
        plan(&mut anew, Deletes::Mark, 100).writes.into_iter().flat_map(|(_, it)| it).collect();
    assert_eq!(all, (0..10).chain([11]).collect());
}
