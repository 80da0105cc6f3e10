//! What was expected of past buckets, for charts, what would be said of a value, and what a period will come to.
//!
//! # Guarantees
//! - The band of a bucket is made from buckets before it, by the model that judges.
//!
//! # Non-guarantees
//! - It is made from the cells as they are now. An alert keeps the band it was judged by, which later
//!   corrections of the past may have moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Band, Bands, Calendar, CellValue, Forecast, Grain, KpiInfo, Micros, Scored, Trial};

use crate::forecast;
use crate::number::mantissa;
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

impl Bands for Expected {
    fn bands(
        &self,
        (kpi, tenant): (&str, &str),
        grain: Grain,
        points: &[(Micros, CellValue)],
        wanted: &[Micros],
    ) -> Vec<Option<Band>> {
        let shape = self.kpis.get(kpi).and_then(|kpi| Shape::of(kpi, grain));
        let Some(shape) = shape else { return vec![None; wanted.len()] };
        let outlooks = replay(shape, (self.calendar.of(tenant), grain), points, wanted);
        let band = |outlook: Option<crate::outlook::Outlook>| {
            let outlook = outlook?;
            Some(Band {
                expected: mantissa(outlook.expected)?,
                lower: mantissa(outlook.lower)?,
                upper: mantissa(outlook.upper)?,
            })
        };
        outlooks.into_iter().map(band).collect()
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
        (kpi, tenant): (&str, &str),
        grain: Grain,
        points: &[(Micros, CellValue)],
        at: Micros,
    ) -> Result<[Forecast; 2], Arc<str>> {
        let kpi = self.kpis.get(kpi).ok_or("there is no such KPI")?;
        forecast::forecast(kpi, (self.calendar.of(tenant), grain), points, at)
    }
}
