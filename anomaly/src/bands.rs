//! What was expected of past buckets, for charts.
//!
//! # Guarantees
//! - The band of a bucket is made from buckets before it, by the model that judges.
//!
//! # Non-guarantees
//! - It is made from the cells as they are now. An alert keeps the band it was judged by, which later
//!   corrections of the past may have moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Band, Bands, CellValue, Grain, KpiInfo, Micros};

use crate::entry::replay;
use crate::number::mantissa;
use crate::shape::Shape;

/// Bands of the KPIs it was made for.
#[derive(Debug, Clone)]
pub struct Expected {
    kpis: BTreeMap<Arc<str>, KpiInfo>,
}

impl Expected {
    /// Bands of these KPIs.
    pub fn new(kpis: Vec<KpiInfo>) -> Expected {
        Expected { kpis: kpis.into_iter().map(|kpi| (Arc::clone(&kpi.key), kpi)).collect() }
    }
}

impl Bands for Expected {
    fn bands(
        &self,
        kpi: &str,
        grain: Grain,
        points: &[(Micros, CellValue)],
        wanted: &[Micros],
    ) -> Vec<Option<Band>> {
        let shape = self.kpis.get(kpi).and_then(|kpi| Shape::of(kpi, grain));
        let Some(shape) = shape else { return vec![None; wanted.len()] };
        let outlooks = replay(shape, grain, points, wanted);
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
}
