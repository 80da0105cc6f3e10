//! A day that is further than it may be from another one: the same a week before, the day before, a budget.
//!
//! How far is too far, and how bad, is in the KPI's file: each of its rules against the same thing is a step.
//!
//! # Guarantees
//! - The comparison is exact. A running day of a flow is too high as soon as it has come to that much, and too low
//!   only when it is whole.
//! - Against another day, what the forecast takes for usual is no finding. Against a budget it is one.
//! - A running ratio from whose numerator its denominator is taken away is compared once both of its sides have
//!   reached those of the other day: the first charge of a day would be a drop. Other ratios wait for their end.

use schemas::watching::MILLION;
use schemas::{Against, CellValue, Grain, KpiInfo};

use super::{Bucket, Finding, Kind, Rule, Verdict, deviation, statistics, value_of};
use crate::number::float;

/// A millionth of a ratio, as a mantissa.
const POINT: i128 = 10_000;

/// The rule against one of the things to compare with.
#[derive(Debug)]
pub(super) struct Change(pub(super) Against);

impl Rule for Change {
    fn name(&self) -> &'static str {
        self.0.detector()
    }

    fn watches(&self, kpi: &KpiInfo, grain: Grain) -> bool {
        grain == Grain::Day && kpi.watching.steps(self.0).next().is_some()
    }

    fn against(&self) -> Option<Against> {
        Some(self.0)
    }

    fn judge(&self, bucket: &Bucket<'_>) -> Verdict {
        let shape = bucket.shape;
        let nothing = shape.flow.then_some(0);
        let value = bucket.cell.map_or(nothing, |cell| value_of(Some(cell)));
        let (Some(value), Some(baseline)) = (value, value_of(bucket.baseline)) else {
            return Verdict::Unknown;
        };
        // A share of nothing is nothing.
        let is_share = shape.log;
        let is_early = bucket.running && !shape.flow && !is_comparable(bucket);
        if is_early || (is_share && baseline <= 0) {
            return Verdict::Unknown;
        }
        let is_above = value > baseline;
        let by = |far: u32, of: i128| match is_share {
            true => of.saturating_mul(i128::from(far)) / i128::from(MILLION),
            false => i128::from(far).saturating_mul(POINT),
        };
        let is_far = |from: i128, far: u32| {
            let gap =
                if is_above { value.saturating_sub(from) } else { from.saturating_sub(value) };
            let (scale, far) = (i128::from(MILLION), i128::from(far));
            gap > 0
                && match is_share {
                    true => gap.saturating_mul(scale) >= from.saturating_mul(far),
                    false => gap >= far.saturating_mul(POINT),
                }
        };
        let steps = bucket.watching.steps(self.0);
        let steps = steps.filter_map(|own| Some((if is_above { own.up } else { own.down }?, own)));
        let held = steps.clone().filter(|(far, _)| is_far(baseline, *far));
        let Some(severity) = held.map(|(_, own)| own.severity).max() else {
            return Verdict::Normal;
        };
        let least = steps.map(|(far, _)| far).min().unwrap_or_default();
        let sign = if is_above { 1.0 } else { -1.0 };
        let is_odd =
            self.0 == Against::Budget || bucket.is_unusual(value, sign, |from| is_far(from, least));
        let is_small = value.abs_diff(baseline) < bucket.least_impact();
        if !is_odd || is_small || (!is_above && shape.flow && bucket.running) {
            return Verdict::Normal;
        }
        if !is_above && shape.flow && !bucket.is_whole {
            return Verdict::Unknown;
        }
        let kind = match bucket.cell {
            _ if is_above => Kind::Spike,
            None => Kind::Missing,
            Some(_) => Kind::Drop,
        };
        let limit = by(least, baseline);
        let (z, p) = statistics(bucket, value);
        Verdict::Anomalous(Finding {
            kind,
            severity,
            value: Some(value),
            expected: Some(baseline),
            lower: (!is_above).then(|| baseline.saturating_sub(limit)),
            upper: is_above.then(|| baseline.saturating_add(limit)),
            deviation: deviation(shape, float(value), float(baseline)),
            z,
            p,
        })
    }
}

/// Whether both sides of a running ratio have reached those of the other day: what is below the line, and what is
/// left above it when that is added again.
fn is_comparable(bucket: &Bucket<'_>) -> bool {
    let sides = |cell: Option<CellValue>| {
        let cell = cell?;
        Some((cell.numerator?.checked_add(cell.denominator?)?, cell.denominator?))
    };
    let (Some(now), Some(then)) = (sides(bucket.cell), sides(bucket.baseline)) else {
        return false;
    };
    bucket.is_net && now.0 >= then.0 && now.1 >= then.1
}
