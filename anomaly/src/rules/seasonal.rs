//! A value outside of what the series' own past makes plausible.
//!
//! # Guarantees
//! - Too high is said as soon as it is reached, too low only when the bucket is over. A ratio is
//!   judged when its bucket is over: half of an hour's revenue over half of its cost proves nothing.

use schemas::{Against, Good, Grain, KpiInfo, Severity};

use super::{Bucket, Finding, Kind, Rule, Verdict, deviation, shown};

/// P-values at which a deviation is an error, and critical.
const ERROR_P: f64 = 1e-5;
const CRITICAL_P: f64 = 1e-7;
/// The share of the distance to its limit below which a running bucket is normal again.
const EASED: f64 = 0.75;
/// Relative deviations (for numbers without a unit: points) that these need, too.
const ERROR_DEVIATION: f64 = 0.2;
const CRITICAL_DEVIATION: f64 = 0.3;

#[derive(Debug)]
pub(super) struct Seasonal;

impl Rule for Seasonal {
    fn name(&self) -> &'static str {
        "seasonal"
    }

    fn watches(&self, _kpi: &KpiInfo, grain: Grain) -> bool {
        !grain.is_long()
    }

    fn against(&self) -> Option<Against> {
        None
    }

    fn judge(&self, bucket: &Bucket<'_>) -> Verdict {
        let shape = bucket.shape;
        if bucket.running && !shape.flow {
            return Verdict::Unknown;
        }
        let (Some(outlook), Some(observed)) = (bucket.outlook, shape.observe(bucket.cell)) else {
            return Verdict::Unknown;
        };
        if observed.weight < outlook.weight || (!shape.flow && !bucket.is_whole) {
            return Verdict::Unknown;
        }
        let value = observed.value;
        // Up and down around the limit of a bucket that runs is one finding.
        let eased = if bucket.held && bucket.running { EASED } else { 1.0 };
        let kind = if value > outlook.expected + eased * (outlook.upper - outlook.expected) {
            Kind::Spike
        } else if bucket.running || value >= outlook.lower {
            return Verdict::Normal;
        } else if !bucket.is_whole {
            return Verdict::Unknown;
        } else if bucket.cell.is_none() {
            Kind::Missing
        } else {
            Kind::Drop
        };
        let p = outlook.p(shape, value);
        let deviation = deviation(shape, value, outlook.expected);
        let [lower, expected, upper] = outlook.shown(value < 0.0);
        Verdict::Anomalous(Finding {
            kind,
            severity: severity(p, deviation, bucket.good),
            value: bucket.cell.and_then(|cell| cell.value),
            expected: shown(expected),
            lower: shown(lower),
            upper: shown(upper),
            deviation,
            z: outlook.z(value),
            p,
        })
    }
}

/// What is better than expected wakes nobody: it may be wrong, but it can wait.
fn severity(p: f64, deviation: f64, good: Good) -> Severity {
    if (deviation > 0.0) == (good == Good::Up) {
        Severity::Warning
    } else if p < CRITICAL_P && deviation.abs() >= CRITICAL_DEVIATION {
        Severity::Critical
    } else if p < ERROR_P && deviation.abs() >= ERROR_DEVIATION {
        Severity::Error
    } else {
        Severity::Warning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_better_than_expected_is_no_more_than_a_warning() {
        for (good, bad_side) in [(Good::Up, -0.5), (Good::Down, 0.5)] {
            assert_eq!(severity(1e-9, bad_side, good), Severity::Critical);
            assert_eq!(severity(1e-9, -bad_side, good), Severity::Warning);
            assert_eq!(severity(1e-6, bad_side, good), Severity::Error);
            assert_eq!(severity(1e-9, bad_side * 0.5, good), Severity::Error);
            assert_eq!(severity(1e-4, bad_side, good), Severity::Warning);
        }
    }
}
