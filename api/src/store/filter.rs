//! The filter of a reader: which cells it wants. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::{CellKey, Grain, Micros};

use super::dims::DimFilter;
use super::snapshot::SeriesName;
use crate::earlier::Against;

/// Which cells a reader wants. An absent part means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellFilter {
    /// The tenant.
    pub tenant: Option<Arc<str>>,
    /// The KPIs.
    pub kpis: Option<BTreeSet<Arc<str>>>,
    /// The values of dimensions.
    pub dims: DimFilter,
    /// The grain, or the window; without one those of the calendar.
    pub grain: Option<Grain>,
    /// Periods that start at or after this.
    pub from: Option<Micros>,
    /// Periods that start before this.
    pub to: Option<Micros>,
    /// What the stream is to compare cells with.
    pub against: Option<Against>,
}

impl CellFilter {
    /// Whether a cell is wanted.
    pub fn takes(&self, key: &CellKey) -> bool {
        self.tenant.as_ref().is_none_or(|own| *own == key.tenant)
            && self.takes_kpi(&key.kpi)
            && self.dims.takes(&key.dims)
            && self.takes_grain(key.grain)
            && self.takes_period(key.period_start)
    }

    /// Whether the cells of a series are wanted, grains and periods apart.
    pub(crate) fn takes_series(&self, name: &SeriesName) -> bool {
        self.tenant.as_ref().is_none_or(|own| *own == name.tenant)
            && self.takes_kpi(&name.kpi)
            && self.dims.takes(&name.dims)
    }

    pub(crate) fn takes_kpi(&self, kpi: &str) -> bool {
        self.kpis.as_ref().is_none_or(|own| own.contains(kpi))
    }

    pub(crate) fn takes_grain(&self, grain: Grain) -> bool {
        self.grain.map_or(!grain.is_window(), |own| own == grain)
    }

    pub(crate) fn takes_period(&self, start: Micros) -> bool {
        self.from.is_none_or(|from| from <= start) && self.to.is_none_or(|to| start < to)
    }

    /// The window that it takes.
    pub(crate) fn window(&self) -> Option<Grain> {
        self.grain.filter(|grain| grain.is_window())
    }

    /// Whether it takes every point of the series it takes.
    pub(crate) fn takes_whole_series(&self) -> bool {
        self.grain.is_none() && self.from.is_none() && self.to.is_none()
    }
}
