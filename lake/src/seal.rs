//! Sealed log entries: the first line holds a hash over all bytes of the entry.
//!
//! An entry is `commitInfo`, then one action a line. The last field of `commitInfo` is `sealHash`:
//! the xxh3-128 of every byte of the entry except its own 32 hex digits. `previousSeal` is the
//! `sealHash` of the version before, so entries form a chain.
//!
//! # Guarantees
//! - Any cut, overwritten, zeroed or exchanged byte of an entry is seen.
//! - An entry of another program is told from a damaged one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::Xxh3;

use crate::actions::Line;

const HASH_FIELD: &[u8] = b",\"sealHash\":\"";
const HASH_DIGITS: usize = 32;
const INFO_END: &[u8] = b"\"}}";

/// What `commitInfo` says; the part of it that is read back.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info {
    pub(crate) timestamp: i64,
    pub(crate) operation: String,
    pub(crate) commit_id: String,
    pub(crate) version: i64,
    pub(crate) row_count: u64,
    pub(crate) previous_seal: String,
    pub(crate) seal_hash: String,
    #[serde(default)]
    pub(crate) progress: BTreeMap<String, i64>,
}

/// A log entry whose seal is whole.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) info: Info,
    pub(crate) lines: Vec<Line>,
}

/// Why bytes are not an entry of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Torn, zeroed or overwritten.
    Damaged(String),
    /// Whole, but written by another program.
    Foreign(String),
}

/// What a new entry is made of.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) version: i64,
    pub(crate) timestamp: i64,
    pub(crate) operation: &'static str,
    pub(crate) commit_id: &'a str,
    pub(crate) previous_seal: &'a str,
    pub(crate) row_count: u64,
    pub(crate) progress: &'a [(String, i64)],
    pub(crate) info: &'a BTreeMap<String, Value>,
    pub(crate) lines: &'a [Line],
}

impl Draft<'_> {
    /// The bytes of the entry and its seal.
    pub(crate) fn seal(&self) -> Result<(Vec<u8>, String), serde_json::Error> {
        let progress: Map<String, Value> =
            self.progress.iter().map(|(app, value)| (app.clone(), json!(value))).collect();
        let info = json!({
            "timestamp": self.timestamp,
            "operation": self.operation,
            "operationParameters": {},
            "engineInfo": crate::ENGINE,
            "commitId": self.commit_id,
            "version": self.version,
            "actionCount": self.lines.len(),
            "rowCount": self.row_count,
            "previousSeal": self.previous_seal,
            "progress": progress,
            "info": self.info,
        });
        let mut bytes = b"{\"commitInfo\":".to_vec();
        serde_json::to_writer(&mut bytes, &info)?;
        bytes.pop(); // the closing brace: one more field follows
        bytes.extend_from_slice(HASH_FIELD);
        let hash_at = bytes.len();
        bytes.extend_from_slice(INFO_END);
        bytes.push(b'\n');
        for line in self.lines {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        let hash = hash_text(&[&bytes]);
        bytes.splice(hash_at..hash_at, hash.bytes());
        Ok((bytes, hash))
    }
}

/// The xxh3-128 of the parts, one after the other, as 32 hex digits.
pub(crate) fn hash_text(parts: &[&[u8]]) -> String {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(part);
    }
    format!("{:032x}", hash.digest128())
}

/// Reads the entry of `version`.
pub(crate) fn open(version: i64, bytes: &[u8]) -> Result<Entry, Fault> {
    let damaged = |detail: &str| Fault::Damaged(detail.to_owned());
    if bytes.is_empty() {
        return Err(damaged("is empty"));
    }
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let Some((first, rest)) = end.and_then(|end| bytes.split_at_checked(end)) else {
        return Err(foreign(bytes).unwrap_or_else(|| damaged("is cut in its first line")));
    };
    let Some((head, hash)) = split_hash(first) else {
        return Err(foreign(bytes).unwrap_or_else(|| damaged("has no whole commitInfo line")));
    };
    if hash_text(&[head, INFO_END, rest]).as_bytes() != hash {
        return Err(damaged("does not match its seal: it is cut or was overwritten"));
    }
    let entry = parse(first, rest).map_err(|error| {
        Fault::Foreign(format!("holds a line that this program does not understand ({error})"))
    })?;
    if entry.info.version != version {
        return Err(Fault::Damaged(format!("is the entry of version {}", entry.info.version)));
    }
    Ok(entry)
}

/// `commitInfo` up to its hash, and the hash.
fn split_hash(first: &[u8]) -> Option<(&[u8], &[u8])> {
    let body = first.strip_suffix(INFO_END)?;
    let (head, hash) = body.split_at_checked(body.len().checked_sub(HASH_DIGITS)?)?;
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    (head.ends_with(HASH_FIELD) && hash.iter().all(hex)).then_some((head, hash))
}

fn parse(first: &[u8], rest: &[u8]) -> Result<Entry, serde_json::Error> {
    #[derive(Deserialize)]
    struct First {
        #[serde(rename = "commitInfo")]
        info: Info,
    }
    let First { info } = serde_json::from_slice(first)?;
    let lines = rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(Entry { info, lines: lines.map(serde_json::from_slice).collect::<Result<_, _>>()? })
}

/// Whole lines of JSON objects without a seal are the work of another program.
fn foreign(bytes: &[u8]) -> Option<Fault> {
    let mut engine = None;
    let mut count = 0_usize;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let object: Map<String, Value> = serde_json::from_slice(line).ok()?;
        count += 1;
        if let Some(info) = object.get("commitInfo") {
            if info.get("sealHash").is_some() || info.get("commitId").is_some() {
                return None; // ours, cut or overwritten
            }
            engine = info.get("engineInfo").and_then(Value::as_str).map(str::to_owned);
        }
    }
    let name = engine.unwrap_or_else(|| "an unknown program".to_owned());
    (count > 0).then(|| Fault::Foreign(format!("was written by {name}, without a seal")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::Txn;

    fn lines() -> Vec<Line> {
        let txn = |app: &str, version| Line {
            txn: Some(Txn { app_id: app.to_owned(), version, last_updated: None }),
            ..Line::default()
        };
        vec![txn("weir/epoch", 3), txn("weir/clock", 77)]
    }

    fn entry(version: i64, lines: &[Line]) -> Vec<u8> {
        let draft = Draft {
            version,
            timestamp: 5,
            operation: "WRITE",
            commit_id: "c",
            previous_seal: "p",
            row_count: 9,
            progress: &[("weir/epoch".to_owned(), 3)],
            info: &BTreeMap::new(),
            lines,
        };
        draft.seal().unwrap().0
    }

    #[test]
    fn a_sealed_entry_opens() {
        let read = open(4, &entry(4, &lines())).unwrap();
        assert_eq!(read.info.row_count, 9);
        assert_eq!(read.info.progress.get("weir/epoch"), Some(&3));
        assert_eq!(read.lines.len(), 2);
        assert!(open(4, &entry(4, &[])).unwrap().lines.is_empty());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_seen() {
        let whole = entry(4, &lines());
        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap();
            assert!(matches!(open(4, cut), Err(Fault::Damaged(_))), "cut at {length}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert!(open(4, &flipped).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn the_entry_of_another_version_is_seen() {
        assert!(matches!(open(5, &entry(4, &lines())), Err(Fault::Damaged(_))));
    }

    #[test]
    fn another_program_is_named() {
        let text = "{\"commitInfo\":{\"engineInfo\":\"Apache-Spark/4\"}}\n{\"txn\":{}}\n";
        let Err(Fault::Foreign(detail)) = open(1, text.as_bytes()) else { panic!() };
        assert!(detail.contains("Apache-Spark/4"), "{detail}");
    }
}
