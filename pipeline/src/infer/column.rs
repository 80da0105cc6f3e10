//! What was seen of a column, and the type that takes all of it.

use std::collections::HashSet;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::decode::instant_of;

/// Digits that a decimal has at most.
const DIGITS_MAX: u32 = 38;
/// Digits before the point beyond those that were seen.
const ROOM: u32 = 6;
/// Digits after the point beyond which numbers are taken for measurements.
const SCALE_MAX: u32 = 18;

/// What was seen of a column.
#[derive(Debug, Default)]
pub(super) struct Seen {
    values: usize,
    nulls: usize,
    distinct: HashSet<u64>,
    booleans: usize,
    numbers: Numbers,
    texts: usize,
    nested: usize,
    /// Of the texts: how many are of a form.
    text_numbers: Numbers,
    dates: usize,
    instants: usize,
    json: usize,
    flags: usize,
    schema: Option<Value>,
}

/// What was seen of numbers.
#[derive(Debug, Default, Clone, Copy)]
struct Numbers {
    count: usize,
    whole: usize,
    /// Digits before and after the point at most.
    before: u32,
    after: u32,
    /// The least and the greatest of the whole ones.
    least: Option<i128>,
    most: Option<i128>,
}

/// The type that is proposed.
#[derive(Debug, Default)]
pub(super) struct Proposed {
    pub(super) kind: String,
    pub(super) unit: Option<&'static str>,
    pub(super) about: Option<String>,
}

impl Proposed {
    fn of(kind: impl Into<String>) -> Proposed {
        Proposed { kind: kind.into(), ..Proposed::default() }
    }

    fn with(self, about: impl Into<String>) -> Proposed {
        Proposed { about: Some(about.into()), ..self }
    }

    /// Whether a key may have it.
    pub(super) fn is_key(&self) -> bool {
        self.kind != "json" && self.kind != "double"
    }
}

impl Seen {
    /// Takes a value, and what the schema says of it.
    pub(super) fn take(&mut self, value: &Value, schema: Option<&Value>) {
        if self.schema.is_none() {
            self.schema = schema.cloned();
        }
        if value.is_null() {
            self.nulls += 1;
            return;
        }
        self.values += 1;
        let text = value.to_string();
        self.distinct.insert(xxh3_64(text.as_bytes()));
        match value {
            Value::Bool(_) => self.booleans += 1,
            Value::Number(_) => self.numbers.take(&text),
            Value::String(text) => self.take_text(text),
            _ => self.nested += 1,
        }
    }

    fn take_text(&mut self, text: &str) {
        self.texts += 1;
        // A number with a zero before its digits is an identifier.
        let digits = text.trim_start_matches('-');
        let is_padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        if !is_padded {
            self.text_numbers.take(text);
        }
        let is_instant = instant_of(text).is_some();
        self.dates += usize::from(is_instant && text.len() == "2026-01-01".len());
        self.instants += usize::from(is_instant && text.len() > "2026-01-01".len());
        let is_json = text.starts_with(['{', '['])
            && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        self.json += usize::from(is_json);
        self.flags += usize::from(matches!(text, "true" | "false"));
    }

    /// Whether every row has a value, and none twice.
    pub(super) fn is_unique(&self, rows: usize) -> bool {
        self.is_never_null(rows) && self.distinct.len() == rows
    }

    /// Whether every row has a value.
    pub(super) fn is_never_null(&self, rows: usize) -> bool {
        self.values == rows
    }

    /// The type that takes every value. `is_text`: the values come from text, where all of them are.
    pub(super) fn propose(&self, name: &str, rows: usize, is_text: bool) -> Proposed {
        if let Some(proposed) = self.schema.as_ref().and_then(|node| by_schema(node, self)) {
            return proposed;
        }
        let is_all = |count: usize| count == self.values;
        let proposed = match self.values {
            0 => Proposed::of("text").with("nothing but nulls was seen"),
            _ if is_all(self.booleans) => Proposed::of("boolean"),
            _ if is_all(self.numbers.count) => self.numbers.propose(name),
            _ if is_all(self.nested) => Proposed::of("json"),
            _ if is_all(self.texts) => self.propose_text(name, is_text),
            _ => Proposed::of("json").with("values of several kinds were seen"),
        };
        if proposed.about.is_none() && self.values > 0 && self.values + self.nulls < rows {
            return proposed.with("not every row has the field");
        }
        proposed
    }

    fn propose_text(&self, name: &str, is_text: bool) -> Proposed {
        let is_all = |count: usize| count == self.texts;
        if is_all(self.dates) {
            return Proposed::of("date");
        }
        if is_all(self.dates + self.instants) {
            return Proposed::of("timestamp");
        }
        if is_all(self.json) {
            return Proposed::of("json");
        }
        let numbers = &self.text_numbers;
        // In JSON a whole number that is written as text is meant as one.
        if is_all(numbers.count) && (is_text || numbers.whole < numbers.count) {
            return numbers.propose(name);
        }
        if is_text && is_all(self.flags) {
            return Proposed::of("boolean");
        }
        Proposed::of("text")
    }
}

impl Numbers {
    fn take(&mut self, text: &str) {
        let Some((before, after)) = digits(text) else { return };
        self.count += 1;
        (self.before, self.after) = (self.before.max(before), self.after.max(after));
        if let Ok(whole) = text.parse::<i128>() {
            self.whole += 1;
            self.least = Some(self.least.map_or(whole, |least| least.min(whole)));
            self.most = Some(self.most.map_or(whole, |most| most.max(whole)));
        }
    }

    fn propose(&self, name: &str) -> Proposed {
        if self.whole == self.count {
            return self.propose_whole(name);
        }
        if self.after > SCALE_MAX || self.before + self.after > DIGITS_MAX {
            let about = "more digits than a decimal of money has; sums need a decimal(p,s)";
            return Proposed::of("double").with(about);
        }
        let precision = (self.before + self.after + ROOM).min(DIGITS_MAX);
        let about = format!("{} digits after the point were seen", self.after);
        Proposed::of(format!("decimal({precision},{})", self.after)).with(about)
    }

    fn propose_whole(&self, name: &str) -> Proposed {
        let (least, most) = (self.least.unwrap_or(0), self.most.unwrap_or(0));
        if i64::try_from(least).is_err() || i64::try_from(most).is_err() {
            return Proposed::of("decimal(38,0)");
        }
        let unit = unit(least).filter(|of| Some(*of) == unit(most));
        match unit.filter(|_| is_of_time(name)) {
            Some(unit) => Proposed {
                unit: Some(unit),
                ..Proposed::of("timestamp").with(
                    "a number: its unit is taken from its size; `bigint` where it is no instant",
                )
            },
            None => Proposed::of("bigint"),
        }
    }
}

/// Whether columns of this name hold instants.
fn is_of_time(name: &str) -> bool {
    const ENDS: [&str; 7] = ["_at", "time", "timestamp", "date", "_ts", "_start", "_end"];
    name == "ts" || ENDS.iter().any(|end| name.ends_with(end))
}

/// What a number counts, if it is an instant between 2001 and 2128.
fn unit(number: i128) -> Option<&'static str> {
    const YEARS: std::ops::Range<i128> = 1_000_000_000..5_000_000_000;
    let units = [("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)];
    units.into_iter().find(|(_, per)| YEARS.contains(&(number / per))).map(|(unit, _)| unit)
}

/// Digits before and after the point of a number, in plain form or with an exponent.
fn digits(text: &str) -> Option<(u32, u32)> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if before.is_empty() || !is_digits(before) || !is_digits(after) || mantissa.ends_with('.') {
        return None;
    }
    let count = |part: &str| i64::try_from(part.len()).unwrap_or(i64::MAX);
    let moved = |digits: i64| u32::try_from(digits.max(0)).unwrap_or(u32::MAX / 4);
    Some((moved(count(before) + exponent), moved(count(after) - exponent)))
}

/// The type that Kafka Connect's schema says; `None` where it says none that a column has.
fn by_schema(node: &Value, seen: &Seen) -> Option<Proposed> {
    let text = |name: &str| node.get(name).and_then(Value::as_str);
    let parameter = |name: &str| {
        let value = node.get("parameters")?.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    let kind = match text("name").unwrap_or_default() {
        "org.apache.kafka.connect.data.Decimal" => {
            let scale = parameter("scale")?;
            let precision = parameter("connect.decimal.precision");
            let kind = format!("decimal({},{scale})", precision.unwrap_or(38));
            let about = "the schema does not say how many digits it has in all";
            let proposed = Proposed::of(kind);
            return Some(if precision.is_some() { proposed } else { proposed.with(about) });
        }
        "io.debezium.data.VariableScaleDecimal" => {
            let about = "digits after the point may be any number: make it fit yours";
            return Some(Proposed::of("decimal(38,10)").with(about));
        }
        "io.debezium.time.Date"
        | "org.apache.kafka.connect.data.Date"
        | "io.debezium.time.IsoDate" => "date",
        "io.debezium.time.Timestamp"
        | "io.debezium.time.MicroTimestamp"
        | "io.debezium.time.NanoTimestamp"
        | "io.debezium.time.ZonedTimestamp"
        | "io.debezium.time.IsoTimestamp"
        | "org.apache.kafka.connect.data.Timestamp" => "timestamp",
        "io.debezium.data.Json" => "json",
        _ => match text("type")? {
            "boolean" => "boolean",
            "int8" | "int16" | "int32" | "int64" => return None,
            "float" | "double" | "float32" | "float64" => "double",
            "struct" | "array" | "map" => "json",
            // A text may be a number or an instant that the connector sends so.
            "string" if seen.texts == seen.values => return None,
            _ => "text",
        },
    };
    Some(Proposed::of(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str], name: &str, is_text: bool) -> String {
        let mut seen = Seen::default();
        for value in values {
            seen.take(&serde_json::from_str(value).unwrap(), None);
        }
        let Proposed { kind, unit, .. } = seen.propose(name, values.len(), is_text);
        unit.map_or(kind.clone(), |unit| format!("{kind} {unit}"))
    }

    #[test]
    fn a_type_takes_all_that_was_seen() {
        for (values, kind) in [
            (&["1", "-5"][..], "bigint"),
            (&["1", "2.50"], "decimal(8,1)"),
            (&["\"19.9900\"", "\"-0.5\""], "decimal(12,4)"),
            (&["\"1\"", "\"2\""], "text"),
            (&["\"007\"", "\"1.5\""], "text"),
            (&["1e-7"], "decimal(13,7)"),
            (&["1e-20"], "double"),
            (&["18446744073709551615"], "decimal(38,0)"),
            (&["true", "null"], "boolean"),
            (&["\"2026-01-02\""], "date"),
            (&["\"2026-01-02\"", "\"2026-01-02T03:04:05Z\""], "timestamp"),
            (&["{\"a\":1}", "[1]"], "json"),
            (&["\"{}\""], "json"),
            (&["null"], "text"),
            (&["1", "\"x\""], "json"),
            (&["\"true\""], "text"),
        ] {
            assert_eq!(of(values, "x", false), kind, "{values:?}");
        }
        for (values, kind) in [
            (&["\"1\"", "\"-2\""][..], "bigint"),
            (&["\"1\"", "\"2.5\""], "decimal(8,1)"),
            (&["\"007\""], "text"),
            (&["\"true\"", "\"false\""], "boolean"),
            (&["\"\""], "text"),
        ] {
            assert_eq!(of(values, "x", true), kind, "{values:?}");
        }
        for (number, kind) in [
            ("1767323045", "timestamp s"),
            ("1767323045123", "timestamp ms"),
            ("1767323045123456", "timestamp us"),
            ("1767323045123456789", "timestamp ns"),
            ("20454", "bigint"),
        ] {
            assert_eq!(of(&[number], "placed_at", false), kind);
            assert_eq!(of(&[number], "amount", false), "bigint");
        }
    }
}
