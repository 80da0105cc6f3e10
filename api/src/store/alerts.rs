//! The alerts that are served, by tenant and by the epoch of their last change.
//!
//! # Guarantees
//! - A reader of one tenant touches the alerts of that tenant only, and copies none.
//! - An alert that was resolved over [`RESOLVED_FOR`] ago is forgotten here; `gold/anomalies` keeps it.
//!   Whoever was last told of alerts before such a change is told that it cannot be continued.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use schemas::{Alert, EpochId, Micros, RESOLVED_FOR, Severity};

const SEVERITIES: [Severity; 4] =
    [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];

/// Alerts in the order of their last changes.
type ByChange = BTreeMap<(EpochId, Arc<str>), Arc<Alert>>;

/// All alerts.
#[derive(Debug, Default)]
pub(super) struct AlertTable {
    by_id: HashMap<Arc<str>, Arc<Alert>>,
    by_change: ByChange,
    tenants: BTreeMap<Arc<str>, ByChange>,
    /// Resolved ones, by when they were.
    resolved: BTreeSet<(Micros, Arc<str>)>,
    /// Open ones of each of [`SEVERITIES`].
    open: [u64; 4],
    /// Changes up to this epoch are not all known.
    floor: EpochId,
}

impl AlertTable {
    /// Takes an alert as it stands; its epoch is the one that published its last change.
    pub(super) fn put(&mut self, alert: Alert) {
        self.take(&Arc::clone(&alert.id));
        let alert = Arc::new(alert);
        let (id, change) = (Arc::clone(&alert.id), (alert.epoch, Arc::clone(&alert.id)));
        match alert.resolved_at {
            Some(at) => drop(self.resolved.insert((at, Arc::clone(&id)))),
            None => *self.count(alert.severity) += 1,
        }
        let own = self.tenants.entry(Arc::clone(&alert.key.tenant)).or_default();
        own.insert(change.clone(), Arc::clone(&alert));
        self.by_change.insert(change, Arc::clone(&alert));
        self.by_id.insert(id, alert);
    }

    /// Takes an alert out.
    fn take(&mut self, id: &Arc<str>) -> Option<Arc<Alert>> {
        let alert = self.by_id.remove(id)?;
        match alert.resolved_at {
            Some(at) => drop(self.resolved.remove(&(at, Arc::clone(id)))),
            None => *self.count(alert.severity) -= 1,
        }
        let change = (alert.epoch, Arc::clone(id));
        self.by_change.remove(&change);
        if let Some(own) = self.tenants.get_mut(&alert.key.tenant) {
            own.remove(&change);
            if own.is_empty() {
                self.tenants.remove(&alert.key.tenant);
            }
        }
        Some(alert)
    }

    /// Forgets what was resolved too long before `now`.
    pub(super) fn forget(&mut self, now: Micros) {
        let oldest = now.plus(-RESOLVED_FOR);
        while let Some((_, id)) = self.resolved.first().filter(|(at, _)| *at < oldest) {
            let id = Arc::clone(id);
            let Some(alert) = self.take(&id) else { return };
            self.floor = self.floor.max(alert.epoch);
        }
    }

    /// Alerts that changed after `since` (all of them without), in the order of their changes; `None`
    /// when that is not known any more.
    pub(super) fn read(
        &self,
        tenant: Option<&Arc<str>>,
        since: Option<EpochId>,
    ) -> Option<Vec<Arc<Alert>>> {
        if since.is_some_and(|since| since < self.floor) {
            return None;
        }
        let all = match tenant {
            None => &self.by_change,
            Some(tenant) => match self.tenants.get(tenant) {
                None => return Some(Vec::new()),
                Some(own) => own,
            },
        };
        let after = match since {
            Some(since) => Bound::Included((since.saturating_add(1), Arc::from(""))),
            None => Bound::Unbounded,
        };
        Some(all.range((after, Bound::Unbounded)).map(|(_, alert)| Arc::clone(alert)).collect())
    }

    /// How many alerts of each severity are open.
    pub(super) fn open(&self) -> [(Severity, u64); 4] {
        let mut counts = SEVERITIES.map(|severity| (severity, 0));
        for ((_, count), open) in counts.iter_mut().zip(self.open) {
            *count = open;
        }
        counts
    }

    fn count(&mut self, severity: Severity) -> &mut u64 {
        let [info, warning, error, critical] = &mut self.open;
        match severity {
            Severity::Info => info,
            Severity::Warning => warning,
            Severity::Error => error,
            Severity::Critical => critical,
        }
    }
}
