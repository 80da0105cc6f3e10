//! Reading cells: the same of the engine's own and of frozen ones.

use std::sync::Arc;

use schemas::{CellKey, Micros};

use super::CellRow;
use crate::plan::Plan;
use crate::slabs::{Memory, Slabs};
use crate::value::Parts;

/// Where cells are held.
pub(super) trait Held {
    fn plan(&self) -> &Plan;

    fn slabs(&self, cube: usize) -> &Slabs;

    fn slabs_of(&self, kpi: usize) -> &Slabs {
        self.slabs(self.plan().kpis[kpi].cube)
    }

    fn key(&self, kpi: usize, cell: u32) -> CellKey {
        let slabs = self.slabs_of(kpi);
        let id = slabs.id(cell);
        let series = slabs.series(id.series);
        CellKey {
            kpi: Arc::clone(&self.plan().kpis[kpi].key),
            tenant: Arc::clone(&series.tenant),
            dims: Arc::clone(&series.dims),
            grain: id.grain,
            period_start: id.start,
        }
    }

    fn parts(&self, kpi: usize, cell: u32) -> Option<Parts> {
        Parts::of(&self.plan().kpis[kpi].rule, self.slabs_of(kpi).numbers(cell))
    }

    fn memory(&self, kpi: usize, cell: u32) -> Memory {
        self.slabs_of(kpi).memory(cell, self.plan().kpis[kpi].place)
    }

    fn end(&self, kpi: usize, cell: u32) -> Micros {
        self.slabs_of(kpi).cell(cell).end
    }

    fn row(&self, kpi: usize, cell: u32) -> Option<CellRow> {
        let value = self.parts(kpi, cell)?.value();
        let Memory { epoch, as_of, .. } = self.memory(kpi, cell);
        let unit = self.plan().kpis[kpi].unit;
        Some(CellRow { key: self.key(kpi, cell), value, unit, epoch, as_of })
    }
}
