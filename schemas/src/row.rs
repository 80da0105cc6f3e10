//! Rows as bytes: one compact, canonical encoding of a contract's columns.
//!
//! A row is `null bits | fixed slots | text`: one bit per column, then for each column 16 bytes of a
//! decimal, 8 of a timestamp or the 4-byte end of a text, then the texts in column order.
//!
//! # Guarantees
//! - Canonical: two rows are equal exactly when their bytes are.
//! - Any column is read in constant time, without allocating.
//!
//! # Non-guarantees
//! - The encoding lives in memory only. Tables hold typed columns, so it may change between releases.

use crate::contract::{ColumnType, Contract};
use crate::time::Micros;

/// Where each column of a contract lies in its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowLayout {
    slots: Vec<SlotLayout>,
    /// Where the texts start.
    text_start: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SlotLayout {
    kind: SlotKind,
    at: usize,
    /// For texts: the slot of the text before this one, whose end is this one's start.
    previous_text: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotKind {
    Text,
    Decimal,
    Timestamp,
}

impl RowLayout {
    /// The layout of a contract's rows.
    pub fn new(contract: &Contract) -> RowLayout {
        let mut at = contract.columns.len().div_ceil(8);
        let mut previous_text = None;
        let mut slots = Vec::with_capacity(contract.columns.len());
        for column in &contract.columns {
            let (kind, bytes) = match column.kind {
                ColumnType::Text | ColumnType::Json => (SlotKind::Text, 4),
                ColumnType::Decimal { .. } => (SlotKind::Decimal, 16),
                ColumnType::Timestamp => (SlotKind::Timestamp, 8),
            };
            slots.push(SlotLayout { kind, at, previous_text });
            if kind == SlotKind::Text {
                previous_text = Some(at);
            }
            at += bytes;
        }
        RowLayout { slots, text_start: at }
    }

    /// A view on the bytes of one row of this layout.
    pub fn row<'a>(&'a self, bytes: &'a [u8]) -> RowRef<'a> {
        RowRef { layout: self, bytes }
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no columns at all.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// A borrowed row.
#[derive(Debug, Clone, Copy)]
pub struct RowRef<'a> {
    layout: &'a RowLayout,
    bytes: &'a [u8],
}

impl<'a> RowRef<'a> {
    /// The canonical bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the column is null.
    pub fn is_null(&self, column: usize) -> bool {
        self.bytes.get(column / 8).is_none_or(|byte| byte & (1 << (column % 8)) != 0)
    }

    /// The text of a text or JSON column; `None` when it is null or of another type.
    pub fn text(&self, column: usize) -> Option<&'a str> {
        let slot = self.slot(column, SlotKind::Text)?;
        let start = slot.previous_text.map_or(0, |at| self.u32_at(at));
        let from = self.layout.text_start + start;
        let to = self.layout.text_start + self.u32_at(slot.at);
        std::str::from_utf8(self.bytes.get(from..to)?).ok()
    }

    /// The mantissa of a decimal column, at the column's scale.
    pub fn decimal(&self, column: usize) -> Option<i128> {
        let slot = self.slot(column, SlotKind::Decimal)?;
        let bytes = self.bytes.get(slot.at..slot.at + 16)?;
        bytes.try_into().ok().map(i128::from_le_bytes)
    }

    /// The instant of a timestamp column.
    pub fn timestamp(&self, column: usize) -> Option<Micros> {
        let slot = self.slot(column, SlotKind::Timestamp)?;
        let bytes = self.bytes.get(slot.at..slot.at + 8)?;
        bytes.try_into().ok().map(|b| Micros(i64::from_le_bytes(b)))
    }

    fn slot(&self, column: usize, kind: SlotKind) -> Option<SlotLayout> {
        let slot = *self.layout.slots.get(column)?;
        (slot.kind == kind && !self.is_null(column)).then_some(slot)
    }

    fn u32_at(&self, at: usize) -> usize {
        let bytes = self.bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, |b| u32::from_le_bytes(b) as usize)
    }
}

/// Builds rows: columns may be set in any order, more than once (the last wins) or not at all (null).
#[derive(Debug, Default)]
pub struct RowBuilder {
    values: Vec<Value>,
    text: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Null,
    Text { from: usize, to: usize },
    Decimal(i128),
    Timestamp(Micros),
}

impl RowBuilder {
    /// Forgets what was set and makes room for `columns` columns.
    pub fn reset(&mut self, columns: usize) {
        self.values.clear();
        self.values.resize(columns, Value::Null);
        self.text.clear();
    }

    /// Sets a column to null.
    pub fn set_null(&mut self, column: usize) {
        self.set(column, Value::Null);
    }

    /// Sets a text or JSON column.
    pub fn set_text(&mut self, column: usize, text: &str) {
        let from = self.text.len();
        self.text.extend_from_slice(text.as_bytes());
        self.set(column, Value::Text { from, to: self.text.len() });
    }

    /// Sets a decimal column to a mantissa at the column's scale.
    pub fn set_decimal(&mut self, column: usize, mantissa: i128) {
        self.set(column, Value::Decimal(mantissa));
    }

    /// Sets a timestamp column.
    pub fn set_timestamp(&mut self, column: usize, at: Micros) {
        self.set(column, Value::Timestamp(at));
    }

    /// Whether the column was left or set to null.
    pub fn is_null(&self, column: usize) -> bool {
        matches!(self.values.get(column), None | Some(Value::Null))
    }

    /// The text set in a column, for building keys before the row is finished.
    pub fn text(&self, column: usize) -> Option<&str> {
        match self.values.get(column)? {
            Value::Text { from, to } => std::str::from_utf8(self.text.get(*from..*to)?).ok(),
            _ => None,
        }
    }

    /// Appends the canonical bytes of the row to `out`.
    pub fn finish(&self, layout: &RowLayout, out: &mut Vec<u8>) {
        let base = out.len();
        out.resize(base + layout.text_start, 0);
        let mut text_end: u32 = 0;
        for (index, slot) in layout.slots.iter().enumerate() {
            let value = self.values.get(index).copied().unwrap_or(Value::Null);
            match (slot.kind, value) {
                (SlotKind::Text, Value::Text { from, to }) => {
                    out.extend_from_slice(self.text.get(from..to).unwrap_or_default());
                    text_end += u32::try_from(to - from).unwrap_or(u32::MAX);
                }
                (SlotKind::Decimal, Value::Decimal(mantissa)) => {
                    put(out, base + slot.at, &mantissa.to_le_bytes());
                }
                (SlotKind::Timestamp, Value::Timestamp(at)) => {
                    put(out, base + slot.at, &at.0.to_le_bytes());
                }
                _ => {
                    if let Some(bits) = out.get_mut(base + index / 8) {
                        *bits |= 1 << (index % 8);
                    }
                }
            }
            if slot.kind == SlotKind::Text {
                put(out, base + slot.at, &text_end.to_le_bytes());
            }
        }
    }

    fn set(&mut self, column: usize, value: Value) {
        if let Some(slot) = self.values.get_mut(column) {
            *slot = value;
        }
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = out.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Contract {
        Contract::parse(include_str!("../contracts/tables/orders.toml")).unwrap()
    }

    #[test]
    fn reads_back_what_was_set_in_any_order() {
        let contract = orders();
        let layout = RowLayout::new(&contract);
        let column = |name| contract.column(name).unwrap();
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        builder.set_text(column("currency"), "EUR");
        builder.set_decimal(column("amount"), -125_000);
        builder.set_text(column("order_id"), "wrong");
        builder.set_text(column("order_id"), "42");
        builder.set_timestamp(column("placed_at"), Micros(7));
        let mut bytes = vec![0xaa];
        builder.finish(&layout, &mut bytes);
        let row = layout.row(&bytes[1..]);
        assert_eq!(row.text(column("order_id")), Some("42"));
        assert_eq!(row.text(column("currency")), Some("EUR"));
        assert_eq!(row.decimal(column("amount")), Some(-125_000));
        assert_eq!(row.timestamp(column("placed_at")), Some(Micros(7)));
        assert_eq!(row.text(column("status")), None);
        assert!(row.is_null(column("recognized_at")));
        assert_eq!(row.decimal(column("currency")), None);
    }

    #[test]
    fn equal_rows_are_equal_bytes() {
        let layout = RowLayout::new(&orders());
        let build = |order: [usize; 2], texts: [&str; 2]| {
            let mut builder = RowBuilder::default();
            builder.reset(layout.len());
            for at in order {
                builder.set_text([0, 3][at], texts[at]);
            }
            let mut bytes = Vec::new();
            builder.finish(&layout, &mut bytes);
            bytes
        };
        assert_eq!(build([0, 1], ["ab", "c"]), build([1, 0], ["ab", "c"]));
        assert_ne!(build([0, 1], ["ab", "c"]), build([0, 1], ["a", "bc"]));
        assert_ne!(build([0, 1], ["", "c"]), build([1, 1], ["", "c"]), "empty text is not null");
    }
}
