//! Tables that stand still because their source went back, rows that a snapshot lacked, and topics without a
//! contract, as reasons that travel with the results.
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
    /// By table and origin.
    said: BTreeMap<Of, Reason>,
    reasons: Arc<[Reason]>,
}

/// What a reason speaks of: table and origin, or source and topic.
type Of = (Kind, String, String);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A snapshot lacked rows.
    Lacking,
    /// A table stands still.
    Halted,
    /// A topic has no contract.
    Unmapped,
}

impl Halts {
    /// Looks at the tables after an epoch with this clock.
    pub(super) fn update(&mut self, core: &Core, clock: Micros) {
        // Nearly always there is none and was none.
        let is_well = core.halts().next().is_none()
            && core.lacking().next().is_none()
            && core.unmapped().next().is_none();
        if self.said.is_empty() && is_well {
            return;
        }
        let halts =
            core.halts().map(|halt| (Kind::Halted, &halt.table, &halt.origin, halt.to_string()));
        let lacking =
            core.lacking().map(|own| (Kind::Lacking, &own.table, &own.origin, own.to_string()));
        let unmapped = core.unmapped().map(|(source, topic)| {
            let text = format!(
                "topic `{topic}` of source `{source}` has no contract: all its records are dead letters; name one \
                 under [sources.topics]"
            );
            (Kind::Unmapped, source, topic, text)
        });
        let mut now = BTreeMap::new();
        for (kind, table, origin, text) in halts.chain(lacking).chain(unmapped) {
            let of = (kind, table.clone(), origin.clone());
            let held = self.said.get(&of);
            let since = held.map_or(clock, |reason| reason.since);
            if held.is_none_or(|held| held.text != text) {
                if kind == Kind::Halted {
                    tracing::error!("{text}");
                } else {
                    tracing::warn!("{text}");
                }
            }
            now.insert(of, Reason { text, since });
        }
        for (kind, table, origin) in self.said.keys().filter(|of| !now.contains_key(*of)) {
            if *kind == Kind::Halted {
                tracing::info!("table `{table}` is no longer halted for {origin}");
            } else {
                tracing::info!("table `{table}` lacks no decision about {origin} any longer");
            }
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
        let halts = self.said.into_iter().filter(|((kind, ..), _)| *kind == Kind::Halted);
        halts.map(|(_, reason)| reason.text).collect()
    }
}
