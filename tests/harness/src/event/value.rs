//! One value of an event, in the forms in which connectors write it.
//!
//! # Non-guarantees
//! - Of placeholders only that of a connector that does not set one is known.

use schemas::{Column, ColumnType, EventField, Micros, TimeUnit};
use serde_json::{Value, json};

use super::{Cell, bits};
use crate::numbers;

const PLACEHOLDER: &str = "__debezium_unavailable_value";
/// Java's name based UUID of the placeholder, by Python's `hashlib` and `uuid`.
const PLACEHOLDER_UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";

const DAY: i64 = 86_400_000_000;

/// A column, how events carry it, and what the schema of this event says about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) column: &'a Column,
    pub(super) field: Option<&'a EventField>,
    pub(super) schema: &'a Value,
}

impl Place<'_> {
    pub(super) fn cell(&self, value: &Value) -> Result<Cell, String> {
        if value.is_null() {
            let is_required = self.column.required;
            return if is_required { Err("is missing".into()) } else { Ok(Cell::Null) };
        }
        if is_unavailable(value) {
            return Ok(Cell::Unknown);
        }
        let cell = match self.column.kind {
            ColumnType::Text => self.text(value).map(Cell::Text),
            ColumnType::Json => match value {
                Value::String(_) => self.text(value).map(Cell::Text),
                other => Some(Cell::Text(other.to_string())),
            },
            ColumnType::Decimal { precision, scale } => {
                self.decimal(value, precision.into(), scale.into()).map(Cell::Decimal)
            }
            ColumnType::Timestamp => self.instant(value).map(Cell::Time),
            ColumnType::Bigint => {
                self.decimal(value, 38, 0).and_then(|units| units.try_into().ok()).map(Cell::Whole)
            }
            ColumnType::Double => self.double(value).map(|number| Cell::Double(bits(number))),
            ColumnType::Boolean => flag(value).map(Cell::Flag),
            ColumnType::Date => self.date(value).map(Cell::Date),
        };
        let is_null = cell.is_none() && !self.column.required && self.is_infinite(value);
        cell.or(is_null.then_some(Cell::Null)).ok_or_else(|| format!("cannot be {value}"))
    }

    /// Whether it is one of the infinities of PostgreSQL, or its number that is none, which these columns do
    /// not hold.
    fn is_infinite(&self, value: &Value) -> bool {
        let word = value.as_str().map(|text| text.trim_start_matches(['+', '-']).to_lowercase());
        let word = word.as_deref().unwrap_or_default();
        match self.column.kind {
            ColumnType::Decimal { .. } | ColumnType::Bigint => ["nan", "infinity"].contains(&word),
            ColumnType::Timestamp | ColumnType::Date => {
                // As captured from connectors: of the driver's instant for it, of its days in 32 bits.
                let texts = ["infinity", "292278994-08-16z", "292278994-08-16t23:00:00z"];
                let instants = [9_223_372_036_825_200_000, i64::MAX, i64::MIN];
                let is_number = value.as_i64().is_some_and(|number| match self.unit() {
                    None => false,
                    Some(TimeUnit::Days) => number == -622_191_234,
                    Some(_) => instants.contains(&number),
                });
                texts.contains(&word) || is_number
            }
            _ => false,
        }
    }

    /// The text of a text column, in a row or in a key.
    pub(super) fn text(&self, value: &Value) -> Option<String> {
        if self.is_binary(value) {
            let (units, scale) = self.unscaled(value)?;
            return (scale.unsigned_abs() <= 38).then(|| plain(units, scale));
        }
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    fn schema_name(&self) -> &str {
        self.schema.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether a number is written as bytes: base64 with the scale in the schema, or beside it.
    fn is_binary(&self, value: &Value) -> bool {
        let is_decimal = self.schema_name() == "org.apache.kafka.connect.data.Decimal";
        let is_variable = value.as_object().is_some_and(|parts| {
            parts.len() == 2 && parts.contains_key("scale") && parts.contains_key("value")
        });
        is_variable || (is_decimal && value.is_string())
    }

    fn unscaled(&self, value: &Value) -> Option<(i128, i64)> {
        let (text, scale) = match value.as_object() {
            Some(parts) => (parts.get("value")?.as_str()?, parts.get("scale")?.as_i64()?),
            None => {
                let scale = self.schema.get("parameters")?.get("scale")?.as_str()?;
                (value.as_str()?, scale.parse().ok()?)
            }
        };
        let units = numbers::from_bytes(&numbers::from_base64(text)?)?;
        (units.unsigned_abs() <= numbers::LARGEST.unsigned_abs()).then_some((units, scale))
    }

    fn decimal(&self, value: &Value, precision: usize, scale: u32) -> Option<i128> {
        if self.is_binary(value) {
            let (units, from) = self.unscaled(value)?;
            return numbers::parse(&format!("{units}e{}", -from), precision, scale);
        }
        match value {
            Value::String(text) => numbers::parse(text, precision, scale),
            Value::Number(number) => numbers::parse(&number.to_string(), precision, scale),
            _ => None,
        }
    }

    fn double(&self, value: &Value) -> Option<f64> {
        if self.is_binary(value) {
            let (units, scale) = self.unscaled(value)?;
            return format!("{units}e{}", -scale).parse().ok().filter(|n: &f64| n.is_finite());
        }
        let Value::String(text) = value else { return value.as_f64() };
        let words = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", -f64::INFINITY)];
        if let Some((_, number)) = words.iter().find(|(word, _)| word == text) {
            return Some(*number);
        }
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// What an integer counts, if anything says it and nothing says otherwise.
    fn unit(&self) -> Option<TimeUnit> {
        let sent = match self.schema_name() {
            "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => Some(TimeUnit::Days),
            "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => {
                Some(TimeUnit::Millis)
            }
            "io.debezium.time.MicroTimestamp" => Some(TimeUnit::Micros),
            "io.debezium.time.NanoTimestamp" => Some(TimeUnit::Nanos),
            _ => None,
        };
        let said = self.field.and_then(|field| field.unit);
        if sent.is_some() && said.is_some() && sent != said { None } else { sent.or(said) }
    }

    fn instant(&self, value: &Value) -> Option<i64> {
        let micros = match value.as_str() {
            Some(text) => iso(text)?,
            None => {
                let number = value.as_i64()?;
                match self.unit()? {
                    TimeUnit::Days => number.checked_mul(DAY)?,
                    TimeUnit::Seconds => number.checked_mul(1_000_000)?,
                    TimeUnit::Millis => number.checked_mul(1000)?,
                    TimeUnit::Micros => number,
                    TimeUnit::Nanos => number.div_euclid(1000),
                }
            }
        };
        (-62_135_596_800_000_000..253_402_300_800_000_000).contains(&micros).then_some(micros)
    }

    fn date(&self, value: &Value) -> Option<i32> {
        let micros = self.instant(value)?;
        (micros.rem_euclid(DAY) == 0).then(|| (micros / DAY).try_into().ok())?
    }
}

fn is_unavailable(value: &Value) -> bool {
    let base64 = numbers::to_base64(PLACEHOLDER.as_bytes());
    let hex: String = PLACEHOLDER.bytes().map(|byte| format!("{byte:02x}")).collect();
    let texts = [PLACEHOLDER, &base64, &hex];
    let map = json!({ PLACEHOLDER: PLACEHOLDER });
    let map_text = map.to_string();
    match value {
        Value::String(text) => texts.contains(&text.as_str()) || *text == map_text,
        Value::Array(list) => {
            let of_one = [PLACEHOLDER, &base64, PLACEHOLDER_UUID];
            let numbers: Vec<Value> = PLACEHOLDER.bytes().map(Value::from).collect();
            matches!(list.as_slice(), [Value::String(one)] if of_one.contains(&one.as_str()))
                || *list == numbers
        }
        other => *other == map,
    }
}

/// A number as people write it, with all digits of its scale.
fn plain(units: i128, scale: i64) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let mut digits = units.unsigned_abs().to_string();
    if units != 0 {
        (scale..0).for_each(|_| digits.push('0'));
    }
    if scale <= 0 {
        return format!("{sign}{digits}");
    }
    let mut reversed: Vec<char> = digits.chars().rev().collect();
    let fraction = usize::try_from(scale).unwrap_or(0);
    while reversed.len() <= fraction {
        reversed.push('0');
    }
    reversed.insert(fraction, '.');
    format!("{sign}{}", reversed.into_iter().rev().collect::<String>())
}

/// Reads ISO 8601: of the text itself, or of it with what may be left out put in.
fn iso(text: &str) -> Option<i64> {
    let signs = |from_end: usize| {
        let at = text.len().checked_sub(from_end).filter(|at| *at > 10)?;
        matches!(text.as_bytes().get(at), Some(b'+' | b'-')).then_some(at)
    };
    let mut tries = vec![text.to_owned()];
    if signs(3).is_some() {
        tries.push(format!("{text}:00"));
    }
    if let Some(at) = signs(5) {
        let (head, minutes) = text.split_at_checked(at + 3)?;
        tries.push(format!("{head}:{minutes}"));
    }
    if let Some(day) = text.strip_suffix('Z').filter(|day| day.len() == 10) {
        tries.push(day.to_owned());
    }
    for with_zone in tries.clone() {
        if let Some((head, tail)) = with_zone.split_at_checked(16) {
            tries.push(format!("{head}:00{tail}"));
        }
    }
    tries.iter().find_map(|text| Micros::parse(&text.replacen(' ', "T", 1))).map(|at| at.0)
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text == "1" || text == "0" => Some(text == "1"),
        Value::String(text) => text.parse().ok(),
        number => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    }
}
