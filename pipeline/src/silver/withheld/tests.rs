//! Tests of the module `withheld`.

use super::super::model::{Builder, fold, reloaded, stamp, text_rows};
use super::super::{SNAPSHOT_SETTLE_US, TableFold};
use super::*;
use crate::decode::SnapshotMarker::{First, Last, Within};

fn apply(fold: &mut TableFold, builder: &mut Builder, clock: i64) {
    fold.apply(&builder.take(), &stamp(clock), &mut fold.no_changes());
    *fold = reloaded(fold);
}

fn keys(fold: &TableFold) -> String {
    text_rows(fold).into_iter().map(|(key, _)| key).collect()
}

const OVER: i64 = SNAPSHOT_SETTLE_US + 10;

#[test]
fn a_snapshot_whose_end_is_read_late_brings_its_rows_back() {
    let (mut fold, mut one, mut other) = (fold(), Builder::new(0), Builder::new(1));
    one.snapshot("a", "1", 10, First);
    apply(&mut fold, &mut one, 1);
    other.snapshot("d", "1", 20, Last);
    apply(&mut fold, &mut other, 2);
    fold.fire(Micros(OVER), &mut fold.no_changes());
    assert_eq!(keys(&fold), "d", "nothing tells yet that the first has ended");
    one.snapshot("b", "1", 10, Within);
    apply(&mut fold, &mut one, OVER + 1);
    assert_eq!(keys(&fold), "d");
    one.snapshot("c", "1", 10, Last);
    apply(&mut fold, &mut one, OVER + 2);
    fold.fire(Micros(2 * OVER + 2), &mut fold.no_changes());
    assert_eq!(keys(&fold), "abcd");
    let said = fold.lacking().next().unwrap().to_string();
    assert!(said.contains("lacks 3 rows"), "{said}");
    assert_eq!(fold.gaps().count(), 0);
}

#[test]
fn what_changes_meanwhile_counts() {
    let (mut fold, mut one, mut other) = (fold(), Builder::new(0), Builder::new(1));
    one.snapshot("a", "1", 10, First).snapshot("b", "1", 10, Within).snapshot("c", "1", 10, Within);
    apply(&mut fold, &mut one, 1);
    other.snapshot("d", "1", 20, Last);
    apply(&mut fold, &mut other, 2);
    fold.fire(Micros(OVER), &mut fold.no_changes());
    // Both changes lie before the second snapshot; a row that changed is none of an unfinished one.
    one.delete("a", 15).upsert_unavailable("b", 16);
    apply(&mut fold, &mut one, OVER + 1);
    let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(text_rows(&fold), [row("b", "1"), row("d", "1")]);
    one.snapshot("c", "1", 10, Last);
    apply(&mut fold, &mut one, OVER + 2);
    fold.fire(Micros(2 * OVER + 2), &mut fold.no_changes());
    assert_eq!(keys(&fold), "bcd");
}

#[test]
fn only_an_unfinished_snapshot_leaves_rows() {
    let (mut fold, mut one) = (fold(), Builder::new(0));
    one.incremental("a", "1", 10).snapshot("b", "1", 20, Last);
    apply(&mut fold, &mut one, 1);
    fold.fire(Micros(OVER), &mut fold.no_changes());
    assert_eq!((keys(&fold).as_str(), fold.lacking().count()), ("ab", 1));
}

#[test]
fn what_there_is_no_room_for_is_said() {
    let (mut fold, mut one, mut other) = (fold(), Builder::new(0), Builder::new(1));
    for key in 0..LIMIT + 2 {
        one.snapshot(&format!("{key:05}"), "1", 10, Within);
    }
    apply(&mut fold, &mut one, 1);
    other.snapshot("d", "1", 20, Last);
    apply(&mut fold, &mut other, 2);
    fold.fire(Micros(OVER), &mut fold.no_changes());
    assert_eq!((fold.len(), fold.gaps().count()), (1, 0));
    one.snapshot("e", "1", 10, Last);
    apply(&mut fold, &mut one, OVER + 1);
    fold.fire(Micros(2 * OVER + 1), &mut fold.no_changes());
    assert_eq!(fold.len(), LIMIT + 2);
    let said = fold.gaps().next().unwrap().to_string();
    assert!(said.contains("2 rows may be missing"), "{said}");
}
