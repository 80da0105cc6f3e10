//! The store against a model that keeps every epoch and thinks of nothing else.

use std::collections::BTreeMap as Map;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{EpochStamp, KpiUpdate, Severity, Status};

use super::*;

type Cells = Map<(Arc<str>, Arc<str>, Arc<str>, Grain, Micros), CellValue>;

const TENANTS: [&str; 3] = ["a", "b", "c"];
const KPIS: [&str; 3] = ["cost", "orders", "revenue"];
const DIMS: [&str; 2] = [r#"{"currency":"EUR"}"#, r#"{"currency":"USD"}"#];

fn value(number: i128) -> CellValue {
    CellValue { value: Some(number), numerator: None, denominator: None, status: Status::Ok }
}

fn place(key: &CellKey) -> (Arc<str>, Arc<str>, Arc<str>, Grain, Micros) {
    let CellKey { kpi, tenant, dims, grain, period_start } = key.clone();
    (tenant, kpi, dims, grain, period_start)
}

impl Store {
    /// An epoch without doubts.
    pub(crate) fn apply(&self, stamp: &EpochStamp, updates: &[KpiUpdate], alerts: &[Alert]) {
        let (cells, alerts) = (updates.to_vec(), alerts.to_vec());
        self.publish(&Published { stamp: *stamp, cells, alerts, degraded: Arc::default() });
    }
}

fn stamp(epoch: EpochId) -> EpochStamp {
    EpochStamp { id: epoch, clock: Micros(epoch.cast_signed()), quiet: false }
}

fn alert(id: &str, epoch: EpochId) -> Alert {
    Alert {
        id: id.into(),
        key: random_key(&mut StdRng::seed_from_u64(1)),
        rule: "seasonal".into(),
        anomaly_type: "spike".into(),
        severity: Severity::Error,
        opened_at: Micros(1),
        resolved_at: None,
        resolution: None,
        value: None,
        expected: None,
        lower: None,
        upper: None,
        deviation: 0.0,
        z_score: 0.0,
        p_value: 0.0,
        confidence: 0.0,
        reason: "".into(),
        contributions: Vec::new(),
        epoch,
    }
}

fn random_key(random: &mut StdRng) -> CellKey {
    CellKey {
        kpi: KPIS[random.random_range(0..KPIS.len())].into(),
        tenant: TENANTS[random.random_range(0..TENANTS.len())].into(),
        dims: DIMS[random.random_range(0..DIMS.len())].into(),
        grain: Grain::ALL[random.random_range(0..3)],
        period_start: Micros(random.random_range(0..4)),
    }
}

/// The number of a series, as the engine would give it: the same for all its grains.
fn series(key: &CellKey) -> SeriesId {
    let at = |all: &[&str], one: &str| u32::try_from(all.iter().position(|n| *n == one).unwrap());
    let (kpi, tenant) = (at(&KPIS, &key.kpi).unwrap(), at(&TENANTS, &key.tenant).unwrap());
    SeriesId { kpi, series: tenant * 2 + at(&DIMS, &key.dims).unwrap() }
}

fn filters() -> Vec<Filter> {
    let kpis = Some(BTreeSet::from([Arc::from("orders"), Arc::from("cost")]));
    vec![
        Filter::default(),
        Filter { tenant: Some("b".into()), ..Filter::default() },
        Filter { kpis, grain: Some(Grain::Day), ..Filter::default() },
        Filter { from: Some(Micros(1)), to: Some(Micros(3)), ..Filter::default() },
        Filter { from: Some(Micros(3)), to: Some(Micros(1)), ..Filter::default() },
        Filter { tenant: Some("nobody".into()), ..Filter::default() },
    ]
}

/// What a filter means, written down once more.
fn is_wanted(filter: &Filter, (tenant, kpi, _, grain, start): &<Cells as Keys>::Key) -> bool {
    let tenant_fits = match &filter.tenant {
        Some(wanted) => wanted == tenant,
        None => true,
    };
    let kpi_fits = match &filter.kpis {
        Some(wanted) => wanted.iter().any(|wanted| wanted == kpi),
        None => true,
    };
    let grain_fits = filter.grain.is_none() || filter.grain == Some(*grain);
    let after = filter.from.is_none() || *start >= filter.from.unwrap();
    let before = filter.to.is_none() || *start < filter.to.unwrap();
    tenant_fits && kpi_fits && grain_fits && after && before
}

trait Keys {
    type Key;
}

impl<K, V> Keys for Map<K, V> {
    type Key = K;
}

fn wanted(filter: &Filter, cells: &Cells) -> Cells {
    let cells = cells.iter().filter(|(key, _)| is_wanted(filter, key));
    cells.map(|(key, value)| (key.clone(), *value)).collect()
}

/// Every epoch since the store began, and the alerts of each.
struct Model {
    history: Vec<(EpochId, Cells)>,
    alerts: Map<Arc<str>, EpochId>,
}

impl Model {
    fn now(&self) -> &(EpochId, Cells) {
        self.history.last().unwrap()
    }

    fn check(&self, store: &Store) {
        let (epoch, cells) = self.now();
        for filter in filters() {
            let (position, read) = store.cells(&filter, false).unwrap();
            assert_eq!(position.offset, *epoch);
            let read: Vec<_> = read.iter().map(|(key, value)| (place(key), *value)).collect();
            let expected: Vec<_> = wanted(&filter, cells).into_iter().collect();
            assert_eq!(read, expected, "{filter:?}");
            assert_eq!(store.count(&filter, false), expected.len());
            self.check_newest(store, &filter, &expected);
            self.check_changes(store, &filter);
        }
        assert_eq!(store.len(), cells.len());
        let tenants: BTreeSet<_> = cells.keys().map(|(tenant, ..)| Arc::clone(tenant)).collect();
        assert_eq!(store.tenants(), tenants.into_iter().collect::<Vec<_>>());
        for since in 0..=*epoch {
            let (_, alerts) = store.alerts(Some(since)).unwrap();
            let found: BTreeSet<_> = alerts.iter().map(|alert| Arc::clone(&alert.id)).collect();
            assert_eq!(found.len(), alerts.len(), "each alert once");
            let expected = self.alerts.iter().filter(|(_, changed)| **changed > since);
            assert_eq!(found, expected.map(|(id, _)| Arc::clone(id)).collect());
        }
        assert_eq!(store.alerts(None).unwrap().1.len(), self.alerts.len());
    }

    fn check_newest(
        &self,
        store: &Store,
        filter: &Filter,
        all: &[(<Cells as Keys>::Key, CellValue)],
    ) {
        let mut newest = Map::new();
        for ((tenant, kpi, dims, grain, start), value) in all {
            newest.insert((tenant, kpi, dims, grain), (*start, *value));
        }
        let (_, read) = store.cells(filter, true).unwrap();
        let read: Vec<_> = read.iter().map(|(key, value)| (key.period_start, *value)).collect();
        assert_eq!(read, newest.into_values().collect::<Vec<_>>());
        assert_eq!(store.count(filter, true), read.len());
    }

    /// From every epoch: what was read there, with the changes applied, is what is read now.
    fn check_changes(&self, store: &Store, filter: &Filter) {
        let (epoch, cells) = self.now();
        let floor = store.held.read().floor;
        for (since, before) in &self.history {
            let Some((position, changes)) = store.changes(filter, *since) else {
                assert!(*since < floor, "changes since {since} are known from {floor} on");
                continue;
            };
            assert!(*since >= floor);
            assert_eq!(position.offset, *epoch);
            let mut state = wanted(filter, before);
            let mut seen = BTreeSet::new();
            for Change { key, value } in changes {
                assert!(is_wanted(filter, &place(&key)), "{key:?} is not wanted by {filter:?}");
                assert!(seen.insert(place(&key)), "{key:?} is there twice");
                match value {
                    Some(value) => drop(state.insert(place(&key), value)),
                    None => drop(state.remove(&place(&key))),
                }
            }
            assert_eq!(state, wanted(filter, cells), "since {since} with {filter:?}");
        }
        assert!(store.changes(filter, epoch + 1).is_none(), "the future is not known");
    }
}

/// An epoch of random changes: a cell may come, change, go, come again, or change twice.
fn random_updates(random: &mut StdRng, epoch: EpochId, cells: &mut Cells) -> Vec<KpiUpdate> {
    let mut updates = Vec::new();
    for _ in 0..random.random_range(0..6) {
        let key = random_key(random);
        let fresh = random.random_bool(0.6).then(|| value(random.random_range(0..1_000_000)));
        match fresh {
            Some(value) => drop(cells.insert(place(&key), value)),
            None => drop(cells.remove(&place(&key))),
        }
        let series = series(&key);
        updates.push(KpiUpdate { key, series, value: fresh, epoch, as_of: Micros(0) });
    }
    updates
}

fn run(seed: u64, log_max: usize) -> EpochId {
    let mut random = StdRng::seed_from_u64(seed);
    let store = Store::with_log_max(Vec::new(), log_max);
    assert!(store.cells(&Filter::default(), false).is_none() && store.position().is_none());
    // Ten epochs happen before the store starts, as recovery would tell them.
    let (mut cells, mut changed) = (Cells::new(), Map::new());
    let mut history = Vec::new();
    for epoch in 1..=10 {
        for update in random_updates(&mut random, epoch, &mut cells) {
            changed.insert(place(&update.key), (epoch, update.key));
        }
        history.push((epoch, cells.clone()));
    }
    let known_after = random.random_range(0..=10);
    let mut start = Start {
        generation: "g".to_owned(),
        offset: 10,
        removals_after: known_after,
        alerts: vec![alert("x", 3), alert("y", 10)],
        ..Start::default()
    };
    for (place, (epoch, key)) in changed {
        match cells.get(&place) {
            Some(value) => start.cells.push((key, *value, epoch)),
            None if epoch > known_after => start.removed.push((key, epoch)),
            None => {}
        }
    }
    store.start(start);
    let alerts = Map::from([(Arc::from("x"), 3), (Arc::from("y"), 10)]);
    let mut model = Model { history, alerts };
    model.check(&store);
    for epoch in 11..=40 {
        let updates = random_updates(&mut random, epoch, &mut cells);
        let mut alerts = Vec::new();
        if random.random_bool(0.4) {
            let id = ["x", "y", "z"][random.random_range(0..3)];
            alerts.push(alert(id, epoch));
            model.alerts.insert(id.into(), epoch);
        }
        let stamp = EpochStamp { id: epoch, clock: Micros(epoch.cast_signed()), quiet: false };
        store.apply(&stamp, &updates, &alerts);
        model.history.push((epoch, cells.clone()));
        model.check(&store);
        assert!(store.held.read().log.len() <= log_max.max(6), "the log is bounded");
        assert!(store.held.read().removed.len() <= store.held.read().log.len());
    }
    store.held.read().floor
}

#[test]
fn changes_from_anywhere_lead_to_what_is_read_now() {
    for seed in 0..20 {
        run(seed, LOG_MAX);
    }
}

#[test]
fn the_same_holds_when_old_changes_are_forgotten() {
    let floors: Vec<_> = (0..20).map(|seed| run(seed, 30)).collect();
    assert!(floors.iter().all(|floor| *floor > 10), "nothing was ever forgotten: {floors:?}");
}

#[test]
fn a_new_start_forgets_what_was_before() {
    let store = Store::new(Vec::new());
    let key = random_key(&mut StdRng::seed_from_u64(7));
    let cells = vec![(key.clone(), value(1), 4)];
    let mut published = store.published();
    store.start(Start { generation: "g1".to_owned(), offset: 4, cells, ..Start::default() });
    assert!(published.has_changed().unwrap() && *published.borrow_and_update() == 4);
    store.start(Start { generation: "g2".to_owned(), offset: 2, ..Start::default() });
    assert!(published.has_changed().unwrap() && *published.borrow_and_update() == 2);
    assert!(store.is_empty() && store.tenants().is_empty());
    let position = store.position().unwrap();
    assert_eq!((&*position.generation, position.offset), ("g2", 2));
    let update = KpiUpdate {
        series: SeriesId { kpi: 9, series: 9 },
        value: Some(value(2)),
        epoch: 3,
        as_of: Micros(3),
        key: key.clone(),
    };
    store.apply(&EpochStamp { id: 3, clock: Micros(3), quiet: false }, &[update], &[]);
    let (_, changes) = store.changes(&Filter::default(), 2).unwrap();
    assert_eq!(changes, [Change { key, value: Some(value(2)) }]);
}

#[test]
fn whole_series_keep_points_outside_of_the_period_asked_for() {
    let store = Store::new(Vec::new());
    let key = |start| CellKey {
        period_start: Micros(start),
        ..random_key(&mut StdRng::seed_from_u64(7))
    };
    let cells = (0..3).map(|start| (key(start), value(start.into()), 1)).collect();
    store.start(Start { offset: 1, cells, ..Start::default() });
    let filter = Filter { from: Some(Micros(2)), ..Filter::default() };
    let (_, series) = store.series(&filter).unwrap();
    let points: Vec<_> = series[0].points.iter().map(|(start, _)| start.0).collect();
    assert_eq!((series.len(), points), (1, vec![0, 1, 2]));
    assert_eq!(series[0].tenant, key(0).tenant);
}

/// Readers beside busy threads: a value and what is said of it are of one epoch, whichever it is.
#[test]
fn what_is_doubtful_comes_and_goes_with_its_values() {
    let store = Store::new(Vec::new());
    let key = random_key(&mut StdRng::seed_from_u64(7));
    let doubt = |epoch: EpochId| -> Arc<[Reason]> {
        let reason = |_| Reason { text: format!("halted in {epoch}"), since: Micros(0) };
        (epoch % 2 == 1).then(|| reason(())).into_iter().collect()
    };
    let cells = vec![(key.clone(), value(0), 0)];
    store.start(Start { cells, degraded: doubt(0), ..Start::default() });
    let over = std::sync::atomic::AtomicBool::new(false);
    let is_over = || over.load(std::sync::atomic::Ordering::Relaxed);
    let last = 3_000;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over() {
                    std::hint::spin_loop();
                }
            });
        }
        let reader = || {
            while store.position().is_none_or(|position| position.offset < last) {
                let (position, cells) = store.cells(&Filter::default(), false).unwrap();
                assert_eq!(cells[0].1, value(position.offset.into()));
                assert_eq!(position.degraded, doubt(position.offset));
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for epoch in 1..=last {
            let (stamp, series) = (stamp(epoch), SeriesId { kpi: 0, series: 0 });
            let (value, as_of) = (Some(value(epoch.into())), stamp.clock);
            let update = KpiUpdate { key: key.clone(), series, value, epoch, as_of };
            let (cells, degraded) = (vec![update], doubt(epoch));
            store.publish(&Published { stamp, cells, alerts: Vec::new(), degraded });
        }
        let results = readers.map(|reader| reader.join());
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
}

#[test]
fn a_client_that_is_behind_is_told_what_was_doubtful_then() {
    let store = Store::new(Vec::new());
    let doubt: Arc<[Reason]> = [Reason { text: "halted".into(), since: Micros(5) }].into();
    store.start(Start { offset: 4, ..Start::default() });
    let publish = |epoch, degraded: &Arc<[Reason]>| {
        let (cells, alerts, degraded) = (Vec::new(), Vec::new(), Arc::clone(degraded));
        store.publish(&Published { stamp: stamp(epoch), cells, alerts, degraded });
    };
    publish(5, &doubt);
    publish(6, &doubt);
    publish(7, &Arc::default());
    let told: Vec<usize> = (4..=8).map(|offset| store.degraded_at(offset).len()).collect();
    assert_eq!(told, [0, 1, 1, 0, 0]);
}
