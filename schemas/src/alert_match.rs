//! Which alerts are meant: by severity, tenant, KPI and dimensions, of a route and of a mute.
//!
//! # Guarantees
//! - All that is named must hold. A list that is left out or empty takes everything.
//! - `*` at the end of a word stands for any rest; a word without it is meant as it stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alert::Severity;

/// What is meant. All that is named must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertMatch {
    /// How much it matters.
    #[serde(default)]
    pub severity: Vec<Severity>,
    /// The tenants.
    #[serde(default)]
    pub tenant: Vec<String>,
    /// The KPIs.
    #[serde(default)]
    pub kpi: Vec<String>,
    /// Values of dimensions, by their name.
    #[serde(default)]
    pub dims: BTreeMap<String, Vec<String>>,
}

impl AlertMatch {
    /// Whether alerts of this severity are meant.
    pub fn takes_severity(&self, severity: Severity) -> bool {
        self.severity.is_empty() || self.severity.contains(&severity)
    }

    /// Whether alerts of this KPI and tenant with these dimensions are meant, however much they matter.
    pub fn takes_series(&self, kpi: &str, tenant: &str, dims: &BTreeMap<String, String>) -> bool {
        let has = |(name, wanted): (&String, &Vec<String>)| {
            dims.get(name).is_some_and(|value| any(wanted, value))
        };
        any(&self.tenant, tenant) && any(&self.kpi, kpi) && self.dims.iter().all(has)
    }
}

fn any(wanted: &[String], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| fits(wanted, value))
}

fn fits(wanted: &str, value: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == value, |start| value.starts_with(start))
}

/// The dimensions of canonical JSON that have a value, as texts.
pub fn dims_of(json: &str) -> BTreeMap<String, String> {
    use serde_json::Value;
    let dims: BTreeMap<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let text = |value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    dims.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
}
