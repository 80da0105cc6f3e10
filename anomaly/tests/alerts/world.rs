//! A stand-in for the KPI engine: cells, updates, epochs and ticks.

use std::collections::BTreeMap;
use std::sync::Arc;

use anomaly::Scorer;
use schemas::civil::Shape;
use schemas::split_mix::SplitMix;
use schemas::{
    Against, Alert, Calendar, CalendarSettings, CellKey, CellValue, Cells, ChangeRule, EpochStamp,
    Event, Feeding, Good, Grain, KpiInfo, KpiKind, KpiUpdate, Micros, Observer, OriginName, Saved,
    SeriesId, Severity, Sight, Status, Unit, Watching,
};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;
pub(crate) const DAY: i64 = 24 * HOUR;
pub(crate) const USD: &str = r#"{"currency":"USD"}"#;
const ONE: i128 = 10_000_000_000;

/// A Monday.
pub(crate) fn monday() -> Micros {
    Micros::parse("2026-09-07").unwrap()
}

fn kpi(key: &str, title: &str, unit: Unit, is_ratio: bool, breakdown_of: Option<&str>) -> KpiInfo {
    KpiInfo {
        key: key.into(),
        title: title.into(),
        description: None,
        unit,
        good: Good::Up,
        group: None,
        kind: if is_ratio { KpiKind::Ratio } else { KpiKind::Flow },
        dims: vec!["currency".into()],
        grains: schemas::Grains::ALL,
        windows: schemas::Grains::WINDOWS,
        breakdown_of: breakdown_of.map(Arc::from),
        parts: Vec::new(),
        is_net: is_ratio,
        currency: None,
        watching: rules(key),
    }
}

/// The rules that come with Weir, as in the files of these KPIs.
fn rules(key: &str) -> Watching {
    let step = |(far, severity): (u32, Severity)| ChangeRule {
        name: if key == "roi" { "roi_drop" } else { "cost_spike" }.into(),
        against: Against::WeekBefore,
        up: (key == "total_cost").then_some(far),
        down: (key == "roi").then_some(far),
        severity,
        budget: None,
    };
    let steps = match key {
        "roi" => [50_000, 100_000, 200_000],
        "total_cost" => [200_000, 500_000, 1_000_000],
        _ => return Watching::default(),
    };
    let severities = [Severity::Warning, Severity::Error, Severity::Critical];
    let rules = steps.into_iter().zip(severities).map(step).collect();
    Watching { rules, ..Watching::default() }
}

pub(crate) fn kpis() -> Vec<KpiInfo> {
    vec![
        kpi("cost_by_service", "Cost by service", Unit::Currency, false, Some("total_cost")),
        kpi("orders", "Orders", Unit::Count, false, None),
        kpi("revenue_booked", "Booked revenue", Unit::Currency, false, None),
        kpi("roi", "Return on investment", Unit::Ratio, true, None),
        kpi("total_cost", "Total cost", Unit::Currency, false, None),
    ]
}

pub(crate) fn money(value: f64) -> i128 {
    (value * 100.0).round() as i128 * (ONE / 100)
}

pub(crate) fn flow(value: f64) -> Option<CellValue> {
    let value = Some(money(value));
    Some(CellValue { value, numerator: None, denominator: None, status: Status::Ok })
}

/// The return on investment of this revenue and cost.
pub(crate) fn roi(revenue: f64, cost: f64) -> Option<CellValue> {
    let (n, d) = (money(revenue) - money(cost), money(cost));
    let value = schemas::decimal::quotient(n, d);
    let status = if value.is_some() { Status::Ok } else { Status::NoData };
    Some(CellValue { value, numerator: Some(n), denominator: Some(d), status })
}

type Cell = (SeriesId, Grain, Micros);

/// Cells as they stand.
#[derive(Clone, Default)]
pub(crate) struct Store {
    pub(crate) names: BTreeMap<(String, String, String), SeriesId>,
    pub(crate) cells: BTreeMap<Cell, CellValue>,
}

impl Cells for Store {
    fn series(&self, kpi: &str, tenant: &str, dims: &str) -> Option<SeriesId> {
        self.names.get(&(kpi.into(), tenant.into(), dims.into())).copied()
    }

    fn value(&self, series: SeriesId, grain: Grain, start: Micros) -> Option<CellValue> {
        self.cells.get(&(series, grain, start)).copied()
    }
}

/// Which KPIs an origin feeds: `all`, or those of its name.
impl Feeding for Store {
    fn feeds(&self, by: &OriginName, kpi: &str, tenant: &str) -> bool {
        assert_eq!(tenant, "t1");
        *by.origin == *"all" || *by.origin == *kpi
    }
}

/// A change of a cell that the next epoch brings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) kpi: &'static str,
    pub(crate) dims: &'static str,
    pub(crate) grain: Grain,
    pub(crate) start: Micros,
    pub(crate) value: Option<CellValue>,
}

pub(crate) fn change(
    kpi: &'static str,
    grain: Grain,
    start: Micros,
    value: Option<CellValue>,
) -> Change {
    Change { kpi, dims: USD, grain, start, value }
}

/// The whole state of a scorer.
pub(crate) fn saved(scorer: &mut Scorer) -> Saved {
    Saved::of(&scorer.freeze().parts())
}

fn sight(store: &Store) -> Sight<'_> {
    Sight { cells: store, feeding: store }
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) scorer: Scorer,
    kpis: Vec<KpiInfo>,
    pub(crate) id: u64,
    /// The records of all freezes so far.
    saved: Saved,
    /// The newest number of a series; a second world may number in another order.
    number: u32,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            store: Store::default(),
            scorer: Scorer::new(kpis()),
            kpis: kpis(),
            id: 0,
            saved: Saved::default(),
            number: 0,
        }
    }

    /// The same with one of the KPIs watched in another way.
    pub(crate) fn watched(key: &str, watching: Watching) -> World {
        let mut kpis = kpis();
        kpis.iter_mut().find(|kpi| &*kpi.key == key).unwrap().watching = watching;
        World { scorer: Scorer::new(kpis.clone()), kpis, ..World::new() }
    }

    /// The same with a KPI `cost_by_place`, which breaks the total cost down by region and service.
    pub(crate) fn with_places() -> World {
        let mut kpis = kpis();
        let mut places =
            kpi("cost_by_place", "Cost by place", Unit::Currency, false, Some("total_cost"));
        places.dims = ["currency", "region", "service"].map(str::to_owned).to_vec();
        kpis.insert(0, places);
        World { scorer: Scorer::new(kpis.clone()), kpis, ..World::new() }
    }

    /// The same with the tenant in a zone.
    pub(crate) fn in_zone(zone: &str) -> World {
        World::planned(zone, &[])
    }

    /// The same where something is planned.
    pub(crate) fn planned(zone: &str, plan: &[(Vec<String>, Vec<Event>)]) -> World {
        let (zone, shape) = (zone.to_owned(), Shape::default());
        let settings = CalendarSettings { zone, zones: BTreeMap::new(), shape };
        let calendar = Arc::new(Calendar::new(&settings).unwrap().with_planned(plan));
        World { scorer: Scorer::new(kpis()).with_calendar(calendar), ..World::new() }
    }

    /// An epoch with records.
    pub(crate) fn epoch(&mut self, clock: Micros, quiet: bool, changes: &[Change]) -> Vec<Alert> {
        self.epoch_of(clock, if quiet { &["all"] } else { &[] }, changes)
    }

    /// The same with these origins quiet.
    pub(crate) fn epoch_of(
        &mut self,
        clock: Micros,
        quiet: &[&str],
        changes: &[Change],
    ) -> Vec<Alert> {
        self.id += 1;
        let stamp = EpochStamp { id: self.id, clock, quiet: !quiet.is_empty() };
        let origin = |origin: &&str| OriginName { contract: "c".into(), origin: (*origin).into() };
        let quiet: Vec<OriginName> = quiet.iter().map(origin).collect();
        self.scorer.advance(&stamp, false, &quiet, sight(&self.store));
        let mut updates: Vec<KpiUpdate> =
            changes.iter().map(|change| self.apply(change, clock)).collect();
        updates.sort_by(|a, b| a.key.cmp(&b.key));
        self.scorer.observe(&stamp, &updates, sight(&self.store));
        self.scorer.take_changes()
    }

    /// An epoch without records. Its number is nobody's business.
    pub(crate) fn tick(&mut self, clock: Micros) -> Vec<Alert> {
        let stamp = EpochStamp { id: u64::MAX, clock, quiet: false };
        self.scorer.advance(&stamp, true, &[], sight(&self.store));
        self.scorer.take_changes()
    }

    fn apply(&mut self, change: &Change, clock: Micros) -> KpiUpdate {
        let name = (change.kpi.to_owned(), "t1".to_owned(), change.dims.to_owned());
        let number = &mut self.number;
        let kpi = self.kpis.iter().position(|kpi| &*kpi.key == change.kpi).unwrap();
        let series = *self.store.names.entry(name).or_insert_with(|| {
            *number += 1;
            SeriesId { kpi: u32::try_from(kpi).unwrap(), series: *number }
        });
        let cell = (series, change.grain, change.start);
        match change.value {
            Some(value) => drop(self.store.cells.insert(cell, value)),
            None => drop(self.store.cells.remove(&cell)),
        }
        let key = CellKey {
            kpi: change.kpi.into(),
            tenant: "t1".into(),
            dims: change.dims.into(),
            grain: change.grain,
            period_start: change.start,
        };
        KpiUpdate { key, series, value: change.value, epoch: self.id, as_of: clock, window: None }
    }

    /// A restart: state and alerts through save and load, series under other numbers.
    pub(crate) fn restart(&mut self) {
        let (frozen, alerts) = (self.scorer.freeze(), self.scorer.alerts());
        self.saved.update(&frozen.parts());
        let state = Saved::of(&frozen.parts());
        assert_eq!(self.saved, state, "a series changed and was not named");
        let mut renumbered = Store::default();
        let moved = |id: SeriesId| SeriesId { kpi: id.kpi, series: 1_000_000 - id.series };
        for (name, id) in &self.store.names {
            // The engine forgets series without cells.
            if self.store.cells.keys().any(|(own, ..)| own == id) {
                renumbered.names.insert(name.clone(), moved(*id));
            }
        }
        for ((id, grain, start), value) in &self.store.cells {
            renumbered.cells.insert((moved(*id), *grain, *start), *value);
        }
        self.store = renumbered;
        self.scorer = Scorer::new(self.kpis.clone());
        self.scorer.load(&state, alerts, &self.store, &|_| true).unwrap();
        // Numbers go on without meeting those that were moved, also after the next restart.
        self.number += 1_000;
    }

    /// Five weeks of `kpi` in one backlog that ends at `until`, and its settling.
    pub(crate) fn history(
        &mut self,
        kpi: &'static str,
        grain: Grain,
        until: Micros,
        value: impl Fn(i64) -> f64,
    ) {
        let step = if grain == Grain::Hour { HOUR } else { DAY };
        let buckets = 35 * DAY / step;
        let changes: Vec<Change> = (1..=buckets)
            .map(|back| change(kpi, grain, until.plus(-back * step), flow(value(-back))))
            .collect();
        assert_eq!(self.epoch(until.plus(31 * SECOND), true, &changes), vec![]);
        assert_eq!(self.tick(until.plus(33 * SECOND)), vec![]);
    }
}

/// A seeded generator.
#[derive(Clone)]
pub(crate) struct Rng(SplitMix);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(SplitMix::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// In (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let (a, b) = (self.uniform(), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// Poisson: by products for small means, by a normal law for large ones.
    pub(crate) fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 400.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (mut count, mut left) = (0.0, mean);
        loop {
            left += self.uniform().ln();
            if left < 0.0 {
                return count;
            }
            count += 1.0;
        }
    }
}
