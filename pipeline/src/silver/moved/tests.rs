//! Tests of the module `moved`.

use schemas::{Column, ColumnType, Contract, EventField, Place, RowBuilder, RowSchema, Saved};

use super::super::model::{no_runs, reloaded, stamp};
use super::*;
use crate::decode::{ChangeBatch, PreparedContract};
use crate::record::TopicPartition;
use crate::silver::Again;

/// A change of a row with two large columns, the first of which is required.
#[derive(Debug, Clone, Copy)]
struct Record {
    partition: i32,
    key: &'static str,
    /// `None` deletes; of a row, a value that is `None` is left out.
    row: Option<[Option<&'static str>; 2]>,
    at: u128,
    /// The other key of a change of the key.
    other: &'static str,
}

impl Record {
    const fn row(partition: i32, key: &'static str, at: u128) -> Record {
        Record { partition, key, row: Some([None, None]), at, other: "" }
    }

    const fn with(self, large: Option<&'static str>, wide: Option<&'static str>) -> Record {
        Record { row: Some([large, wide]), ..self }
    }

    const fn from(self, other: &'static str) -> Record {
        Record { other, ..self }
    }

    /// The delete of a row that goes on under another key.
    const fn leaves(partition: i32, key: &'static str, at: u128, to: &'static str) -> Record {
        Record { partition, key, row: None, at, other: to }
    }
}

fn contract() -> Arc<PreparedContract> {
    let text = "name='t'\nformat='f'\nkey=['k']\ntenant='tenant'\ncolumns=[{name='k',type='text'},\
                {name='tenant',type='text'},{name='large',type='text',required=true},{name='wide',type='text'}]";
    Arc::new(PreparedContract::new(Contract::parse(text).unwrap()).unwrap())
}

fn batch(contract: &PreparedContract, record: &Record, offset: i64) -> ChangeBatch {
    let mut batch = ChangeBatch::default();
    let (source, topic, incarnation) = ("s".into(), "t".into(), "0".into());
    let partition = record.partition;
    batch.clear(&TopicPartition { source, topic, incarnation, partition });
    let kind = if record.row.is_some() { ChangeKind::Upsert } else { ChangeKind::Delete };
    let mut change = Change::new(kind, b'u');
    change.position.place = Some(Place::Log { log: 0, at: record.at });
    change.origin = batch.origin("o");
    let (mut row, mut unavailable, mut builder) = (Vec::new(), Vec::new(), RowBuilder::default());
    if let Some(cells) = record.row {
        builder.reset(4);
        builder.set_text(0, record.key);
        builder.set_text(1, "default");
        for (column, cell) in (2..).zip(cells) {
            match cell {
                Some(text) => builder.set_text(column, text),
                None => {
                    builder.set_unknown(column);
                    unavailable.push(column);
                }
            }
        }
        builder.finish(contract.layout(), &mut row);
    }
    batch.begin_record(0, offset);
    batch.push(change, record.key.as_bytes(), &row, &unavailable);
    batch.set_other(record.other.as_bytes());
    batch
}

/// Reads records in this order, and what was refused again at the end; the rows.
fn read(records: &[Record]) -> Vec<String> {
    let contract = contract();
    let mut fold = TableFold::new(Arc::clone(&contract));
    let mut refused = Vec::new();
    for (offset, record) in (0..).zip(records) {
        let batch = batch(&contract, record, offset);
        let stamp = stamp(offset + 1);
        if !fold.apply(&batch, &stamp, &mut fold.no_changes()).is_empty() {
            refused.push((batch, stamp));
        }
        fold = reloaded(&mut fold);
    }
    let mut left = usize::MAX;
    while refused.len() < left {
        left = refused.len();
        refused.retain(|(changes, came)| {
            let again = Again { changes, epoch: came.id, clock: came.clock };
            fold.retry(&[again], &stamp(99), &mut fold.no_changes()) != [None]
        });
    }
    assert!(refused.is_empty(), "{records:?}");
    let text = |row: &[u8]| {
        let row = contract.layout().row(row);
        [0, 2, 3].map(|column| row.text(column).unwrap_or("unknown")).join(" ")
    };
    let mut rows: Vec<String> = fold.rows().map(|(_, live)| text(live.row)).collect();
    rows.sort();
    rows
}

/// Every order of these.
fn orders(records: &[Record]) -> Vec<Vec<Record>> {
    let Some((first, rest)) = records.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(rest) {
        for at in 0..=order.len() {
            let mut order = order.clone();
            order.insert(at, *first);
            all.push(order);
        }
    }
    all
}

const FIRST: Record = Record::row(0, "a", 1).with(Some("large"), Some("wide"));

#[test]
fn a_value_reaches_the_new_key_in_whatever_order_partitions_are_read() {
    let records = [FIRST, Record::leaves(1, "a", 2, "b"), Record::row(2, "b", 2).from("a")];
    for order in orders(&records) {
        assert_eq!(read(&order), ["b large wide"], "{order:?}");
    }
    let newer = Record::row(3, "a", 1).with(Some("larger"), None);
    let newer = Record { at: 2, ..newer };
    let records = [FIRST, newer, Record::leaves(1, "a", 3, "b"), Record::row(2, "b", 3).from("a")];
    for order in orders(&records) {
        assert_eq!(read(&order), ["b larger wide"], "{order:?}");
    }
}

#[test]
fn a_value_reaches_the_third_key() {
    let records = [
        FIRST,
        Record::leaves(1, "a", 2, "b"),
        Record::row(2, "b", 2).from("a"),
        Record::leaves(3, "b", 3, "c"),
        Record::row(4, "c", 3).from("b"),
    ];
    for order in orders(&records) {
        assert_eq!(read(&order), ["c large wide"], "{order:?}");
    }
}

#[test]
fn an_older_change_is_not_of_a_row_that_took_the_key_since() {
    let records = [
        Record::row(0, "x", 1).with(Some("own"), Some("own")),
        Record::leaves(0, "a", 3, "b"),
        Record::leaves(0, "x", 4, "a"),
        Record::row(0, "a", 4).from("x"),
        Record::row(1, "a", 2).with(Some("large"), Some("wide")),
        Record::row(2, "b", 3).from("a"),
    ];
    assert_eq!(read(&records), ["a own own", "b large wide"]);
}

#[test]
fn a_refused_create_leaves_what_waits_for_it() {
    let records = [
        Record::leaves(0, "a", 3, "b"),
        Record::row(1, "a", 2).with(None, Some("wide")),
        Record::row(2, "b", 3).from("a"),
        Record::row(3, "a", 1).with(Some("large"), Some("before")),
    ];
    assert_eq!(read(&records), ["b large wide"]);
}

#[test]
fn ways_are_bounded() {
    let mut moved = Moved::default();
    let at = |at| Position { place: Some(Place::Log { log: 0, at }), ..Position::NOWHERE };
    for number in 0..2 * LIMIT as u128 {
        let id = (0, number.to_string().into_bytes());
        moved.note(id, (b"to", at(number)), Vec::new(), true, Micros(5));
    }
    assert_eq!((moved.ways.len(), moved.told.len()), (LIMIT, LIMIT));
    let key = (LIMIT * 2 - 1).to_string();
    assert!(moved.way(0, key.as_bytes(), &at(0)).is_some());
    moved.purge(Micros(5 + RETENTION_US));
    assert!(moved.ways.is_empty() && moved.told.is_empty());
}

#[test]
fn a_row_on_its_way_goes_on_under_a_contract_with_more_columns() {
    let old = contract();
    let mut wide = old.contract().clone();
    let more = Column {
        name: "more".into(),
        kind: ColumnType::Decimal { precision: 4, scale: 2 },
        required: false,
    };
    wide.columns = RowSchema::new(wide.columns.iter().cloned().chain([more]).collect());
    wide.fields.push(EventField::default());
    let wide = Arc::new(PreparedContract::new(wide).unwrap());
    let mut fold = TableFold::new(Arc::clone(&old));
    let first = Record::row(0, "a", 10).with(Some("L"), Some("W"));
    let leaves = Record::leaves(0, "a", 20, "b");
    for (record, offset) in [first, leaves].iter().zip(0..) {
        fold.apply(&batch(&old, record, offset), &stamp(offset + 1), &mut fold.no_changes());
    }
    let saved = Saved::of(&fold.freeze().parts());
    let mut fold = TableFold::new(Arc::clone(&wide));
    fold.load_state(&saved, &no_runs).unwrap();
    fold.widen(old.layout());
    let comes = Record::row(1, "b", 20).with(None, Some("new")).from("a");
    let reads = old.to_rows_of(&wide);
    fold.apply(&batch(&reads, &comes, 0), &stamp(9), &mut fold.no_changes());
    let rows: Vec<_> = fold.rows().map(|(_, live)| live.row.to_vec()).collect();
    let row = wide.layout().row(&rows[0]);
    assert_eq!((rows.len(), row.text(2), row.text(3)), (1, Some("L"), Some("new")));
    assert!(row.is_null(4) && !row.is_unknown(4));
}
