//! What stands in an event for a large value that did not change and was therefore not sent.
//!
//! # Guarantees
//! - Every form is known that Debezium's connectors write by the type of the source's column: text, bytes
//!   (base64, or hexadecimal digits), lists of those, of numbers and of UUIDs, and `hstore` as map and as text.
//!
//! # Non-guarantees
//! - A column that really holds one of these values is taken for one that was not sent: events do not tell
//!   them apart.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use md5::{Digest, Md5};
use schemas::hex::{from_hex, hex};
use serde_json::{Value, json};

/// `unavailable.value.placeholder` of a connector that does not set it.
const DEFAULT: &str = "__debezium_unavailable_value";

/// The forms of one `unavailable.value.placeholder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// As compact JSON.
    forms: Vec<Box<str>>,
    /// The length of the shortest, and the longest that one may have with spaces in it.
    lengths: (usize, usize),
}

/// A placeholder that no connector can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {problem}; write what `unavailable.value.placeholder` of the connector says")]
pub struct PlaceholderError {
    text: String,
    problem: &'static str,
}

impl Default for Placeholder {
    fn default() -> Placeholder {
        Placeholder::of(DEFAULT.as_bytes())
    }
}

impl Placeholder {
    /// The placeholder that a connector's setting says: text, or `hex:` and the digits of its bytes.
    ///
    /// # Errors
    /// When it is empty, or not hexadecimal where it says so.
    pub fn parse(text: &str) -> Result<Placeholder, PlaceholderError> {
        let refused = |problem| PlaceholderError { text: text.to_owned(), problem };
        let bytes = match text.strip_prefix("hex:") {
            Some(digits) => from_hex(digits).ok_or_else(|| refused("has no hexadecimal digits"))?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.is_empty() {
            return Err(refused("is no placeholder: it is empty"));
        }
        Ok(Placeholder::of(&bytes))
    }

    fn of(bytes: &[u8]) -> Placeholder {
        let text = String::from_utf8_lossy(bytes);
        let (base64, uuid) = (STANDARD.encode(bytes), name_uuid(bytes));
        // Java's bytes have a sign.
        let numbers: Vec<i8> = bytes.iter().map(|byte| byte.cast_signed()).collect();
        let map = json!({ &*text: &*text });
        let forms = [
            json!(text),
            json!(base64),
            json!(URL_SAFE.encode(bytes)),
            json!(hex(bytes)),
            json!([text]),
            json!([base64]),
            json!(numbers),
            json!([uuid]),
            json!(map.to_string()),
            map,
        ];
        let forms: Vec<Box<str>> = forms.iter().map(|form| form.to_string().into()).collect();
        let lengths = forms.iter().map(|form| form.len());
        let shortest = lengths.clone().min().unwrap_or(0);
        let longest = lengths.max().unwrap_or(0).saturating_mul(4);
        Placeholder { forms, lengths: (shortest, longest) }
    }

    /// Whether a value, given as JSON, stands for one that was not sent.
    pub(super) fn is(&self, raw: &str) -> bool {
        if raw.len() < self.lengths.0 {
            return false;
        }
        self.forms.iter().any(|form| **form == *raw) || self.is_spaced(raw)
    }

    /// Whether a list or a map is one of the forms, but written with spaces.
    fn is_spaced(&self, raw: &str) -> bool {
        let inside = raw.get(1..).map(str::trim_ascii_start).unwrap_or_default();
        let begins = |form: &str| form.get(..1) == raw.get(..1) && inside.starts_with(first(form));
        let may_be = raw.starts_with(['[', '{'])
            && raw.len() <= self.lengths.1
            && self.forms.iter().any(|form| begins(form));
        may_be
            && serde_json::from_str::<Value>(raw).is_ok_and(|value| {
                let compact = value.to_string();
                self.forms.iter().any(|form| **form == *compact)
            })
    }
}

/// What is first inside a list or a map.
fn first(form: &str) -> &str {
    let inside = form.get(1..).unwrap_or_default();
    inside.split([',', ':', ']']).next().unwrap_or_default()
}

/// Java's `UUID.nameUUIDFromBytes`: version 3 without a namespace.
fn name_uuid(bytes: &[u8]) -> String {
    let mut hash: [u8; 16] = Md5::digest(bytes).into();
    hash[6] = (hash[6] & 0x0f) | 0x30;
    hash[8] = (hash[8] & 0x3f) | 0x80;
    let digits = hex(&hash);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part).unwrap_or(""));
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_known_and_what_looks_like_them_is_not() {
        let placeholder = Placeholder::default();
        for form in [
            r#""__debezium_unavailable_value""#,
            r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
            r#""5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#,
            r#"["__debezium_unavailable_value"]"#,
            r#"[ "__debezium_unavailable_value" ]"#,
            r#"["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]"#,
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
            "[95, 95, 100, 101, 98, 101, 122, 105, 117, 109, 95, 117, 110, 97, 118, 97, 105, 108, 97, 98, 108, 101, 95, 118, 97, 108, 117, 101]",
            r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#,
            r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
            r#"{"__debezium_unavailable_value": "__debezium_unavailable_value"}"#,
            r#""{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}""#,
        ] {
            assert!(placeholder.is(form), "{form}");
        }
        for other in [
            "null",
            "\"\"",
            "[]",
            r#""__debezium_unavailable_value ""#,
            r#"["__debezium_unavailable_value","x"]"#,
            r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545b"]"#,
            r#""b68a35a7-17ad-35b3-af2a-ae46edb4545a""#,
            r#"{"__debezium_unavailable_value":"x"}"#,
            r#"{"__debezium_unavailable_value":"__debezium_unavailable_value""#,
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117]",
        ] {
            assert!(!placeholder.is(other), "{other}");
        }
    }

    #[test]
    fn a_placeholder_is_what_the_connector_says() {
        let gone = Placeholder::parse("__gone").unwrap();
        for form in [
            r#""__gone""#,
            r#""X19nb25l""#,
            "[95,95,103,111,110,101]",
            r#"["5558dbd0-3919-3388-bf8b-9c45663836e0"]"#,
        ] {
            assert!(gone.is(form), "{form}");
        }
        assert!(!gone.is(r#""__debezium_unavailable_value""#));
        assert_eq!(Placeholder::parse("hex:5f5F676f6e65"), Ok(gone));
        assert!(Placeholder::parse("hex:ff80").unwrap().is("[-1,-128]"));
        for (text, says) in [("", "empty"), ("hex:", "empty"), ("hex:5", "hex"), ("hex:+f", "hex")]
        {
            let refused = Placeholder::parse(text).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
