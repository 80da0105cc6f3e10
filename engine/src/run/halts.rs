//! Tables that stand still because their source went back, told to whoever asks how things are.
//!
//! # Guarantees
//! - A halt is logged once, when it comes and at the start of every run that finds it; its reason stands
//!   in the meters for as long as it lasts.

use std::collections::BTreeMap;

use super::troubles::Troubles;
use crate::core::Core;

/// What has been said of halted tables.
pub(super) struct Halts<'a> {
    troubles: &'a Troubles,
    /// By table.
    said: BTreeMap<String, String>,
}

impl Halts<'_> {
    pub(super) fn new(troubles: &Troubles) -> Halts<'_> {
        Halts { troubles, said: BTreeMap::new() }
    }

    /// Looks at the tables again.
    pub(super) fn update(&mut self, core: &Core) {
        // Nearly always there is none and was none.
        if self.said.is_empty() && core.halts().next().is_none() {
            return;
        }
        let now: BTreeMap<String, String> =
            core.halts().map(|halt| (halt.table.clone(), halt.to_string())).collect();
        for (table, text) in now.iter().filter(|(table, _)| !self.said.contains_key(*table)) {
            tracing::error!("{text}");
            self.troubles.set(table, text);
        }
        for table in self.said.keys().filter(|table| !now.contains_key(*table)) {
            tracing::info!("table `{table}` is no longer halted");
            self.troubles.clear(table);
        }
        self.said = now;
    }

    /// Why tables stand still.
    pub(super) fn into_reasons(self) -> Vec<String> {
        self.said.into_values().collect()
    }
}
