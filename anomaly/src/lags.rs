//! Origins that lag: a backlog or a snapshot of theirs is being read.
//!
//! # Guarantees
//! - An origin lags from an epoch in which it is quiet until [`SETTLE_US`] of epoch clock after the last such.

use std::collections::BTreeMap;

use schemas::{Feeding, Micros, OriginName};

use crate::entry::Name;

/// How long after its last quiet row an origin lags.
const SETTLE_US: i64 = 1_000_000;

/// Until when origins lag, those that do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lags(BTreeMap<OriginName, Micros>);

impl Lags {
    /// What was saved.
    pub(crate) fn restore(saved: Vec<(OriginName, Micros)>) -> Lags {
        Lags(saved.into_iter().collect())
    }

    /// As they are saved.
    pub(crate) fn saved(&self) -> Vec<(OriginName, Micros)> {
        self.0.iter().map(|(origin, until)| (origin.clone(), *until)).collect()
    }

    /// An origin is quiet in the epoch with this clock.
    pub(crate) fn note(&mut self, origin: &OriginName, clock: Micros) {
        let until = clock.plus(SETTLE_US);
        match self.0.get_mut(origin) {
            Some(held) => *held = until,
            None => drop(self.0.insert(origin.clone(), until)),
        }
    }

    /// When the first of them lags no longer.
    pub(crate) fn first(&self) -> Option<Micros> {
        self.0.values().min().copied()
    }

    /// Takes out the first that lags no longer by then, and when it ceased to.
    pub(crate) fn take(
        &mut self,
        is_over: impl Fn(&OriginName, Micros) -> bool,
    ) -> Option<(Micros, OriginName)> {
        let over = self.0.iter().filter(|(origin, until)| is_over(origin, **until));
        let (until, origin) = over.map(|(origin, until)| (*until, origin)).min()?;
        let first = (until, origin.clone());
        self.0.remove(&first.1);
        Some(first)
    }

    /// Whether nothing is judged of a series: an origin lags that feeds its tenant and is read by its KPI.
    pub(crate) fn hold(&self, name: &Name, feeding: &dyn Feeding) -> bool {
        self.hold_tenant(&name.kpi, &name.tenant, feeding)
    }

    /// The same of all series of a KPI and tenant.
    pub(crate) fn hold_tenant(&self, kpi: &str, tenant: &str, feeding: &dyn Feeding) -> bool {
        self.0.keys().any(|origin| feeding.feeds(origin, kpi, tenant))
    }
}
