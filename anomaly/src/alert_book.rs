//! Alerts: each in a numbered slot, and which of them changed.
//!
//! # Guarantees
//! - A slot keeps its number for as long as the process; [`AlertBook::freeze`] copies no alert.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::{Alert, Marks, Paged};

/// The alerts of a scorer.
#[derive(Debug)]
pub(crate) struct AlertBook {
    slots: Paged<Option<Arc<Alert>>>,
    by_id: BTreeMap<Arc<str>, u32>,
    /// Ids of those that changed since somebody was told.
    untold: BTreeSet<Arc<str>>,
    changed: Marks,
}

/// The alerts at one epoch.
#[derive(Debug)]
pub(crate) struct FrozenAlerts {
    slots: Paged<Option<Arc<Alert>>>,
    /// The slots that changed since the freeze before.
    pub(crate) changed: Vec<u32>,
}

impl AlertBook {
    /// A book of these alerts, each in the slot of its place.
    pub(crate) fn new(alerts: Vec<Alert>) -> AlertBook {
        let (mut slots, mut by_id) = (Paged::new(1), BTreeMap::new());
        for alert in alerts {
            let id = Arc::clone(&alert.id);
            let slot = slots.push(None);
            if let (Some(held), Ok(slot)) = (slots.get_mut(slot), u32::try_from(slot)) {
                *held = Some(Arc::new(alert));
                by_id.insert(id, slot);
            }
        }
        AlertBook { slots, by_id, untold: BTreeSet::new(), changed: Marks::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The alert with this id, made when there is none, to be changed.
    pub(crate) fn get_or_insert_with(
        &mut self,
        id: &Arc<str>,
        make: impl FnOnce() -> Alert,
    ) -> Option<&mut Alert> {
        if !self.by_id.contains_key(id) {
            let slot = self.slots.push(None);
            *self.slots.get_mut(slot)? = Some(Arc::new(make()));
            self.by_id.insert(Arc::clone(id), u32::try_from(slot).ok()?);
        }
        self.get_mut(id)
    }

    /// The alert with this id, to be changed.
    pub(crate) fn get_mut(&mut self, id: &Arc<str>) -> Option<&mut Alert> {
        let slot = *self.by_id.get(id)?;
        self.changed.mark(slot);
        self.untold.insert(Arc::clone(id));
        self.slots.get_mut(slot as usize)?.as_mut().map(Arc::make_mut)
    }

    /// The alerts that changed since the last call, ordered by id.
    pub(crate) fn take_changes(&mut self) -> Vec<Alert> {
        let untold = std::mem::take(&mut self.untold);
        let alert = |id: &Arc<str>| self.get(*self.by_id.get(id)?).cloned();
        untold.iter().filter_map(alert).collect()
    }

    /// All of them, ordered by id.
    pub(crate) fn all(&self) -> Vec<Alert> {
        self.by_id.values().filter_map(|slot| self.get(*slot)).cloned().collect()
    }

    fn get(&self, slot: u32) -> Option<&Alert> {
        self.slots.get(slot as usize)?.as_deref()
    }

    /// The alerts as they are now.
    pub(crate) fn freeze(&mut self) -> FrozenAlerts {
        FrozenAlerts { slots: self.slots.freeze(), changed: self.changed.take() }
    }
}

impl FrozenAlerts {
    pub(crate) fn get(&self, slot: u32) -> Option<&Alert> {
        self.slots.get(slot as usize)?.as_deref()
    }

    /// One more than the highest slot.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }
}
