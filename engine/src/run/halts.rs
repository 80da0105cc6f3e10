//! Tables that stand still because their source went back, rows that a snapshot lacked, records that were
//! gone before they were read, records that could not be read and have no row to mark, rows of which nobody
//! knows which cells they feed, topics without a contract, and money without a rate, as reasons that travel with the
//! results.
//!
//! # Guarantees
//! - Each is logged once, when it comes and at the start of every run that finds it.
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

/// What a reason speaks of: its kind, and table and origin, or source and topic.
type Of = (Kind, String, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Halt,
    Lacking,
    Gap,
    Unread,
    /// Rows may feed other cells: the second name is the column.
    Unplaced,
    /// A topic has no contract.
    Unmapped,
    /// A rate is lacking: the names are the currencies.
    Unconverted,
}

impl Halts {
    /// Looks at the tables after an epoch with this clock.
    pub(super) fn update(&mut self, core: &Core, clock: Micros) {
        // Nearly always there is none and was none.
        if self.said.is_empty() && reasons(core).next().is_none() {
            return;
        }
        let mut now = BTreeMap::new();
        for (of, text) in reasons(core) {
            let held = self.said.get(&of);
            let since = held.map_or(clock, |reason| reason.since);
            let is_news = held.is_none_or(|held| held.text != text);
            match of.0 {
                Kind::Halt if is_news => tracing::error!("{text}"),
                Kind::Lacking | Kind::Gap | Kind::Unmapped if is_news => tracing::warn!("{text}"),
                // Each record or row brings another text.
                Kind::Unread | Kind::Unplaced | Kind::Unconverted if held.is_none() => {
                    tracing::warn!("{text}");
                }
                _ => {}
            }
            now.insert(of, Reason { text, since });
        }
        for (kind, table, origin) in self.said.keys().filter(|of| !now.contains_key(*of)) {
            match kind {
                Kind::Halt => tracing::info!("table `{table}` is no longer halted for {origin}"),
                Kind::Lacking => {
                    tracing::info!("table `{table}` lacks no decision about {origin} any longer");
                }
                Kind::Gap => {
                    tracing::info!("table `{table}` has a whole snapshot of {origin} again")
                }
                Kind::Unplaced => {
                    tracing::info!("table `{table}`: `{origin}` is known of every row again");
                }
                Kind::Unmapped => {}
                Kind::Unconverted => {
                    tracing::info!("all money of `{table}` has a rate to `{origin}` again")
                }
                Kind::Unread => {
                    tracing::info!("table `{table}` has no unread record without a row any longer");
                }
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
        let halts = self.said.into_iter().filter(|((kind, ..), _)| *kind == Kind::Halt);
        halts.map(|(_, reason)| reason.text).collect()
    }
}

/// Every reason that tables give.
fn reasons(core: &Core) -> impl Iterator<Item = (Of, String)> {
    let of = |kind, table: &str, origin: &str| (kind, table.to_owned(), origin.to_owned());
    let halts =
        core.halts().map(move |own| (of(Kind::Halt, &own.table, &own.origin), own.to_string()));
    let lacking = core
        .lacking()
        .map(move |own| (of(Kind::Lacking, &own.table, &own.origin), own.to_string()));
    let gaps =
        core.gaps().map(move |own| (of(Kind::Gap, &own.table, &own.origin), own.to_string()));
    let unread = core.unread().map(move |own| (of(Kind::Unread, &own.table, ""), own.to_string()));
    let unmapped = core.unmapped().map(move |(source, topic)| {
        let text = format!(
            "topic `{topic}` of source `{source}` has no contract: its records are dead letters, unless they say where a \
             transaction begins or ends; name one under [sources.topics], or say by `weir dead-letters drop ID --yes` \
             that they will not be missed (`weir dead-letters list --topic {topic} --json` has the ids)"
        );
        (of(Kind::Unmapped, source, topic), text)
    });
    let unplaced = core
        .unplaced()
        .map(move |own| (of(Kind::Unplaced, own.table, own.column), own.to_string()));
    let unconverted = core.unconverted().into_iter().map(move |own| {
        let from = own.from.as_deref().unwrap_or_default();
        (of(Kind::Unconverted, from, &own.to), own.to_string())
    });
    let tables = halts.chain(lacking).chain(gaps).chain(unread).chain(unplaced);
    tables.chain(unmapped).chain(unconverted)
}
