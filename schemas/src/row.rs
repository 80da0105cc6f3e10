//! Rows as bytes: one compact, canonical encoding of the columns of a [`RowSchema`].
//!
//! A row is `null bits | fixed slots | text | doubt bits`: one bit per column and two more, then for
//! each column 8 bytes of a decimal, a bigint, a double or a timestamp, 4 of a date, 1 of a boolean or of
//! the end of a text, then the texts in column order. The first bit after those of the columns says that
//! the row is in doubt: that the value of some column was never sent, or that a later change of it could
//! not be read. Only then one bit per column follows at the end for the former, and one for the latter. The
//! second says that the row is wide, because a text ends beyond 255 or a decimal needs more: then decimals
//! have 16 bytes and ends of texts 4.
//!
//! # Guarantees
//! - Canonical: two rows are equal exactly when their bytes are. Doubles have one zero and one NaN.
//! - Any column is read in constant time, without allocating.
//! - A column that is unknown is null, too.
//!
//! # Non-guarantees
//! - The encoding lives in memory only. Tables hold typed columns, so it may change between releases.

mod build;

use crate::column::{ColumnType, RowSchema};
use crate::datum::Datum;
use crate::time::{Date, Micros};

pub use build::RowBuilder;

/// Where each column of a schema lies in its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowLayout {
    schema: RowSchema,
    narrow: Slots,
    wide: Slots,
}

/// The slots of rows that are all narrow or all wide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Slots {
    slots: Vec<SlotLayout>,
    /// Where the texts start.
    text_start: usize,
    /// The slot of the last text, whose end is the end of all.
    last_text: Option<usize>,
    is_wide: bool,
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
    Bigint,
    Double,
    Boolean,
    Date,
    Timestamp,
    Decimal,
}

impl SlotKind {
    /// How a type is kept, and in how many bytes.
    fn of(kind: ColumnType, is_wide: bool) -> (SlotKind, usize) {
        match kind {
            ColumnType::Text | ColumnType::Json => (SlotKind::Text, if is_wide { 4 } else { 1 }),
            ColumnType::Bigint => (SlotKind::Bigint, 8),
            ColumnType::Double => (SlotKind::Double, 8),
            ColumnType::Boolean => (SlotKind::Boolean, 1),
            ColumnType::Date => (SlotKind::Date, 4),
            ColumnType::Timestamp => (SlotKind::Timestamp, 8),
            ColumnType::Decimal { .. } => (SlotKind::Decimal, if is_wide { 16 } else { 8 }),
        }
    }
}

impl RowLayout {
    /// The layout of rows of `schema`.
    pub fn new(schema: &RowSchema) -> RowLayout {
        let (narrow, wide) = (Slots::new(schema, false), Slots::new(schema, true));
        RowLayout { schema: schema.clone(), narrow, wide }
    }

    /// The columns.
    pub fn schema(&self) -> &RowSchema {
        &self.schema
    }

    /// A view on the bytes of one row of this layout.
    #[inline]
    pub fn row<'a>(&'a self, bytes: &'a [u8]) -> RowRef<'a> {
        RowRef { layout: self, bytes }
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.schema.len()
    }

    /// Whether there are no columns at all.
    pub fn is_empty(&self) -> bool {
        self.schema.is_empty()
    }
}

impl Slots {
    fn new(schema: &RowSchema, is_wide: bool) -> Slots {
        let mut laid = Slots { is_wide, ..Slots::default() };
        let mut at = bits(schema.len() + 2);
        for column in schema {
            let (kind, bytes) = SlotKind::of(column.kind, is_wide);
            laid.slots.push(SlotLayout { kind, at, previous_text: laid.last_text });
            if kind == SlotKind::Text {
                laid.last_text = Some(at);
            }
            at += bytes;
        }
        laid.text_start = at;
        laid
    }
}

/// Bytes that hold so many bits.
fn bits(count: usize) -> usize {
    count.div_ceil(8)
}

fn is_set(bits: &[u8], at: usize) -> Option<bool> {
    bits.get(at / 8).map(|byte| byte & (1 << (at % 8)) != 0)
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

    /// The columns.
    pub fn schema(&self) -> &'a RowSchema {
        &self.layout.schema
    }

    /// The value of any column; null when there is no such column.
    pub fn datum(&self, column: usize) -> Datum<'a> {
        let Some(slot) = self.layout.narrow.slots.get(column) else { return Datum::Null };
        let value = match slot.kind {
            SlotKind::Text => self.text(column).map(Datum::Text),
            SlotKind::Bigint => self.bigint(column).map(Datum::Bigint),
            SlotKind::Double => self.double(column).map(Datum::Double),
            SlotKind::Boolean => self.boolean(column).map(Datum::Boolean),
            SlotKind::Date => self.date(column).map(Datum::Date),
            SlotKind::Timestamp => self.timestamp(column).map(Datum::Timestamp),
            SlotKind::Decimal => self.decimal(column).map(Datum::Decimal),
        };
        value.unwrap_or_default()
    }

    /// Whether the column is null.
    #[inline]
    pub fn is_null(&self, column: usize) -> bool {
        is_set(self.bytes, column).unwrap_or(true)
    }

    /// Whether the source may say otherwise: the value of some column was never sent, or the row is
    /// outdated.
    #[inline]
    pub fn is_in_doubt(&self) -> bool {
        is_set(self.bytes, self.layout.len()).unwrap_or(false)
    }

    /// Whether a later change of the row could not be read.
    pub fn is_outdated(&self) -> bool {
        self.doubt_bit(self.layout.len())
    }

    /// Whether the value of some column was never sent.
    pub fn has_unknown(self) -> bool {
        self.unknown().next().is_some()
    }

    /// Whether the value of the column was never sent: what is null here may be anything there.
    pub fn is_unknown(&self, column: usize) -> bool {
        column < self.layout.len() && self.doubt_bit(column)
    }

    fn doubt_bit(&self, at: usize) -> bool {
        if !self.is_in_doubt() {
            return false;
        }
        let slots = self.slots();
        let texts = slots.last_text.map_or(0, |at| self.text_end(slots, at));
        let bits = self.bytes.get(slots.text_start + texts..);
        bits.and_then(|bits| is_set(bits, at)).unwrap_or(false)
    }

    /// The columns whose value was never sent.
    pub fn unknown(self) -> impl Iterator<Item = usize> + 'a {
        let columns = if self.is_in_doubt() { self.layout.len() } else { 0 };
        (0..columns).filter(move |column| self.is_unknown(*column))
    }

    /// The text of a text or JSON column; `None` when it is null or of another type.
    #[inline]
    pub fn text(&self, column: usize) -> Option<&'a str> {
        std::str::from_utf8(self.text_bytes(column)?).ok()
    }

    /// The same as bytes, which takes no check of their encoding.
    #[inline]
    pub fn text_bytes(&self, column: usize) -> Option<&'a [u8]> {
        let slots = self.slots();
        let slot = self.slot(slots, column, SlotKind::Text)?;
        let start = slot.previous_text.map_or(0, |at| self.text_end(slots, at));
        let to = slots.text_start + self.text_end(slots, slot.at);
        self.bytes.get(slots.text_start + start..to)
    }

    /// The number of a bigint column.
    #[inline]
    pub fn bigint(&self, column: usize) -> Option<i64> {
        self.fixed(column, SlotKind::Bigint).map(i64::from_le_bytes)
    }

    /// The number of a double column.
    pub fn double(&self, column: usize) -> Option<f64> {
        self.fixed(column, SlotKind::Double).map(f64::from_le_bytes)
    }

    /// The value of a boolean column.
    pub fn boolean(&self, column: usize) -> Option<bool> {
        self.fixed(column, SlotKind::Boolean).map(|[byte]| byte != 0)
    }

    /// The date of a date column.
    pub fn date(&self, column: usize) -> Option<Date> {
        self.fixed(column, SlotKind::Date).map(|bytes| Date(i32::from_le_bytes(bytes)))
    }

    /// The mantissa of a decimal column, at the column's scale.
    #[inline]
    pub fn decimal(&self, column: usize) -> Option<i128> {
        if self.slots().is_wide {
            return self.fixed(column, SlotKind::Decimal).map(i128::from_le_bytes);
        }
        self.fixed(column, SlotKind::Decimal).map(|bytes| i64::from_le_bytes(bytes).into())
    }

    /// The instant of a timestamp column.
    #[inline]
    pub fn timestamp(&self, column: usize) -> Option<Micros> {
        self.fixed(column, SlotKind::Timestamp).map(|bytes| Micros(i64::from_le_bytes(bytes)))
    }

    #[inline]
    fn fixed<const N: usize>(&self, column: usize, kind: SlotKind) -> Option<[u8; N]> {
        let slot = self.slot(self.slots(), column, kind)?;
        self.bytes.get(slot.at..slot.at + N)?.try_into().ok()
    }

    /// The slots of this row.
    #[inline]
    fn slots(&self) -> &'a Slots {
        let layout = self.layout;
        match is_set(self.bytes, layout.len() + 1) {
            Some(true) => &layout.wide,
            _ => &layout.narrow,
        }
    }

    #[inline]
    fn slot(&self, slots: &Slots, column: usize, kind: SlotKind) -> Option<SlotLayout> {
        let slot = *slots.slots.get(column)?;
        (slot.kind == kind && !self.is_null(column)).then_some(slot)
    }

    /// Where the text ends whose slot is at `at`.
    #[inline]
    fn text_end(&self, slots: &Slots, at: usize) -> usize {
        if slots.is_wide {
            let bytes = self.bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
            return bytes.map_or(0, |b| u32::from_le_bytes(b) as usize);
        }
        self.bytes.get(at).map_or(0, |end| usize::from(*end))
    }
}

#[cfg(test)]
mod tests;
