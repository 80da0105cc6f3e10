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
use schemas::contract::DEFAULT_TENANT;
use schemas::{Calendar, Paged, Periods, RowRef};

/// Whether two rows are of one series.
pub(crate) fn is_same_series(a: RowRef<'_>, b: RowRef<'_>, tenant: usize, dims: &[usize]) -> bool {
    tenant_of(a, tenant) == tenant_of(b, tenant)
        && dims.iter().all(|column| a.text_bytes(*column) == b.text_bytes(*column))
}

fn tenant_of(row: RowRef<'_>, tenant: usize) -> &[u8] {
    let named = row.text_bytes(tenant).filter(|tenant| !tenant.is_empty());
    named.unwrap_or(DEFAULT_TENANT.as_bytes())
}

/// Writes the raw bytes of a row's series: per part its length plus one and its text, or 0 for null.
pub(crate) fn raw_series(row: RowRef<'_>, tenant: usize, dims: &[usize], out: &mut Vec<u8>) {
    out.clear();
    push_part(out, Some(tenant_of(row, tenant)));
    for &column in dims {
        push_part(out, row.text_bytes(column));
    }
}

fn push_part(out: &mut Vec<u8>, part: Option<&[u8]>) {
    let length = part.map_or(0, |text| text.len() as u64 + 1);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(part.unwrap_or_default());
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

/// Raw bytes of a series without one of its dimensions, and the value of that.
pub(crate) fn without(raw: &[u8], dim: usize) -> Option<(Vec<u8>, Option<Arc<str>>)> {
    let parts = split_parts(raw)?;
    let value = *parts.get(dim + 1)?;
    let mut rest = Vec::with_capacity(raw.len());
    let others = parts.iter().enumerate().filter(|(at, _)| *at != dim + 1);
    others.for_each(|(_, part)| push_part(&mut rest, part.map(str::as_bytes)));
    Some((rest, value.map(Arc::from)))
}

/// One series.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) tenant: Arc<str>,
    /// Canonical JSON.
    pub(crate) dims: Arc<str>,
    pub(crate) raw: Arc<[u8]>,
    /// Those of its tenant.
    pub(crate) periods: Arc<Periods>,
}

impl Series {
    pub(crate) fn order(&self, other: &Series) -> Ordering {
        self.tenant.cmp(&other.tenant).then_with(|| self.dims.cmp(&other.dims))
    }
}

/// Finds the series of one set of dimensions. The series themselves lie in a list beside it, which is
/// handed in: readers of other threads have that list, too.
#[derive(Debug)]
pub(crate) struct SeriesIndex {
    /// Names of the dimensions, sorted.
    names: Vec<String>,
    index: HashTable<u32>,
    hasher: FixedState,
    calendar: Arc<Calendar>,
}

impl SeriesIndex {
    pub(crate) fn new(names: Vec<String>, calendar: Arc<Calendar>) -> SeriesIndex {
        let hasher = FixedState::with_seed(0x5e71e5);
        SeriesIndex { names, index: HashTable::new(), hasher, calendar }
    }

    /// The series of a tenant and dimensions written as canonical JSON, if it has been seen.
    pub(crate) fn find(&self, all: &Paged<Series>, tenant: &str, dims: &str) -> Option<u32> {
        let values: BTreeMap<String, Option<String>> = serde_json::from_str(dims).ok()?;
        if !values.keys().eq(&self.names) {
            return None;
        }
        let mut raw = Vec::new();
        push_part(&mut raw, Some(tenant.as_bytes()));
        let values = values.values().map(|value| value.as_deref().map(str::as_bytes));
        values.for_each(|value| push_part(&mut raw, value));
        self.find_raw(all, &raw)
    }

    fn find_raw(&self, all: &Paged<Series>, raw: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(raw);
        let is_it = |&at: &u32| all.get(at as usize).is_some_and(|series| *series.raw == *raw);
        self.index.find(hash, is_it).copied()
    }

    /// The number of these raw bytes, which must come from [`raw_series`] with as many dimensions as
    /// the table has; `None` when they do not.
    pub(crate) fn intern(&mut self, all: &mut Paged<Series>, raw: &[u8]) -> Option<u32> {
        if let Some(found) = self.find_raw(all, raw) {
            return Some(found);
        }
        let parts = split_parts(raw)?;
        let (tenant, values) = parts.split_first()?;
        if values.len() != self.names.len() {
            return None;
        }
        let number = u32::try_from(all.len()).ok()?;
        let tenant = (*tenant)?;
        all.push(Series {
            tenant: Arc::from(tenant),
            periods: Arc::clone(self.calendar.of(tenant)),
            dims: Arc::from(dims_text(&self.names, values)),
            raw: raw.into(),
        });
        let hash =
            |&at: &u32| all.get(at as usize).map_or(0, |series| self.hasher.hash_one(&*series.raw));
        self.index.insert_unique(self.hasher.hash_one(raw), number, hash);
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
        parts.iter().for_each(|part| push_part(&mut out, part.map(str::as_bytes)));
        out
    }

    #[test]
    fn interns_by_value_and_writes_canonical_json() {
        let mut index = SeriesIndex::new(vec!["channel".into(), "currency".into()], Arc::default());
        let mut all = Paged::new(1);
        let null = raw(&[Some("t"), None, Some("U\"S\n")]);
        let first = index.intern(&mut all, &null).unwrap();
        assert_eq!(index.intern(&mut all, &null), Some(first));
        let empty = raw(&[Some("t"), Some(""), Some("U\"S\n")]);
        assert_ne!(index.intern(&mut all, &empty), Some(first));
        let series = all.get(first as usize).unwrap();
        assert_eq!(&*series.dims, r#"{"channel":null,"currency":"U\"S\n"}"#);
        assert_eq!(&*series.tenant, "t");
        assert_eq!(index.find(&all, "t", &series.dims), Some(first));
    }

    #[test]
    fn refuses_bytes_that_are_no_series() {
        let (mut index, mut all) =
            (SeriesIndex::new(vec!["currency".into()], Arc::default()), Paged::new(1));
        for bad in
            [&raw(&[Some("t")])[..], &raw(&[None, None]), &[1], &[9, 0, 0, 0, 0, 0, 0, 0, b'x']]
        {
            assert_eq!(index.intern(&mut all, bad), None);
        }
    }
}
