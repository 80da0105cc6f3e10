//! What the tests of this crate share: a clock, a small table and its rows.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use schemas::{Clock, Micros};

use super::{Commit, Table, TableSpec};
use crate::folder::Lake;

/// 2026-11-21T07:00:00Z.
pub(crate) const START: i64 = 1_795_244_400_000_000;

/// A clock that a test moves; it steps by one millisecond at every look.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn shared() -> Arc<dyn Clock> {
        Arc::new(TestClock(AtomicI64::new(START)))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Micros {
        Micros(self.0.fetch_add(1_000, Ordering::SeqCst))
    }
}

pub(crate) fn lake(root: &Path) -> Lake {
    Lake::open_writer(root, Duration::ZERO, TestClock::shared()).unwrap()
}

/// A table with the types that bronze and silver use, by day.
pub(crate) fn spec(name: &str) -> TableSpec {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("epoch", DataType::Int64, false),
        Field::new("at", utc, true),
        Field::new("value", DataType::Binary, true),
        Field::new("amount", DataType::Decimal128(38, 10), true),
        Field::new("day", DataType::Date32, false),
    ]);
    TableSpec {
        name: name.to_owned(),
        schema: Arc::new(schema),
        partition_columns: vec!["day".to_owned()],
        description: "rows for tests".to_owned(),
    }
}

/// Rows with epochs `from..to`; the amount of a row is its epoch and a cent.
pub(crate) fn rows(table: &Table, from: i64, to: i64) -> RecordBatch {
    let epochs = || from..to;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(epochs().map(|it| format!("topic-{}", it % 3)))),
        Arc::new(Int32Array::from_iter_values(epochs().map(|it| i32::try_from(it % 4).unwrap()))),
        Arc::new(Int64Array::from_iter_values(epochs())),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(epochs().map(|it| START + it))
                .with_timezone("UTC"),
        ),
        Arc::new(BinaryArray::from_iter(
            epochs().map(|it| (it % 2 == 0).then(|| format!("payload {it}"))),
        )),
        Arc::new(
            Decimal128Array::from_iter_values(
                epochs().map(|it| i128::from(it) * 10_000_000_000 + 100_000_000),
            )
            .with_precision_and_scale(38, 10)
            .unwrap(),
        ),
    ];
    RecordBatch::try_new(table.file_schema(), columns).unwrap()
}

pub(crate) fn day(text: &str) -> Vec<(String, String)> {
    vec![("day".to_owned(), text.to_owned())]
}

/// A commit that appends the rows `from..to` and moves `weir/epoch` to `to`.
pub(crate) fn append(table: &Table, from: i64, to: i64) -> Commit {
    let mut writer = table.file_writer(&day("2026-11-21")).unwrap();
    writer.write(&rows(table, from, to)).unwrap();
    Commit {
        adds: vec![writer.finish().unwrap()],
        progress: vec![("weir/epoch".to_owned(), to)],
        operation: "WRITE",
        ..Commit::default()
    }
}

/// A table with `commits` appends of ten rows each: version n holds n * 10 rows.
pub(crate) async fn filled(lake: &Lake, name: &str, commits: i64) -> Table {
    let mut table = Table::open_or_create(lake, &spec(name)).await.unwrap();
    for number in 0..commits {
        let commit = append(&table, number * 10, number * 10 + 10);
        assert_eq!(table.commit(&commit).await.unwrap(), number + 1);
    }
    table
}

/// The epochs in a table's rows, sorted.
pub(crate) fn epochs(table: &Table) -> Vec<i64> {
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let mut epochs = Vec::new();
    for batch in table.read(&files, Some(&["epoch"])).unwrap() {
        let batch = batch.unwrap();
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        epochs.extend(column.values());
    }
    epochs.sort_unstable();
    epochs
}
