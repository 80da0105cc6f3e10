//! The alerts that are served, by tenant and by the epoch of their last change.
//!
//! # Guarantees
//! - A reader of one tenant touches the alerts of that tenant only, and copies none.
//! - An alert that was resolved over [`RESOLVED_FOR`] ago is forgotten here; `gold/anomalies` keeps it.
//!   Whoever was last told of alerts before such a change is told that it cannot be continued.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use schemas::{Alert, Answer, Answers, EpochId, Micros, RESOLVED_FOR, Severity};

const SEVERITIES: [Severity; 4] =
    [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];

/// An alert, and what people said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedAlert {
    /// The alert; its epoch is the one of the last change of either.
    pub alert: Alert,
    /// What people said of it.
    pub answer: Answer,
}

impl std::ops::Deref for ServedAlert {
    type Target = Alert;

    fn deref(&self) -> &Alert {
        &self.alert
    }
}

/// Alerts in the order of their last changes.
type ByChange = BTreeMap<(EpochId, Arc<str>), Arc<ServedAlert>>;

/// All alerts.
#[derive(Debug, Default)]
pub(super) struct AlertTable {
    answers: Arc<Answers>,
    by_id: HashMap<Arc<str>, Arc<ServedAlert>>,
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
    /// A table without alerts, of which this was said.
    pub(super) fn of(answers: Arc<Answers>) -> AlertTable {
        // Who was told before a mute ended does not know which alerts that has changed.
        AlertTable { floor: answers.unmuted(), answers, ..AlertTable::default() }
    }

    /// Takes what people said of alerts by the end of `epoch`: alerts of which that is new have changed in it.
    pub(super) fn answer(&mut self, answers: &Arc<Answers>, epoch: EpochId) {
        if Arc::ptr_eq(&self.answers, answers) {
            return;
        }
        self.answers = Arc::clone(answers);
        let differs = |held: &&Arc<ServedAlert>| answers.of(&held.alert) != held.answer;
        let changed: Vec<_> = self.by_id.values().filter(differs).map(Arc::clone).collect();
        for held in changed {
            self.put(Alert { epoch, ..held.alert.clone() });
        }
    }

    /// What people said of alerts.
    pub(super) fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// An alert by its id.
    pub(super) fn get(&self, id: &str) -> Option<Arc<ServedAlert>> {
        self.by_id.get(id).map(Arc::clone)
    }

    /// Takes an alert as it stands; its epoch is the one that published its last change.
    pub(super) fn put(&mut self, alert: Alert) {
        self.take(&Arc::clone(&alert.id));
        let answer = self.answers.of(&alert);
        let epoch = alert.epoch.max(answer.epoch);
        let alert = Arc::new(ServedAlert { alert: Alert { epoch, ..alert }, answer });
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
    fn take(&mut self, id: &Arc<str>) -> Option<Arc<ServedAlert>> {
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
    ) -> Option<Vec<Arc<ServedAlert>>> {
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
