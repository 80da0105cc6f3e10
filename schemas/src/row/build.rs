//! Building rows, column by column.
//!
//! # Guarantees
//! - Equal columns give equal bytes, in whatever order they were set.

use super::{RowLayout, RowRef, SlotKind, bits};
use crate::datum::{Datum, canonical};
use crate::time::{Date, Micros};

/// Builds rows: columns may be set in any order, more than once (the last wins) or not at all (null).
#[derive(Debug, Default)]
pub struct RowBuilder {
    values: Vec<Value>,
    text: Vec<u8>,
    is_outdated: bool,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Null,
    Unknown,
    Text { from: usize, to: usize },
    Bigint(i64),
    Double(f64),
    Boolean(bool),
    Date(Date),
    Timestamp(Micros),
    Decimal(i128),
}

impl RowBuilder {
    /// Forgets what was set and makes room for `columns` columns.
    pub fn reset(&mut self, columns: usize) {
        self.values.clear();
        self.values.resize(columns, Value::Null);
        self.text.clear();
        self.is_outdated = false;
    }

    /// Says whether a later change of the row could not be read.
    pub fn set_outdated(&mut self, is_outdated: bool) {
        self.is_outdated = is_outdated;
    }

    /// Sets a column of any type.
    pub fn set(&mut self, column: usize, datum: Datum<'_>) {
        let value = match datum {
            Datum::Null => Value::Null,
            Datum::Text(text) => return self.set_text(column, text),
            Datum::Bigint(number) => Value::Bigint(number),
            Datum::Double(number) => Value::Double(canonical(number)),
            Datum::Boolean(flag) => Value::Boolean(flag),
            Datum::Date(date) => Value::Date(date),
            Datum::Timestamp(at) => Value::Timestamp(at),
            Datum::Decimal(mantissa) => Value::Decimal(mantissa),
        };
        self.put(column, value);
    }

    /// Sets a column to null.
    pub fn set_null(&mut self, column: usize) {
        self.put(column, Value::Null);
    }

    /// Sets a column to null because its value was never sent.
    pub fn set_unknown(&mut self, column: usize) {
        self.put(column, Value::Unknown);
    }

    /// Sets a text or JSON column.
    pub fn set_text(&mut self, column: usize, text: &str) {
        let from = self.text.len();
        self.text.extend_from_slice(text.as_bytes());
        self.put(column, Value::Text { from, to: self.text.len() });
    }

    /// Sets a bigint column.
    pub fn set_bigint(&mut self, column: usize, number: i64) {
        self.put(column, Value::Bigint(number));
    }

    /// Sets a double column.
    pub fn set_double(&mut self, column: usize, number: f64) {
        self.put(column, Value::Double(canonical(number)));
    }

    /// Sets a boolean column.
    pub fn set_boolean(&mut self, column: usize, flag: bool) {
        self.put(column, Value::Boolean(flag));
    }

    /// Sets a date column.
    pub fn set_date(&mut self, column: usize, date: Date) {
        self.put(column, Value::Date(date));
    }

    /// Sets a decimal column to a mantissa at the column's scale.
    pub fn set_decimal(&mut self, column: usize, mantissa: i128) {
        self.put(column, Value::Decimal(mantissa));
    }

    /// Sets a timestamp column.
    pub fn set_timestamp(&mut self, column: usize, at: Micros) {
        self.put(column, Value::Timestamp(at));
    }

    /// Sets a column to what it is in `row`, unknown ones too.
    pub fn copy(&mut self, column: usize, row: RowRef<'_>) {
        if row.is_unknown(column) {
            self.set_unknown(column);
        } else {
            self.set(column, row.datum(column));
        }
    }

    /// Whether the column was left or set to null.
    pub fn is_null(&self, column: usize) -> bool {
        matches!(self.values.get(column), None | Some(Value::Null | Value::Unknown))
    }

    /// What was set in a column, for building keys before the row is finished.
    pub fn datum(&self, column: usize) -> Datum<'_> {
        match self.values.get(column).copied().unwrap_or(Value::Null) {
            Value::Null | Value::Unknown => Datum::Null,
            Value::Text { from, to } => {
                let text = self.text.get(from..to).and_then(|text| std::str::from_utf8(text).ok());
                text.map_or(Datum::Null, Datum::Text)
            }
            Value::Bigint(number) => Datum::Bigint(number),
            Value::Double(number) => Datum::Double(number),
            Value::Boolean(flag) => Datum::Boolean(flag),
            Value::Date(date) => Datum::Date(date),
            Value::Timestamp(at) => Datum::Timestamp(at),
            Value::Decimal(mantissa) => Datum::Decimal(mantissa),
        }
    }

    /// The text set in a column.
    pub fn text(&self, column: usize) -> Option<&str> {
        if let Datum::Text(text) = self.datum(column) { Some(text) } else { None }
    }

    /// Appends the canonical bytes of the row to `out`. A column that was set to another type than the
    /// layout's is null.
    pub fn finish(&self, layout: &RowLayout, out: &mut Vec<u8>) {
        let slots = if self.is_narrow(layout) { &layout.narrow } else { &layout.wide };
        let base = out.len();
        out.resize(base + slots.text_start, 0);
        let mut text_end: u32 = 0;
        let mut is_in_doubt = self.is_outdated;
        for (index, slot) in slots.slots.iter().enumerate() {
            let value = self.values.get(index).copied().unwrap_or(Value::Null);
            let at = base + slot.at;
            match (slot.kind, value) {
                (SlotKind::Text, Value::Text { from, to }) => {
                    out.extend_from_slice(self.text.get(from..to).unwrap_or_default());
                    text_end += u32::try_from(to - from).unwrap_or(u32::MAX);
                }
                (SlotKind::Bigint, Value::Bigint(number)) => put(out, at, &number.to_le_bytes()),
                (SlotKind::Double, Value::Double(number)) => put(out, at, &number.to_le_bytes()),
                (SlotKind::Boolean, Value::Boolean(flag)) => put(out, at, &[u8::from(flag)]),
                (SlotKind::Date, Value::Date(date)) => put(out, at, &date.0.to_le_bytes()),
                (SlotKind::Timestamp, Value::Timestamp(at_us)) => {
                    put(out, at, &at_us.0.to_le_bytes());
                }
                (SlotKind::Decimal, Value::Decimal(number)) => {
                    let bytes = number.to_le_bytes();
                    put(out, at, if slots.is_wide { &bytes } else { bytes.split_at(8).0 });
                }
                _ => {
                    set_bit(out, base, index);
                    is_in_doubt |= matches!(value, Value::Unknown);
                }
            }
            if slot.kind == SlotKind::Text {
                let bytes = text_end.to_le_bytes();
                put(out, at, if slots.is_wide { &bytes } else { bytes.split_at(1).0 });
            }
        }
        if slots.is_wide {
            set_bit(out, base, layout.len() + 1);
        }
        if is_in_doubt {
            self.finish_doubt(layout, base, out);
        }
    }

    /// Whether the texts of the row end within a byte, and its decimals fit eight.
    fn is_narrow(&self, layout: &RowLayout) -> bool {
        let mut texts = 0;
        let fits = self.values.iter().zip(&layout.narrow.slots).all(|(value, slot)| {
            match (slot.kind, *value) {
                (SlotKind::Text, Value::Text { from, to }) => texts += to - from,
                (SlotKind::Decimal, Value::Decimal(number)) => {
                    return i64::try_from(number).is_ok();
                }
                _ => {}
            }
            true
        });
        fits && texts <= usize::from(u8::MAX)
    }

    fn finish_doubt(&self, layout: &RowLayout, base: usize, out: &mut Vec<u8>) {
        set_bit(out, base, layout.len());
        let from = out.len();
        out.resize(from + bits(layout.len() + 1), 0);
        if self.is_outdated {
            set_bit(out, from, layout.len());
        }
        for (index, value) in self.values.iter().enumerate().take(layout.len()) {
            if matches!(value, Value::Unknown) {
                set_bit(out, from, index);
            }
        }
    }

    fn put(&mut self, column: usize, value: Value) {
        if let Some(slot) = self.values.get_mut(column) {
            *slot = value;
        }
    }
}

fn set_bit(out: &mut [u8], base: usize, at: usize) {
    if let Some(bits) = out.get_mut(base + at / 8) {
        *bits |= 1 << (at % 8);
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = out.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}
