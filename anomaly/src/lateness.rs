//! How late a series is: how long after its end a bucket is waited for, learned from when buckets became whole.
//!
//! # Guarantees
//! - Only what arrives as it happens teaches, and what came two days late or later does not.
//! - Nothing too low is known before [`COMPLETE`] buckets have become whole.
//!
//! # Non-guarantees
//! - One bucket in a hundred may be later.

use schemas::{Grain, Micros};
use serde::{Deserialize, Serialize};

use crate::number::narrow;

const HOUR_US: i64 = 3_600_000_000;
/// How long after its end a bucket is waited for.
pub(crate) const LATENESS: i64 = 30_000_000;
/// How late something may be, in hours: the steps.
const STEPS: [u8; 26] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 24, 27, 30, 33, 36, 40, 44, 48];
/// The share of buckets that may be later.
const LATER: f32 = 0.01;
/// Days of which buckets are remembered.
const DAYS: f32 = 28.0;
/// Buckets that must have become whole before one is known to be too low.
const COMPLETE: f32 = 2.5;
/// The same of hours of a series that is late: how late goes with the hour of the day.
const COMPLETE_LATE: f32 = 24.0;
/// A bucket becomes whole when it grows by more than this share of itself.
const GROWS: f64 = 0.1;

/// Until when hours are whole at `clock`: what ended by then was waited for.
pub fn whole_until(clock: Micros) -> Micros {
    Grain::Hour.start(clock.plus(-LATENESS))
}

/// A bucket that ended, and may be added to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Ended {
    number: i32,
    value: f32,
    /// At which step it became whole; `None` while it is nothing.
    step: Option<u8>,
}

/// When buckets of a series became whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Lateness {
    /// The newest buckets that ended, ascending.
    ended: Vec<Ended>,
    /// How many became whole at each step.
    whole: [f32; STEPS.len()],
    /// Whether any bucket has ended in its time.
    has_begun: bool,
    /// The step in force.
    step: u8,
}

fn hours(step: u8) -> i64 {
    STEPS.get(usize::from(step)).copied().map_or(48, i64::from)
}

/// The buckets of two days.
fn kept(grain: Grain) -> i32 {
    if grain == Grain::Hour { 48 } else { 3 }
}

impl Lateness {
    /// Bytes that it takes at most beside itself.
    #[cfg(test)]
    pub(crate) const MOST: usize = 64 * size_of::<Ended>();

    /// How long after its end a bucket is waited for, in microseconds.
    pub(crate) fn wait(&self) -> i64 {
        hours(self.step) * HOUR_US
    }

    /// Whether enough is known to call a bucket too low.
    pub(crate) fn is_known(&self, grain: Grain) -> bool {
        let needed = if self.step > 0 && grain == Grain::Hour { COMPLETE_LATE } else { COMPLETE };
        self.whole.iter().sum::<f32>() >= needed
    }

    /// A bucket has ended and is `value` now. Whether more is waited for from now on than before.
    pub(crate) fn end(&mut self, grain: Grain, number: i64, value: f64) -> bool {
        let each = if grain == Grain::Hour { DAYS * 24.0 } else { DAYS };
        self.whole.iter_mut().for_each(|count| *count *= 1.0 - 1.0 / each);
        self.has_begun = true;
        let number = short(number);
        self.ended.retain(|own| own.number > number - kept(grain) && own.number != number);
        let step = (value.abs() > 0.0).then_some(0);
        self.ended.push(Ended { number, value: narrow(value), step });
        self.count(step, 1.0);
        let before = self.step;
        self.step = self.in_force();
        self.step > before
    }

    /// An update of a bucket that has ended so long ago.
    pub(crate) fn arrives(&self, number: i64, value: f64, after: i64) -> bool {
        let number = short(number);
        let known = self.ended.iter().find(|own| own.number == number);
        let grows = |own: &Ended| {
            let before = f64::from(own.value);
            value.abs() > before.abs() && (value - before).abs() > GROWS * value.abs()
        };
        step_of(after).is_some() && known.map_or(!self.has_begun, grows)
    }

    /// Notes it, [`Lateness::arrives`] having said that it says something.
    pub(crate) fn note(&mut self, number: i64, value: f64, after: i64) {
        let Some(step) = step_of(after) else { return };
        self.count(Some(step), 1.0);
        let number = short(number);
        let ended = Ended { number, value: narrow(value), step: Some(step) };
        match self.ended.iter_mut().find(|own| own.number == number) {
            Some(own) => {
                let before = std::mem::replace(own, ended).step;
                self.count(before, -1.0);
            }
            None => self.ended.push(ended),
        }
    }

    fn count(&mut self, step: Option<u8>, more: f32) {
        let held = step.and_then(|step| self.whole.get_mut(usize::from(step)));
        held.into_iter().for_each(|count| *count = (*count + more).max(0.0));
    }

    /// The first step after which few enough became whole.
    fn in_force(&self) -> u8 {
        let mut left = LATER * self.whole.iter().sum::<f32>();
        let mut step = STEPS.len() - 1;
        while step > 0 {
            left -= self.whole.get(step).copied().unwrap_or(0.0);
            if left < 0.0 {
                break;
            }
            step -= 1;
        }
        u8::try_from(step).unwrap_or(0)
    }
}

/// The step of what came so long after the end; none when it is too late to be lateness.
fn step_of(after: i64) -> Option<u8> {
    let step = STEPS.iter().position(|hours| i64::from(*hours) * HOUR_US >= after)?;
    u8::try_from(step).ok()
}

/// The number of an hour or a day, which is far from the end of its type.
fn short(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_time_is_not_waited_for() {
        let mut late = Lateness::default();
        assert!(!late.is_known(Grain::Hour) && late.wait() == 0);
        for hour in 0..100 {
            assert!(!late.end(Grain::Hour, hour, 10.0));
            // A correction of a few per cent, and one that takes away, are no lateness.
            assert!(!late.arrives(hour, 10.5, HOUR_US) && !late.arrives(hour, 5.0, HOUR_US));
        }
        assert!(late.is_known(Grain::Hour) && late.wait() == 0);
    }

    #[test]
    fn what_comes_late_is_waited_for_until_it_comes_in_time_again() {
        let mut late = Lateness::default();
        let mut grew = 0;
        for hour in 0..200_i64 {
            grew += u8::from(late.end(Grain::Hour, hour, 0.0));
            let of = hour - 5;
            if of >= 0 {
                assert!(late.arrives(of, 10.0, 5 * HOUR_US + HOUR_US / 2));
                late.note(of, 10.0, 5 * HOUR_US + HOUR_US / 2);
                assert!(!late.arrives(of, 10.2, 6 * HOUR_US));
            }
        }
        assert_eq!((grew, late.wait()), (1, 6 * HOUR_US));
        for hour in 200..5_000 {
            assert!(!late.end(Grain::Hour, hour, 10.0));
        }
        assert_eq!(late.wait(), 0);
    }

    #[test]
    fn nights_without_anything_say_nothing() {
        let mut late = Lateness::default();
        (0..50).for_each(|hour| assert!(!late.end(Grain::Hour, hour, 0.0)));
        assert!(!late.is_known(Grain::Hour));
        // Nor does what is older than two days.
        assert!(!late.arrives(49, 10.0, 49 * HOUR_US) && late.arrives(49, 10.0, 48 * HOUR_US));
    }
}
