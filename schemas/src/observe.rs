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
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Severity};
use crate::answer::Verdict;
use crate::epoch::EpochStamp;
use crate::kpi::{CellValue, KpiUpdate, SeriesId};
use crate::models::{Models, ModelsInForce};
use crate::state::{Saved, StatePart};
use crate::time::{Grain, Micros};

/// The KPI cells as they stand.
pub trait Cells: Sync {
    /// The handle of a series, if it has ever had a cell.
    fn series(&self, kpi: &str, tenant: &str, dims: &str) -> Option<SeriesId>;

    /// What a cell says; `None` when no row feeds it.
    fn value(&self, series: SeriesId, grain: Grain, period_start: Micros) -> Option<CellValue>;
}

/// An origin of the rows of a contract.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OriginName {
    /// The contract.
    pub contract: Arc<str>,
    /// The table of a source, or the topic.
    pub origin: Arc<str>,
}

/// Who feeds which series.
pub trait Feeding {
    /// Whether the KPI reads the origin's contract and the origin has ever fed a row of the tenant.
    fn feeds(&self, by: &OriginName, kpi: &str, tenant: &str) -> bool;
}

/// What an observer may look at.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// The KPI cells.
    pub cells: &'a dyn Cells,
    /// Who feeds them.
    pub feeding: &'a dyn Feeding,
}

impl fmt::Debug for Sight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sight").finish_non_exhaustive()
    }
}

/// Watches every KPI update, in (epoch, cell key) order.
pub trait Observer: Send {
    /// A text that changes when equal epochs would give other alerts, whatever the KPIs are.
    fn fingerprint(&self) -> String;

    /// When a tick is needed if no epoch comes before.
    fn next_due(&self) -> Option<Micros>;

    /// Lets time pass to the clock of `epoch`, before its rows are seen: timers due at or before it
    /// fire in (due, key) order and are stamped with their due time. Those of series that an origin feeds
    /// which is `quiet` in the epoch are put off instead: nothing is judged while its backlog is being read.
    /// `is_tick` says that the epoch has no records.
    fn advance(
        &mut self,
        epoch: &EpochStamp,
        is_tick: bool,
        quiet: &[OriginName],
        sight: Sight<'_>,
    );

    /// Sees the updates of an epoch with records.
    fn observe(&mut self, epoch: &EpochStamp, updates: &[KpiUpdate], sight: Sight<'_>);

    /// Models that were trained are in force from here on; of how many series that are known. Without it an observer
    /// has none to be trained.
    fn train(&mut self, _models: &Models) -> usize {
        0
    }

    /// The models that are in force; the same value as before where nothing was put in force.
    fn models(&self) -> Arc<ModelsInForce> {
        Arc::default()
    }

    /// Somebody says of an alert whether it was right, having said `before` something else; false where there is no
    /// such alert. Without it an observer learns nothing from people.
    fn heed(&mut self, _alert: &str, _before: Option<Verdict>, _verdict: Verdict) -> bool {
        false
    }

    /// The alerts that opened, changed or were resolved since the last call, each once, ordered by id.
    fn take_changes(&mut self) -> Vec<Alert>;

    /// Every alert that is not forgotten, ordered by id.
    fn alerts(&self) -> Vec<Alert>;

    /// The slot of an alert, and the alert.
    fn alert(&self, id: &str) -> Option<(u32, &Alert)>;

    /// Takes an alert as it is found in a table; its slot.
    fn adopt(&mut self, alert: Alert) -> Option<u32>;

    /// Forgets alerts that are found to be long over and kept.
    fn forget(&mut self, ids: &[Arc<str>]);

    /// The observer as it is now, without copying it: what a barrier writes while epochs go on. Alerts
    /// that are long over are frozen a last time and forgotten.
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
pub trait FrozenObserver: fmt::Debug + Send + Sync {
    /// What [`Observer::load`] needs besides alerts and cells to go on exactly from there.
    fn parts(&self) -> Vec<StatePart<'_>>;

    /// The slots of the alerts that changed since the freeze before, each once.
    fn changed_alerts(&self) -> &[u32];

    /// The alert in a slot.
    fn alert(&self, slot: u32) -> Option<&Alert>;

    /// The slots of the alerts that are forgotten now, each once. None of them will change again.
    fn forgotten_alerts(&self) -> &[u32];

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

/// A series at one grain, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct KnownSeries<'a> {
    /// The KPI.
    pub kpi: &'a str,
    /// The tenant.
    pub tenant: &'a str,
    /// The grain.
    pub grain: Grain,
    /// All its known cells, ascending by period.
    pub points: &'a [(Micros, CellValue)],
    /// The model that is in force for it, as text, where one is.
    pub model: Option<&'a str>,
}

/// A value of a bucket that is asked about, whether the bucket has it or not.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// The KPI.
    pub kpi: &'a str,
    /// The tenant.
    pub tenant: &'a str,
    /// The dimensions, as canonical JSON.
    pub dims: &'a str,
    /// The grain: hour or day.
    pub grain: Grain,
    /// The bucket's start.
    pub start: Micros,
    /// The value, as if the bucket were over with it.
    pub value: i128,
    /// Until when it is known what arrived.
    pub as_of: Micros,
    /// All known cells of the series at the grain, ascending by period.
    pub points: &'a [(Micros, CellValue)],
    /// The model that is in force for the series at the grain, as text, where one is.
    pub model: Option<&'a str>,
    /// What the KPI's budget has for the bucket, where it has one.
    pub budget: Option<CellValue>,
}

/// What a rule finds of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The rule.
    pub rule: Arc<str>,
    /// What kind of anomaly it is: `spike`, `drop`, `missing`.
    pub anomaly_type: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What the rule expects.
    pub expected: Option<i128>,
    /// The least that is normal by it.
    pub lower: Option<i128>,
    /// The most that is normal by it.
    pub upper: Option<i128>,
    /// (value - expected) / |expected|; of a number without a unit value - expected.
    pub deviation: f64,
    /// One plain sentence.
    pub reason: Arc<str>,
}

/// What the detector says of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// What the forecast expects; `None` where it knows too little.
    pub band: Option<Band>,
    /// With it, deviation, distance in robust standard deviations, and p-value.
    pub statistics: Option<[f64; 3]>,
    /// What rules find, the worst first.
    pub found: Vec<Found>,
    /// Whether any rule could judge it.
    pub is_judged: bool,
    /// Why not, where that is so, or why nothing is found.
    pub why: Arc<str>,
}

/// What a period will come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Where it starts.
    pub start: Micros,
    /// What it says now; `None` of a period that has not begun.
    pub so_far: Option<i128>,
    /// What it will say when it is over.
    pub expected: i128,
    /// Nine of ten were between these, as far ahead, when they were over: the least and the most. `None` where too
    /// little was learned to say it.
    pub between: Option<(i128, i128)>,
}

/// Says what was expected of past buckets, what to make of a value, and what will be.
pub trait Bands: Send + Sync {
    /// For each of `wanted` (ascending) what is expected from the points before it.
    fn bands(&self, of: &KnownSeries<'_>, wanted: &[Micros]) -> Vec<Option<Band>>;

    /// What would be said of a value. Nothing is kept of it, and nothing learned.
    fn score(&self, trial: &Trial<'_>) -> Scored;

    /// What the period of a grain that runs at `at` and the next one will come to; the series is known by hours where
    /// that is the hour, else by days.
    ///
    /// # Errors
    /// Says why nothing can be said, as part of a sentence.
    fn forecast(
        &self,
        of: &KnownSeries<'_>,
        grain: Grain,
        at: Micros,
    ) -> Result<[Forecast; 2], Arc<str>>;
}
