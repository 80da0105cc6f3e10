//! Tests of the module `silver`.

use lake::keyed::FrozenRows;
use schemas::{Contract, Micros, RowBuilder, RowRef, Saved};

use super::model::{Builder, fold, no_runs, prepared, stamp, text_rows};
use super::*;

const MINUTE: i64 = 60_000_000;

fn apply(
    fold: &mut TableFold,
    builder: &mut Builder,
    clock: i64,
) -> Vec<(Option<String>, Option<String>)> {
    let mut delta = fold.no_changes();
    fold.apply(&builder.take(), &stamp(clock), &mut delta);
    sides(&mut delta)
}

/// The third column of each changed row, before and after.
fn sides(delta: &mut Delta) -> Vec<(Option<String>, Option<String>)> {
    let note = |row: Option<RowRef<'_>>| row.and_then(|row| row.text(2)).map(str::to_owned);
    delta.consolidate();
    let of_key = |change: schemas::KeyChange<'_>| match change.sides() {
        Some((old, new)) => vec![(note(old), note(new))],
        // Rows of several origins: each by itself.
        None => change
            .rows()
            .map(|(row, weight)| match weight {
                1 => (None, note(Some(row))),
                -1 => (note(Some(row)), None),
                other => panic!("weight {other}"),
            })
            .collect(),
    };
    delta.keys().flat_map(of_key).collect()
}

fn one(old: Option<&str>, new: Option<&str>) -> (Option<String>, Option<String>) {
    (old.map(str::to_owned), new.map(str::to_owned))
}

#[test]
fn the_delta_has_each_key_once() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 10).upsert("a", "2", 20).upsert("b", "1", 21);
    let seen = apply(&mut fold, &mut events, 1);
    assert_eq!(seen, [one(None, Some("1")), one(None, Some("2"))], "b, and a as it was left");
    events
        .upsert("a", "stale", 15)
        .upsert("a", "2", 20)
        .delete("a", 30)
        .delete("zzz", 31)
        .upsert("a", "late", 25);
    assert_eq!(apply(&mut fold, &mut events, 2), [one(Some("2"), None)]);
    let Counters { applied, stale, duplicate, unknown_deletes, .. } = fold.counters();
    assert_eq!((applied, stale, duplicate, unknown_deletes), (5, 2, 1, 1));
    assert_eq!((fold.len(), fold.tombstones()), (1, 2));
    events.upsert("a", "back", 40);
    assert_eq!(apply(&mut fold, &mut events, 3), [one(None, Some("back"))]);
    assert_eq!(fold.tombstones(), 1);
}

#[test]
fn slots_are_used_again_and_drained_once() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 1).upsert("b", "1", 2).upsert("c", "1", 3);
    apply(&mut fold, &mut events, 1);
    assert_eq!(fold.take_changed_slots(), [0, 1, 2]);
    assert!(fold.take_changed_slots().is_empty());
    events.delete("b", 4).upsert("d", "1", 5).delete("a", 6);
    apply(&mut fold, &mut events, 2);
    assert_eq!(fold.take_changed_slots(), [1, 0]);
    assert_eq!(fold.freeze().silver_row(1).map(|row| row.epoch), Some(2));
    assert_eq!(fold.freeze().silver_row(0), None);
    assert_eq!(text_rows(&fold), [("c", "1"), ("d", "1")].map(|(k, v)| (k.into(), v.into())));
}

#[test]
fn what_an_event_leaves_out_comes_from_the_old_row() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "big", 1).upsert_unavailable("a", 2).upsert_unavailable("b", 3);
    apply(&mut fold, &mut events, 1);
    assert_eq!(fold.counters().applied, 3);
    let contract = prepared();
    let text = |fold: &TableFold, key: &str| {
        let row = contract.layout().row(fold.get("o", key.as_bytes()).unwrap().row);
        (row.text(2).map(str::to_owned), unknown_text(row))
    };
    let unknown = (None, Some(r#"["v"]"#.to_owned()));
    assert_eq!(text(&fold, "a"), (Some("big".into()), None));
    assert_eq!(text(&fold, "b"), unknown, "there is no old row: the value was never sent");
    events.upsert_unavailable("b", 4);
    apply(&mut fold, &mut events, 2);
    assert_eq!(text(&fold, "b"), unknown, "nor was it now");
    events.upsert("b", "sent", 5);
    assert_eq!(apply(&mut fold, &mut events, 3), [one(None, Some("sent"))]);
    assert_eq!(text(&fold, "b"), (Some("sent".into()), None));
}

#[test]
fn what_a_row_must_not_say_is_refused_by_the_contract_in_force() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    let contract = |extra: &str| {
        let text = format!(
            "name='t'\nformat='f'\nkey=['k']\ntenant='tenant'\ncolumns=[{{name='v',type='text'{extra}}},\
             {{name='k',type='text'}},{{name='tenant',type='text'}}]"
        );
        Contract::parse(&text).unwrap()
    };
    let apply = |fold: &mut TableFold, events: &mut Builder, clock| -> Vec<String> {
        let mut delta = fold.no_changes();
        let refused = fold.apply(&events.take(), &stamp(clock), &mut delta);
        refused.iter().map(|(at, reason)| format!("{at}: {reason}")).collect()
    };
    events.upsert("a", "1", 10);
    assert!(apply(&mut fold, &mut events, 1).is_empty(), "nothing is in force yet");
    fold.put_in_force(Some(&contract(",values=['1','one']")));
    events.upsert("a", "2", 20);
    assert!(apply(&mut fold, &mut events, 2).is_empty(), "it is not strict");
    fold.put_in_force(Some(&contract(",values=['1','one'],strict=true")));
    events.upsert("a", "1", 30).upsert("a", "onee", 40).upsert_unavailable("a", 50).delete("b", 60);
    let refused = apply(&mut fold, &mut events, 3);
    let says = "0: column `v`: `onee` is not one of 1, one (did you mean `one`?); correct";
    assert!(refused.len() == 1 && refused[0].starts_with(says), "{refused:?}");
    assert_eq!(text_rows(&fold), [("a".to_owned(), "1".to_owned())]);
    fold.put_in_force(None);
    events.upsert("a", "onee", 70);
    assert!(apply(&mut fold, &mut events, 4).is_empty());
}

#[test]
fn equal_keys_of_two_origins_are_two_rows() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.of("eu").upsert("a", "1", 9000).of("us").upsert("a", "2", 50).upsert("b", "3", 51);
    let seen = apply(&mut fold, &mut events, 1);
    assert_eq!(seen, [one(None, Some("1")), one(None, Some("2")), one(None, Some("3"))]);
    let frozen = fold.freeze();
    let origin = |slot| frozen.silver_row(slot).unwrap().origin.to_string();
    assert_eq!([0, 1, 2].map(origin), ["eu", "us", "us"]);
    let batch = frozen.batch(&[2, 9, 0]).unwrap();
    let rows = rows_from_batch(fold.contract(), &batch).unwrap();
    assert_eq!(rows, [2, 0].map(|slot| frozen.silver_row(slot).unwrap()));
    events.of("us").truncate(100).of("eu").delete("a", 9001);
    apply(&mut fold, &mut events, 2);
    assert!(fold.is_empty());
    events.of("us").upsert("a", "late", 60).of("eu").upsert("a", "late", 8000).upsert("c", "1", 70);
    apply(&mut fold, &mut events, 3);
    assert_eq!(text_rows(&fold), [("c".to_owned(), "1".to_owned())], "eu was not truncated");
    assert_eq!(fold.counters().stale, 2);
}

#[test]
fn an_origin_halts_alone() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.at(1000).of("eu").upsert("a", "1", 100).of("us").upsert("a", "1", 200);
    events
        .at(2000)
        .of("us")
        .upsert("a", "2", 50)
        .upsert("b", "2", 300)
        .of("eu")
        .upsert("a", "3", 101);
    apply(&mut fold, &mut events, 1);
    let halts: Vec<&str> = fold.halts().map(|halt| halt.origin.as_str()).collect();
    assert_eq!((halts, fold.counters().halted), (vec!["us"], 2));
    let expected = [("a", "1"), ("a", "3")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(text_rows(&fold), expected);
    assert!(fold.resume(9) && !fold.resume(9));
    events.of("us").upsert("a", "4", 60);
    apply(&mut fold, &mut events, 2);
    assert_eq!(text_rows(&fold)[1], ("a".to_owned(), "4".to_owned()));
}

#[test]
fn a_null_value_deletes_what_its_partition_brought_before() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 1).upsert("b", "1", 2).delete("b", 3).null("b").upsert("b", "2", 4);
    events.null("a").null("a").null("unheard of");
    let seen = apply(&mut fold, &mut events, 1);
    assert_eq!(seen, [one(None, Some("2"))]);
    assert_eq!(text_rows(&fold), [("b".to_owned(), "2".to_owned())]);
    // Of another partition, it says nothing of what this one brought.
    let mut other = Builder::new(1);
    other.null("b");
    assert_eq!(apply(&mut fold, &mut other, 2), []);
    events.null("b");
    assert_eq!(apply(&mut fold, &mut events, 3), [one(Some("2"), None)]);
    // A change that lay in the source before what was deleted stays away.
    other.upsert("b", "late", 3).upsert("b", "new", 9);
    assert_eq!(apply(&mut fold, &mut other, 4), [one(None, Some("new"))]);
}

#[test]
fn a_value_left_out_is_filled_from_an_older_change_that_comes_later() {
    let (mut fold, mut new, mut old) = (fold(), Builder::new(0), Builder::new(2));
    new.upsert_unavailable("a", 2000);
    apply(&mut fold, &mut new, 1);
    let contract = prepared();
    let text = |fold: &TableFold| {
        let row = contract.layout().row(fold.get("o", b"a").unwrap().row);
        (row.text(2).map(str::to_owned), row.has_unknown())
    };
    assert_eq!(text(&fold), (None, true));
    old.upsert("a", "first", 1000);
    assert_eq!(apply(&mut fold, &mut old, 2), [one(None, Some("first"))]);
    let mut fold = super::model::reloaded(&mut fold);
    // A change between the two is the newest that sent the value.
    old.upsert("a", "second", 1500);
    assert_eq!(apply(&mut fold, &mut old, 3), [one(Some("first"), Some("second"))]);
    old.upsert("a", "earliest", 500);
    assert_eq!(apply(&mut fold, &mut old, 4), []);
    new.upsert_unavailable("a", 3000);
    assert_eq!(apply(&mut fold, &mut new, 5), []);
    old.upsert("a", "third", 1700);
    assert_eq!(apply(&mut fold, &mut old, 6), [one(Some("second"), Some("third"))]);
    assert_eq!((text(&fold), fold.counters().filled), ((Some("third".into()), false), 3));
    let position = fold.get("o", b"a").unwrap().position;
    assert_eq!(position.place.map(|place| place.number()), Some(3000));
}

#[test]
fn a_row_that_moves_to_another_key_keeps_what_was_not_sent() {
    for delete_first in [true, false] {
        let (mut fold, mut events, mut other) = (fold(), Builder::new(0), Builder::new(1));
        events.upsert("a", "large", 1);
        apply(&mut fold, &mut events, 1);
        events.delete("a", 2).moved("b");
        other.upsert_unavailable("b", 2).moved("a");
        let both = [events.take(), other.take()];
        for at in if delete_first { [0, 1] } else { [1, 0] } {
            fold.apply(&both[at], &stamp(2), &mut fold.no_changes());
            fold = super::model::reloaded(&mut fold);
        }
        assert_eq!(text_rows(&fold), [("b".to_owned(), "large".to_owned())], "{delete_first}");
        assert!(fold.freeze().silver_row(0).is_none_or(|row| row.epoch == 2));
    }
}

#[test]
fn a_required_value_that_was_never_sent_is_refused_by_name() {
    let text = "name='t'\nformat='f'\nkey=['k']\ntenant='tenant'\ncolumns=[{name='k',type='text'},\
                {name='tenant',type='text'},{name='v',type='text',required=true},{name='n',type='decimal(10,0)'}]";
    let contract = PreparedContract::new(schemas::Contract::parse(text).unwrap()).unwrap();
    let (mut fold, mut events) = (TableFold::new(Arc::new(contract)), Builder::new(0));
    events.upsert_unavailable("a", 1).upsert("b", "1", 2).upsert_unavailable("b", 3);
    let mut delta = fold.no_changes();
    let refused = fold.apply(&events.take(), &stamp(1), &mut delta).to_vec();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == 0 && refused[0].1.contains("`v` is required"), "{refused:?}");
    assert_eq!(text_rows(&fold), [("b".to_owned(), "1".to_owned())]);
}

#[test]
fn a_snapshot_that_lacks_rows_asks_before_they_go() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    // An attempt that never ended, then one that did: what the first left is gone.
    events.snapshot("left", "s", 10, SnapshotMarker::First).snapshot(
        "1",
        "s",
        20,
        SnapshotMarker::First,
    );
    events.snapshot("2", "s", 20, SnapshotMarker::Within).snapshot(
        "3",
        "s",
        20,
        SnapshotMarker::Last,
    );
    apply(&mut fold, &mut events, 1);
    fold.fire(Micros(1 + MINUTE), &mut fold.no_changes());
    assert_eq!((fold.len(), fold.counters().swept, fold.lacking().count()), (3, 1, 0));
    events.upsert("3", "live", 30);
    events.snapshot("2", "t", 50, SnapshotMarker::First).snapshot(
        "4",
        "t",
        50,
        SnapshotMarker::Last,
    );
    apply(&mut fold, &mut events, 2 + MINUTE);
    fold.fire(Micros(2 + 2 * MINUTE), &mut fold.no_changes());
    let said = fold.lacking().next().unwrap().to_string();
    assert!(said.contains("lacks 2 rows") && said.contains("(`1`, `3`)"), "{said}");
    let mut fold = super::model::reloaded(&mut fold);
    assert_eq!((fold.len(), fold.lacking().count()), (4, 1));
    // One of them changes: it is not gone.
    events.upsert("3", "alive", 60);
    apply(&mut fold, &mut events, 3 + 2 * MINUTE);
    let mut gone = fold.no_changes();
    assert_eq!(fold.sweep_lacking(Micros(4 + 2 * MINUTE), &mut gone), 1);
    assert_eq!((sides(&mut gone), fold.lacking().count()), (vec![one(Some("s"), None)], 0));
    events.upsert("1", "late", 25);
    assert_eq!(apply(&mut fold, &mut events, 5 + 2 * MINUTE), []);
}

#[test]
fn a_source_that_goes_back_halts_until_a_snapshot() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.whole();
    events.at(1000).upsert("a", "1", 100).upsert("b", "1", 101);
    apply(&mut fold, &mut events, 1);
    events.at(900).upsert("a", "replayed", 90);
    apply(&mut fold, &mut events, 2);
    assert!(fold.halts().next().is_none(), "an earlier time is a replay");
    events.at(2000).upsert("a", "other timeline", 50).upsert("b", "later", 200).truncate(300);
    assert_eq!(apply(&mut fold, &mut events, 3), []);
    let halt = fold.halts().next().unwrap().to_string();
    assert!(halt.contains("table `t` is halted") && halt.contains("row `a`"), "{halt}");
    assert_eq!(fold.counters().halted, 3);
    events.incremental("a", "no", 51);
    assert_eq!(apply(&mut fold, &mut events, 4), []);
    let mut restored = TableFold::new(Arc::clone(fold.contract()));
    restored.load_state(&Saved::of(&fold.freeze().parts()), &no_runs).unwrap();
    assert!(restored.halts().eq(fold.halts()));
    events.snapshot("a", "new", 60, SnapshotMarker::First).snapshot(
        "c",
        "new",
        60,
        SnapshotMarker::Last,
    );
    events.upsert("a", "live", 61);
    apply(&mut fold, &mut events, 5);
    assert!(fold.halts().next().is_none());
    assert_eq!(fold.len(), 3);
    assert_eq!(fold.due(), Some(Micros(5 + MINUTE)));
    let mut gone = fold.no_changes();
    fold.fire(Micros(5 + MINUTE), &mut gone);
    assert_eq!((sides(&mut gone), fold.counters().swept), (vec![one(Some("1"), None)], 1));
    let expected = [("a", "live"), ("c", "new")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(text_rows(&fold), expected);
}

#[test]
fn a_snapshot_at_lower_positions_and_a_later_time_starts_over_by_itself() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.at(1000).upsert("a", "1", 100).upsert("b", "1", 101);
    events.at(2000).snapshot("a", "new", 60, SnapshotMarker::First).upsert("b", "live", 61);
    apply(&mut fold, &mut events, 1);
    let expected = [("a", "new"), ("b", "live")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!((text_rows(&fold).as_slice(), fold.halts().next()), (&expected[..], None));
}

#[test]
fn a_finished_snapshot_removes_what_it_lacked() {
    let (mut fold, mut left, mut right) = (fold(), Builder::new(0), Builder::new(1));
    left.whole().upsert("old", "1", 10).upsert("kept", "1", 11).upsert("newer", "1", 55);
    right.whole();
    apply(&mut fold, &mut left, 1);
    right.snapshot("x", "s", 50, SnapshotMarker::Last);
    apply(&mut fold, &mut right, 2);
    left.snapshot("kept", "s", 50, SnapshotMarker::First);
    apply(&mut fold, &mut left, MINUTE);
    assert_eq!(fold.len(), 4, "another partition was still delivering");
    let due = 2 * MINUTE;
    assert_eq!(fold.due(), Some(Micros(due)));
    let mut early = fold.no_changes();
    fold.fire(Micros(due - 1), &mut early);
    assert!(early.is_empty(), "too early");
    right.upsert("x", "live", 70).upsert("old", "late", 20);
    let seen = apply(&mut fold, &mut right, 40 * MINUTE);
    let expected = [one(Some("s"), Some("live")), one(Some("1"), None)];
    assert_eq!(seen, expected, "the timer comes first: what is late does not bring `old` back");
    let expected = [("kept", "s"), ("newer", "1"), ("x", "live")];
    assert_eq!(text_rows(&fold), expected.map(|(k, v)| (k.into(), v.into())));
}

#[test]
fn incremental_and_unfinished_snapshots_remove_nothing() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.whole().upsert("old", "1", 10).incremental("i", "s", 50);
    events.snapshot("s", "s", 50, SnapshotMarker::First).snapshot(
        "s",
        "s",
        50,
        SnapshotMarker::Within,
    );
    apply(&mut fold, &mut events, 1);
    assert_eq!(fold.due(), None);
    // The snapshot is begun anew later and finished: what the first attempt had counts no more.
    events.snapshot("n", "s", 90, SnapshotMarker::First).snapshot(
        "m",
        "s",
        90,
        SnapshotMarker::Last,
    );
    apply(&mut fold, &mut events, 2);
    fold.fire(Micros(2 + MINUTE), &mut fold.no_changes());
    let expected = [("m", "s"), ("n", "s")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(text_rows(&fold), expected);
}

#[test]
fn truncate_is_a_tombstone_for_everything_below() {
    let (mut fold, mut left, mut right) = (fold(), Builder::new(0), Builder::new(1));
    left.upsert("b", "1", 10).upsert("a", "1", 11).upsert("after", "1", 60);
    apply(&mut fold, &mut left, 1);
    right.truncate(50);
    assert_eq!(apply(&mut fold, &mut right, 2), [one(Some("1"), None), one(Some("1"), None)]);
    left.upsert("late", "1", 20).upsert("a", "late", 30).upsert("new", "1", 70);
    assert_eq!(apply(&mut fold, &mut left, 3), [one(None, Some("1"))]);
    right.truncate(50);
    assert_eq!(apply(&mut fold, &mut right, 4), []);
    assert_eq!(fold.counters().duplicate, 1);
    fold.fire(Micros(1 + TOMBSTONE_RETENTION_US), &mut fold.no_changes());
    left.upsert("later", "1", 40);
    assert_eq!(apply(&mut fold, &mut left, 5), []);
    fold.fire(Micros(2 + TOMBSTONE_RETENTION_US), &mut fold.no_changes());
    left.upsert("later", "1", 40);
    assert_eq!(apply(&mut fold, &mut left, 6), [one(None, Some("1"))], "forgotten in the end");
}

#[test]
fn tombstones_end() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 10).delete("a", 20);
    apply(&mut fold, &mut events, 5);
    events.upsert("a", "2", 30).delete("a", 40);
    apply(&mut fold, &mut events, 6);
    assert_eq!((fold.tombstones(), fold.due()), (1, None), "no row changes when one ends");
    fold.fire(Micros(5 + TOMBSTONE_RETENTION_US), &mut fold.no_changes());
    assert_eq!(fold.tombstones(), 1, "deleted again later");
    fold.fire(Micros(6 + TOMBSTONE_RETENTION_US), &mut fold.no_changes());
    assert_eq!(fold.tombstones(), 0);
}

#[test]
fn damaged_state_is_refused() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 10).delete("a", 20).delete("b", 21).truncate(5);
    apply(&mut fold, &mut events, 5);
    let saved = Saved::of(&fold.freeze().parts());
    for (part, slot) in [("silver/t", 0), ("silver/t/tombstones", 0), ("silver/t/tombstones", 1)] {
        let record = saved.part(part).unwrap().get(slot).unwrap();
        for cut in 0..record.len() {
            let mut damaged = saved.clone();
            damaged.part_mut(part).put(slot, Some(&record[..cut]));
            assert!(fold.load_state(&damaged, &no_runs).is_err(), "{part}, cut at {cut}");
        }
    }
    fold.load_state(&saved, &no_runs).unwrap();
    assert_eq!(Saved::of(&fold.freeze().parts()), saved);
}

#[test]
fn a_row_read_back_twice_is_refused() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    events.upsert("a", "1", 10);
    apply(&mut fold, &mut events, 5);
    let row = fold.freeze().silver_row(0).unwrap();
    assert!(fold.load(row).unwrap_err().to_string().contains("row `a` twice"));
}

#[test]
fn rows_survive_arrow() {
    let orders = schemas::contract::built_in()[1].1;
    let contract = PreparedContract::new(schemas::Contract::parse(orders).unwrap()).unwrap();
    let mut builder = RowBuilder::default();
    builder.reset(contract.columns().len());
    let mut empty = Vec::new();
    builder.finish(contract.layout(), &mut empty);
    builder.set_text(0, "42");
    builder.set_text(3, "");
    builder.set_decimal(4, -(10_i128.pow(18) - 1));
    builder.set_timestamp(8, Micros(-62_135_596_800_000_000));
    let mut full = Vec::new();
    builder.finish(contract.layout(), &mut full);
    let position =
        Position::parse("3/340282366920938463463374607431768211455/s/-5/1/2147483647/9").unwrap();
    builder.set_unknown(6);
    let mut unknown = Vec::new();
    builder.finish(contract.layout(), &mut unknown);
    let origin = "shop.db.public.orders";
    let rows = [full, empty, unknown].map(|row| SilverRow {
        row: row.into(),
        position,
        carried: Arc::default(),
        epoch: 7,
        origin: origin.into(),
    });
    let batch = row_batch(&contract, &rows).unwrap();
    assert_eq!(batch.schema(), silver_schema(contract.contract()));
    assert_eq!(rows_from_batch(&contract, &batch).unwrap(), rows);
    let without = batch.project(&[0, 1, 2]).unwrap();
    let refused = rows_from_batch(&contract, &without).unwrap_err().to_string();
    assert!(refused.contains("column `status` is missing"), "{refused}");
}

#[test]
fn a_gap_is_said_until_a_snapshot_that_began_after_it_is_complete() {
    let (mut fold, mut events) = (fold(), Builder::new(0));
    let read = |fold: &mut TableFold, events: &mut Builder, offsets, clock| {
        let mut batch = events.take();
        batch.cover(Some(offsets));
        fold.apply(&batch, &stamp(clock), &mut fold.no_changes());
        fold.gaps().map(ToString::to_string).collect::<Vec<_>>()
    };
    events.upsert("a", "1", 10).of("us").upsert("a", "1", 10);
    assert!(read(&mut fold, &mut events, (7, 9), 1).is_empty(), "nobody knows what was before");
    events.of("o").snapshot("a", "1", 20, SnapshotMarker::First);
    assert!(read(&mut fold, &mut events, (9, 10), 2).is_empty());
    events.snapshot("b", "1", 20, SnapshotMarker::Last);
    let said = read(&mut fold, &mut events, (15, 16), 3);
    assert_eq!(said.len(), 2, "whose they were is not known: {said:?}");
    assert!(said[0].contains("records 10 to 15 (exclusive) of s/t/0 partition 0"), "{said:?}");
    let mut fold = super::model::reloaded(&mut fold);
    fold.fire(Micros(3 * MINUTE), &mut fold.no_changes());
    assert_eq!(fold.gaps().count(), 2, "the snapshot had begun before it");
    events.snapshot("a", "1", 30, SnapshotMarker::First);
    events.snapshot("b", "1", 30, SnapshotMarker::Last);
    assert_eq!(read(&mut fold, &mut events, (16, 18), 4 * MINUTE).len(), 2);
    fold.fire(Micros(6 * MINUTE), &mut fold.no_changes());
    let left: Vec<_> = fold.gaps().map(|gap| gap.origin.as_str()).collect();
    assert_eq!(left, ["us"]);
}
