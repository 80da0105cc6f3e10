//! The seam between the pipeline and whoever serves its results: what is published, in which order.
//!
//! # Guarantees
//! - [`Feed::start`] comes once, before any epoch that is not in it; epochs come in order, and each only
//!   after the ledger holds it.

use crate::alert::Alert;
use crate::epoch::{EpochId, EpochStamp};
use crate::kpi::{CellKey, CellValue, KpiUpdate};
use crate::time::Micros;

/// A listener inside the process.
pub trait Feed: Send {
    /// Recovery is complete: this is how things stand.
    fn start(&mut self, start: Start);

    /// An epoch changed these cells and alerts.
    fn epoch(&mut self, published: &Published);

    /// Nothing more had arrived by then.
    fn idle(&mut self, as_of: Micros);
}

/// All results at the end of recovery.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The stream generation.
    pub generation: String,
    /// The epoch up to which everything below is complete, and its clock.
    pub offset: EpochId,
    /// That epoch's clock.
    pub as_of: Option<Micros>,
    /// Every cell, and the epoch that changed it last.
    pub cells: Vec<(CellKey, CellValue, EpochId)>,
    /// Cells that were removed after `removals_after`, and when.
    pub removed: Vec<(CellKey, EpochId)>,
    /// Removals up to this epoch are not known.
    pub removals_after: EpochId,
    /// Every alert, with the epoch that published its last change in `epoch`: a tick's, when a timer
    /// made it.
    pub alerts: Vec<Alert>,
}

/// The results of one epoch.
#[derive(Debug)]
pub struct Published {
    /// The epoch.
    pub stamp: EpochStamp,
    /// Changed cells, in key order.
    pub cells: Vec<KpiUpdate>,
    /// Changed alerts, in the order of their ids.
    pub alerts: Vec<Alert>,
}
