//! The cells of one cube as they lie in memory, for the engine and for readers of a frozen state.
//!
//! # Guarantees
//! - [`Slabs::freeze`] copies no cell.

use std::cmp::Ordering;

use schemas::{EpochId, Grain, Micros, Paged};

use crate::history::CellHistory;
use crate::series::Series;
use crate::sum::ExactSum;
use crate::value::Numbers;

/// What names a cell within its cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CellId {
    pub(crate) series: u32,
    pub(crate) grain: Grain,
    pub(crate) start: Micros,
}

/// A cell without its numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) id: CellId,
    pub(crate) end: Micros,
    pub(crate) touched: bool,
    /// Whether the slab entry is in use.
    pub(crate) live: bool,
    /// Whether a timer waits for the end of its period.
    pub(crate) closing: bool,
}

impl Cell {
    /// A cell that nothing has touched.
    pub(crate) fn new(id: CellId, live: bool) -> Cell {
        let end = if live { id.grain.end(id.start) } else { id.start };
        Cell { id, end, touched: false, live, closing: false }
    }
}

/// What is remembered of one KPI of one cell besides the numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) history: CellHistory,
    /// The data epoch that last changed it, and that epoch's clock.
    pub(crate) epoch: EpochId,
    pub(crate) as_of: Micros,
    /// Its slot in the table of current values, while it exists.
    pub(crate) slot: Option<u32>,
}

/// The cells of a cube: for each its name, a count per view, the sums, and the memory of each KPI.
#[derive(Debug)]
pub(crate) struct Slabs {
    pub(crate) series: Paged<Series>,
    pub(crate) cells: Paged<Cell>,
    pub(crate) counts: Paged<i64>,
    pub(crate) sums: Paged<ExactSum>,
    pub(crate) memory: Paged<Memory>,
}

impl Slabs {
    /// No cells, with so many counts, sums and KPIs each.
    pub(crate) fn new(counts: usize, sums: usize, kpis: usize) -> Slabs {
        Slabs {
            series: Paged::new(1),
            cells: Paged::new(1),
            counts: Paged::new(counts),
            sums: Paged::new(sums),
            memory: Paged::new(kpis),
        }
    }

    /// The cells as they are now.
    pub(crate) fn freeze(&mut self) -> Slabs {
        Slabs {
            series: self.series.freeze(),
            cells: self.cells.freeze(),
            counts: self.counts.freeze(),
            sums: self.sums.freeze(),
            memory: self.memory.freeze(),
        }
    }

    pub(crate) fn series(&self, series: u32) -> &Series {
        &self.series.record(series as usize)[0]
    }

    pub(crate) fn cell(&self, cell: u32) -> &Cell {
        &self.cells.record(cell as usize)[0]
    }

    pub(crate) fn cell_mut(&mut self, cell: u32) -> &mut Cell {
        &mut self.cells.record_mut(cell as usize)[0]
    }

    pub(crate) fn numbers(&self, cell: u32) -> Numbers<'_> {
        let at = cell as usize;
        Numbers { counts: self.counts.record(at), sums: self.sums.record(at) }
    }

    pub(crate) fn numbers_mut(&mut self, cell: u32) -> (&mut [i64], &mut [ExactSum]) {
        let at = cell as usize;
        (self.counts.record_mut(at), self.sums.record_mut(at))
    }

    pub(crate) fn memory(&self, cell: u32, place: usize) -> &Memory {
        &self.memory.record(cell as usize)[place]
    }

    pub(crate) fn memories(&self, cell: u32) -> &[Memory] {
        self.memory.record(cell as usize)
    }

    pub(crate) fn memories_mut(&mut self, cell: u32) -> &mut [Memory] {
        self.memory.record_mut(cell as usize)
    }

    /// Cell key order, the KPI apart.
    pub(crate) fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (self.cell(a).id, self.cell(b).id);
        let series = if a.series == b.series {
            Ordering::Equal
        } else {
            self.series(a.series).order(self.series(b.series))
        };
        series.then_with(|| (a.grain, a.start).cmp(&(b.grain, b.start)))
    }

    /// Every cell in use, in cell key order.
    pub(crate) fn sorted_cells(&self) -> Vec<u32> {
        let cells = (0_u32..).zip(self.cells.iter());
        let mut cells: Vec<u32> = cells.filter(|(_, own)| own.live).map(|(at, _)| at).collect();
        cells.sort_unstable_by(|a, b| self.order(*a, *b));
        cells
    }
}
