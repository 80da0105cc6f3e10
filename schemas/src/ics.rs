//! iCalendar files (RFC 5545), as far as holidays need them: events with a beginning, an end, a title, and how they
//! come again.
//!
//! # Guarantees
//! - Of `VEVENT` the properties DTSTART, DTEND, DURATION in days, SUMMARY, RRULE (yearly, monthly, weekly, daily, with
//!   INTERVAL, COUNT and UNTIL) and EXDATE are read. What says when something is and is not understood is refused
//!   with its line; what else there is, is passed over.
//!
//! # Non-guarantees
//! - Times with a TZID are taken for those of the tenant's clocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::civil;
use crate::planned::{Again, Event, Every, Mark};

const DAY_US: i64 = 86_400_000_000;
const SECOND_US: i64 = 1_000_000;
/// What may stand in a rule; of these the parts that say on which days must agree with the beginning.
const PARTS: [&str; 5] = ["FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"];

/// A line that has been put together: where it began, and its text.
type Line = (usize, String);

/// The events of a file, in its order.
///
/// # Errors
/// When the file is no calendar, or says when something is in a way that is not understood; the text names the line.
pub fn parse(text: &str) -> Result<Vec<Event>, String> {
    let lines = unfolded(text);
    let is = |line: &Line, what: &str| line.1.eq_ignore_ascii_case(what);
    if !lines.first().is_some_and(|line| is(line, "BEGIN:VCALENDAR")) {
        return Err("line 1: is no `BEGIN:VCALENDAR`; the file must be an iCalendar file".into());
    }
    let mut events = Vec::new();
    let mut open: Option<Draft> = None;
    // Components within an event, such as alarms.
    let mut inner = 0_usize;
    for line in &lines {
        if is(line, "BEGIN:VEVENT") {
            open = Some(Draft::default());
        } else if is(line, "END:VEVENT") {
            let draft =
                open.take().ok_or_else(|| at(line.0, "ends an event that has not begun"))?;
            events.extend(draft.event(line.0)?);
        } else if let Some(draft) = &mut open {
            let upper = line.1.to_ascii_uppercase();
            if upper.starts_with("BEGIN:") {
                inner += 1;
            } else if upper.starts_with("END:") {
                inner = inner.saturating_sub(1);
            } else if inner == 0 {
                draft.take(line)?;
            }
        }
    }
    match open {
        Some(_) => Err("the last event has no `END:VEVENT`".into()),
        None => Ok(events),
    }
}

fn at(line: usize, problem: impl AsRef<str>) -> String {
    format!("line {line}: {}", problem.as_ref())
}

/// Lines, those that begin with a blank being put to the end of the one before.
fn unfolded(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_end_matches('\r');
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, before))) => before.push_str(rest),
            _ if line.is_empty() => {}
            _ => lines.push((number + 1, line.to_owned())),
        }
    }
    lines
}

/// An event that is being read.
#[derive(Default)]
struct Draft {
    title: Option<Arc<str>>,
    from: Option<Mark>,
    to: Option<Mark>,
    days: Option<i64>,
    again: Option<(usize, String)>,
    except: BTreeSet<i64>,
    is_cancelled: bool,
}

impl Draft {
    fn take(&mut self, (number, line): &Line) -> Result<(), String> {
        let Some((name, value)) = line.split_once(':') else { return Ok(()) };
        let name = name.split(';').next().unwrap_or_default().to_ascii_uppercase();
        let mark =
            |value: &str| mark(value).map_err(|problem| at(*number, format!("{name}: {problem}")));
        match name.as_str() {
            "SUMMARY" => self.title = Some(unescaped(value).into()),
            "DTSTART" => self.from = Some(mark(value)?),
            "DTEND" => self.to = Some(mark(value)?),
            "DURATION" => self.days = Some(days(value).map_err(|problem| at(*number, problem))?),
            "RRULE" => self.again = Some((*number, value.to_owned())),
            "EXDATE" => {
                for value in value.split(',') {
                    self.except.insert(mark(value)?.day());
                }
            }
            "STATUS" => self.is_cancelled = value.eq_ignore_ascii_case("CANCELLED"),
            "RDATE" | "RECURRENCE-ID" | "EXRULE" => {
                let problem =
                    format!("{name} is not understood; write each time as an event of its own");
                return Err(at(*number, problem));
            }
            _ => {}
        }
        Ok(())
    }

    /// The event, if it is to take place; `line` is where it ends.
    fn event(self, line: usize) -> Result<Option<Event>, String> {
        if self.is_cancelled {
            return Ok(None);
        }
        let from = self.from.ok_or_else(|| at(line, "the event has no DTSTART"))?;
        let to = match (self.to, self.days, from) {
            (Some(to), ..) => to,
            (None, Some(days), Mark::Day(day)) => Mark::Day(day + days),
            (None, Some(days), Mark::Local(at)) => Mark::Local(at + days * DAY_US),
            (None, Some(days), Mark::Utc(at)) => Mark::Utc(at + days * DAY_US),
            (None, None, Mark::Day(day)) => Mark::Day(day + 1),
            (None, None, _) => return Err(at(line, "the event has no DTEND")),
        };
        let again = self.again.map(|(line, rule)| again(&rule, from).map_err(|own| at(line, own)));
        let title =
            self.title.filter(|title| !title.is_empty()).unwrap_or_else(|| "planned".into());
        Ok(Some(Event { title, from, to, again: again.transpose()?, except: self.except }))
    }
}

/// `Christmas\, and after`.
fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n' | 'N') => text.push(' '),
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    text.trim().to_owned()
}

/// The point in time of `20261224`, `20261224T180000`, or the latter with `Z`.
///
/// # Errors
/// When it is none; the text says how to write one.
pub fn mark(value: &str) -> Result<Mark, String> {
    let wrong =
        || format!("`{value}` is no date or time; write it as 20261224 or 20261224T180000Z");
    let value = value.trim();
    let number = |from: usize, to: usize| -> Result<i64, String> {
        let digits =
            value.get(from..to).filter(|own| own.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|own| own.parse().ok()).ok_or_else(wrong)
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let days = civil::day(year, month, day);
    if !(1..=12).contains(&month) || civil::date(days) != (year, month, day) {
        return Err(wrong());
    }
    if value.len() == 8 {
        return Ok(Mark::Day(days));
    }
    if value.get(8..9) != Some("T") {
        return Err(wrong());
    }
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if hour > 23 || minute > 59 || second > 60 {
        return Err(wrong());
    }
    let at = days * DAY_US + (hour * 3_600 + minute * 60 + second) * SECOND_US;
    match value.get(15..) {
        Some("") => Ok(Mark::Local(at)),
        Some("Z") => Ok(Mark::Utc(at)),
        _ => Err(wrong()),
    }
}

/// `P2D` or `P1W`.
fn days(value: &str) -> Result<i64, String> {
    let wrong =
        || format!("DURATION: `{value}` is not in whole days or weeks; write DTEND instead");
    let number = value.trim().strip_prefix('P').ok_or_else(wrong)?;
    let (number, factor) = match number.strip_suffix('W') {
        Some(number) => (number, 7),
        None => (number.strip_suffix('D').ok_or_else(wrong)?, 1),
    };
    let number: u16 = number.parse().map_err(|_| wrong())?;
    Ok(i64::from(number) * factor)
}

/// `FREQ=YEARLY;COUNT=3`.
fn again(rule: &str, from: Mark) -> Result<Again, String> {
    let mut named: Vec<(String, &str)> = Vec::new();
    for part in rule.split(';').filter(|part| !part.is_empty()) {
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("RRULE: `{part}` is no part of a rule"))?;
        named.push((name.trim().to_ascii_uppercase(), value.trim()));
    }
    let find = |name: &str| named.iter().find(|(own, _)| own == name).map(|(_, value)| *value);
    let interval = match find("INTERVAL") {
        None => 1,
        Some(value) => value
            .parse::<u16>()
            .ok()
            .filter(|own| *own > 0)
            .map(i64::from)
            .ok_or_else(|| format!("RRULE: INTERVAL: `{value}` is no number above 0"))?,
    };
    let frequency = find("FREQ").unwrap_or_default().to_ascii_uppercase();
    let every = match frequency.as_str() {
        "YEARLY" => Every::Months(12 * interval),
        "MONTHLY" => Every::Months(interval),
        "WEEKLY" => Every::Days(7 * interval),
        "DAILY" => Every::Days(interval),
        other => {
            return Err(format!(
                "RRULE: FREQ `{other}` is not understood; use YEARLY, MONTHLY, WEEKLY or DAILY"
            ));
        }
    };
    for (name, value) in &named {
        if !PARTS.contains(&name.as_str()) && !says_the_same(name, value, from.day()) {
            return Err(format!(
                "RRULE: {name}={value} is not understood; write each time as an event of its own"
            ));
        }
    }
    let count = match find("COUNT") {
        None => None,
        Some(value) => {
            let wrong = || format!("RRULE: COUNT: `{value}` is no number above 0");
            Some(value.parse().ok().filter(|own: &usize| *own > 0).ok_or_else(wrong)?)
        }
    };
    let until =
        find("UNTIL").map(mark).transpose().map_err(|own| format!("RRULE: UNTIL: {own}"))?;
    Ok(Again { every, count, until: until.map(Mark::day) })
}

/// Whether a part says what the beginning says anyway: `BYMONTH=12;BYMONTHDAY=25` of the 25th of December.
fn says_the_same(name: &str, value: &str, day: i64) -> bool {
    const DAYS: [&str; 7] = ["TH", "FR", "SA", "SU", "MO", "TU", "WE"];
    let (_, month, of_month) = civil::date(day);
    match name {
        "BYMONTH" => value.parse() == Ok(month),
        "BYMONTHDAY" => value.parse() == Ok(of_month),
        "BYDAY" => {
            let weekday = usize::try_from(day.rem_euclid(7)).ok().and_then(|own| DAYS.get(own));
            weekday.is_some_and(|own| *own == value)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLIDAYS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nTZID:x\r\nEND:VTIMEZONE\r\n\
        BEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227\r\n\
        SUMMARY;LANGUAGE=en:Christmas\\, both\r\n  days\r\nRRULE:FREQ=YEARLY;COUNT=3;BYMONTH=12\r\n\
        EXDATE;VALUE=DATE:20271225\r\nBEGIN:VALARM\r\nTRIGGER:-P1D\r\nSUMMARY:alarm\r\nEND:VALARM\r\nEND:VEVENT\r\n\
        BEGIN:VEVENT\r\nDTSTART:20270102T180000Z\r\nDTEND:20270102T200000Z\r\nEND:VEVENT\r\n\
        BEGIN:VEVENT\r\nDTSTART:20270105\r\nSTATUS:CANCELLED\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

    #[test]
    fn holidays_are_read() {
        let events = parse(HOLIDAYS).unwrap();
        assert_eq!(events.len(), 2);
        let day = civil::day(2026, 12, 25);
        let again = Again { every: Every::Months(12), count: Some(3), until: None };
        let christmas = Event {
            title: "Christmas, both days".into(),
            from: Mark::Day(day),
            to: Mark::Day(day + 2),
            again: Some(again),
            except: [civil::day(2027, 12, 25)].into(),
        };
        assert_eq!(events[0], christmas);
        let hour =
            |hour: i64| Mark::Utc(civil::day(2027, 1, 2) * DAY_US + hour * 3_600 * SECOND_US);
        assert_eq!((events[1].from, events[1].to), (hour(18), hour(20)));
        assert_eq!(&*events[1].title, "planned");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        let with = |line: &str| {
            format!(
                "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\n{line}\nEND:VEVENT\nEND:VCALENDAR\n"
            )
        };
        for (text, says) in [
            ("BEGIN:VEVENT\n".to_owned(), "line 1: is no `BEGIN:VCALENDAR`"),
            (with("DTEND:2026-12-26"), "line 4: DTEND: `2026-12-26` is no date"),
            (with("DTEND:20260230"), "`20260230` is no date"),
            (with("DURATION:PT1H"), "line 4: DURATION: `PT1H` is not in whole days"),
            (with("RRULE:FREQ=HOURLY"), "line 4: RRULE: FREQ `HOURLY` is not understood"),
            (with("RRULE:FREQ=MONTHLY;BYDAY=2MO"), "RRULE: BYDAY=2MO is not understood"),
            (with("RRULE:FREQ=YEARLY;COUNT=0"), "COUNT: `0`"),
            (with("RRULE:FREQ=YEARLY;INTERVAL=x"), "INTERVAL: `x`"),
            (with("RDATE:20261226"), "line 4: RDATE is not understood"),
            ("BEGIN:VCALENDAR\nBEGIN:VEVENT\n".to_owned(), "no `END:VEVENT`"),
            (
                "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n".to_owned(),
                "line 4: the event has no DTSTART",
            ),
        ] {
            let refused = parse(&text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
        assert!(parse(&with("RRULE:FREQ=WEEKLY;BYDAY=FR;WKST=MO;UNTIL=20270101T000000Z")).is_ok());
    }
}
