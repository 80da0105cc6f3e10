//! Tables that stand still because their source went back, as reasons that travel with the results.
//!
//! # Guarantees
//! - A halt is logged once, when it comes and at the start of every run that finds it.
//! - The reasons are those of the epoch that was looked at last, no earlier and no later one.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Micros, Reason};

use crate::core::Core;

/// What has been said of halted tables.
#[derive(Debug, Default)]
pub(super) struct Halts {
    /// By table.
    said: BTreeMap<String, Reason>,
    reasons: Arc<[Reason]>,
}

impl Halts {
    /// Looks at the tables after an epoch with this clock.
    pub(super) fn update(&mut self, core: &Core, clock: Micros) {
        // Nearly always there is none and was none.
        if self.said.is_empty() && core.halts().next().is_none() {
            return;
        }
        let mut now = BTreeMap::new();
        for halt in core.halts() {
            let since = self.said.get(&halt.table).map_or(clock, |reason| reason.since);
            let reason = Reason { text: halt.to_string(), since };
            if !self.said.contains_key(&halt.table) {
                tracing::error!("{}", reason.text);
            }
            now.insert(halt.table.clone(), reason);
        }
        for table in self.said.keys().filter(|table| !now.contains_key(*table)) {
            tracing::info!("table `{table}` is no longer halted");
        }
        if now != self.said {
            self.reasons = now.values().cloned().collect();
            self.said = now;
        }
    }

    /// Why numbers as of the last epoch may be old or incomplete.
    pub(super) fn reasons(&self) -> Arc<[Reason]> {
        Arc::clone(&self.reasons)
    }

    /// Why tables stand still.
    pub(super) fn into_reasons(self) -> Vec<String> {
        self.said.into_values().map(|reason| reason.text).collect()
    }
}
