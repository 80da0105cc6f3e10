//! What watches the KPI engine: the detector, and which cells went lately.
//!
//! # Guarantees
//! - Like the core that owns it, a function of epochs: what is saved and loaded goes on exactly.
//! - Removed cells are remembered for [`REMOVED_FOR`] of epoch clock and at most [`REMOVED_MAX`] of them,
//!   so that a client that was away that long is told what is gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use gold::Engine;
use schemas::{Alert, CellKey, EpochId, EpochStamp, Grain, KpiUpdate, Micros, Observer};
use serde::{Deserialize, Serialize};

/// How long removed cells are remembered, in microseconds.
const REMOVED_FOR: i64 = 600_000_000;
/// How many of them at most.
const REMOVED_MAX: usize = 20_000;

/// The detector and what it says.
pub(crate) struct Watch {
    observer: Box<dyn Observer>,
    /// Whether alerts changed since the last barrier.
    changed: bool,
    removed: VecDeque<(CellKey, EpochId, Micros)>,
    /// Removals up to this epoch are not known.
    removals_after: EpochId,
    /// The epoch in which each alert was published last: of a timer's alert the tick, which the row
    /// does not name.
    published: BTreeMap<Arc<str>, EpochId>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("changed", &self.changed).finish_non_exhaustive()
    }
}

/// The removed cells as they are saved.
#[derive(Serialize, Deserialize)]
struct Saved {
    after: EpochId,
    removed: Vec<SavedCell>,
    published: BTreeMap<String, EpochId>,
}

#[derive(Serialize, Deserialize)]
struct SavedCell(String, String, String, String, i64, EpochId, i64);

/// What is saved of a watch. Turning it into text takes longer than copying it.
#[derive(Debug)]
pub(crate) struct FrozenWatch {
    detector: Vec<u8>,
    removed: Vec<(CellKey, EpochId, Micros)>,
    removals_after: EpochId,
    published: BTreeMap<Arc<str>, EpochId>,
}

impl FrozenWatch {
    /// The parts of the state file.
    pub(crate) fn into_parts(self) -> [(String, Vec<u8>); 2] {
        let saved = |(key, epoch, clock): &(CellKey, EpochId, Micros)| {
            let CellKey { kpi, tenant, dims, grain, period_start } = key;
            let [kpi, tenant, dims] = [kpi, tenant, dims].map(|text| text.to_string());
            SavedCell(kpi, tenant, dims, grain.name().to_owned(), period_start.0, *epoch, clock.0)
        };
        let removed = self.removed.iter().map(saved).collect();
        let published = self.published.iter().map(|(id, epoch)| (id.to_string(), *epoch)).collect();
        let saved = Saved { after: self.removals_after, removed, published };
        let removed = serde_json::to_vec(&saved);
        [
            ("detector".to_owned(), self.detector),
            ("removed".to_owned(), removed.unwrap_or_default()),
        ]
    }
}

impl Watch {
    pub(crate) fn new(observer: Box<dyn Observer>) -> Watch {
        Watch {
            observer,
            changed: false,
            removed: VecDeque::new(),
            removals_after: 0,
            published: BTreeMap::new(),
        }
    }

    pub(crate) fn next_due(&self) -> Option<Micros> {
        self.observer.next_due()
    }

    /// Before the rows of an epoch.
    pub(crate) fn advance(&mut self, stamp: &EpochStamp, is_tick: bool, gold: &Engine) {
        self.observer.advance(stamp, is_tick, gold);
    }

    /// After them: the alerts that changed.
    pub(crate) fn observe(
        &mut self,
        stamp: &EpochStamp,
        updates: &[KpiUpdate],
        gold: &Engine,
    ) -> Vec<Alert> {
        self.observer.observe(stamp, updates, gold);
        for gone in updates.iter().filter(|update| update.value.is_none()) {
            self.removed.push_back((gone.key.clone(), stamp.id, stamp.clock));
        }
        self.forget(stamp.clock.plus(-REMOVED_FOR));
        self.take(stamp.id)
    }

    /// The alerts that changed in `epoch`, a tick perhaps.
    pub(crate) fn take(&mut self, epoch: EpochId) -> Vec<Alert> {
        let alerts = self.observer.take_changes();
        self.changed |= !alerts.is_empty();
        for alert in &alerts {
            self.published.insert(Arc::clone(&alert.id), epoch);
        }
        alerts
    }

    fn forget(&mut self, before: Micros) {
        while let Some((_, epoch, clock)) = self.removed.front() {
            if *clock >= before && self.removed.len() <= REMOVED_MAX {
                return;
            }
            self.removals_after = *epoch;
            self.removed.pop_front();
        }
    }

    /// Every alert, when some changed since the last barrier.
    pub(crate) fn changed_alerts(&mut self) -> Option<Vec<Alert>> {
        std::mem::take(&mut self.changed).then(|| self.observer.alerts())
    }

    /// Makes the next barrier write all alerts.
    pub(crate) fn write_all(&mut self) {
        self.changed = true;
    }

    pub(crate) fn alerts(&self) -> Vec<Alert> {
        self.observer.alerts()
    }

    /// Every alert, `epoch` being the one that published it last.
    pub(crate) fn published(&self) -> Vec<Alert> {
        let with_epoch = |alert: Alert| {
            let epoch = self.published.get(&alert.id).copied().unwrap_or(alert.epoch);
            Alert { epoch, ..alert }
        };
        self.observer.alerts().into_iter().map(with_epoch).collect()
    }

    /// Removed cells with their epochs, and the epoch after which they are all known.
    pub(crate) fn removed(&self) -> (Vec<(CellKey, EpochId)>, EpochId) {
        let removed = self.removed.iter().map(|(key, epoch, _)| (key.clone(), *epoch));
        (removed.collect(), self.removals_after)
    }

    /// What the state file says of it, as it is now.
    pub(crate) fn freeze(&self) -> FrozenWatch {
        FrozenWatch {
            detector: self.observer.save(),
            removed: self.removed.iter().cloned().collect(),
            removals_after: self.removals_after,
            published: self.published.clone(),
        }
    }

    /// Goes on from what was saved, the engine being loaded.
    pub(crate) fn load(
        &mut self,
        state: &[(String, Vec<u8>)],
        alerts: Vec<Alert>,
        gold: &Engine,
    ) -> Result<(), String> {
        let part = |name: &str| {
            let found = state.iter().find(|(part, _)| part == name).map(|(_, bytes)| &**bytes);
            found.ok_or_else(|| format!("the state has no part `{name}`"))
        };
        self.observer.load(part("detector")?, alerts, gold)?;
        let saved: Saved = serde_json::from_slice(part("removed")?).map_err(|e| e.to_string())?;
        self.removals_after = saved.after;
        self.published = saved.published.into_iter().map(|(id, at)| (id.into(), at)).collect();
        for SavedCell(kpi, tenant, dims, grain, start, epoch, clock) in saved.removed {
            let grain = Grain::parse(&grain).ok_or("the state names an unknown grain")?;
            let (kpi, tenant, dims) = (kpi.into(), tenant.into(), dims.into());
            let key = CellKey { kpi, tenant, dims, grain, period_start: Micros(start) };
            self.removed.push_back((key, epoch, Micros(clock)));
        }
        Ok(())
    }
}
