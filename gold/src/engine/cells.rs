//! The engine's cells as detectors see them.

use schemas::{CellValue, Cells, Grain, Micros, SeriesId};

use super::Engine;
use crate::slabs::CellId;
use crate::value::Parts;

impl Cells for Engine {
    fn series(&self, kpi: &str, tenant: &str, dims: &str) -> Option<SeriesId> {
        let number = self.plan.kpis.binary_search_by(|own| (*own.key).cmp(kpi)).ok()?;
        let cube = self.plan.kpis.get(number)?.cube;
        let series = self.cubes.get(cube)?.find_series(tenant, dims)?;
        Some(SeriesId { kpi: u32::try_from(number).ok()?, series })
    }

    fn value(&self, series: SeriesId, grain: Grain, period_start: Micros) -> Option<CellValue> {
        let kpi = self.plan.kpis.get(usize::try_from(series.kpi).ok()?)?;
        let cube = self.cubes.get(kpi.cube).filter(|_| kpi.grains.has(grain))?;
        let id = CellId { series: series.series, grain, start: period_start };
        let parts = Parts::of(&kpi.rule, cube.slabs.numbers(cube.find(id)?))?;
        Some(parts.value())
    }
}
