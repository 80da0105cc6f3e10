//! Cells as they stood at one position, shared with the store instead of copied.
//!
//! # Guarantees
//! - A snapshot never changes, however long it is held; taking one copies no cell.
//! - Cells come in (tenant, KPI, dims, grain, period) order.

use std::sync::Arc;

use schemas::{CellKey, CellValue, Grain, Micros};

use super::points::Run;

/// The name that all cells of a series share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesName {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The KPI.
    pub kpi: Arc<str>,
    /// The dimensions as canonical JSON.
    pub dims: Arc<str>,
}

impl SeriesName {
    /// The key of one of its cells.
    pub fn cell(&self, grain: Grain, period_start: Micros) -> CellKey {
        let SeriesName { tenant, kpi, dims } = self.clone();
        CellKey { kpi, tenant, dims, grain, period_start }
    }
}

/// A cell of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct ServedCell<'a> {
    /// Its series.
    pub series: &'a SeriesName,
    /// Its grain.
    pub grain: Grain,
    /// Where its period starts.
    pub period_start: Micros,
    /// What it says.
    pub value: CellValue,
}

/// Cells of many series.
#[derive(Debug, Default)]
pub struct Snapshot {
    runs: Vec<(Arc<SeriesName>, Run)>,
}

impl Snapshot {
    pub(super) fn push(&mut self, series: &Arc<SeriesName>, run: Run) {
        self.runs.push((Arc::clone(series), run));
    }

    /// How many cells.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|(_, run)| run.points().len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Every cell.
    pub fn iter(&self) -> impl Iterator<Item = ServedCell<'_>> {
        self.runs.iter().flat_map(|(series, run)| cells(series, run))
    }

    /// Every series with its cells.
    pub fn series(&self) -> impl Iterator<Item = (&SeriesName, Vec<ServedCell<'_>>)> {
        let same = |a: &(Arc<SeriesName>, Run), b: &(Arc<SeriesName>, Run)| Arc::ptr_eq(&a.0, &b.0);
        self.runs.chunk_by(same).filter_map(|runs| {
            let (series, _) = runs.first()?;
            Some((&**series, runs.iter().flat_map(|(name, run)| cells(name, run)).collect()))
        })
    }
}

fn cells<'a>(series: &'a SeriesName, run: &'a Run) -> impl Iterator<Item = ServedCell<'a>> {
    run.points().iter().map(move |point| ServedCell {
        series,
        grain: point.grain(),
        period_start: point.start(),
        value: point.value(),
    })
}
