//! Times of a day as routes name them: `22:00`, on the clocks of a zone.

use schemas::zone::Zone;

const MINUTE_US: i64 = 60 * 1_000_000;
/// A day of twenty-four hours.
pub(crate) const DAY_US: i64 = 24 * 60 * MINUTE_US;

/// Microseconds from midnight of a text such as `07:30`; `24:00` is the end of the day.
///
/// # Errors
/// When it is none; the text says how one is written.
pub(crate) fn of_day(key: &str, text: &str) -> Result<i64, String> {
    let wrong = || format!("{key}: `{text}` is no time of a day; write it as \"22:00\"");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| match digits.len() {
        2 => digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?,
        _ => None,
    };
    let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(wrong)?;
    match (hours, minutes) {
        (0..=23, 0..=59) | (24, 0) => Ok((hours * 60 + minutes) * MINUTE_US),
        _ => Err(wrong()),
    }
}

/// The zone with this name, or UTC.
///
/// # Errors
/// When there is none; the text has the nearest name.
pub(crate) fn zone(key: &str, name: Option<&str>) -> Result<Zone, String> {
    Zone::named(name.unwrap_or("UTC")).map_err(|why| format!("{key}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(of_day("x", "00:00"), Ok(0));
        assert_eq!(of_day("x", "07:30"), Ok(450 * MINUTE_US));
        assert_eq!(of_day("x", "24:00"), Ok(1_440 * MINUTE_US));
        for text in
            ["", "7", "7:30", "07:60", "24:01", "25:00", "-1:00", "+7:00", "07:30:00", "ab:cd"]
        {
            let refused = of_day("quiet.from", text).unwrap_err();
            assert!(refused.contains(text) && refused.contains("quiet.from"), "{refused}");
        }
    }
}
