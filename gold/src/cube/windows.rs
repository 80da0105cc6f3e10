//! Windows of a cube: longer periods whose bounds move, as cells beside those of the calendar.
//!
//! Each series has at most one cell a window for the running period, and beside it two for what that is
//! compared with: the equal window before, and the same a year before. They are made of hours or days: at the
//! end of an epoch each that changed brings its change to the windows that it is in; at a boundary the one that
//! leaves is taken out and the one that enters is put in.
//!
//! # Guarantees
//! - A window's numbers are those of the rows in it at the cube's clock. Rows of later hours and days are in it
//!   when those begin.
//! - What a window is compared with is held for as long as a row feeds the window itself: it is folded from its
//!   days when the first one comes.
//! - Work is done for what changed and, at a boundary, for the series that have a row in the window.
//!
//! # Non-guarantees
//! - Bags of the year before are not kept: what does not add up has no counterpart there.

use schemas::window::{self, NO_START, Reach, Role};
use schemas::{Grain, Grains, Micros};

use super::Cube;
use super::rolling::{Around, Moved, Reaches, UNITS, id, place, unit_place};
use crate::slabs::CellId;
use crate::sum::ExactSum;

impl Cube {
    /// Lets time pass that moves no window.
    pub(crate) fn pass(&mut self, clock: Micros) {
        self.rolling.pass(clock);
    }

    /// When a window moves next.
    pub(crate) fn next_move(&self) -> Option<Micros> {
        let zones = self.rolling.zones.iter().flat_map(|zone| {
            let ends = zone.until.iter().zip(&zone.members);
            ends.filter(|(_, members)| **members > 0).map(|(until, _)| *until)
        });
        zones.chain(self.rolling.opening.first_key_value().map(|(at, _)| *at)).min()
    }

    /// Where a window of a series lies, or what it is compared with.
    pub(crate) fn reach(&self, series: u32, window: Grain, role: Role) -> Option<Reach> {
        let periods = &self.slabs.series(series).periods;
        match self.rolling.known(periods) {
            Some(reaches) => reaches[place(window)][role as usize],
            None => window::reach(window, role, periods, self.rolling.clock?),
        }
    }

    /// The cell of a window of a series, or of what it is compared with.
    pub(crate) fn window_cell(&self, series: u32, window: Grain, role: Role) -> Option<u32> {
        self.find(id(series, window, role))
    }

    /// Every window of every series, and its cell.
    pub(crate) fn windows(&self) -> impl Iterator<Item = Moved> {
        let members = self.rolling.members.iter();
        members.map(|((window, series), cell)| Moved {
            window: *window,
            series: *series,
            cell: *cell,
        })
    }

    /// The windows that an hour or a day is in.
    fn around(&mut self, CellId { series, grain, start }: CellId) -> Around {
        if !UNITS.contains(&grain) || !self.rolling.has_unit[unit_place(grain)] {
            return Around(0);
        }
        let zone = self.rolling.zone(&self.slabs.series(series).periods);
        let mut found = 0;
        let reaches = &self.rolling.zones[zone].reaches;
        for (window, (own, reaches)) in Grain::WINDOWS.into_iter().zip(reaches).enumerate() {
            if window::unit(own) != grain {
                continue;
            }
            for (role, reach) in reaches.iter().enumerate() {
                if reach.is_some_and(|reach| reach.has(start)) {
                    found |= 1 << (window * Role::ALL.len() + role);
                }
            }
        }
        Around(found)
    }

    /// A cell of a window's running period was made.
    pub(super) fn enter(&mut self, CellId { series, grain, start }: CellId, cell: u32) {
        if !grain.is_window() || start != NO_START {
            return;
        }
        let zone = self.rolling.zone(&self.slabs.series(series).periods);
        self.rolling.zones[zone].members[unit_place(window::unit(grain))] += 1;
        self.rolling.members.insert((grain, series), cell);
        self.rolling.fresh.insert((grain, series));
    }

    /// Such a cell is forgotten, and with it what it is compared with; or an hour or a day that was yet to
    /// begin.
    pub(super) fn leave(&mut self, CellId { series, grain, start }: CellId, cell: u32) {
        if UNITS.contains(&grain) {
            self.forget_start(cell, start);
        }
        if !grain.is_window() || start != NO_START {
            return;
        }
        if self.rolling.members.remove(&(grain, series)).is_some() {
            let zone = self.rolling.zone(&self.slabs.series(series).periods);
            self.rolling.zones[zone].members[unit_place(window::unit(grain))] -= 1;
        }
        self.rolling.fresh.remove(&(grain, series));
        for role in [Role::Previous, Role::Year] {
            if let Some(cell) = self.window_cell(series, grain, role) {
                self.clear(cell);
                self.forget(cell);
            }
        }
    }

    /// An hour or a day that has a row and is yet to begin is looked at when it does.
    pub(super) fn watch_start(&mut self, cell: u32, now: Micros) {
        let own = self.slabs.cell(cell);
        let CellId { grain, start, .. } = own.id;
        if !own.live || start <= now || !UNITS.contains(&grain) {
            return;
        }
        if self.slabs.numbers(cell).counts.iter().all(|count| *count == 0) {
            self.forget_start(cell, start);
        } else if self.rolling.has_unit[unit_place(grain)] {
            self.rolling.opening.entry(start).or_default().insert(cell);
        }
    }

    /// An hour or a day has no row any more.
    fn forget_start(&mut self, cell: u32, start: Micros) {
        let Some(cells) = self.rolling.opening.get_mut(&start) else { return };
        cells.remove(&cell);
        if cells.is_empty() {
            self.rolling.opening.remove(&start);
        }
    }

    /// The cells of windows, and of those before them, that the values of a row of an hour or a day enter:
    /// of a selection, which feeds them.
    pub(crate) fn window_cells(&mut self, own: CellId, selection: usize) -> Vec<u32> {
        let around = self.around(own);
        let mut cells = Vec::new();
        for (window, role) in around.iter() {
            match role {
                Role::Running => {
                    cells.push(self.find_or_create(id(own.series, window, role)));
                }
                Role::Previous => cells.extend(self.counterpart(own.series, window, role)),
                Role::Year => {}
            }
        }
        cells.iter().for_each(|cell| self.feed(*cell, selection));
        cells
    }

    /// What a window that is there is compared with, to be changed by the epoch; none that is folded later.
    pub(super) fn counterpart(&mut self, series: u32, window: Grain, role: Role) -> Option<u32> {
        let running = self.window_cell(series, window, Role::Running)?;
        if self.rolling.fresh.contains(&(window, series)) {
            return None;
        }
        let cell = self.find_or_create(id(series, window, role));
        self.touch(cell);
        self.touch(running);
        Some(cell)
    }

    /// Brings what the epoch changed of the first `rows` touched cells into windows.
    pub(super) fn roll_into_windows(&mut self, rows: usize) {
        if self.rolling.windows == Grains::NONE {
            return;
        }
        let mut earlier = Vec::new();
        for at in 0..rows {
            let own = self.touched[at];
            let unit = self.slabs.id(own.cell);
            let around = self.around(unit);
            if around.has_counterpart() {
                earlier.push((own, unit.series, around));
            }
            for (window, _) in around.iter().filter(|(_, role)| *role == Role::Running) {
                let cell = self.find_or_create(id(unit.series, window, Role::Running));
                self.touch(cell);
                self.add_change(own, cell);
            }
        }
        for (own, series, around) in earlier {
            for (window, role) in around.iter().filter(|(_, role)| *role != Role::Running) {
                if let Some(cell) = self.counterpart(series, window, role) {
                    self.add_change(own, cell);
                }
            }
        }
        self.change_windows();
        self.fold_fresh();
    }

    /// Folds what new windows are compared with.
    fn fold_fresh(&mut self) {
        for (window, series) in std::mem::take(&mut self.rolling.fresh) {
            self.fold_counterparts(window, series);
        }
    }

    fn fold_counterparts(&mut self, window: Grain, series: u32) {
        let zone = self.rolling.zone(&self.slabs.series(series).periods);
        for (role, reach) in
            Role::ALL.into_iter().zip(self.rolling.zones[zone].reaches[place(window)])
        {
            let Some(Reach { first, last, .. }) = reach.filter(|_| role != Role::Running) else {
                continue;
            };
            (first..=last).for_each(|unit| self.put(unit, (series, window, role), true));
            if role == Role::Previous {
                self.count_different(series, window, role);
            }
        }
    }

    /// Puts an hour or a day of a series into a window, or takes it out.
    fn put(&mut self, unit: i64, (series, window, role): (u32, Grain, Role), comes: bool) {
        let start = window::unit_start(window, &self.slabs.series(series).periods, unit);
        let unit = CellId { series, grain: window::unit(window), start };
        let Some(from) = self.find(unit) else { return };
        if self.slabs.numbers(from).counts.iter().all(|count| *count == 0) {
            return;
        }
        let to = self.find_or_create(id(series, window, role));
        self.merge(from, to, comes, role);
    }

    /// Adds the numbers of one cell to those of another one, or takes them away.
    fn merge(&mut self, from: u32, to: u32, comes: bool, role: Role) {
        for place in 0..self.counts_stride {
            let count = self.slabs.numbers(from).counts[place];
            self.slabs.numbers_mut(to).0[place] += if comes { count } else { -count };
        }
        for place in self.linear.iter().copied() {
            let sum = self.slabs.numbers(from).sums[place];
            let own = &mut self.slabs.numbers_mut(to).1[place];
            match comes {
                true => own.add_change(ExactSum::default(), sum),
                false => own.add_change(sum, ExactSum::default()),
            }
        }
        if role == Role::Year {
            return;
        }
        for (sum, present, extract) in self.bagged.iter().copied() {
            let bag = u32::try_from(sum).unwrap_or(u32::MAX);
            let shift = self.bags.merge((from, bag), (to, bag), extract, comes);
            let values = self.slabs.numbers(from).sums[present];
            let (_, sums) = self.slabs.numbers_mut(to);
            sums[sum].subtract(shift.from);
            sums[sum].add(shift.to);
            match comes {
                true => sums[present].add_change(ExactSum::default(), values),
                false => sums[present].add_change(values, ExactSum::default()),
            }
        }
    }

    /// Makes the numbers of a cell those of one without rows.
    fn clear(&mut self, cell: u32) {
        let (counts, sums) = self.slabs.numbers_mut(cell);
        counts.fill(0);
        sums.fill(ExactSum::default());
        for (sum, ..) in &self.bagged {
            self.bags.remove((cell, u32::try_from(*sum).unwrap_or(u32::MAX)));
        }
    }

    /// Moves the windows whose hour or day ends at `at`, and names them. Those that nothing feeds any more
    /// are there until they are released.
    pub(crate) fn move_windows(&mut self, at: Micros) -> Vec<Moved> {
        let before: Vec<Reaches> = self.rolling.zones.iter().map(|zone| zone.reaches).collect();
        self.rolling.pass(at);
        for cell in self.rolling.opening.remove(&at).unwrap_or_default() {
            let unit = self.slabs.id(cell);
            for own in self.rolling.windows.iter().filter(|own| window::unit(*own) == unit.grain) {
                let _made = self.find_or_create(id(unit.series, own, Role::Running));
            }
        }
        let mut moved = Vec::new();
        let zones = before.iter().zip(&self.rolling.zones);
        let mut moves = [false; Grain::WINDOWS.len()];
        for (was, zone) in zones {
            for (at, moves) in moves.iter_mut().enumerate() {
                *moves |= was[at] != zone.reaches[at];
            }
        }
        let moving = self.windows().filter(|own| moves[place(own.window)]);
        for own in moving.collect::<Vec<_>>() {
            let zone = self.rolling.zone(&self.slabs.series(own.series).periods);
            let now = self.rolling.zones[zone].reaches[place(own.window)];
            let was = before.get(zone).map_or(now, |reaches| reaches[place(own.window)]);
            if was != now {
                self.shift(own, was, now);
                moved.push(own);
            }
        }
        moved
    }

    fn shift(&mut self, own: Moved, was: [Option<Reach>; 3], now: [Option<Reach>; 3]) {
        let Moved { window, series, .. } = own;
        let is_fresh = self.rolling.fresh.remove(&(window, series));
        for ((role, was), now) in Role::ALL.into_iter().zip(was).zip(now) {
            let (Some(was), Some(now)) = (was, now) else { continue };
            if is_fresh && role != Role::Running {
                continue;
            }
            let own = (series, window, role);
            beyond(was, now).for_each(|unit| self.put(unit, own, false));
            beyond(now, was).for_each(|unit| self.put(unit, own, true));
            if role != Role::Year {
                self.move_different(own, (was.start, was.end), (now.start, now.end));
            }
            if role != Role::Running
                && let Some(cell) = self.window_cell(series, window, role)
                && self.slabs.numbers(cell).counts.iter().all(|count| *count == 0)
            {
                self.forget(cell);
            }
        }
        if is_fresh {
            self.fold_counterparts(window, series);
        }
    }

    /// Makes windows what the rows of a rebuild are together, however often.
    pub(super) fn rebuild_windows(&mut self) {
        let (mut units, mut held) = (Vec::new(), Vec::new());
        for (number, cell) in (0_u32..).zip(self.slabs.cells.iter()) {
            let id = cell.id();
            if cell.is_live() && UNITS.contains(&id.grain) {
                units.push((number, id));
            } else if cell.is_live() && id.grain.is_window() {
                held.push((number, id));
            }
        }
        for (cell, id) in held {
            self.clear(cell);
            if id.start != NO_START {
                self.forget(cell);
            }
        }
        self.rolling.opening.clear();
        let has_rows =
            |cube: &Cube, cell: u32| cube.slabs.numbers(cell).counts.iter().any(|own| *own != 0);
        for of in [&[Role::Running][..], &[Role::Previous, Role::Year]] {
            for (cell, own) in
                units.iter().copied().filter(|own| has_rows(self, own.0)).collect::<Vec<_>>()
            {
                for (window, role) in self.around(own).iter().filter(|(_, role)| of.contains(role))
                {
                    let is_held = self.rolling.members.contains_key(&(window, own.series));
                    if role == Role::Running || is_held {
                        let to = self.find_or_create(id(own.series, window, role));
                        self.merge(cell, to, true, role);
                    }
                }
            }
        }
        for (cell, _) in units {
            if let Some(clock) = self.rolling.clock.filter(|_| has_rows(self, cell)) {
                self.watch_start(cell, clock);
            }
        }
        self.rolling.fresh.clear();
        self.count_windows();
    }
}

/// The hours or days of one reach that the other one does not have.
fn beyond(one: Reach, other: Reach) -> impl Iterator<Item = i64> {
    let before = one.first..=one.last.min(other.first.saturating_sub(1));
    let after = one.first.max(other.last.saturating_add(1))..=one.last;
    before.chain(after)
}
