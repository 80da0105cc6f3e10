//! Numbers and instants as text, appended to a buffer without allocation.

use super::world::{DAY, HOUR, MINUTE, SECOND};

/// A growing text with the one thing worth remembering: the date written last.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    day: i64,
    date: Vec<u8>,
}

impl Text {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn put(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends `"text"`; the text must need no escape.
    pub(crate) fn quoted(&mut self, text: &str) {
        self.bytes.push(b'"');
        self.put(text);
        self.bytes.push(b'"');
    }

    pub(crate) fn number(&mut self, n: u64) {
        self.padded(n, 1);
    }

    /// A decimal with exactly `scale` digits after the point, in quotes.
    pub(crate) fn decimal(&mut self, mantissa: i64, scale: u32) {
        let one = 10_u64.pow(scale);
        self.bytes.push(b'"');
        if mantissa < 0 {
            self.bytes.push(b'-');
        }
        let magnitude = mantissa.unsigned_abs();
        self.number(magnitude / one);
        self.bytes.push(b'.');
        self.padded(magnitude % one, usize::try_from(scale).unwrap_or(0));
        self.bytes.push(b'"');
    }

    /// `"2026-01-02T03:04:05.123456Z"`, in quotes.
    pub(crate) fn instant(&mut self, micros: i64) {
        let day = micros.div_euclid(DAY);
        if self.date.is_empty() || self.day != day {
            self.remember_date(day);
        }
        let within = micros.rem_euclid(DAY).cast_unsigned();
        let [hour, minute, second] = [HOUR, MINUTE, SECOND].map(i64::cast_unsigned);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(&self.date);
        self.bytes.push(b'T');
        self.padded(within / hour, 2);
        self.bytes.push(b':');
        self.padded(within / minute % 60, 2);
        self.bytes.push(b':');
        self.padded(within / second % 60, 2);
        self.bytes.push(b'.');
        self.padded(within % second, 6);
        self.put("Z\"");
    }

    /// `"2026-01-02"` of a day since 1970-01-01, in quotes.
    pub(crate) fn date(&mut self, day: i64) {
        if self.date.is_empty() || self.day != day {
            self.remember_date(day);
        }
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(&self.date);
        self.bytes.push(b'"');
    }

    fn remember_date(&mut self, day: i64) {
        let (year, month, date) = civil(day);
        let mut text = Text::default();
        text.padded(year.max(0).cast_unsigned(), 4);
        text.bytes.push(b'-');
        text.padded(month.cast_unsigned(), 2);
        text.bytes.push(b'-');
        text.padded(date.cast_unsigned(), 2);
        self.date = text.bytes;
        self.day = day;
    }

    /// `n` with at least `width` digits (at most 20).
    pub(crate) fn padded(&mut self, mut n: u64, width: usize) {
        let mut digits = [b'0'; 20];
        let mut from = digits.len();
        while n > 0 {
            from -= 1;
            digits[from] = b'0' + u8::try_from(n % 10).unwrap_or(0);
            n /= 10;
        }
        self.bytes.extend_from_slice(&digits[from.min(digits.len() - width)..]);
    }
}

/// Year, month and day of the `day`th day since 1970-01-01 (proleptic Gregorian).
pub(crate) fn civil(day: i64) -> (i64, i64, i64) {
    // Days are counted from 0000-03-01, so that the leap day ends a year of a 400-year era.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, date)
}
