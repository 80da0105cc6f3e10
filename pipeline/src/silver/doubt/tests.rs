//! Tests of the module `doubt`.

use super::super::model::{Builder, fold, reloaded, stamp, text_rows};
use super::*;
use crate::decode::SnapshotMarker;

const MINUTE: i64 = 60_000_000;

fn apply(fold: &mut TableFold, events: &mut Builder, clock: i64) -> usize {
    let mut delta = fold.no_changes();
    fold.apply(&events.take(), &stamp(clock), &mut delta);
    delta.consolidate();
    delta.len()
}

/// The values of rows, those in doubt with a question mark.
fn shown(fold: &TableFold) -> Vec<String> {
    let layout = fold.contract().layout();
    let one = |row: LiveRow<'_>| {
        let row = layout.row(row.row);
        let mark = if row.is_outdated() { "?" } else { "" };
        format!("{}={}{mark}", row.text(0).unwrap_or("null"), row.text(2).unwrap_or("null"))
    };
    let mut rows: Vec<_> = fold.rows().map(|(_, row)| one(row)).collect();
    rows.sort();
    rows
}

fn unplaced(fold: &TableFold) -> u64 {
    fold.unread().map_or(0, |unread| unread.count)
}

#[test]
fn the_newest_change_decides_whether_a_row_is_in_doubt() {
    let (mut fold, mut events, mut late) = (fold(), Builder::new(0), Builder::new(1));
    events.upsert("a", "1", 10).upsert("b", "1", 11);
    apply(&mut fold, &mut events, 1);
    events.unreadable("a", Some(20)).unreadable("b", Some(5));
    assert_eq!(apply(&mut fold, &mut events, 2), 2, "the row as it was, and the row in doubt");
    assert_eq!(shown(&fold), ["a=1?", "b=1"], "what is older than a row says nothing of it");
    let mut fold = reloaded(&mut fold);
    assert_eq!((fold.in_doubt(), unplaced(&fold)), (1, 0));
    late.upsert("a", "2", 15);
    assert_eq!(apply(&mut fold, &mut late, 3), 2);
    assert_eq!(shown(&fold), ["a=2?", "b=1"], "an older change does not end it");
    events.unreadable("a", Some(30));
    assert_eq!(apply(&mut fold, &mut events, 4), 0);
    late.upsert("a", "3", 25);
    apply(&mut fold, &mut late, 5);
    assert_eq!(shown(&fold), ["a=3?", "b=1"]);
    late.upsert("a", "4", 30);
    apply(&mut fold, &mut late, 6);
    assert_eq!(shown(&fold), ["a=4", "b=1"], "the change itself, read after all");
    assert_eq!(fold.in_doubt(), 0);
}

#[test]
fn a_delete_ends_it_unless_it_is_older() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 10).upsert("b", "1", 11).unreadable("a", Some(20));
    events.unreadable("b", Some(21)).delete("a", 30).delete("b", 15);
    apply(&mut fold, &mut events, 1);
    assert_eq!(
        (shown(&fold).len(), unplaced(&fold)),
        (0, 1),
        "b was made anew by nobody knows what"
    );
    let mut fold = reloaded(&mut fold);
    let told = fold.unread().unwrap();
    assert!(told.to_string().starts_with("table `t`: 1 record could not be read"), "{told}");
    events.upsert("b", "2", 18);
    apply(&mut fold, &mut events, 2);
    assert_eq!((shown(&fold), unplaced(&fold)), (vec!["b=2?".to_owned()], 0), "now there is a row");
    events.delete("b", 40).unreadable("b", Some(50)).delete("b", 60);
    apply(&mut fold, &mut events, 3);
    assert_eq!((shown(&fold).len(), unplaced(&fold)), (0, 0));
}

#[test]
fn a_message_key_alone_marks_the_row_that_its_partition_brought() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 10).of("us").upsert("a", "2", 11).unreadable("a", None);
    apply(&mut fold, &mut events, 1);
    assert_eq!(shown(&fold), ["a=1", "a=2?"], "the one that came last");
    // Of the other partition, or of a key that neither origin has, nobody knows whose it is.
    let mut other = Builder::new(1);
    other.unreadable("a", None).unreadable("new", None).unreadable("", None);
    apply(&mut fold, &mut other, 2);
    assert_eq!((shown(&fold).len(), unplaced(&fold)), (2, 3));
    events.upsert("a", "3", 12);
    apply(&mut fold, &mut events, 3);
    assert_eq!(shown(&fold), ["a=1", "a=3"]);
}

#[test]
fn a_null_value_and_a_truncate_end_what_came_before_them() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 10).unreadable("a", Some(20)).unreadable("b", Some(21)).null("a");
    apply(&mut fold, &mut events, 1);
    assert_eq!((shown(&fold).len(), unplaced(&fold)), (0, 1));
    events.null("b");
    apply(&mut fold, &mut events, 2);
    assert_eq!(unplaced(&fold), 0);
    events.upsert("c", "1", 30).upsert("d", "1", 31).unreadable("c", Some(35));
    events.unreadable("d", Some(50)).unreadable("e", Some(36)).unreadable("f", Some(51));
    events.truncate(40);
    apply(&mut fold, &mut events, 3);
    assert_eq!((shown(&fold).len(), unplaced(&fold)), (0, 2), "d and f came after it");
}

#[test]
fn a_snapshot_whose_row_cannot_be_read_does_not_lack_the_row() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.whole().at(1).upsert("a", "1", 10).upsert("b", "1", 11).upsert("c", "1", 12);
    apply(&mut fold, &mut events, 1);
    events.at(2).unreadable("d", Some(13)).unreadable("b", Some(14));
    events.snapshot("a", "1", 100, SnapshotMarker::First).unreadable("c", Some(100));
    events.snapshot("z", "1", 100, SnapshotMarker::Last);
    apply(&mut fold, &mut events, 2);
    assert_eq!(unplaced(&fold), 1);
    fold.fire(stamp(2 * MINUTE).clock, &mut fold.no_changes());
    assert_eq!(shown(&fold), ["a=1", "c=1?", "z=1"], "b is gone, whatever its change was");
    assert_eq!(unplaced(&fold), 0);
    assert_eq!(text_rows(&fold).len(), 3);
}

#[test]
fn more_than_can_be_kept_are_counted() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    let many = NAMED_MAX as u128 + 5;
    for number in 0..many {
        events.unreadable(&format!("k{number}"), Some(number)).unreadable("", Some(number));
    }
    apply(&mut fold, &mut events, 1);
    assert_eq!(u128::from(unplaced(&reloaded(&mut fold))), 2 * many);
}

#[test]
fn what_is_dropped_puts_nothing_in_doubt_any_more() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 10).upsert("b", "1", 11).unreadable("a", Some(20));
    events.unreadable("b", Some(21)).unreadable("c", Some(22)).unreadable("", Some(23));
    apply(&mut fold, &mut events, 1);
    let letter = |offset| LetterAt { topic: "s/t/0".into(), partition: 0, offset };
    let drop = |fold: &mut TableFold, letter: Option<LetterAt>, clock| {
        let mut delta = fold.no_changes();
        let ended = fold.drop_unread(letter.as_ref(), &stamp(clock), &mut delta);
        delta.consolidate();
        (ended, delta.len())
    };
    assert_eq!(drop(&mut fold, Some(letter(2)), 2), (1, 2));
    assert_eq!((shown(&fold), unplaced(&fold)), (vec!["a=1".to_owned(), "b=1?".into()], 2));
    assert_eq!(drop(&mut fold, Some(letter(2)), 3), (0, 0), "once is enough");
    assert_eq!(drop(&mut fold, Some(letter(5)), 4), (1, 0));
    let elsewhere = LetterAt { topic: "s/t/9".into(), ..letter(3) };
    assert_eq!(drop(&mut fold, Some(elsewhere), 5), (0, 0));
    assert_eq!(drop(&mut reloaded(&mut fold), None, 6), (2, 2));
    events.unreadable("b", Some(30));
    apply(&mut fold, &mut events, 7);
    assert_eq!(shown(&fold), ["a=1", "b=1?"], "what comes later is in doubt again");
}
