//! What a cube remembers of its windows besides their cells: where they lie in each zone, and which there are.
//!
//! # Guarantees
//! - Where windows lie is that of the clock: [`Rolling::pass`] looks at a zone anew when its hour or day is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::window::{self, NO_START, Reach, Role};
use schemas::{Grain, Grains, Micros, Periods};

use crate::slabs::CellId;

/// What windows are made of.
pub(super) const UNITS: [Grain; 2] = [Grain::Hour, Grain::Day];

/// Where each window and its counterparts lie.
pub(super) type Reaches = [[Option<Reach>; Role::ALL.len()]; Grain::WINDOWS.len()];

/// The windows of one zone.
#[derive(Debug)]
pub(super) struct Zone {
    periods: Arc<Periods>,
    pub(super) reaches: Reaches,
    /// When the running hour and the running day end.
    pub(super) until: [Micros; UNITS.len()],
    /// How many cells of windows there are, by what they are made of.
    pub(super) members: [usize; UNITS.len()],
}

/// What a cube remembers of its windows besides their cells.
#[derive(Debug)]
pub(super) struct Rolling {
    pub(super) windows: Grains,
    /// Whether windows need hours, and days.
    pub(super) has_unit: [bool; UNITS.len()],
    pub(super) clock: Option<Micros>,
    pub(super) zones: Vec<Zone>,
    /// By series, window and role: one more than the number of the cell, and 0 where there is none.
    cells: Vec<[[u32; Role::ALL.len()]; Grain::WINDOWS.len()]>,
    /// Window and series to the cell of the running period.
    pub(super) members: BTreeMap<(Grain, u32), u32>,
    /// Those made since the last epoch ended: their counterparts are not folded yet.
    pub(super) fresh: BTreeSet<(Grain, u32)>,
    /// Hours and days that are yet to begin, by when they do.
    pub(super) opening: BTreeMap<Micros, BTreeSet<u32>>,
}

/// The windows, and their counterparts, that an hour or a day is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around(pub(super) u16);

impl Around {
    /// Every window and every counterpart.
    pub(super) const ALL: Around = Around((1 << (Grain::WINDOWS.len() * Role::ALL.len())) - 1);

    pub(super) fn iter(self) -> impl Iterator<Item = (Grain, Role)> {
        let all = Grain::WINDOWS.into_iter().flat_map(|own| Role::ALL.map(|role| (own, role)));
        all.enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, own)| own)
    }

    /// Whether it is in a counterpart.
    pub(super) fn has_counterpart(self) -> bool {
        self.iter().any(|(_, role)| role != Role::Running)
    }
}

/// A window that moved: its series, and the cell of its running period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    pub(crate) window: Grain,
    pub(crate) series: u32,
    pub(crate) cell: u32,
}

/// The cell of a window, or of what it is compared with.
pub(super) fn id(series: u32, window: Grain, role: Role) -> CellId {
    let start = match role {
        Role::Running => NO_START,
        Role::Previous => NO_START.plus(1_000_000),
        Role::Year => NO_START.plus(2_000_000),
    };
    CellId { series, grain: window, start }
}

/// The role that such a cell has; `None` of all others.
fn role_of(CellId { grain, start, .. }: CellId) -> Option<usize> {
    if !grain.is_window() {
        return None;
    }
    Role::ALL.iter().position(|role| id(0, grain, *role).start == start)
}

pub(super) fn unit_place(unit: Grain) -> usize {
    usize::from(unit != Grain::Hour)
}

pub(super) fn place(window: Grain) -> usize {
    Grain::WINDOWS.iter().position(|own| *own == window).unwrap_or_default()
}

impl Rolling {
    pub(super) fn new(windows: Grains) -> Rolling {
        let has = |unit: Grain| windows.iter().any(|own| window::unit(own) == unit);
        Rolling {
            windows,
            has_unit: UNITS.map(has),
            clock: None,
            zones: Vec::new(),
            cells: Vec::new(),
            members: BTreeMap::new(),
            fresh: BTreeSet::new(),
            opening: BTreeMap::new(),
        }
    }

    /// Whether it is a cell that these are asked for, and its number if it is there.
    pub(super) fn cell(&self, id: CellId) -> Option<Option<u32>> {
        let role = role_of(id)?;
        let cells = self.cells.get(id.series as usize);
        Some(cells.and_then(|cells| cells[place(id.grain)][role].checked_sub(1)))
    }

    /// Remembers such a cell, or that there is none; `false` of all others.
    pub(super) fn put_cell(&mut self, id: CellId, cell: Option<u32>) -> bool {
        let Some(role) = role_of(id) else { return false };
        let at = id.series as usize;
        if at >= self.cells.len() {
            self.cells.resize(at + 1, Default::default());
        }
        self.cells[at][place(id.grain)][role] = cell.map_or(0, |cell| cell.saturating_add(1));
        true
    }

    /// Where the windows of a zone lie at the clock; nowhere before there is one.
    fn reaches(&self, periods: &Periods) -> (Reaches, [Micros; UNITS.len()]) {
        let Some(clock) = self.clock else {
            return (Reaches::default(), [Micros(i64::MIN); UNITS.len()]);
        };
        let reach = |own: Grain| {
            let held = self.windows.has(own);
            Role::ALL.map(|role| window::reach(own, role, periods, clock).filter(|_| held))
        };
        let until = |unit: Grain| periods.end(unit, periods.start(unit, clock));
        (Grain::WINDOWS.map(reach), UNITS.map(until))
    }

    /// Where the windows of a zone lie, when it was looked at.
    pub(super) fn known(&self, periods: &Arc<Periods>) -> Option<&Reaches> {
        let zone = self.zones.iter().find(|zone| Arc::ptr_eq(&zone.periods, periods));
        zone.map(|zone| &zone.reaches)
    }

    /// The number of a zone.
    pub(super) fn zone(&mut self, periods: &Arc<Periods>) -> usize {
        let found = self.zones.iter().position(|zone| Arc::ptr_eq(&zone.periods, periods));
        found.unwrap_or_else(|| {
            let (reaches, until) = self.reaches(periods);
            let members = [0; UNITS.len()];
            self.zones.push(Zone { periods: Arc::clone(periods), reaches, until, members });
            self.zones.len() - 1
        })
    }

    /// Sets the clock, and where windows lie then.
    pub(super) fn pass(&mut self, clock: Micros) {
        self.clock = Some(clock);
        for at in 0..self.zones.len() {
            if self.zones[at].until.iter().any(|until| *until <= clock) {
                let (reaches, until) = self.reaches(&self.zones[at].periods);
                (self.zones[at].reaches, self.zones[at].until) = (reaches, until);
            }
        }
    }
}
