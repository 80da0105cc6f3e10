//! The day's return on investment is at least five percentage points below that of a week before, and below
//! what the forecast takes for usual.
//!
//! # Guarantees
//! - A day that still runs is compared once both its revenue and its cost have reached those of the
//!   day of a week before; otherwise the first charge of a day would be a drop.

use schemas::{Grain, KpiInfo, Severity};

use super::{Bucket, Finding, Kind, Rule, Verdict, statistics, value_of};
use crate::number::float;

/// Five percentage points, as a mantissa.
const DROP: i128 = 500_000_000;
/// Ten and twenty: an error, and critical.
const ERROR_DROP: i128 = 2 * DROP;
const CRITICAL_DROP: i128 = 4 * DROP;

#[derive(Debug)]
pub(super) struct RoiDrop;

impl Rule for RoiDrop {
    fn name(&self) -> &'static str {
        "roi_drop"
    }

    fn watches(&self, kpi: &KpiInfo, grain: Grain) -> bool {
        &*kpi.key == "roi" && grain == Grain::Day
    }

    fn wants_week_before(&self) -> bool {
        true
    }

    fn judge(&self, bucket: &Bucket) -> Verdict {
        let (Some(value), Some(baseline)) = (value_of(bucket.cell), value_of(bucket.week_before))
        else {
            return Verdict::Unknown;
        };
        if bucket.running && !is_comparable(bucket) {
            return Verdict::Unknown;
        }
        let drop = baseline.saturating_sub(value);
        let is_far = |from: i128| from.saturating_sub(value) >= DROP;
        if !is_far(baseline) || !bucket.is_unusual(value, -1.0, is_far) {
            return Verdict::Normal;
        }
        let severity = match drop {
            CRITICAL_DROP.. => Severity::Critical,
            ERROR_DROP.. => Severity::Error,
            _ => Severity::Warning,
        };
        let (z, p) = statistics(bucket, value);
        Verdict::Anomalous(Finding {
            kind: Kind::Drop,
            severity,
            value: Some(value),
            expected: Some(baseline),
            lower: Some(baseline.saturating_sub(DROP)),
            upper: None,
            deviation: float(value) - float(baseline),
            z,
            p,
        })
    }
}

/// Whether revenue and cost have both reached those of the week before. Revenue is the numerator
/// (revenue less cost) and the denominator (cost) together.
fn is_comparable(bucket: &Bucket) -> bool {
    let sides = |cell: Option<schemas::CellValue>| {
        let cell = cell?;
        Some((cell.numerator?.checked_add(cell.denominator?)?, cell.denominator?))
    };
    let (Some(now), Some(then)) = (sides(bucket.cell), sides(bucket.week_before)) else {
        return false;
    };
    now.0 >= then.0 && now.1 >= then.1
}
