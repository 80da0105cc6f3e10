//! When the event of a line happened, for lines that do not say when they were written.
//!
//! # Guarantees
//! - It is what Debezium says of the event: `ts_ms`, else `source.ts_ms`, with or without the schema around
//!   it, in milliseconds; nothing for a value that has neither as a whole number.
//!
//! # Non-guarantees
//! - A row that has a field `ts_ms` of its own is not told from an event.

use serde::Deserialize;

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    payload: Option<Inner>,
    #[serde(default)]
    ts_ms: Option<i64>,
    #[serde(default)]
    source: Option<Source>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    ts_ms: Option<i64>,
    #[serde(default)]
    source: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(default)]
    ts_ms: Option<i64>,
}

impl Inner {
    fn time(&self) -> Option<i64> {
        self.ts_ms.or_else(|| self.source.as_ref()?.ts_ms)
    }
}

/// The time of an event. What has nowhere the name of the field, nor an escape that may stand for a letter of
/// it, is not parsed.
pub(super) fn event_time(value: &[u8]) -> Option<i64> {
    let may_say = |at: usize| {
        let rest = value.get(at..).unwrap_or_default();
        rest.starts_with(b"\\") || rest.starts_with(b"_ms\"")
    };
    let marks = value.iter().enumerate().filter(|(_, byte)| matches!(byte, b'\\' | b'_'));
    if !marks.map(|(at, _)| at).any(may_say) {
        return None;
    }
    let Event { payload, ts_ms, source } = serde_json::from_slice(value).ok()?;
    payload.unwrap_or(Inner { ts_ms, source }).time()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_asked_before_its_source() {
        for (value, time) in [
            (r#"{"op":"c","after":{"ts_ms":1},"source":{"ts_ms":2,"lsn":9},"ts_ms":3}"#, Some(3)),
            (r#"{"op":"c","after":{"ts_ms":1},"source":{"ts_ms":2}}"#, Some(2)),
            (r#"{"schema":{"ts_ms":1},"payload":{"ts_ms":5,"source":{"ts_ms":4}}}"#, Some(5)),
            (r#"{"payload":{"op":"d","source":{"ts_ms":4}}}"#, Some(4)),
            (r#"{"after":{"ts_ms":1},"source":null,"payload":null}"#, None),
            (r#"{"ts_ms":"soon"}"#, None),
            (r#"{"ts\u005fms":7}"#, Some(7)),
            (r#"{"id":1,"ts_ms":8}"#, Some(8)),
            (r#"{"id":1,"ts_ms2":8,"a_b":"_ms"}"#, None),
            (r#"[1]"#, None),
            ("no JSON", None),
        ] {
            assert_eq!(event_time(value.as_bytes()), time, "{value}");
        }
    }
}
