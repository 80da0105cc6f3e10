//! What silver does not tell: the history memory, slots and timers of the cells.
//!
//! The bytes are a header, then per cube its KPIs, its series and its cells in key order. Numbers are
//! LEB128; instants are differences from the last clock. The last eight bytes seal the rest.
//!
//! # Guarantees
//! - Canonical: engines with equal state save equal bytes, whatever their hash tables look like.
//! - Bytes that are no state are refused; nothing is half loaded without an error.
//!
//! # Non-guarantees
//! - The counts and sums are not in it: they come from the rows ([`Engine::rebuild`]).

mod bytes;

use schemas::{EpochId, Grain, Micros};
use xxhash_rust::xxh3::xxh3_64;

use super::held::Held;
use super::timers::CellRef;
use super::{Engine, Frozen};
use crate::history::SETTLE_US;
use crate::slabs::{CellId, Memory};
use bytes::{Reader, Writer};

const MAGIC: &[u8] = b"WEIR-GOLD-1";

const EXISTS: u64 = 1;
const CLOSED: u64 = 2;
const QUIET_DIRTY: u64 = 4;
const RESTATE: u64 = 8;
const HAS_ROW: u64 = 16;

/// Why saved state was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("saved KPI state is damaged or of another release ({0}); rebuild it from silver")]
pub struct StateError(&'static str);

impl Frozen {
    /// The state that rows alone do not give back.
    pub fn save_state(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.raw(MAGIC);
        out.signed(self.clock.0);
        out.option(self.last_data.map(|(epoch, _)| epoch));
        out.signed(self.last_data.map_or(0, |(_, clock)| clock.0));
        let (settle, restate) = self.pending;
        for due in [settle, restate] {
            out.unsigned(u64::from(due.is_some()));
            out.signed(due.map_or(0, |due| due.0));
        }
        out.unsigned(self.cubes.len() as u64);
        for cube in 0..self.cubes.len() {
            self.save_cube(cube, &mut out);
        }
        let mut bytes = out.finish();
        let seal = xxh3_64(&bytes).to_le_bytes();
        bytes.extend_from_slice(&seal);
        bytes
    }

    fn save_cube(&self, number: usize, out: &mut Writer) {
        let (shape, slabs) = (&self.plan.cubes[number], &self.cubes[number]);
        out.unsigned(shape.dims.len() as u64);
        shape.dims.iter().for_each(|name| out.bytes(name.as_bytes()));
        out.unsigned(shape.kpis.len() as u64);
        for &kpi in &shape.kpis {
            let kpi = &self.plan.kpis[kpi];
            out.bytes(kpi.key.as_bytes());
            out.unsigned(self.catalog.meaning(&kpi.key));
        }
        let mut cells = slabs.sorted_cells();
        cells.retain(|cell| shape.kpis.iter().any(|kpi| self.flags(*kpi, *cell) != 0));
        out.unsigned(cells.len() as u64);
        let mut series = None;
        for cell in cells {
            let id = slabs.id(cell);
            // A series is written once, before its first cell; 0 stands for the one before.
            let raw = if series == Some(id.series) { &[] } else { &*slabs.series(id.series).raw };
            series = Some(id.series);
            out.bytes(raw);
            out.unsigned(id.grain as u64);
            out.signed(self.relative(id.start));
            shape.kpis.iter().for_each(|kpi| self.save_memory(*kpi, cell, out));
        }
    }

    fn save_memory(&self, kpi: usize, cell: u32, out: &mut Writer) {
        let flags = self.flags(kpi, cell);
        let memory = self.memory(kpi, cell);
        out.unsigned(flags);
        if flags & EXISTS != 0 {
            out.unsigned(memory.epoch);
            out.signed(self.relative(memory.as_of));
            out.unsigned(u64::from(memory.slot.unwrap_or_default()));
        }
        if flags & HAS_ROW != 0 {
            out.signed(self.relative(memory.history.last_row.unwrap_or_default()));
        }
    }

    /// What is worth saving of one KPI of a cell; 0 for nothing.
    fn flags(&self, kpi: usize, cell: u32) -> u64 {
        let history = self.memory(kpi, cell).history;
        let exists = self.memory(kpi, cell).slot.is_some();
        if !exists && !history.needed(self.end(kpi, cell) <= self.clock) {
            return 0;
        }
        [
            (EXISTS, exists),
            (CLOSED, history.closed),
            (QUIET_DIRTY, history.quiet_dirty),
            (RESTATE, history.restate),
            (HAS_ROW, history.last_row.is_some()),
        ]
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(flag, _)| flag)
        .sum()
    }

    /// An instant as its distance before the clock; wrapping, so that every pair has one.
    fn relative(&self, at: Micros) -> i64 {
        self.clock.0.wrapping_sub(at.0)
    }
}

impl Engine {
    /// Restores what [`Frozen::save_state`] saved, after every live row was given to
    /// [`Engine::rebuild`]. KPIs that the state does not know, or knows with another meaning, are
    /// written to the history as if a backlog had just been read.
    ///
    /// # Errors
    /// When the bytes are damaged or of another release.
    pub fn load_state(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let Some((body, seal)) = bytes.split_last_chunk::<8>() else {
            return Err(StateError("length"));
        };
        if xxh3_64(body).to_le_bytes() != *seal {
            return Err(StateError("checksum"));
        }
        let mut from = Reader::new(body);
        if from.raw(MAGIC.len()) != Some(MAGIC) {
            return Err(StateError("header"));
        }
        self.load_body(&mut from).ok_or(StateError("content"))?;
        if !from.is_empty() {
            return Err(StateError("length"));
        }
        self.finish();
        Ok(())
    }

    /// Ends a rebuild without saved state: every cell is taken to have been changed by a backlog
    /// that ended at `clock`, in the epoch `last_data`.
    pub fn finish_rebuild(&mut self, clock: Micros, last_data: Option<(EpochId, Micros)>) {
        (self.clock, self.last_data) = (clock, last_data);
        self.finish();
    }

    fn load_body(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.clock = Micros(from.signed()?);
        let (epoch, clock) = (from.option()?, Micros(from.signed()?));
        self.last_data = epoch.map(|epoch| (epoch, clock));
        let mut pending = [None; 2];
        for due in &mut pending {
            let (set, at) = (from.unsigned()? != 0, from.signed()?);
            *due = set.then_some(Micros(at));
        }
        self.timers.set_pending(pending[0], pending[1]);
        for _ in 0..from.unsigned()? {
            self.load_cube(from)?;
        }
        Some(())
    }

    fn load_cube(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let mut dims = Vec::new();
        for _ in 0..from.unsigned()? {
            dims.push(from.text()?);
        }
        let cube = self.plan.cubes.iter().position(|cube| cube.dims == dims);
        let mut kpis = Vec::new();
        for _ in 0..from.unsigned()? {
            let (key, meaning) = (from.text()?, from.unsigned()?);
            let known =
                self.plan.kpis.iter().position(|kpi| *kpi.key == *key && Some(kpi.cube) == cube);
            kpis.push(known.filter(|_| self.catalog.meaning(&key) == meaning));
        }
        let mut series: &[u8] = &[];
        for _ in 0..from.unsigned()? {
            let raw = from.bytes()?;
            series = if raw.is_empty() { series } else { raw };
            let grain = *Grain::ALL.get(usize::try_from(from.unsigned()?).ok()?)?;
            let start = Micros(self.clock.0.wrapping_sub(from.signed()?));
            let known = kpis.iter().any(Option::is_some);
            let cell = match cube.filter(|_| known) {
                Some(cube) => {
                    let series = self.cubes[cube].intern(series)?;
                    Some(self.cubes[cube].find_or_create(CellId { series, grain, start }))
                }
                None => None,
            };
            for kpi in &kpis {
                self.load_memory(kpi.zip(cell), from)?;
            }
        }
        Some(())
    }

    fn load_memory(&mut self, place: Option<(usize, u32)>, from: &mut Reader<'_>) -> Option<()> {
        let flags = from.unsigned()?;
        let mut memory = Memory::default();
        let mut slot = None;
        if flags & EXISTS != 0 {
            memory.epoch = from.unsigned()?;
            memory.as_of = Micros(self.clock.0.wrapping_sub(from.signed()?));
            slot = Some(u32::try_from(from.unsigned()?).ok()?);
        }
        if flags & HAS_ROW != 0 {
            memory.history.last_row = Some(Micros(self.clock.0.wrapping_sub(from.signed()?)));
        }
        memory.history.closed = flags & CLOSED != 0;
        memory.history.quiet_dirty = flags & QUIET_DIRTY != 0;
        memory.history.restate = flags & RESTATE != 0;
        let holder = place.filter(|(kpi, cell)| self.parts(*kpi, *cell).is_some());
        let reference = |(kpi, cell)| Some(CellRef { kpi: u32::try_from(kpi).ok()?, cell });
        if let Some(slot) = slot {
            self.slots.restore(slot, holder.and_then(reference));
            memory.slot = holder.map(|_| slot);
        }
        let Some(at) = place.and_then(reference) else {
            return Some(());
        };
        self.put_memory(at.kpi as usize, at.cell, &memory);
        if memory.history.quiet_dirty {
            self.timers.dirty(at);
        }
        if memory.history.restate {
            let due = self.timers.pending().1?;
            self.timers.restate(at, due);
        }
        Some(())
    }

    /// Gives cells that the state did not know their slot and first history row, and watches the ends
    /// of running periods.
    fn finish(&mut self) {
        let (epoch, as_of) = self.last_data.unwrap_or((0, self.clock));
        let settled = self.timers.has_dirty();
        let mut fresh = false;
        for kpi in 0..self.plan.kpis.len() {
            for cell in self.slabs_of(kpi).sorted_cells() {
                if self.memory(kpi, cell).slot.is_some() || self.parts(kpi, cell).is_none() {
                    continue;
                }
                let at = CellRef { kpi: u32::try_from(kpi).unwrap_or(u32::MAX), cell };
                let slot = self.slots.place(None, Some(at));
                let mut memory = self.memory(kpi, cell);
                (memory.slot, memory.epoch, memory.as_of) = (slot, epoch, as_of);
                if !std::mem::replace(&mut memory.history.quiet_dirty, true) {
                    self.timers.dirty(at);
                }
                self.put_memory(kpi, cell, &memory);
                fresh = true;
            }
        }
        if fresh && !settled {
            self.timers.settle_after(self.clock.plus(SETTLE_US));
        }
        for (number, cube) in self.cubes.iter_mut().enumerate() {
            for cell in cube.slabs.sorted_cells() {
                cube.watch_end(cell, self.clock, |end, cell| self.timers.close(end, number, cell));
            }
        }
    }
}
