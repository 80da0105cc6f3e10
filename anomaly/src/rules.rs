//! What makes a bucket anomalous: one file for each rule, one line for each in [`REGISTRY`].
//!
//! # Guarantees
//! - A rule is a pure function of one bucket, what was expected of it and what was a week before.

mod cost_spike;
mod roi_drop;
mod seasonal;

use schemas::{CellValue, Good, Grain, KpiInfo, Severity, Status};
use serde::{Deserialize, Serialize};

use crate::number::{float, mantissa};
use crate::outlook::Outlook;
use crate::shape::Shape;

/// Every rule.
pub(crate) static REGISTRY: [&dyn Rule; 3] =
    [&seasonal::Seasonal, &roi_drop::RoiDrop, &cost_spike::CostSpike];

/// A way to find anomalies.
pub(crate) trait Rule: Sync {
    /// Its name in tables, in alert ids and in saved state: never changed.
    fn name(&self) -> &'static str;

    /// Whether it watches the KPI at the grain.
    fn watches(&self, kpi: &KpiInfo, grain: Grain) -> bool;

    /// Whether it compares with the same bucket one week before.
    fn wants_week_before(&self) -> bool;

    /// Judges a bucket.
    fn judge(&self, bucket: &Bucket) -> Verdict;
}

/// A bucket to judge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) shape: Shape,
    /// Which way is good.
    pub(crate) good: Good,
    /// Whether more may still arrive.
    pub(crate) running: bool,
    /// What it says; `None` when nothing feeds it.
    pub(crate) cell: Option<CellValue>,
    /// What the model expected of it.
    pub(crate) outlook: Option<Outlook>,
    /// The same bucket one week before, for rules that want it, if it was whole and not anomalous itself.
    pub(crate) week_before: Option<CellValue>,
    /// The least and the most of the buckets since then, for the same rules while nothing is expected.
    pub(crate) since: Option<(i128, i128)>,
    /// Whether it is anomalous as it was judged last: a value at the edge stays on its side.
    pub(crate) held: bool,
    /// Whether it may be called too low: it is known how late its series is.
    pub(crate) is_whole: bool,
}

/// The share of the surprise of an alert that a deviation from the week before must be to the forecast, too.
const UNUSUAL: f64 = 0.9;

impl Bucket {
    /// Whether the forecast finds a value unusual, too, on the side of `sign`; before there is one, whether it
    /// is that far from every bucket since the week before, by `is_far`, and by as much as they differ.
    fn is_unusual(&self, value: i128, sign: f64, is_far: impl Fn(i128) -> bool) -> bool {
        match (self.outlook, self.since) {
            (Some(outlook), _) => {
                let value = float(value);
                let is_known = outlook.wide && !outlook.is_anomalous(value);
                let need = outlook.needs[usize::from(sign > 0.0)] * UNUSUAL;
                sign * outlook.z(value) > 0.0 && outlook.surprise(value) >= need && !is_known
            }
            (None, Some((least, most))) => {
                let (edge, beyond) = match sign < 0.0 {
                    true => (least, least.saturating_sub(value)),
                    false => (most, value.saturating_sub(most)),
                };
                is_far(edge) && beyond >= most.saturating_sub(least)
            }
            (None, None) => true,
        }
    }
}

/// What a rule says of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// There is nothing to compare with, or not enough of the bucket.
    Unknown,
    /// Nothing is wrong with it.
    Normal,
    /// It is anomalous.
    Anomalous(Finding),
}

/// What is wrong with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    pub(crate) severity: Severity,
    pub(crate) value: Option<i128>,
    pub(crate) expected: Option<i128>,
    pub(crate) lower: Option<i128>,
    pub(crate) upper: Option<i128>,
    pub(crate) deviation: f64,
    pub(crate) z: f64,
    pub(crate) p: f64,
}

/// The kinds of anomalies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Spike,
    Drop,
    Missing,
}

impl Kind {
    /// The word used in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Spike => "spike",
            Kind::Drop => "drop",
            Kind::Missing => "missing",
        }
    }
}

/// The value of a cell that has one.
pub(crate) fn value_of(cell: Option<CellValue>) -> Option<i128> {
    cell.filter(|cell| cell.status == Status::Ok)?.value
}

/// `(value - expected) / |expected|` for flows, `value - expected` for numbers without a unit.
pub(crate) fn deviation(shape: Shape, value: f64, expected: f64) -> f64 {
    if !shape.log {
        value - expected
    } else if expected.abs() > 0.0 {
        (value - expected) / expected.abs()
    } else {
        0.0
    }
}

/// Distance and p-value as the model sees them; 0 and 1 where it expects nothing yet, because then
/// nothing is known of chance.
fn statistics(bucket: &Bucket, value: i128) -> (f64, f64) {
    bucket.outlook.map_or((0.0, 1.0), |outlook| {
        let value = float(value);
        (outlook.z(value), outlook.p(bucket.shape, value))
    })
}

/// A statistic for people and tables.
fn shown(value: f64) -> Option<i128> {
    mantissa(value)
}

#[cfg(test)]
mod tests;
