//! Alerts: each in a numbered slot, and which of them changed.
//!
//! # Guarantees
//! - An alert keeps its slot until it is forgotten; [`AlertBook::freeze`] copies no alert.
//! - What is forgotten is in the book that is frozen at that moment, and in none after it. Its slot is
//!   given to another alert.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::{Alert, Grain, Marks, Micros, Paged};

/// The alerts of a scorer.
#[derive(Debug)]
pub(crate) struct AlertBook {
    slots: Paged<Option<Arc<Alert>>>,
    by_id: BTreeMap<Arc<str>, u32>,
    /// By tenant the ids of all that are open, and of some that were.
    open: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Ids of those that changed since somebody was told.
    untold: BTreeSet<Arc<str>>,
    /// Ids of those that opened and have no incident yet.
    opened: Vec<Arc<str>>,
    changed: Marks,
    /// Slots without an alert.
    free: Vec<u32>,
    /// The day on which alerts were forgotten last.
    day: Option<Micros>,
}

/// The alerts at one epoch.
#[derive(Debug)]
pub(crate) struct FrozenAlerts {
    slots: Paged<Option<Arc<Alert>>>,
    /// The slots that changed since the freeze before.
    pub(crate) changed: Vec<u32>,
    /// The slots that were given up.
    pub(crate) forgotten: Vec<u32>,
}

impl AlertBook {
    /// A book of these alerts, each in the slot of its place.
    pub(crate) fn new(alerts: Vec<Alert>) -> AlertBook {
        let mut book = AlertBook {
            slots: Paged::new(1),
            by_id: BTreeMap::new(),
            open: BTreeMap::new(),
            untold: BTreeSet::new(),
            opened: Vec::new(),
            changed: Marks::default(),
            free: Vec::new(),
            day: None,
        };
        for alert in alerts {
            book.add(alert);
        }
        book
    }

    /// Puts an alert in a slot that is free.
    pub(crate) fn add(&mut self, alert: Alert) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.slots.push(None)).ok()?,
        };
        self.by_id.insert(Arc::clone(&alert.id), slot);
        if alert.is_open() {
            self.open
                .entry(Arc::clone(&alert.key.tenant))
                .or_default()
                .insert(Arc::clone(&alert.id));
        }
        *self.slots.get_mut(slot as usize)? = Some(Arc::new(alert));
        Some(slot)
    }

    /// The slot of an alert, and the alert.
    pub(crate) fn find(&self, id: &str) -> Option<(u32, &Alert)> {
        let slot = *self.by_id.get(id)?;
        Some((slot, self.get(slot)?))
    }

    /// Takes an alert out, and frees its slot.
    pub(crate) fn remove(&mut self, id: &str) {
        let Some(slot) = self.by_id.remove(id) else { return };
        if let Some(held) = self.slots.get_mut(slot as usize) {
            *held = None;
        }
        self.free.push(slot);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The alert with this id, made when there is none, to be changed: it is open from now on.
    pub(crate) fn get_or_insert_with(
        &mut self,
        id: &Arc<str>,
        make: impl FnOnce() -> Alert,
    ) -> Option<&mut Alert> {
        if !self.by_id.contains_key(id) {
            self.add(make())?;
        }
        let alert = self.get_mut(id)?;
        let tenant = Arc::clone(&alert.key.tenant);
        self.open.entry(tenant).or_default().insert(Arc::clone(id));
        self.get_mut(id)
    }

    /// The open alerts of a tenant, by id.
    pub(crate) fn open_of(&mut self, tenant: &str) -> Vec<&Alert> {
        let AlertBook { slots, by_id, open, .. } = self;
        let get = |id: &Arc<str>| {
            let slot = *by_id.get(id)? as usize;
            slots.get(slot)?.as_deref().filter(|alert| alert.is_open())
        };
        let Some(ids) = open.get_mut(tenant) else { return Vec::new() };
        ids.retain(|id| get(id).is_some());
        ids.iter().filter_map(get).collect()
    }

    /// The alert with this id, to be changed.
    pub(crate) fn get_mut(&mut self, id: &Arc<str>) -> Option<&mut Alert> {
        let slot = *self.by_id.get(id)?;
        self.changed.mark(slot);
        self.untold.insert(Arc::clone(id));
        self.slots.get_mut(slot as usize)?.as_mut().map(Arc::make_mut)
    }

    /// Notes that an alert has opened, and has no incident yet.
    pub(crate) fn opens(&mut self, id: Arc<str>) {
        self.opened.push(id);
    }

    /// The ids of the alerts that opened since the last call.
    pub(crate) fn take_opened(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.opened)
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

    /// The alerts as they are at `now`. Once a day those that are long over are forgotten, the frozen
    /// ones excepted.
    pub(crate) fn freeze(&mut self, now: Micros) -> FrozenAlerts {
        let (slots, changed) = (self.slots.freeze(), self.changed.take());
        let day = Grain::Day.start(now);
        let mut over: Vec<(Arc<str>, u32)> = Vec::new();
        if self.day < Some(day) {
            self.day = Some(day);
            let held = self
                .by_id
                .iter()
                .filter(|(_, slot)| self.get(**slot).is_some_and(|alert| alert.is_long_over(now)));
            let told = held.filter(|(id, _)| !self.untold.contains(*id));
            over = told.map(|(id, slot)| (Arc::clone(id), *slot)).collect();
        }
        over.iter().for_each(|(id, _)| self.remove(id));
        FrozenAlerts { slots, changed, forgotten: over.into_iter().map(|(_, slot)| slot).collect() }
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
