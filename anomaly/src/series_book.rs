//! The series that are watched: each at a numbered place, and which of them changed.
//!
//! # Guarantees
//! - A place keeps its number, also over restarts; [`SeriesBook::freeze`] copies no series.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use schemas::answer::Verdict;
use schemas::{CellKey, Cells, Grain, Marks, Micros, Models, ModelsInForce, Paged, SeriesId};

use crate::entry::{Entry, Name};
use crate::regression::{CALENDAR, Trained};

/// So many series that are to learn are worth more threads than one, and so many threads are used at most.
const MANY: usize = 64;
const THREADS: usize = 16;

/// The series of a scorer.
pub(crate) struct SeriesBook {
    places: Paged<Option<Arc<Entry>>>,
    by_id: HashMap<(SeriesId, Grain), usize, FixedState>,
    by_name: BTreeMap<Name, usize>,
    changed: Marks,
    /// The regressions that are in force.
    models: Arc<ModelsInForce>,
}

/// The series at one epoch.
#[derive(Debug)]
pub(crate) struct FrozenSeries {
    places: Paged<Option<Arc<Entry>>>,
    /// The places that changed since the freeze before.
    pub(crate) changed: Vec<u32>,
}

impl SeriesBook {
    pub(crate) fn new() -> SeriesBook {
        SeriesBook {
            places: Paged::new(1),
            by_id: HashMap::with_hasher(FixedState::default()),
            by_name: BTreeMap::new(),
            changed: Marks::default(),
            models: Arc::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The place of a series by its handle.
    pub(crate) fn find(&self, id: SeriesId, grain: Grain) -> Option<usize> {
        self.by_id.get(&(id, grain)).copied()
    }

    /// The place of a series by its name.
    pub(crate) fn find_name(&self, name: &Name) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Entry> {
        self.places.get(place)?.as_deref()
    }

    /// A series to be changed.
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Entry> {
        let entry = self.places.get_mut(place)?.as_mut()?;
        self.changed.mark(u32::try_from(place).unwrap_or(u32::MAX));
        Some(Arc::make_mut(entry))
    }

    /// Has each series learn for which this names an instant: all that is over by then. What a series learns follows
    /// from its own cells alone, so many of them learn on all cores.
    pub(crate) fn learn_all(
        &mut self,
        cells: &dyn Cells,
        until: impl Fn(&Entry) -> Option<Micros>,
    ) {
        let mut learning = Vec::new();
        for place in 0..self.end() {
            let due = self.get(place).and_then(|entry| Some((entry, until(entry)?)));
            let Some((_, end)) = due.filter(|(entry, end)| !entry.has_learned(*end)) else {
                continue;
            };
            self.changed.mark(u32::try_from(place).unwrap_or(u32::MAX));
            let entry = self.places.get_mut(place).and_then(Option::take);
            learning.extend(entry.map(|entry| (place, end, entry)));
        }
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = if learning.len() < MANY { 1 } else { cores.min(THREADS) };
        let waiting = Mutex::new(learning.iter_mut());
        let work = || loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((_, end, entry)) = next else { break };
            Arc::make_mut(entry).learn_before(*end, cells);
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // Where no thread can be had, the others do its work.
                let _started =
                    std::thread::Builder::new().name("learn".into()).spawn_scoped(scope, work);
            }
            work();
        });
        for (place, _, entry) in learning {
            if let Some(held) = self.places.get_mut(place) {
                *held = Some(entry);
            }
        }
    }

    /// Takes what people said of an alert whose newest bucket this is; false where the series is not watched.
    pub(crate) fn heed(&mut self, of: &CellKey, before: Option<Verdict>, verdict: Verdict) -> bool {
        let CellKey { kpi, tenant, dims, grain, period_start } = of.clone();
        let place = self.find_name(&Name { kpi, tenant, dims, grain });
        let entry = place.and_then(|place| self.get_mut(place));
        entry.is_some_and(|entry| entry.heed(period_start, before, verdict))
    }

    /// Puts regressions in force that a decision carries; of how many series. Those that are not known take none, and
    /// what cannot be read was made by another release: the one before stays.
    pub(crate) fn train(&mut self, models: &Models) -> usize {
        let mut taken = 0;
        for own in models.series.iter().filter(|_| models.detector == CALENDAR) {
            let name = Name {
                kpi: models.kpi.as_str().into(),
                tenant: own.tenant.as_str().into(),
                dims: own.dims.as_str().into(),
                grain: own.grain,
            };
            let trained = own.model.as_deref().map(Trained::parse);
            let Some(place) = self.find_name(&name).filter(|_| trained != Some(None)) else {
                continue;
            };
            if let Some(entry) = self.get_mut(place) {
                entry.put_in_force(trained.flatten());
                let text = entry.learner.trained.as_ref().map(|own| own.to_text().into());
                Arc::make_mut(&mut self.models).put(name.cell(Micros(0)), text);
                taken += 1;
            }
        }
        taken
    }

    /// The regressions that are in force.
    pub(crate) fn models(&self) -> &Arc<ModelsInForce> {
        &self.models
    }

    /// Notes the handle of a series, which is not saved.
    pub(crate) fn set_id(&mut self, place: usize, id: SeriesId) {
        if let Some(entry) = self.places.get_mut(place).and_then(Option::as_mut) {
            let entry = Arc::make_mut(entry);
            entry.id = Some(id);
            self.by_id.insert((id, entry.name.grain), place);
        }
    }

    /// Adds a series that is not known, at the next place.
    pub(crate) fn add(&mut self, entry: Entry) -> usize {
        let place = self.places.len();
        self.put(place, entry);
        self.changed.mark(u32::try_from(place).unwrap_or(u32::MAX));
        place
    }

    /// Puts a series that was saved at its place.
    pub(crate) fn put(&mut self, place: usize, entry: Entry) {
        while self.places.len() <= place {
            self.places.push(None);
        }
        if let Some(id) = entry.id {
            self.by_id.insert((id, entry.name.grain), place);
        }
        self.by_name.insert(entry.name.clone(), place);
        if let Some(trained) = &entry.learner.trained {
            let models = Arc::make_mut(&mut self.models);
            models.put(entry.name.cell(Micros(0)), Some(trained.to_text().into()));
        }
        if let Some(held) = self.places.get_mut(place) {
            *held = Some(Arc::new(entry));
        }
    }

    /// Places of all series in key order.
    pub(crate) fn in_order(&self) -> Vec<usize> {
        self.by_name.values().copied().collect()
    }

    /// One more than the highest place.
    pub(crate) fn end(&self) -> usize {
        self.places.len()
    }

    /// The series from a name on, in key order.
    pub(crate) fn starting_at(&self, name: Name) -> impl Iterator<Item = &Entry> {
        self.by_name.range(name..).filter_map(|(_, place)| self.get(*place))
    }

    /// The series as they are now.
    pub(crate) fn freeze(&mut self) -> FrozenSeries {
        FrozenSeries { places: self.places.freeze(), changed: self.changed.take() }
    }
}

impl FrozenSeries {
    pub(crate) fn get(&self, place: u32) -> Option<&Entry> {
        self.places.get(place as usize)?.as_deref()
    }

    /// One more than the highest place.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Calendar, CellValue, Good, Grains, KpiInfo, KpiKind, Status, Unit, Watching};

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    /// Every cell there may be: of each series other values.
    struct Waves;

    impl Cells for Waves {
        fn series(&self, _: &str, _: &str, dims: &str) -> Option<SeriesId> {
            dims.parse().ok().map(|series| SeriesId { kpi: 0, series })
        }

        fn value(&self, id: SeriesId, _: Grain, start: Micros) -> Option<CellValue> {
            let hour = start.0 / HOUR_US;
            let value = 100 + (hour * 7919 + i64::from(id.series) * 104_729) % 41 + hour % 24;
            let value = Some(i128::from(value) * 10_000_000_000);
            Some(CellValue { value, numerator: None, denominator: None, status: Status::Ok })
        }
    }

    fn book(series: u32) -> SeriesBook {
        let kpi = KpiInfo {
            key: "k".into(),
            title: "k".into(),
            description: None,
            unit: Unit::Count,
            good: Good::Up,
            group: None,
            kind: KpiKind::Flow,
            dims: vec!["d".into()],
            grains: Grains::ALL,
            windows: Grains::WINDOWS,
            breakdown_of: None,
            parts: Vec::new(),
            is_net: false,
            currency: None,
            watching: Watching::default(),
        };
        let (kpis, calendar) = (vec![kpi], Arc::new(Calendar::default()));
        let mut book = SeriesBook::new();
        for number in 0..series {
            let dims = number.to_string().as_str().into();
            let (kpi, tenant) = ("k".into(), "t".into());
            let name = Name { kpi, tenant, dims, grain: Grain::Hour };
            let place = book.add(Entry::new(&kpis, &calendar, name, Micros(0)).unwrap());
            book.set_id(place, SeriesId { kpi: 0, series: number });
        }
        book
    }

    /// All that a series has learned, also what is no number.
    fn text(entry: &Entry) -> String {
        serde_json::to_string(&entry.learner).unwrap()
    }

    #[test]
    fn many_series_learn_what_each_would_learn_alone() {
        let end = Micros(300 * HOUR_US);
        let count = u32::try_from(2 * MANY).unwrap();
        let (mut together, mut alone) = (book(count), book(count));
        // One is not to learn.
        let until = |entry: &Entry| (&*entry.name.dims != "5").then_some(end);
        together.learn_all(&Waves, until);
        for place in (0..alone.end()).filter(|place| *place != 5) {
            alone.get_mut(place).unwrap().learn_before(end, &Waves);
        }
        for place in 0..alone.end() {
            let [one, other] = [&together, &alone].map(|book| book.get(place).unwrap());
            assert_eq!(one.next, other.next, "{place}");
            assert_eq!(text(one), text(other), "{place}");
            assert_eq!(one.next == Micros(0), place == 5, "{place}");
        }
        let texts: Vec<_> = (0..alone.end()).map(|at| text(alone.get(at).unwrap())).collect();
        assert!(texts.windows(2).all(|pair| pair[0] != pair[1]), "each series is its own");
        assert_eq!(together.freeze().changed.len(), together.len());
    }
}
