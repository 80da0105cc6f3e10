//! The day's cost is at least a fifth above that of the same day one week before, and above what the forecast
//! takes for usual.
//!
//! # Guarantees
//! - The comparison is exact. A day that still runs is a spike as soon as it has cost that much.

use schemas::{Grain, KpiInfo, Severity};

use super::{Bucket, Finding, Kind, Rule, Verdict, deviation, statistics, value_of};
use crate::number::float;

/// One over the share above the baseline: a fifth.
const PART: i128 = 5;
/// Relative deviations that are an error, and critical.
const ERROR_DEVIATION: f64 = 0.5;
const CRITICAL_DEVIATION: f64 = 1.0;

#[derive(Debug)]
pub(super) struct CostSpike;

impl Rule for CostSpike {
    fn name(&self) -> &'static str {
        "cost_spike"
    }

    fn watches(&self, kpi: &KpiInfo, grain: Grain) -> bool {
        &*kpi.key == "total_cost" && grain == Grain::Day
    }

    fn wants_week_before(&self) -> bool {
        true
    }

    fn judge(&self, bucket: &Bucket) -> Verdict {
        let Some(baseline) = value_of(bucket.week_before).filter(|baseline| *baseline > 0) else {
            return Verdict::Unknown;
        };
        let value = match bucket.cell {
            // A day without any charge cost nothing.
            None => 0,
            cell => match value_of(cell) {
                Some(value) => value,
                None => return Verdict::Unknown,
            },
        };
        let is_far =
            |from: i128| value.saturating_sub(from).saturating_mul(PART) >= from && value > from;
        if !is_far(baseline) || !bucket.is_unusual(value, 1.0, is_far) {
            return Verdict::Normal;
        }
        let deviation = deviation(bucket.shape, float(value), float(baseline));
        let severity = if deviation >= CRITICAL_DEVIATION {
            Severity::Critical
        } else if deviation >= ERROR_DEVIATION {
            Severity::Error
        } else {
            Severity::Warning
        };
        let (z, p) = statistics(bucket, value);
        Verdict::Anomalous(Finding {
            kind: Kind::Spike,
            severity,
            value: Some(value),
            expected: Some(baseline),
            lower: None,
            upper: Some(baseline.saturating_add(baseline / PART)),
            deviation,
            z,
            p,
        })
    }
}
