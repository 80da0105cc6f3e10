//! The engine's cells as they were at one epoch, for writing them while the engine goes on.
//!
//! # Guarantees
//! - Freezing copies no cell, and what is frozen does not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use lake::keyed::{Cluster, FrozenRows, RowsError};
use schemas::{EpochId, Micros, Paged};

use super::held::Held;
use super::timers::CellRef;
use super::{CellRow, Engine};
use crate::catalog::Catalog;
use crate::cube::{CubeChanges, FrozenKept};
use crate::keeping::Keeping;
use crate::plan::Plan;
use crate::slabs::Slabs;
use crate::table::current_batch;

/// The cells of one epoch, and all else that is saved of it.
#[derive(Debug)]
pub struct Frozen {
    pub(super) catalog: Arc<Catalog>,
    pub(super) plan: Arc<Plan>,
    pub(super) cubes: Vec<Slabs>,
    /// What changed of each cube since the freeze before.
    pub(super) changed: Vec<CubeChanges>,
    /// The numbers that are saved, by cube.
    pub(super) kept: Vec<FrozenKept>,
    pub(super) keeping: Arc<Keeping>,
    /// Whether these are not to be used again.
    pub(super) is_doubtful: bool,
    pub(super) slots: Paged<Option<CellRef>>,
    pub(super) clock: Micros,
    pub(super) last_data: Option<(EpochId, Micros)>,
    /// When settling is due, by KPI.
    pub(super) settling: BTreeMap<u32, Micros>,
}

impl Held for Frozen {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn slabs(&self, cube: usize) -> &Slabs {
        &self.cubes[cube]
    }

    fn clock(&self) -> Micros {
        self.clock
    }
}

impl Engine {
    /// The cells as they are now.
    pub fn freeze(&mut self) -> Frozen {
        let renumbered = std::mem::take(&mut self.renumbered);
        let kept = self.cubes.iter_mut().map(|cube| cube.freeze_kept(renumbered)).collect();
        let cubes = self.cubes.iter_mut().map(|cube| cube.freeze(renumbered));
        let (cubes, changed) = cubes.unzip();
        Frozen {
            catalog: Arc::clone(&self.catalog),
            plan: Arc::clone(&self.plan),
            cubes,
            changed,
            kept,
            keeping: Arc::clone(&self.kept.keeping),
            is_doubtful: self.kept.is_doubtful,
            slots: self.slots.freeze(),
            clock: self.clock,
            last_data: self.last_data,
            settling: self.timers.settling(),
        }
    }
}

impl Frozen {
    /// The row in a slot, when there is one.
    pub fn cell_row(&self, slot: u32) -> Option<CellRow> {
        let CellRef { kpi, cell } = (*self.slots.get(slot as usize)?)?;
        self.row(kpi as usize, cell)
    }
}

impl FrozenRows for Frozen {
    fn has_row(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(Option::is_some)
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        let slots = (0_u32..).zip(self.slots.iter());
        Box::new(slots.filter(|(_, held)| held.is_some()).map(|(slot, _)| slot))
    }

    fn cluster(&self, slot: u32) -> Cluster {
        let held = self.slots.get(slot as usize).copied().flatten();
        let end = held.map(|CellRef { kpi, cell }| self.end(kpi as usize, cell));
        if end.is_some_and(|end| end > self.clock) { Cluster::Running } else { Cluster::Settled }
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        let rows: Vec<CellRow> = slots.iter().filter_map(|&slot| self.cell_row(slot)).collect();
        Ok(current_batch(&rows)?)
    }
}
