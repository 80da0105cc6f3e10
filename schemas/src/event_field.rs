//! How events carry a column: under which name, and in which unit where it is an integer.

use std::fmt;

use crate::identity::{Fingerprint, Identity};

/// What an integer that stands for an instant or a date counts, from 1970 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// Days.
    Days,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl TimeUnit {
    /// The units in words, for the text of a refusal.
    pub const KNOWN: &'static str = "days, s, ms, us or ns";

    const ALL: [TimeUnit; 5] =
        [TimeUnit::Days, TimeUnit::Seconds, TimeUnit::Millis, TimeUnit::Micros, TimeUnit::Nanos];

    /// The unit that contracts write so; `None` when there is no such unit.
    pub fn parse(text: &str) -> Option<TimeUnit> {
        TimeUnit::ALL.into_iter().find(|unit| unit.name() == text)
    }

    /// As contracts write it.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Days => "days",
            TimeUnit::Seconds => "s",
            TimeUnit::Millis => "ms",
            TimeUnit::Micros => "us",
            TimeUnit::Nanos => "ns",
        }
    }
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How events carry one column of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventField {
    /// Its name in events; `None` when that is the column's.
    pub from: Option<String>,
    /// What its integers count where the event's own schema does not say it.
    pub unit: Option<TimeUnit>,
    /// The expression over the event's fields that it is, in SQL; then it is read from no field.
    pub map: Option<String>,
}

impl Identity for EventField {
    fn identify(&self, out: &mut Fingerprint) {
        out.text("from", self.from.as_deref().unwrap_or_default());
        out.text("map", self.map.as_deref().unwrap_or_default());
        out.text("unit", self.unit.map_or("", TimeUnit::name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_print_as_they_are_written() {
        for unit in TimeUnit::ALL {
            assert_eq!(TimeUnit::parse(&unit.to_string()), Some(unit));
            assert!(TimeUnit::KNOWN.contains(unit.name()));
        }
        assert_eq!(TimeUnit::parse("millis"), None);
    }
}
