//! Columns and their types, and the schema of rows: a contract has one, and so has every relation that
//! is made of contracts.
//!
//! # Guarantees
//! - [`ColumnType`] prints as contracts write it, and what it prints parses to it.
//!
//! # Non-guarantees
//! - [`RowSchema::new`] takes any columns; that no name is there twice is up to its maker.

use std::fmt;
use std::ops::Deref;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// UTF-8 text; integers are taken as their decimal text.
    Text,
    /// A whole number of 64 bits.
    Bigint,
    /// A binary floating point number of 64 bits.
    Double,
    /// True or false.
    Boolean,
    /// A calendar date.
    Date,
    /// An instant with microseconds.
    Timestamp,
    /// An exact number with this many digits in all and after the point.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// A JSON value, kept as its text.
    Json,
}

impl ColumnType {
    /// The types in words, for the text of a refusal.
    pub const KNOWN: &'static str =
        "text, bigint, double, boolean, date, timestamp, decimal(p,s) or json";

    /// The type that contracts write so; `None` when there is no such type.
    pub fn parse(text: &str) -> Option<ColumnType> {
        Some(match text {
            "text" => ColumnType::Text,
            "bigint" => ColumnType::Bigint,
            "double" => ColumnType::Double,
            "boolean" => ColumnType::Boolean,
            "date" => ColumnType::Date,
            "timestamp" => ColumnType::Timestamp,
            "json" => ColumnType::Json,
            _ => return parse_decimal(text),
        })
    }

    /// Digits after the point: of a decimal those of its type, of anything else none.
    pub fn scale(self) -> u32 {
        if let ColumnType::Decimal { scale, .. } = self { u32::from(scale) } else { 0 }
    }
}

fn parse_decimal(text: &str) -> Option<ColumnType> {
    let inside = text.strip_prefix("decimal(")?.strip_suffix(')')?;
    let (precision, scale) = inside.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    (precision <= 38 && scale <= precision).then_some(ColumnType::Decimal { precision, scale })
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnType::Text => "text",
            ColumnType::Bigint => "bigint",
            ColumnType::Double => "double",
            ColumnType::Boolean => "boolean",
            ColumnType::Date => "date",
            ColumnType::Timestamp => "timestamp",
            ColumnType::Json => "json",
            ColumnType::Decimal { precision, scale } => {
                return write!(f, "decimal({precision},{scale})");
            }
        })
    }
}

/// One column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name; of a contract also the name in the event, unless the contract says another one.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it is never null. A record without it is a dead letter.
    pub required: bool,
}

/// The columns of a relation, in order. Reads as a slice of columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowSchema(Vec<Column>);

impl RowSchema {
    /// A schema of these columns.
    pub fn new(columns: Vec<Column>) -> RowSchema {
        RowSchema(columns)
    }

    /// The index of the column with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|column| column.name == name)
    }

    /// The type of a column.
    pub fn kind(&self, index: usize) -> Option<ColumnType> {
        self.0.get(index).map(|column| column.kind)
    }
}

impl Deref for RowSchema {
    type Target = [Column];

    fn deref(&self) -> &[Column] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a RowSchema {
    type Item = &'a Column;
    type IntoIter = std::slice::Iter<'a, Column>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_they_are_written() {
        for text in
            ["text", "bigint", "double", "boolean", "date", "timestamp", "json", "decimal(18,4)"]
        {
            assert_eq!(ColumnType::parse(text).map(|kind| kind.to_string()), Some(text.to_owned()));
        }
        assert_eq!(
            ColumnType::parse("decimal( 5 , 0 )"),
            Some(ColumnType::Decimal { precision: 5, scale: 0 })
        );
        for text in ["", "int", "decimal", "decimal(39,0)", "decimal(4,5)", "decimal(4)", "Text"] {
            assert_eq!(ColumnType::parse(text), None, "{text}");
        }
    }
}
