//! What is usual of a series by the calendar: a regression that was trained on its history.
//!
//! ```text
//! value, bent = level + slope * buckets since + hour + hour at the weekend + weekday + day of month + last days of it
//! ```
//!
//! [`fit()`](fit::fit) trains one, [`crate::retrain()`] tries it against what is in force, and a control record puts it
//! in force: training happens once, and replay reads what it came to.
//!
//! # Guarantees
//! - It says nothing of buckets that it has seen, or that were forecast before it was in force.
//! - It is the same after it was written and read again, to the last bit.
//!
//! # Non-guarantees
//! - Holidays are not in it: what is planned neither teaches nor is judged.

pub(crate) mod fit;

use schemas::hex::{from_hex, hex};
use schemas::state::{decode, encode};
use serde::{Deserialize, Serialize};

use crate::dates::in_month;
use crate::number::narrow;
use crate::shape::{Place, Seasons, Shape, Space};

/// The detector that they are trained for.
pub const CALENDAR: &str = "calendar";

/// Days of a month, and those from its end that are told apart.
const DAYS: usize = 31;
const LAST: usize = 5;
const HOURS: usize = 24;
const WEEKDAYS: usize = 7;
/// Where the terms of a kind begin.
const WEEKEND_HOURS_AT: usize = HOURS;
const WEEKDAYS_AT: usize = WEEKEND_HOURS_AT + HOURS;
const DAYS_AT: usize = WEEKDAYS_AT + WEEKDAYS;
const LAST_AT: usize = DAYS_AT + DAYS;
/// Terms that a bucket has or has not.
pub(crate) const TERMS: usize = LAST_AT + LAST;
/// Buckets after which the slope no longer counts: a trend is no promise.
const SLOPE_ENDS: f64 = 28.0;

/// A regression that was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The number of the first bucket that it says something of: it has not seen it.
    from: i64,
    /// The usual size of the series.
    unit: f64,
    level: f64,
    /// What a bucket adds, and after how many this ends.
    slope: f64,
    ends: f64,
    /// The mean of what it was off by, bent, of buckets that it had not seen.
    error: f64,
    /// The terms that are not 0, ascending.
    terms: Vec<(u8, f32)>,
}

/// The terms of a bucket.
pub(crate) fn terms(place: Place, seasons: Seasons) -> impl Iterator<Item = usize> {
    let spot = place.spot(seasons);
    let (_, of, left) = in_month(place.day);
    let day = usize::try_from(of - 1).unwrap_or(0).min(DAYS - 1);
    let left = usize::try_from(left - 1).ok().filter(|left| *left < LAST);
    let at_weekend = spot.clock.filter(|_| spot.weekday >= 5);
    [
        spot.clock.map(|clock| clock.min(HOURS - 1)),
        at_weekend.map(|clock| WEEKEND_HOURS_AT + clock.min(HOURS - 1)),
        Some(WEEKDAYS_AT + spot.weekday.min(WEEKDAYS - 1)),
        Some(DAYS_AT + day),
        left.map(|left| LAST_AT + left),
    ]
    .into_iter()
    .flatten()
}

impl Trained {
    /// Made of its parts: all terms, of which those of next to nothing are left out.
    pub(crate) fn new(
        (from, per_day): (i64, i64),
        space: Space,
        (level, slope, error): (f64, f64, f64),
        all: impl Iterator<Item = f64>,
    ) -> Trained {
        let known = all.enumerate().filter_map(|(at, own)| {
            let own = narrow(own);
            (own.abs() > 1e-6).then_some((u8::try_from(at).ok()?, own))
        });
        let ends = SLOPE_ENDS * per_day as f64;
        Trained { from, unit: space.unit, level, slope, ends, error, terms: known.collect() }
    }

    /// The same, saying nothing of buckets before `first` either; what it says of others stays.
    pub(crate) fn starting(self, first: i64) -> Trained {
        let later = first.saturating_sub(self.from).max(0);
        let grown = (later as f64).min(self.ends);
        Trained {
            from: self.from.saturating_add(later),
            level: self.level + self.slope * grown,
            ends: self.ends - grown,
            ..self
        }
    }

    /// What is usual of a bucket, and what it is usually off by, bent; `None` of buckets that it has seen.
    pub(crate) fn guess(&self, shape: Shape, place: Place) -> Option<(f64, f64)> {
        if place.number < self.from {
            return None;
        }
        let since = (place.number - self.from) as f64;
        let start = self.level + self.slope * since.min(self.ends);
        let add = |sum: f64, term: usize| {
            let known = self.terms.binary_search_by_key(&term, |(at, _)| usize::from(*at));
            let own = known.ok().and_then(|at| self.terms.get(at));
            sum + own.map_or(0.0, |(_, own)| f64::from(*own))
        };
        let bent = terms(place, shape.seasons).fold(start, add);
        let value = Space::of(shape, self.unit).value(bent);
        value.is_finite().then_some((value, self.error))
    }

    /// As text: what a control record carries.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        encode(self, &mut bytes);
        hex(&bytes)
    }

    /// Reads the text; `None` where it is none, or that of another version.
    pub fn parse(text: &str) -> Option<Trained> {
        let trained: Trained = decode(&from_hex(text)?)?;
        let is_sorted = trained.terms.windows(2).all(|two| matches!(two, [a, b] if a.0 < b.0));
        let numbers = [trained.unit, trained.level, trained.slope, trained.ends, trained.error];
        let is_finite = numbers.iter().all(|own| own.is_finite())
            && trained.terms.iter().all(|(_, own)| own.is_finite());
        (is_sorted && is_finite && trained.unit > 0.0).then_some(trained)
    }

    /// Bytes that one takes at most.
    #[cfg(test)]
    pub(crate) const MOST: usize = size_of::<Trained>() + TERMS * size_of::<(u8, f32)>();
}

#[cfg(test)]
pub(crate) mod tests;
