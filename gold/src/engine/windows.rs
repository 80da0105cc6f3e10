//! Windows as the engine tells them: moved by the clock, changed by epochs, with what they are compared with.
//!
//! # Guarantees
//! - At every clock the numbers of windows are those of the rows in them: all that a boundary moves is moved at
//!   once, in the order of boundaries. What is told of it follows in slices, each with the values of then.
//! - A window has no history row, and is told again when what it is compared with changes.

use std::sync::Arc;

use schemas::window::{NO_START, Role};
use schemas::{
    CellKey, Counterpart, EpochId, EpochStamp, Grain, KpiUpdate, Micros, SeriesId, Window,
};

use super::Engine;
use super::held::Held;
use super::timers::CellRef;
use crate::cube::{Moved, Told};
use crate::plan::Kpi;
use crate::slabs::{CellId, Memory};
use crate::value::Parts;

/// The most moved windows that an epoch or a tick tells of.
const SLICE: usize = 20_000;

/// A window of a KPI that is to be told: its KPI, the window, its series.
pub(super) type Moving = (u32, Grain, u32);

impl Engine {
    /// Where each window lies, and what it is compared with.
    pub fn windows(&self) -> Vec<(CellKey, Window)> {
        let mut windows = Vec::new();
        for kpi in 0..self.plan.kpis.len() {
            for Moved { window, series, cell } in self.cubes[self.plan.kpis[kpi].cube].windows() {
                if self.parts(kpi, cell).is_some() {
                    let told = self.window(kpi, window, series);
                    windows.extend(told.map(|told| (self.key(kpi, cell), told)));
                }
            }
        }
        windows
    }

    /// When a window moves next.
    pub(super) fn next_move(&self) -> Option<Micros> {
        self.cubes.iter().filter_map(|cube| cube.next_move()).min()
    }

    /// Moves the windows whose hour or day ends at `at`.
    pub(super) fn move_windows(&mut self, at: Micros, epoch: EpochId) {
        let plan = Arc::clone(&self.plan);
        for (number, shape) in plan.cubes.iter().enumerate() {
            for Moved { window, series, cell } in self.cubes[number].move_windows(at) {
                for &kpi in shape.kpis.iter().filter(|kpi| plan.kpis[**kpi].windows.has(window)) {
                    let (held, exists) = (self.memory(kpi, cell), self.parts(kpi, cell).is_some());
                    if !exists && held.slot.is_none() {
                        continue;
                    }
                    let own = u32::try_from(kpi).unwrap_or(u32::MAX);
                    let place = exists.then_some(CellRef { kpi: own, cell });
                    let slot = self.slots.place(held.slot, place);
                    let memory = Memory { slot, epoch, as_of: at, ..held };
                    self.put_memory(kpi, cell, &memory);
                    self.moved.insert((own, window, series), at);
                }
                self.cubes[number].release(cell, at);
            }
        }
    }

    /// Tells of windows that moved, as they stand now.
    pub(super) fn tell_moved(&mut self, updates: &mut Vec<KpiUpdate>) {
        if self.moved.is_empty() {
            return;
        }
        for _ in 0..SLICE {
            let Some((told, at)) = self.moved.pop_first() else { break };
            updates.extend(self.moved_update(told, at));
        }
        updates.sort_by(|a, b| a.key.cmp(&b.key));
    }

    fn moved_update(&self, (number, window, series): Moving, at: Micros) -> Option<KpiUpdate> {
        let kpi = usize::try_from(number).ok()?;
        let own = self.plan.kpis.get(kpi)?;
        let cube = self.cubes.get(own.cube)?;
        let cell = cube.window_cell(series, window, Role::Running);
        let parts = cell.and_then(|cell| Some((cell, self.parts(kpi, cell)?)));
        let name = cube.slabs.series(series);
        let key = CellKey {
            kpi: Arc::clone(&own.key),
            tenant: Arc::clone(&name.tenant),
            dims: Arc::clone(&name.dims),
            grain: window,
            period_start: NO_START,
        };
        let series_id = SeriesId { kpi: number, series };
        let Some((cell, parts)) = parts else {
            let epoch = self.last_data.map_or(0, |(epoch, _)| epoch);
            let (value, window) = (None, None);
            return Some(KpiUpdate { key, series: series_id, value, epoch, as_of: at, window });
        };
        let Memory { epoch, as_of, .. } = self.memory(kpi, cell);
        let window = self.window(kpi, window, series).map(Box::new);
        let value = Some(parts.value());
        Some(KpiUpdate { key, series: series_id, value, epoch, as_of, window })
    }

    /// Where a window lies, and what it is compared with.
    fn window(&self, kpi: usize, window: Grain, series: u32) -> Option<Window> {
        let Kpi { cube, rule, adds_up, .. } = &self.plan.kpis[kpi];
        let cube = &self.cubes[*cube];
        let running = cube.reach(series, window, Role::Running)?;
        let counterpart = |role: Role| {
            let reach = cube.reach(series, window, role)?;
            let cell = cube.window_cell(series, window, role);
            let parts = cell.and_then(|cell| Parts::of(rule, cube.slabs.numbers(cell)));
            let value = parts.map(Parts::value);
            Some(Counterpart { start: reach.start, end: reach.end, value })
        };
        Some(Window {
            start: running.start,
            end: running.end,
            previous: counterpart(Role::Previous),
            year: counterpart(Role::Year).filter(|_| *adds_up),
        })
    }

    /// One KPI of a window that says something else at the end of an epoch, or of which the epoch changed what it is
    /// compared with.
    pub(super) fn finish_window(
        &mut self,
        kpi: usize,
        (id, told): (CellId, Told),
        stamp: &EpochStamp,
        updates: &mut Vec<KpiUpdate>,
    ) {
        let Told { cell, after } = told;
        let Kpi { cube, place, .. } = &self.plan.kpis[kpi];
        let number = u32::try_from(kpi).unwrap_or(u32::MAX);
        let reference = after.map(|_| CellRef { kpi: number, cell });
        let Engine { cubes, slots, .. } = self;
        cubes[*cube].change_memory(cell, *place, |memory| {
            memory.slot = slots.place(memory.slot, reference);
            (memory.epoch, memory.as_of) = (stamp.id, stamp.clock);
        });
        self.moved.remove(&(number, id.grain, id.series));
        let window = after.and_then(|_| self.window(kpi, id.grain, id.series)).map(Box::new);
        updates.push(KpiUpdate {
            key: self.key(kpi, cell),
            series: SeriesId { kpi: number, series: id.series },
            value: after.map(Parts::value),
            epoch: stamp.id,
            as_of: stamp.clock,
            window,
        });
    }
}
