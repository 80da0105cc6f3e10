//! What waits for the clock: settling after a backlog, closing periods, the next row of cells that had one
//! a moment ago, days that begin.
//!
//! # Guarantees
//! - [`Timers::next`] orders by (due, kind); within one timer the engine orders by cell key.
//! - At most one settle of each KPI is pending, a closing per period end, and a row of each cell that is behind.
//! - What is computed by a definition that is not in force yet settles when it is, and no sooner.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use schemas::Micros;

use crate::history::CellHistory;

/// When cells settle whose KPI is computed by what is not in force yet: when it is.
const ONCE_IN_FORCE: Micros = Micros(i64::MAX);

/// One KPI of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CellRef {
    pub(super) kpi: u32,
    pub(super) cell: u32,
}

/// The kinds of timers, in the order in which they fire when due at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Settle,
    Close,
    Follow,
    Begin,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    /// By KPI when what quiet rows changed of it is written; of each KPI that has such cells.
    settling: BTreeMap<u32, Micros>,
    /// By KPI those cells.
    dirty: BTreeMap<u32, HashSet<u32, FixedState>>,
    /// Period end to (cube, cell).
    closing: BTreeMap<Micros, Vec<(usize, u32)>>,
    /// When a row is due to cells that are behind.
    following: BTreeMap<Micros, HashSet<CellRef, FixedState>>,
    /// When the next day begins of (cube, series) whose cells are of what is alive.
    beginning: BTreeMap<Micros, BTreeSet<(usize, u32)>>,
}

impl Timers {
    pub(super) fn next(&self) -> Option<(Micros, Due)> {
        let settle = self.settling.values().min().map(|due| (*due, Due::Settle));
        let close = self.closing.first_key_value().map(|(due, _)| (*due, Due::Close));
        let follow = self.following.first_key_value().map(|(due, _)| (*due, Due::Follow));
        let begin = self.beginning.first_key_value().map(|(due, _)| (*due, Due::Begin));
        [settle, close, follow, begin].into_iter().flatten().min()
    }

    /// When settling is due, by KPI.
    pub(super) fn settling(&self) -> BTreeMap<u32, Micros> {
        self.settling.clone()
    }

    /// Notes what a cell waits for that did not before.
    pub(super) fn note(&mut self, at: CellRef, before: &CellHistory, now: &CellHistory) {
        match (before.quiet_dirty, now.quiet_dirty) {
            (false, true) => self.dirty(at),
            (true, false) => self.clean(at),
            _ => {}
        }
        if let Some(due) = now.follow_due().filter(|_| !before.behind) {
            self.following.entry(due).or_default().insert(at);
        }
        // It got its row otherwise.
        if let Some(due) = before.follow_due().filter(|_| !now.behind)
            && let Some(cells) = self.following.get_mut(&due)
        {
            cells.remove(&at);
            if cells.is_empty() {
                self.following.remove(&due);
            }
        }
    }

    /// Watches a cell as it was saved.
    pub(super) fn restore(&mut self, at: CellRef, history: &CellHistory) {
        self.note(at, &CellHistory::default(), history);
    }

    /// Quiet rows changed a cell.
    pub(super) fn dirty(&mut self, at: CellRef) {
        self.dirty.entry(at.kpi).or_default().insert(at.cell);
    }

    /// It got its row otherwise.
    fn clean(&mut self, at: CellRef) {
        let Some(cells) = self.dirty.get_mut(&at.kpi) else { return };
        cells.remove(&at.cell);
        if cells.is_empty() {
            self.dirty.remove(&at.kpi);
            self.settling.remove(&at.kpi);
        }
    }

    /// Sets when the changes of quiet rows are written, of these KPIs, if there are any.
    pub(super) fn settle_after(&mut self, due: Micros, is_one: impl Fn(u32) -> bool) {
        for kpi in self.dirty.keys().filter(|kpi| is_one(**kpi)) {
            let settling = self.settling.entry(*kpi).or_insert(due);
            if *settling != ONCE_IN_FORCE {
                *settling = due;
            }
        }
    }

    /// The same of KPIs of which nothing is settling yet.
    pub(super) fn settle_others_after(&mut self, due: Micros) {
        for kpi in self.dirty.keys() {
            self.settling.entry(*kpi).or_insert(due);
        }
    }

    /// Has the changes of KPIs of which nothing is settling yet wait until their definitions are in force.
    pub(super) fn settle_others_in_force(&mut self) {
        self.settle_others_after(ONCE_IN_FORCE);
    }

    /// A KPI is computed by what is not in force yet.
    pub(super) fn await_force(&mut self, kpi: u32) {
        self.settling.insert(kpi, ONCE_IN_FORCE);
    }

    /// Whether a KPI is computed by what is not in force yet.
    pub(super) fn awaits_force(&self, kpi: u32) -> bool {
        self.settling.get(&kpi) == Some(&ONCE_IN_FORCE)
    }

    /// Whether any is.
    pub(super) fn any_awaits_force(&self) -> bool {
        self.settling.values().any(|due| *due == ONCE_IN_FORCE)
    }

    /// All definitions are in force at this clock: what waited for it is due.
    pub(super) fn come_into_force(&mut self, clock: Micros) {
        let waiting = self.settling.values_mut().filter(|due| **due == ONCE_IN_FORCE);
        waiting.for_each(|due| *due = clock);
    }

    /// Whether no KPI has changes that are never written.
    pub(super) fn is_whole(&self) -> bool {
        self.dirty.keys().eq(self.settling.keys())
    }

    /// The cells of the KPIs whose changes are written now.
    pub(super) fn take_settled(&mut self, now: Micros) -> Vec<CellRef> {
        let due = self.settling.extract_if(.., |_, due| *due <= now).map(|(kpi, _)| kpi);
        let mut settled = Vec::new();
        for kpi in due {
            let cells = self.dirty.remove(&kpi).into_iter().flatten();
            settled.extend(cells.map(|cell| CellRef { kpi, cell }));
        }
        settled
    }

    /// A cell whose period is running was made.
    pub(super) fn close(&mut self, end: Micros, cube: usize, cell: u32) {
        self.closing.entry(end).or_default().push((cube, cell));
    }

    pub(super) fn take_closing(&mut self, due: Micros) -> Vec<(usize, u32)> {
        self.closing.remove(&due).unwrap_or_default()
    }

    pub(super) fn take_following(&mut self, due: Micros) -> Vec<CellRef> {
        self.following.remove(&due).unwrap_or_default().into_iter().collect()
    }

    /// The next day of a series begins, of a cube of what is alive.
    pub(super) fn begin(&mut self, due: Micros, cube: usize, series: u32) {
        self.beginning.entry(due).or_default().insert((cube, series));
    }

    /// It has no days any more.
    pub(super) fn forget_beginning(&mut self, due: Micros, cube: usize, series: u32) {
        let Some(series_of) = self.beginning.get_mut(&due) else { return };
        series_of.remove(&(cube, series));
        if series_of.is_empty() {
            self.beginning.remove(&due);
        }
    }

    pub(super) fn take_beginning(&mut self, due: Micros) -> BTreeSet<(usize, u32)> {
        self.beginning.remove(&due).unwrap_or_default()
    }

    /// Every cell that may be waiting, each once; nothing is due to them any more.
    pub(super) fn take_waiting(&mut self) -> Vec<CellRef> {
        let mut waiting: Vec<CellRef> = self.waiting().collect();
        self.following.clear();
        self.settling.clear();
        self.dirty.clear();
        waiting.sort_unstable();
        waiting.dedup();
        waiting
    }

    /// Every cell that may be waiting, perhaps more than once.
    pub(super) fn waiting(&self) -> impl Iterator<Item = CellRef> {
        let dirty = self.dirty.iter().flat_map(|(kpi, cells)| {
            cells.iter().map(move |cell| CellRef { kpi: *kpi, cell: *cell })
        });
        dirty.chain(self.following.values().flatten().copied())
    }
}
