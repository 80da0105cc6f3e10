//! One line of a file as a record.

use std::borrow::Cow;

use schemas::Micros;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::record::RawRecord;

/// The greatest offset: the one after it is a number still.
const OFFSET_MAX: i64 = i64::MAX - 1;

/// A record, borrowed from its line where possible.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) value: Option<Cow<'a, [u8]>>,
    /// Why the line is no record; its bytes are the value then.
    pub(super) wrong: Option<String>,
}

impl Line<'_> {
    /// The line as its batch will give it back.
    pub(super) fn as_record(&self) -> RawRecord<'_> {
        RawRecord {
            offset: self.offset,
            prev_offset: self.offset,
            timestamp: self.timestamp.map(|ms| Micros(ms.saturating_mul(1_000))),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &[],
        }
    }
}

#[derive(Deserialize)]
struct Coordinates<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    partition: i32,
    offset: i64,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    timestamp: Option<i64>,
}

/// A line `{"topic","partition","offset","key","value"}`, or why it is none.
pub(super) fn parse(line: &[u8]) -> Result<Line<'_>, String> {
    let fields: Coordinates<'_> = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let (partition, offset) = (fields.partition, fields.offset);
    if fields.topic.is_empty() {
        return Err("`topic` is empty".to_owned());
    }
    if partition < 0 {
        return Err(format!("partition {partition} is negative"));
    }
    if !(0..=OFFSET_MAX).contains(&offset) {
        return Err(format!("offset {offset} is not between 0 and {OFFSET_MAX}"));
    }
    let no_text = |name: &str| format!("`{name}` is no Unicode text");
    let key = match fields.key {
        Some(key) => bytes(key).ok_or_else(|| no_text("key"))?,
        None => None,
    };
    Ok(Line {
        topic: fields.topic,
        partition,
        offset,
        timestamp: fields.timestamp,
        key,
        value: bytes(fields.value).ok_or_else(|| no_text("value"))?,
        wrong: None,
    })
}

/// The bytes that a JSON value stands for: a string for its text, null for none, anything else for
/// its JSON text. `None` when a string is no Unicode text.
#[allow(clippy::option_option, reason = "outer: readable at all; inner: null or not")]
fn bytes(value: &RawValue) -> Option<Option<Cow<'_, [u8]>>> {
    let text = value.get();
    if text == "null" {
        return Some(None);
    }
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Some(Some(Cow::Borrowed(text.as_bytes())));
    };
    if inner.contains('\\') {
        let text: String = serde_json::from_str(text).ok()?;
        return Some(Some(Cow::Owned(text.into_bytes())));
    }
    Some(Some(Cow::Borrowed(inner.as_bytes())))
}
