//! The cells that are served, and the log of their changes.
//!
//! # Guarantees
//! - The log holds whole epochs; a cell's newest change is the entry with the cell's own epoch.
//! - A name is kept once per series, and its texts are those of the keys that came in.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use schemas::{CellKey, CellValue, EpochId, Grain, KpiUpdate, Micros, SeriesId, Window};

use super::filter::CellFilter;
use super::history::History;
use super::points::{Point, PointKey, Points};
use super::snapshot::{SeriesName, Snapshot};

/// How a cell differs from what a reader knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellChange {
    /// The cell's series.
    pub series: Arc<SeriesName>,
    /// Its grain.
    pub grain: Grain,
    /// Where its period starts.
    pub period_start: Micros,
    /// What it says; `None` when it is gone.
    pub value: Option<CellValue>,
    /// Of a window that is there: where it lies, and what it is compared with.
    pub window: Option<Arc<Window>>,
}

impl CellChange {
    /// Whether a filter takes the cell.
    pub(crate) fn is_taken_by(&self, filter: &CellFilter) -> bool {
        filter.takes_series(&self.series)
            && filter.takes_grain(self.grain)
            && filter.takes_period(self.period_start)
    }
}

/// Which periods of a series a reader wants, of those that its filter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Periods {
    /// Every one.
    All,
    /// Of each grain the newest that has begun.
    Newest,
}

/// A series and its points.
#[derive(Debug)]
struct CellSeries {
    name: Arc<SeriesName>,
    points: Points,
    windows: BTreeMap<Grain, WindowPoint>,
}

/// A window of a series.
#[derive(Debug)]
struct WindowPoint {
    point: Point,
    window: Arc<Window>,
}

impl CellSeries {
    /// Puts a cell in, or takes it out; the epoch of the one that was there.
    fn put(&mut self, place: PointKey, update: &KpiUpdate, epoch: EpochId) -> Option<EpochId> {
        let KpiUpdate { value, window, .. } = update;
        match (value, window) {
            (Some(value), Some(window)) => {
                let (point, window) = (Point::new(place, *value, epoch), window.as_ref().clone());
                let own = WindowPoint { point, window: Arc::new(window) };
                self.windows.insert(place.0, own).map(|before| before.point.epoch())
            }
            (Some(value), None) => self.points.put(place, *value, epoch),
            (None, _) if place.0.is_window() => {
                self.windows.remove(&place.0).map(|before| before.point.epoch())
            }
            (None, _) => self.points.remove(place),
        }
    }

    fn get(&self, place: PointKey) -> Option<&Point> {
        match place.0.is_window() {
            true => self.windows.get(&place.0).map(|own| &own.point),
            false => self.points.get(place),
        }
    }
}

/// One change of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LogEntry {
    epoch: EpochId,
    series: u32,
    grain: Grain,
    start: Micros,
    /// The cell was removed.
    is_removal: bool,
}

/// All cells by series.
#[derive(Debug, Default)]
pub(super) struct CellTable {
    series: Vec<CellSeries>,
    names: BTreeMap<Arc<SeriesName>, u32>,
    /// The engine's numbers of series to this table's own, by KPI and series.
    numbers: Vec<Vec<Option<u32>>>,
    /// How many cells each tenant has; no tenant without one.
    tenants: BTreeMap<Arc<str>, usize>,
    log: VecDeque<LogEntry>,
    /// Removed cells that the log still names.
    removed: HashMap<(u32, Grain, Micros), EpochId>,
    /// Changes up to this epoch are no longer known.
    floor: EpochId,
}

impl CellTable {
    /// These cells with the epochs that changed them last, and those that were removed after `floor`.
    pub(super) fn of(
        cells: Vec<(CellKey, CellValue, EpochId)>,
        windows: Vec<(CellKey, Window)>,
        removed: Vec<(CellKey, EpochId)>,
        floor: EpochId,
        log_max: usize,
    ) -> CellTable {
        let mut windows: HashMap<CellKey, Window> = windows.into_iter().collect();
        let mut table = CellTable { floor, ..CellTable::default() };
        let mut log = Vec::with_capacity(cells.len() + removed.len());
        let mut points: Vec<Vec<Point>> = Vec::new();
        for (key, value, epoch) in cells {
            let (number, place) = (table.number(&key), (key.grain, key.period_start));
            let index = number as usize;
            if points.len() <= index {
                points.resize_with(index + 1, Vec::new);
            }
            let point = Point::new(place, value, epoch);
            if let Some(window) = windows.remove(&key) {
                if let Some(series) = table.series.get_mut(index) {
                    let window = Arc::new(window);
                    series.windows.insert(place.0, WindowPoint { point, window });
                }
            } else if let Some(points) = points.get_mut(index) {
                points.push(point);
            }
            let (grain, start) = place;
            log.push(LogEntry { epoch, series: number, grain, start, is_removal: false });
        }
        for (series, points) in table.series.iter_mut().zip(points) {
            series.points = Points::of(points);
            let cells = series.points.len() + series.windows.len();
            if cells > 0 {
                *table.tenants.entry(Arc::clone(&series.name.tenant)).or_default() += cells;
            }
        }
        for (key, epoch) in removed {
            let number = table.number(&key);
            table.removed.insert((number, key.grain, key.period_start), epoch);
            let (grain, start) = (key.grain, key.period_start);
            log.push(LogEntry { epoch, series: number, grain, start, is_removal: true });
        }
        log.sort_unstable();
        table.log = log.into();
        table.trim(log_max);
        table.log.shrink_to_fit();
        table
    }

    /// Takes the changed cells of an epoch.
    pub(super) fn apply(&mut self, updates: &[KpiUpdate], epoch: EpochId, log_max: usize) {
        for update in updates {
            self.put(update, epoch);
        }
        self.trim(log_max);
    }

    fn put(&mut self, update: &KpiUpdate, epoch: EpochId) {
        let number = self.number_of(update);
        let CellKey { grain, period_start: start, .. } = update.key;
        let Some(series) = self.series.get_mut(number as usize) else { return };
        let before = series.put((grain, start), update, epoch);
        match (before.is_some(), update.value.is_some()) {
            (false, true) => *self.tenants.entry(Arc::clone(&series.name.tenant)).or_default() += 1,
            (true, false) => leave(&mut self.tenants, &series.name.tenant),
            _ => {}
        }
        let removed_at = match update.value {
            // What is there was not removed.
            Some(_) if before.is_some() => None,
            Some(_) => self.removed.remove(&(number, grain, start)),
            None => self.removed.insert((number, grain, start), epoch),
        };
        // A cell that changes twice in an epoch has one entry for it.
        if before.max(removed_at) != Some(epoch) {
            let is_removal = update.value.is_none();
            self.log.push_back(LogEntry { epoch, series: number, grain, start, is_removal });
        } else if update.value.is_none() {
            let cell = (number, grain, start);
            let mut own = self.log.iter_mut().rev().take_while(|entry| entry.epoch == epoch);
            let own = own.find(|entry| (entry.series, entry.grain, entry.start) == cell);
            own.into_iter().for_each(|entry| entry.is_removal = true);
        }
    }

    /// The same by the engine's number of the series, where that is known.
    fn number_of(&mut self, update: &KpiUpdate) -> u32 {
        let SeriesId { kpi, series } = update.series;
        let (kpi, series) = (kpi as usize, series as usize);
        if let Some(Some(number)) = self.numbers.get(kpi).and_then(|own| own.get(series)) {
            return *number;
        }
        let number = self.number(&update.key);
        if self.numbers.len() <= kpi {
            self.numbers.resize_with(kpi + 1, Vec::new);
        }
        if let Some(own) = self.numbers.get_mut(kpi) {
            own.resize(own.len().max(series + 1), None);
            if let Some(own) = own.get_mut(series) {
                *own = Some(number);
            }
        }
        number
    }

    /// The number of a cell's series, which is new when it is not known.
    fn number(&mut self, key: &CellKey) -> u32 {
        let name = SeriesName {
            tenant: Arc::clone(&key.tenant),
            kpi: Arc::clone(&key.kpi),
            dims: Arc::clone(&key.dims),
        };
        if let Some(number) = self.names.get(&name) {
            return *number;
        }
        let number = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        let name = Arc::new(name);
        let (points, windows) = (Points::default(), BTreeMap::new());
        self.series.push(CellSeries { name: Arc::clone(&name), points, windows });
        self.names.insert(name, number);
        number
    }

    /// Forgets the oldest changes beyond the bound, whole epochs at a time.
    fn trim(&mut self, log_max: usize) {
        let Some(surplus) = self.log.len().checked_sub(log_max + 1) else { return };
        let Some(last) = self.log.get(surplus).map(|entry| entry.epoch) else { return };
        self.floor = self.floor.max(last);
        while let Some(entry) = self.log.pop_front_if(|entry| entry.epoch <= last) {
            let LogEntry { epoch, series, grain, start, is_removal } = entry;
            if is_removal && self.removed.get(&(series, grain, start)) == Some(&epoch) {
                self.removed.remove(&(series, grain, start));
            }
        }
    }

    /// The cells that a filter takes, as they stand at `now`.
    pub(super) fn read(&self, filter: &CellFilter, periods: Periods, now: Micros) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for series in self.wanted(filter) {
            let CellSeries { name, points, windows } = series;
            if let Some(grain) = filter.window() {
                if let Some(own) = windows.get(&grain) {
                    snapshot.push_window(name, own.point.clone(), &own.window);
                }
                continue;
            }
            if periods == Periods::All && filter.takes_whole_series() {
                points.all().for_each(|run| snapshot.push(name, run));
                continue;
            }
            for grain in Grain::ALL.into_iter().filter(|grain| filter.takes_grain(*grain)) {
                let (from, to) = bounds(filter, grain);
                match periods {
                    Periods::All => points.runs(from, to).for_each(|run| snapshot.push(name, run)),
                    Periods::Newest => {
                        let last = points.last(from, to.min((grain, now.plus(1))));
                        last.into_iter().for_each(|run| snapshot.push(name, run));
                    }
                }
            }
        }
        snapshot
    }

    /// Every point of the series that a filter takes, whatever it says of grains and periods.
    pub(super) fn history(&self, filter: &CellFilter) -> History {
        let own = |series: &CellSeries| (Arc::clone(&series.name), series.points.clone());
        History::new(self.wanted(filter).map(own).collect())
    }

    /// The same of some series only.
    pub(super) fn history_of(&self, names: &BTreeSet<&Arc<SeriesName>>) -> History {
        let own = |name: &&Arc<SeriesName>| {
            let number = self.names.get(&***name)?;
            let series = self.series.get(*number as usize)?;
            Some((Arc::clone(&series.name), series.points.clone()))
        };
        History::new(names.iter().filter_map(own).collect())
    }

    /// What changed after `since`, each cell once with its newest value, oldest change first; `None`
    /// when that is not known any more. Without a filter those of all cells, windows too.
    pub(super) fn changes(
        &self,
        filter: Option<&CellFilter>,
        since: EpochId,
    ) -> Option<Vec<CellChange>> {
        if since < self.floor {
            return None;
        }
        let first = self.log.partition_point(|entry| entry.epoch <= since);
        let mut changes = Vec::new();
        for &LogEntry { epoch, series, grain, start, .. } in self.log.range(first..) {
            let Some(held) = self.series.get(series as usize) else { continue };
            let name = &held.name;
            let takes = |filter: &CellFilter| {
                filter.takes_period(start) && filter.takes_grain(grain) && filter.takes_series(name)
            };
            if !filter.is_none_or(takes) {
                continue;
            }
            let value = match held.get((grain, start)) {
                Some(point) if point.epoch() == epoch => Some(point.value()),
                None if self.removed.get(&(series, grain, start)) == Some(&epoch) => None,
                // The log names this cell again further on.
                _ => continue,
            };
            let series = Arc::clone(name);
            let window = held.windows.get(&grain).map(|own| Arc::clone(&own.window));
            changes.push(CellChange { series, grain, period_start: start, value, window });
        }
        Some(changes)
    }

    /// The tenants that have cells, sorted.
    pub(super) fn tenants(&self) -> Vec<Arc<str>> {
        self.tenants.keys().map(Arc::clone).collect()
    }

    /// How many cells there are.
    pub(super) fn len(&self) -> usize {
        self.tenants.values().sum()
    }

    /// The series that a filter takes; grains and periods are left to the caller.
    fn wanted<'a>(&'a self, filter: &'a CellFilter) -> impl Iterator<Item = &'a CellSeries> {
        let least = |tenant: &Arc<str>| SeriesName {
            tenant: Arc::clone(tenant),
            kpi: Arc::from(""),
            dims: Arc::from(""),
        };
        let least = filter.tenant.as_ref().map(least);
        let from = least.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let names = self.names.range::<SeriesName, _>((from, Bound::Unbounded));
        let names =
            names.take_while(|(name, _)| filter.tenant.as_ref().is_none_or(|t| *t == name.tenant));
        let numbers = names.filter(|(name, _)| filter.takes_series(name));
        numbers.filter_map(|(_, number)| self.series.get(*number as usize))
    }
}

#[cfg(test)]
impl CellTable {
    /// Changes up to this epoch are no longer known.
    pub(super) fn floor(&self) -> EpochId {
        self.floor
    }

    /// Entries of the log, and removed cells that it names.
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.log.len(), self.removed.len())
    }
}

/// A cell of a tenant is gone.
fn leave(tenants: &mut BTreeMap<Arc<str>, usize>, tenant: &Arc<str>) {
    if let Some(cells) = tenants.get_mut(tenant) {
        *cells = cells.saturating_sub(1);
        if *cells == 0 {
            tenants.remove(tenant);
        }
    }
}

/// The periods that a filter takes, of one grain.
fn bounds(filter: &CellFilter, grain: Grain) -> (PointKey, PointKey) {
    let (from, to) = (filter.from.unwrap_or(Micros(i64::MIN)), filter.to);
    ((grain, from), (grain, to.unwrap_or(Micros(i64::MAX))))
}
