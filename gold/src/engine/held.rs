//! Reading cells: the same of the engine's own and of frozen ones.

use std::sync::Arc;

use schemas::window::{self, Role};
use schemas::{CellKey, Micros};

use super::CellRow;
use crate::plan::Plan;
use crate::slabs::{Memory, Slabs};
use crate::value::Parts;

/// Where cells are held.
pub(super) trait Held {
    fn plan(&self) -> &Plan;

    fn slabs(&self, cube: usize) -> &Slabs;

    /// The clock that windows are as of.
    fn clock(&self) -> Micros;

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
        let (kpi, slabs) = (&self.plan().kpis[kpi], self.slabs_of(kpi));
        let parts = Parts::of(&kpi.rule, slabs.numbers(cell));
        parts.filter(|_| kpi.has(slabs.id(cell)))
    }

    fn memory(&self, kpi: usize, cell: u32) -> Memory {
        self.slabs_of(kpi).memory(cell, self.plan().kpis[kpi].place)
    }

    fn end(&self, kpi: usize, cell: u32) -> Micros {
        self.period(kpi, cell).1
    }

    /// Where the period of a cell starts, and where it ends.
    fn period(&self, kpi: usize, cell: u32) -> (Micros, Micros) {
        let slabs = self.slabs_of(kpi);
        let id = slabs.id(cell);
        let periods = &slabs.series(id.series).periods;
        match window::reach(id.grain, Role::Running, periods, self.clock()) {
            Some(reach) => (reach.start, reach.end),
            None => (id.start, slabs.end(id)),
        }
    }

    fn row(&self, kpi: usize, cell: u32) -> Option<CellRow> {
        let value = self.parts(kpi, cell)?.value();
        let Memory { epoch, as_of, .. } = self.memory(kpi, cell);
        let unit = self.plan().kpis[kpi].unit;
        let (key, (period_start, period_end)) = (self.key(kpi, cell), self.period(kpi, cell));
        Some(CellRow { key, period_start, period_end, value, unit, epoch, as_of })
    }
}
