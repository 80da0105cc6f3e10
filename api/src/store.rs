//! What is served: every KPI cell and alert as of one epoch, and when each changed last.
//!
//! # Guarantees
//! - Readers see whole epochs: a position and cells that belong together.
//! - [`Store::changes`] after any offset it still knows, applied to what was read at that offset, gives
//!   what is read now: neither gaps nor repetitions, removed cells included.
//! - Memory is bounded by the cells and alerts that exist and [`LOG_MAX`] entries of the change log.
//!
//! # Non-guarantees
//! - Nothing is durable: the pipeline starts it anew after every start of the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use schemas::{
    Alert, CellKey, CellValue, EpochId, Grain, KpiInfo, KpiUpdate, Micros, Published, Reason,
    SeriesId, Severity, Start,
};
use tokio::sync::watch;

/// Changes that are remembered. A client that is further behind starts with a snapshot.
pub const LOG_MAX: usize = 1 << 18;
/// Changes of what is doubtful that are remembered, for clients that are a few epochs behind.
const DEGRADED_MAX: usize = 64;

/// Where a reader stands in the stream of epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The stream generation: offsets of different ones cannot be compared.
    pub generation: Arc<str>,
    /// The last epoch that is served.
    pub offset: EpochId,
    /// Its clock.
    pub as_of: Micros,
    /// Why numbers as of this epoch may be old or incomplete.
    pub degraded: Arc<[Reason]>,
}

/// Which cells a reader wants. An absent part means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter {
    /// The tenant.
    pub tenant: Option<Arc<str>>,
    /// The KPIs.
    pub kpis: Option<BTreeSet<Arc<str>>>,
    /// The grain.
    pub grain: Option<Grain>,
    /// Periods that start at or after this.
    pub from: Option<Micros>,
    /// Periods that start before this.
    pub to: Option<Micros>,
}

impl Filter {
    /// Whether a cell is wanted.
    pub fn takes(&self, key: &CellKey) -> bool {
        self.takes_series(&key.tenant, &key.kpi, key.grain) && self.takes_period(key.period_start)
    }

    fn takes_series(&self, tenant: &str, kpi: &str, grain: Grain) -> bool {
        self.tenant.as_ref().is_none_or(|own| **own == *tenant)
            && self.kpis.as_ref().is_none_or(|own| own.contains(kpi))
            && self.grain.is_none_or(|own| own == grain)
    }

    pub(crate) fn takes_period(&self, start: Micros) -> bool {
        self.from.is_none_or(|from| from <= start) && self.to.is_none_or(|to| start < to)
    }
}

/// How a cell differs from what a reader knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The cell.
    pub key: CellKey,
    /// What it says; `None` when it is gone.
    pub value: Option<CellValue>,
}

/// One series with all its points, ascending by period.
#[derive(Debug, Clone)]
pub struct SeriesPoints {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The dimensions as canonical JSON.
    pub dims: Arc<str>,
    /// Period start and value.
    pub points: Vec<(Micros, CellValue)>,
}

/// The cells and alerts that are served.
#[derive(Debug)]
pub struct Store {
    kpis: Vec<KpiInfo>,
    /// [`LOG_MAX`], or less in tests.
    log_max: usize,
    held: RwLock<Held>,
    published: watch::Sender<EpochId>,
}

#[derive(Debug, Default)]
struct Held {
    position: Option<Position>,
    series: Vec<Series>,
    /// Ordered by tenant, KPI, dimensions, grain.
    names: BTreeMap<Name, u32>,
    numbers: HashMap<(SeriesId, Grain), u32>,
    /// Changes in epoch order: a cell's newest one is the entry with its own epoch.
    log: VecDeque<(EpochId, u32, Micros)>,
    /// Removed cells that the log still names.
    removed: HashMap<(u32, Micros), EpochId>,
    /// Changes up to this epoch are no longer known.
    floor: EpochId,
    alerts: BTreeMap<Arc<str>, Alert>,
    alert_log: BTreeSet<(EpochId, Arc<str>)>,
    /// The last changes of what is doubtful, and the epochs that brought them.
    degraded: VecDeque<(EpochId, Arc<[Reason]>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    tenant: Arc<str>,
    kpi: Arc<str>,
    dims: Arc<str>,
    grain: Grain,
}

#[derive(Debug)]
struct Series {
    name: Name,
    points: BTreeMap<Micros, (CellValue, EpochId)>,
}

impl Series {
    fn key(&self, period_start: Micros) -> CellKey {
        let Name { tenant, kpi, dims, grain } = self.name.clone();
        CellKey { kpi, tenant, dims, grain, period_start }
    }
}

impl Store {
    /// A store that has nothing to serve until [`Store::start`].
    pub fn new(kpis: Vec<KpiInfo>) -> Arc<Store> {
        Store::with_log_max(kpis, LOG_MAX)
    }

    fn with_log_max(kpis: Vec<KpiInfo>, log_max: usize) -> Arc<Store> {
        let (published, _) = watch::channel(0);
        Arc::new(Store { kpis, log_max, held: RwLock::default(), published })
    }

    /// The KPIs, ordered by key.
    pub fn kpis(&self) -> &[KpiInfo] {
        &self.kpis
    }

    /// The KPI with this key.
    pub fn kpi(&self, key: &str) -> Option<&KpiInfo> {
        self.kpis.iter().find(|kpi| *kpi.key == *key)
    }

    /// Begins to serve: recovery is complete.
    pub fn start(&self, start: Start) {
        let mut fresh = Held { floor: start.removals_after, ..Held::default() };
        let mut log = Vec::with_capacity(start.cells.len() + start.removed.len());
        for (key, value, epoch) in start.cells {
            let number = fresh.number(&key);
            if let Some(series) = fresh.series.get_mut(number as usize) {
                series.points.insert(key.period_start, (value, epoch));
            }
            log.push((epoch, number, key.period_start));
        }
        for (key, epoch) in start.removed {
            let number = fresh.number(&key);
            fresh.removed.insert((number, key.period_start), epoch);
            log.push((epoch, number, key.period_start));
        }
        log.sort_unstable();
        fresh.log = log.into();
        fresh.trim(self.log_max);
        for alert in start.alerts {
            fresh.put_alert(alert);
        }
        fresh.position = Some(Position {
            generation: start.generation.into(),
            offset: start.offset,
            as_of: start.as_of.unwrap_or(Micros(0)),
            degraded: Arc::clone(&start.degraded),
        });
        fresh.degraded.push_back((start.offset, start.degraded));
        *self.held.write() = fresh;
        self.published.send_replace(start.offset);
    }

    /// Takes a published epoch: its changed cells and alerts, and what is doubtful from it on.
    pub fn publish(&self, published: &Published) {
        let Published { stamp, cells: updates, alerts, degraded } = published;
        let mut held = self.held.write();
        for update in updates {
            held.put(update, stamp.id);
        }
        held.trim(self.log_max);
        for alert in alerts {
            held.put_alert(Alert { epoch: stamp.id, ..alert.clone() });
        }
        if let Some(position) = &mut held.position {
            (position.offset, position.as_of) = (stamp.id, stamp.clock);
            if position.degraded != *degraded {
                position.degraded = Arc::clone(degraded);
                held.degraded.push_back((stamp.id, Arc::clone(degraded)));
                if held.degraded.len() > DEGRADED_MAX {
                    held.degraded.pop_front();
                }
            }
        }
        drop(held);
        self.published.send_replace(stamp.id);
    }

    /// Nothing more had arrived by `as_of`: what is served is as of then.
    pub fn idle(&self, as_of: Micros) {
        if let Some(position) = &mut self.held.write().position {
            position.as_of = position.as_of.max(as_of);
        }
    }

    /// Wakes at every published epoch.
    pub fn published(&self) -> watch::Receiver<EpochId> {
        self.published.subscribe()
    }

    /// The last epoch served; `None` before the pipeline has recovered.
    pub fn position(&self) -> Option<Position> {
        self.held.read().position.clone()
    }

    /// Why numbers as of this epoch may be old or incomplete.
    pub fn degraded_at(&self, offset: EpochId) -> Arc<[Reason]> {
        let held = self.held.read();
        let known = held.degraded.iter().rev().find(|(from, _)| *from <= offset);
        known.or(held.degraded.front()).map(|(_, reasons)| Arc::clone(reasons)).unwrap_or_default()
    }

    /// The cells that a filter takes, in (tenant, KPI, dims, grain, period) order, and where they
    /// stand; with `newest_only` the newest period of each series.
    pub fn cells(
        &self,
        filter: &Filter,
        newest_only: bool,
    ) -> Option<(Position, Vec<(CellKey, CellValue)>)> {
        let held = self.held.read();
        let position = held.position.clone()?;
        let mut cells = Vec::new();
        for series in held.wanted(filter) {
            let points = series.points.range(filter.periods());
            let cell = |(start, (value, _)): (&Micros, &(CellValue, EpochId))| {
                (series.key(*start), *value)
            };
            if newest_only {
                cells.extend(points.last().map(cell));
            } else {
                cells.extend(points.map(cell));
            }
        }
        Some((position, cells))
    }

    /// How many cells [`Store::cells`] gives.
    pub fn count(&self, filter: &Filter, newest_only: bool) -> usize {
        let held = self.held.read();
        let counts = held.wanted(filter).map(|series| {
            let mut points = series.points.range(filter.periods());
            if newest_only { usize::from(points.next().is_some()) } else { points.count() }
        });
        counts.sum()
    }

    /// The whole series that a filter takes, one per (tenant, KPI, dims, grain), without regard to
    /// its periods.
    pub fn series(&self, filter: &Filter) -> Option<(Position, Vec<SeriesPoints>)> {
        let held = self.held.read();
        let position = held.position.clone()?;
        let series = held.wanted(filter).map(|series| SeriesPoints {
            tenant: Arc::clone(&series.name.tenant),
            dims: Arc::clone(&series.name.dims),
            points: series.points.iter().map(|(start, (value, _))| (*start, *value)).collect(),
        });
        Some((position, series.collect()))
    }

    /// What changed after `since`, each cell once with its newest value, oldest change first.
    /// `None` when that is not known any more, or `since` is yet to come: a snapshot is needed.
    pub fn changes(&self, filter: &Filter, since: EpochId) -> Option<(Position, Vec<Change>)> {
        let held = self.held.read();
        let position = held.position.clone()?;
        if since < held.floor || since > position.offset {
            return None;
        }
        let first = held.log.partition_point(|(epoch, ..)| *epoch <= since);
        let mut changes = Vec::new();
        for &(epoch, number, start) in held.log.range(first..) {
            let Some(series) = held.series.get(number as usize) else { continue };
            let Name { tenant, kpi, grain, .. } = &series.name;
            if !filter.takes_period(start) || !filter.takes_series(tenant, kpi, *grain) {
                continue;
            }
            let value = match series.points.get(&start) {
                Some((value, last)) if *last == epoch => Some(*value),
                None if held.removed.get(&(number, start)) == Some(&epoch) => None,
                // The log names this cell again further on.
                _ => continue,
            };
            changes.push(Change { key: series.key(start), value });
        }
        Some((position, changes))
    }

    /// Alerts that changed after `since` (all of them without), by the epoch that published their last
    /// change, which is their `epoch` here.
    pub fn alerts(&self, since: Option<EpochId>) -> Option<(Position, Vec<Alert>)> {
        let held = self.held.read();
        let position = held.position.clone()?;
        let after = match since {
            Some(since) => Bound::Included((since.saturating_add(1), Arc::from(""))),
            None => Bound::Unbounded,
        };
        let ids = held.alert_log.range((after, Bound::Unbounded));
        let alerts = ids.filter_map(|(_, id)| held.alerts.get(id)).cloned();
        Some((position, alerts.collect()))
    }

    /// How many alerts of each severity are open.
    pub fn open_alerts(&self) -> [(Severity, u64); 4] {
        let mut counts = [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]
            .map(|s| (s, 0));
        let held = self.held.read();
        for alert in held.alerts.values().filter(|alert| alert.is_open()) {
            let count = counts.iter_mut().find(|(severity, _)| *severity == alert.severity);
            if let Some((_, count)) = count {
                *count += 1;
            }
        }
        counts
    }

    /// The tenants that have cells, sorted.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        let held = self.held.read();
        let mut tenants: Vec<Arc<str>> = Vec::new();
        for (name, number) in &held.names {
            let series = held.series.get(*number as usize);
            let has_cells = series.is_some_and(|series| !series.points.is_empty());
            if has_cells && tenants.last() != Some(&name.tenant) {
                tenants.push(Arc::clone(&name.tenant));
            }
        }
        tenants
    }

    /// How many cells are served.
    pub fn len(&self) -> usize {
        self.held.read().series.iter().map(|series| series.points.len()).sum()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Filter {
    fn periods(&self) -> (Bound<Micros>, Bound<Micros>) {
        let from = self.from.map_or(Bound::Unbounded, Bound::Included);
        // An empty range must not be an inverted one.
        let to = self.to.map(|to| self.from.map_or(to, |from| from.max(to)));
        (from, to.map_or(Bound::Unbounded, Bound::Excluded))
    }
}

impl Held {
    fn number(&mut self, key: &CellKey) -> u32 {
        let name = Name {
            tenant: Arc::clone(&key.tenant),
            kpi: Arc::clone(&key.kpi),
            dims: Arc::clone(&key.dims),
            grain: key.grain,
        };
        if let Some(number) = self.names.get(&name) {
            return *number;
        }
        let number = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        self.series.push(Series { name: name.clone(), points: BTreeMap::new() });
        self.names.insert(name, number);
        number
    }

    fn put(&mut self, update: &KpiUpdate, epoch: EpochId) {
        let id = (update.series, update.key.grain);
        let number = match self.numbers.get(&id) {
            Some(number) => *number,
            None => {
                let number = self.number(&update.key);
                self.numbers.insert(id, number);
                number
            }
        };
        let start = update.key.period_start;
        let Some(series) = self.series.get_mut(number as usize) else { return };
        let before = match update.value {
            Some(value) => series.points.insert(start, (value, epoch)),
            None => series.points.remove(&start),
        };
        let removed_at = match update.value {
            Some(_) if self.removed.is_empty() => None,
            Some(_) => self.removed.remove(&(number, start)),
            None => self.removed.insert((number, start), epoch),
        };
        let last = before.map(|(_, epoch)| epoch).max(removed_at);
        // A cell that changes twice in an epoch has one entry for it.
        if last != Some(epoch) {
            self.log.push_back((epoch, number, start));
        }
    }

    fn put_alert(&mut self, alert: Alert) {
        let id = Arc::clone(&alert.id);
        self.alert_log.insert((alert.epoch, Arc::clone(&id)));
        let epoch = alert.epoch;
        if let Some(before) = self.alerts.insert(Arc::clone(&id), alert)
            && before.epoch != epoch
        {
            self.alert_log.remove(&(before.epoch, id));
        }
    }

    /// Forgets the oldest changes beyond the bound, whole epochs at a time.
    fn trim(&mut self, log_max: usize) {
        if self.log.len() <= log_max {
            return;
        }
        let surplus = self.log.len() - log_max;
        let Some(&(last, ..)) = self.log.get(surplus - 1) else { return };
        self.floor = self.floor.max(last);
        while let Some(&(epoch, number, start)) = self.log.front() {
            if epoch > last {
                break;
            }
            self.log.pop_front();
            if self.removed.get(&(number, start)) == Some(&epoch) {
                self.removed.remove(&(number, start));
            }
        }
    }

    /// The series that a filter takes; the periods are left to the caller.
    fn wanted<'a>(&'a self, filter: &'a Filter) -> impl Iterator<Item = &'a Series> {
        let least = |tenant: &Arc<str>| Name {
            tenant: Arc::clone(tenant),
            kpi: Arc::from(""),
            dims: Arc::from(""),
            grain: Grain::Hour,
        };
        let from = filter.tenant.as_ref().map_or(Bound::Unbounded, |t| Bound::Included(least(t)));
        let names = self.names.range((from, Bound::Unbounded));
        let names =
            names.take_while(|(name, _)| filter.tenant.as_ref().is_none_or(|t| *t == name.tenant));
        let numbers =
            names.filter(|(name, _)| filter.takes_series(&name.tenant, &name.kpi, name.grain));
        numbers.filter_map(|(_, number)| self.series.get(*number as usize))
    }
}

#[cfg(test)]
mod tests;
