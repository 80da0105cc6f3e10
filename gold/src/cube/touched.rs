//! What an epoch touches of a cube: which cells, what changes of them, and what that was before.
//!
//! # Guarantees
//! - What a selection of rows feeds of a cell is put aside before the epoch first changes it, and nothing else is:
//!   what a touched cell costs is by what changes of it, however many KPIs its cube has.
//! - [`Cube::touched`] is in cell key order after [`Cube::sort_touched`], whatever the hash order.

use schemas::Micros;
use schemas::window::{NO_START, Role};

use super::{Cube, Number};
use crate::plan::{Kpi, Rule, Selection, counts_of};
use crate::slabs::CellId;
use crate::sum::{ExactSum, Numbers};
use crate::value::Parts;

/// From so many cells on, series are ranked before cells are sorted: their names are compared once a series.
pub(crate) const RANKED_MIN: usize = 16;

/// Memory that is kept for numbers which rows that are not quiet change.
const KEPT_LOUD: usize = 1 << 16;

/// A touched cell, and its place in the order in which the epoch touched cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) cell: u32,
    place: u32,
}

/// The numbers of touched cells before the epoch, as far as it changes them.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// By cell: one more than its place among those touched, and 0 of all others.
    places: Vec<u32>,
    /// By place and selection: one more than the number of what is put aside, and 0 where nothing is.
    fed: Vec<u32>,
    before: Vec<Before>,
    sums: Vec<ExactSum>,
}

/// What a selection fed of a cell before the epoch.
#[derive(Debug, Clone, Copy)]
struct Before {
    counts: [i64; 2],
    /// Where its sums begin.
    sums: usize,
}

/// A cell of a KPI that says something else now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) cell: u32,
    pub(crate) after: Option<Parts>,
}

/// KPIs that say something else of a cell, and what.
type Changed = Vec<(usize, Option<Parts>)>;

/// Where the numbers of a cell before the epoch are put together, and the KPIs that say something else of it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    counts: Vec<i64>,
    sums: Vec<ExactSum>,
    kpis: Changed,
}

impl Cube {
    /// Notes that the epoch touches a cell. Returns its place.
    pub(super) fn touch(&mut self, cell: u32) -> usize {
        let Cube { touched, aside, selections, .. } = self;
        let at = cell as usize;
        if at >= aside.places.len() {
            aside.places.resize(at + 1, 0);
        }
        let held = aside.places[at];
        if held > 0 {
            return held as usize - 1;
        }
        let place = touched.len();
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        touched.push(Touched { cell, place: number });
        aside.places[at] = number.saturating_add(1);
        aside.fed.resize(aside.fed.len() + selections.len(), 0);
        place
    }

    /// Puts what a selection of rows feeds of a cell aside, unless this epoch has done so.
    pub(crate) fn feed(&mut self, cell: u32, selection: usize) {
        let place = self.touch(cell);
        let Cube { aside, selections, slabs, .. } = self;
        let fed = &mut aside.fed[place * selections.len() + selection];
        if *fed > 0 {
            return;
        }
        let Numbers { counts, sums } = slabs.numbers(cell);
        let own = counts_of(selection).start;
        let counts = [counts[own], counts[own + 1]];
        aside.before.push(Before { counts, sums: aside.sums.len() });
        *fed = u32::try_from(aside.before.len()).unwrap_or(u32::MAX);
        aside.sums.extend(selections[selection].sums.iter().map(|sum| sums[*sum]));
    }

    /// A cell, where the epoch touched it.
    pub(crate) fn find_touched(&self, cell: u32) -> Option<Touched> {
        let place = self.aside.places.get(cell as usize)?.checked_sub(1)?;
        Some(Touched { cell, place })
    }

    /// What a selection fed of a touched cell before the epoch, where that may have changed it.
    fn before(&self, touched: Touched, selection: usize) -> Option<Before> {
        let at = touched.place as usize * self.selections.len() + selection;
        self.aside.before.get(self.aside.fed[at].checked_sub(1)? as usize).copied()
    }

    /// Whether the epoch may have changed what any of these selections feeds of a touched cell.
    pub(crate) fn is_fed(&self, touched: Touched, of: &[usize]) -> bool {
        of.iter().any(|selection| self.before(touched, *selection).is_some())
    }

    /// The selections of which the epoch may have changed what they feed of a touched cell.
    fn fed(&self, touched: Touched) -> impl Iterator<Item = (usize, &Selection)> {
        let from = touched.place as usize * self.selections.len();
        let fed = self.aside.fed[from..].iter().zip(self.selections.iter().enumerate());
        fed.filter(|(fed, _)| **fed > 0).map(|(_, own)| own)
    }

    /// Puts the numbers of a touched cell before the epoch together.
    pub(crate) fn numbers_before<'a>(&self, touched: Touched, room: &'a mut Room) -> Numbers<'a> {
        let Room { counts, sums, .. } = room;
        let now = self.slabs.numbers(touched.cell);
        counts.clear();
        counts.extend_from_slice(now.counts);
        sums.clear();
        sums.extend_from_slice(now.sums);
        for (selection, own) in self.fed(touched) {
            let Some(before) = self.before(touched, selection) else { continue };
            counts[counts_of(selection)].copy_from_slice(&before.counts);
            let held = &self.aside.sums[before.sums..];
            own.sums.iter().zip(held).for_each(|(at, sum)| sums[*at] = *sum);
        }
        Numbers { counts, sums }
    }

    /// Adds what the epoch changed of a touched cell to another one, of all that adds up.
    pub(super) fn add_change(&mut self, from: Touched, to: u32) {
        for selection in 0..self.selections.len() {
            let Some(before) = self.before(from, selection) else { continue };
            self.feed(to, selection);
            for (place, before) in counts_of(selection).zip(before.counts) {
                let by = self.slabs.numbers(from.cell).counts[place] - before;
                if by != 0 {
                    self.slabs.numbers_mut(to).0[place] += by;
                }
            }
            for at in 0..self.selections[selection].linear {
                let place = self.selections[selection].sums[at];
                let before = self.aside.sums[before.sums + at];
                let now = self.slabs.numbers(from.cell).sums[place];
                if before != now {
                    self.slabs.numbers_mut(to).1[place].add_change(before, now);
                }
            }
        }
    }

    /// In an epoch with quiet rows: a row that is not quiet changed a number of a cell.
    pub(crate) fn mark_loud(&mut self, cell: u32, number: Number) {
        self.loud.insert((cell, number));
    }

    /// What rows that are not quiet changed of a touched cell they changed of another one.
    pub(super) fn pass_loud(&mut self, from: Touched, to: u32) {
        if self.loud.is_empty() {
            return;
        }
        let numbers = self.fed(from).flat_map(|(selection, own)| {
            let sums = own.sums.iter().take(own.linear).map(|sum| Number::Sum(*sum));
            sums.chain([Number::Count(counts_of(selection).start)])
        });
        let is_loud = |number: &Number| self.loud.contains(&(from.cell, *number));
        let loud: Vec<Number> = numbers.filter(is_loud).collect();
        self.loud.extend(loud.into_iter().map(|number| (to, number)));
    }

    /// In such an epoch: whether any row that is not quiet changed what a KPI says of a cell.
    pub(crate) fn is_loud(&self, cell: u32, rule: &Rule) -> bool {
        let has = |number| self.loud.contains(&(cell, number));
        let is_loud = || {
            rule.any(|own| {
                has(Number::Count(own.count)) || own.sums().any(|sum| has(Number::Sum(sum)))
            })
        };
        !self.loud.is_empty() && is_loud()
    }

    /// Ranks series by their names, each perhaps named more than once.
    pub(crate) fn rank(&mut self, mut series: Vec<u32>) {
        let Cube { slabs, ranks, .. } = self;
        series.sort_unstable();
        series.dedup();
        series.sort_unstable_by(|a, b| slabs.series(*a).order(slabs.series(*b)));
        ranks.resize(slabs.series.len(), 0);
        for (rank, series) in (0..).zip(series) {
            ranks[series as usize] = rank;
        }
    }

    /// Where a series stands among those that were ranked last.
    pub(crate) fn rank_of(&self, series: u32) -> u32 {
        self.ranks[series as usize]
    }

    pub(crate) fn sort_touched(&mut self) {
        let Cube { slabs, touched, .. } = self;
        if touched.len() < RANKED_MIN {
            touched.sort_unstable_by(|a, b| slabs.order(a.cell, b.cell));
            return;
        }
        // A backlog touches few series and many cells of each.
        let series = touched.iter().map(|own| slabs.id(own.cell).series).collect();
        self.rank(series);
        let Cube { slabs, touched, ranks, .. } = self;
        touched.sort_by_cached_key(|own| {
            let CellId { series, grain, start } = slabs.id(own.cell);
            (ranks[series as usize], grain, start)
        });
    }

    /// Tells, cell by cell in their order, each KPI that says something else of a touched cell than before the epoch.
    /// What a window is compared with is part of what it says.
    pub(crate) fn ask(&self, kpis: &[Kpi], room: &mut Room, mut tell: impl FnMut(usize, Told)) {
        let mut changed = std::mem::take(&mut room.kpis);
        for touched in &self.touched {
            let Touched { cell, .. } = *touched;
            let id = self.slabs.id(cell);
            self.changed(kpis, *touched, |kpi| kpi.has(id), (room, &mut changed));
            for &(kpi, after) in &changed {
                tell(kpi, Told { cell, after });
            }
            if id.grain.is_window() && id.start == NO_START {
                self.ask_compared(kpis, id, (room, &mut changed), |kpi| {
                    let after = Parts::of(&kpis[kpi].rule, self.slabs.numbers(cell));
                    if after.is_some() {
                        tell(kpi, Told { cell, after });
                    }
                });
            }
            changed.clear();
        }
        room.kpis = changed;
    }

    /// Names the KPIs of a window of which the epoch changed what they are compared with, but for those that changed
    /// themselves.
    fn ask_compared(
        &self,
        kpis: &[Kpi],
        id: CellId,
        (room, changed): (&mut Room, &mut Changed),
        mut compares: impl FnMut(usize),
    ) {
        for role in [Role::Previous, Role::Year] {
            let other = self.window_cell(id.series, id.grain, role);
            let Some(other) = other.and_then(|cell| self.find_touched(cell)) else { continue };
            let known = changed.len();
            let has = |kpi: &Kpi| kpi.windows.has(id.grain) && (role != Role::Year || kpi.adds_up);
            self.changed(kpis, other, has, (room, changed));
            changed[known..].iter().for_each(|(kpi, _)| compares(*kpi));
        }
    }

    /// Adds those of the KPIs that say something else of a touched cell now, and what that is, but for those that are
    /// there already.
    fn changed(
        &self,
        kpis: &[Kpi],
        touched: Touched,
        has: impl Fn(&Kpi) -> bool,
        (room, changed): (&mut Room, &mut Changed),
    ) {
        let now = self.slabs.numbers(touched.cell);
        let mut is_known = false;
        for kpi in self.fed(touched).flat_map(|(_, own)| own.kpis.iter().copied()) {
            let own = &kpis[kpi];
            if !has(own) || changed.iter().any(|(other, _)| *other == kpi) {
                continue;
            }
            if !std::mem::replace(&mut is_known, true) {
                self.numbers_before(touched, room);
            }
            let before = Numbers { counts: &room.counts, sums: &room.sums };
            if own.rule.sees(before, now) {
                let after = Parts::of(&own.rule, now);
                if Parts::of(&own.rule, before) != after {
                    changed.push((kpi, after));
                }
            }
        }
    }

    /// Ends the epoch: forgets what was put aside and the cells that nothing needs any more, and names
    /// the cells that stay and whose period is running for the first time.
    pub(crate) fn clear_touched(&mut self, now: Micros, mut closing: impl FnMut(Micros, u32)) {
        let mut touched = std::mem::take(&mut self.touched);
        for Touched { cell, .. } in touched.drain(..) {
            self.aside.places[cell as usize] = 0;
            self.release(cell, now);
            self.watch_end(cell, now, &mut closing);
            self.watch_start(cell, now);
        }
        self.touched = touched;
        self.aside.fed.clear();
        self.aside.before.clear();
        self.aside.sums.clear();
        self.loud.clear();
        self.loud.shrink_to(KEPT_LOUD);
    }
}
