//! What is served: every KPI cell and alert as of one epoch, and when each changed last.
//!
//! # Guarantees
//! - Readers see whole epochs: a position and cells that belong together. The lock is held for as long
//!   as it takes to find what is asked for; nothing is copied under it.
//! - [`Store::changes`] after any offset it still knows, applied to what was read at that offset, gives
//!   what is read now: neither gaps nor repetitions, removed cells included.
//! - Memory is bounded by the cells that exist, the alerts that are open or were resolved within
//!   [`RESOLVED_FOR`], and [`LOG_MAX`] entries of the change log.
//!
//! # Non-guarantees
//! - Nothing is durable: the pipeline starts it anew after every start of the process.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;
use schemas::{
    Alert, Answers, Calendar, EpochId, KpiInfo, Micros, ModelsInForce, Published, Reason, Severity,
    Start,
};
use tokio::sync::watch;

mod alerts;
mod cells;
mod compared;
mod dims;
mod filter;
mod history;
mod points;
mod snapshot;
#[cfg(test)]
mod tests;

pub use cells::{CellChange, Periods};
pub use compared::ComparedChanges;
pub use dims::DimFilter;
pub use filter::CellFilter;
pub use history::History;
pub use schemas::RESOLVED_FOR;
pub use snapshot::{SeriesName, ServedCell, Snapshot};

use alerts::AlertTable;
pub use alerts::ServedAlert;
use cells::CellTable;
use compared::Clocks;

/// Changes that are remembered. A client that is further behind starts with a snapshot.
pub const LOG_MAX: usize = 1 << 18;
/// Changes of what is doubtful that are remembered, for clients that are a few epochs behind.
const DEGRADED_MAX: usize = 64;

/// Place of a reader in the stream of epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPosition {
    /// The stream generation: offsets of different ones cannot be compared.
    pub generation: Arc<str>,
    /// The last epoch that is served.
    pub offset: EpochId,
    /// Its clock.
    pub as_of: Micros,
    /// Why numbers as of this epoch may be old or incomplete.
    pub degraded: Arc<[Reason]>,
}

/// The cells and alerts that are served.
#[derive(Debug)]
pub struct Store {
    kpis: Vec<KpiInfo>,
    calendar: Arc<Calendar>,
    /// [`LOG_MAX`], or less in tests.
    log_max: usize,
    served: RwLock<Served>,
    published: watch::Sender<EpochId>,
}

/// Everything of one position.
#[derive(Debug, Default)]
struct Served {
    position: Option<StreamPosition>,
    cells: CellTable,
    alerts: AlertTable,
    /// The last changes of what is doubtful, and the epochs that brought them.
    degraded: VecDeque<(EpochId, Arc<[Reason]>)>,
    /// The clocks of the last epochs.
    clocks: Clocks,
    /// The models of detectors that are in force.
    models: Arc<ModelsInForce>,
}

impl Served {
    fn read(&self, filter: &CellFilter, periods: Periods, now: Micros) -> Snapshot {
        self.cells.read(filter, periods, now).with_models(&self.models)
    }
}

impl Store {
    /// A store that has nothing to serve until [`Store::start`].
    pub fn new(kpis: Vec<KpiInfo>) -> Arc<Store> {
        Store::with_calendar(kpis, Arc::default())
    }

    /// The same, of tenants with these periods.
    pub fn with_calendar(kpis: Vec<KpiInfo>, calendar: Arc<Calendar>) -> Arc<Store> {
        let (published, _) = watch::channel(0);
        let (served, log_max) = (RwLock::default(), LOG_MAX);
        Arc::new(Store { kpis, calendar, log_max, served, published })
    }

    #[cfg(test)]
    fn with_log_max(kpis: Vec<KpiInfo>, log_max: usize) -> Arc<Store> {
        let (published, _) = watch::channel(0);
        let (served, calendar) = (RwLock::default(), Arc::default());
        Arc::new(Store { kpis, calendar, log_max, served, published })
    }

    /// The periods of tenants.
    pub fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
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
        let as_of = start.as_of.unwrap_or(Micros(0));
        let Start { cells, windows, removed, removals_after, .. } = start;
        let cells = CellTable::of(cells, windows, removed, removals_after, self.log_max);
        let mut alerts = AlertTable::of(start.answers);
        for alert in start.alerts {
            alerts.put(alert);
        }
        alerts.forget(as_of);
        let generation = start.generation.into();
        let (offset, degraded) = (start.offset, start.degraded);
        let doubts = VecDeque::from([(offset, Arc::clone(&degraded))]);
        let position = Some(StreamPosition { generation, offset, as_of, degraded });
        let clocks = Clocks::of(offset, as_of);
        let models = start.models;
        let fresh = Served { position, cells, alerts, degraded: doubts, clocks, models };
        let before = std::mem::replace(&mut *self.served.write(), fresh);
        self.published.send_replace(start.offset);
        drop(before);
    }

    /// Takes a published epoch: its changed cells and alerts, and what is doubtful from it on.
    pub fn publish(&self, published: &Published) {
        let Published { stamp, cells, alerts, answers, models, degraded } = published;
        let mut held = self.served.write();
        let served = &mut *held;
        served.cells.apply(cells, stamp.id, self.log_max);
        served.clocks.push(stamp.id, stamp.clock);
        served.alerts.answer(answers, stamp.id);
        served.models = Arc::clone(models);
        for alert in alerts {
            served.alerts.put(Alert { epoch: stamp.id, ..alert.clone() });
        }
        served.alerts.forget(stamp.clock);
        if let Some(position) = &mut served.position {
            (position.offset, position.as_of) = (stamp.id, stamp.clock);
            if position.degraded != *degraded {
                position.degraded = Arc::clone(degraded);
                served.degraded.push_back((stamp.id, Arc::clone(degraded)));
                if served.degraded.len() > DEGRADED_MAX {
                    served.degraded.pop_front();
                }
            }
        }
        drop(held);
        self.published.send_replace(stamp.id);
    }

    /// Nothing more had arrived by `as_of`: what is served is as of then.
    pub fn idle(&self, as_of: Micros) {
        if let Some(position) = &mut self.served.write().position {
            position.as_of = position.as_of.max(as_of);
        }
    }

    /// Wakes at every published epoch.
    pub fn published(&self) -> watch::Receiver<EpochId> {
        self.published.subscribe()
    }

    /// The last epoch that is served; `None` until the pipeline has recovered.
    pub fn position(&self) -> Option<StreamPosition> {
        self.served.read().position.clone()
    }

    /// Why numbers as of this epoch may be old or incomplete.
    pub fn degraded_at(&self, offset: EpochId) -> Arc<[Reason]> {
        let served = self.served.read();
        let known = served.degraded.iter().rev().find(|(from, _)| *from <= offset);
        known
            .or(served.degraded.front())
            .map(|(_, reasons)| Arc::clone(reasons))
            .unwrap_or_default()
    }

    /// The cells that a filter takes, in (tenant, KPI, dims, grain, period) order, and where they
    /// stand.
    pub fn cells(
        &self,
        filter: &CellFilter,
        periods: Periods,
    ) -> Option<(StreamPosition, Snapshot)> {
        let served = self.served.read();
        let position = served.position.clone()?;
        let snapshot = served.read(filter, periods, position.as_of);
        Some((position, snapshot))
    }

    /// The same, and of the series that have such cells every point, to compare them with.
    pub fn cells_and_history(
        &self,
        filter: &CellFilter,
        periods: Periods,
    ) -> Option<(StreamPosition, Snapshot, History)> {
        let served = self.served.read();
        let position = served.position.clone()?;
        let snapshot = served.read(filter, periods, position.as_of);
        Some((position, snapshot, served.cells.history(filter)))
    }

    /// Changes after `since`, each cell once with its newest value, oldest change first; of all cells and windows
    /// without a filter. `None` when that is not known any more, or `since` is yet to come: a snapshot is needed.
    pub fn changes(
        &self,
        filter: Option<&CellFilter>,
        since: EpochId,
    ) -> Option<(StreamPosition, Vec<CellChange>)> {
        let served = self.served.read();
        let position = served.position.clone()?;
        if since > position.offset {
            return None;
        }
        let changes = served.cells.changes(filter, since)?;
        Some((position, changes))
    }

    /// Alerts of a tenant, or of all, that changed after `since` (all of them without), by the epoch
    /// that published their last change, which is their `epoch` here. `None` when that is not known any
    /// more, or `since` is yet to come.
    pub fn alerts(
        &self,
        tenant: Option<&Arc<str>>,
        since: Option<EpochId>,
    ) -> Option<(StreamPosition, Vec<Arc<ServedAlert>>)> {
        let served = self.served.read();
        let position = served.position.clone()?;
        if since.is_some_and(|since| since > position.offset) {
            return None;
        }
        let alerts = served.alerts.read(tenant, since)?;
        Some((position, alerts))
    }

    /// An alert, and where that stands; `None` in it when there is none of that id. `None` before recovery.
    pub fn alert(&self, id: &str) -> Option<(StreamPosition, Option<Arc<ServedAlert>>)> {
        let served = self.served.read();
        Some((served.position.clone()?, served.alerts.get(id)))
    }

    /// What people said of alerts, and where that stands; `None` before recovery.
    pub fn answers(&self) -> Option<(StreamPosition, Arc<Answers>)> {
        let served = self.served.read();
        Some((served.position.clone()?, Arc::clone(served.alerts.answers())))
    }

    /// Open alerts of each severity.
    pub fn open_alerts(&self) -> [(Severity, u64); 4] {
        self.served.read().alerts.open()
    }

    /// The tenants that have cells, sorted.
    pub fn tenants(&self) -> Vec<Arc<str>> {
        self.served.read().cells.tenants()
    }

    /// Number of cells served.
    pub fn len(&self) -> usize {
        self.served.read().cells.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
