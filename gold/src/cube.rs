//! Cubes: the cells of all KPIs with one set of dimensions.
//!
//! A cell is named by (series, grain, period start) and holds a count per view, the sums, and for
//! each KPI what is remembered of it. Cells lie in slabs of equal strides; before an epoch changes
//! numbers of a cell they are put aside, so that the change can be told afterwards.
//!
//! # Guarantees
//! - Without new cells nothing is allocated per row once the buffers have grown.
//! - Rows enter hours and days; their values enter the bags of longer periods too, which do not add up, nor do
//!   numbers of different values. All else of longer periods are sums of days: [`Cube::roll_up`] brings them what an epoch
//!   changed of their days, [`Cube::roll_up_all`] what the days hold.

mod different;
mod kept;
mod overlap;
mod rolling;
mod stock;
mod touched;
mod windows;

use std::hash::BuildHasher;
use std::sync::Arc;

use expr::Value;
use foldhash::fast::FixedState;
use hashbrown::{HashSet, HashTable};
use schemas::{Calendar, Grain, Grains, Marks, Micros, Periods};

use crate::bag::{Bags, Extract};
use crate::distinct::Distinct;
use crate::flow::Joined;
use crate::plan::{Bag, CubeShape, Selection};
use crate::series::SeriesIndex;
use crate::slabs::{Cell, CellId, Memory, PackedCell, PackedMemory, Slabs};
use crate::sum::ExactSum;
use different::{Days, Later};
pub(crate) use different::{Spot, Telling};
use kept::Kept;
pub(crate) use kept::{FrozenKept, KeptNumbers};
use overlap::Spans;
pub(crate) use overlap::{Share, Span};
pub(crate) use rolling::Moved;
use rolling::Rolling;
use stock::Ledger;
pub(crate) use stock::{Noted, Step};
use touched::Aside;
pub(crate) use touched::{RANKED_MIN, Room, Told, Touched};

/// A number of a cell: a count with that of its rows in doubt, or a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Number {
    Count(usize),
    Sum(usize),
}

/// The cells of one set of dimensions.
#[derive(Debug)]
pub(crate) struct Cube {
    pub(crate) slabs: Slabs,
    series: SeriesIndex,
    /// Cells by their names, which lie in the slabs; those of windows are in [`Rolling`].
    index: HashTable<u32>,
    hasher: FixedState,
    free: Vec<u32>,
    /// Those of its KPIs.
    pub(crate) grains: Grains,
    counts_stride: usize,
    sums_stride: usize,
    /// The sums that are sums of rows, and so add up over periods.
    linear: Vec<usize>,
    pub(crate) touched: Vec<Touched>,
    aside: Aside,
    /// By number what each selection of rows feeds, and by sum which one feeds it.
    selections: Vec<Selection>,
    fed_by: Vec<usize>,
    bags: Bags,
    /// What comes and goes, where its cells are of what is alive at the end of their periods.
    ledger: Option<Ledger>,
    /// What rows bring, where its cells are of what overlaps their periods.
    spans: Option<Spans>,
    /// By bag the sum that it feeds, the one that counts its values, and what is read from it.
    bagged: Vec<(usize, usize, Extract)>,
    /// The sums that are numbers of different values, and those values.
    different: Vec<usize>,
    distinct: Distinct,
    /// Changes of such numbers to be made when the epoch ends.
    later: Vec<Later>,
    days: Days,
    rolling: Rolling,
    /// In an epoch with quiet rows: the numbers that others change.
    loud: HashSet<(u32, Number), FixedState>,
    /// By series: the rank among those whose cells are sorted.
    ranks: Vec<u32>,
    /// Cells whose memory changed since the last freeze.
    changed: Marks,
    /// Series that the last freeze had.
    frozen_series: usize,
    kept: Kept,
}

/// What changed of a cube since the freeze before; `None` when everything has another number.
#[derive(Debug, Clone, Default)]
pub(crate) struct CubeChanges {
    pub(crate) cells: Option<Vec<u32>>,
    pub(crate) series: Option<Vec<u32>>,
}

impl Cube {
    pub(crate) fn new(shape: &CubeShape, calendar: &Arc<Calendar>) -> Cube {
        Cube {
            slabs: Slabs::new(shape.counts, shape.sums, shape.kpis.len()),
            series: SeriesIndex::new(shape.dims.clone(), Arc::clone(calendar)),
            index: HashTable::new(),
            hasher: FixedState::with_seed(0xce11),
            free: Vec::new(),
            grains: match shape.windows.has(Grain::Last24Hours) {
                true => shape.grains.or([Grain::Hour].into_iter().collect()),
                false => shape.grains,
            },
            counts_stride: shape.counts,
            sums_stride: shape.sums,
            linear: (0..shape.sums).filter(|sum| !shape.bagged.contains(sum)).collect(),
            touched: Vec::new(),
            aside: Aside::default(),
            selections: shape.selections.clone(),
            fed_by: shape.fed_by(),
            bags: Bags::default(),
            ledger: (shape.joined == Joined::Alive).then(Ledger::default),
            spans: (shape.joined == Joined::Overlap).then(Spans::default),
            bagged: shape.bags.clone(),
            different: shape.different.clone(),
            distinct: Distinct::default(),
            later: Vec::new(),
            days: Days::default(),
            rolling: Rolling::new(shape.windows),
            loud: HashSet::with_hasher(FixedState::with_seed(0x10d)),
            ranks: Vec::new(),
            changed: Marks::default(),
            frozen_series: 0,
            kept: Kept::default(),
        }
    }

    /// Changes the memory of one KPI of a cell.
    pub(crate) fn put_memory(&mut self, cell: u32, place: usize, memory: &Memory) {
        self.changed.mark(cell);
        self.slabs.put_memory(cell, place, memory);
    }

    /// The same in place.
    pub(crate) fn change_memory<R>(
        &mut self,
        cell: u32,
        place: usize,
        change: impl FnOnce(&mut Memory) -> R,
    ) -> R {
        self.changed.mark(cell);
        self.slabs.change_memory(cell, place, change)
    }

    /// The cells as they are now, and what changed of them.
    pub(crate) fn freeze(&mut self, renumbered: bool) -> (Slabs, CubeChanges) {
        let series = self.slabs.series.len();
        let fresh = std::mem::replace(&mut self.frozen_series, series)..series;
        let (cells, series) = (self.changed.take(), fresh.filter_map(|at| u32::try_from(at).ok()));
        let changes = match renumbered {
            true => CubeChanges::default(),
            false => CubeChanges { cells: Some(cells), series: Some(series.collect()) },
        };
        (self.slabs.freeze(), changes)
    }

    /// Makes a cell under the number that it was saved with; `false` when it cannot be.
    pub(crate) fn restore(&mut self, cell: u32, id: CellId) -> bool {
        let slabs = &mut self.slabs;
        let nobody = CellId { series: u32::MAX, grain: Grain::Hour, start: Micros(i64::MIN) };
        while slabs.cells.len() <= cell as usize {
            slabs.counts.push(0);
            slabs.sums.push(ExactSum::default());
            slabs.memory.push(PackedMemory::new(&Memory::default()));
            slabs.cells.push(PackedCell::new(&Cell::new(nobody, false)));
        }
        if slabs.cell(cell).live || id.series as usize >= slabs.series.len() {
            return false;
        }
        if self.find(id).is_some() {
            return false;
        }
        self.slabs.put_cell(cell, &Cell::new(id, true));
        self.insert(id, cell);
        true
    }

    /// Ends restoring cells: the numbers between them are free, the lowest to be taken first.
    pub(crate) fn finish_restore(&mut self) {
        let cells = (0_u32..).zip(self.slabs.cells.iter()).filter(|(_, cell)| !cell.is_live());
        self.free = cells.map(|(number, _)| number).collect();
        self.free.reverse();
        self.frozen_series = self.slabs.series.len();
    }

    /// The periods of a series.
    pub(crate) fn periods(&self, series: u32) -> Arc<Periods> {
        Arc::clone(&self.slabs.series(series).periods)
    }

    /// The number of a series by its raw bytes; `None` when they are not those of one.
    pub(crate) fn intern(&mut self, raw: &[u8]) -> Option<u32> {
        self.series.intern(&mut self.slabs.series, raw)
    }

    /// The series of a tenant and dimensions written as canonical JSON, if it has been seen.
    pub(crate) fn find_series(&self, tenant: &str, dims: &str) -> Option<u32> {
        self.series.find(&self.slabs.series, tenant, dims)
    }

    pub(crate) fn find(&self, id: CellId) -> Option<u32> {
        if let Some(cell) = self.rolling.cell(id) {
            return cell;
        }
        let is_it = |cell: &u32| self.slabs.id(*cell) == id;
        self.index.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// The cell with this name, made if it does not exist.
    pub(crate) fn find_or_create(&mut self, id: CellId) -> u32 {
        if let Some(cell) = self.find(id) {
            return cell;
        }
        let fresh = Cell::new(id, true);
        let slabs = &mut self.slabs;
        let cell = match self.free.pop() {
            Some(cell) => {
                slabs.put_cell(cell, &fresh);
                let (counts, sums) = slabs.numbers_mut(cell);
                counts.fill(0);
                sums.fill(ExactSum::default());
                slabs.forget_memories(cell);
                cell
            }
            None => {
                slabs.counts.push(0);
                slabs.sums.push(ExactSum::default());
                slabs.memory.push(PackedMemory::new(&Memory::default()));
                u32::try_from(slabs.cells.push(PackedCell::new(&fresh))).unwrap_or(u32::MAX)
            }
        };
        self.insert(id, cell);
        cell
    }

    fn insert(&mut self, id: CellId, cell: u32) {
        if !self.rolling.put_cell(id, Some(cell)) {
            let hash = |cell: &u32| self.hasher.hash_one(self.slabs.id(*cell));
            self.index.insert_unique(self.hasher.hash_one(id), cell, hash);
        }
        self.enter(id, cell);
    }

    /// Puts a value into a bag of a cell, or takes it out, and says whether a number of the cell changed.
    pub(crate) fn change_bag(
        &mut self,
        cell: u32,
        bag: &Bag,
        value: &Value<'_>,
        comes: bool,
    ) -> bool {
        let at = (cell, u32::try_from(bag.sum).unwrap_or(u32::MAX));
        let Some(shift) = self.bags.change(at, bag.extract, value, comes) else { return false };
        let (_, sums) = self.slabs.numbers_mut(cell);
        sums[bag.sum].subtract(shift.from);
        sums[bag.sum].add(shift.to);
        match comes {
            true => sums[bag.present].add(1),
            false => sums[bag.present].subtract(1),
        }
        true
    }

    /// The longer periods that a day is in.
    pub(crate) fn longer(&self, day: CellId) -> Vec<CellId> {
        let CellId { series, start, .. } = day;
        let periods = self.periods(series);
        let around = periods.around(self.grains, start);
        around.map(|(grain, start)| CellId { series, grain, start }).collect()
    }

    /// Brings what the epoch changed of days into the longer periods that they are part of, and of hours and
    /// days into windows.
    pub(crate) fn roll_up(&mut self) {
        let rows = self.touched.len();
        for at in 0..rows {
            let day = self.touched[at];
            let id = self.slabs.id(day.cell);
            if id.grain != Grain::Day {
                continue;
            }
            for (grain, start) in self.periods(id.series).around(self.grains, id.start) {
                let cell = self.find_or_create(CellId { series: id.series, grain, start });
                self.touch(cell);
                self.add_change(day, cell);
                self.pass_loud(day, cell);
            }
        }
        self.change_longer();
        self.roll_into_windows(rows);
    }

    /// Makes the longer periods the sums of their days, however often: rows of a rebuild enter hours and days
    /// only.
    pub(crate) fn roll_up_all(&mut self) {
        let (mut days, mut long) = (Vec::new(), Vec::new());
        for (number, cell) in (0_u32..).zip(self.slabs.cells.iter()) {
            match cell.id() {
                _ if !cell.is_live() => {}
                id if id.grain == Grain::Day => days.push((number, id)),
                id if id.grain.is_long() => long.push(number),
                _ => {}
            }
        }
        for cell in long {
            let (counts, sums) = self.slabs.numbers_mut(cell);
            counts.fill(0);
            let counted_anew = self.linear.iter().chain(&self.different);
            counted_anew.for_each(|sum| sums[*sum] = ExactSum::default());
        }
        for (day, id) in days {
            // One of another calendar, or one that is only remembered.
            if self.slabs.numbers(day).counts.iter().all(|count| *count == 0) {
                continue;
            }
            for (grain, start) in self.periods(id.series).around(self.grains, id.start) {
                let cell = self.find_or_create(CellId { series: id.series, grain, start });
                for place in 0..self.counts_stride {
                    let count = self.slabs.numbers(day).counts[place];
                    self.slabs.numbers_mut(cell).0[place] += count;
                }
                for place in self.linear.iter().copied() {
                    let sum = self.slabs.numbers(day).sums[place];
                    self.slabs.numbers_mut(cell).1[place].add_change(ExactSum::default(), sum);
                }
            }
        }
        self.count_longer();
        self.rebuild_windows();
    }

    /// Names a cell once if its period is running.
    pub(crate) fn watch_end(
        &mut self,
        cell: u32,
        now: Micros,
        mut closing: impl FnMut(Micros, u32),
    ) {
        let Some(end) = self.slabs.unwatched_end(cell) else { return };
        if end > now {
            self.slabs.set_closing(cell, true);
            closing(end, cell);
        }
    }

    /// Forgets a cell unless a row feeds it or its history may still matter.
    pub(crate) fn release(&mut self, cell: u32, now: Micros) {
        if self.slabs.numbers(cell).counts.iter().any(|count| *count != 0) {
            return;
        }
        let Cell { id, live, .. } = self.slabs.cell(cell);
        let over = self.slabs.end(id) <= now;
        if !live || self.slabs.memories(cell).any(|m| m.history.needed(over)) {
            return;
        }
        self.forget(cell);
        self.leave(id, cell);
    }

    /// Gives a cell's number back.
    fn forget(&mut self, cell: u32) {
        let id = self.slabs.id(cell);
        if !self.rolling.put_cell(id, None)
            && let Ok(entry) = self.index.find_entry(self.hasher.hash_one(id), |own| *own == cell)
        {
            entry.remove();
        }
        self.changed.mark(cell);
        self.kept.mark(cell);
        self.slabs.set_live(cell, false);
        self.free.push(cell);
    }
}
