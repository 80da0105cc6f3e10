//! Compaction over long runs: files stay few, a row is not written too often, an idle table ends clean.

use super::super::compaction::{DEAD_PERCENT, TIER, pick};
use super::super::locations::{Locations, Shape};
use super::super::{Deletes, FileId, ROUND_ROWS_PER_CHANGE};
use super::plan::plan;

/// A table on which every flush is followed by a round of compaction.
#[derive(Default)]
struct World {
    locations: Locations,
    seed: u64,
    changed: usize,
    written: usize,
    largest_round: usize,
}

impl World {
    fn random(&mut self, below: u32) -> u32 {
        // Knuth's linear congruential generator: any spread will do.
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.seed >> 33).unwrap() % below
    }

    fn flush(&mut self, max: usize, is_idle: bool) {
        let changed = plan(&mut self.locations, Deletes::Mark, max).rows();
        self.changed += changed;
        self.written += changed;
        let mut budget = max.max(changed * ROUND_ROWS_PER_CHANGE);
        let mut round = 0;
        while let Some(pick) = pick(&self.locations.shapes(), max, budget, is_idle) {
            let rows = u64::try_from(pick.rows).unwrap();
            self.locations.moved(&pick.files, std::iter::once(rows));
            round += pick.rows;
            budget = budget.saturating_sub(pick.rows.max(1));
        }
        self.written += round;
        self.largest_round = self.largest_round.max(round);
    }
}

fn dead(shape: &Shape) -> usize {
    shape.rows - shape.live
}

#[test]
fn random_updates_write_a_row_at_most_ten_times_and_leave_few_files() {
    for (rows, changes, flushes) in
        [(200_000, 10, 20_000), (200_000, 2_000, 600), (1_000, 10, 5_000)]
    {
        let (mut world, max) = (World::default(), 8_192);
        (0..rows).for_each(|slot| world.locations.upsert(slot));
        world.flush(max, false);
        (world.changed, world.written, world.largest_round) = (0, 0, 0);
        for _ in 0..flushes {
            for _ in 0..changes {
                let slot = world.random(rows);
                world.locations.upsert(slot);
            }
            world.flush(max, false);
        }
        let ratio = world.written * 10 / world.changed;
        assert!(ratio <= 100, "{rows} rows, {changes} a flush: {ratio} tenths written for one");
        let bound = max.max(changes * ROUND_ROWS_PER_CHANGE) + max;
        assert!(world.largest_round <= bound, "{} rows in one round", world.largest_round);
        let shapes = world.locations.shapes();
        let full = usize::try_from(rows).unwrap() * 2 / max + 1;
        assert!(shapes.len() <= full + 5 * TIER, "{} files", shapes.len());
        let worn = shapes.iter().filter(|it| dead(it) * 100 > it.rows * DEAD_PERCENT).count();
        assert!(worn <= 1, "{worn} files of which much is gone");
    }
}

#[test]
fn an_idle_table_ends_without_vectors() {
    let (mut world, max) = (World::default(), 1_000);
    (0..10_000).for_each(|slot| world.locations.upsert(slot));
    world.flush(max, false);
    for _ in 0..100 {
        let slot = world.random(10_000);
        world.locations.upsert(slot);
    }
    world.flush(max, false);
    assert!(world.locations.shapes().iter().any(|it| dead(it) > 0));
    for _ in 0..50 {
        world.flush(max, true);
    }
    let shapes = world.locations.shapes();
    assert_eq!(shapes.iter().map(dead).sum::<usize>(), 0);
    assert_eq!(shapes.iter().map(|it| it.live).sum::<usize>(), 10_000);
}

#[test]
fn the_worst_file_goes_first_and_a_budget_holds() {
    let shape = |id, rows, live| Shape { id: FileId(id), rows, live };
    let files = [shape(1, 100, 60), shape(2, 100, 20), shape(3, 100, 71), shape(4, 100, 69)];
    let all = pick(&files, 1_000, 1_000, false).unwrap();
    assert_eq!(all.files, [FileId(2), FileId(1), FileId(4)]);
    assert_eq!(all.rows, 149);
    assert_eq!(pick(&files, 1_000, 80, false).unwrap().files, [FileId(2), FileId(1)]);
    assert_eq!(pick(&files, 1_000, 1, false).unwrap().files, [FileId(2)]);
    assert_eq!(pick(&files, 1_000, 0, false), None);
    assert_eq!(pick(&files[2..3], 1_000, 1_000, false), None);
    assert_eq!(pick(&files[2..3], 1_000, 1_000, true).unwrap().files, [FileId(3)]);
}
