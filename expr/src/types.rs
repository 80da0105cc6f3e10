//! Types of expressions, and the columns that they may name.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use schemas::nearest::nearest;
use schemas::{ColumnType, Contract};

/// Digits of the widest decimal.
pub(crate) const DIGITS_MAX: u8 = 38;

/// A decimal that holds every bigint, as DataFusion has it.
pub(crate) const BIGINT_DIGITS: u8 = 20;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Of NULL, which goes with every type.
    Null,
    /// True or false.
    Boolean,
    /// A whole number of 64 bits.
    Bigint,
    /// An exact number with this many digits in all and after the point.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// UTF-8 text.
    Text,
    /// A calendar day.
    Date,
    /// An instant with microseconds.
    Timestamp,
    /// A JSON value, which has neither order nor arithmetic.
    Json,
    /// A binary floating point number, of which only whether it is null may be asked.
    Double,
}

impl Type {
    /// Whether arithmetic takes it.
    pub fn is_number(self) -> bool {
        matches!(self, Type::Bigint | Type::Decimal { .. })
    }

    /// Digits in all and after the point of a number.
    pub(crate) fn digits(self) -> Option<(u8, u8)> {
        match self {
            Type::Bigint => Some((BIGINT_DIGITS, 0)),
            Type::Decimal { precision, scale } => Some((precision, scale)),
            _ => None,
        }
    }

    /// Digits after the point; 0 of what is no decimal.
    pub(crate) fn scale(self) -> u8 {
        self.digits().map_or(0, |(_, scale)| scale)
    }

    /// The type that values of both become, as in the branches of a CASE, and whether every value fits
    /// into it.
    pub(crate) fn common(self, other: Type) -> Option<(Type, bool)> {
        if self == other || other == Type::Null {
            return Some((self, true));
        }
        if self == Type::Null {
            return Some((other, true));
        }
        let ((p1, s1), (p2, s2)) = (self.digits()?, other.digits()?);
        let scale = s1.max(s2);
        let digits = p1.saturating_sub(s1).max(p2.saturating_sub(s2)).saturating_add(scale);
        let precision = digits.min(DIGITS_MAX);
        Some((Type::Decimal { precision, scale }, digits <= DIGITS_MAX))
    }

    /// The type of a column of a contract.
    pub fn of(kind: ColumnType) -> Type {
        match kind {
            ColumnType::Text => Type::Text,
            ColumnType::Bigint => Type::Bigint,
            ColumnType::Double => Type::Double,
            ColumnType::Boolean => Type::Boolean,
            ColumnType::Date => Type::Date,
            ColumnType::Json => Type::Json,
            ColumnType::Timestamp => Type::Timestamp,
            ColumnType::Decimal { precision, scale } => Type::Decimal { precision, scale },
        }
    }

    /// The type of Arrow that silver has for it.
    pub fn arrow(self) -> DataType {
        match self {
            Type::Null => DataType::Null,
            Type::Boolean => DataType::Boolean,
            Type::Bigint => DataType::Int64,
            Type::Double => DataType::Float64,
            Type::Decimal { precision, scale } => {
                DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(i8::MAX))
            }
            Type::Text | Type::Json => DataType::Utf8,
            Type::Date => DataType::Date32,
            Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// The type that a type of Arrow is here; `None` when there are no values of it.
    pub fn of_arrow(kind: &DataType) -> Option<Type> {
        Some(match kind {
            DataType::Null => Type::Null,
            DataType::Boolean => Type::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Type::Bigint,
            DataType::Decimal128(precision, scale) => {
                Type::Decimal { precision: *precision, scale: u8::try_from(*scale).ok()? }
            }
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Type::Text,
            DataType::Date32 => Type::Date,
            DataType::Timestamp(..) => Type::Timestamp,
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    /// With an article, as it stands in messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Null => "NULL",
            Type::Boolean => "a truth value",
            Type::Bigint | Type::Decimal { .. } => "a number",
            Type::Text => "text",
            Type::Date => "a date",
            Type::Timestamp => "a timestamp",
            Type::Json => "JSON",
            Type::Double => "a double",
        })
    }
}

/// The columns that an expression may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// What has them, for messages: "contract `orders`".
    relation: String,
    columns: Vec<(String, Type)>,
}

impl Columns {
    /// Columns by name and type; `relation` says in messages what has them.
    pub fn new(relation: impl Into<String>, columns: Vec<(String, Type)>) -> Columns {
        Columns { relation: relation.into(), columns }
    }

    /// The columns of a contract's table.
    pub fn of(contract: &Contract) -> Columns {
        let columns = contract.columns.iter().map(|c| (c.name.clone(), Type::of(c.kind)));
        Columns::new(format!("contract `{}`", contract.name), columns.collect())
    }

    /// The message for a column that is not there.
    pub fn unknown(&self, name: &str) -> String {
        let names = self.columns.iter().map(|(name, _)| name.as_str());
        format!("{} has no column `{name}`{}", self.relation, nearest(name, names))
    }

    pub(crate) fn get(&self, index: usize) -> Option<(&str, Type)> {
        self.columns.get(index).map(|(name, ty)| (name.as_str(), *ty))
    }

    pub(crate) fn find(&self, name: &str) -> Option<(usize, Type)> {
        let at = self.columns.iter().position(|(own, _)| own == name)?;
        self.columns.get(at).map(|(_, ty)| (at, *ty))
    }

    /// The schema of a batch of these columns.
    pub fn arrow(&self) -> Arc<Schema> {
        let fields = self.columns.iter().map(|(name, ty)| Field::new(name, ty.arrow(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}
