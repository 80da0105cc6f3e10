//! The decoders there are. Adding one is a module and a line here.

use super::{DebeziumJson, Decoder, Rows};

static ALL: [&dyn Decoder; 5] =
    [&DebeziumJson, &Rows::FLAT, &Rows::PLAIN, &Rows::CSV, &Rows::PARQUET];

/// The decoder with this name, as contracts write it in `format`.
pub fn find(name: &str) -> Option<&'static dyn Decoder> {
    ALL.into_iter().find(|decoder| decoder.name() == name)
}

/// The names of all decoders.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().map(Decoder::name)
}
