//! Durations and sizes as people write them: `10ms`, `5s`, `15m`, `64MiB`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// A duration with its unit: `us`, `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A size with its unit: `B`, `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) usize);

/// A size, or an empty text: whatever fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BytesOrAuto(pub(super) Option<usize>);

impl<'de> Deserialize<'de> for BytesOrAuto {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<BytesOrAuto, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(BytesOrAuto(None));
        }
        bytes(&text).map(|bytes| BytesOrAuto(Some(bytes)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || D::Error::custom(format!("`{text}` is no duration; write it as `500ms`"));
        parse_duration(&text).map(Span).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        bytes(&String::deserialize(from)?).map(Bytes)
    }
}

fn bytes<E: Error>(text: &str) -> Result<usize, E> {
    let wrong = || E::custom(format!("`{text}` is no size; write it as `64MiB`"));
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    let (number, factor) = split(text, &units).ok_or_else(wrong)?;
    usize::try_from(number).ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

/// Reads a duration with its unit.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    const SECOND: u64 = 1_000_000;
    let units = [
        ("us", 1),
        ("ms", 1_000),
        ("s", SECOND),
        ("m", 60 * SECOND),
        ("h", 3_600 * SECOND),
        ("d", 86_400 * SECOND),
    ];
    let (number, factor) = split(text, &units)?;
    number.checked_mul(factor).map(Duration::from_micros)
}

fn split<F: Copy>(text: &str, units: &[(&str, F)]) -> Option<(u64, F)> {
    units.iter().find_map(|(unit, factor)| {
        let number = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        Some((number, *factor))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units() {
        assert_eq!(parse_duration("10ms"), Some(Duration::from_millis(10)));
        assert_eq!(parse_duration("15 m"), Some(Duration::from_secs(900)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("10"), None);
        assert_eq!(parse_duration("-1s"), None);
    }
}
