//! What a series is usually like at an hour of the day and on a day of the week, apart from its level.
//!
//! A regression on hours, days of the week and a level, learned as it goes. It says of an hour of a Tuesday what all
//! hours of Tuesdays, and that hour of all days, have taught: more than the same hour of four Tuesdays does.
//!
//! # Guarantees
//! - It depends on buckets that were learned, and on nothing else.
//!
//! # Non-guarantees
//! - What is otherwise at one hour of one day of the week alone is not in it.

use serde::{Deserialize, Serialize};

use crate::number::narrow;
use crate::tail::Law;

const HOURS: usize = 24;
const WEEKDAYS: usize = 7;
/// Weights of the newest error in what is remembered of its hour, of its day of the week, and in the level.
const HOUR_PACE: f64 = 0.05;
const DAY_PACE: f64 = 0.015;
const SHORT_HOUR_PACE: f64 = 0.06;
const SHORT_DAY_PACE: f64 = 0.01;
const LONG_DAY_PACE: f64 = 0.15;
const LEVEL_PACE: f64 = 0.006;
const SHORT_LEVEL_PACE: f64 = 0.01;
const LONG_LEVEL_PACE: f64 = 0.05;
/// How much more an hour weighs than in a mean of all up to it: the first ones knew nothing of the days to come.
const NEWER: f64 = 2.0;

/// Buckets that have taught a part before it is believed: of an hour, of the hours of a day of the week, of days.
const OF_HOUR: u8 = 5;
const OF_HOURS: u8 = 24;
const OF_DAYS: u8 = 2;

/// A place in day and week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// `None` where a bucket is a whole day.
    pub(crate) clock: Option<usize>,
    pub(crate) weekday: usize,
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    level: f64,
    learned: u16,
    hours: [f32; HOURS],
    days: [f32; WEEKDAYS],
    of_hours: [u8; HOURS],
    of_days: [u8; WEEKDAYS],
}

impl Profile {
    /// Nothing is known.
    pub(crate) fn new() -> Profile {
        Profile {
            level: 0.0,
            learned: 0,
            hours: [0.0; HOURS],
            days: [0.0; WEEKDAYS],
            of_hours: [0; HOURS],
            of_days: [0; WEEKDAYS],
        }
    }

    /// What is usual there; `None` where too little was learned.
    pub(crate) fn guess(&self, spot: Spot) -> Option<f64> {
        let hour = match spot.clock {
            Some(clock) => part((&self.hours, &self.of_hours), clock, OF_HOUR)?,
            None => 0.0,
        };
        let least = if spot.clock.is_some() { OF_HOURS } else { OF_DAYS };
        Some(self.level + hour + part((&self.days, &self.of_days), spot.weekday, least)?)
    }

    /// Learns a bucket that was `value`.
    pub(crate) fn learn(&mut self, spot: Spot, value: f64, law: Law) {
        if self.learned == 0 {
            self.level = value;
        }
        self.learned = self.learned.saturating_add(1);
        let hour = spot.clock.and_then(|at| self.hours.get(at)).copied().map_or(0.0, f64::from);
        let day = self.days.get(spot.weekday).copied().map_or(0.0, f64::from);
        let error = value - self.level - hour - day;
        let (hour_pace, day_pace, level_pace, newer) = match law {
            Law::Hours => (HOUR_PACE, DAY_PACE, LEVEL_PACE, NEWER),
            Law::Days => (0.0, LONG_DAY_PACE, LONG_LEVEL_PACE, 1.0),
            Law::Minutes => (SHORT_HOUR_PACE, SHORT_DAY_PACE, SHORT_LEVEL_PACE, 1.0),
        };
        let of_hour = spot.clock.and_then(|at| self.of_hours.get_mut(at));
        let hour_pace = of_hour.map_or(0.0, |seen| pace(seen, newer, hour_pace));
        let of_day = self.of_days.get_mut(spot.weekday);
        let day_pace = of_day.map_or(0.0, |seen| pace(seen, newer, day_pace));
        // Together they take no more than the error.
        let part = 1.0 / (hour_pace + day_pace + level_pace).max(1.0);
        self.level += part * level_pace * error;
        if let Some(own) = spot.clock.and_then(|at| self.hours.get_mut(at)) {
            *own += narrow(part * hour_pace * error);
        }
        if let Some(own) = self.days.get_mut(spot.weekday) {
            *own += narrow(part * day_pace * error);
        }
    }
}

/// What is remembered of one hour, or day of the week, once so much has taught it.
fn part((parts, seen): (&[f32], &[u8]), at: usize, least: u8) -> Option<f64> {
    let known = parts.get(at).filter(|_| seen.get(at).is_some_and(|seen| *seen >= least));
    known.copied().map(f64::from)
}

/// One more was seen: the weight of its error, where each counts `newer` times as much as in a mean.
fn pace(seen: &mut u8, newer: f64, least: f64) -> f64 {
    *seen = seen.saturating_add(1);
    least.max(newer / (f64::from(*seen) + newer - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(hour: usize) -> Spot {
        Spot { clock: Some(hour % 24), weekday: hour / 24 % WEEKDAYS }
    }

    /// A level, and parts of hours and of days.
    fn usual(hour: usize) -> f64 {
        let Spot { clock, weekday } = spot(hour);
        5.0 + 0.1 * clock.map_or(0.0, |own| own as f64) - if weekday > 4 { 1.0 } else { 0.0 }
    }

    #[test]
    fn what_adds_up_of_hours_and_days_is_known_after_weeks() {
        let mut profile = Profile::new();
        assert_eq!(profile.guess(spot(0)), None);
        for hour in 0..28 * 24 {
            // Off by up to half a unit, which evens out.
            let off = (hour * 37 % 11) as f64 / 10.0 - 0.5;
            profile.learn(spot(hour), usual(hour) + off, Law::Hours);
        }
        for hour in 0..7 * 24 {
            let guess = profile.guess(spot(hour)).unwrap();
            assert!((guess - usual(hour)).abs() < 0.3, "{hour}: {guess} and not {}", usual(hour));
        }
    }

    #[test]
    fn a_day_of_the_week_that_was_never_seen_is_not_guessed() {
        let mut profile = Profile::new();
        let day = |weekday| Spot { clock: None, weekday };
        (0..10).for_each(|_| profile.learn(day(3), 7.0, Law::Days));
        assert_eq!((profile.guess(day(2)), profile.guess(day(3))), (None, Some(7.0)));
    }
}
