//! Drives a scorer over cells that are held beside it, as the core does: epochs with a clock, and a tick whenever one
//! is due.
//!
//! # Guarantees
//! - The detector sees what it would see in an engine: cells that have changed, in key order, in the epoch in which
//!   they did, and no cell before it is set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::{
    Alert, CellKey, CellValue, Cells, EpochStamp, Feeding, Grain, KpiUpdate, Micros, Observer,
    OriginName, SeriesId, Sight,
};

use crate::Scorer;

/// KPI, tenant and dimensions.
type SeriesName = (Arc<str>, Arc<str>, Arc<str>);

/// The cells of one series.
#[derive(Debug)]
struct Held {
    kpi: Arc<str>,
    tenant: Arc<str>,
    dims: Arc<str>,
    cells: BTreeMap<(Grain, Micros), CellValue>,
}

/// The cells as they stand.
#[derive(Debug, Default)]
struct Store {
    series: Vec<Held>,
    places: BTreeMap<SeriesName, usize>,
}

fn place(id: SeriesId) -> usize {
    usize::try_from(id.series).unwrap_or(usize::MAX)
}

fn id(place: usize) -> Option<SeriesId> {
    Some(SeriesId { kpi: 0, series: u32::try_from(place).ok()? })
}

impl Cells for Store {
    fn series(&self, kpi: &str, tenant: &str, dims: &str) -> Option<SeriesId> {
        id(*self.places.get(&(kpi.into(), tenant.into(), dims.into()))?)
    }

    fn value(&self, series: SeriesId, grain: Grain, start: Micros) -> Option<CellValue> {
        self.series.get(place(series))?.cells.get(&(grain, start)).copied()
    }
}

impl Feeding for Store {
    fn feeds(&self, _by: &OriginName, _kpi: &str, _tenant: &str) -> bool {
        true
    }
}

/// A scorer and its cells.
pub(crate) struct Driver {
    scorer: Scorer,
    store: Store,
    epoch: u64,
    stamp: EpochStamp,
    touched: BTreeSet<(usize, Grain, Micros)>,
}

impl Driver {
    pub(crate) fn new(scorer: Scorer) -> Driver {
        let stamp = EpochStamp { id: 0, clock: Micros(0), quiet: false };
        let store = Store::default();
        Driver { scorer, store, epoch: 0, stamp, touched: BTreeSet::new() }
    }

    /// Adds a series without cells; its place.
    pub(crate) fn add(&mut self, kpi: &Arc<str>, tenant: &Arc<str>, dims: &Arc<str>) -> usize {
        let place = self.store.series.len();
        let (kpi, tenant, dims) = (Arc::clone(kpi), Arc::clone(tenant), Arc::clone(dims));
        let name = (Arc::clone(&kpi), Arc::clone(&tenant), Arc::clone(&dims));
        self.store.places.insert(name, place);
        self.store.series.push(Held { kpi, tenant, dims, cells: BTreeMap::new() });
        place
    }

    /// The place of a series.
    pub(crate) fn find(&self, kpi: &str, tenant: &str, dims: &str) -> Option<usize> {
        self.store.series(kpi, tenant, dims).map(place)
    }

    /// The handle of the series at a place.
    pub(crate) fn series(&self, place: usize) -> Option<SeriesId> {
        self.store.series.get(place).and_then(|_| id(place))
    }

    /// Lets timers fire that are due before an instant: each with the alerts that changed by it.
    pub(crate) fn tick_to(&mut self, at: Micros, mut take: impl FnMut(Micros, Vec<Alert>)) {
        while let Some(due) = self.scorer.next_due().filter(|due| *due < at) {
            let stamp = EpochStamp { id: self.epoch, clock: due, quiet: false };
            let sight = Sight { cells: &self.store, feeding: &self.store };
            self.scorer.advance(&stamp, true, &[], sight);
            take(due, self.scorer.take_changes());
        }
    }

    /// An epoch begins; `quiet`: it brings a backlog of the only origin that there is.
    pub(crate) fn begin(&mut self, clock: Micros, quiet: bool) {
        self.epoch += 1;
        self.stamp = EpochStamp { id: self.epoch, clock, quiet };
        let origin = OriginName { contract: "c".into(), origin: "o".into() };
        let lagging: &[OriginName] = if quiet { &[origin] } else { &[] };
        let sight = Sight { cells: &self.store, feeding: &self.store };
        self.scorer.advance(&self.stamp, false, lagging, sight);
    }

    /// Sets a cell in the epoch that has begun.
    pub(crate) fn set(&mut self, place: usize, grain: Grain, start: Micros, cell: CellValue) {
        if let Some(series) = self.store.series.get_mut(place) {
            series.cells.insert((grain, start), cell);
            self.touched.insert((place, grain, start));
        }
    }

    /// Sets a cell that nobody is told of.
    pub(crate) fn put(&mut self, place: usize, grain: Grain, start: Micros, cell: CellValue) {
        if let Some(series) = self.store.series.get_mut(place) {
            series.cells.insert((grain, start), cell);
        }
    }

    /// What a cell says.
    pub(crate) fn cell(&self, place: usize, grain: Grain, start: Micros) -> Option<CellValue> {
        self.store.series.get(place)?.cells.get(&(grain, start)).copied()
    }

    /// The epoch ends: the alerts that changed by it.
    pub(crate) fn finish(&mut self) -> Vec<Alert> {
        let touched = std::mem::take(&mut self.touched);
        let update = |(place, grain, start): (usize, Grain, Micros)| {
            let series = self.store.series.get(place)?;
            let key = CellKey {
                kpi: Arc::clone(&series.kpi),
                tenant: Arc::clone(&series.tenant),
                dims: Arc::clone(&series.dims),
                grain,
                period_start: start,
            };
            let value = series.cells.get(&(grain, start)).copied();
            let (epoch, as_of) = (self.epoch, self.stamp.clock);
            Some(KpiUpdate { key, series: id(place)?, value, epoch, as_of, window: None })
        };
        let mut updates: Vec<KpiUpdate> = touched.into_iter().filter_map(update).collect();
        updates.sort_by(|a, b| a.key.cmp(&b.key));
        let sight = Sight { cells: &self.store, feeding: &self.store };
        self.scorer.observe(&self.stamp, &updates, sight);
        self.scorer.take_changes()
    }

    /// Puts regressions in force; of how many series.
    #[cfg(test)]
    pub(crate) fn train(&mut self, models: &schemas::Models) -> usize {
        self.scorer.train(models)
    }

    /// The scorer, and the cells that it sees.
    pub(crate) fn scorer(&self) -> (&Scorer, &dyn Cells) {
        (&self.scorer, &self.store)
    }
}
