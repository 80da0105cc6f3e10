//! Tests of the module `restart`: a source that is restored, and read in every order.

use super::super::model::{Builder, fold, reloaded, stamp, text_rows};
use super::super::{SNAPSHOT_SETTLE_US, TableFold};
use crate::decode::SnapshotMarker::{First, Last, Within};
use schemas::Micros;

const OVER: i64 = SNAPSHOT_SETTLE_US + 10;

/// Applies what was built, in an epoch of its own, and starts anew from what was saved.
fn apply(fold: &mut TableFold, events: &mut Builder, clock: i64) {
    fold.apply(&events.take(), &stamp(clock), &mut fold.no_changes());
    *fold = reloaded(fold);
}

/// Keys and values after all snapshots are over.
fn rows(fold: &mut TableFold) -> String {
    fold.fire(Micros(10 * OVER), &mut fold.no_changes());
    let rows = text_rows(fold).into_iter().map(|(key, value)| format!("{key}{value}"));
    rows.collect::<Vec<_>>().join(" ")
}

fn whole(partition: i32) -> Builder {
    let mut events = Builder::new(partition);
    events.whole();
    events
}

#[test]
fn rows_before_the_first_that_shows_it_are_of_the_snapshot() {
    let (mut fold, mut events) = (fold(), whole(0));
    events.at(1_000).upsert("a", "1", 100).upsert("d", "1", 110);
    apply(&mut fold, &mut events, 1);
    // Nothing is held of `b` and `c`; `a` shows that places went back.
    events.at(9_000).snapshot("b", "2", 50, First).snapshot("c", "2", 50, Within);
    apply(&mut fold, &mut events, 2);
    events.snapshot("a", "2", 50, Last);
    apply(&mut fold, &mut events, 3);
    assert_eq!(rows(&mut fold), "a2 b2 c2");
}

#[test]
fn a_snapshot_before_shows_it_where_no_row_does() {
    let (mut fold, mut events) = (fold(), whole(0));
    events.at(1_000).snapshot("a", "1", 100, Last);
    apply(&mut fold, &mut events, 1);
    fold.fire(Micros(OVER), &mut fold.no_changes());
    events.at(9_000).snapshot("b", "2", 50, Last);
    apply(&mut fold, &mut events, OVER + 1);
    assert_eq!(rows(&mut fold), "b2");
}

/// Three partitions: one shows that places went back, one has rows of the snapshot, one has none.
#[test]
fn what_another_partition_brings_is_told_by_the_snapshot() {
    let old = |events: &mut Builder| {
        events.at(1_000);
        match events.partition() {
            0 => events.upsert("a", "1", 100),
            1 => events.upsert("b", "1", 101).upsert("d", "1", 102).delete("f", 103),
            _ => events.upsert("c", "1", 104).upsert("e", "1", 105),
        };
    };
    let new = |events: &mut Builder| {
        match events.partition() {
            0 => events.at(9_000).snapshot("a", "2", 50, First),
            1 => {
                events.at(9_001).snapshot("d", "2", 50, Last);
                // Deleted before, in the log that is no more.
                events.at(9_010).upsert("f", "3", 60).upsert("d", "3", 61).delete("d", 62)
            }
            _ => events.at(9_020).upsert("g", "3", 63),
        };
    };
    for order in 0..6 {
        for cut in [false, true] {
            let (mut fold, mut lanes) = (fold(), [whole(0), whole(1), whole(2)]);
            lanes.rotate_left(order % 3);
            if order > 2 {
                lanes.swap(1, 2);
            }
            let mut clock = 0;
            for events in &mut lanes {
                old(events);
                if cut {
                    clock += 1;
                    apply(&mut fold, events, clock);
                }
                new(events);
                clock += 1;
                apply(&mut fold, events, clock);
            }
            assert_eq!(rows(&mut fold), "a2 f3 g3", "order {order}, cut {cut}");
        }
    }
}

#[test]
fn a_second_restore_is_a_third_numbering() {
    let (mut fold, mut one, mut other) = (fold(), whole(0), whole(1));
    one.at(1_000).snapshot("a", "1", 100, First);
    other.at(1_000).snapshot("b", "1", 100, Last).upsert("b", "2", 120);
    one.at(9_000).snapshot("a", "3", 50, First);
    other.at(9_000).snapshot("b", "3", 50, Last).upsert("b", "4", 70);
    one.at(19_000).snapshot("a", "5", 40, Last);
    apply(&mut fold, &mut one, 1);
    apply(&mut fold, &mut other, 2);
    assert_eq!(rows(&mut fold), "a5", "the third snapshot lacks the row of the other partition");
}

#[test]
fn after_a_halt_the_snapshot_counts_that_began_before_it_was_seen() {
    let (mut fold, mut one, mut other) = (fold(), whole(0), whole(1));
    one.at(1_000).upsert("a", "1", 100);
    apply(&mut fold, &mut one, 1);
    other.at(9_000).snapshot("b", "2", 50, First);
    apply(&mut fold, &mut other, 2);
    one.at(8_000).upsert("a", "2", 45);
    apply(&mut fold, &mut one, 3);
    assert_eq!(fold.halts().count(), 1);
    one.at(9_001).snapshot("a", "3", 50, Last);
    apply(&mut fold, &mut one, 4);
    assert_eq!((rows(&mut fold).as_str(), fold.halts().count()), ("a3 b2", 0));
}

/// The null value is what a cleaner left of a delete in the restored database. It is read before a row shows that places
/// went back.
#[test]
fn a_null_value_behind_the_snapshot_leaves_no_place_of_before_it() {
    let (mut fold, mut one, mut other) = (fold(), whole(0), whole(1));
    one.at(1_000).upsert("a", "1", 100);
    other.at(1_000).upsert("b", "1", 110);
    one.at(9_000).snapshot("c", "2", 50, First).null("a");
    other.at(9_000).snapshot("b", "2", 50, Last);
    apply(&mut fold, &mut one, 1);
    apply(&mut fold, &mut other, 2);
    one.at(9_100).upsert("a", "3", 60);
    apply(&mut fold, &mut one, 3);
    assert_eq!(fold.halts().count(), 0);
    assert_eq!(rows(&mut fold), "a3 b2 c2");
}
