//! How far the days of a young series are off by chance: a regression on the days of the week and a trend, over all days
//! that there are.
//!
//! Forecasts of its first weeks were worse than those that come, so their errors say little of the next.
//!
//! # Guarantees
//! - It depends on buckets before the one to be forecast, and on nothing else.

use serde::{Deserialize, Serialize};

use crate::model::Past;
use crate::number::narrow;
use crate::shape::Space;

/// Days that are looked back at, and the fewest that say anything.
pub(crate) const DAYS: usize = 84;
const FEWEST: usize = 20;
const WEEK: usize = 7;
/// What is fitted: seven days of the week, and a trend.
const FITTED: f64 = 8.0;
/// Days farther off than so many mean errors are left out once a first fit has told them from the rest.
const ODD: f64 = 4.4;
/// More of them are no accidents, and stay.
const ODD_MOST: usize = 2;

/// How far days are off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fit {
    /// The mean absolute error of a forecast made of them, in scales of the space.
    pub(crate) error: f32,
    /// Degrees of freedom that it is made of.
    pub(crate) freedom: u8,
}

/// A day: how far back, its value and the scale of its errors.
#[derive(Debug, Clone, Copy)]
struct Point {
    back: usize,
    value: f64,
    scale: f64,
}

impl Fit {
    /// That of the newest days; `None` where too few are known.
    pub(crate) fn of(past: &dyn Past, space: Space) -> Option<Fit> {
        let point = |back: usize| {
            let own = past.value(back)?;
            Some(Point { back, value: space.scaled(own), scale: space.scale(own) })
        };
        let mut points: Vec<Point> = (1..=DAYS).filter_map(point).collect();
        let (mut errors, mut mean) = errors(&points)?;
        let odd = errors.iter().filter(|own| **own > ODD * mean).count();
        if (1..=ODD_MOST).contains(&odd) {
            let mut all = errors.iter();
            points.retain(|_| all.next().is_some_and(|own| *own <= ODD * mean));
            (errors, mean) = self::errors(&points)?;
        }
        let count = errors.len() as f64;
        let error = mean * (count / (count - FITTED) * (1.0 + FITTED / count)).sqrt();
        let freedom = u8::try_from(errors.len() - WEEK - 1).unwrap_or(u8::MAX);
        Some(Fit { error: narrow(error), freedom })
    }
}

/// How far off each day is, in scales, and the mean of that.
fn errors(points: &[Point]) -> Option<(Vec<f64>, f64)> {
    if points.len() < FEWEST {
        return None;
    }
    let mut sums = [(0.0, 0.0, 0.0); WEEK];
    for own in points {
        if let Some((count, times, values)) = sums.get_mut(own.back % WEEK) {
            (*count, *times, *values) =
                (*count + 1.0, *times + own.back as f64, *values + own.value);
        }
    }
    // How far each is from the mean of its day of the week, in days and in value.
    let apart = |own: &Point| {
        let (count, times, values) = sums.get(own.back % WEEK).copied().unwrap_or_default();
        (own.back as f64 - times / count, own.value - values / count)
    };
    let (both, square) = points
        .iter()
        .map(apart)
        .fold((0.0, 0.0), |(both, square), (at, value)| (both + at * value, square + at * at));
    let trend = if square > 0.0 { both / square } else { 0.0 };
    let error = |own: &Point| {
        let (at, value) = apart(own);
        (value - trend * at).abs() / own.scale
    };
    let errors: Vec<f64> = points.iter().map(error).collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    Some((errors, mean))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Bend;

    struct Days(Vec<f64>);

    impl Past for Days {
        fn value(&self, back: usize) -> Option<f64> {
            self.0.get(self.0.len().checked_sub(back)?).copied()
        }
    }

    /// Days of a week and a trend, off by one or minus one.
    fn days(count: usize) -> Vec<f64> {
        let off = |at: usize| if (at * 37 / 5).is_multiple_of(2) { 1.0 } else { -1.0 };
        (0..count).map(|at| 100.0 + at as f64 + 9.0 * (at % 7) as f64 + off(at)).collect()
    }

    #[test]
    fn what_days_are_off_by_is_told_from_their_week_and_trend() {
        let space = Space { bend: Bend::None, unit: 1.0 };
        assert_eq!(Fit::of(&Days(days(FEWEST - 1)), space), None);
        let fit = Fit::of(&Days(days(60)), space).unwrap();
        assert!((f64::from(fit.error) - 1.0).abs() < 0.3, "{fit:?}");
        assert_eq!(fit.freedom, 52);
        // One that is far off is none of them.
        let mut odd = days(60);
        odd[40] += 30.0;
        let other = Fit::of(&Days(odd), space).unwrap();
        assert!((other.error - fit.error).abs() < 0.1 && other.freedom == 51, "{other:?}");
    }
}
