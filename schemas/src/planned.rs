//! Planned time: what people have said will be otherwise, as days or instants that may come again.
//!
//! # Guarantees
//! - What is planned of a tenant is a sorted list of intervals that do not meet; whether a bucket is in one costs a
//!   binary search.
//! - Days are those of the tenant's zone, 23 and 25 hours long where its clocks change.
//!
//! # Non-guarantees
//! - What comes again without an end is known for a hundred years, and for [`TIMES_MAX`] times.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::civil;
use crate::time::Micros;

/// How often an event comes again at most.
pub const TIMES_MAX: usize = 5_000;
/// Days after which one without an end comes no more: a hundred years.
const ENDLESS_DAYS: i64 = 36_525;

const DAY_US: i64 = 86_400_000_000;

/// A point in time as people write it: a day, or an instant, of the tenant's clocks or of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The beginning of a day, counted from 1970-01-01.
    Day(i64),
    /// What the tenant's clocks show, in microseconds as if they were of UTC.
    Local(i64),
    /// An instant.
    Utc(i64),
}

impl Mark {
    /// The day of it.
    pub fn day(self) -> i64 {
        match self {
            Mark::Day(day) => day,
            Mark::Local(at) | Mark::Utc(at) => at.div_euclid(DAY_US),
        }
    }

    /// The same so many days later.
    fn moved(self, days: i64) -> Mark {
        match self {
            Mark::Day(day) => Mark::Day(day + days),
            Mark::Local(at) => Mark::Local(at + days * DAY_US),
            Mark::Utc(at) => Mark::Utc(at + days * DAY_US),
        }
    }
}

/// How often something comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// So many days.
    Days(i64),
    /// So many months, on the same day of the month, where the month has it.
    Months(i64),
}

/// That something comes again, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// How often.
    pub every: Every,
    /// How many times it is in all.
    pub count: Option<usize>,
    /// The last day on which it may begin.
    pub until: Option<i64>,
}

/// Something that is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What people call it.
    pub title: Arc<str>,
    /// When it begins.
    pub from: Mark,
    /// When it is over.
    pub to: Mark,
    /// Whether it comes again.
    pub again: Option<Again>,
    /// The days on which it does not begin.
    pub except: BTreeSet<i64>,
}

impl Event {
    /// How many days later it begins each time, the first time included.
    fn days(&self) -> Vec<i64> {
        let first = self.from.day();
        let Some(Again { every, count, until }) = self.again else { return vec![0] };
        let (year, month, of_month) = civil::date(first);
        let mut days = Vec::new();
        let until = until.or(count.is_none().then_some(first + ENDLESS_DAYS));
        let most = count.unwrap_or(TIMES_MAX).min(TIMES_MAX);
        // A month may lack the day: what is passed over is no time.
        for number in 0..most.saturating_mul(12) {
            let Ok(number) = i64::try_from(number) else { break };
            let day = match every {
                Every::Days(each) => Some(first + number * each),
                Every::Months(each) => {
                    let month = year * 12 + month - 1 + number * each;
                    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
                    let day = civil::day(year, month, of_month);
                    (civil::date(day).1 == month).then_some(day)
                }
            };
            let Some(day) = day else { continue };
            if days.len() >= most || until.is_some_and(|until| day > until) {
                break;
            }
            days.push(day - first);
        }
        days.retain(|days| !self.except.contains(&(first + days)));
        days
    }
}

/// The planned intervals of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planned(Vec<(Micros, Micros, Arc<str>)>);

impl Planned {
    /// Those of events, `instant` saying when a mark is.
    pub fn new(events: &[&Event], instant: impl Fn(Mark) -> Micros) -> Planned {
        let mut all: Vec<(Micros, Micros, Arc<str>)> = Vec::new();
        for event in events {
            let times = event.days().into_iter().map(|days| {
                let (from, to) = (event.from.moved(days), event.to.moved(days));
                (instant(from), instant(to), Arc::clone(&event.title))
            });
            all.extend(times.filter(|(from, to, _)| from < to));
        }
        all.sort();
        let mut joined: Vec<(Micros, Micros, Arc<str>)> = Vec::new();
        for (from, to, title) in all {
            match joined.last_mut() {
                Some((_, end, _)) if from < *end => *end = to.max(*end),
                _ => joined.push((from, to, title)),
            }
        }
        Planned(joined)
    }

    /// What is planned for some of the time from `from` to `to`.
    pub fn title(&self, from: Micros, to: Micros) -> Option<&Arc<str>> {
        let next = self.0.partition_point(|(_, end, _)| *end <= from);
        self.0.get(next).filter(|(start, ..)| *start < to).map(|(.., title)| title)
    }

    /// The intervals, ascending.
    pub fn intervals(&self) -> &[(Micros, Micros, Arc<str>)] {
        &self.0
    }

    /// Whether nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(mark: Mark) -> Micros {
        match mark {
            Mark::Day(day) => Micros::midnight(day),
            Mark::Local(at) | Mark::Utc(at) => Micros(at),
        }
    }

    fn event(from: (i64, i64, i64), again: Option<Again>) -> Event {
        let from = civil::day(from.0, from.1, from.2);
        let (from, to) = (Mark::Day(from), Mark::Day(from + 1));
        Event { title: "t".into(), from, to, again, except: BTreeSet::new() }
    }

    fn starts(event: &Event) -> Vec<String> {
        let planned = Planned::new(&[event], utc);
        planned.intervals().iter().map(|(from, ..)| from.date()).collect()
    }

    fn again(every: Every, count: Option<usize>, until: Option<i64>) -> Option<Again> {
        Some(Again { every, count, until })
    }

    #[test]
    fn what_comes_again_comes_on_its_day() {
        let yearly = event((2024, 2, 29), again(Every::Months(12), Some(3), None));
        assert_eq!(starts(&yearly), ["2024-02-29", "2028-02-29", "2032-02-29"]);
        let monthly = event((2026, 1, 31), again(Every::Months(1), Some(3), None));
        assert_eq!(starts(&monthly), ["2026-01-31", "2026-03-31", "2026-05-31"]);
        let until = civil::day(2026, 1, 30);
        let mut weekly = event((2026, 1, 2), again(Every::Days(14), None, Some(until)));
        assert_eq!(starts(&weekly), ["2026-01-02", "2026-01-16", "2026-01-30"]);
        weekly.except.insert(civil::day(2026, 1, 16));
        assert_eq!(starts(&weekly), ["2026-01-02", "2026-01-30"]);
        let endless = event((2026, 12, 25), again(Every::Months(12), None, None));
        assert_eq!(starts(&endless).len(), 101);
    }

    #[test]
    fn a_bucket_that_it_touches_is_planned() {
        let one = event((2026, 12, 24), None);
        let two = Event { title: "u".into(), ..event((2026, 12, 24), None) };
        let planned = Planned::new(&[&one, &two], utc);
        assert_eq!(planned.intervals().len(), 1, "what is planned twice is planned once");
        let day = Micros::parse("2026-12-24").unwrap();
        let hour = |number: i64| day.plus(number * DAY_US / 24);
        let at = |from: i64, to: i64| planned.title(hour(from), hour(to)).map(|own| &**own);
        assert_eq!([at(-1, 0), at(24, 25)], [None, None]);
        assert_eq!([at(0, 1), at(23, 24), at(-24, 1), at(-5, 50)], [Some("t"); 4]);
    }
}
