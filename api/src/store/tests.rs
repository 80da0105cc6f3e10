//! The store against a model that keeps every epoch and thinks of nothing else.

use std::collections::{BTreeMap as Map, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{CellKey, CellValue, EpochStamp, Grain, KpiUpdate, SeriesId, Severity, Status};

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
        self.publish(&Published {
            stamp: *stamp,
            cells,
            alerts,
            answers: Arc::default(),
            models: Arc::default(),
            degraded: Arc::default(),
        });
    }
}

fn stamp(epoch: EpochId) -> EpochStamp {
    EpochStamp { id: epoch, clock: Micros(epoch.cast_signed()), quiet: false }
}

fn alert(id: &str, epoch: EpochId) -> Alert {
    Alert {
        id: id.into(),
        key: random_key(&mut StdRng::seed_from_u64(1)),
        incident: id.into(),
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

fn placed(cell: ServedCell<'_>) -> (<Cells as Keys>::Key, CellValue) {
    (place(&cell.series.cell(cell.grain, cell.period_start)), cell.value)
}

fn random_key(random: &mut StdRng) -> CellKey {
    CellKey {
        kpi: KPIS[random.random_range(0..KPIS.len())].into(),
        tenant: TENANTS[random.random_range(0..TENANTS.len())].into(),
        dims: DIMS[random.random_range(0..DIMS.len())].into(),
        grain: Grain::ALL[random.random_range(0..Grain::ALL.len())],
        period_start: Micros(random.random_range(0..4)),
    }
}

/// The number of a series, as the engine would give it: the same for all its grains.
fn series(key: &CellKey) -> SeriesId {
    let at = |all: &[&str], one: &str| u32::try_from(all.iter().position(|n| *n == one).unwrap());
    let (kpi, tenant) = (at(&KPIS, &key.kpi).unwrap(), at(&TENANTS, &key.tenant).unwrap());
    SeriesId { kpi, series: tenant * 2 + at(&DIMS, &key.dims).unwrap() }
}

fn filters() -> Vec<CellFilter> {
    let kpis = Some(BTreeSet::from([Arc::from("orders"), Arc::from("cost")]));
    vec![
        CellFilter::default(),
        CellFilter { tenant: Some("b".into()), ..CellFilter::default() },
        CellFilter { kpis, grain: Some(Grain::Day), ..CellFilter::default() },
        CellFilter { from: Some(Micros(1)), to: Some(Micros(3)), ..CellFilter::default() },
        CellFilter { from: Some(Micros(3)), to: Some(Micros(1)), ..CellFilter::default() },
        CellFilter { tenant: Some("nobody".into()), ..CellFilter::default() },
    ]
}

/// What a filter means, written down once more.
fn is_wanted(filter: &CellFilter, (tenant, kpi, _, grain, start): &<Cells as Keys>::Key) -> bool {
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

fn wanted(filter: &CellFilter, cells: &Cells) -> Cells {
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
            let (position, read) = store.cells(&filter, Periods::All).unwrap();
            assert_eq!(position.offset, *epoch);
            let expected: Vec<_> = wanted(&filter, cells).into_iter().collect();
            assert_eq!(read.iter().map(placed).collect::<Vec<_>>(), expected, "{filter:?}");
            assert_eq!(read.len(), expected.len());
            let by_series = read.series().flat_map(|(name, cells)| {
                assert!(cells.iter().all(|cell| cell.series == name));
                cells.into_iter().map(placed)
            });
            assert_eq!(by_series.collect::<Vec<_>>(), expected);
            self.check_newest(store, &filter, &expected);
            self.check_changes(store, &filter);
        }
        assert_eq!(store.len(), cells.len());
        let tenants: BTreeSet<_> = cells.keys().map(|(tenant, ..)| Arc::clone(tenant)).collect();
        assert_eq!(store.tenants(), tenants.into_iter().collect::<Vec<_>>());
        for since in 0..=*epoch {
            let (_, alerts) = store.alerts(None, Some(since)).unwrap();
            let found: BTreeSet<_> = alerts.iter().map(|alert| Arc::clone(&alert.id)).collect();
            assert_eq!(found.len(), alerts.len(), "each alert once");
            let expected = self.alerts.iter().filter(|(_, changed)| **changed > since);
            assert_eq!(found, expected.map(|(id, _)| Arc::clone(id)).collect());
        }
        assert_eq!(store.alerts(None, None).unwrap().1.len(), self.alerts.len());
    }

    fn check_newest(
        &self,
        store: &Store,
        filter: &CellFilter,
        all: &[(<Cells as Keys>::Key, CellValue)],
    ) {
        let mut newest = Map::new();
        for ((tenant, kpi, dims, grain, start), value) in all {
            newest.insert((tenant, kpi, dims, grain), (*start, *value));
        }
        let (_, read) = store.cells(filter, Periods::Newest).unwrap();
        let told: Vec<_> = read.iter().map(|cell| (cell.period_start, cell.value)).collect();
        assert_eq!(told, newest.into_values().collect::<Vec<_>>());
        assert_eq!(told.len(), read.len());
    }

    /// From every epoch: what was read there, with the changes applied, is what is read now.
    fn check_changes(&self, store: &Store, filter: &CellFilter) {
        let (epoch, cells) = self.now();
        let floor = store.served.read().cells.floor();
        for (since, before) in &self.history {
            let Some((position, changes)) = store.changes(Some(filter), *since) else {
                assert!(*since < floor, "changes since {since} are known from {floor} on");
                continue;
            };
            assert!(*since >= floor);
            assert_eq!(position.offset, *epoch);
            let mut state = wanted(filter, before);
            let mut seen = BTreeSet::new();
            for CellChange { series, grain, period_start, value, .. } in changes {
                let key = series.cell(grain, period_start);
                assert!(is_wanted(filter, &place(&key)), "{key:?} is not wanted by {filter:?}");
                assert!(seen.insert(place(&key)), "{key:?} is there twice");
                match value {
                    Some(value) => drop(state.insert(place(&key), value)),
                    None => drop(state.remove(&place(&key))),
                }
            }
            assert_eq!(state, wanted(filter, cells), "since {since} with {filter:?}");
        }
        assert!(store.changes(Some(filter), epoch + 1).is_none(), "the future is not known");
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
        updates.push(KpiUpdate {
            key,
            series,
            value: fresh,
            epoch,
            as_of: Micros(0),
            window: None,
        });
    }
    updates
}

fn run(seed: u64, log_max: usize) -> EpochId {
    let mut random = StdRng::seed_from_u64(seed);
    let store = Store::with_log_max(Vec::new(), log_max);
    assert!(
        store.cells(&CellFilter::default(), Periods::All).is_none() && store.position().is_none()
    );
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
        as_of: Some(Micros(10)),
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
        let (entries, removed) = store.served.read().cells.remembered();
        assert!(entries <= log_max.max(6), "the log is bounded");
        assert!(removed <= entries);
    }
    store.served.read().cells.floor()
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
        window: None,
    };
    store.apply(&EpochStamp { id: 3, clock: Micros(3), quiet: false }, &[update], &[]);
    let (_, changes) = store.changes(Some(&CellFilter::default()), 2).unwrap();
    let told: Vec<_> =
        changes.iter().map(|own| own.series.cell(own.grain, own.period_start)).collect();
    assert_eq!((told, changes[0].value), (vec![key], Some(value(2))));
}

#[test]
fn the_newest_period_is_the_newest_that_has_begun() {
    let store = Store::new(Vec::new());
    let key = |start| CellKey {
        period_start: Micros(start),
        ..random_key(&mut StdRng::seed_from_u64(7))
    };
    let cells = [0, 10, 20, 30].map(|start| (key(start), value(start.into()), 1)).to_vec();
    store.start(Start { offset: 1, as_of: Some(Micros(19)), cells, ..Start::default() });
    let newest = |filter: &CellFilter| {
        let (_, cells) = store.cells(filter, Periods::Newest).unwrap();
        cells.iter().map(|cell| cell.period_start.0).collect::<Vec<_>>()
    };
    assert_eq!(newest(&CellFilter::default()), [10], "the next one has not begun");
    store.idle(Micros(20));
    assert_eq!(newest(&CellFilter::default()), [20], "it begins without an epoch");
    let future = CellFilter { from: Some(Micros(25)), ..CellFilter::default() };
    assert!(newest(&future).is_empty());
    assert_eq!(store.cells(&CellFilter::default(), Periods::All).unwrap().1.len(), 4);
}

#[test]
fn a_snapshot_stays_what_it_was() {
    let mut random = StdRng::seed_from_u64(3);
    let store = Store::new(Vec::new());
    store.start(Start::default());
    let mut cells = Cells::new();
    let mut held: Vec<(Snapshot, Vec<_>)> = Vec::new();
    for epoch in 1..=60 {
        let updates = random_updates(&mut random, epoch, &mut cells);
        let stamp = EpochStamp { id: epoch, clock: Micros(epoch.cast_signed()), quiet: false };
        store.apply(&stamp, &updates, &[]);
        let (_, snapshot) = store.cells(&CellFilter::default(), Periods::All).unwrap();
        let now: Vec<_> = cells.clone().into_iter().collect();
        held.push((snapshot, now));
    }
    for (snapshot, expected) in held {
        assert_eq!(snapshot.iter().map(placed).collect::<Vec<_>>(), expected);
    }
}

const DAY: i64 = 86_400_000_000;

/// An alert of a tenant that opened on `opened` and, if so, was resolved on `resolved`, in days.
fn of_tenant(id: &str, tenant: &str, opened: i64, resolved: Option<i64>) -> Alert {
    let one = alert(id, 0);
    let key = CellKey { tenant: tenant.into(), ..one.key.clone() };
    let resolved_at = resolved.map(|day| Micros(day * DAY));
    Alert { key, opened_at: Micros(opened * DAY), resolved_at, ..one }
}

fn apply_alerts(store: &Store, epoch: EpochId, day: i64, alerts: &[Alert]) {
    store.apply(&EpochStamp { id: epoch, clock: Micros(day * DAY), quiet: false }, &[], alerts);
}

fn ids(store: &Store, tenant: Option<&str>, since: Option<EpochId>) -> Option<Vec<String>> {
    let tenant = tenant.map(Arc::from);
    let (_, alerts) = store.alerts(tenant.as_ref(), since)?;
    Some(alerts.iter().map(|alert| alert.id.to_string()).collect())
}

#[test]
fn alerts_are_read_by_tenant() {
    let store = Store::new(Vec::new());
    store.start(Start::default());
    apply_alerts(&store, 1, 1, &[of_tenant("x", "a", 1, None), of_tenant("y", "b", 1, None)]);
    apply_alerts(&store, 2, 1, &[of_tenant("z", "a", 1, None)]);
    apply_alerts(&store, 3, 1, &[of_tenant("x", "a", 1, Some(1))]);
    let told = |tenant: Option<&str>, since| ids(&store, tenant, since).unwrap();
    assert_eq!(told(Some("a"), None), ["z", "x"], "by their last changes");
    assert_eq!(told(Some("b"), None), ["y"]);
    assert_eq!(told(Some("nobody"), None), [""; 0]);
    assert_eq!(told(Some("a"), Some(2)), ["x"]);
    assert_eq!(told(Some("b"), Some(2)), [""; 0]);
    assert_eq!(told(None, Some(1)), ["z", "x"]);
    assert_eq!(store.open_alerts().iter().map(|(_, open)| open).sum::<u64>(), 2);
    assert_eq!(ids(&store, None, Some(4)), None, "the future is not known");
}

#[test]
fn resolved_alerts_are_forgotten_after_thirty_days() {
    let store = Store::new(Vec::new());
    store.start(Start::default());
    let first = [of_tenant("old", "a", 1, Some(2)), of_tenant("open", "a", 1, None)];
    apply_alerts(&store, 1, 2, &first);
    apply_alerts(&store, 2, 10, &[of_tenant("young", "b", 9, Some(10))]);
    let all = |day: i64, epoch| {
        apply_alerts(&store, epoch, day, &[]);
        ids(&store, None, None).unwrap()
    };
    assert_eq!(all(32, 3), ["old", "open", "young"], "thirty days to the microsecond");
    assert_eq!(all(33, 4), ["open", "young"]);
    assert_eq!(ids(&store, Some("a"), Some(0)), None, "its end would be missed");
    assert_eq!(ids(&store, Some("a"), Some(1)), Some(vec![]));
    assert_eq!(all(400, 5), ["open"], "an open one is never forgotten");
    assert_eq!(ids(&store, Some("b"), None), Some(vec![]));
    let reopened = of_tenant("open", "a", 1, Some(400));
    apply_alerts(&store, 6, 400, &[reopened]);
    apply_alerts(&store, 7, 429, &[of_tenant("open", "a", 1, None)]);
    assert_eq!(all(500, 8), ["open"], "it opened again");
    let again = [of_tenant("open", "a", 1, None), of_tenant("old", "a", 1, Some(2))].to_vec();
    store.start(Start {
        offset: 9,
        as_of: Some(Micros(500 * DAY)),
        alerts: again,
        ..Start::default()
    });
    assert_eq!(ids(&store, None, None).unwrap(), ["open"], "nor does a start bring one back");
}

#[test]
fn points_of_a_series_come_together() {
    let store = Store::new(Vec::new());
    let key = |start| CellKey {
        period_start: Micros(start),
        ..random_key(&mut StdRng::seed_from_u64(7))
    };
    let cells = (0..300).map(|start| (key(start), value(start.into()), 1)).collect();
    store.start(Start { offset: 1, cells, ..Start::default() });
    let filter = CellFilter { from: Some(Micros(2)), ..CellFilter::default() };
    let (_, snapshot) = store.cells(&filter, Periods::All).unwrap();
    let series: Vec<_> = snapshot.series().collect();
    let points: Vec<_> = series[0].1.iter().map(|cell| cell.period_start.0).collect();
    assert_eq!((series.len(), points), (1, (2..300).collect()));
    assert_eq!(series[0].0.tenant, key(0).tenant);
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
                let all = CellFilter::default();
                let (position, cells) = store.cells(&all, Periods::All).unwrap();
                let values: Vec<_> = cells.iter().map(|cell| cell.value).collect();
                assert_eq!(values, [value(position.offset.into())]);
                assert_eq!(position.degraded, doubt(position.offset));
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for epoch in 1..=last {
            let (stamp, series) = (stamp(epoch), SeriesId { kpi: 0, series: 0 });
            let (value, as_of) = (Some(value(epoch.into())), stamp.clock);
            let update = KpiUpdate { key: key.clone(), series, value, epoch, as_of, window: None };
            let (cells, degraded) = (vec![update], doubt(epoch));
            store.publish(&Published {
                stamp,
                cells,
                alerts: Vec::new(),
                answers: Arc::default(),
                models: Arc::default(),
                degraded,
            });
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
        store.publish(&Published {
            stamp: stamp(epoch),
            cells,
            alerts,
            answers: Arc::default(),
            models: Arc::default(),
            degraded,
        });
    };
    publish(5, &doubt);
    publish(6, &doubt);
    publish(7, &Arc::default());
    let told: Vec<usize> = (4..=8).map(|offset| store.degraded_at(offset).len()).collect();
    assert_eq!(told, [0, 1, 1, 0, 0]);
}
