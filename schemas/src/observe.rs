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

use crate::alert::Alert;
use crate::epoch::EpochStamp;
use crate::kpi::{CellValue, KpiUpdate, SeriesId};
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
    /// A text that changes when equal epochs would give other alerts.
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

    /// What [`Observer::load`] needs besides alerts and cells to go on exactly from here.
    fn save(&self) -> Vec<u8>;

    /// Goes on from saved state, whose cells are already loaded.
    ///
    /// # Errors
    /// When the state is not what was saved.
    fn load(&mut self, state: &[u8], alerts: Vec<Alert>, cells: &dyn Cells) -> Result<(), String>;
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
