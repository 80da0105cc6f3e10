//! The seam between the pipeline and whoever serves its results: what is published, in which order.
//!
//! # Guarantees
//! - [`Feed::start`] comes first, before any epoch that is not in it. Epochs come in order, and each only
//!   after the ledger holds it. Another start replaces everything: it comes when a feed was too slow to
//!   hear of every epoch.
//! - What makes numbers doubtful travels with the numbers: a reason is in the same message as the values
//!   of the epoch from which it holds, and gone in the message with the values of the epoch that ended it.

use std::sync::Arc;

use crate::alert::Alert;
use crate::answer::Answers;
use crate::epoch::{EpochId, EpochStamp};
use crate::kpi::{CellKey, CellValue, KpiUpdate};
use crate::models::ModelsInForce;
use crate::time::Micros;
use crate::window::Window;

/// A listener inside the process.
pub trait Feed: Send {
    /// The name by which it is told that it is slow.
    fn name(&self) -> &'static str;

    /// This is how everything stands.
    fn start(&mut self, start: Start);

    /// An epoch changed these cells and alerts.
    fn epoch(&mut self, published: &Published);

    /// Nothing more had arrived by then.
    fn idle(&mut self, as_of: Micros);
}

/// A reason why numbers may be old or incomplete, which follows from the epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What is wrong and what to do.
    pub text: String,
    /// The clock of the epoch from which it holds.
    pub since: Micros,
}

impl Reason {
    /// The reason and how long it has lasted at `now`.
    pub fn told(&self, now: Micros) -> String {
        let seconds = now.0.saturating_sub(self.since.0).max(0) / 1_000_000;
        format!("{}, for {seconds} s", self.text)
    }
}

/// All results as of one epoch.
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
    /// Where the windows among them lie, and what they are compared with.
    pub windows: Vec<(CellKey, Window)>,
    /// Cells that were removed after `removals_after`, and when.
    pub removed: Vec<(CellKey, EpochId)>,
    /// Removals up to this epoch are not known.
    pub removals_after: EpochId,
    /// Every alert, with the epoch that published its last change in `epoch`: a tick's, when a timer
    /// made it.
    pub alerts: Vec<Alert>,
    /// What people said of alerts.
    pub answers: Arc<Answers>,
    /// The models of detectors that are in force.
    pub models: Arc<ModelsInForce>,
    /// Why these numbers may be old or incomplete.
    pub degraded: Arc<[Reason]>,
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
    /// What people said of alerts up to this epoch; the same value as before where nobody said anything.
    pub answers: Arc<Answers>,
    /// The models of detectors in force for what comes after it; the same value as before where none was put in force.
    pub models: Arc<ModelsInForce>,
    /// Why numbers as of this epoch may be old or incomplete: all reasons, changed or not.
    pub degraded: Arc<[Reason]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_how_long_it_has_lasted() {
        let reason = Reason { text: "it stands".into(), since: Micros(5_000_000) };
        assert_eq!(reason.told(Micros(7_999_999)), "it stands, for 2 s");
        assert_eq!(reason.told(Micros(0)), "it stands, for 0 s", "clocks of epochs may be ahead");
    }
}
