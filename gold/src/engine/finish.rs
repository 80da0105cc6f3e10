//! The end of an epoch: what it changed of touched cells, told in key order.
//!
//! # Guarantees
//! - A KPI is told of where it says something else than before the epoch, or compares it with something else.

use std::sync::Arc;

use schemas::{CellKey, EpochStamp, KpiUpdate, Micros, SeriesId};

use super::Engine;
use super::timers::CellRef;
use crate::cube::{Cube, Told};
use crate::history::Seen;
use crate::plan::Kpi;
use crate::value::Parts;

impl Engine {
    /// Tells of every touched cell of every KPI, both in key order.
    pub(super) fn finish_touched(&mut self, stamp: &EpochStamp, updates: &mut Vec<KpiUpdate>) {
        let Engine { plan, cubes, room, .. } = self;
        cubes.iter_mut().for_each(Cube::sort_touched);
        let mut told = std::mem::take(&mut self.told);
        told.resize_with(plan.kpis.len(), Vec::new);
        // All KPIs of a cell are asked while it is at hand, and what they say is told KPI by KPI.
        for cube in cubes.iter().filter(|cube| !cube.touched.is_empty()) {
            cube.ask(&plan.kpis, room, |kpi, own| told[kpi].push(own));
        }
        updates.reserve(told.iter().map(Vec::len).sum());
        for (kpi, cells) in told.iter_mut().enumerate() {
            for own in cells.drain(..) {
                self.finish_cell(kpi, own, stamp, updates);
            }
        }
        self.told = told;
    }

    /// One KPI of one cell that says something else at the end of an epoch.
    fn finish_cell(
        &mut self,
        kpi: usize,
        told: Told,
        stamp: &EpochStamp,
        updates: &mut Vec<KpiUpdate>,
    ) {
        let Engine { plan, cubes, slots, timers, .. } = self;
        let Kpi { cube, place, rule, key, .. } = &plan.kpis[kpi];
        let Told { cell, after } = told;
        let cube = &mut cubes[*cube];
        let id = cube.slabs.id(cell);
        if id.grain.is_window() {
            return self.finish_window(kpi, (id, told), stamp, updates);
        }
        let number = u32::try_from(kpi).unwrap_or(u32::MAX);
        let quiet = stamp.quiet && !cube.is_loud(cell, rule) || timers.awaits_force(number);
        let reference = CellRef { kpi: number, cell };
        // A quiet change does not ask when its period ends.
        let end = (!quiet).then(|| cube.slabs.end(id));
        let mark = cube.change_memory(cell, *place, |memory| {
            memory.slot = slots.place(memory.slot, after.map(|_| reference));
            (memory.epoch, memory.as_of) = (stamp.id, stamp.clock);
            let before = memory.history;
            let mark = memory.history.on_epoch(&seen(stamp, end, after.is_some()));
            timers.note(reference, &before, &memory.history);
            mark
        });
        let of = cube.slabs.series(id.series);
        let key = CellKey {
            kpi: Arc::clone(key),
            tenant: Arc::clone(&of.tenant),
            dims: Arc::clone(&of.dims),
            grain: id.grain,
            period_start: id.start,
        };
        let series = SeriesId { kpi: number, series: id.series };
        let value = after.map(Parts::value);
        if let Some(mark) = mark {
            self.push_row(kpi, key.clone(), value, mark, stamp.id, stamp.clock);
        }
        let (epoch, as_of) = (stamp.id, stamp.clock);
        updates.push(KpiUpdate { key, series, value, epoch, as_of, window: None });
    }
}

/// What an epoch did to a cell; without an end of its period, quietly.
fn seen(stamp: &EpochStamp, end: Option<Micros>, exists: bool) -> Seen {
    let (quiet, end) = (end.is_none(), end.unwrap_or(stamp.clock));
    Seen { clock: stamp.clock, quiet, end, changed: true, exists }
}

#[cfg(test)]
mod tests {
    use schemas::{Contract, RowBuilder, RowLayout};

    use super::*;

    #[test]
    fn only_kpis_that_follow_from_what_changed_are_told() {
        let contracts: Vec<Contract> = schemas::contract::built_in()
            .iter()
            .map(|(_, text)| Contract::parse(text).unwrap())
            .collect();
        let catalog = crate::catalog::with_built_in(Vec::new(), &contracts, Arc::from([])).unwrap();
        let mut engine = Engine::new(catalog, &contracts).unwrap();
        let add = |engine: &mut Engine, table: &str, time: &str, number: &str| {
            let at = contracts.iter().position(|own| own.name == table).unwrap();
            let layout = RowLayout::new(&contracts[at].columns);
            let column = |name: &str| contracts[at].column(name).unwrap();
            let mut builder = RowBuilder::default();
            builder.reset(layout.len());
            builder.set_timestamp(column(time), Micros(1_767_225_600_000_000));
            builder.set_decimal(column(number), 12_345);
            let mut bytes = Vec::new();
            builder.finish(&layout, &mut bytes);
            engine.apply(at, None, Some(layout.row(&bytes))).unwrap();
            at
        };
        // Cells that both tables feed are there before.
        let stamp = EpochStamp { id: 1, clock: Micros(1_767_225_700_000_000), quiet: false };
        engine.begin_epoch(&stamp);
        add(&mut engine, "orders", "placed_at", "amount");
        add(&mut engine, "costs", "charge_period_start", "effective_cost");
        engine.finish_epoch(&stamp);
        let stamp = EpochStamp { id: 2, ..stamp };
        engine.begin_epoch(&stamp);
        let costs = add(&mut engine, "costs", "charge_period_start", "effective_cost");
        engine.cubes.iter_mut().for_each(Cube::roll_up);
        engine.cubes.iter_mut().for_each(Cube::sort_touched);
        let Engine { cubes, plan, room, .. } = &mut engine;
        let mut told = vec![Vec::new(); plan.kpis.len()];
        for cube in &*cubes {
            cube.ask(&plan.kpis, room, |kpi, own| told[kpi].push(own));
        }
        let mut names = Vec::new();
        for (kpi, cells) in plan.kpis.iter().zip(&told) {
            if !cells.is_empty() {
                assert!(kpi.contracts.contains(&costs), "{} of {:?}", kpi.key, kpi.contracts);
                let grains = kpi.grains.iter().count() + kpi.windows.iter().count();
                assert!(cells.len() <= grains, "{}: {cells:?}", kpi.key);
                names.push(&*kpi.key);
            }
        }
        assert!(names.contains(&"total_cost") && !names.contains(&"orders"), "{names:?}");
    }
}
