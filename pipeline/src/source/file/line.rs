//! One line of a file as a record.

use std::borrow::Cow;

use schemas::Micros;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::record::RawRecord;

/// A record, borrowed from its line where possible.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) value: Option<Cow<'a, [u8]>>,
}

impl Line<'_> {
    /// The line as its batch will give it back.
    pub(super) fn as_record(&self) -> RawRecord<'_> {
        RawRecord {
            offset: self.offset,
            prev_offset: self.offset,
            timestamp: self.timestamp.and_then(Micros::from_millis),
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

/// A line `{"topic","partition","offset","key","value"}`; `None` when it is none.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let fields: Coordinates<'_> = serde_json::from_slice(line).ok()?;
    if fields.partition < 0 || fields.offset < 0 || fields.topic.is_empty() {
        return None;
    }
    let key = match fields.key {
        Some(key) => bytes(key)?,
        None => None,
    };
    Some(Line {
        topic: fields.topic,
        partition: fields.partition,
        offset: fields.offset,
        timestamp: fields.timestamp,
        key,
        value: bytes(fields.value)?,
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
