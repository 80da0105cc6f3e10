//! Tests of the module `absent`.

use schemas::Saved;

use super::super::model::{Builder, fold, reloaded, stamp};
use super::super::{infinite_in, never_sent_in};
use super::*;

fn apply(fold: &mut TableFold, events: &mut Builder, clock: i64) {
    fold.apply(&events.take(), &stamp(clock), &mut fold.no_changes());
}

/// The value of each row; `?` where it is unknown.
fn shown(fold: &TableFold) -> Vec<String> {
    let layout = fold.contract().layout();
    let mut rows: Vec<String> = Vec::new();
    for (_, row) in fold.rows() {
        let row = layout.row(row.row);
        let value = if row.is_unknown(2) { "?" } else { row.text(2).unwrap_or("null") };
        rows.push(format!("{}={value}", row.text(0).unwrap_or("null")));
    }
    rows.sort();
    rows
}

#[test]
fn a_column_that_was_sent_before_is_unknown_and_one_that_never_was_is_null() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert_absent("a", 10).upsert("b", "1", 11).upsert_absent("b", 12);
    events.of("us").upsert_absent("c", 13);
    apply(&mut fold, &mut events, 1);
    assert_eq!(shown(&fold), ["a=null", "b=?", "c=null"], "an origin says nothing of another");
    assert_eq!(fold.in_doubt(), 1);
    let saved = Saved::of(&fold.freeze().parts());
    let never = never_sent_in(&saved, "t", 4).unwrap();
    assert_eq!(never, [("o".to_owned(), vec![]), ("us".to_owned(), vec![2])]);
    let mut fold = reloaded(&mut fold);
    events.of("o").upsert_absent("a", 14);
    apply(&mut fold, &mut events, 2);
    assert_eq!(shown(&fold), ["a=?", "b=?", "c=null"]);
    events.upsert("a", "2", 15).upsert("b", "3", 16);
    apply(&mut fold, &mut events, 3);
    assert_eq!(
        (shown(&fold), fold.in_doubt()),
        (["a=2", "b=3", "c=null"].map(str::to_owned).into(), 0)
    );
}

#[test]
fn infinities_are_counted_by_origin_and_column_and_that_is_saved() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert_infinite("a", 10).upsert("a", "1", 11).upsert_infinite("b", 12);
    events.of("us").upsert_infinite("c", 13);
    apply(&mut fold, &mut events, 1);
    let fold = &mut reloaded(&mut fold);
    assert_eq!(fold.infinite(), [(2, 3)].into());
    let saved = infinite_in(&Saved::of(&fold.freeze().parts()), "t").unwrap();
    assert_eq!(saved, [("o".to_owned(), [(2, 2)].into()), ("us".to_owned(), [(2, 1)].into())]);
}

#[test]
fn no_older_change_fills_it_in_and_what_left_it_out_behind_it_has_it_so() {
    let (mut fold, mut events, mut late) = (fold(), Builder::new(0), Builder::new(1));
    events.upsert("a", "1", 10).upsert_absent("a", 30);
    apply(&mut fold, &mut events, 1);
    late.upsert("a", "2", 20);
    apply(&mut fold, &mut late, 2);
    assert_eq!(shown(&fold), ["a=?"], "the value of before the column went");
    let mut fold = reloaded(&mut fold);
    events.upsert_unavailable("a", 40);
    apply(&mut fold, &mut events, 3);
    assert_eq!(shown(&fold), ["a=?"], "unchanged since it is unknown");
    late.upsert("a", "3", 25);
    apply(&mut fold, &mut late, 4);
    assert_eq!(shown(&fold), ["a=?"]);
    late.upsert("a", "4", 35);
    apply(&mut fold, &mut late, 5);
    assert_eq!(shown(&fold), ["a=4"], "a change between the two has it");
}

#[test]
fn a_change_of_before_the_column_came_lacks_nothing() {
    let (mut fold, mut events, mut late) = (fold(), Builder::new(0), Builder::new(1));
    events.upsert("a", "1", 50);
    apply(&mut fold, &mut events, 1);
    late.upsert_absent("b", 20).upsert_absent("c", 60);
    apply(&mut fold, &mut late, 2);
    assert_eq!(shown(&fold), ["a=1", "b=null", "c=?"]);
}

#[test]
fn what_is_null_does_not_depend_on_which_partition_is_read_first() {
    let batches = || {
        let (mut one, mut other, mut third) = (Builder::new(0), Builder::new(1), Builder::new(2));
        one.upsert_absent("early", 5).upsert_absent("a", 20).upsert_absent("b", 60);
        other.upsert("c", "1", 50).upsert("b", "1", 40).upsert_absent("c", 70);
        third.upsert("d", "1", 10).upsert("e", "1", 30);
        [one, other, third]
    };
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (mut fold, mut partitions) = (fold(), batches());
        for (clock, partition) in (1..).zip(order) {
            apply(&mut fold, &mut partitions[partition], clock);
            fold = reloaded(&mut fold);
        }
        let rows = ["a=?", "b=?", "c=?", "d=1", "e=1", "early=null"];
        assert_eq!(shown(&fold), rows, "read in the order {order:?}");
    }
}

#[test]
fn a_column_that_the_contract_did_not_have_yet_was_neither_sent_nor_left_out() {
    let (mut fold, mut events, mut late) = (fold(), Builder::new(0), Builder::new(1));
    events.upsert_unread("a", 20).upsert_unread("b", 30);
    apply(&mut fold, &mut events, 1);
    let never = never_sent_in(&Saved::of(&fold.freeze().parts()), "t", 4).unwrap();
    assert_eq!(never, [("o".to_owned(), vec![2, 3])]);
    let mut fold = reloaded(&mut fold);
    events.upsert_absent("c", 35);
    apply(&mut fold, &mut events, 2);
    assert_eq!(shown(&fold), ["a=null", "b=null", "c=null"], "nobody has sent it before");

    let mut fold = super::super::model::fold();
    events.upsert_unread("a", 20).upsert_unread("b", 30);
    apply(&mut fold, &mut events, 1);
    events.upsert("c", "1", 40);
    late.upsert("d", "2", 10);
    apply(&mut fold, &mut events, 2);
    apply(&mut fold, &mut late, 3);
    assert_eq!(shown(&fold), ["a=null", "b=null", "c=1", "d=2"], "and nobody has lost it");
}
