//! Rows of a case: lines of values under the names of columns, parted by commas.
//!
//! # Guarantees
//! - What has no value is null; a column that must have one and is not named is refused, but for `updated_at`.

use std::sync::Arc;

use schemas::{Column, ColumnType, Contract, Date, Datum, Delta, Micros, RowBuilder, RowKey};
use schemas::{RowLayout, decimal};

/// The tenant of rows that name none, and when they were written.
pub(super) const TENANT: &str = "t";
const WRITTEN: &str = "2026-01-01T00:00:00Z";

/// Lines under names.
#[derive(Debug)]
pub(super) struct Table<'a> {
    names: Vec<&'a str>,
    lines: Vec<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    pub(super) fn read(text: &'a str) -> Result<Table<'a>, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let split = |line: &'a str| line.split(',').map(str::trim).collect::<Vec<_>>();
        let names = lines.next().map(split).unwrap_or_default();
        let lines: Vec<Vec<&str>> = lines.map(split).collect();
        if let Some(line) = lines.iter().find(|line| line.len() != names.len()) {
            let (values, line) = (line.len(), line.join(", "));
            return Err(format!("`{line}`: {values} values under {} names", names.len()));
        }
        Ok(Table { names, lines })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.names.iter().copied()
    }

    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// What stands in a line under a name.
    pub(super) fn value(&self, line: usize, name: &str) -> Option<&'a str> {
        let at = self.names.iter().position(|own| *own == name)?;
        self.lines.get(line)?.get(at).copied()
    }
}

/// The rows of a table, as they come into a contract that had none.
pub(super) fn delta(contract: &Contract, table: &Table<'_>) -> Result<Delta, String> {
    if let Some(name) = table.names.iter().find(|name| contract.column(name).is_none()) {
        return Err(format!("there is no column `{name}`"));
    }
    let layout = Arc::new(RowLayout::new(&contract.columns));
    let mut delta = Delta::new(Arc::clone(&layout), RowKey::new(contract.key.clone()));
    for line in 0..table.lines() {
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        for (at, column) in contract.columns.iter().enumerate() {
            let named = table.value(line, &column.name);
            let text = match named {
                None if at == contract.tenant => TENANT,
                None if column.name == "updated_at" => WRITTEN,
                other => other.unwrap_or_default(),
            };
            if text.is_empty() {
                if column.required {
                    return Err(format!("`{}` must have a value", column.name));
                }
                continue;
            }
            let datum = datum(column, text)
                .ok_or_else(|| format!("`{text}` is no value of `{}`", column.name))?;
            builder.set(at, datum);
        }
        let mut bytes = Vec::new();
        builder.finish(&layout, &mut bytes);
        delta.add(layout.row(&bytes), 1);
    }
    delta.consolidate();
    Ok(delta)
}

fn datum<'a>(column: &Column, text: &'a str) -> Option<Datum<'a>> {
    Some(match column.kind {
        ColumnType::Text | ColumnType::Json => Datum::Text(text),
        ColumnType::Bigint => Datum::Bigint(text.parse().ok()?),
        ColumnType::Double => Datum::Double(text.parse().ok()?),
        ColumnType::Boolean => Datum::Boolean(text.parse().ok()?),
        ColumnType::Date => Datum::Date(Date::of(Micros::parse(text)?)),
        ColumnType::Timestamp => Datum::Timestamp(Micros::parse(text)?),
        ColumnType::Decimal { scale, .. } => {
            Datum::Decimal(decimal::parse(text.as_bytes(), scale.into())?)
        }
    })
}
