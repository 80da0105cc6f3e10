//! Dead letters as decisions name and carry them.
//!
//! # Guarantees
//! - A letter that is carried is the record as it came, byte for byte: an absent key or value is not an
//!   empty one.
//! - What is written is read back.

use serde::{Deserialize, Serialize};

use crate::epoch::EpochId;
use crate::hex::{from_hex, hex};
use crate::time::Micros;

/// Letters that one decision carries at most.
pub const CARRIED_MAX: usize = 256;
/// Bytes of keys and values beyond which a decision carries no further letter.
pub const CARRIED_BYTES: usize = 1 << 20;

/// Where a dead letter lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterAt {
    /// Source, topic and life of the topic, with slashes between.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl LetterAt {
    /// The place of a record: its source, its topic and the life of that, its partition and its offset.
    pub fn new((source, topic, life): (&str, &str, &str), partition: i32, offset: i64) -> LetterAt {
        LetterAt { topic: format!("{source}/{topic}/{life}"), partition, offset }
    }

    /// What commands call it, of any life of its topic: `SOURCE/TOPIC/PARTITION/OFFSET`.
    pub fn id(&self) -> String {
        let LetterAt { topic, partition, offset } = self;
        let topic = topic.rsplit_once('/').map_or(topic.as_str(), |(topic, _)| topic);
        format!("{topic}/{partition}/{offset}")
    }
}

/// A dead letter with all that bronze holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letter {
    /// The configured source.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// The life of the topic.
    pub incarnation: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The epoch that it came in.
    pub epoch: EpochId,
    /// That epoch's clock, in microseconds.
    pub clock: i64,
    /// Its Kafka timestamp, in microseconds.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Letter {
    /// Where it lies.
    pub fn at(&self) -> LetterAt {
        let life = (&*self.source, &*self.topic, &*self.incarnation);
        LetterAt::new(life, self.partition, self.offset)
    }

    /// The clock of the epoch that it came in.
    pub fn came(&self) -> Micros {
        Micros(self.clock)
    }

    /// Bytes of key, value and headers.
    pub fn size(&self) -> usize {
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.0.len());
        let headers = self.headers.iter().map(|(name, value)| name.len() + size(value));
        size(&self.key) + size(&self.value) + headers.sum::<usize>()
    }
}

/// Bytes in JSON: a text where they are one, else `{"hex":"..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Bytes(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Binary { hex: String },
}

impl From<Bytes> for Written {
    fn from(Bytes(bytes): Bytes) -> Written {
        let binary = |bytes: &[u8]| Written::Binary { hex: hex(bytes) };
        String::from_utf8(bytes).map_or_else(|error| binary(error.as_bytes()), Written::Text)
    }
}

impl TryFrom<Written> for Bytes {
    type Error = String;

    fn try_from(written: Written) -> Result<Bytes, String> {
        let bytes = match written {
            Written::Text(text) => Some(text.into_bytes()),
            Written::Binary { hex } => from_hex(&hex),
        };
        bytes.map(Bytes).ok_or_else(|| "`hex` is not pairs of hexadecimal digits".to_owned())
    }
}

/// The letters of a decision that could still not be read, and why: what `decode_error` of its row says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StillDead {
    /// Each with its reason.
    pub unread: Vec<(LetterAt, String)>,
}

impl StillDead {
    /// As a text.
    pub fn to_json(&self) -> String {
        // Texts and numbers: writing them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`StillDead::to_json`] wrote.
    pub fn parse(text: &str) -> Option<StillDead> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_read_as_they_were_written(bytes: Vec<u8>, text: String) {
            for bytes in [Bytes(bytes), Bytes(text.into_bytes())] {
                let json = serde_json::to_string(&bytes).unwrap();
                prop_assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn what_is_no_bytes_is_refused() {
        for json in ["1", r#"{"hex":"0"}"#, r#"{"hex":"0g"}"#, "null"] {
            assert!(serde_json::from_str::<Bytes>(json).is_err(), "{json}");
        }
        let binary = serde_json::to_string(&Bytes(vec![0xff, 0x0a])).unwrap();
        assert_eq!(binary, r#"{"hex":"ff0a"}"#);
    }
}
