//! What silver does not tell: the history memory, slots and timers of the cells, as records.
//!
//! | part | number | record |
//! |---|---|---|
//! | `gold` | 0 | clocks, and which KPIs the cells of a cube are of, with their meanings |
//! | `gold/series/<dims>` | series | its raw bytes |
//! | `gold/cells/<dims>` | cell | what names it, and the memory of each KPI |
//!
//! Numbers that are kept are parts of their own (`kept.rs`).
//!
//! # Guarantees
//! - Records that are no state are refused; nothing is half loaded without an error.
//! - Series and cells keep their numbers, so that after a restart only what changes is written.
//!
//! # Non-guarantees
//! - All other counts and sums are not in it: they come from the rows ([`Engine::rebuild`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::state::{Bytes, SavedError, decode, encode};
use schemas::{EpochId, Grain, Identity, Micros, Records, Saved, SavedPart, StatePart};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::held::Held;
use super::timers::CellRef;
use super::{Engine, Frozen};
use crate::catalog::Catalog;
use crate::cube::Cube;
use crate::history::{CellHistory, SETTLE_US};
use crate::plan::{CubeShape, Kpi, Plan};
use crate::slabs::{CellId, Memory};

/// The version of the records.
const VERSION: u8 = 6;
const HEAD: &str = "gold";

/// Why saved state was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("saved KPI state is damaged or of another release ({0}); rebuild it from silver")]
pub struct StateError(String);

impl From<SavedError> for StateError {
    fn from(error: SavedError) -> StateError {
        StateError(error.to_string())
    }
}

impl From<&str> for StateError {
    fn from(problem: &str) -> StateError {
        StateError(problem.to_owned())
    }
}

/// What there is but once.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u8,
    clock: Micros,
    last_data: Option<(EpochId, Micros)>,
    /// When settling is due, by KPI.
    settling: BTreeMap<String, Micros>,
    cubes: Vec<SavedCube>,
}

/// The KPIs of a cube, in the order of their memories in each cell.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedCube {
    dims: Vec<String>,
    /// Key and meaning.
    kpis: Vec<(String, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedCell {
    series: u32,
    grain: Grain,
    start: Micros,
    memories: Vec<SavedMemory>,
}

/// A KPI whose cells were saved.
#[derive(Debug, Clone, Copy)]
struct SavedKpi {
    /// Its number now.
    kpi: usize,
    /// Whether its cells are what they were.
    is_same: bool,
}

/// The memory of one KPI of a cell.
#[derive(Debug, Serialize, Deserialize)]
struct SavedMemory {
    /// While it exists: its slot, the epoch that last changed it, and that epoch's clock.
    row: Option<(u32, EpochId, Micros)>,
    history: CellHistory,
}

fn series_part(dims: &[String]) -> String {
    format!("gold/series/{}", dims.join(","))
}

fn cells_part(dims: &[String]) -> String {
    format!("gold/cells/{}", dims.join(","))
}

/// The series of a cube.
struct SeriesRecords<'a>(&'a Frozen, usize);

/// Its cells.
struct CellRecords<'a>(&'a Frozen, usize);

impl Records for SeriesRecords<'_> {
    fn changed(&self) -> Option<&[u32]> {
        self.0.changed.get(self.1)?.series.as_deref()
    }

    fn end(&self) -> u32 {
        u32::try_from(self.0.cubes[self.1].series.len()).unwrap_or(u32::MAX)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        let series = self.0.cubes[self.1].series.get(number as usize);
        series.into_iter().for_each(|series| encode(&Bytes(&series.raw), out));
        series.is_some()
    }
}

impl Records for CellRecords<'_> {
    fn changed(&self) -> Option<&[u32]> {
        self.0.changed.get(self.1)?.cells.as_deref()
    }

    fn end(&self) -> u32 {
        u32::try_from(self.0.cubes[self.1].cells.len()).unwrap_or(u32::MAX)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        let saved = self.0.saved_cell(self.1, number);
        saved.iter().for_each(|saved| encode(saved, out));
        saved.is_some()
    }
}

impl Frozen {
    /// The state that rows alone do not give back.
    pub fn parts(&self) -> Vec<StatePart<'_>> {
        let mut parts = vec![StatePart::head(HEAD, &self.head())];
        for (number, cube) in self.plan.cubes.iter().enumerate() {
            let name = cube.name();
            parts.push(StatePart::new(series_part(&name), SeriesRecords(self, number)));
            parts.push(StatePart::new(cells_part(&name), CellRecords(self, number)));
        }
        parts.extend(self.kept_parts());
        parts
    }

    fn head(&self) -> Head {
        let settling = self.settling.iter().filter_map(|(kpi, due)| {
            Some((self.plan.kpis.get(*kpi as usize)?.key.to_string(), *due))
        });
        Head {
            version: VERSION,
            clock: self.clock,
            last_data: self.last_data,
            settling: settling.collect(),
            cubes: saved_cubes(&self.plan, &self.catalog),
        }
    }

    /// What is worth saving of a cell.
    fn saved_cell(&self, cube: usize, cell: u32) -> Option<SavedCell> {
        let slabs = &self.cubes[cube];
        let held = slabs.get(cell).filter(|held| held.live)?;
        let over = slabs.end(held.id) <= self.clock;
        let memories: Vec<Memory> = slabs.memories(cell).collect();
        if memories.iter().all(|own| own.slot.is_none() && !own.history.needed(over)) {
            return None;
        }
        let memory = |own: &Memory| SavedMemory {
            row: own.slot.map(|slot| (slot, own.epoch, own.as_of)),
            history: own.history,
        };
        let CellId { series, grain, start } = held.id;
        Some(SavedCell { series, grain, start, memories: memories.iter().map(memory).collect() })
    }
}

/// A number that changes with what a KPI means.
fn meaning_of(catalog: &Catalog, kpi: &str) -> u64 {
    let meaning = catalog.meaning(kpi).map(|meaning| meaning.identity());
    meaning.map_or(0, |meaning| xxh3_64(meaning.as_bytes()))
}

fn saved_cubes(plan: &Plan, catalog: &Catalog) -> Vec<SavedCube> {
    let kpi = |&kpi: &usize| {
        let key = &plan.kpis[kpi].key;
        (key.to_string(), meaning_of(catalog, key))
    };
    let cube = |cube: &CubeShape| SavedCube {
        dims: cube.name(),
        kpis: cube.kpis.iter().map(kpi).collect(),
    };
    plan.cubes.iter().map(cube).collect()
}

impl Engine {
    /// Begins to restore what [`Frozen::parts`] saved, on an engine without rows. Every live row is
    /// then given to [`Engine::rebuild`], and [`Engine::finish_load`] ends it. What was saved of KPIs that
    /// are not `kept` is left out: their rows are not those of then.
    ///
    /// # Errors
    /// When a record is damaged or of another release.
    pub fn load_state(
        &mut self,
        saved: &Saved,
        kept: &dyn Fn(&str) -> bool,
    ) -> Result<(), StateError> {
        let head: Head = saved.head(HEAD)?;
        if head.version != VERSION {
            return Err("version".into());
        }
        (self.clock, self.last_data) = (head.clock, head.last_data);
        self.renumbered = head.cubes != saved_cubes(&self.plan, &self.catalog);
        head.cubes.iter().try_for_each(|cube| self.load_cube(cube, saved, kept))?;
        let plan = Arc::clone(&self.plan);
        for (key, due) in &head.settling {
            let is_it = |kpi: u32| plan.kpis.get(kpi as usize).is_some_and(|kpi| *kpi.key == **key);
            self.timers.settle_after(*due, is_it);
        }
        if !self.timers.is_whole() {
            return Err("what quiet rows changed never settles".into());
        }
        self.load_kept(saved, kept);
        Ok(())
    }

    /// Brings the rows that [`Engine::rebuild`] was given so far into the longer periods, which
    /// [`Engine::snapshot`] lacks them in until then.
    pub fn roll_up(&mut self) {
        self.finish_views();
        if self.clock != Micros(i64::MIN) {
            self.cubes.iter_mut().for_each(|cube| cube.pass(self.clock));
        }
        self.convert_all();
        self.cubes.iter_mut().for_each(Cube::roll_up_all);
        self.rebuild_stocks();
    }

    /// Ends what [`Engine::load_state`] began. KPIs that the state does not know, or knows with another
    /// meaning, are written to the history when they [come into force](Engine::come_into_force).
    pub fn finish_load(&mut self) {
        self.roll_up();
        for kpi in 0..self.plan.kpis.len() {
            for cell in self.slabs_of(kpi).sorted_cells() {
                let memory = self.memory(kpi, cell);
                let Some(slot) = memory.slot else { continue };
                let holder = self.parts(kpi, cell).and_then(|_| u32::try_from(kpi).ok());
                self.slots.restore(slot, holder.map(|kpi| CellRef { kpi, cell }));
                if holder.is_none() {
                    self.put_memory(kpi, cell, &Memory { slot: None, ..memory });
                }
            }
        }
        self.finish();
        self.timers.settle_others_in_force();
    }

    /// Ends a rebuild without saved state: every cell is taken to have been changed by a backlog
    /// that ended at `clock`, in the epoch `last_data`.
    pub fn finish_rebuild(&mut self, clock: Micros, last_data: Option<(EpochId, Micros)>) {
        (self.clock, self.last_data) = (clock, last_data);
        self.roll_up();
        self.finish();
        self.timers.settle_others_after(clock.plus(SETTLE_US));
    }

    fn load_cube(
        &mut self,
        shape: &SavedCube,
        saved: &Saved,
        kept: &dyn Fn(&str) -> bool,
    ) -> Result<(), StateError> {
        let cube = self.plan.cubes.iter().position(|cube| cube.name() == shape.dims);
        let known = |(key, meaning): &(String, u64)| {
            let is_it = |kpi: &Kpi| *kpi.key == **key && Some(kpi.cube) == cube;
            let kpi = self.plan.kpis.iter().position(is_it)?;
            let is_same = kept(key) && meaning_of(&self.catalog, key) == *meaning;
            Some(SavedKpi { kpi, is_same })
        };
        let kpis: Vec<Option<SavedKpi>> = shape.kpis.iter().map(known).collect();
        let cube = cube.filter(|_| kpis.iter().any(Option::is_some));
        let (series, cells) = (series_part(&shape.dims), cells_part(&shape.dims));
        if let Some(cube) = cube {
            let records = saved.part(&series).into_iter().flat_map(SavedPart::records);
            for (number, record) in records {
                let raw: Option<Bytes<'_>> = decode(record);
                let raw = raw.ok_or(SavedError::Record(series.clone(), number))?;
                if self.cubes[cube].intern(raw.0) != Some(number) {
                    return Err("a series is missing".into());
                }
            }
        }
        for cell in saved.values::<SavedCell>(&cells) {
            let (number, SavedCell { series, grain, start, memories }) = cell?;
            if memories.len() != kpis.len() {
                return Err("a cell has other KPIs".into());
            }
            if let Some(cube) = cube
                && !self.cubes[cube].restore(number, CellId { series, grain, start })
            {
                return Err("a cell is there twice, or has no series".into());
            }
            for (kpi, memory) in kpis.iter().zip(memories) {
                match kpi {
                    Some(SavedKpi { kpi, is_same: true }) => {
                        self.load_memory(*kpi, number, &memory)
                    }
                    other => {
                        // Its row is to be deleted, unless the KPI gets one anew.
                        memory
                            .row
                            .into_iter()
                            .for_each(|(slot, ..)| self.slots.restore(slot, None));
                        if let Some(SavedKpi { kpi, .. }) = other {
                            self.load_past(*kpi, number, memory.history);
                        }
                    }
                }
            }
        }
        cube.into_iter().for_each(|cube| self.cubes[cube].finish_restore());
        Ok(())
    }

    /// Takes what the history has of a cell whose KPI is computed anew: what was closed stays so, and what it says now
    /// is written when that is in force.
    fn load_past(&mut self, kpi: usize, cell: u32, past: CellHistory) {
        let Kpi { cube, place, grains, .. } = self.plan.kpis[kpi];
        let slabs = &self.cubes[cube].slabs;
        let CellId { series, grain, start } = slabs.id(cell);
        // Under another calendar it is no period any more, and what was said of it stays.
        let is_period =
            grains.has(grain) && slabs.series(series).periods.start(grain, start) == start;
        if !is_period || past.last_row.is_none() {
            return;
        }
        let CellHistory { last_row, closed, .. } = past;
        let history = CellHistory { last_row, closed, quiet_dirty: true, behind: false };
        self.cubes[cube].slabs.put_memory(cell, place, &Memory { history, ..Memory::default() });
        let at = CellRef { kpi: u32::try_from(kpi).unwrap_or(u32::MAX), cell };
        self.timers.restore(at, &history);
        self.timers.await_force(at.kpi);
    }

    fn load_memory(&mut self, kpi: usize, cell: u32, saved: &SavedMemory) {
        let (slot, epoch, as_of) = saved
            .row
            .map_or((None, 0, Micros(0)), |(slot, epoch, as_of)| (Some(slot), epoch, as_of));
        let history = saved.history;
        let Kpi { cube, place, .. } = self.plan.kpis[kpi];
        let memory = Memory { history, epoch, as_of, slot };
        self.cubes[cube].slabs.put_memory(cell, place, &memory);
        let at = CellRef { kpi: u32::try_from(kpi).unwrap_or(u32::MAX), cell };
        self.timers.restore(at, &history);
    }

    /// Gives cells that the state did not know their slot and first history row, and watches the ends
    /// of running periods.
    fn finish(&mut self) {
        let (epoch, as_of) = self.last_data.unwrap_or((0, self.clock));
        for kpi in 0..self.plan.kpis.len() {
            for cell in self.slabs_of(kpi).sorted_cells() {
                if self.memory(kpi, cell).slot.is_some() || self.parts(kpi, cell).is_none() {
                    continue;
                }
                let at = CellRef { kpi: u32::try_from(kpi).unwrap_or(u32::MAX), cell };
                let slot = self.slots.place(None, Some(at));
                let mut memory = self.memory(kpi, cell);
                (memory.slot, memory.epoch, memory.as_of) = (slot, epoch, as_of);
                let is_window = self.slabs_of(kpi).id(cell).grain.is_window();
                if !is_window && !std::mem::replace(&mut memory.history.quiet_dirty, true) {
                    self.timers.dirty(at);
                }
                self.put_memory(kpi, cell, &memory);
            }
        }
        for (number, cube) in self.cubes.iter_mut().enumerate() {
            for cell in cube.slabs.sorted_cells() {
                // Rows of views may have come and gone again.
                cube.release(cell, self.clock);
                cube.watch_end(cell, self.clock, |end, cell| self.timers.close(end, number, cell));
            }
        }
    }
}
