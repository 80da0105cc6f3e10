//! Sentences of alerts.
//!
//! # Guarantees
//! - One sentence of plain words, with the figures of the alert, the unit and the period.

use std::collections::BTreeMap;

use schemas::{Against, CellKey, Grain, KpiInfo, Micros, Periods, Unit};

use crate::number::grouped;
use crate::policy::Why;
use crate::rules::{Finding, Kind};

const DAY_US: i64 = 86_400_000_000;
const WEEKDAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const HUNDRED: i128 = 100;

/// Why an alert is open.
pub(crate) fn reason(
    kpi: &KpiInfo,
    key: &CellKey,
    periods: &Periods,
    found: &Finding,
    against: Option<Against>,
) -> String {
    let subject = subject(kpi, key);
    let when = period(periods, key.grain, key.period_start);
    let amount = |value: Option<i128>| amount(kpi.unit, value.unwrap_or(0), found.expected);
    let normal = match (found.lower, found.upper) {
        (Some(_), Some(_)) if against.is_none() => {
            format!(" (normally {} to {})", amount(found.lower), amount(found.upper))
        }
        _ => String::new(),
    };
    if found.kind == Kind::Missing {
        let expected = amount(found.expected);
        return format!(
            "Nothing arrived for {subject} {at}: about {expected} was expected{normal}",
            at = at(key.grain, &when),
        );
    }
    let side = if found.deviation < 0.0 { "below" } else { "above" };
    let (yardstick, about) = match against {
        None => ("expected", "about "),
        Some(Against::WeekBefore) => ("the week before", ""),
        Some(Against::DayBefore) => ("the day before", ""),
        Some(Against::Budget) => ("the budget", ""),
    };
    let far = match kpi.unit {
        Unit::Ratio => format!("{:.1} percentage points", found.deviation.abs() * 100.0),
        Unit::Currency | Unit::Count | Unit::Duration | Unit::Score => {
            format!("{:.0} %", found.deviation.abs() * 100.0)
        }
    };
    let (value, expected) = (amount(found.value), amount(found.expected));
    format!(
        "{subject} {is} {far} {side} {yardstick} for {when}: {value} instead of {about}{expected}{normal}",
        is = verb(&kpi.title),
    )
}

/// Why an alert was resolved; `value` is what the bucket says now.
pub(crate) fn resolution(
    kpi: &KpiInfo,
    (periods, grain): (&Periods, Grain),
    why: Why,
    value: Option<i128>,
) -> String {
    let period = |grain, bucket| period(periods, grain, bucket);
    let now = value.map_or("no value".to_owned(), |value| amount(kpi.unit, value, None));
    match why {
        Why::Returned(bucket) => {
            format!("{} closed within the expected range, at {now}", period(grain, bucket))
        }
        Why::Corrected(bucket) => {
            format!("a correction brought the value of {} back to {now}", period(grain, bucket))
        }
        Why::Removed(bucket) => format!(
            "a correction left {} with nothing to judge it by, at {now}",
            period(grain, bucket)
        ),
        Why::Unjudged => "too little has arrived since then to judge the series".to_owned(),
    }
}

/// "is", or "are" after a title such as "Orders".
fn verb(title: &str) -> &'static str {
    let is_plural = title.ends_with('s') && !title.ends_with("ss");
    if is_plural { "are" } else { "is" }
}

/// When something did not arrive.
fn at(grain: Grain, period: &str) -> String {
    match grain {
        Grain::Hour => format!("in the hour from {period}"),
        _ => format!("on {period}"),
    }
}

/// "Total cost of tenant-03 (USD)".
fn subject(kpi: &KpiInfo, key: &CellKey) -> String {
    let dims = dims(&key.dims);
    let parts: Vec<String> = dims
        .iter()
        .map(|(name, value)| match &**name {
            "currency" => value.clone(),
            // "service ai-api" for a column `service_name`.
            _ => format!("{} {value}", name.trim_end_matches("_name").replace('_', " ")),
        })
        .collect();
    let of = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("{} of {}{of}", kpi.title, key.tenant)
}

/// The dimensions of canonical JSON; none of text that is not.
pub(crate) fn dims(json: &str) -> BTreeMap<String, String> {
    let parsed: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(json).unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    parsed.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// "Friday 2026-11-20 14:00 UTC", "Friday 2026-11-20": days are those of the tenant's zone.
fn period(periods: &Periods, grain: Grain, start: Micros) -> String {
    let number = if grain == Grain::Hour { start.day() } else { periods.day(start) };
    let day = usize::try_from(number.rem_euclid(7)).unwrap_or(0);
    let weekday = WEEKDAYS.get(day).copied().unwrap_or_default();
    let date = Micros::midnight(number).date();
    match grain {
        Grain::Hour => {
            let hour = start.0.rem_euclid(DAY_US) / (DAY_US / 24);
            format!("{weekday} {date} {hour:02}:00 UTC")
        }
        Grain::Day => format!("{weekday} {date}"),
        _ => date,
    }
}

/// An amount with the digits that matter: whole things are counted, unless few are expected.
fn amount(unit: Unit, value: i128, beside: Option<i128>) -> String {
    const FEW: i128 = 100 * 10_000_000_000;
    match unit {
        Unit::Currency => grouped(value, 2),
        Unit::Duration => format!("{} s", grouped(value, 1)),
        Unit::Score => grouped(value, 2),
        Unit::Ratio => format!("{} %", grouped(value.saturating_mul(HUNDRED), 1)),
        Unit::Count => {
            let few = beside.is_some_and(|beside| beside.abs() < FEW);
            let whole = value % 10_000_000_000 == 0;
            grouped(value, u32::from(few && !whole))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_name_their_weekday() {
        let at = Micros::parse("2026-11-20T14:00:00Z").unwrap();
        let utc = schemas::Calendar::default();
        let period = |grain, at| period(utc.of("t"), grain, at);
        assert_eq!(period(Grain::Hour, at), "Friday 2026-11-20 14:00 UTC");
        assert_eq!(period(Grain::Day, Grain::Day.start(at)), "Friday 2026-11-20");
    }

    #[test]
    fn titles_have_their_verb() {
        let verbs = ["Orders", "Total cost", "Gross loss"].map(verb);
        assert_eq!(verbs, ["are", "is", "is"]);
        assert_eq!(at(Grain::Day, "Friday 2026-11-20"), "on Friday 2026-11-20");
    }

    #[test]
    fn amounts_have_the_digits_that_matter() {
        let one = 10_000_000_000;
        assert_eq!(amount(Unit::Count, 12 * one, Some(93 * one / 10)), "12");
        assert_eq!(amount(Unit::Count, 93 * one / 10, Some(93 * one / 10)), "9.3");
        assert_eq!(amount(Unit::Count, 1_234 * one + one / 2, None), "1,235");
        assert_eq!(amount(Unit::Ratio, one / 8, None), "12.5 %");
        assert_eq!(amount(Unit::Duration, one * 7 / 4, None), "1.8 s");
        assert_eq!(amount(Unit::Score, one * 19 / 20, None), "0.95");
    }
}
