//! The seam between the history of KPIs' cells and whoever serves it.

use crate::epoch::EpochId;
use crate::kpi::{CellKey, CellValue};
use crate::time::{Grain, Micros};

/// Which cells of the past are wanted. An absent part means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastQuestion {
    /// The KPIs.
    pub kpis: Option<Vec<String>>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The grain.
    pub grain: Option<Grain>,
    /// Periods that start at or after this.
    pub from: Option<Micros>,
    /// Periods that start at or before this.
    pub last: Option<Micros>,
}

/// Cells as they were told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastCells {
    /// The epoch up to which the history is written.
    pub epoch: EpochId,
    /// Each cell by the newest row of its history at or before the instant; one that was gone has no data.
    pub cells: Vec<(CellKey, CellValue)>,
}

/// Reads the history of cells.
pub trait KpiHistory: Send + Sync {
    /// What cells said at an instant. It reads files, so that it may take a while.
    ///
    /// # Errors
    /// Why the history cannot be read.
    fn cells_at(&self, at: Micros, question: &PastQuestion) -> Result<PastCells, String>;
}
