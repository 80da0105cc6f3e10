//! The seam for detectors: what watches KPI updates inside the gold step.

use crate::epoch::EpochStamp;
use crate::kpi::KpiUpdate;

/// Watches every KPI update, in (epoch, cell key) order.
pub trait Observer: Send {
    /// Sees the updates of one epoch.
    fn observe(&mut self, epoch: &EpochStamp, updates: &[KpiUpdate]);
}
