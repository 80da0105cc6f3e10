//! The incremental engine: row changes in, changed KPI cells and history rows out, epoch by epoch.
//!
//! ```text
//! begin_epoch  timers that are due, oldest first
//! step*        the delta of each contract's table: old rows out, new rows in
//! finish_epoch changed cells in key order -> updates, history rows
//! tick         timers only, when nothing arrives: cells of periods that begin, history rows
//! ```
//!
//! # Guarantees
//! - The output is a function of the epochs (rows with their quiet bits, clocks): neither hash order nor the
//!   number of ticks nor flushes show in it. Updates are in cell key order.
//! - A change that leaves a group and its numbers as they were costs nothing downstream.
//! - `new`, [`Engine::load_state`], [`Engine::rebuild`] of every live row and [`Engine::finish_load`]
//!   give the engine that [`Frozen::parts`] was called on: the same values, slots, timers and later
//!   output.
//!
//! # Non-guarantees
//! - Nothing is durable here, and epochs must come in order with growing clocks.

mod cells;
mod converting;
mod days;
mod due;
mod finish;
mod fold;
mod frozen;
mod held;
mod kept;
mod over_views;
mod slots;
mod state;
mod timers;
mod view_tables;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::{
    CellKey, CellValue, Contract, Delta, EpochId, EpochStamp, KeyChange, KpiUpdate, Micros, RowRef,
};

use crate::catalog::Catalog;
use crate::cube::{Cube, Room, Told};
use crate::definition::{DefinitionError, Unit};
use crate::history::SETTLE_US;
use crate::plan::Plan;
use crate::slabs::{Memory, Slabs};
use crate::value::NOTHING;
use converting::Converting;
pub use converting::Unconverted;
use fold::Scratch;
pub use frozen::Frozen;
use held::Held;
use kept::Kept;
use over_views::Views;
use slots::Slots;
pub use state::StateError;
use timers::Timers;
pub use view_tables::{FrozenView, Locator};
use windows::Moving;

/// As many equal rows of one key no epoch changes.
const WEIGHT_MAX: u64 = 1 << 20;

/// What one epoch or tick brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochOutput {
    /// The cells that changed, in key order.
    pub updates: Vec<KpiUpdate>,
    /// History rows: those of timers first, then those of the epoch in key order.
    pub history: Vec<HistoryRow>,
}

/// One row of `gold/kpi_history`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// The cell.
    pub key: CellKey,
    /// What it said; a cell that no row fed any more has status `no_data`.
    pub value: CellValue,
    /// The KPI's unit.
    pub unit: Unit,
    /// The epoch, or the last one with records before a timer.
    pub epoch: EpochId,
    /// The epoch's clock, or when the timer was due.
    pub as_of: Micros,
    /// Whether the period was over.
    pub closed: bool,
    /// Whether it replaces what was said when the period closed.
    pub restatement: bool,
}

/// One row of `gold/kpi_current`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellRow {
    /// The cell.
    pub key: CellKey,
    /// Where its period starts: also of a window, whose key does not say it.
    pub period_start: Micros,
    /// Where its period ends.
    pub period_end: Micros,
    /// What it says.
    pub value: CellValue,
    /// The KPI's unit.
    pub unit: Unit,
    /// The epoch that last changed it.
    pub epoch: EpochId,
    /// That epoch's clock.
    pub as_of: Micros,
}

/// What must not happen. Log and count it, then go on: the cells it names can no longer be trusted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EngineError {
    /// A row was taken out of a cell that it never entered.
    #[error(
        "internal error: a row of relation {relation} left tenant {tenant}, dims {dims}, period \
         {period} without having been there; run `weir verify` and rebuild"
    )]
    NeverEntered {
        /// The relation's number.
        relation: usize,
        /// The tenant.
        tenant: String,
        /// The dimensions.
        dims: String,
        /// The hour or day.
        period: String,
    },
    /// A row comes or goes as often as no epoch changes it.
    #[error("internal error: a row would come or go a million times at once; rebuild the table")]
    Weight,
    /// There is no such contract, or there are more than 2^32 series.
    #[error("internal error: {0}")]
    Limit(&'static str),
    /// A row that a view cannot take.
    #[error("{0}")]
    View(String),
}

/// Rows of a relation that do not add up in an epoch: log and count it, then go on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{rows} of `{relation}` in epoch {epoch} are wrong, the first at key `{key}`: {problem}")]
pub struct DeltaError {
    /// The contract.
    pub relation: String,
    /// The first key.
    pub key: String,
    /// The epoch.
    pub epoch: EpochId,
    /// How many keys.
    pub rows: u64,
    /// What is wrong with the first.
    pub problem: Box<EngineError>,
}

/// Keeps the cells of every KPI of a catalog.
#[derive(Debug)]
pub struct Engine {
    catalog: Arc<Catalog>,
    plan: Arc<Plan>,
    cubes: Vec<Cube>,
    views: Option<Views>,
    converting: Option<Converting>,
    kept: Kept,
    timers: Timers,
    slots: Slots,
    /// The clock of the last epoch or tick, the one in progress included.
    clock: Micros,
    /// The last epoch with records, and its clock.
    last_data: Option<(EpochId, Micros)>,
    /// Rows written since the epoch began.
    history: Vec<HistoryRow>,
    /// Memory of updates that have been seen.
    spare: Vec<KpiUpdate>,
    scratch: Scratch,
    room: Room,
    /// By KPI its cells that an epoch tells of.
    told: Vec<Vec<Told>>,
    /// Whether saved state numbers cells otherwise, or there is none.
    renumbered: bool,
    /// The contracts with a quiet row in the epoch.
    quiet: BTreeSet<usize>,
    /// Windows that moved and are yet to be told, and when they moved.
    moved: BTreeMap<Moving, Micros>,
    /// Whether the row that is folded is not quiet, in an epoch with rows that are.
    is_loud: bool,
    /// Cells of periods that began, yet to be told.
    begun: Vec<KpiUpdate>,
}

impl Held for Engine {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn slabs(&self, cube: usize) -> &Slabs {
        &self.cubes[cube].slabs
    }

    fn clock(&self) -> Micros {
        self.clock
    }
}

impl Engine {
    /// An engine without rows. The order of `contracts` gives the numbers that [`Engine::apply`] takes.
    ///
    /// # Errors
    /// When the catalog was checked against other contracts.
    pub fn new(catalog: Arc<Catalog>, contracts: &[Contract]) -> Result<Engine, DefinitionError> {
        let plan = Arc::new(Plan::compile(&catalog)?);
        let cubes = plan.cubes.iter().map(|shape| Cube::new(shape, catalog.calendar()));
        let mut cubes: Vec<Cube> = cubes.collect();
        let views = Views::of(&catalog, contracts)?;
        let kept = Kept::of(&plan, &catalog, &mut cubes);
        let converting = Converting::of(&plan);
        Ok(Engine {
            catalog,
            plan,
            cubes,
            views,
            converting,
            kept,
            timers: Timers::default(),
            slots: Slots::new(),
            clock: Micros(i64::MIN),
            last_data: None,
            history: Vec::new(),
            spare: Vec::new(),
            scratch: Scratch::default(),
            room: Room::default(),
            told: Vec::new(),
            renumbered: true,
            quiet: BTreeSet::new(),
            moved: BTreeMap::new(),
            is_loud: false,
            begun: Vec::new(),
        })
    }

    /// The catalog it serves.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The columns of a row whose value was never sent, so that nobody knows which cells it feeds: the
    /// time, the tenant, a dimension. Ascending.
    pub fn unplaced(&self, contract: usize, row: RowRef<'_>) -> BTreeSet<usize> {
        self.plan.unplaced(contract, row)
    }

    /// The KPIs whose cells a column of a contract tells apart.
    pub fn placed_by(&self, contract: usize, column: usize) -> Vec<&str> {
        self.plan.placed_by(contract, column)
    }

    /// Starts an epoch with records: fires the timers that are due at its clock.
    pub fn begin_epoch(&mut self, stamp: &EpochStamp) {
        self.advance(stamp.clock);
    }

    /// Says of which contracts quiet rows are in the epoch that has begun.
    pub fn hush(&mut self, contracts: impl IntoIterator<Item = usize>) {
        self.quiet.extend(contracts);
    }

    /// The numbers of the contracts that a KPI reads, each once.
    pub fn contracts_of(&self, kpi: &str) -> &[usize] {
        let number = self.plan.kpis.binary_search_by(|own| (*own.key).cmp(kpi));
        number.ok().and_then(|at| self.plan.kpis.get(at)).map_or(&[], |kpi| &kpi.contracts)
    }

    /// Takes the consolidated changes of a contract's table into the epoch.
    ///
    /// # Errors
    /// When a row leaves that was never there, with the relation, the first such key and the epoch. All
    /// other changes are taken in all the same.
    pub fn step(
        &mut self,
        stamp: &EpochStamp,
        contract: usize,
        delta: &Delta,
    ) -> Result<(), DeltaError> {
        let mut wrong: Option<DeltaError> = None;
        let mut changes = delta.keys().peekable();
        while let Some(change) = changes.next() {
            let quiet = changes.next_if(|next| next.key() == change.key());
            self.is_loud = stamp.quiet && !change.is_quiet();
            let done = match (quiet, change.sides()) {
                (Some(quiet), _) => self.fold_mixed(stamp, contract, [change, quiet]),
                (None, Some((old, new))) => self.fold(contract, old, new),
                // Rows of several origins have one key.
                (None, None) => self.fold_rows(contract, change, &[true, false]),
            };
            match (done, &mut wrong) {
                (Ok(()), _) => {}
                (Err(_), Some(wrong)) => wrong.rows += 1,
                (Err(problem), None) => {
                    let relation = self.plan.relations.get(contract).cloned().unwrap_or_default();
                    let key = String::from_utf8_lossy(change.key()).into_owned();
                    let epoch = stamp.id;
                    wrong =
                        Some(DeltaError { relation, key, epoch, rows: 1, problem: problem.into() });
                }
            }
        }
        self.is_loud = false;
        wrong.map_or(Ok(()), Err)
    }

    /// Takes the rows of one key that came and went by quiet changes and by others. What comes by one kind may
    /// go by the other, so all that comes is there before anything goes.
    fn fold_mixed(
        &mut self,
        stamp: &EpochStamp,
        contract: usize,
        changes: [KeyChange<'_>; 2],
    ) -> Result<(), EngineError> {
        let mut done = Ok(());
        for is_going in [false, true] {
            for change in changes {
                self.is_loud = stamp.quiet && !change.is_quiet();
                done = done.and(self.fold_rows(contract, change, &[is_going]));
            }
        }
        done
    }

    /// Takes the rows of one key each as often as its weight says: those that go, those that come, in this order.
    fn fold_rows(
        &mut self,
        contract: usize,
        change: KeyChange<'_>,
        order: &[bool],
    ) -> Result<(), EngineError> {
        let mut done = Ok(());
        for &is_going in order {
            for (row, weight) in change.rows().filter(|(_, weight)| (*weight < 0) == is_going) {
                let (old, new) = if is_going { (Some(row), None) } else { (None, Some(row)) };
                if weight.unsigned_abs() > WEIGHT_MAX {
                    done = done.and(Err(EngineError::Weight));
                    continue;
                }
                for _ in 0..weight.unsigned_abs() {
                    done = done.and(self.fold(contract, old, new));
                }
            }
        }
        done
    }

    /// Takes one row change into the epoch: the row before it and after it, either absent.
    ///
    /// # Errors
    /// When the old row was never added. The other cells of the change are up to date all the same.
    pub fn apply(
        &mut self,
        contract: usize,
        old: Option<RowRef<'_>>,
        new: Option<RowRef<'_>>,
    ) -> Result<(), EngineError> {
        self.fold(contract, old, new)
    }

    /// Ends an epoch with records, whether or not they changed a row.
    pub fn finish_epoch(&mut self, stamp: &EpochStamp) -> EpochOutput {
        let mut updates = std::mem::take(&mut self.spare);
        self.convert();
        self.cubes.iter_mut().for_each(Cube::roll_up);
        self.roll_up_stocks(stamp.clock);
        self.finish_touched(stamp, &mut updates);
        let quiet = std::mem::take(&mut self.quiet);
        if !quiet.is_empty() {
            let reads = |kpi: u32| {
                let read = self.plan.kpis.get(kpi as usize).map(|kpi| kpi.contracts.iter());
                read.into_iter().flatten().any(|contract| quiet.contains(contract))
            };
            self.timers.settle_after(stamp.clock.plus(SETTLE_US), reads);
        }
        self.last_data = Some((stamp.id, stamp.clock));
        for (number, cube) in self.cubes.iter_mut().enumerate() {
            cube.clear_touched(stamp.clock, |end, cell| self.timers.close(end, number, cell));
        }
        let mut updates = self.tell_begun(updates);
        self.tell_moved(&mut updates);
        EpochOutput { updates, history: std::mem::take(&mut self.history) }
    }

    /// Takes the memory of updates that nobody needs any more: an epoch of a backlog changes a hundred
    /// thousand cells, and fresh memory for their updates costs more than filling it in.
    pub fn recycle(&mut self, mut updates: Vec<KpiUpdate>) {
        updates.clear();
        if updates.capacity() > self.spare.capacity() {
            self.spare = updates;
        }
    }

    /// Lets time pass without records.
    pub fn tick(&mut self, clock: Micros) -> EpochOutput {
        self.advance(clock);
        let mut updates = self.tell_begun(Vec::new());
        self.tell_moved(&mut updates);
        EpochOutput { updates, history: std::mem::take(&mut self.history) }
    }

    /// When the next timer is due: a tick is needed then if no epoch comes before.
    pub fn next_due(&self) -> Option<Micros> {
        let timers = self.timers.next().map(|(due, _)| due);
        let is_waiting = !self.moved.is_empty() || self.timers.any_awaits_force();
        let waiting = is_waiting.then_some(self.clock);
        [timers, self.next_move(), waiting].into_iter().flatten().min()
    }

    /// Every cell that exists, in key order.
    pub fn snapshot(&self) -> Vec<CellRow> {
        let mut rows = Vec::new();
        for kpi in 0..self.plan.kpis.len() {
            let cells = self.slabs_of(kpi).sorted_cells();
            rows.extend(cells.into_iter().filter_map(|cell| self.row(kpi, cell)));
        }
        rows
    }

    /// The slots whose row changed, appeared or went since the last call: each once, in no order.
    pub fn take_changed_slots(&mut self) -> Vec<u32> {
        self.slots.take_changed()
    }

    fn put_memory(&mut self, kpi: usize, cell: u32, memory: &Memory) {
        let kpi = &self.plan.kpis[kpi];
        self.cubes[kpi.cube].put_memory(cell, kpi.place, memory);
    }
}
