//! Rows of which a condition is true, as other columns.
//!
//! # Guarantees
//! - A column that is passed on is passed on whole: where it was unknown, it is unknown. So is what is computed of
//!   one that is.
//! - A row that makes an expression fail is left out when it comes and when it goes.

use std::sync::Arc;

use expr::{Expression, Value};
use schemas::time::Date;
use schemas::{Delta, RowBuilder, RowLayout, RowRef, RowSchema};

use super::problems::{Problems, text};
use super::{Operator, StepError};

/// Selects rows and computes columns.
#[derive(Debug)]
pub struct Map {
    out: Arc<RowLayout>,
    condition: Option<Expression>,
    columns: Vec<Expression>,
    builder: RowBuilder,
    bytes: Vec<u8>,
}

impl Map {
    /// The rows of an input of which `condition` is true, with these columns, which `out` names and types.
    pub fn new(condition: Option<Expression>, columns: Vec<Expression>, out: RowSchema) -> Map {
        let (out, builder) = (Arc::new(RowLayout::new(&out)), RowBuilder::default());
        Map { out, condition, columns, builder, bytes: Vec::new() }
    }

    /// Builds the row that a row becomes; whether there is one.
    fn build(&mut self, row: RowRef<'_>) -> Result<bool, String> {
        if let Some(condition) = &self.condition {
            let selects = condition.selects(row).map_err(|e| format!("`{condition}`: {e}"))?;
            if !selects {
                return Ok(false);
            }
        }
        self.builder.reset(self.columns.len());
        self.builder.set_outdated(row.is_outdated());
        for (at, column) in self.columns.iter().enumerate() {
            match column.as_column() {
                Some(from) => pass(&mut self.builder, at, row, from),
                None if row.has_unknown() && column.reads(|own| row.is_unknown(own)) => {
                    self.builder.set_unknown(at);
                }
                None => {
                    let value = column.evaluate(row).map_err(|e| format!("`{column}`: {e}"))?;
                    set(&mut self.builder, at, &value);
                }
            }
        }
        self.bytes.clear();
        self.builder.finish(&self.out, &mut self.bytes);
        Ok(true)
    }
}

/// Sets a column to what another one is in `row`, unknown ones too.
fn pass(builder: &mut RowBuilder, at: usize, row: RowRef<'_>, from: usize) {
    if row.is_unknown(from) {
        builder.set_unknown(at);
    } else {
        builder.set(at, row.datum(from));
    }
}

fn set(builder: &mut RowBuilder, at: usize, value: &Value<'_>) {
    match value {
        Value::Null => builder.set_null(at),
        Value::Boolean(flag) => builder.set_boolean(at, *flag),
        Value::Bigint(number) => builder.set_bigint(at, *number),
        Value::Decimal(mantissa) => builder.set_decimal(at, *mantissa),
        Value::Text(text) => builder.set_text(at, text),
        Value::Date(day) => builder.set_date(at, Date(*day)),
        Value::Timestamp(instant) => builder.set_timestamp(at, *instant),
    }
}

impl Operator for Map {
    fn layout(&self) -> &Arc<RowLayout> {
        &self.out
    }

    fn step(&mut self, inputs: &[&Delta], out: &mut Delta) -> Result<(), StepError> {
        let mut problems = Problems::default();
        for change in inputs.iter().flat_map(|input| input.keys()) {
            out.set_quiet(change.is_quiet());
            for (row, weight) in change.rows() {
                match self.build(row) {
                    Ok(true) => out.add(self.out.row(&self.bytes), weight),
                    Ok(false) => {}
                    Err(problem) => problems.add(|| {
                        let (node, row) = ("SELECT".to_owned(), text(row));
                        StepError { node, row, problem }
                    }),
                }
            }
        }
        problems.finish()
    }

    fn held(&self) -> usize {
        0
    }

    fn is_stateless(&self) -> bool {
        true
    }
}
