//! Live rows against a map from key to row, with slots used again and pages held frozen.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::{Column, ColumnType, Place, RowBuilder, RowSchema};

use super::*;

/// Rows with a key of one text, or of a text and a number.
fn rows(typed: bool) -> LiveRows {
    let column = |name: &str, kind| Column { name: name.into(), kind, required: false };
    let columns = vec![
        column("k", ColumnType::Text),
        column("n", ColumnType::Bigint),
        column("v", ColumnType::Text),
    ];
    let layout = Arc::new(RowLayout::new(&RowSchema::new(columns)));
    LiveRows::new(layout, RowKey::new(if typed { vec![0, 1] } else { vec![0] }))
}

fn row(rows: &LiveRows, key: u16, length: usize) -> (Vec<u8>, Vec<u8>) {
    let mut builder = RowBuilder::default();
    builder.reset(3);
    builder.set_text(0, &format!("key-{key}"));
    builder.set_bigint(1, i64::from(key) - 3);
    builder.set_text(2, &"x".repeat(length));
    let (mut bytes, mut own) = (Vec::new(), Vec::new());
    builder.finish(&rows.layout, &mut bytes);
    rows.key.write(rows.layout.row(&bytes), &mut own);
    (own, bytes)
}

fn provenance(number: u64) -> Provenance<'static> {
    let position = Position {
        place: Some(Place::Log { log: 0, at: u128::from(number) * 1_000_003 }),
        snapshot: number.is_multiple_of(3),
        source_ms: 1_795_252_754_102,
        partition: 1,
        offset: i64::try_from(number).unwrap(),
        ..Position::NOWHERE
    };
    Provenance { position, epoch: number, origin: 0, carried: &[] }
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

fn read(rows: impl Iterator<Item = Option<(Vec<u8>, Vec<u8>, u64)>>) -> Model {
    rows.map(|row| row.unwrap()).map(|(key, row, epoch)| (key, (row, epoch))).collect()
}

fn model(live: &LiveRows) -> Model {
    read(live.iter().map(|(slot, row)| {
        let mut key = Vec::new();
        live.key_of(slot, &mut key);
        assert_eq!(live.find(&key, 0), Some(slot));
        assert_eq!(row.position, provenance(row.epoch).position);
        Some((key, row.row.to_vec(), row.epoch))
    }))
}

fn frozen_model(live: &LiveRows, frozen: &FrozenPages) -> Model {
    read(frozen.slots().map(|slot| {
        assert!(frozen.has(slot));
        let row = frozen.get(slot)?;
        let mut key = Vec::new();
        live.key.write(live.layout.row(row.row), &mut key);
        Some((key, row.row.to_vec(), row.epoch))
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn rows_are_those_of_a_map_and_frozen_ones_stay(
        steps in proptest::collection::vec((0..200_u16, 0..4_u8, 0..90_usize), 0..600),
        typed: bool,
        every in 1..200_usize,
    ) {
        let mut live = rows(typed);
        let mut model_of: Model = BTreeMap::new();
        let mut held: Option<(FrozenPages, Model)> = None;
        for (number, (key, what, length)) in steps.into_iter().enumerate() {
            // One row in ninety is large and lies apart.
            let length = if length == 89 { LARGE + usize::from(key) } else { length };
            let epoch = number as u64;
            let (key, row) = row(&live, key, length);
            match (live.find(&key, 0), what) {
                (Some(slot), 0) => {
                    live.remove(slot, &key);
                    model_of.remove(&key);
                }
                (Some(slot), _) => {
                    live.update(slot, &row, &provenance(epoch));
                    model_of.insert(key, (row, epoch));
                }
                (None, 0) => {}
                (None, _) => {
                    live.insert(&key, &row, &provenance(epoch)).unwrap();
                    model_of.insert(key, (row, epoch));
                }
            }
            if number.is_multiple_of(every) {
                if let Some((frozen, was)) = held.take() {
                    prop_assert_eq!(frozen_model(&live, &frozen), was);
                }
                held = Some((live.freeze(), model_of.clone()));
            }
        }
        prop_assert_eq!(live.len(), model_of.len());
        prop_assert_eq!(model(&live), model_of);
        if let Some((frozen, was)) = held {
            prop_assert_eq!(frozen_model(&live, &frozen), was);
        }
        for page in live.pages.iter() {
            let used: usize = (0..PAGE).filter_map(|at| page.record(at)).map(|held| held.len()).sum();
            prop_assert_eq!(used + page.dead, page.bytes.len());
        }
    }
}

#[test]
fn pages_stay_small_however_often_rows_change() {
    let mut live = rows(false);
    for number in 0..100_000_u64 {
        let length = usize::try_from(number * 7_919 % 61).unwrap();
        let (key, row) = row(&live, u16::try_from(number % 64).unwrap(), length);
        match live.find(&key, 0) {
            Some(slot) => live.update(slot, &row, &provenance(number)),
            None => {
                live.insert(&key, &row, &provenance(number));
            }
        }
    }
    let page = live.pages.get(0).unwrap();
    let used: usize = (0..PAGE).filter_map(|at| page.record(at)).map(|held| held.len()).sum();
    assert_eq!(live.pages.len(), 1);
    assert!(page.bytes.capacity() < used * 2, "{} for {used}", page.bytes.capacity());
}
