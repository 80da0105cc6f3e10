//! Identities of definitions: hashes that change when, and only when, what is computed changes.
//!
//! A definition writes its fields one by one, each under a tag that is never used for anything else.
//! Lakes keep the hash of every table, KPI and detector, and build anew what has another one.
//!
//! # Guarantees
//! - A field at its default (empty text or list, zero, false, absent) writes nothing, so a field that is
//!   added later leaves the identity of every definition that does not use it as it is.
//! - Neither the order in which fields are written nor their layout in memory shows: what is hashed is
//!   the set of tagged values.
//! - Tags and values carry their lengths: no two different sets of fields write the same bytes.
//!
//! # Non-guarantees
//! - What a definition does not write is not part of its identity; tests pin the values.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use crate::column::{Column, ColumnType};
use crate::kpi::{KpiInfo, KpiKind};

/// A definition with an identity.
pub trait Identity {
    /// Writes every field that decides what is computed.
    fn identify(&self, out: &mut Fingerprint);

    /// The hash of those fields: 32 hexadecimal digits.
    fn identity(&self) -> String {
        let mut out = Fingerprint::default();
        self.identify(&mut out);
        out.finish()
    }
}

/// The tagged fields of one definition.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<&'static str, Vec<u8>>);

impl Fingerprint {
    /// A text; an empty one writes nothing.
    pub fn text(&mut self, tag: &'static str, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    /// A number; zero writes nothing.
    pub fn number(&mut self, tag: &'static str, number: u64) {
        if number != 0 {
            self.bytes(tag, &number.to_le_bytes());
        }
    }

    /// A flag; `false` writes nothing.
    pub fn flag(&mut self, tag: &'static str, is_set: bool) {
        self.number(tag, u64::from(is_set));
    }

    /// Fields of its own; one that writes nothing is as if it were not there.
    pub fn part(&mut self, tag: &'static str, part: &dyn Identity) {
        let mut inner = Fingerprint::default();
        part.identify(&mut inner);
        self.bytes(tag, &inner.encoded());
    }

    /// A list whose order counts; an empty one writes nothing.
    pub fn list<'a>(
        &mut self,
        tag: &'static str,
        parts: impl IntoIterator<Item = &'a dyn Identity>,
    ) {
        let mut all = Vec::new();
        for part in parts {
            let mut inner = Fingerprint::default();
            part.identify(&mut inner);
            push(&mut all, &inner.encoded());
        }
        self.bytes(tag, &all);
    }

    /// A list of texts whose order counts; an empty one writes nothing.
    pub fn texts<'a>(&mut self, tag: &'static str, texts: impl IntoIterator<Item = &'a str>) {
        let mut all = Vec::new();
        texts.into_iter().for_each(|text| push(&mut all, text.as_bytes()));
        self.bytes(tag, &all);
    }

    /// The hash of all fields: 32 hexadecimal digits.
    pub fn finish(&self) -> String {
        format!("{:032x}", xxh3_128(&self.encoded()))
    }

    fn bytes(&mut self, tag: &'static str, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let before = self.0.insert(tag, bytes.to_vec());
        debug_assert!(before.is_none(), "the tag `{tag}` is written twice");
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, bytes) in &self.0 {
            push(&mut out, tag.as_bytes());
            push(&mut out, bytes);
        }
        out
    }
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

impl Identity for ColumnType {
    fn identify(&self, out: &mut Fingerprint) {
        match self {
            ColumnType::Text => out.text("type", "text"),
            ColumnType::Bigint => out.text("type", "bigint"),
            ColumnType::Double => out.text("type", "double"),
            ColumnType::Boolean => out.text("type", "boolean"),
            ColumnType::Date => out.text("type", "date"),
            ColumnType::Timestamp => out.text("type", "timestamp"),
            ColumnType::Json => out.text("type", "json"),
            ColumnType::Decimal { precision, scale } => {
                out.text("type", "decimal");
                out.number("precision", u64::from(*precision));
                out.number("scale", u64::from(*scale));
            }
        }
    }
}

impl Identity for Column {
    fn identify(&self, out: &mut Fingerprint) {
        out.text("name", &self.name);
        out.part("kind", &self.kind);
        out.flag("required", self.required);
    }
}

/// What people read of a KPI is not part of it, nor is which other KPI it breaks down: that is looked up
/// when an alert is told. What its formula says is part of the meaning of the KPI.
impl Identity for KpiInfo {
    fn identify(&self, out: &mut Fingerprint) {
        out.text("key", &self.key);
        out.text("unit", self.unit.name());
        out.text("good", self.good.name());
        out.flag("ratio", self.is_ratio());
        out.flag("distinct", self.kind == KpiKind::Distinct);
        out.flag("extreme", self.kind == KpiKind::Extreme);
        if self.kind == KpiKind::Percentile {
            out.flag("percentile", true);
        }
        if self.kind == KpiKind::Stock {
            out.flag("stock", true);
        }
        if self.kind == KpiKind::Retention {
            out.flag("retention", true);
        }
        out.texts("dims", self.dims.iter().map(String::as_str));
        if let Some(currency) = &self.currency {
            out.text("currency", currency);
        }
        out.part("watching", &self.watching);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A definition, and the same one two releases later.
    struct Old(&'static str, u64);
    struct New(&'static str, u64, bool, &'static [&'static str]);

    impl Identity for Old {
        fn identify(&self, out: &mut Fingerprint) {
            out.text("name", self.0);
            out.number("scale", self.1);
        }
    }

    impl Identity for New {
        fn identify(&self, out: &mut Fingerprint) {
            out.texts("also", self.3.iter().copied());
            out.flag("wide", self.2);
            out.number("scale", self.1);
            out.text("name", self.0);
        }
    }

    #[test]
    fn a_field_at_its_default_writes_nothing_and_order_does_not_show() {
        assert_eq!(Old("a", 7).identity(), New("a", 7, false, &[]).identity());
        assert_eq!(Old("a", 0).identity(), New("a", 0, false, &[]).identity());
        assert_ne!(Old("a", 7).identity(), New("a", 7, true, &[]).identity());
        assert_ne!(Old("a", 7).identity(), Old("a", 8).identity());
    }

    #[test]
    fn neighbouring_values_cannot_be_taken_for_each_other() {
        let texts = |texts: &[&'static str]| {
            let mut out = Fingerprint::default();
            out.texts("t", texts.iter().copied());
            out.finish()
        };
        let all = [texts(&["ab"]), texts(&["a", "b"]), texts(&["", "ab"]), texts(&["ab", ""])];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }

    #[test]
    fn the_hash_is_pinned() {
        // By hand: lengths as 8 bytes, tag and value, in the order of tags, through XXH3-128.
        assert_eq!(Fingerprint::default().finish(), "99aa06d3014798d86001c324468d497f");
        let by_hand = [
            [4, 0, 0, 0, 0, 0, 0, 0].as_slice(),
            b"name",
            &[1, 0, 0, 0, 0, 0, 0, 0],
            b"a",
            &[5, 0, 0, 0, 0, 0, 0, 0],
            b"scale",
            &[8, 0, 0, 0, 0, 0, 0, 0],
            &7_u64.to_le_bytes(),
        ]
        .concat();
        assert_eq!(Old("a", 7).identity(), format!("{:032x}", xxh3_128(&by_hand)));
    }
}
