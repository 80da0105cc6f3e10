//! What a silver table does not hold: tombstones, incarnation, halt, a snapshot that is passing.
//!
//! The bytes are canonical (equal states are equal bytes) but not protected; who stores them seals
//! them.

use std::sync::Arc;

use schemas::{Micros, Position};
use serde::{Deserialize, Serialize};

use super::frozen::FrozenTable;
use super::index::live;
use super::snapshot::SnapshotRun;
use super::tombstones::{Dead, Tombstone};
use super::{Counters, Halt, TableFold};

/// Why saved state was refused.
#[derive(Debug, thiserror::Error)]
#[error("saved state of table `{table}` is damaged ({problem}); rebuild the table from bronze")]
pub struct StateError {
    table: String,
    problem: String,
}

/// All but the tombstones.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    incarnation: u32,
    halt: Option<Halt>,
    snapshot: Option<SnapshotRun>,
    /// Position and clock of the last truncate.
    floor: Option<(String, i64)>,
    counters: Counters,
    tombstones: usize,
}

impl TableFold {
    pub(super) fn head(&self) -> Head {
        Head {
            incarnation: self.incarnation,
            halt: self.halt.clone(),
            snapshot: self.snapshot,
            floor: self.floor.map(|floor| (floor.position.to_string(), floor.clock.0)),
            counters: self.counters,
            tombstones: self.tombstones.len(),
        }
    }

    /// Takes over what [`FrozenTable::save_state`] returned.
    ///
    /// # Errors
    /// When the bytes are not what was saved; the fold is then unchanged.
    pub fn load_state(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let damaged =
            |problem: String| StateError { table: self.contract.contract().name.clone(), problem };
        let mut rest = bytes;
        let head = take(&mut rest).ok_or_else(|| damaged("it is cut off".into()))?;
        let head: Head = serde_json::from_slice(head).map_err(|e| damaged(e.to_string()))?;
        let mut tombstones = super::tombstones::Tombstones::new();
        for _ in 0..head.tombstones {
            let (key, tombstone) = take_tombstone(&mut rest)
                .ok_or_else(|| damaged("a tombstone is cut off".into()))?;
            tombstones.put(key, tombstone);
        }
        if !rest.is_empty() {
            return Err(damaged("something follows its end".into()));
        }
        let floor = match &head.floor {
            None => None,
            Some((text, clock)) => {
                let position = Position::parse(text);
                let position = position.ok_or_else(|| damaged(format!("position `{text}`")))?;
                Some(Tombstone { position, clock: Micros(*clock) })
            }
        };
        self.tombstones = tombstones;
        self.floor = floor;
        self.incarnation = head.incarnation;
        self.halt = head.halt;
        self.snapshot = head.snapshot;
        self.counters = head.counters;
        Ok(())
    }
}

impl FrozenTable {
    /// Everything that the rows of the table do not say. Tombstones are in it oldest first, then by key.
    pub fn save_state(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Serialising plain data cannot fail; an empty head is refused when it is read back.
        put(&mut out, &serde_json::to_vec(&self.head).unwrap_or_default());
        let mut dead: Vec<&Dead> = live(&self.tombstones).map(|(_, dead)| dead).collect();
        dead.sort_unstable_by(|a, b| (a.tombstone.clock, &a.key).cmp(&(b.tombstone.clock, &b.key)));
        for Dead { key, tombstone } in dead {
            put(&mut out, key);
            put(&mut out, tombstone.position.to_string().as_bytes());
            out.extend_from_slice(&tombstone.clock.0.to_le_bytes());
        }
        out
    }
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

fn take_tombstone(rest: &mut &[u8]) -> Option<(Arc<[u8]>, Tombstone)> {
    let key = take(rest)?.into();
    let position = Position::parse(std::str::from_utf8(take(rest)?).ok()?)?;
    let (clock, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some((key, Tombstone { position, clock: Micros(i64::from_le_bytes(*clock)) }))
}
