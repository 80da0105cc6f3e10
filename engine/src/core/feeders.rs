//! Which origins are quiet in an epoch, and which series they feed.

use std::sync::Arc;

use gold::Engine;
use schemas::{Feeding, OriginName};

use super::epoch::Epoch;
use super::{Core, KeyedTable};

/// Who feeds which series, as detectors ask.
pub(super) struct Feeders<'a> {
    pub(super) gold: &'a Engine,
    pub(super) tables: &'a [KeyedTable],
}

impl Feeding for Feeders<'_> {
    fn feeds(&self, by: &OriginName, kpi: &str, tenant: &str) -> bool {
        let read = self.gold.contracts_of(kpi).iter().filter_map(|at| self.tables.get(*at));
        let mut own = read.filter(|table| *table.contract.contract().name == *by.contract);
        own.any(|table| table.fold.has_fed(&by.origin, tenant))
    }
}

/// What is quiet in an epoch.
#[derive(Debug, Default)]
pub(super) struct Hushed {
    /// The numbers of the contracts with a quiet row, perhaps more than once.
    pub(super) contracts: Vec<usize>,
    /// The origins that its records name, each once.
    pub(super) origins: Vec<OriginName>,
}

impl Core {
    /// Tells the tables which of their origins are quiet in an epoch, before anything of it is folded.
    pub(super) fn hush(&mut self, epoch: &Epoch) -> Hushed {
        let mut hushed = Hushed::default();
        if !epoch.stamp.quiet {
            return hushed;
        }
        for (batch, changes) in epoch.records.batches.iter().zip(&epoch.changes) {
            let at = self.decoding.table_of(batch.topic()).filter(|_| batch.quiet().any());
            let Some((at, table)) = at.and_then(|at| Some((at, self.tables.get_mut(at)?))) else {
                continue;
            };
            hushed.contracts.push(at);
            table.fold.hush(changes, epoch.stamp.clock);
            let contract: Arc<str> = table.contract.contract().name.as_str().into();
            hushed.origins.extend(changes.quiet_origins().map(|origin| OriginName {
                contract: Arc::clone(&contract),
                origin: Arc::clone(origin),
            }));
        }
        hushed.origins.sort_unstable();
        hushed.origins.dedup();
        hushed
    }
}
