//! The cells of a row that is a JSON object: where the value of each column lies, without copying it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::PreparedContract;
use crate::decode::names::{NameSeed, Piece, piece};

/// What a field that should hold a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::decode) enum RowShape {
    #[default]
    Absent,
    Null,
    Row,
    /// Something that is no row.
    Other,
}

/// The visits of values that are no object, which seeds that want one have in common.
macro_rules! not_an_object {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<RowShape, E> {
            Ok(RowShape::Null)
        }

        fn visit_bool<E>(self, _: bool) -> Result<RowShape, E> {
            Ok(RowShape::Other)
        }

        fn visit_i64<E>(self, _: i64) -> Result<RowShape, E> {
            Ok(RowShape::Other)
        }

        fn visit_u64<E>(self, _: u64) -> Result<RowShape, E> {
            Ok(RowShape::Other)
        }

        fn visit_f64<E>(self, _: f64) -> Result<RowShape, E> {
            Ok(RowShape::Other)
        }

        fn visit_str<E>(self, _: &str) -> Result<RowShape, E> {
            Ok(RowShape::Other)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RowShape, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(RowShape::Other)
        }
    };
}

pub(in crate::decode) use not_an_object;

/// Notes where the value of each column of a row lies. A column named twice: the last one counts.
pub(in crate::decode) struct RowSeed<'a> {
    pub(in crate::decode) contract: &'a PreparedContract,
    pub(in crate::decode) base: usize,
    pub(in crate::decode) cells: &'a mut Vec<Option<Piece>>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = RowShape;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<RowShape, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = RowShape;

    not_an_object!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowShape, A::Error> {
        self.cells.clear();
        self.cells.resize(self.contract.cells(), None);
        let mut guess = 0;
        let column = |guess: usize| NameSeed(move |name: &str| self.contract.find(name, guess));
        while let Some(found) = map.next_key_seed(column(guess))? {
            let Some(column) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &'de RawValue = map.next_value()?;
            if let Some(cell) = self.cells.get_mut(column) {
                *cell = Some(piece(self.base, raw.get()));
            }
            guess = column + 1;
        }
        Ok(RowShape::Row)
    }
}
