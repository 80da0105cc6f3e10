//! One pass over the JSON of a row: where its cells lie, and what is said beside them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::source_block::{self, Field, Source};
use super::super::{DecodeError, PreparedContract};
use crate::decode::json::{RowShape, not_an_object};
use crate::decode::names::{NameSeed, Piece, piece};

/// What the transform prefixes the fields of a change event with that it adds to a row.
const PREFIX: &str = "__";

/// The row that is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) contract: &'a PreparedContract,
    pub(super) text: &'a str,
    /// Whether fields with two underscores say where the row comes from.
    pub(super) is_flattened: bool,
}

/// What was found beside the cells.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) shape: RowShape,
    /// Where the row lies in the text.
    pub(super) row: Piece,
    pub(super) deleted: Option<Piece>,
    pub(super) op: Option<Piece>,
    pub(super) source: Option<Source>,
    pub(super) schema: Option<Piece>,
    payload: Option<Piece>,
    /// There are fields beside schema and payload.
    has_others: bool,
}

/// What a name stands for, besides a column.
enum Meaning {
    Deleted,
    Op,
    Source(Field),
    Schema,
    Payload,
    Nothing,
}

impl Scan<'_> {
    /// Finds the cells of the row, which may be wrapped with its schema.
    pub(super) fn read(&self, cells: &mut Vec<Option<Piece>>) -> Result<Found, DecodeError> {
        let mut whole = self.scan(self.text, cells)?;
        let payload = whole.payload.clone().filter(|_| !whole.has_others);
        let Some(inside) = payload.and_then(|piece| self.text.get(piece)) else {
            whole.schema = None;
            return Ok(whole);
        };
        let mut found = self.scan(inside, cells)?;
        found.schema = whole.schema;
        Ok(found)
    }

    fn scan(&self, text: &str, cells: &mut Vec<Option<Piece>>) -> Result<Found, DecodeError> {
        let mut found = Found { row: piece(self.base(), text), ..Found::default() };
        let mut json = serde_json::Deserializer::from_str(text);
        let seed = Seed { scan: *self, cells, found: &mut found };
        let shape = seed.deserialize(&mut json).and_then(|shape| json.end().map(|()| shape));
        found.shape =
            shape.map_err(|error| DecodeError(format!("value is no valid json: {error}")))?;
        if let Some(source) = &mut found.source {
            source.settle();
        }
        Ok(found)
    }

    fn base(&self) -> usize {
        self.text.as_ptr().addr()
    }

    fn meaning(&self, name: &str) -> Meaning {
        match name {
            "schema" => return Meaning::Schema,
            "payload" => return Meaning::Payload,
            "__deleted" => return Meaning::Deleted,
            _ if !self.is_flattened => return Meaning::Nothing,
            "__op" => return Meaning::Op,
            // The connector's own clock, and not the source's.
            "__ts_ms" => return Meaning::Nothing,
            _ => {}
        }
        let Some(name) = name.strip_prefix(PREFIX) else { return Meaning::Nothing };
        match source_block::field(name.strip_prefix("source_").unwrap_or(name)) {
            Field::Other => Meaning::Nothing,
            field => Meaning::Source(field),
        }
    }
}

struct Seed<'a> {
    scan: Scan<'a>,
    cells: &'a mut Vec<Option<Piece>>,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = RowShape;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<RowShape, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = RowShape;

    not_an_object!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowShape, A::Error> {
        let Seed { scan, cells, found } = self;
        cells.clear();
        cells.resize(scan.contract.cells(), None);
        let (mut guess, base) = (0, scan.base());
        let known = |guess: usize| {
            NameSeed(move |name: &str| (scan.contract.find(name, guess), scan.meaning(name)))
        };
        while let Some((column, meaning)) = map.next_key_seed(known(guess))? {
            let is_wrapping = matches!(meaning, Meaning::Schema | Meaning::Payload);
            found.has_others |= !is_wrapping;
            if column.is_none() && matches!(meaning, Meaning::Nothing) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw: &'de RawValue = map.next_value()?;
            let at = piece(base, raw.get());
            if let Some(column) = column {
                if let Some(cell) = cells.get_mut(column) {
                    *cell = Some(at.clone());
                }
                guess = column + 1;
            }
            match meaning {
                Meaning::Deleted => found.deleted = Some(at),
                Meaning::Op => found.op = Some(at),
                Meaning::Schema => found.schema = Some(at),
                Meaning::Payload => found.payload = Some(at),
                Meaning::Source(field) => {
                    found.source.get_or_insert_default().set(&field, raw.get(), base);
                }
                Meaning::Nothing => {}
            }
        }
        Ok(RowShape::Row)
    }
}
