//! `[gold]`: definitions of one's own, tables of views, and the currency that money is converted to.
//!
//! # Guarantees
//! - A currency that ISO 4217 does not have is refused, with the nearest one that it has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::Vocabulary;
use schemas::vocabulary::Values;
use serde::Deserialize;

use super::ConfigError;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GoldConfig {
    definitions: PathBuf,
    pub(crate) view_tables: TabledViews,
    reporting_currency: String,
}

/// Of which views there are tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TabledViews {
    None,
    Own,
    All,
}

impl GoldConfig {
    /// The folder of definitions, when one is configured.
    pub(crate) fn folder(&self) -> Option<&Path> {
        (!self.definitions.as_os_str().is_empty()).then_some(self.definitions.as_path())
    }

    /// The currency that money is converted to, when there is one.
    pub(crate) fn reporting_currency(&self) -> Option<&str> {
        Some(self.reporting_currency.as_str()).filter(|code| !code.is_empty())
    }

    /// Refuses what is no currency.
    pub(super) fn check(&self, origins: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let known = Vocabulary { column: 0, is_strict: true, values: Values::Currencies };
        let Some(code) = self.reporting_currency().filter(|code| !known.has(code)) else {
            return Ok(());
        };
        let key = "gold.reporting_currency".to_owned();
        let origin = origins.get(&key).cloned().unwrap_or_default();
        let hint = known.nearest(&code.to_ascii_uppercase());
        let reason = format!("`{code}` is not {}, such as `EUR`{hint}", known.allowed());
        Err(ConfigError::Value { key, origin, reason })
    }
}

impl From<TabledViews> for gold::ViewTables {
    fn from(views: TabledViews) -> gold::ViewTables {
        match views {
            TabledViews::None => gold::ViewTables::None,
            TabledViews::Own => gold::ViewTables::Own,
            TabledViews::All => gold::ViewTables::All,
        }
    }
}
