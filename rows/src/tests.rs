//! Rows through Arrow and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use proptest::prelude::*;
use schemas::{Column, ColumnType, Date, Datum, Micros, RowBuilder, RowLayout, RowSchema};

use super::*;

const KINDS: [&str; 8] =
    ["text", "bigint", "double", "boolean", "date", "timestamp", "decimal(38,9)", "json"];

fn schema() -> RowSchema {
    let column = |kind: &str| {
        let kind_of = ColumnType::parse(kind).unwrap();
        Column { name: kind.into(), kind: kind_of, required: false }
    };
    RowSchema::new(KINDS.map(column).into())
}

fn row(layout: &RowLayout, bits: Option<u64>, nulls: u8) -> Vec<u8> {
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    if let Some(bits) = bits {
        let number = i64::from_le_bytes(bits.to_le_bytes());
        let text = format!("t{number}");
        builder.set_text(0, &text);
        builder.set_bigint(1, number);
        builder.set_double(2, f64::from_bits(bits));
        builder.set_boolean(3, bits % 2 == 0);
        builder.set_date(4, Date(i32::try_from(number >> 32).unwrap()));
        builder.set_timestamp(5, Micros(number));
        builder.set_decimal(6, i128::from(number) * 1_000_000_007);
        builder.set_text(7, "{}");
        (0..8).filter(|at| nulls & (1 << at) != 0).for_each(|at| builder.set_null(at));
    }
    let mut bytes = Vec::new();
    builder.finish(layout, &mut bytes);
    bytes
}

fn batch(layout: &RowLayout, rows: &[Vec<u8>]) -> RecordBatch {
    let views = rows.iter().map(|row| layout.row(row));
    let columns = arrays(layout.schema(), views).unwrap();
    RecordBatch::try_new(Arc::new(Schema::new(fields(layout.schema()))), columns).unwrap()
}

proptest! {
    #[test]
    fn rows_survive_arrow(
        of in proptest::collection::vec((proptest::option::of(any::<u64>()), any::<u8>()), 0..20)
    ) {
        let layout = RowLayout::new(&schema());
        let rows: Vec<_> = of.iter().map(|(bits, nulls)| row(&layout, *bits, *nulls)).collect();
        let batch = batch(&layout, &rows);
        let reader = RowReader::exact(layout.schema(), &batch).unwrap();
        prop_assert_eq!(reader.len(), rows.len());
        let mut builder = RowBuilder::default();
        for (at, row) in rows.iter().enumerate() {
            reader.read(at, &mut builder);
            let mut back = Vec::new();
            builder.finish(&layout, &mut back);
            prop_assert_eq!(&back, row);
            for column in 0..layout.len() {
                prop_assert_eq!(reader.datum(column, at), layout.row(row).datum(column));
            }
        }
    }
}

#[test]
fn what_was_not_written_is_refused_by_column() {
    let layout = RowLayout::new(&schema());
    let good = batch(&layout, &[row(&layout, Some(7), 0)]);
    let error = |batch: &RecordBatch| RowReader::exact(&schema(), batch).unwrap_err().to_string();
    let without = good.project(&[0, 1, 2]).unwrap();
    assert_eq!(error(&without), "column `boolean` is missing");
    let with = |array: ArrayRef| {
        let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
        for (name, column) in KINDS.iter().zip(good.columns()) {
            columns.push((name, Arc::clone(column)));
        }
        columns[1].1 = array;
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let narrow = with(Arc::new(Int32Array::from(vec![5])));
    assert_eq!(error(&narrow), "column `bigint` is of type Int32, should be Int64");
    let reader = RowReader::new(&schema(), &narrow).unwrap();
    assert_eq!(reader.datum(1, 0), Datum::Bigint(5));
    assert_eq!(reader.datum(1, 1), Datum::Null, "there is no such row");
    let text = with(Arc::new(StringArray::from(vec!["x"])));
    let refused = error(&text);
    assert_eq!(refused, "column `bigint` is of type Utf8, should be Int64");
    let refused = RowReader::new(&schema(), &text).unwrap_err().to_string();
    assert_eq!(refused, "column `bigint` is Utf8 and not Int64", "and not null");
}
