//! Columns that a contract computes: expressions over the fields of a record.
//!
//! # Guarantees
//! - An expression is typed when the contract is loaded, and so is what it is put into: what could only
//!   be put there by rounding is refused.
//! - A record on which one fails is refused by column and expression; so is one that lacks a field which
//!   no column of the contract reads, for a name that was mistyped looks the same.
//! - A value that was not sent makes what is computed of it alone unknown, too. Where other fields have a
//!   part in it, nobody can say what it would be, and the record is refused.

use std::sync::Arc;

use expr::{Columns, Expression, Type, Value};
use schemas::column::{Column, RowSchema};
use schemas::{ColumnType, Contract, Date, RowBuilder, RowLayout};

use super::column::{self, Encoding, Outcome};
use super::names::Piece;
use super::{DecodeError, Placeholder, PrepareError, PreparedColumn};

/// The computed columns of a contract.
#[derive(Debug, Clone)]
pub(super) struct Maps {
    inputs: Vec<Input>,
    layout: Arc<RowLayout>,
    all: Vec<Map>,
}

/// A field that expressions name.
#[derive(Debug, Clone)]
struct Input {
    /// How its value is read.
    column: PreparedColumn,
    /// Where its cell is: that of a column which reads it, or one behind all columns.
    cell: usize,
    is_declared: bool,
}

#[derive(Debug, Clone)]
struct Map {
    column: usize,
    target: PreparedColumn,
    /// Null is refused.
    required: bool,
    expression: Expression,
    /// The text as the contract has it.
    text: Box<str>,
    inputs: Vec<usize>,
}

/// Memory used again from record to record.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    row: RowBuilder,
    bytes: Vec<u8>,
    unsent: Vec<usize>,
}

impl Maps {
    /// The expressions of a contract; `None` when it has none.
    pub(super) fn new(
        contract: &Contract,
        columns: &[PreparedColumn],
    ) -> Result<Option<Maps>, PrepareError> {
        let texts: Vec<(usize, &str)> = contract.maps().collect();
        if texts.is_empty() {
            return Ok(None);
        }
        let mut inputs: Vec<Input> = Vec::new();
        let refused = |column: usize, problem: String| PrepareError::Map {
            contract: contract.name.clone(),
            column: contract.column_name(column).to_owned(),
            problem,
        };
        let mut cells = columns.len();
        for (at, text) in &texts {
            for name in expr::names(text).map_err(|e| refused(*at, e.to_string()))? {
                if inputs.iter().any(|input| *input.column.field == *name) {
                    continue;
                }
                let reads = |column: &&PreparedColumn| *column.field == *name && !column.is_mapped;
                let declared = columns.iter().find(reads).cloned();
                let of_column = columns.iter().position(|column| reads(&column));
                let cell = of_column.unwrap_or(cells);
                cells += usize::from(of_column.is_none());
                let is_declared = declared.is_some();
                let column = declared.unwrap_or_else(|| undeclared(&name, columns));
                inputs.push(Input { column, cell, is_declared });
            }
        }
        let kind = |input: &Input| match input.is_declared {
            true => input.column.kind,
            false => ColumnType::Text,
        };
        let typed = inputs.iter().map(|i| (i.column.field.to_string(), Type::of(kind(i))));
        let typed = Columns::new("the event", typed.collect());
        let mut all = Vec::new();
        for (at, text) in texts {
            let expression =
                Expression::parse_map(text, &typed).map_err(|e| refused(at, e.to_string()))?;
            let Some(target) = columns.get(at).cloned() else { continue };
            fits(&expression, target.kind).map_err(|problem| refused(at, problem))?;
            let names = expr::names(text).unwrap_or_default();
            let named = |(index, input): (usize, &Input)| {
                names.iter().any(|name| **name == *input.column.field).then_some(index)
            };
            let own = inputs.iter().enumerate().filter_map(named).collect();
            let required = target.required && at != contract.tenant;
            let text = text.into();
            all.push(Map { column: at, target, required, expression, text, inputs: own });
        }
        let schema = inputs.iter().map(|input| Column {
            name: input.column.field.to_string(),
            kind: kind(input),
            required: false,
        });
        let layout = Arc::new(RowLayout::new(&RowSchema::new(schema.collect())));
        Ok(Some(Maps { inputs, layout, all }))
    }

    /// The same for events of a connector with another placeholder.
    pub(super) fn set_placeholder(&mut self, placeholder: &Arc<Placeholder>) {
        for input in &mut self.inputs {
            input.column.placeholder = Arc::clone(placeholder);
        }
    }

    /// The fields that no column reads, in the order of their cells behind those of the columns.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(|input| !input.is_declared).map(|input| &*input.column.field)
    }

    /// Sets the computed columns of `row` from the cells of a record, and notes those that are unknown.
    pub(super) fn apply(
        &self,
        (text, cells, encodings): (&str, &[Option<Piece>], &[Encoding]),
        buffers: &mut Buffers,
        row: &mut RowBuilder,
        unknown: &mut Vec<usize>,
    ) -> Result<(), DecodeError> {
        self.read((text, cells, encodings), buffers)?;
        let Buffers { bytes, unsent, .. } = buffers;
        let inputs = self.layout.row(bytes);
        for map in &self.all {
            if let Some(lacks) = map.inputs.iter().find(|input| unsent.contains(input)) {
                if map.inputs.len() == 1 {
                    row.set_unknown(map.column);
                    unknown.push(map.column);
                    continue;
                }
                let lacks = self.inputs.get(*lacks).map_or("", |input| &input.column.field);
                return map.refused(&format!(
                    "has the value of `{lacks}`, which did not change and was not sent, so that what it makes \
                     with the other fields is unknown; send it (REPLICA IDENTITY FULL)"
                ));
            }
            match map.expression.evaluate(inputs) {
                Ok(value) => map.put(value, row)?,
                Err(error) => return map.refused(&format!("fails: {error}")),
            }
        }
        unknown.sort_unstable();
        Ok(())
    }

    /// Reads the fields that expressions name into a row of their own.
    fn read(
        &self,
        (text, cells, encodings): (&str, &[Option<Piece>], &[Encoding]),
        buffers: &mut Buffers,
    ) -> Result<(), DecodeError> {
        let Buffers { row, bytes, unsent } = buffers;
        row.reset(self.inputs.len());
        unsent.clear();
        for (index, input) in self.inputs.iter().enumerate() {
            let cell = cells.get(input.cell).cloned().flatten();
            let Some(raw) = cell.and_then(|piece| text.get(piece)) else {
                if input.is_declared {
                    continue;
                }
                let field = &input.column.field;
                return Err(DecodeError(format!(
                    "there is no field `{field}`, which a `map` of the contract names; correct the name, or \
                     give the contract a column for it where it may be absent"
                )));
            };
            let encoding = encodings.get(input.cell).copied().unwrap_or_default();
            let set = column::set_or_infinite(row, index, &input.column, raw, encoding)?;
            if set == Outcome::Unavailable {
                unsent.push(index);
            }
        }
        bytes.clear();
        row.finish(&self.layout, bytes);
        Ok(())
    }
}

impl Map {
    fn refused(&self, problem: &str) -> Result<(), DecodeError> {
        let (name, text) = (&self.target.name, &self.text);
        Err(DecodeError(format!("column `{name}`: its map `{text}` {problem}")))
    }

    fn put(&self, value: Value<'_>, row: &mut RowBuilder) -> Result<(), DecodeError> {
        match value {
            Value::Null if self.required => {
                return self.refused("is null, and the column is required");
            }
            Value::Null => {}
            Value::Boolean(flag) => row.set_boolean(self.column, flag),
            Value::Text(text) => row.set_text(self.column, &text),
            Value::Date(day) => row.set_date(self.column, Date(day)),
            Value::Timestamp(at) => row.set_timestamp(self.column, at),
            Value::Bigint(number) if self.target.kind == ColumnType::Bigint => {
                row.set_bigint(self.column, number);
            }
            Value::Bigint(_) | Value::Decimal(_) => {
                let own = u32::from(self.expression.scale().unwrap_or(0));
                let raised = self.target.kind.scale().saturating_sub(own);
                let mantissa = value.number().zip(10_i128.checked_pow(raised));
                let mantissa = mantissa.and_then(|(number, power)| number.checked_mul(power));
                let mantissa = mantissa.filter(|number| number.abs() < self.target.mantissa_end);
                let Some(mantissa) = mantissa else {
                    return self.refused(&format!("does not fit {}", self.target.kind));
                };
                row.set_decimal(self.column, mantissa);
            }
        }
        Ok(())
    }
}

/// A field that no column reads is the text that stands there: of a string what it says, of anything else
/// its JSON.
fn undeclared(name: &str, columns: &[PreparedColumn]) -> PreparedColumn {
    let placeholder = columns.first().map(|column| Arc::clone(&column.placeholder));
    PreparedColumn {
        name: name.into(),
        field: name.into(),
        kind: ColumnType::Json,
        required: false,
        is_mapped: false,
        mantissa_end: 0,
        unit: None,
        placeholder: placeholder.unwrap_or_default(),
    }
}

/// Whether every value of the expression is one of the column, or is refused by name.
fn fits(expression: &Expression, column: ColumnType) -> Result<(), String> {
    let (text, ty) = (expression.text(), expression.ty());
    match (ty, column) {
        (Type::Text, ColumnType::Text)
        | (Type::Bigint, ColumnType::Bigint)
        | (Type::Boolean, ColumnType::Boolean)
        | (Type::Date, ColumnType::Date)
        | (Type::Timestamp, ColumnType::Timestamp)
        | (Type::Json, ColumnType::Json) => Ok(()),
        (Type::Bigint | Type::Decimal { .. }, ColumnType::Decimal { scale, .. }) => {
            let own = expression.scale().unwrap_or(0);
            let problem = || {
                format!(
                    "`{text}` has {own} digits after the point and the column {scale}; CAST it to {column}, \
                     which rounds, or give the column more"
                )
            };
            if own <= scale { Ok(()) } else { Err(problem()) }
        }
        (_, ColumnType::Double) => Err(format!(
            "`{text}` is put into a double, which cannot be computed; make the column a decimal(p,s)"
        )),
        _ => Err(format!("`{text}` is {ty} and the column {column}; CAST it")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::record::{RawBatch, TopicPartition};

    fn contract(columns: &str) -> Result<PreparedContract, PrepareError> {
        let text = format!(
            "name='t'\nformat='rows'\nkey=['id']\ntenant='tenant'\ncolumns=[{{name='id',type='bigint'}},\
             {{name='tags',type='json',from='Tags'}},{{name='cost',type='decimal(12,4)',from='BilledCost'}},\
             {{name='tenant',type='text'}},{columns}]"
        );
        PreparedContract::new(Contract::parse(&text).unwrap())
    }

    /// The last column of a row, as text, or why there is none.
    fn last(contract: &PreparedContract, row: &str) -> Result<String, String> {
        let of = TopicPartition {
            source: "s".into(),
            topic: "t".into(),
            incarnation: "i".into(),
            partition: 0,
        };
        let mut batch = RawBatch::new(of.into());
        batch.push(0, None, None, Some(row.as_bytes()), &[]);
        let mut out = ChangeBatch::default();
        let decoder = registry::find("rows").unwrap();
        decode_batch(decoder, contract, &batch, &mut Scratch::default(), &mut out);
        if let Some((_, error)) = out.errors().first() {
            return Err(error.to_string());
        }
        let change = out.iter().next().unwrap();
        let at = contract.columns().len() - 1;
        let (row, kind) = (contract.layout().row(change.row), contract.columns()[at].kind);
        if change.unavailable.contains(&at) {
            assert!(row.is_unknown(at));
            return Ok("unknown".into());
        }
        let datum = row.datum(at);
        Ok(if datum.is_null() { "null".into() } else { datum.text(kind).to_string() })
    }

    #[test]
    fn values_are_computed_over_the_fields_of_a_row() {
        for (kind, map, row, expected) in [
            ("text", "coalesce(tags->>'x', 'none')", r#"{"id":1,"tags":{"x":"y"}}"#, "y"),
            (
                "text",
                "coalesce(Tags->>'team', 'none')",
                r#"{"id":1,"Tags":{"team":"core"}}"#,
                "core",
            ),
            (
                "text",
                "coalesce(Tags->>'team', 'none')",
                r#"{"id":1,"Tags":"{\"team\":\"a\"}"}"#,
                "a",
            ),
            ("text", "coalesce(Tags->>'team', 'none')", r#"{"id":1,"Tags":{}}"#, "none"),
            ("text", "coalesce(Tags->>'team', 'none')", r#"{"id":1}"#, "none"),
            ("text", "Tags->'a'->>'b'", r#"{"id":1,"Tags":{"a":{"b":7.50}}}"#, "7.50"),
            ("decimal(20,6)", "BilledCost * 100", r#"{"id":1,"BilledCost":"0.1234"}"#, "12.34"),
            (
                "decimal(20,2)",
                "cast(BilledCost as decimal(20,2))",
                r#"{"id":1,"BilledCost":0.125}"#,
                "0.13",
            ),
            ("bigint", "cast(Quantity as bigint) + 1", r#"{"id":1,"Quantity":41}"#, "42"),
            (
                "decimal(20,10)",
                "cast(Cost as decimal(20,10))",
                r#"{"id":1,"Cost":0.00000025}"#,
                "0.00000025",
            ),
            ("text", "Quantity", r#"{"id":1,"Quantity":1.50}"#, "1.50"),
            ("boolean", "lower(Charge) = 'tax'", r#"{"id":1,"Charge":"TAX"}"#, "true"),
            ("text", "Charge", r#"{"id":1,"Charge":null}"#, "null"),
            ("text", "Tags->>'a'", r#"{"id":1,"Tags":"__debezium_unavailable_value"}"#, "unknown"),
        ] {
            let contract = contract(&format!("{{name='x',type='{kind}',map=\"{map}\"}}")).unwrap();
            assert_eq!(last(&contract, row), Ok(expected.to_owned()), "{map} of {row}");
        }
    }

    #[test]
    fn a_row_on_which_one_fails_is_refused_by_column_and_expression() {
        let unsent = r#"{"id":1,"Tags":"__debezium_unavailable_value","Charge":"x"}"#;
        for (kind, map, row, says) in [
            (
                "bigint",
                "cast(Quantity as bigint)",
                r#"{"id":1,"Quantity":"many"}"#,
                "`x`: its map `cast(Q",
            ),
            ("bigint", "1 / cast(Quantity as bigint)", r#"{"id":1,"Quantity":0}"#, "by zero"),
            ("bigint", "cast(Quantty as bigint)", r#"{"id":1,"Quantity":0}"#, "no field `Quantty`"),
            ("text", "Tags->>'a'", r#"{"id":1,"Tags":"a=b"}"#, "is no JSON"),
            (
                "decimal(5,4)",
                "BilledCost * 10",
                r#"{"id":1,"BilledCost":"1"}"#,
                "does not fit decimal(5,4)",
            ),
            ("text", "coalesce(Tags->>'a', Charge)", unsent, "the value of `Tags`"),
            ("text',required=true,note='", "Tags->>'a'", r#"{"id":1,"Tags":{}}"#, "is required"),
        ] {
            let contract = contract(&format!("{{name='x',type='{kind}',map=\"{map}\"}}")).unwrap();
            let refused = last(&contract, row).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn what_has_no_type_or_another_one_is_refused_when_it_is_loaded() {
        for (kind, map, says) in [
            ("text", "coalesce(Tags->>'a'", "SYNTAX"),
            ("text", "BilledCost", "is a number and the column text; CAST it"),
            ("decimal(12,2)", "BilledCost", "has 4 digits after the point and the column 2"),
            ("decimal(12,2)", "Quantity * 2", "CAST"),
            ("double", "BilledCost", "cannot be computed"),
            ("timestamp", "now()", "no function `now`"),
            ("text", "bogus(Charge)", "no function `bogus`"),
            ("text", "BilledCost->>'a'", "the function takes text"),
        ] {
            let refused = contract(&format!("{{name='x',type='{kind}',map=\"{map}\"}}"));
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(says) && refused.contains("column `x`"), "{refused}");
        }
    }

    #[test]
    fn fields_of_expressions_are_no_fields_of_columns() {
        let contract = contract("{name='x',type='text',map='y'},{name='y',type='text',map='x'}");
        let contract = contract.unwrap();
        assert_eq!(last(&contract, r#"{"id":1,"x":"of x","y":"of y"}"#), Ok("of x".to_owned()));
        let refused = last(&contract, r#"{"id":1,"x":"of x"}"#).unwrap_err();
        assert!(refused.contains("no field `y`"), "{refused}");
    }
}
