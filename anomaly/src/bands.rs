//! What was expected of past buckets, for charts, what would be said of a value, and what a period will come to.
//!
//! # Guarantees
//! - The band of a bucket is made from buckets before it, by the model that judges, with the trained model that is in
//!   force from the bucket on from which it is.
//! - Nothing is shown below zero of a series that never was.
//!
//! # Non-guarantees
//! - It is made from the cells as they are now. An alert keeps the band it was judged by, which later
//!   corrections of the past may have moved.
//! - A trained model that another one has replaced is not asked any more, of the buckets of its time either.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{
    Band, Bands, Calendar, CellValue, Forecast, Grain, KnownSeries, KpiInfo, Micros, Scored, Trial,
};

use crate::forecast;
use crate::number::mantissa;
use crate::outlook::Outlook;
use crate::replay::replay;
use crate::shape::Shape;
use crate::trial;

/// Bands of the KPIs it was made for.
#[derive(Debug, Clone)]
pub struct Expected {
    kpis: BTreeMap<Arc<str>, KpiInfo>,
    calendar: Arc<Calendar>,
}

impl Expected {
    /// Bands of these KPIs.
    pub fn new(kpis: Vec<KpiInfo>) -> Expected {
        let kpis = kpis.into_iter().map(|kpi| (Arc::clone(&kpi.key), kpi)).collect();
        Expected { kpis, calendar: Arc::default() }
    }

    /// The same, the periods of the KPIs being those of another calendar.
    #[must_use]
    pub fn with_calendar(mut self, calendar: Arc<Calendar>) -> Expected {
        self.calendar = calendar;
        self
    }
}

/// Whether a series ever was below zero, as far as it is known.
pub(crate) fn was_below_zero(points: &[(Micros, CellValue)]) -> bool {
    points.iter().any(|(_, cell)| cell.value.is_some_and(|value| value < 0))
}

/// A band as it is shown.
pub(crate) fn shown(outlook: &Outlook, was_below: bool) -> Option<Band> {
    let [lower, expected, upper] = outlook.shown(was_below).map(mantissa);
    Some(Band { expected: expected?, lower: lower?, upper: upper? })
}

impl Bands for Expected {
    fn bands(&self, of: &KnownSeries<'_>, wanted: &[Micros]) -> Vec<Option<Band>> {
        let shape = self.kpis.get(of.kpi).and_then(|kpi| Shape::of(kpi, of.grain));
        let Some(shape) = shape else { return vec![None; wanted.len()] };
        let outlooks = replay(shape, self.calendar.of(of.tenant), of, wanted);
        let was_below = was_below_zero(of.points);
        outlooks.into_iter().map(|outlook| shown(&outlook?, was_below)).collect()
    }

    fn score(&self, trial: &Trial<'_>) -> Scored {
        match self.kpis.get(trial.kpi) {
            Some(kpi) => trial::score(kpi, &self.calendar, trial),
            None => Scored {
                band: None,
                statistics: None,
                found: Vec::new(),
                is_judged: false,
                why: "there is no such KPI".into(),
            },
        }
    }

    fn forecast(
        &self,
        of: &KnownSeries<'_>,
        grain: Grain,
        at: Micros,
    ) -> Result<[Forecast; 2], Arc<str>> {
        let kpi = self.kpis.get(of.kpi).ok_or("there is no such KPI")?;
        forecast::forecast(kpi, (self.calendar.of(of.tenant), grain), of, at)
    }
}

#[cfg(test)]
mod tests;
