//! Cubes: the cells of all KPIs with one set of dimensions.
//!
//! A cell is named by (series, grain, period start) and holds a count per view, the sums, and for
//! each KPI what is remembered of it. Cells lie in slabs of equal strides; the first time an epoch
//! touches a cell its numbers are put aside, so that the change can be told afterwards.
//!
//! # Guarantees
//! - Without new cells nothing is allocated per row once the buffers have grown.
//! - [`Cube::touched`] is in cell key order after [`Cube::sort_touched`], whatever the hash order.

use std::cmp::Ordering;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use schemas::{EpochId, Grain, Micros};

use crate::history::CellHistory;
use crate::plan::CubeShape;
use crate::series::SeriesTable;
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
    touched: bool,
    /// Whether the slab entry is in use.
    live: bool,
    /// Whether a timer waits for the end of its period.
    closing: bool,
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

/// A touched cell and where its numbers before the epoch lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) cell: u32,
    before: u32,
}

/// The cells of one set of dimensions.
#[derive(Debug)]
pub(crate) struct Cube {
    counts_stride: usize,
    sums_stride: usize,
    kpis_stride: usize,
    pub(crate) series: SeriesTable,
    index: HashMap<CellId, u32, FixedState>,
    cells: Vec<Cell>,
    free: Vec<u32>,
    counts: Vec<i64>,
    sums: Vec<ExactSum>,
    memory: Vec<Memory>,
    pub(crate) touched: Vec<Touched>,
    counts_before: Vec<i64>,
    sums_before: Vec<ExactSum>,
}

impl Cube {
    pub(crate) fn new(shape: &CubeShape) -> Cube {
        Cube {
            counts_stride: shape.counts,
            sums_stride: shape.sums,
            kpis_stride: shape.kpis.len(),
            series: SeriesTable::new(shape.dims.clone()),
            index: HashMap::with_hasher(FixedState::with_seed(0xce11)),
            cells: Vec::new(),
            free: Vec::new(),
            counts: Vec::new(),
            sums: Vec::new(),
            memory: Vec::new(),
            touched: Vec::new(),
            counts_before: Vec::new(),
            sums_before: Vec::new(),
        }
    }

    pub(crate) fn find(&self, id: CellId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    /// The cell with this name, made if it does not exist.
    pub(crate) fn find_or_create(&mut self, id: CellId) -> u32 {
        if let Some(cell) = self.index.get(&id) {
            return *cell;
        }
        let fresh =
            Cell { id, end: id.grain.end(id.start), touched: false, live: true, closing: false };
        let cell = match self.free.pop() {
            Some(cell) => {
                self.cells[cell as usize] = fresh;
                self.numbers_mut(cell).0.fill(0);
                self.numbers_mut(cell).1.fill(ExactSum::default());
                self.memories_mut(cell).fill(Memory::default());
                cell
            }
            None => {
                let cell = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
                self.cells.push(fresh);
                self.counts.resize(self.counts.len() + self.counts_stride, 0);
                self.sums.resize(self.sums.len() + self.sums_stride, ExactSum::default());
                self.memory.resize(self.memory.len() + self.kpis_stride, Memory::default());
                cell
            }
        };
        self.index.insert(id, cell);
        cell
    }

    /// Puts the numbers of a cell aside unless this epoch has done so.
    pub(crate) fn touch(&mut self, cell: u32) {
        let at = cell as usize;
        if std::mem::replace(&mut self.cells[at].touched, true) {
            return;
        }
        let before = u32::try_from(self.touched.len()).unwrap_or(u32::MAX);
        self.touched.push(Touched { cell, before });
        let counts = at * self.counts_stride..(at + 1) * self.counts_stride;
        let sums = at * self.sums_stride..(at + 1) * self.sums_stride;
        self.counts_before.extend_from_slice(&self.counts[counts]);
        self.sums_before.extend_from_slice(&self.sums[sums]);
    }

    pub(crate) fn cell(&self, cell: u32) -> &Cell {
        &self.cells[cell as usize]
    }

    pub(crate) fn numbers(&self, cell: u32) -> Numbers<'_> {
        let at = cell as usize;
        Numbers {
            counts: &self.counts[at * self.counts_stride..(at + 1) * self.counts_stride],
            sums: &self.sums[at * self.sums_stride..(at + 1) * self.sums_stride],
        }
    }

    /// The numbers of a touched cell before the epoch.
    pub(crate) fn numbers_before(&self, touched: Touched) -> Numbers<'_> {
        let at = touched.before as usize;
        Numbers {
            counts: &self.counts_before[at * self.counts_stride..(at + 1) * self.counts_stride],
            sums: &self.sums_before[at * self.sums_stride..(at + 1) * self.sums_stride],
        }
    }

    pub(crate) fn numbers_mut(&mut self, cell: u32) -> (&mut [i64], &mut [ExactSum]) {
        let at = cell as usize;
        (
            &mut self.counts[at * self.counts_stride..(at + 1) * self.counts_stride],
            &mut self.sums[at * self.sums_stride..(at + 1) * self.sums_stride],
        )
    }

    pub(crate) fn memory(&self, cell: u32, place: usize) -> &Memory {
        &self.memory[cell as usize * self.kpis_stride + place]
    }

    pub(crate) fn memory_mut(&mut self, cell: u32, place: usize) -> &mut Memory {
        &mut self.memory[cell as usize * self.kpis_stride + place]
    }

    fn memories_mut(&mut self, cell: u32) -> &mut [Memory] {
        let at = cell as usize * self.kpis_stride;
        &mut self.memory[at..at + self.kpis_stride]
    }

    /// Cell key order, the KPI apart.
    pub(crate) fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (self.cell(a).id, self.cell(b).id);
        let series = if a.series == b.series {
            Ordering::Equal
        } else {
            self.series.get(a.series).order(self.series.get(b.series))
        };
        series.then_with(|| (a.grain, a.start).cmp(&(b.grain, b.start)))
    }

    pub(crate) fn sort_touched(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable_by(|a, b| self.order(a.cell, b.cell));
        self.touched = touched;
    }

    /// Ends the epoch: forgets what was put aside and the cells that nothing needs any more, and names
    /// the cells that stay and whose period is running for the first time.
    pub(crate) fn clear_touched(&mut self, now: Micros, mut closing: impl FnMut(Micros, u32)) {
        let mut touched = std::mem::take(&mut self.touched);
        for Touched { cell, .. } in touched.drain(..) {
            self.cells[cell as usize].touched = false;
            self.release(cell, now);
            self.watch_end(cell, now, &mut closing);
        }
        self.touched = touched;
        self.counts_before.clear();
        self.sums_before.clear();
    }

    /// Names a cell once if its period is running.
    pub(crate) fn watch_end(
        &mut self,
        cell: u32,
        now: Micros,
        mut closing: impl FnMut(Micros, u32),
    ) {
        let cell_mut = &mut self.cells[cell as usize];
        if cell_mut.live && !cell_mut.closing && cell_mut.end > now {
            cell_mut.closing = true;
            closing(cell_mut.end, cell);
        }
    }

    /// Forgets a cell unless a row feeds it or its history may still matter.
    pub(crate) fn release(&mut self, cell: u32, now: Micros) {
        let Cell { id, end, live, .. } = *self.cell(cell);
        let fed = self.numbers(cell).counts.iter().any(|count| *count != 0);
        let over = end <= now;
        if !live || fed || self.memories_mut(cell).iter().any(|m| m.history.needed(over)) {
            return;
        }
        self.index.remove(&id);
        self.cells[cell as usize].live = false;
        self.free.push(cell);
    }

    /// Every cell in use, in cell key order.
    pub(crate) fn sorted_cells(&self) -> Vec<u32> {
        let mut cells: Vec<u32> = self.index.values().copied().collect();
        cells.sort_unstable_by(|a, b| self.order(*a, *b));
        cells
    }
}
