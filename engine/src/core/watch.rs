//! What watches the KPI engine: the detector, and which cells went lately.
//!
//! # Guarantees
//! - Like the core that owns it, a function of epochs: what is saved and loaded goes on exactly.
//! - [`Watch::freeze`] copies neither series nor alerts.

use std::collections::BTreeMap;
use std::sync::Arc;

use gold::Engine;
use schemas::state::{FrozenSlots, SavedError, Slots};
use schemas::{
    Alert, CellKey, EpochId, EpochStamp, FrozenObserver, KpiUpdate, Micros, Observer, Saved,
    StatePart,
};

use super::removed::{FrozenRemoved, Removed};

const PUBLISHED: &str = "published";

/// The detector and what it says.
pub(crate) struct Watch {
    observer: Box<dyn Observer>,
    removed: Removed,
    published: Published,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("removed", &self.removed).finish_non_exhaustive()
    }
}

/// The epoch in which each alert was published last: of a timer's alert the tick, which the row does
/// not name.
#[derive(Debug, Default)]
struct Published {
    slots: Slots<(Arc<str>, EpochId)>,
    by_id: BTreeMap<Arc<str>, u32>,
}

impl Published {
    fn set(&mut self, id: &Arc<str>, epoch: EpochId) {
        let slot = self.by_id.get(id).copied().unwrap_or(self.slots.end());
        self.slots.set(slot, Some((Arc::clone(id), epoch)));
        self.by_id.insert(Arc::clone(id), slot);
    }

    fn get(&self, id: &Arc<str>) -> Option<EpochId> {
        self.slots.get(*self.by_id.get(id)?).map(|(_, epoch)| *epoch)
    }

    fn load(saved: &Saved) -> Result<Published, SavedError> {
        let mut published = Published::default();
        for alert in saved.values::<(Arc<str>, EpochId)>(PUBLISHED) {
            let (slot, (id, epoch)) = alert?;
            published.by_id.insert(Arc::clone(&id), slot);
            published.slots.restore(slot, Some((id, epoch)));
        }
        Ok(published)
    }
}

/// A watch at one epoch.
#[derive(Debug)]
pub(crate) struct FrozenWatch {
    observer: Box<dyn FrozenObserver>,
    removed: FrozenRemoved,
    published: FrozenSlots<(Arc<str>, EpochId)>,
}

impl FrozenWatch {
    /// The parts of the saved state.
    pub(crate) fn parts(&self) -> Vec<StatePart<'_>> {
        let mut parts = self.observer.parts();
        parts.extend(self.removed.parts());
        parts.push(StatePart::new(PUBLISHED, &self.published));
        parts
    }

    /// Whether alerts changed since the freeze before.
    pub(crate) fn has_changed_alerts(&self) -> bool {
        !self.observer.changed_alerts().is_empty()
    }

    /// Every alert, ordered by id.
    pub(crate) fn alerts(&self) -> Vec<Alert> {
        let slots = 0..self.observer.alerts_end();
        let mut alerts: Vec<Alert> =
            slots.filter_map(|slot| self.observer.alert(slot)).cloned().collect();
        alerts.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        alerts
    }
}

impl Watch {
    pub(crate) fn new(observer: Box<dyn Observer>) -> Watch {
        Watch { observer, removed: Removed::default(), published: Published::default() }
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
            self.removed.push(gone.key.clone(), stamp.id, stamp.clock);
        }
        self.removed.forget(stamp.clock);
        self.take(stamp.id)
    }

    /// The alerts that changed in `epoch`, a tick perhaps.
    pub(crate) fn take(&mut self, epoch: EpochId) -> Vec<Alert> {
        let alerts = self.observer.take_changes();
        for alert in &alerts {
            self.published.set(&alert.id, epoch);
        }
        alerts
    }

    pub(crate) fn alerts(&self) -> Vec<Alert> {
        self.observer.alerts()
    }

    /// Every alert, `epoch` being the one that published it last.
    pub(crate) fn published(&self) -> Vec<Alert> {
        let with_epoch = |alert: Alert| {
            let epoch = self.published.get(&alert.id).unwrap_or(alert.epoch);
            Alert { epoch, ..alert }
        };
        self.observer.alerts().into_iter().map(with_epoch).collect()
    }

    /// Removed cells with their epochs, and the epoch after which they are all known.
    pub(crate) fn removed(&self) -> (Vec<(CellKey, EpochId)>, EpochId) {
        self.removed.all()
    }

    /// The watch as it is now.
    pub(crate) fn freeze(&mut self) -> FrozenWatch {
        FrozenWatch {
            observer: self.observer.freeze(),
            removed: self.removed.freeze(),
            published: self.published.slots.freeze(),
        }
    }

    /// Goes on from what was saved, the engine being loaded.
    pub(crate) fn load(
        &mut self,
        saved: &Saved,
        alerts: Vec<Alert>,
        gold: &Engine,
        kept: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        self.observer.load(saved, alerts, gold, kept)?;
        self.removed = Removed::load(saved).map_err(|e| e.to_string())?;
        self.published = Published::load(saved).map_err(|e| e.to_string())?;
        Ok(())
    }
}
