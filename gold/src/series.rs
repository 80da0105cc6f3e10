//! Series: one tenant with one combination of dimension values, interned to a small number.
//!
//! # Guarantees
//! - Equal (tenant, values) are one number, found by one hash of their raw bytes without allocating.
//!
//! # Non-guarantees
//! - A series is never forgotten: a lake holds as many as it has seen combinations.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use schemas::RowRef;
use schemas::contract::DEFAULT_TENANT;

/// Writes the raw bytes of a row's series: per part its length plus one and its text, or 0 for null.
pub(crate) fn raw_series(row: RowRef<'_>, tenant: usize, dims: &[usize], out: &mut Vec<u8>) {
    out.clear();
    push_part(out, Some(row.text(tenant).unwrap_or(DEFAULT_TENANT)));
    for &column in dims {
        push_part(out, row.text(column));
    }
}

fn push_part(out: &mut Vec<u8>, part: Option<&str>) {
    let length = part.map_or(0, |text| text.len() as u64 + 1);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(part.unwrap_or_default().as_bytes());
}

fn split_parts(mut raw: &[u8]) -> Option<Vec<Option<&str>>> {
    let mut parts = Vec::new();
    while !raw.is_empty() {
        let (length, rest) = raw.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let Some(length) = length.checked_sub(1) else {
            parts.push(None);
            raw = rest;
            continue;
        };
        let (text, rest) = rest.split_at_checked(length)?;
        parts.push(Some(std::str::from_utf8(text).ok()?));
        raw = rest;
    }
    Some(parts)
}

/// One series.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) tenant: Arc<str>,
    /// Canonical JSON.
    pub(crate) dims: Arc<str>,
    pub(crate) raw: Box<[u8]>,
}

impl Series {
    pub(crate) fn order(&self, other: &Series) -> Ordering {
        self.tenant.cmp(&other.tenant).then_with(|| self.dims.cmp(&other.dims))
    }
}

/// The series of one set of dimensions.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    /// Names of the dimensions, sorted.
    names: Vec<String>,
    all: Vec<Series>,
    index: HashTable<u32>,
    hasher: FixedState,
}

impl SeriesTable {
    pub(crate) fn new(names: Vec<String>) -> SeriesTable {
        let hasher = FixedState::with_seed(0x5e71e5);
        SeriesTable { names, all: Vec::new(), index: HashTable::new(), hasher }
    }

    pub(crate) fn get(&self, series: u32) -> &Series {
        &self.all[series as usize]
    }

    /// The series of a tenant and dimensions written as canonical JSON, if it has been seen.
    pub(crate) fn find(&self, tenant: &str, dims: &str) -> Option<u32> {
        let values: BTreeMap<String, Option<String>> = serde_json::from_str(dims).ok()?;
        if !values.keys().eq(&self.names) {
            return None;
        }
        let mut raw = Vec::new();
        push_part(&mut raw, Some(tenant));
        values.values().for_each(|value| push_part(&mut raw, value.as_deref()));
        let hash = self.hasher.hash_one(&*raw);
        self.index.find(hash, |&at| *self.all[at as usize].raw == *raw).copied()
    }

    /// The number of these raw bytes, which must come from [`raw_series`] with as many dimensions as
    /// the table has; `None` when they do not.
    pub(crate) fn intern(&mut self, raw: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(raw);
        let found = self.index.find(hash, |&at| *self.all[at as usize].raw == *raw);
        if let Some(&found) = found {
            return Some(found);
        }
        let parts = split_parts(raw)?;
        let (tenant, values) = parts.split_first()?;
        if values.len() != self.names.len() {
            return None;
        }
        let number = u32::try_from(self.all.len()).ok()?;
        self.all.push(Series {
            tenant: Arc::from((*tenant)?),
            dims: Arc::from(dims_text(&self.names, values)),
            raw: raw.into(),
        });
        let (all, hasher) = (&self.all, &self.hasher);
        self.index.insert_unique(hash, number, |&at| hasher.hash_one(&*all[at as usize].raw));
        Some(number)
    }
}

/// `{"channel":null,"currency":"USD"}`
fn dims_text(names: &[String], values: &[Option<&str>]) -> String {
    let mut text = String::from("{");
    for (at, (name, value)) in names.iter().zip(values).enumerate() {
        if at > 0 {
            text.push(',');
        }
        let value = value.map_or(serde_json::Value::Null, serde_json::Value::from);
        text.push_str(&serde_json::Value::from(name.as_str()).to_string());
        text.push(':');
        text.push_str(&value.to_string());
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(parts: &[Option<&str>]) -> Vec<u8> {
        let mut out = Vec::new();
        parts.iter().for_each(|part| push_part(&mut out, *part));
        out
    }

    #[test]
    fn interns_by_value_and_writes_canonical_json() {
        let mut table = SeriesTable::new(vec!["channel".into(), "currency".into()]);
        let first = table.intern(&raw(&[Some("t"), None, Some("U\"S\n")])).unwrap();
        assert_eq!(table.intern(&raw(&[Some("t"), None, Some("U\"S\n")])), Some(first));
        assert_ne!(table.intern(&raw(&[Some("t"), Some(""), Some("U\"S\n")])), Some(first));
        assert_eq!(&*table.get(first).dims, r#"{"channel":null,"currency":"U\"S\n"}"#);
        assert_eq!(&*table.get(first).tenant, "t");
    }

    #[test]
    fn refuses_bytes_that_are_no_series() {
        let mut table = SeriesTable::new(vec!["currency".into()]);
        for bad in
            [&raw(&[Some("t")])[..], &raw(&[None, None]), &[1], &[9, 0, 0, 0, 0, 0, 0, 0, b'x']]
        {
            assert_eq!(table.intern(bad), None);
        }
    }
}
