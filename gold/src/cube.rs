//! Cubes: the cells of all KPIs with one set of dimensions.
//!
//! A cell is named by (series, grain, period start) and holds a count per view, the sums, and for
//! each KPI what is remembered of it. Cells lie in slabs of equal strides; the first time an epoch
//! touches a cell its numbers are put aside, so that the change can be told afterwards.
//!
//! # Guarantees
//! - Without new cells nothing is allocated per row once the buffers have grown.
//! - [`Cube::touched`] is in cell key order after [`Cube::sort_touched`], whatever the hash order.
//! - Rows enter hours and days; their values enter the bags of longer periods too, which do not add up, nor do
//!   numbers of different values. All else of longer periods are sums of days: [`Cube::roll_up`] brings them what an epoch
//!   changed of their days, [`Cube::roll_up_all`] what the days hold.

mod different;
mod kept;
mod rolling;
mod stock;
mod windows;

use std::hash::BuildHasher;
use std::sync::Arc;

use expr::Value;
use foldhash::fast::FixedState;
use hashbrown::{HashSet, HashTable};
use schemas::{Calendar, Grain, Grains, Marks, Micros, Periods};

use crate::bag::{Bags, Extract};
use crate::distinct::Distinct;
use crate::plan::{Bag, CubeShape, Rule};
use crate::series::SeriesIndex;
use crate::slabs::{Cell, CellId, Memory, PackedCell, PackedMemory, Slabs};
use crate::sum::{ExactSum, Numbers};
use different::{Days, Later};
pub(crate) use different::{Spot, Telling};
use kept::Kept;
pub(crate) use kept::{FrozenKept, KeptNumbers};
pub(crate) use rolling::Moved;
use rolling::Rolling;
use stock::Ledger;
pub(crate) use stock::{Noted, Step};

/// From so many touched cells on, series are ranked before cells are sorted.
const RANKED_MIN: usize = 16;

/// Memory that is kept for numbers which rows that are not quiet change.
const KEPT_LOUD: usize = 1 << 16;

/// A touched cell and where its numbers before the epoch lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) cell: u32,
    before: u32,
}

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
    /// Cells by their names, which lie in the slabs.
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
    counts_before: Vec<i64>,
    sums_before: Vec<ExactSum>,
    bags: Bags,
    /// What comes and goes, where its cells are of what is alive at the end of their periods.
    ledger: Option<Ledger>,
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
    /// By series: the place among those touched, while they are sorted.
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
            counts_before: Vec::new(),
            sums_before: Vec::new(),
            bags: Bags::default(),
            ledger: shape.is_stock.then(Ledger::default),
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
        let hash = |cell: &u32| self.hasher.hash_one(self.slabs.id(*cell));
        self.index.insert_unique(self.hasher.hash_one(id), cell, hash);
        self.enter(id, cell);
    }

    /// Puts the numbers of a cell aside unless this epoch has done so.
    pub(crate) fn touch(&mut self, cell: u32) {
        if self.slabs.set_touched(cell, true) {
            return;
        }
        let before = u32::try_from(self.touched.len()).unwrap_or(u32::MAX);
        self.touched.push(Touched { cell, before });
        let Numbers { counts, sums } = self.slabs.numbers(cell);
        self.counts_before.extend_from_slice(counts);
        self.sums_before.extend_from_slice(sums);
    }

    /// The numbers of a touched cell before the epoch.
    pub(crate) fn numbers_before(&self, touched: Touched) -> Numbers<'_> {
        let at = touched.before as usize;
        Numbers {
            counts: &self.counts_before[at * self.counts_stride..(at + 1) * self.counts_stride],
            sums: &self.sums_before[at * self.sums_stride..(at + 1) * self.sums_stride],
        }
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
                self.pass_loud(day.cell, cell);
            }
        }
        self.change_longer();
        self.roll_into_windows(rows);
    }

    /// Adds what the epoch changed of the numbers of a day to those of another cell.
    fn add_change(&mut self, day: Touched, cell: u32) {
        let (counts, sums) = (self.counts_stride, self.sums_stride);
        let at = day.before as usize;
        for place in 0..counts {
            let before = self.counts_before[at * counts + place];
            let by = self.slabs.numbers(day.cell).counts[place] - before;
            if by != 0 {
                self.slabs.numbers_mut(cell).0[place] += by;
            }
        }
        for place in self.linear.iter().copied() {
            let before = self.sums_before[at * sums + place];
            let now = self.slabs.numbers(day.cell).sums[place];
            if before != now {
                self.slabs.numbers_mut(cell).1[place].add_change(before, now);
            }
        }
    }

    /// What rows that are not quiet changed of a day they changed of its longer periods.
    fn pass_loud(&mut self, day: u32, cell: u32) {
        if self.loud.is_empty() {
            return;
        }
        let counts = (0..self.counts_stride).map(Number::Count);
        for number in counts.chain(self.linear.iter().copied().map(Number::Sum)) {
            if self.loud.contains(&(day, number)) {
                self.loud.insert((cell, number));
            }
        }
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

    /// In an epoch with quiet rows: a row that is not quiet changed a number of a cell.
    pub(crate) fn mark_loud(&mut self, cell: u32, number: Number) {
        self.loud.insert((cell, number));
    }

    /// In such an epoch: whether any row that is not quiet changed what a KPI says of a cell.
    pub(crate) fn is_loud(&self, cell: u32, rule: &Rule) -> bool {
        let has = |number| self.loud.contains(&(cell, number));
        let is_loud = || {
            rule.any(|own| {
                has(Number::Count(own.count)) || own.sums().any(|sum| has(Number::Sum(sum)))
            })
        };
        !self.loud.is_empty() && is_loud()
    }

    pub(crate) fn sort_touched(&mut self) {
        let Cube { slabs, touched, ranks, .. } = self;
        if touched.len() < RANKED_MIN {
            touched.sort_unstable_by(|a, b| slabs.order(a.cell, b.cell));
            return;
        }
        // A backlog touches few series and many cells of each: names are compared once a series.
        let mut series: Vec<u32> = touched.iter().map(|own| slabs.id(own.cell).series).collect();
        series.sort_unstable();
        series.dedup();
        series.sort_unstable_by(|a, b| slabs.series(*a).order(slabs.series(*b)));
        ranks.resize(slabs.series.len(), 0);
        for (rank, series) in (0..).zip(series) {
            ranks[series as usize] = rank;
        }
        touched.sort_by_cached_key(|own| {
            let CellId { series, grain, start } = slabs.id(own.cell);
            (ranks[series as usize], grain, start)
        });
    }

    /// Ends the epoch: forgets what was put aside and the cells that nothing needs any more, and names
    /// the cells that stay and whose period is running for the first time.
    pub(crate) fn clear_touched(&mut self, now: Micros, mut closing: impl FnMut(Micros, u32)) {
        let mut touched = std::mem::take(&mut self.touched);
        for Touched { cell, .. } in touched.drain(..) {
            self.slabs.set_touched(cell, false);
            self.release(cell, now);
            self.watch_end(cell, now, &mut closing);
            self.watch_start(cell, now);
        }
        self.touched = touched;
        self.clear_windows();
        self.counts_before.clear();
        self.sums_before.clear();
        self.loud.clear();
        self.loud.shrink_to(KEPT_LOUD);
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
        let hash = self.hasher.hash_one(self.slabs.id(cell));
        if let Ok(entry) = self.index.find_entry(hash, |own| *own == cell) {
            entry.remove();
        }
        self.changed.mark(cell);
        self.kept.mark(cell);
        self.slabs.set_live(cell, false);
        self.free.push(cell);
    }
}
