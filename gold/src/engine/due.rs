//! What is due: firing timers, and the history rows that they write.
//!
//! # Guarantees
//! - Timers fire by (due, kind, cell key), and their rows are stamped with the time at which they were due.
//! - After [`Engine::end_batch`] the newest history row of every cell is what the cell says.

use schemas::{CellKey, CellValue, EpochId, Micros};

use super::held::Held;
use super::timers::{CellRef, Due};
use super::{Engine, EpochOutput, HistoryRow, NOTHING};
use crate::cube::RANKED_MIN;
use crate::history::Mark;
use crate::plan::Kpi;
use crate::slabs::{CellId, Memory};
use crate::value::Parts;

impl Engine {
    /// Whether the newest history row of some cell is not what the cell says.
    pub fn is_history_behind(&self) -> bool {
        let memory = |at: CellRef| self.memory(at.kpi as usize, at.cell);
        self.timers.waiting().any(|at| memory(at).history.is_waiting())
    }

    /// Lets time pass to the end of a batch run, at which no history row waits any longer.
    pub fn end_batch(&mut self, clock: Micros) -> EpochOutput {
        self.advance(clock);
        let epoch = self.last_data.map_or(0, |(epoch, _)| epoch);
        let cells = self.timers.take_waiting();
        self.fire(cells, clock, epoch, |memory, end, _| memory.history.on_end(clock, end));
        let mut updates = self.tell_begun(Vec::new());
        self.tell_moved(&mut updates);
        EpochOutput { updates, history: std::mem::take(&mut self.history) }
    }

    /// All definitions are in force from this clock on, at which the next epoch stands: then what KPIs that were
    /// computed anew while state was loaded say is written to the history, and nothing of them before.
    pub fn come_into_force(&mut self, clock: Micros) {
        self.timers.come_into_force(clock);
    }

    /// A backlog is over: what it changed is written, or waits for its time.
    pub(super) fn settle(&mut self, cells: Vec<CellRef>, at: Micros, epoch: EpochId) {
        let decide = |memory: &mut Memory, end, exists| memory.history.on_settle(at, end, exists);
        self.fire(cells, at, epoch, decide);
    }

    /// Fires every timer due at `clock` or before, ordered by (due, kind, cell key), and moves windows, after
    /// the timers of the same instant.
    pub(super) fn advance(&mut self, clock: Micros) {
        let epoch = self.last_data.map_or(0, |(epoch, _)| epoch);
        loop {
            let timer = self.timers.next().filter(|(due, _)| *due <= clock);
            let boundary = self.next_move().filter(|at| *at <= clock);
            if let Some(at) = boundary.filter(|at| timer.is_none_or(|(due, _)| *at < due)) {
                self.move_windows(at, epoch);
                continue;
            }
            let Some((due, kind)) = timer else { break };
            match kind {
                Due::Settle => {
                    let cells = self.timers.take_settled(due);
                    self.settle(cells, due, epoch);
                }
                Due::Close => self.close(due, epoch),
                Due::Begin => self.begin_days(due, epoch),
                Due::Follow => {
                    let cells = self.timers.take_following(due);
                    self.fire(cells, due, epoch, |memory, end, _| {
                        memory.history.on_follow(due, end)
                    });
                }
            }
        }
        self.clock = clock;
        self.cubes.iter_mut().for_each(|cube| cube.pass(clock));
    }

    fn close(&mut self, due: Micros, epoch: EpochId) {
        let closing = self.timers.take_closing(due);
        let mut cells = Vec::with_capacity(closing.len());
        // What is not in force yet says nothing of the end of a period; it is closed when it is.
        let in_force = |(number, _): &(u32, &Kpi)| !self.timers.awaits_force(*number);
        for (number, kpi) in (0_u32..).zip(&self.plan.kpis).filter(in_force) {
            let own = closing.iter().filter(|(cube, _)| *cube == kpi.cube);
            cells.extend(own.map(|(_, cell)| CellRef { kpi: number, cell: *cell }));
        }
        let on_close = |memory: &mut Memory, end: Micros, exists: bool| {
            // A slab entry may hold another cell by now.
            (exists && end == due).then(|| memory.history.on_close(due)).flatten()
        };
        self.fire(cells, due, epoch, on_close);
        for (cube, cell) in closing {
            self.cubes[cube].release(cell, due);
        }
    }

    /// Decides about cells in key order.
    fn fire(
        &mut self,
        mut cells: Vec<CellRef>,
        due: Micros,
        epoch: EpochId,
        mut decide: impl FnMut(&mut Memory, Micros, bool) -> Option<Mark>,
    ) {
        self.sort(&mut cells);
        self.history.reserve(cells.len());
        for at in cells {
            let kpi = at.kpi as usize;
            let mut memory = self.memory(kpi, at.cell);
            let before = memory.history;
            let (end, exists) = (self.end(kpi, at.cell), self.parts(kpi, at.cell).is_some());
            let mark = decide(&mut memory, end, exists);
            if memory.history == before {
                continue;
            }
            self.put_memory(kpi, at.cell, &memory);
            self.timers.note(at, &before, &memory.history);
            if let Some(mark) = mark {
                self.write(at, mark, epoch, due);
            }
        }
    }

    /// Puts cells in key order.
    fn sort(&mut self, cells: &mut [CellRef]) {
        if cells.len() < RANKED_MIN {
            return cells.sort_unstable_by(|a, b| {
                let slabs = self.slabs_of(a.kpi as usize);
                a.kpi.cmp(&b.kpi).then_with(|| slabs.order(a.cell, b.cell))
            });
        }
        let mut series = vec![Vec::new(); self.cubes.len()];
        for at in &*cells {
            let cube = self.plan.kpis[at.kpi as usize].cube;
            series[cube].push(self.cubes[cube].slabs.id(at.cell).series);
        }
        self.cubes.iter_mut().zip(series).for_each(|(cube, series)| cube.rank(series));
        cells.sort_by_cached_key(|at| {
            let cube = &self.cubes[self.plan.kpis[at.kpi as usize].cube];
            let CellId { series, grain, start } = cube.slabs.id(at.cell);
            (at.kpi, cube.rank_of(series), grain, start)
        });
    }

    fn write(&mut self, at: CellRef, mark: Mark, epoch: EpochId, as_of: Micros) {
        let kpi = at.kpi as usize;
        let value = self.parts(kpi, at.cell).map(Parts::value);
        self.push_row(kpi, self.key(kpi, at.cell), value, mark, epoch, as_of);
    }

    pub(super) fn push_row(
        &mut self,
        kpi: usize,
        key: CellKey,
        value: Option<CellValue>,
        mark: Mark,
        epoch: EpochId,
        as_of: Micros,
    ) {
        let (value, unit) = (value.unwrap_or(NOTHING), self.plan.kpis[kpi].unit);
        let Mark { closed, restatement } = mark;
        self.history.push(HistoryRow { key, value, unit, epoch, as_of, closed, restatement });
    }
}
