//! Three tables whose rows come, go and change, as lists.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use schemas::key::RowKey;
use schemas::{Column, ColumnType, Date, Datum, Delta, Micros, RowBuilder, RowLayout, RowSchema};
use views::Relations;

use crate::{Dice, layout, session};

/// The tables: name, and columns with their types.
pub(crate) const TABLES: [(&str, &[(&str, &str)]); 3] = [
    (
        "a",
        &[
            ("tenant_id", "text"),
            ("k", "bigint"),
            ("g", "text"),
            ("n", "decimal(10,2)"),
            ("q", "bigint"),
            ("at", "timestamp"),
            ("d", "date"),
            ("f", "boolean"),
            ("j", "json"),
        ],
    ),
    (
        "b",
        &[
            ("tenant_id", "text"),
            ("k", "bigint"),
            ("name", "text"),
            ("m", "decimal(8,3)"),
            ("f", "boolean"),
        ],
    ),
    ("c", &[("k", "bigint"), ("g", "text"), ("p", "decimal(5,0)"), ("at", "timestamp")]),
];

/// The relations that views read.
pub(crate) fn relations() -> Relations {
    let mut relations = Relations::default();
    for (name, columns) in TABLES {
        let tenant = columns.iter().position(|(name, _)| *name == "tenant_id");
        relations.add(name, schema(columns), tenant);
    }
    relations
}

fn schema(columns: &[(&str, &str)]) -> RowSchema {
    let column = |(name, kind): &(&str, &str)| Column {
        name: (*name).to_owned(),
        kind: ColumnType::parse(kind).unwrap(),
        required: false,
    };
    RowSchema::new(columns.iter().map(column).collect())
}

/// What the tables hold: a row may be there several times.
pub(crate) struct Tables(Vec<Table>);

struct Table {
    name: &'static str,
    layout: Arc<RowLayout>,
    rows: Vec<Vec<u8>>,
}

impl Tables {
    pub(crate) fn new() -> Tables {
        let table = |(name, columns): (&'static str, &[(&str, &str)])| Table {
            name,
            layout: layout(&schema(columns)),
            rows: Vec::new(),
        };
        Tables(TABLES.map(table).into())
    }

    /// Changes some rows, and says which, a delta for each table.
    pub(crate) fn change(&mut self, dice: &mut Dice) -> Vec<Delta> {
        self.0.iter_mut().map(|table| table.change(dice)).collect()
    }

    /// A session over what they hold.
    pub(crate) fn context(&self) -> SessionContext {
        let context = session();
        for table in &self.0 {
            context.register_table(table.name, Arc::new(table.provider())).unwrap();
        }
        context
    }
}

impl Table {
    fn change(&mut self, dice: &mut Dice) -> Delta {
        let key = if dice.one_in(2) { RowKey::default() } else { RowKey::new(vec![1]) };
        let mut delta = Delta::new(Arc::clone(&self.layout), key);
        let count = if dice.one_in(6) { 0 } else { dice.pick(7) };
        for _ in 0..count {
            delta.set_quiet(dice.one_in(3));
            let there = self.rows.len();
            match dice.pick(8) {
                // A row that is there already comes once more.
                0 if there > 0 => {
                    let again = self.rows[dice.pick(there)].clone();
                    delta.add(self.layout.row(&again), 1);
                    self.rows.push(again);
                }
                1 | 2 if there > 0 => {
                    let gone = self.rows.swap_remove(dice.pick(there));
                    delta.add(self.layout.row(&gone), -1);
                }
                3 | 4 if there > 0 => {
                    let at = dice.pick(there);
                    let new = changed(&self.layout, &self.rows[at], dice);
                    let old = std::mem::replace(&mut self.rows[at], new.clone());
                    delta.change(Some(self.layout.row(&old)), Some(self.layout.row(&new)));
                }
                _ => {
                    let new = fresh(&self.layout, dice);
                    delta.add(self.layout.row(&new), 1);
                    self.rows.push(new);
                }
            }
        }
        delta.consolidate();
        delta
    }

    fn provider(&self) -> MemTable {
        let schema = Arc::new(Schema::new(rows::fields(self.layout.schema())));
        let views = self.rows.iter().map(|row| self.layout.row(row));
        let arrays = rows::arrays(self.layout.schema(), views).unwrap();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        MemTable::try_new(schema, vec![vec![batch]]).unwrap()
    }
}

/// A value of few, so that rows meet.
fn set(builder: &mut RowBuilder, at: usize, column: &Column, dice: &mut Dice) {
    if dice.one_in(6) {
        builder.set_null(at);
        return;
    }
    let small = i64::try_from(dice.pick(5)).unwrap();
    let datum = match (column.kind, column.name.as_str()) {
        (ColumnType::Text, "tenant_id") => Datum::Text(dice.of(&["t1", "t2"])),
        (ColumnType::Text, _) => Datum::Text(dice.of(&["x", "y", "zz", "", "X", "ä"])),
        (ColumnType::Json, _) => Datum::Text(dice.of(&[
            r#"{"team":"x"}"#,
            r#"{"team":"y","n":1.50}"#,
            r#"{"team":null}"#,
            "{}",
            "[1]",
        ])),
        (ColumnType::Bigint, "k") => Datum::Bigint(small),
        (ColumnType::Bigint, _) => Datum::Bigint(small - 2),
        (ColumnType::Boolean, _) => Datum::Boolean(dice.one_in(2)),
        (ColumnType::Date, _) => Datum::Date(Date(20_454 + i32::try_from(small).unwrap() * 20)),
        (ColumnType::Timestamp, _) => {
            Datum::Timestamp(Micros(1_767_225_600_000_000 + small * 86_400_000_000 * 9 + small))
        }
        (ColumnType::Decimal { .. }, "p") => Datum::Decimal(i128::from(small)),
        _ => Datum::Decimal(i128::from(small) * 125 - 250),
    };
    builder.set(at, datum);
}

fn fresh(layout: &RowLayout, dice: &mut Dice) -> Vec<u8> {
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    for (at, column) in layout.schema().iter().enumerate() {
        set(&mut builder, at, column, dice);
    }
    let mut bytes = Vec::new();
    builder.finish(layout, &mut bytes);
    bytes
}

/// The row with one to three other values.
fn changed(layout: &RowLayout, row: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    for at in 0..layout.len() {
        builder.copy(at, layout.row(row));
    }
    for _ in 0..=dice.pick(3) {
        let at = dice.pick(layout.len());
        if let Some(column) = layout.schema().get(at) {
            set(&mut builder, at, column, dice);
        }
    }
    let mut bytes = Vec::new();
    builder.finish(layout, &mut bytes);
    bytes
}
