//! The seam between the KPI engine and detectors: what a detector may see, and when.
//!
//! ```text
//! per epoch   advance(clock)   timers that are due, before the epoch's rows
//!             observe(updates) after its rows, in cell key order
//!             take_changes()   alerts that opened, changed or were resolved
//! ```
//!
//! # Guarantees
//! - An observer is a function of what it is called with. It has no clock and does no IO, so equal
//!   epochs give equal scores and alerts.

use std::fmt;

use crate::alert::Alert;
use crate::epoch::EpochStamp;
use crate::kpi::{CellValue, KpiUpdate, SeriesId};
use crate::state::{Saved, StatePart};
use crate::time::{Grain, Micros};

/// The KPI cells as they stand.
pub trait Cells {
    /// The handle of a series, if it has ever had a cell.
    fn series(&self, kpi: &str, tenant: &str, dims: &str) -> Option<SeriesId>;

    /// What a cell says; `None` when no row feeds it.
    fn value(&self, series: SeriesId, grain: Grain, period_start: Micros) -> Option<CellValue>;
}

/// Watches every KPI update, in (epoch, cell key) order.
pub trait Observer: Send {
    /// A text that changes when equal epochs would give other alerts, whatever the KPIs are.
    fn fingerprint(&self) -> String;

    /// When a tick is needed if no epoch comes before.
    fn next_due(&self) -> Option<Micros>;

    /// Lets time pass to the clock of `epoch`, before its rows are seen: timers due at or before it
    /// fire in (due, key) order and are stamped with their due time. An epoch with records that is
    /// quiet puts them off instead: nothing is judged while a backlog is being read.
    /// `is_tick` says that the epoch has no records.
    fn advance(&mut self, epoch: &EpochStamp, is_tick: bool, cells: &dyn Cells);

    /// Sees the updates of an epoch with records.
    fn observe(&mut self, epoch: &EpochStamp, updates: &[KpiUpdate], cells: &dyn Cells);

    /// The alerts that opened, changed or were resolved since the last call, each once, ordered by id.
    fn take_changes(&mut self) -> Vec<Alert>;

    /// Every alert, ordered by id.
    fn alerts(&self) -> Vec<Alert>;

    /// The observer as it is now, without copying it: what a barrier writes while epochs go on.
    fn freeze(&mut self) -> Box<dyn FrozenObserver>;

    /// Goes on from saved state, whose cells are already loaded. The slot of an alert is its place. Series
    /// of KPIs that are not `kept` are left out and begin anew.
    ///
    /// # Errors
    /// When the state is not what was saved.
    fn load(
        &mut self,
        saved: &Saved,
        alerts: Vec<Alert>,
        cells: &dyn Cells,
        kept: &dyn Fn(&str) -> bool,
    ) -> Result<(), String>;
}

/// An observer as it was at one epoch.
pub trait FrozenObserver: fmt::Debug + Send {
    /// What [`Observer::load`] needs besides alerts and cells to go on exactly from there.
    fn parts(&self) -> Vec<StatePart<'_>>;

    /// The slots of the alerts that changed since the freeze before, each once.
    fn changed_alerts(&self) -> &[u32];

    /// The alert in a slot.
    fn alert(&self, slot: u32) -> Option<&Alert>;

    /// One more than the highest slot of an alert.
    fn alerts_end(&self) -> u32;
}

/// What was expected of a bucket: mantissas at [`crate::decimal::VALUE_SCALE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// The value expected.
    pub expected: i128,
    /// The least that is normal.
    pub lower: i128,
    /// The most that is normal.
    pub upper: i128,
}

/// Says for charts what was expected of past buckets.
pub trait Bands: Send + Sync {
    /// For each of `wanted` (ascending) what is expected from the points before it. `points` are all
    /// known cells of one series and grain, ascending by period.
    fn bands(
        &self,
        kpi: &str,
        grain: Grain,
        points: &[(Micros, CellValue)],
        wanted: &[Micros],
    ) -> Vec<Option<Band>>;
}
