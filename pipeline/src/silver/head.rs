//! What a silver table remembers beside its rows and tombstones, as a barrier saves it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::doubt::Unplaced;
use super::moved::Moved;
use super::origins::SavedOrigins;
use super::{Counters, TableFold};

/// The version of the records.
pub(super) const VERSION: u8 = 9;

/// All but the tombstones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) version: u8,
    pub(super) origins: SavedOrigins,
    pub(super) moved: Moved,
    /// By partition of a life of a topic, the row whose delete came last in it.
    pub(super) last_deletes: BTreeMap<(u32, i32), (u32, Vec<u8>)>,
    pub(super) unplaced: Unplaced,
    /// By partition of a life of a topic, the offset behind its last record.
    pub(super) ends: BTreeMap<(u32, i32), i64>,
    pub(super) counters: Counters,
}

/// The name of its part.
pub(super) fn head_part(table: &str) -> String {
    format!("silver/{table}")
}

impl TableFold {
    pub(super) fn head(&self) -> Head {
        Head {
            version: VERSION,
            origins: self.origins.saved(),
            moved: self.moved.clone(),
            last_deletes: self.last_deletes.clone(),
            unplaced: self.unplaced.clone(),
            ends: self.ends.clone(),
            counters: self.counters,
        }
    }
}
