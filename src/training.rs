//! Training on the cells of a lake: what `weir retrain` does when it is asked, and `weir run` now and then.
//!
//! # Guarantees
//! - Nothing but records of decisions is written: what is in force changes in the epoch that reads them.
//! - Series that are trained are bounded by half of [`SERIES_MAX`] a KPI and grain: those with the largest values.
//! - What is in force is the champion, as the newest barrier has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anomaly::{CALENDAR, Challenge, History, Retrained, Trained, Training, retrain, whole_until};
use engine::cells::{Asked, LakeCells, current};
use gold::Catalog;
use lake::Lake;
use schemas::models::SERIES_MAX;
use schemas::{CellKey, Decision, EpochId, Grain, KpiInfo, Micros, ModelOf, Models};

use crate::saved;

/// Series of one KPI that are trained at each of its two grains.
const OF_GRAIN: usize = SERIES_MAX / 2;
/// The newest buckets that say how large a series is.
const SIZED_BY: usize = 28;

/// Regressions that are in force, by series.
pub(crate) type InForce = BTreeMap<CellKey, Arc<Trained>>;

/// What came of training one KPI.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) kpi: Arc<str>,
    /// The epoch of the cells, and its clock.
    pub(crate) as_of: (EpochId, Micros),
    pub(crate) series: Vec<Retrained>,
    /// Series that were left out because there are too many.
    pub(crate) left_out: usize,
}

impl Outcome {
    /// The decision that puts in force what has won; `None` where nothing has.
    pub(crate) fn decision(&self) -> Option<Decision> {
        let won = |own: &Retrained| {
            let Challenge::Won(trained) = &own.challenge else { return None };
            Some(ModelOf {
                tenant: own.tenant.to_string(),
                dims: own.dims.to_string(),
                grain: own.grain,
                model: Some(trained.to_text()),
            })
        };
        let series: Vec<ModelOf> = self.series.iter().filter_map(won).collect();
        let (detector, kpi) = (CALENDAR.to_owned(), self.kpi.to_string());
        (!series.is_empty()).then_some(Decision::Train(Models { detector, kpi, series }))
    }

    /// How many won, of how many that were tried.
    pub(crate) fn score(&self) -> (usize, usize) {
        let won = self.series.iter().filter(|own| matches!(own.challenge, Challenge::Won(_)));
        (won.count(), self.series.iter().filter(|own| own.contest.is_some()).count())
    }
}

/// The models that are in force at the newest barrier.
///
/// # Errors
/// When what it saved cannot be read.
pub(crate) fn saved_models(lake: &Lake) -> Result<InForce, String> {
    let newest = saved::newest(lake).map_err(|failure| failure.to_string())?;
    Ok(newest.map_or_else(InForce::new, |state| anomaly::in_force(&state.saved)))
}

/// The KPIs that can be trained: those that are watched.
pub(crate) fn watched(catalog: &Catalog) -> Vec<KpiInfo> {
    catalog.infos().into_iter().filter(|kpi| kpi.watching.enabled).collect()
}

/// Trains the series of a KPI, one after the other; `None` where the lake has no cells of it, or it is ending.
///
/// # Errors
/// When the table of current values cannot be read.
pub(crate) fn train(
    lake: &Lake,
    catalog: &Catalog,
    kpi: &KpiInfo,
    in_force: &InForce,
    is_ending: &dyn Fn() -> bool,
) -> Result<Option<Outcome>, String> {
    let grains = vec![Grain::Hour, Grain::Day];
    let asked = Asked { kpis: vec![kpi.key.to_string()], tenant: None, grains };
    let LakeCells { as_of, cells } = current(lake, &asked)?;
    let Some(as_of) = as_of.filter(|_| !cells.is_empty()) else { return Ok(None) };
    let (series, left_out) = largest(History::of(cells));
    let mut training = Training {
        kpi: kpi.clone(),
        calendar: Arc::clone(catalog.calendar()),
        series: Vec::new(),
        // What is still running has no final value.
        to: whole_until(as_of.1),
    };
    let mut trained = Vec::new();
    for history in series {
        if is_ending() {
            return Ok(None);
        }
        let held = in_force.get(&name(&history)).map(Arc::clone);
        training.series = vec![(history, held)];
        trained.extend(retrain(&training));
    }
    Ok(Some(Outcome { kpi: Arc::clone(&kpi.key), as_of, series: trained, left_out }))
}

/// What names a series: a cell of it, at no period.
fn name(history: &History) -> CellKey {
    CellKey {
        kpi: Arc::clone(&history.kpi),
        tenant: Arc::clone(&history.tenant),
        dims: Arc::clone(&history.dims),
        grain: history.grain,
        period_start: Micros(0),
    }
}

/// The series with the largest values lately, of each grain so many at most; and how many others there are.
fn largest(all: Vec<History>) -> (Vec<History>, usize) {
    let size = |own: &History| -> i128 {
        let newest = own.points.iter().rev().take(SIZED_BY);
        newest.filter_map(|(_, cell)| cell.value).map(i128::abs).fold(0, i128::saturating_add)
    };
    let (mut chosen, mut left_out) = (Vec::new(), 0);
    for grain in [Grain::Hour, Grain::Day] {
        let mut own: Vec<_> = all.iter().filter(|own| own.grain == grain).collect();
        own.sort_by_key(|history| std::cmp::Reverse(size(history)));
        left_out += own.len().saturating_sub(OF_GRAIN);
        chosen.extend(own.into_iter().take(OF_GRAIN).cloned());
    }
    (chosen, left_out)
}

#[cfg(test)]
mod tests {
    use schemas::{CellValue, Status};

    use super::*;

    fn cell(value: i128) -> CellValue {
        CellValue { value: Some(value), numerator: None, denominator: None, status: Status::Ok }
    }

    fn key(dims: &str, grain: Grain, start: i64) -> CellKey {
        CellKey {
            kpi: "cost".into(),
            tenant: "acme".into(),
            dims: dims.into(),
            grain,
            period_start: Micros(start),
        }
    }

    #[test]
    fn the_largest_series_of_each_grain_are_chosen() {
        let day = |own: i64| (key(&format!("{own:03}"), Grain::Day, 7), cell(i128::from(own)));
        let mut cells: Vec<_> = (0..SERIES_MAX as i64).map(day).collect();
        cells.push((key("hours", Grain::Hour, 7), cell(-1)));
        cells.push((key("hours", Grain::Hour, 3), cell(-1)));
        cells.sort_by(|a, b| a.0.cmp(&b.0));
        let (chosen, left_out) = largest(History::of(cells));
        assert_eq!((chosen.len(), left_out), (1 + OF_GRAIN, OF_GRAIN));
        assert_eq!(chosen[0].points.iter().map(|own| own.0.0).collect::<Vec<_>>(), [3, 7]);
        assert_eq!(&*chosen[1].dims, "199");
        assert_eq!(&*chosen.last().unwrap().dims, "100");
    }
}
