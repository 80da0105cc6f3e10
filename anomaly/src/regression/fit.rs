//! Training: elastic net over the terms of the calendar.
//!
//! # Guarantees
//! - Equal points give equal bits, on one machine: one thread, no chance.
//! - How much is held down is chosen on the newest part of the points, which the choice has not seen.

use linfa::Dataset;
use linfa::traits::Fit;
use linfa_elasticnet::ElasticNet;
use ndarray::{Array1, Array2, ShapeBuilder};

use super::{TERMS, Trained, terms};
use crate::shape::{Place, Shape, Space};

/// Buckets of which it takes so many: four weeks of hours, eight of days.
const LEAST_HOURS: usize = 28 * 24;
const LEAST_DAYS: usize = 56;
/// How much terms are held down, in spreads of the values: what is tried.
const PENALTIES: [f64; 3] = [0.02, 0.005, 0.001];
/// Half of it drops terms, half makes them smaller.
const DROPS: f64 = 0.5;
const STEPS: u32 = 60;
const TOLERANCE: f64 = 1e-3;
/// The newest of so many parts of the points is what a penalty is tried on.
const TRIED: usize = 5;
/// Farther off than so many spreads teaches no more than this.
const WINSOR: f64 = 4.0;
const SPREAD_OF_MEDIAN: f64 = 1.4826;

/// A bucket that teaches: its place, and its value.
pub(crate) type Point = (Place, f64);

/// A fit in the space of the values, from their mean and spread.
struct Fitted {
    level: f64,
    slope: f64,
    terms: Vec<f64>,
    origin: i64,
}

impl Fitted {
    fn at(&self, shape: Shape, place: Place) -> f64 {
        let known = terms(place, shape.seasons).filter_map(|term| self.terms.get(term));
        self.level + self.slope * (place.number - self.origin) as f64 + known.sum::<f64>()
    }
}

/// The buckets that it takes to train.
pub(crate) fn least(shape: Shape) -> usize {
    if shape.seasons.day > 0 { LEAST_HOURS } else { LEAST_DAYS }
}

/// Trains on these buckets, ascending; the first that was not seen is `from`. `None` where they are too few or all
/// alike.
pub(crate) fn fit(shape: Shape, points: &[Point], from: i64) -> Option<Trained> {
    if points.len() < least(shape) {
        return None;
    }
    let space = Space::of(shape, unit(shape, points)?);
    let bent: Vec<Point> =
        points.iter().map(|(place, value)| (*place, space.scaled(*value))).collect();
    let tried = bent.len() - bent.len() / TRIED;
    let (before, after) = bent.split_at_checked(tried)?;
    let middle = PENALTIES[PENALTIES.len() / 2];
    let calm = calmed(&once(shape, before, middle)?, shape, before);
    let missed = |penalty: f64| {
        let fitted = once(shape, &calm, penalty)?;
        let off = after.iter().map(|(place, value)| (value - fitted.at(shape, *place)).abs());
        Some((off.sum::<f64>() / after.len() as f64, penalty))
    };
    let tried = PENALTIES.into_iter().filter_map(missed);
    let (error, penalty) = tried.min_by(|a, b| a.0.total_cmp(&b.0))?;
    let all = calmed(&once(shape, &bent, penalty)?, shape, &bent);
    let fitted = once(shape, &all, penalty)?;
    let level = fitted.level + fitted.slope * (from - fitted.origin) as f64;
    let per_day = i64::try_from(shape.seasons.day.max(1)).unwrap_or(1);
    let numbers = (level, fitted.slope, error);
    Some(Trained::new((from, per_day), space, numbers, fitted.terms.into_iter()))
}

/// The usual size: the geometric mean of what is not 0; 1 where values are not bent.
fn unit(shape: Shape, points: &[Point]) -> Option<f64> {
    if !shape.log {
        return Some(1.0);
    }
    let sizes = points.iter().map(|(_, value)| value.abs()).filter(|own| *own > 0.0);
    let (count, sum) = sizes.fold((0.0, 0.0), |(count, sum), own| (count + 1.0, sum + own.ln()));
    (count > 0.0).then(|| (sum / count).exp()).filter(|own| own.is_finite() && *own > 0.0)
}

/// The points, those far off moved to the edge of the plausible.
fn calmed(fitted: &Fitted, shape: Shape, points: &[Point]) -> Vec<Point> {
    let off = |(place, value): &Point| value - fitted.at(shape, *place);
    let mut sizes: Vec<f64> = points.iter().map(|own| off(own).abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let edge = WINSOR * SPREAD_OF_MEDIAN * sizes.get(sizes.len() / 2).copied().unwrap_or(0.0);
    let calm = |own: &Point| (own.0, fitted.at(shape, own.0) + off(own).clamp(-edge, edge));
    points.iter().map(calm).collect()
}

/// One fit.
fn once(shape: Shape, points: &[Point], penalty: f64) -> Option<Fitted> {
    let (first, last) = (points.first()?.0.number, points.last()?.0.number);
    let span = (last - first).max(1) as f64;
    let count = points.len() as f64;
    let mean = points.iter().map(|(_, value)| value).sum::<f64>() / count;
    let variance = points.iter().map(|(_, value)| (value - mean).powi(2)).sum::<f64>() / count;
    let spread = variance.sqrt();
    if !(spread.is_finite() && spread > 1e-9 * mean.abs().max(1e-9)) {
        return None;
    }
    let mut columns = Array2::<f64>::zeros((points.len(), TERMS + 1).f());
    let mut values = Array1::<f64>::zeros(points.len());
    for (row, (place, value)) in points.iter().enumerate() {
        for term in terms(*place, shape.seasons) {
            columns[(row, term)] = 1.0;
        }
        columns[(row, TERMS)] = (place.number - first) as f64 / span - 0.5;
        values[row] = (value - mean) / spread;
    }
    let net = ElasticNet::params().penalty(penalty).l1_ratio(DROPS).with_intercept(true);
    let net = net.max_iterations(STEPS).tolerance(TOLERANCE);
    let net = net.fit(&Dataset::new(columns, values)).ok()?;
    let plane = net.hyperplane();
    let slope = plane.get(TERMS).copied().unwrap_or(0.0) * spread / span;
    let half = plane.get(TERMS).copied().unwrap_or(0.0) * spread * 0.5;
    let fitted = Fitted {
        level: mean + net.intercept() * spread - half,
        slope,
        terms: plane.iter().take(TERMS).map(|own| own * spread).collect(),
        origin: first,
    };
    let is_finite = fitted.level.is_finite() && fitted.terms.iter().all(|own| own.is_finite());
    is_finite.then_some(fitted)
}
