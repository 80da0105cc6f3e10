//! All points of some series as they stood at one position, to look up what cells are compared with.
//!
//! # Guarantees
//! - It never changes, however long it is held; taking one copies no cell.

use std::sync::Arc;

use schemas::{CellValue, Grain, Micros};

use super::points::Points;
use super::snapshot::SeriesName;

/// The points of some series.
#[derive(Debug, Default)]
pub struct History {
    /// Ordered by name.
    series: Vec<(Arc<SeriesName>, Points)>,
}

impl History {
    /// These, ordered by name.
    pub(super) fn new(series: Vec<(Arc<SeriesName>, Points)>) -> History {
        History { series }
    }

    /// The series, ordered by name.
    pub fn names(&self) -> impl Iterator<Item = &Arc<SeriesName>> {
        self.series.iter().map(|(name, _)| name)
    }

    fn points(&self, series: &SeriesName) -> Option<&Points> {
        let at = self.series.binary_search_by(|(name, _)| (**name).cmp(series)).ok()?;
        self.series.get(at).map(|(_, points)| points)
    }

    /// What a cell says, if there is one.
    pub fn value(&self, series: &SeriesName, grain: Grain, start: Micros) -> Option<CellValue> {
        self.points(series)?.get((grain, start)).map(|point| point.value())
    }

    /// What the cells of a series say that start from `from` on and before `to`.
    pub fn values(
        &self,
        series: &SeriesName,
        grain: Grain,
        from: Micros,
        to: Micros,
    ) -> impl Iterator<Item = CellValue> {
        let runs = self.points(series).map(|points| points.runs((grain, from), (grain, to)));
        runs.into_iter().flatten().flat_map(|run| {
            run.points().iter().map(|point| point.value()).collect::<Vec<CellValue>>()
        })
    }
}
