//! What a fold says about itself: counters, and why it stands still or refuses a row.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of the changes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Changes that took effect.
    pub applied: u64,
    /// Changes at a lower position than what is held for their key.
    pub stale: u64,
    /// Changes that say again what is held.
    pub duplicate: u64,
    /// Changes not applied because the table is halted.
    pub halted: u64,
    /// Deletes (which took effect) of keys without a row.
    pub unknown_deletes: u64,
    /// Rows deleted because a finished snapshot did not contain them.
    pub swept: u64,
    /// Values that came from an older change than the newest of their row, which had left them out.
    pub filled: u64,
    /// Changes refused: a required value was never sent, or one is outside a strict vocabulary.
    pub refused: u64,
}

/// Why an origin of a table stands still: its source began again at lower positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// The table.
    pub table: String,
    /// The origin: rows of others go on.
    pub origin: String,
    /// The key at which it was seen.
    pub key: String,
    /// The position held for it, as text.
    pub held: String,
    /// The position that came, as text.
    pub came: String,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Halt { table, origin, key, held, came } = self;
        write!(
            f,
            "table `{table}` is halted for {origin}: the source of row `{key}` went back from position {held} to \
             {came} at a later time (failover or restore); take a new snapshot, or let it go on as it is with \
             `weir tables resume {table}`"
        )
    }
}

/// Why a row read back cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error("silver table `{table}` holds row `{key}` twice; rebuild the table from bronze")]
pub struct LoadError {
    pub(super) table: String,
    pub(super) key: String,
}
