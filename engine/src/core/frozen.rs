//! What the core hands to a barrier: everything as it was at one epoch, frozen, not copied.

use gold::{Frozen, FrozenView, HistoryRow};
use pipeline::silver::{FrozenRuns, FrozenTable};
use schemas::{EpochStamp, StatePart};

use super::watch::FrozenWatch;

/// What one barrier writes: everything as it was at one epoch.
#[derive(Debug)]
pub(crate) struct BarrierJob {
    pub(crate) stamp: EpochStamp,
    pub(crate) silver: Vec<SilverJob>,
    pub(crate) cells: CellsJob,
    pub(crate) views: Vec<ViewJob>,
    pub(crate) watch: FrozenWatch,
    /// Writes every alert, changed or not.
    pub(crate) all_alerts: bool,
    pub(crate) history: Vec<HistoryRow>,
    /// Parts of the saved state that the above do not say, by name.
    pub(crate) texts: Vec<(&'static str, String)>,
}

impl BarrierJob {
    /// The runs of deleted keys that the saved state names, by table.
    pub(crate) fn runs(&self) -> Vec<FrozenRuns> {
        self.silver.iter().map(|job| job.rows.runs().clone()).collect()
    }

    /// The saved state of everything that rows do not give back.
    pub(crate) fn parts(&self) -> Vec<StatePart<'_>> {
        let mut parts = self.watch.parts();
        parts.extend(self.cells.cells.parts());
        parts.extend(self.silver.iter().flat_map(|job| job.rows.parts()));
        parts.extend(self.texts.iter().map(|(name, text)| StatePart::head(*name, text)));
        parts
    }
}

/// A silver table, and the slots that changed since the last barrier.
#[derive(Debug)]
pub(crate) struct SilverJob {
    pub(crate) table: String,
    /// Replaces all files that the table has.
    pub(crate) whole: bool,
    pub(crate) changed: Vec<u32>,
    pub(crate) rows: FrozenTable,
}

/// The KPI cells, and the slots that changed since the last barrier.
#[derive(Debug)]
pub(crate) struct CellsJob {
    pub(crate) whole: bool,
    pub(crate) changed: Vec<u32>,
    pub(crate) cells: Frozen,
}

/// The table of a view.
#[derive(Debug)]
pub(crate) struct ViewJob {
    /// Replaces all files that the table has.
    pub(crate) whole: bool,
    pub(crate) rows: FrozenView,
}
