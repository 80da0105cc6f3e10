//! Tests of the module `delta`, most of them against a map from row to weight.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::column::{Column, ColumnType, RowSchema};
use crate::row::RowBuilder;

fn layout() -> Arc<RowLayout> {
    let column = |name: &str, kind| Column { name: name.into(), kind, required: false };
    let columns = vec![column("k", ColumnType::Text), column("n", ColumnType::Bigint)];
    Arc::new(RowLayout::new(&RowSchema::new(columns)))
}

fn empty() -> Delta {
    Delta::new(layout(), RowKey::new(vec![0]))
}

/// A change: key, value, weight.
type Step = (String, i64, i64);

fn bytes(key: &str, number: i64) -> Vec<u8> {
    let mut builder = RowBuilder::default();
    builder.reset(2);
    builder.set_text(0, key);
    builder.set_bigint(1, number);
    let mut bytes = Vec::new();
    builder.finish(&layout(), &mut bytes);
    bytes
}

fn add(delta: &mut Delta, (key, number, weight): &Step) {
    delta.add(layout().row(&bytes(key, *number)), *weight);
}

fn delta(steps: &[Step]) -> Delta {
    let mut delta = empty();
    steps.iter().for_each(|step| add(&mut delta, step));
    delta.consolidate();
    delta
}

fn read(delta: &Delta) -> Vec<(String, i64, i64)> {
    let row = |(row, weight): (RowRef<'_>, i64)| {
        (row.text(0).unwrap().to_owned(), row.bigint(1).unwrap(), weight)
    };
    delta.iter().map(row).collect()
}

/// Keys that share long and short beginnings, and the empty one.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![
        "[ab]{0,2}",
        "longer-than-a-prefix-[ab]",
        Just("nul\0".to_owned()),
        Just("nul".to_owned()),
    ];
    proptest::collection::vec((key, 0..3_i64, -2..3_i64), 0..40)
}

fn by_map(steps: &[Step]) -> BTreeMap<(String, i64), i64> {
    let mut sums = BTreeMap::new();
    for (key, number, weight) in steps {
        *sums.entry((key.clone(), *number)).or_default() += weight;
    }
    sums.retain(|_, weight| *weight != 0);
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn weights_add_up_and_stand_in_key_order(steps in steps()) {
        let delta = delta(&steps);
        let rows = read(&delta);
        let sums: BTreeMap<_, _> =
            rows.iter().map(|(key, number, weight)| ((key.clone(), *number), *weight)).collect();
        prop_assert_eq!(sums.len(), rows.len(), "a row is there twice");
        prop_assert_eq!(sums, by_map(&steps));
        let keys: Vec<_> = rows.iter().map(|(key, ..)| key.as_bytes().to_vec()).collect();
        prop_assert!(keys.is_sorted());
        let by_key: Vec<_> = delta.keys().map(|change| change.key().to_vec()).collect();
        let mut once = keys;
        once.dedup();
        prop_assert_eq!(by_key, once);
        let again: usize = delta.keys().map(|change| change.rows().count()).sum();
        prop_assert_eq!(again, delta.len());
    }

    #[test]
    fn quiet_rows_and_others_add_up_apart(steps in steps(), bits in any::<[bool; 40]>()) {
        let mut mixed = empty();
        for (step, bit) in steps.iter().zip(bits) {
            mixed.set_quiet(bit);
            add(&mut mixed, step);
        }
        mixed.consolidate();
        for bit in [false, true] {
            let own = steps.iter().zip(bits).filter(|(_, own)| *own == bit);
            let own = delta(&own.map(|(step, _)| step.clone()).collect::<Vec<_>>());
            let changes = mixed.keys().filter(|change| change.is_quiet() == bit);
            let found = changes.map(|change| (change.key().to_vec(), change.rows().count()));
            let expected = own.keys().map(|change| (change.key().to_vec(), change.rows().count()));
            prop_assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            let changes = mixed.keys().filter(|change| change.is_quiet() == bit);
            let rows = changes.flat_map(|change| {
                change.rows().map(|(row, weight)| (row.bytes().to_vec(), weight)).collect::<Vec<_>>()
            });
            let expected = own.iter().map(|(row, weight)| (row.bytes().to_vec(), weight));
            prop_assert_eq!(rows.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_of_adding_makes_no_difference(steps in steps(), cut in 0..40_usize) {
        let mut turned = steps.clone();
        turned.reverse();
        prop_assert!(delta(&steps) == delta(&turned));
        let (left, right) = steps.split_at(cut.min(steps.len()));
        let mut sum = delta(left);
        sum.extend(&delta(right));
        sum.consolidate();
        prop_assert!(sum == delta(&steps));
    }

    #[test]
    fn first_changes_are_as_good_as_all_others(
        steps in proptest::collection::vec(("[ab]{1,2}|longer-than-a-prefix-[ab]", 0..4_i64), 0..40),
    ) {
        // What a table does: one row a key, 3 is no row; each key's first change is named as such.
        let (mut some_first, mut all) = (empty(), empty());
        let mut rows: BTreeMap<String, i64> = [("a", 1), ("b", 2)].map(|(k, n)| (k.into(), n)).into();
        let mut before = rows.clone();
        let mut seen = BTreeSet::new();
        for (key, number) in &steps {
            let (old, new) = (rows.remove(key), (*number < 3).then_some(*number));
            rows.extend(new.map(|new| (key.clone(), new)));
            if old == new {
                continue;
            }
            let bytes = |number: Option<i64>| number.map(|number| bytes(key, number));
            let (old, new) = (bytes(old), bytes(new));
            let layout = layout();
            let (old, new) = (old.as_deref(), new.as_deref());
            let (old, new) = (old.map(|row| layout.row(row)), new.map(|row| layout.row(row)));
            if seen.insert(key.clone()) && new.is_some() {
                some_first.first_change(old, new);
            } else {
                some_first.change(old, new);
            }
            all.change(old, new);
        }
        some_first.consolidate();
        all.consolidate();
        let mut keys = BTreeSet::new();
        for change in some_first.keys() {
            prop_assert!(keys.insert(change.key().to_vec()), "a key is there twice");
            let (old, new) = change.sides().unwrap();
            let key = String::from_utf8(change.key().to_vec()).unwrap();
            prop_assert_eq!(before.remove(&key), old.and_then(|row| row.bigint(1)));
            before.extend(new.and_then(|row| row.bigint(1)).map(|number| (key, number)));
        }
        prop_assert_eq!(before, rows);
        let sorted = |delta: &Delta| {
            let mut rows = read(delta);
            rows.sort();
            rows
        };
        prop_assert_eq!(sorted(&some_first), sorted(&all));
    }

    #[test]
    fn rows_without_a_key_add_up_too(steps in steps(), bits in any::<[bool; 40]>(), cut in 0..40_usize) {
        let fresh = || Delta::new(layout(), RowKey::default());
        let all = || steps.iter().zip(bits);
        let (mut mixed, mut turned) = (fresh(), fresh());
        let put = |delta: &mut Delta, (step, bit): (&Step, bool)| {
            delta.set_quiet(bit);
            add(delta, step);
        };
        all().for_each(|own| put(&mut mixed, own));
        let mut parts = all().collect::<Vec<_>>();
        parts.rotate_left(cut.min(steps.len()));
        parts.into_iter().rev().for_each(|own| put(&mut turned, own));
        mixed.consolidate();
        turned.consolidate();
        prop_assert!(mixed == turned, "the order of adding makes a difference");
        let (mut last, mut rows) = (None, 0);
        for change in mixed.keys() {
            prop_assert!(change.key().is_empty() && last < Some(change.is_quiet()));
            last = Some(change.is_quiet());
            let own = all().filter(|(_, bit)| *bit == change.is_quiet());
            let expected = by_map(&own.map(|(step, _)| step.clone()).collect::<Vec<_>>());
            let found = change.rows().map(|(row, weight)| {
                ((row.text(0).unwrap().to_owned(), row.bigint(1).unwrap()), weight)
            });
            let found: Vec<_> = found.collect();
            rows += found.len();
            prop_assert_eq!(found.len(), expected.len(), "a row is there twice");
            prop_assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
        }
        prop_assert_eq!(rows, mixed.len());
    }

    #[test]
    fn a_delta_and_its_opposite_are_nothing(steps in steps()) {
        let forth = delta(&steps);
        let mut back = forth.clone();
        back.negate();
        back.extend(&forth);
        back.consolidate();
        prop_assert!(back.is_empty() && back == empty());
    }
}

#[test]
fn sides_are_the_row_before_and_after() {
    let step = |key: &str, number, weight| (key.to_owned(), number, weight);
    let changes = [step("b", 1, 1), step("a", 1, -1), step("a", 2, 1), step("c", 5, -1)];
    let delta = delta(&changes);
    let number = |row: Option<RowRef<'_>>| row.and_then(|row| row.bigint(1));
    let sides: Vec<_> = delta.keys().map(|change| change.sides().unwrap()).collect();
    let sides: Vec<_> = sides.into_iter().map(|(old, new)| (number(old), number(new))).collect();
    assert_eq!(sides, [(Some(1), Some(2)), (None, Some(1)), (Some(5), None)]);
    let doubled = self::delta(&[step("a", 1, 2)]);
    assert!(doubled.keys().all(|change| change.sides().is_none()));
    let two = self::delta(&[step("a", 1, 1), step("a", 2, 1)]);
    assert!(two.keys().all(|change| change.sides().is_none()));
}

#[test]
fn what_was_cleared_is_new() {
    let mut delta = delta(&[("a".to_owned(), 1, 1)]);
    delta.clear();
    assert!(delta == empty());
    add(&mut delta, &("a".to_owned(), 1, -1));
    delta.consolidate();
    assert_eq!(read(&delta), [("a".to_owned(), 1, -1)]);
}
