//! The cells of one cube as they lie in memory, for the engine and for readers of a frozen state.
//!
//! # Guarantees
//! - [`Slabs::freeze`] copies no cell.

use std::cmp::Ordering;

use schemas::{EpochId, Grain, Micros, Paged};

use crate::history::CellHistory;
use crate::series::Series;
use crate::sum::{ExactSum, Numbers};

/// What names a cell within its cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CellId {
    pub(crate) series: u32,
    pub(crate) grain: Grain,
    pub(crate) start: Micros,
}

/// A cell without its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) id: CellId,
    /// Whether the slab entry is in use.
    pub(crate) live: bool,
    /// Whether a timer waits for the end of its period.
    pub(crate) closing: bool,
}

impl Cell {
    /// A cell whose end no timer waits for.
    pub(crate) fn new(id: CellId, live: bool) -> Cell {
        Cell { id, live, closing: false }
    }
}

/// A cell as it lies in memory: 12 bytes. Periods start at whole seconds, and their ends follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedCell {
    series: u32,
    /// Seconds since 1970 that the period starts at, the lower 32 bits.
    second_low: u32,
    second_high: i16,
    /// The grain, then a bit for each flag.
    bits: u8,
}

const SECOND_US: i64 = 1_000_000;
const GRAIN: u8 = 15;
const LIVE: u8 = 16;
const CLOSING: u8 = 32;

/// A bit that is set, or not.
fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

impl PackedCell {
    pub(crate) fn new(cell: &Cell) -> PackedCell {
        let CellId { series, grain, start } = cell.id;
        let seconds = start.0.div_euclid(SECOND_US);
        PackedCell {
            series,
            second_low: u32::try_from(seconds & i64::from(u32::MAX)).unwrap_or_default(),
            second_high: i16::try_from(seconds >> 32).unwrap_or_default(),
            bits: grain as u8 | flag(cell.live, LIVE) | flag(cell.closing, CLOSING),
        }
    }

    pub(crate) fn id(self) -> CellId {
        let seconds = i64::from(self.second_high) << 32 | i64::from(self.second_low);
        let grain = match self.bits & GRAIN {
            0 => Grain::Hour,
            1 => Grain::Day,
            2 => Grain::Week,
            3 => Grain::Month,
            4 => Grain::Quarter,
            5 => Grain::Year,
            6 => Grain::Last24Hours,
            7 => Grain::Last7Days,
            8 => Grain::Last30Days,
            9 => Grain::Last90Days,
            _ => Grain::Always,
        };
        CellId { series: self.series, grain, start: Micros(seconds.saturating_mul(SECOND_US)) }
    }

    fn unpacked(self) -> Cell {
        let id = self.id();
        let has = |bit: u8| self.bits & bit != 0;
        Cell { id, live: has(LIVE), closing: has(CLOSING) }
    }

    /// Whether the slab entry is in use.
    pub(crate) fn is_live(self) -> bool {
        self.bits & LIVE != 0
    }

    fn set(&mut self, bit: u8, to: bool) {
        self.bits = if to { self.bits | bit } else { self.bits & !bit };
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

/// The same as it lies in memory: 32 bytes instead of 48.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedMemory {
    epoch: EpochId,
    as_of: Micros,
    last_row: Micros,
    slot: u32,
    bits: u8,
}

const HAS_SLOT: u8 = 1;
const HAS_ROW: u8 = 2;
const CLOSED: u8 = 4;
const QUIET_DIRTY: u8 = 8;
const BEHIND: u8 = 16;

impl PackedMemory {
    pub(crate) fn new(memory: &Memory) -> PackedMemory {
        let Memory { history, epoch, as_of, slot } = *memory;
        PackedMemory {
            epoch,
            as_of,
            last_row: history.last_row.unwrap_or_default(),
            slot: slot.unwrap_or_default(),
            bits: flag(slot.is_some(), HAS_SLOT)
                | flag(history.last_row.is_some(), HAS_ROW)
                | flag(history.closed, CLOSED)
                | flag(history.quiet_dirty, QUIET_DIRTY)
                | flag(history.behind, BEHIND),
        }
    }

    pub(crate) fn unpacked(self) -> Memory {
        let has = |bit: u8| self.bits & bit != 0;
        let history = CellHistory {
            last_row: has(HAS_ROW).then_some(self.last_row),
            closed: has(CLOSED),
            quiet_dirty: has(QUIET_DIRTY),
            behind: has(BEHIND),
        };
        let slot = has(HAS_SLOT).then_some(self.slot);
        Memory { history, epoch: self.epoch, as_of: self.as_of, slot }
    }
}

const _: () = assert!(size_of::<PackedCell>() == 12 && size_of::<PackedMemory>() == 32);

/// The cells of a cube: for each its name, a count per view, the sums, and the memory of each KPI.
#[derive(Debug)]
pub(crate) struct Slabs {
    pub(crate) series: Paged<Series>,
    pub(crate) cells: Paged<PackedCell>,
    pub(crate) counts: Paged<i64>,
    pub(crate) sums: Paged<ExactSum>,
    pub(crate) memory: Paged<PackedMemory>,
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

    pub(crate) fn cell(&self, cell: u32) -> Cell {
        self.cells.record(cell as usize)[0].unpacked()
    }

    /// The same of a number that need not be that of a cell.
    pub(crate) fn get(&self, cell: u32) -> Option<Cell> {
        self.cells.get(cell as usize).map(|cell| cell.unpacked())
    }

    /// When the period of a live cell ends, unless a timer waits for that, or it is a window's.
    pub(crate) fn unwatched_end(&self, cell: u32) -> Option<Micros> {
        let held = self.cells.record(cell as usize)[0];
        let is_unwatched = held.bits & (LIVE | CLOSING) == LIVE && !held.id().grain.is_window();
        is_unwatched.then(|| self.end(held.id()))
    }

    /// When the period of a cell ends.
    pub(crate) fn end(&self, CellId { series, grain, start }: CellId) -> Micros {
        self.series(series).periods.end(grain, start)
    }

    pub(crate) fn id(&self, cell: u32) -> CellId {
        self.cells.record(cell as usize)[0].id()
    }

    pub(crate) fn put_cell(&mut self, cell: u32, own: &Cell) {
        self.cells.record_mut(cell as usize)[0] = PackedCell::new(own);
    }

    pub(crate) fn set_live(&mut self, cell: u32, to: bool) {
        self.set(cell, LIVE, to);
    }

    pub(crate) fn set_closing(&mut self, cell: u32, to: bool) {
        self.set(cell, CLOSING, to);
    }

    fn set(&mut self, cell: u32, bit: u8, to: bool) {
        self.cells.record_mut(cell as usize)[0].set(bit, to);
    }

    pub(crate) fn numbers(&self, cell: u32) -> Numbers<'_> {
        let at = cell as usize;
        Numbers { counts: self.counts.record(at), sums: self.sums.record(at) }
    }

    pub(crate) fn numbers_mut(&mut self, cell: u32) -> (&mut [i64], &mut [ExactSum]) {
        let at = cell as usize;
        (self.counts.record_mut(at), self.sums.record_mut(at))
    }

    pub(crate) fn memory(&self, cell: u32, place: usize) -> Memory {
        self.memory.record(cell as usize)[place].unpacked()
    }

    pub(crate) fn memories(&self, cell: u32) -> impl Iterator<Item = Memory> {
        self.memory.record(cell as usize).iter().map(|memory| memory.unpacked())
    }

    pub(crate) fn put_memory(&mut self, cell: u32, place: usize, memory: &Memory) {
        self.memory.record_mut(cell as usize)[place] = PackedMemory::new(memory);
    }

    pub(crate) fn change_memory<R>(
        &mut self,
        cell: u32,
        place: usize,
        change: impl FnOnce(&mut Memory) -> R,
    ) -> R {
        let held = &mut self.memory.record_mut(cell as usize)[place];
        let mut memory = held.unpacked();
        let result = change(&mut memory);
        *held = PackedMemory::new(&memory);
        result
    }

    pub(crate) fn forget_memories(&mut self, cell: u32) {
        self.memory.record_mut(cell as usize).fill(PackedMemory::new(&Memory::default()));
    }

    /// Cell key order, the KPI apart.
    pub(crate) fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (self.id(a), self.id(b));
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
        let mut cells: Vec<u32> =
            cells.filter(|(_, own)| own.is_live()).map(|(at, _)| at).collect();
        cells.sort_unstable_by(|a, b| self.order(*a, *b));
        cells
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_what_was_put_in(
            at in any::<i64>(), grain in 0..Grain::ALL.len() + Grain::WINDOWS.len(), series in any::<u32>(), flags in any::<[bool; 5]>(),
            memory in any::<(u64, i64, Option<i64>, Option<u32>)>(),
        ) {
            let grain = Grain::ALL.into_iter().chain(Grain::WINDOWS).nth(grain).unwrap();
            // The first period of all may begin before the first instant.
            let start = grain.start(Micros(at.max(i64::MIN + 400 * 86_400 * SECOND_US)));
            let [live, closing, closed, quiet_dirty, behind] = flags;
            let id = CellId { series, grain, start };
            let cell = Cell { id, live, closing };
            prop_assert_eq!(PackedCell::new(&cell).unpacked(), cell);
            let (epoch, as_of, last_row, slot) = memory;
            let last_row = last_row.map(Micros);
            let history = CellHistory { last_row, closed, quiet_dirty, behind };
            let memory = Memory { history, epoch, as_of: Micros(as_of), slot };
            prop_assert_eq!(PackedMemory::new(&memory).unpacked(), memory);
        }
    }
}
