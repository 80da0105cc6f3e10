//! Which values of dimensions a reader wants. Pure.
//!
//! # Guarantees
//! - A series is taken when it has, of each dimension that is named, one of the values that are named.
//!
//! # Non-guarantees
//! - Names are those of dimensions of KPIs, which whoever makes one has checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Values by dimension, as they stand in canonical JSON: `"channel":"web"`. None: every series.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DimFilter(BTreeMap<Arc<str>, BTreeSet<Box<str>>>);

impl DimFilter {
    /// Takes one more value of a dimension. The empty text means that there is none.
    pub fn or(&mut self, name: &str, value: &str) {
        let parts = self.0.entry(Arc::from(name)).or_default();
        let name = serde_json::Value::from(name);
        parts.insert(format!("{name}:{}", serde_json::Value::from(value)).into());
        if value.is_empty() {
            parts.insert(format!("{name}:null").into());
        }
    }

    /// The dimensions that it names.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// Whether a series with these dimensions, as canonical JSON, is wanted.
    pub fn takes(&self, dims: &str) -> bool {
        self.0.values().all(|parts| parts.iter().any(|part| has(dims, part)))
    }
}

/// Whether a name and its value stand in an object. Quotes within texts are escaped, so that no text holds one.
fn has(dims: &str, part: &str) -> bool {
    dims.match_indices(part).any(|(at, _)| {
        let before = dims.get(..at).and_then(|text| text.chars().next_back());
        let after = dims.get(at + part.len()..).and_then(|text| text.chars().next());
        matches!(before, Some('{' | ',')) && matches!(after, Some('}' | ','))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(wanted: &[(&str, &str)], dims: &serde_json::Value) -> bool {
        let mut filter = DimFilter::default();
        wanted.iter().for_each(|(name, value)| filter.or(name, value));
        filter.takes(&dims.to_string())
    }

    #[test]
    fn a_series_has_a_wanted_value_of_every_dimension() {
        let dims = serde_json::json!({"channel": "web", "currency": "USD", "team": null});
        assert!(takes(&[], &dims));
        assert!(takes(&[("channel", "web"), ("currency", "USD")], &dims));
        assert!(takes(&[("channel", "app"), ("channel", "web")], &dims), "one of them");
        assert!(takes(&[("team", "")], &dims), "it has none");
        for other in [("channel", "we"), ("channel", ""), ("shop", "web"), ("team", "null")] {
            assert!(!takes(&[("currency", "USD"), other], &dims), "{other:?}");
        }
        let text = serde_json::json!({"a": "x\",\"b\":\"y", "b": "", "c": "\u{1}\\ü"});
        assert!(takes(&[("a", "x\",\"b\":\"y"), ("b", ""), ("c", "\u{1}\\ü")], &text));
        assert!(!takes(&[("b", "y")], &text), "what a text says is no dimension");
    }
}
