//! Numbers of a cube that saved state gives back, so that no rows have to be read for them.
//!
//! # Guarantees
//! - They are those of hours and days, or of what comes and goes on days; all else of a cube follows from these.
//! - A number that changes in an epoch names its record, and so does a cell or a day that goes.
//! - What is put back is checked as a whole first: numbers that are no state change nothing.

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use schemas::{Grain, Marks, Micros, Paged, Saved};
use serde::{Deserialize, Serialize};

use super::Cube;
use super::stock::StockDay;
use crate::slabs::{CellId, Slabs};
use crate::sum::{ExactSum, Numbers};

/// The numbers of one selection of rows: the place of its count, behind which that of its rows in doubt stands, and
/// those of its sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptNumbers {
    pub(crate) count: usize,
    pub(crate) sums: Vec<usize>,
}

/// What of a cube's numbers is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    numbers: Vec<KeptNumbers>,
    /// Cells whose numbers changed since the last freeze.
    changed: Marks,
    /// What was saved is not what is kept now.
    differs: bool,
}

/// The kept numbers of a cube at one epoch.
#[derive(Debug)]
pub(crate) struct FrozenKept {
    numbers: Vec<KeptNumbers>,
    /// The days of a stock.
    days: Option<Paged<Option<StockDay>>>,
    /// The records that changed since the freeze before; `None` when all may have.
    pub(crate) changed: Option<Vec<u32>>,
}

/// What is saved of a cell, or of a day of a series.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptRecord {
    series: u32,
    grain: Grain,
    start: Micros,
    numbers: Vec<SavedNumbers>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedNumbers {
    count: i64,
    doubt: i64,
    /// Each in its lower 128 bits and the rest.
    sums: Vec<(i128, i64)>,
}

impl KeptNumbers {
    fn is_nothing(&self, of: Numbers<'_>) -> bool {
        let mut counts = of.counts.iter().skip(self.count).take(2);
        let mut sums = self.sums.iter().filter_map(|sum| of.sums.get(*sum));
        counts.all(|count| *count == 0) && sums.all(|sum| *sum == ExactSum::default())
    }

    fn saved(&self, of: Numbers<'_>) -> SavedNumbers {
        let count = |at: usize| of.counts.get(at).copied().unwrap_or_default();
        let sums = self.sums.iter().filter_map(|sum| of.sums.get(*sum));
        let sums = sums.map(|sum| sum.to_parts()).collect();
        SavedNumbers { count: count(self.count), doubt: count(self.count + 1), sums }
    }

    fn put(&self, saved: &SavedNumbers, (counts, sums): (&mut [i64], &mut [ExactSum])) {
        for (at, count) in [(self.count, saved.count), (self.count + 1, saved.doubt)] {
            counts.get_mut(at).into_iter().for_each(|own| *own = count);
        }
        for (at, sum) in self.sums.iter().zip(&saved.sums) {
            sums.get_mut(*at).into_iter().for_each(|own| *own = ExactSum::of_parts(*sum));
        }
    }
}

impl Kept {
    /// Whether any of these numbers is kept and there.
    pub(super) fn has(&self, numbers: Numbers<'_>) -> bool {
        self.numbers.iter().any(|own| !own.is_nothing(numbers))
    }

    /// A kept number of a cell changed, or the cell is no more.
    pub(super) fn mark(&mut self, cell: u32) {
        if !self.numbers.is_empty() {
            self.changed.mark(cell);
        }
    }
}

impl Cube {
    /// Keeps these numbers from here on.
    pub(crate) fn keep(&mut self, numbers: Vec<KeptNumbers>) {
        self.kept = Kept { numbers, differs: true, ..Kept::default() };
    }

    /// A row changed a kept number of a cell.
    pub(crate) fn mark_kept(&mut self, cell: u32) {
        self.kept.mark(cell);
    }

    /// The kept numbers as they are now.
    pub(crate) fn freeze_kept(&mut self, renumbered: bool) -> FrozenKept {
        let is_whole = std::mem::take(&mut self.kept.differs) || renumbered;
        let cells = self.kept.changed.take();
        let (days, marked) = match &mut self.ledger {
            Some(ledger) => (Some(ledger.days.freeze()), ledger.marked.take()),
            None => (None, cells),
        };
        let changed = (!is_whole).then_some(marked);
        FrozenKept { numbers: self.kept.numbers.clone(), days, changed }
    }

    /// Puts back what was saved under this name; `places` says which numbers of a record are which here, `None` of
    /// those that are not kept now. `is_same` says that they are all that is kept, in its order.
    pub(crate) fn restore_kept(
        &mut self,
        (saved, name): (&Saved, &str),
        places: &[Option<usize>],
        is_same: bool,
    ) -> Result<(), String> {
        let mut seen = HashSet::with_hasher(FixedState::with_seed(0x5ee));
        for record in saved.values::<KeptRecord>(name) {
            let (number, record) = record.map_err(|error| error.to_string())?;
            self.check(number, &record, places, &mut seen)?;
        }
        for record in saved.values::<KeptRecord>(name) {
            let (number, record) = record.map_err(|error| error.to_string())?;
            self.put_back(number, &record, places)?;
        }
        self.kept.differs = !is_same;
        self.finish_restore();
        Ok(())
    }

    /// Whether a record can be put back.
    fn check(
        &self,
        number: u32,
        record: &KeptRecord,
        places: &[Option<usize>],
        seen: &mut HashSet<CellId, FixedState>,
    ) -> Result<(), &'static str> {
        let known = places.iter().map(|place| place.and_then(|at| self.kept.numbers.get(at)));
        let fits = known
            .zip(&record.numbers)
            .all(|(own, saved)| own.is_none_or(|own| own.sums.len() == saved.sums.len()));
        if !fits || places.len() != record.numbers.len() {
            return Err("a record has other numbers");
        }
        if record.series as usize >= self.slabs.series.len() {
            return Err("a record has no series");
        }
        let KeptRecord { series, grain, start, .. } = *record;
        let id = CellId { series, grain, start };
        let is_free = match (&self.ledger, grain) {
            (Some(_), Grain::Day) => true,
            (None, Grain::Hour | Grain::Day) => match self.find(id) {
                Some(held) => held == number,
                None => self.slabs.get(number).is_none_or(|cell| !cell.live),
            },
            _ => return Err("a record is of another period"),
        };
        if is_free && seen.insert(id) { Ok(()) } else { Err("a record is there twice") }
    }

    fn put_back(
        &mut self,
        number: u32,
        record: &KeptRecord,
        places: &[Option<usize>],
    ) -> Result<(), &'static str> {
        let KeptRecord { series, grain, start, .. } = *record;
        let id = CellId { series, grain, start };
        let mut step = self.no_step();
        let numbers = self.kept.numbers.clone();
        let known = places.iter().map(|place| place.and_then(|at| numbers.get(at)));
        let known = known.zip(&record.numbers).filter_map(|(own, saved)| Some((own?, saved)));
        if let Some(ledger) = &mut self.ledger {
            known.for_each(|(own, saved)| own.put(saved, (&mut step.counts, &mut step.sums)));
            if !step.is_nothing() {
                ledger.restore(number, StockDay { series, day: start, step });
            }
            return Ok(());
        }
        if self.find(id).is_none() && !self.restore(number, id) {
            return Err("a cell cannot be there");
        }
        for (own, saved) in known {
            own.put(saved, self.slabs.numbers_mut(number));
        }
        Ok(())
    }
}

impl FrozenKept {
    /// Whether there is anything to save.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// One more than the highest number of a record.
    pub(crate) fn end(&self, slabs: &Slabs) -> u32 {
        let end = self.days.as_ref().map_or(slabs.cells.len(), Paged::len);
        u32::try_from(end).unwrap_or(u32::MAX)
    }

    /// The record under a number: of a cell of `slabs`, or of a day.
    pub(crate) fn record(&self, slabs: &Slabs, number: u32) -> Option<KeptRecord> {
        if let Some(days) = &self.days {
            let day = days.get(number as usize)?.as_ref()?;
            let id = CellId { series: day.series, grain: Grain::Day, start: day.day };
            return self.saved(id, day.step.as_numbers());
        }
        let cell = slabs.get(number).filter(|cell| cell.live)?;
        let is_folded = matches!(cell.id.grain, Grain::Hour | Grain::Day);
        if is_folded { self.saved(cell.id, slabs.numbers(number)) } else { None }
    }

    fn saved(&self, id: CellId, of: Numbers<'_>) -> Option<KeptRecord> {
        if self.numbers.iter().all(|own| own.is_nothing(of)) {
            return None;
        }
        let CellId { series, grain, start } = id;
        let numbers = self.numbers.iter().map(|own| own.saved(of)).collect();
        Some(KeptRecord { series, grain, start, numbers })
    }
}
