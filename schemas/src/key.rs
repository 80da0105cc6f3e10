//! The key of a relation's rows: which columns it is, and its one canonical form.
//!
//! A key is the canonical text of each of its columns, joined by [`KEY_SEPARATOR`].
//!
//! # Guarantees
//! - Equal key columns give equal bytes, whatever was written differently in the event that brought them.
//! - Different key columns give different bytes, nulls and separators inside texts included.

use std::io::Write;

use crate::column::ColumnType;
use crate::datum::Datum;
use crate::row::RowRef;

/// Joins the parts of a key.
pub const KEY_SEPARATOR: u8 = 0x1f;

/// Comes before a separator, or itself, inside a part of a key with several.
const ESCAPE: u8 = 0x1e;

/// What an escaped byte is moved by.
const ESCAPED: u8 = 0x20;

/// The part of a column without a value. No text has this byte.
const NULL: u8 = 0xff;

/// The key columns of a relation. None: rows have no key but themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowKey(Vec<usize>);

impl RowKey {
    /// The key of these columns, in this order.
    pub fn new(columns: Vec<usize>) -> RowKey {
        RowKey(columns)
    }

    /// The columns.
    pub fn columns(&self) -> &[usize] {
        &self.0
    }

    /// Appends the key of a row to `out`.
    pub fn write(&self, row: RowRef<'_>, out: &mut Vec<u8>) {
        for (part, &column) in self.0.iter().enumerate() {
            match row.text_bytes(column) {
                Some(text) => self.put(part, text, out),
                None => {
                    let kind = row.schema().kind(column).unwrap_or(ColumnType::Text);
                    self.push(part, row.datum(column), kind, out);
                }
            }
        }
    }

    /// Appends one part of a key, the `part`-th, to `out`.
    pub fn push(&self, part: usize, datum: Datum<'_>, kind: ColumnType, out: &mut Vec<u8>) {
        match datum {
            Datum::Text(text) => self.put(part, text.as_bytes(), out),
            Datum::Null => {
                self.separate(part, out);
                out.push(NULL);
            }
            // No other text has a separator in it. Writing to memory does not fail.
            datum => {
                self.separate(part, out);
                let _written = write!(out, "{}", datum.text(kind));
            }
        }
    }

    /// Whether `key` is the key of `row`.
    pub fn is_of(&self, row: RowRef<'_>, key: &[u8]) -> bool {
        self.with(row, |own| own == key)
    }

    /// Calls `take` with the key of `row`, which is copied only where it is not one text.
    pub fn with<T>(&self, row: RowRef<'_>, take: impl FnOnce(&[u8]) -> T) -> T {
        if let [column] = self.0.as_slice()
            && let Some(text) = row.text_bytes(*column)
        {
            return take(text);
        }
        let mut own = Vec::new();
        self.write(row, &mut own);
        take(&own)
    }

    fn separate(&self, part: usize, out: &mut Vec<u8>) {
        if part > 0 {
            out.push(KEY_SEPARATOR);
        }
    }

    fn put(&self, part: usize, text: &[u8], out: &mut Vec<u8>) {
        self.separate(part, out);
        let special = |byte: &u8| matches!(*byte, KEY_SEPARATOR | ESCAPE);
        if self.0.len() < 2 || !text.iter().any(special) {
            out.extend_from_slice(text);
            return;
        }
        for byte in text {
            match special(byte) {
                true => out.extend_from_slice(&[ESCAPE, byte + ESCAPED]),
                false => out.push(*byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::{Column, RowSchema};
    use crate::row::{RowBuilder, RowLayout};
    use crate::time::Date;

    fn key(kinds: &[&str], values: &[Datum<'_>]) -> Vec<u8> {
        let column = |(at, kind): (usize, &&str)| {
            let kind = ColumnType::parse(kind).unwrap();
            Column { name: format!("c{at}"), kind, required: true }
        };
        let layout =
            RowLayout::new(&RowSchema::new(kinds.iter().enumerate().map(column).collect()));
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        for (at, value) in values.iter().enumerate() {
            builder.set(at, *value);
        }
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        builder.finish(&layout, &mut bytes);
        let key = RowKey::new((0..kinds.len()).collect());
        let row = layout.row(&bytes);
        key.write(row, &mut out);
        assert!(key.is_of(row, &out) && !key.is_of(row, b"?"));
        key.with(row, |own| assert_eq!(own, out));
        out
    }

    #[test]
    fn parts_are_canonical_texts() {
        assert_eq!(key(&["text"], &[Datum::Text("a\u{1f}b")]), b"a\x1fb");
        assert_eq!(key(&["bigint"], &[Datum::Bigint(-7)]), b"-7");
        let parts = [Datum::Date(Date(20_455)), Datum::Boolean(true), Datum::Double(-0.0)];
        assert_eq!(key(&["date", "boolean", "double"], &parts), b"2026-01-02\x1ftrue\x1f0.0");
        let parts = [Datum::Decimal(150), Datum::Text("x")];
        assert_eq!(key(&["decimal(9,2)", "text"], &parts), b"1.5\x1fx");
    }

    #[test]
    fn keys_that_differ_are_different_bytes() {
        let two = |a, b| key(&["text", "text"], &[a, b]);
        let texts = ["", "a", "\u{1f}", "\u{1e}", "\u{1e}?", "a\u{1f}", "null", "\u{1e}\u{1f}"];
        let mut all = Vec::new();
        for a in texts.map(Datum::Text).into_iter().chain([Datum::Null]) {
            for b in texts.map(Datum::Text).into_iter().chain([Datum::Null]) {
                all.push(two(a, b));
            }
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
