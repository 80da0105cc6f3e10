//! What watches the KPI engine: the detector, and which cells went lately.
//!
//! # Guarantees
//! - Like the core that owns it, a function of epochs: what is saved and loaded goes on exactly.
//! - [`Watch::freeze`] copies neither series nor alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gold::Engine;
use gold::anomalies::FrozenAlerts;
use schemas::answer::{Feedback, Verdict};
use schemas::state::{FrozenSlots, SavedError, Slots};
use schemas::{
    Alert, Answers, CellKey, ControlRecord, Decision, EpochId, EpochStamp, FrozenObserver,
    KpiUpdate, Micros, ModelsInForce, Observer, OriginName, Saved, Sight, StatePart,
};

use super::error::RestoreError;
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
    free: Vec<u32>,
}

impl Published {
    fn set(&mut self, id: &Arc<str>, epoch: EpochId) {
        let known = self.by_id.get(id).copied().or_else(|| self.free.pop());
        let slot = known.unwrap_or(self.slots.end());
        self.slots.set(slot, Some((Arc::clone(id), epoch)));
        self.by_id.insert(Arc::clone(id), slot);
    }

    fn get(&self, id: &Arc<str>) -> Option<EpochId> {
        self.slots.get(*self.by_id.get(id)?).map(|(_, epoch)| *epoch)
    }

    fn forget(&mut self, id: &str) {
        let Some(slot) = self.by_id.remove(id) else { return };
        self.slots.set(slot, None);
        self.free.push(slot);
    }

    fn load(saved: &Saved) -> Result<Published, SavedError> {
        let mut published = Published::default();
        for alert in saved.values::<(Arc<str>, EpochId)>(PUBLISHED) {
            let (slot, (id, epoch)) = alert?;
            published.by_id.insert(Arc::clone(&id), slot);
            published.slots.restore(slot, Some((id, epoch)));
        }
        let free = |slot: &u32| published.slots.get(*slot).is_none();
        published.free = (0..published.slots.end()).filter(free).collect();
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

    /// The alerts as rows, and the slots of those that changed since the freeze before.
    pub(crate) fn alerts(&self) -> (FrozenAlerts<'_>, &[u32]) {
        (FrozenAlerts(&*self.observer), self.observer.changed_alerts())
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
    pub(crate) fn advance(
        &mut self,
        stamp: &EpochStamp,
        is_tick: bool,
        quiet: &[OriginName],
        sight: Sight<'_>,
    ) {
        self.observer.advance(stamp, is_tick, quiet, sight);
    }

    /// Takes what was decided of detectors, after timers and before the rows of an epoch; `answers` are those of before.
    pub(crate) fn decide(
        &mut self,
        stamp: &EpochStamp,
        decisions: &[ControlRecord],
        (answers, is_replay): (&Answers, bool),
    ) {
        let mut verdicts: BTreeMap<&str, Verdict> = BTreeMap::new();
        for record in decisions {
            match &record.decision {
                Decision::Train(models) => {
                    let (taken, all) = (self.observer.train(models), models.series.len());
                    if !is_replay {
                        let (detector, kpi, by) = (&models.detector, &models.kpi, &record.by);
                        tracing::info!(
                            epoch = stamp.id,
                            by,
                            "models of `{detector}` for the KPI `{kpi}` are in force: {taken} of {all} series"
                        );
                    }
                }
                Decision::Feedback(Feedback { alert, verdict, .. }) => {
                    let before = verdicts.insert(alert, *verdict);
                    let before = before.or_else(|| answers.verdict(alert));
                    self.observer.heed(alert, before, *verdict);
                }
                _ => {}
            }
        }
    }

    /// After them: the alerts that changed.
    pub(crate) fn observe(
        &mut self,
        stamp: &EpochStamp,
        updates: &[KpiUpdate],
        sight: Sight<'_>,
    ) -> Vec<Alert> {
        self.observer.observe(stamp, updates, sight);
        self.pass(stamp, updates)
    }

    /// The same of an epoch that changes no row: windows that it moves are not scored.
    pub(crate) fn pass(&mut self, stamp: &EpochStamp, updates: &[KpiUpdate]) -> Vec<Alert> {
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

    /// Every alert that is held, `epoch` being the one that published it last.
    pub(crate) fn published(&self) -> Vec<Alert> {
        let with_epoch = |alert: Alert| {
            let epoch = self.published.get(&alert.id).unwrap_or(alert.epoch);
            Alert { epoch, ..alert }
        };
        self.observer.alerts().into_iter().map(with_epoch).collect()
    }

    /// The models of the detector that are in force.
    pub(crate) fn models(&self) -> Arc<ModelsInForce> {
        self.observer.models()
    }

    /// Removed cells with their epochs, and the epoch after which they are all known.
    pub(crate) fn removed(&self) -> (Vec<(CellKey, EpochId)>, EpochId) {
        self.removed.all()
    }

    /// The watch as it is now.
    pub(crate) fn freeze(&mut self) -> FrozenWatch {
        let observer = self.observer.freeze();
        let forgotten = observer.forgotten_alerts().iter().filter_map(|slot| observer.alert(*slot));
        forgotten.for_each(|alert| self.published.forget(&alert.id));
        FrozenWatch {
            observer,
            removed: self.removed.freeze(),
            published: self.published.slots.freeze(),
        }
    }

    /// Where the alerts of one file of the table are held, the table being at another epoch than the
    /// state that was loaded, which was at `loaded` and without alerts of KPIs `unwatched`: for each row its slot, and whether it is the same;
    /// `None` for a row that is no result of the epochs. No list when nothing of the file is held: alerts
    /// that are long over.
    pub(crate) fn locate(
        &mut self,
        file: Vec<Alert>,
        loaded: Micros,
        unwatched: &BTreeSet<String>,
    ) -> Option<Vec<Option<(u32, bool)>>> {
        let is_kept =
            |alert: &Alert| alert.is_long_over(loaded) && !unwatched.contains(&*alert.key.kpi);
        if file.iter().all(is_kept) {
            let ids: Vec<_> = file.iter().map(|alert| Arc::clone(&alert.id)).collect();
            self.observer.forget(&ids);
            ids.iter().for_each(|id| self.published.forget(id));
            return None;
        }
        let locate = |alert: Alert| match self.observer.alert(&alert.id) {
            Some((slot, held)) => Some((slot, *held == alert)),
            // It was not loaded, and is in a file with younger ones since.
            None if is_kept(&alert) => Some((self.observer.adopt(alert)?, true)),
            None => None,
        };
        Some(file.into_iter().map(locate).collect())
    }

    /// The slots of the alerts that are held.
    pub(crate) fn slots(&self) -> Vec<u32> {
        let alerts = self.observer.alerts();
        alerts.iter().filter_map(|alert| Some(self.observer.alert(&alert.id)?.0)).collect()
    }

    /// Goes on from what was saved, the engine being loaded.
    pub(crate) fn load(
        &mut self,
        saved: &Saved,
        alerts: Vec<Alert>,
        gold: &Engine,
        kept: &dyn Fn(&str) -> bool,
    ) -> Result<(), RestoreError> {
        let loaded = self.observer.load(saved, alerts, gold, kept);
        loaded.map_err(RestoreError::Detectors)?;
        self.removed = Removed::load(saved)?;
        self.published = Published::load(saved)?;
        Ok(())
    }
}
