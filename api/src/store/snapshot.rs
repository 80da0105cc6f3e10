//! Cells as they stood at one position, shared with the store instead of copied.
//!
//! # Guarantees
//! - A snapshot never changes, however long it is held; taking one copies no cell.
//! - Cells come in (tenant, KPI, dims, grain, period) order.

use std::sync::Arc;

use schemas::{CellKey, CellValue, Grain, Micros, ModelsInForce, Window};

use super::points::{Point, Run};

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
    /// Of a window: where it lies, and what it is compared with.
    pub window: Option<&'a Window>,
}

/// Cells of many series.
#[derive(Debug, Default)]
pub struct Snapshot {
    runs: Vec<SeriesRun>,
    /// The models of detectors that were in force at the position.
    models: Arc<ModelsInForce>,
}

/// Cells of one series.
#[derive(Debug)]
struct SeriesRun {
    series: Arc<SeriesName>,
    run: Run,
    /// Of a run that is a window.
    window: Option<Arc<Window>>,
}

impl Snapshot {
    pub(super) fn push(&mut self, series: &Arc<SeriesName>, run: Run) {
        self.runs.push(SeriesRun { series: Arc::clone(series), run, window: None });
    }

    pub(super) fn push_window(
        &mut self,
        series: &Arc<SeriesName>,
        point: Point,
        window: &Arc<Window>,
    ) {
        let (series, window) = (Arc::clone(series), Some(Arc::clone(window)));
        self.runs.push(SeriesRun { series, run: Run::of(point), window });
    }

    pub(super) fn with_models(mut self, models: &Arc<ModelsInForce>) -> Snapshot {
        self.models = Arc::clone(models);
        self
    }

    /// The model of the detector that is in force for a series.
    pub fn model_of(&self, series: &SeriesName, grain: Grain) -> Option<&str> {
        self.models.of(series.cell(grain, Micros(0)))
    }

    /// How many cells.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|own| own.run.points().len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Every cell.
    pub fn iter(&self) -> impl Iterator<Item = ServedCell<'_>> {
        self.runs.iter().flat_map(cells)
    }

    /// Every series with its cells.
    pub fn series(&self) -> impl Iterator<Item = (&SeriesName, Vec<ServedCell<'_>>)> {
        let same = |a: &SeriesRun, b: &SeriesRun| Arc::ptr_eq(&a.series, &b.series);
        self.runs.chunk_by(same).filter_map(|runs| {
            let first = runs.first()?;
            Some((&*first.series, runs.iter().flat_map(cells).collect()))
        })
    }
}

fn cells(own: &SeriesRun) -> impl Iterator<Item = ServedCell<'_>> {
    let window = own.window.as_deref();
    own.run.points().iter().map(move |point| ServedCell {
        series: &own.series,
        grain: point.grain(),
        period_start: window.map_or(point.start(), |window| window.start),
        value: point.value(),
        window,
    })
}
