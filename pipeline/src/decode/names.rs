//! Names of fields, told apart without copying them, and where pieces of the event's text lie.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Visitor};

/// Where a piece of the event's text lies.
pub(super) type Piece = std::ops::Range<usize>;

/// Where `part` lies in the text that starts at `base`.
pub(super) fn piece(base: usize, part: &str) -> Piece {
    let start = part.as_ptr().addr().saturating_sub(base);
    start..start + part.len()
}

/// Reads the name of a field and says at once what it stands for.
pub(super) struct NameSeed<F>(pub(super) F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for NameSeed<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for NameSeed<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}
