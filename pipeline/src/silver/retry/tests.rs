//! Dead letters that are read again, against a model that keeps every change and sorts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::model::{Builder, fold, reloaded, stamp, text_rows};
use super::*;
use crate::decode::SnapshotMarker;

const DAY: i64 = 86_400_000_000;

/// One record of a source.
#[derive(Debug, Clone, Copy)]
struct Event {
    key: u8,
    /// `None` deletes.
    value: Option<u32>,
    partition: i32,
    offset: i64,
    /// Its place in the source's log, if there is one.
    place: Option<u32>,
    epoch: i64,
}

impl Event {
    /// The change of it, or that it cannot be read.
    fn changes(&self, is_good: bool) -> ChangeBatch {
        let mut builder = Builder::new(self.partition);
        builder.next = self.offset;
        let place = self.place.map(u128::from);
        builder.place(place).at(self.place.map_or(0, i64::from));
        let (key, at) = (format!("key-{}", self.key), place.unwrap_or(0));
        match self.value {
            _ if !is_good => builder.unreadable(&key, Some(at)),
            Some(value) => builder.upsert(&key, &value.to_string(), at),
            None => builder.delete(&key, at),
        };
        builder.take()
    }

    /// What the later change of a row has more of.
    fn order(&self) -> (u32, i64) {
        (self.place.unwrap_or(0), self.offset)
    }
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Come {
        key: u8,
        is_delete: bool,
        is_good: bool,
        lane: i32,
        place: u32,
    },
    /// Some of the letters are read again, those of a bit that is set.
    Retry(u32),
    DropAll,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let come =
        (0..4_u8, prop::bool::weighted(0.2), prop::bool::weighted(0.6), 0..2_i32, any::<u32>());
    prop_oneof![
        12 => come.prop_map(|(key, is_delete, is_good, lane, place)| Step::Come {
            key, is_delete, is_good, lane, place,
        }),
        4 => any::<u32>().prop_map(Step::Retry),
        1 => Just(Step::DropAll),
        1 => Just(Step::Restart),
    ]
}

/// The model: all that is known, and all that is not.
#[derive(Debug, Default)]
struct Model {
    known: Vec<Event>,
    letters: Vec<Event>,
}

impl Model {
    fn newest(events: &[Event], key: u8) -> Option<Event> {
        events.iter().filter(|event| event.key == key).copied().max_by_key(Event::order)
    }

    /// Rows with their values, those in doubt with a mark; and how many keys without a row are in doubt.
    fn expected(&self) -> (Vec<(String, String)>, u64) {
        let (mut rows, mut unplaced) = (Vec::new(), 0);
        for key in 0..4 {
            let known = Model::newest(&self.known, key);
            let letter = Model::newest(&self.letters, key);
            let is_doubted = letter
                .is_some_and(|letter| known.is_none_or(|known| letter.order() > known.order()));
            match known.and_then(|known| known.value) {
                Some(value) => {
                    let mark = if is_doubted { "?" } else { "" };
                    rows.push((format!("key-{key}"), format!("{value}{mark}")));
                }
                None => unplaced += u64::from(is_doubted),
            }
        }
        (rows, unplaced)
    }
}

fn shown(fold: &TableFold) -> Vec<(String, String)> {
    let layout = fold.contract().layout();
    let one = |row: &[u8]| {
        let row = layout.row(row);
        let mark = if row.is_outdated() { "?" } else { "" };
        let text = |column| row.text(column).unwrap_or("null");
        (text(0).to_owned(), format!("{}{mark}", text(2)))
    };
    let mut rows: Vec<_> = fold.rows().map(|(_, row)| one(row.row)).collect();
    rows.sort();
    rows
}

fn retry(fold: &mut TableFold, events: &[Event], clock: i64) -> Vec<Option<String>> {
    let changes: Vec<ChangeBatch> = events.iter().map(|event| event.changes(true)).collect();
    let again = |(event, changes): (&Event, _)| Again {
        changes,
        epoch: u64::try_from(event.epoch).unwrap(),
        clock: Micros(event.epoch),
    };
    let letters: Vec<Again<'_>> = events.iter().zip(&changes).map(again).collect();
    let mut delta = fold.no_changes();
    fold.retry(&letters, &stamp(clock), &mut delta)
}

/// The sum of the deltas is the rows.
fn check(steps: &[Step], has_places: bool) -> Result<(), TestCaseError> {
    let (mut fold, mut model) = (fold(), Model::default());
    let (mut offsets, mut clock) = ([0_i64; 2], 0_i64);
    let mut views: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut taken = std::collections::BTreeSet::new();
    for (number, step) in (1_u32..).zip(steps) {
        clock += 1;
        let mut delta = fold.no_changes();
        match *step {
            Step::Come { key, is_delete, is_good, lane, place } => {
                // Without places the order of one partition is all there is.
                let partition = if has_places { lane } else { i32::from(key % 2) };
                let place = has_places.then_some(place).filter(|place| taken.insert(*place));
                if has_places && place.is_none() {
                    continue;
                }
                let offset = &mut offsets[usize::try_from(partition).unwrap()];
                *offset += 1;
                let value = (!is_delete).then_some(number);
                let event = Event { key, value, partition, offset: *offset, place, epoch: clock };
                fold.apply(&event.changes(is_good), &stamp(clock), &mut delta);
                if is_good { model.known.push(event) } else { model.letters.push(event) }
            }
            Step::Retry(bits) => {
                let is_meant = |at: usize| bits >> (at % 32) & 1 == 1;
                let mut at = 0;
                let mut meant: Vec<Event> = Vec::new();
                model.letters.retain(|event| {
                    at += 1;
                    if is_meant(at) {
                        meant.push(*event);
                    }
                    !is_meant(at)
                });
                let changes: Vec<ChangeBatch> =
                    meant.iter().map(|event| event.changes(true)).collect();
                let again = |(event, changes): (&Event, _)| Again {
                    changes,
                    epoch: u64::try_from(event.epoch).unwrap(),
                    clock: Micros(event.epoch),
                };
                let letters: Vec<Again<'_>> = meant.iter().zip(&changes).map(again).collect();
                let reasons = fold.retry(&letters, &stamp(clock), &mut delta);
                prop_assert!(reasons.iter().all(Option::is_none), "{reasons:?}");
                model.known.extend(meant);
            }
            Step::DropAll => {
                fold.drop_unread(None, &stamp(clock), &mut delta);
                model.letters.clear();
            }
            Step::Restart => fold = reloaded(&mut fold),
        }
        for (row, weight) in delta.iter() {
            *views.entry(row.bytes().to_vec()).or_default() += weight;
        }
        prop_assert_eq!(
            (shown(&fold), fold.unplaced_count()),
            model.expected(),
            "after {:?}",
            step
        );
    }
    views.retain(|_, weight| *weight != 0);
    let rows: BTreeMap<Vec<u8>, i64> = fold.rows().map(|(_, row)| (row.row.to_vec(), 1)).collect();
    prop_assert_eq!(views, rows);
    prop_assert!(fold.halts().next().is_none());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn letters_read_again_give_the_rows_of_the_model(
        steps in proptest::collection::vec(step(), 1..60),
        has_places: bool,
    ) {
        check(&steps, has_places)?;
    }
}

fn letter(key: u8, value: u32, offset: i64, place: u32) -> Event {
    let (partition, place) = (0, Some(place));
    Event { key, value: Some(value), partition, offset, place, epoch: 1 }
}

fn apply(fold: &mut TableFold, changes: &ChangeBatch, clock: i64) {
    fold.apply(changes, &stamp(clock), &mut fold.no_changes());
}

#[test]
fn what_cannot_be_read_yet_changes_nothing() {
    let mut fold = fold();
    let mut events = Builder::new(0);
    events.upsert("key-1", "1", 10);
    apply(&mut fold, &events.take(), 1);
    let own = letter(1, 2, 5, 20);
    apply(&mut fold, &own.changes(false), 2);
    let mut delta = fold.no_changes();
    let still = own.changes(false);
    let again = Again { changes: &still, epoch: 2, clock: Micros(2) };
    let reasons = fold.retry(&[again], &stamp(3), &mut delta);
    assert_eq!((reasons, delta.is_empty()), (vec![Some("key-1 is wrong".to_owned())], true));
    assert_eq!((fold.in_doubt(), shown(&fold)[0].1.as_str()), (1, "1?"));
    assert_eq!(retry(&mut fold, &[own], 4), [None]);
    assert_eq!((fold.in_doubt(), shown(&fold)[0].1.as_str()), (0, "2"));
    // Once more: the same change at the same place.
    assert_eq!(retry(&mut fold, &[own], 5), [None]);
    assert_eq!(text_rows(&fold).len(), 1);
}

#[test]
fn what_came_before_the_source_began_anew_is_of_before() {
    let mut fold = fold();
    let mut events = Builder::new(0);
    events.at(1_000).upsert("key-1", "1", 100);
    apply(&mut fold, &events.take(), 1);
    let superseded = letter(1, 7, 8, 900);
    let marking = letter(1, 8, 9, 910);
    apply(&mut fold, &superseded.changes(false), 1);
    apply(&mut fold, &marking.changes(false), 1);
    // The source is restored from a backup: a snapshot starts over at lower places.
    events.next = 20;
    events.at(9_000).snapshot("key-1", "2", 50, SnapshotMarker::Last);
    apply(&mut fold, &events.take(), 2);
    assert_eq!(shown(&fold)[0].1, "2");
    assert_eq!(retry(&mut fold, &[superseded, marking], 3), [None, None]);
    assert_eq!(shown(&fold)[0].1, "2", "higher places, of an earlier life");
    // While an origin stands still, nothing of it is read; and what came before it was resumed is of before.
    events.at(20_000).upsert("key-1", "3", 40);
    apply(&mut fold, &events.take(), 4);
    assert_eq!(fold.halts().count(), 1);
    assert!(retry(&mut fold, &[superseded], 5)[0].as_deref().unwrap().contains("tables resume"));
    assert!(fold.resume(6));
    events.at(21_000).upsert("key-1", "4", 41);
    apply(&mut fold, &events.take(), 6);
    assert_eq!(retry(&mut fold, &[superseded], 7), [None]);
    assert_eq!(shown(&fold)[0].1, "4");
}

#[test]
fn what_may_have_been_deleted_long_ago_does_not_come_back() {
    let old = letter(1, 5, 0, 10);
    let run = |with_delete: bool| {
        let (mut fold, mut events) = (fold(), Builder::new(0));
        apply(&mut fold, &old.changes(false), 1);
        events.next = 1;
        events.upsert("key-2", "1", 20);
        if with_delete {
            events.delete("key-1", 30);
        }
        apply(&mut fold, &events.take(), 2);
        let mut fold = reloaded(&mut fold);
        fold.fire(Micros(8 * DAY), &mut fold.no_changes());
        (retry(&mut fold, &[old], 8 * DAY), shown(&fold))
    };
    let (reasons, rows) = run(true);
    assert!(reasons[0].as_deref().unwrap().contains("whether that was deleted"), "{reasons:?}");
    assert_eq!(rows.len(), 1);
    let (reasons, rows) = run(false);
    assert_eq!((reasons, rows.len()), (vec![None], 2), "nothing newer is known of it");
}

#[test]
fn what_was_only_counted_is_counted_no_more() {
    let mut fold = fold();
    let many = u32::try_from(super::super::NAMED_MAX).unwrap() + 100;
    // Other keys than the four of the model.
    let own = |number: u32| {
        let mut builder = Builder::new(0);
        builder.next = i64::from(number);
        builder
    };
    for number in 0..many {
        let mut builder = own(number);
        builder.unreadable(&format!("n{number}"), Some(u128::from(number)));
        apply(&mut fold, &builder.take(), 1);
    }
    assert_eq!(fold.unplaced_count(), u64::from(many));
    let changes = (0..many).map(|number| {
        let mut builder = own(number);
        builder.upsert(&format!("n{number}"), "1", u128::from(number));
        builder.take()
    });
    let changes: Vec<ChangeBatch> = changes.collect();
    let again = changes.iter().map(|changes| Again { changes, epoch: 1, clock: Micros(1) });
    let again: Vec<Again<'_>> = again.collect();
    let reasons = fold.retry(&again, &stamp(2), &mut fold.no_changes());
    assert!(reasons.iter().all(Option::is_none));
    assert_eq!((fold.unplaced_count(), fold.len()), (0, many as usize));
}
