//! What the core hands to a barrier: everything as it was at one epoch, frozen, not copied.

use gold::{Frozen, HistoryRow};
use pipeline::silver::FrozenTable;
use schemas::{Alert, EpochStamp};

use super::watch::FrozenWatch;

/// What one barrier writes: everything as it was at one epoch.
#[derive(Debug)]
pub(crate) struct BarrierJob {
    pub(crate) stamp: EpochStamp,
    pub(crate) silver: Vec<SilverJob>,
    pub(crate) cells: CellsJob,
    pub(crate) watch: FrozenWatch,
    /// Every alert, when one has changed: they are few.
    pub(crate) alerts: Option<Vec<Alert>>,
    pub(crate) history: Vec<HistoryRow>,
    /// Parts of the state file that the above do not say.
    pub(crate) state: Vec<(String, Vec<u8>)>,
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
