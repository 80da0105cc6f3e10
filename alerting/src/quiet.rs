//! Quiet hours of a route: when notices wait, until when, and which of them are not needed any more.
//!
//! # Guarantees
//! - Quiet hours are those that the clocks of their zone show: from the first instant at which they show `from` or
//!   later on that day, to the first at which they show `to` or later. Spans that touch are one.
//! - What opened and ended while it waited is not told, nor is its end. What was told before ends as it would.
//! - Nothing is decided by when somebody looks: what waits is judged when it is due, or when its alert ends.

use schemas::zone::Zone;
use schemas::{Micros, Severity};
use serde::Deserialize;

use crate::notice::Kind;
use crate::times;

/// As many spans that touch are followed: a week of whole days, and one more.
const SPANS_MAX: usize = 8;

/// `quiet` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietSettings {
    /// When they begin, as `22:00`.
    pub from: String,
    /// When they end; on the next day where that is not after `from`.
    pub to: String,
    /// Whose clocks, as `Europe/Berlin`; UTC unless given.
    #[serde(default)]
    pub zone: Option<String>,
    /// The days on which they begin; every day unless given.
    #[serde(default)]
    pub days: Vec<Weekday>,
    /// What does not wait.
    #[serde(default)]
    pub except: Vec<Severity>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    /// Monday.
    #[serde(alias = "monday")]
    Mon,
    /// Tuesday.
    #[serde(alias = "tuesday")]
    Tue,
    /// Wednesday.
    #[serde(alias = "wednesday")]
    Wed,
    /// Thursday.
    #[serde(alias = "thursday")]
    Thu,
    /// Friday.
    #[serde(alias = "friday")]
    Fri,
    /// Saturday.
    #[serde(alias = "saturday")]
    Sat,
    /// Sunday.
    #[serde(alias = "sunday")]
    Sun,
}

impl Weekday {
    const ALL: [Weekday; 7] = [
        Weekday::Mon,
        Weekday::Tue,
        Weekday::Wed,
        Weekday::Thu,
        Weekday::Fri,
        Weekday::Sat,
        Weekday::Sun,
    ];

    /// Of a day counted from 1970-01-01, which was a Thursday.
    fn of(day: i64) -> Weekday {
        let place = usize::try_from((day + 3).rem_euclid(7)).unwrap_or_default();
        Weekday::ALL[place % 7]
    }
}

/// Quiet hours.
#[derive(Debug, Clone)]
pub(crate) struct Quiet {
    /// Microseconds from midnight.
    from: i64,
    to: i64,
    zone: Zone,
    days: Vec<Weekday>,
    except: Vec<Severity>,
}

impl Quiet {
    /// Quiet hours by their settings.
    ///
    /// # Errors
    /// When these are none; the text names the setting.
    pub(crate) fn read(settings: &QuietSettings) -> Result<Quiet, String> {
        let quiet = Quiet {
            from: times::of_day("quiet.from", &settings.from)?,
            to: times::of_day("quiet.to", &settings.to)?,
            zone: times::zone("quiet.zone", settings.zone.as_deref())?,
            days: settings.days.clone(),
            except: settings.except.clone(),
        };
        let is_every_day = Weekday::ALL.iter().all(|day| quiet.is_on(*day));
        let is_whole = quiet.from == quiet.to || quiet.to - quiet.from >= times::DAY_US;
        match is_every_day && is_whole {
            true => Err("quiet: these hours never end; name `days`, or another `to`".to_owned()),
            false => Ok(quiet),
        }
    }

    fn is_on(&self, day: Weekday) -> bool {
        self.days.is_empty() || self.days.contains(&day)
    }

    /// Until when what matters so much waits at an instant, if it does.
    pub(crate) fn holds(&self, severity: Severity, at: Micros) -> Option<Micros> {
        match self.except.contains(&severity) {
            true => None,
            false => self.until(at),
        }
    }

    /// When the quiet hours end in which an instant is.
    fn until(&self, at: Micros) -> Option<Micros> {
        let mut end = self.end_of(at)?;
        for _ in 0..SPANS_MAX {
            match self.end_of(end) {
                Some(later) => end = later,
                None => break,
            }
        }
        Some(end)
    }

    /// The end of the span that an instant is in: one that began on its day, or on the day before.
    fn end_of(&self, at: Micros) -> Option<Micros> {
        let today = self.zone.day(at);
        let spans = [today - 1, today].into_iter().filter(|day| self.is_on(Weekday::of(*day)));
        let spans = spans.map(|day| {
            let last = if self.to > self.from { day } else { day + 1 };
            (self.zone.when(day, self.from), self.zone.when(last, self.to))
        });
        spans.filter(|(from, to)| *from <= at && at < *to).map(|(_, to)| to).max()
    }
}

/// A delivery of one alert to one route that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) number: i64,
    pub(crate) kind: Kind,
    /// It was put off, and was never tried.
    pub(crate) is_held: bool,
}

/// Those of an alert's deliveries to a route that need not be sent, of all that wait, in their order: what was put
/// off and is over, and the end of what nobody heard of.
pub(crate) fn moot(waits: &[Waits]) -> Vec<i64> {
    let mut moot = Vec::new();
    let mut held: Vec<&Waits> = Vec::new();
    for own in waits {
        if !own.kind.is_last() {
            if own.is_held {
                held.push(own);
            }
            continue;
        }
        let is_unheard = held.iter().any(|own| own.kind == Kind::Opened);
        moot.extend(held.drain(..).map(|own| own.number));
        if is_unheard {
            moot.push(own.number);
        }
    }
    moot
}

#[cfg(test)]
mod tests;
