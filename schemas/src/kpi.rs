//! KPI cells: one value per KPI, tenant, dimensions, grain and period.

use std::sync::Arc;

use crate::epoch::EpochId;
use crate::time::{Grain, Micros};

/// What names a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey {
    /// The KPI.
    pub kpi: Arc<str>,
    /// The tenant.
    pub tenant: Arc<str>,
    /// The dimensions as canonical JSON: keys sorted, no blanks, `{"currency":"USD"}`.
    pub dims: Arc<str>,
    /// The grain.
    pub grain: Grain,
    /// Where the period starts.
    pub period_start: Micros,
}

/// Whether a cell's value can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It has a value.
    Ok,
    /// It has none: a ratio whose denominator is zero or absent, or a cell whose last row left.
    NoData,
    /// It could not be computed: a sum or quotient beyond `decimal(38, 10)`.
    Error,
}

impl Status {
    /// The word used in tables, files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::NoData => "no_data",
            Status::Error => "error",
        }
    }
}

/// What a cell says. Numbers are mantissas at [`crate::decimal::VALUE_SCALE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CellValue {
    /// The value, when `status` is ok.
    pub value: Option<i128>,
    /// A ratio's numerator.
    pub numerator: Option<i128>,
    /// A ratio's denominator.
    pub denominator: Option<i128>,
    /// Whether the value can be shown.
    pub status: Status,
}

/// One change of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KpiUpdate {
    /// The cell.
    pub key: CellKey,
    /// Its new value, or `None` when no row feeds it any more.
    pub value: Option<CellValue>,
    /// The epoch that changed it.
    pub epoch: EpochId,
    /// That epoch's clock.
    pub as_of: Micros,
}
