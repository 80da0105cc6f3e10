//! Windows and what they are compared with, against a fold over all rows: random rows come, change and go
//! while days pass, in zones with short and long days, over ticks, flushes and restarts.
//!
//! Where windows lie is found by another calendar, and every value is computed from the rows alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, CellRow, Definition, Engine, EpochOutput};
use lake::keyed::FrozenRows;
use schemas::civil::Shape;
use schemas::{
    Calendar, CalendarSettings, CellKey, CellValue, Contract, Counterpart, Delta, EpochStamp,
    Grain, KpiUpdate, Micros, RowBuilder, RowKey, RowLayout, Saved, Status, Window, decimal,
};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// The most windows that an epoch or a tick may tell of.
const SLICE: usize = 20_000;

const SALES: &str = "name='sales'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='buyer',type='text'},{name='currency',type='text'},{name='shop',type='text'},\
    {name='amount',type='decimal(12,2)'},{name='at',type='timestamp'}]";
const VIEW: &str = "SELECT tenant_id, period(at) AS period, currency, shop, SUM(amount) AS revenue, \
    COUNT(*) AS sold, COUNT(DISTINCT buyer) AS buyers, MAX(amount) AS largest, MIN(amount) AS least \
    FROM sales GROUP BY 1, 2, 3, 4";
/// Key, unit and value of KPIs over the view.
const KPIS: [(&str, &str, &str); 7] = [
    ("average", "currency", "revenue / sold"),
    ("buyers", "count", "buyers"),
    ("largest", "currency", "largest"),
    ("least", "currency", "least"),
    ("per_buyer", "currency", "revenue / buyers"),
    ("revenue", "currency", "revenue"),
    ("sold", "count", "sold"),
];

#[derive(Debug, Clone)]
struct Sale {
    tenant: &'static str,
    buyer: Option<&'static str>,
    currency: &'static str,
    shop: &'static str,
    cents: i128,
    at: i64,
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        crate::told::below(&mut self.0, end.unsigned_abs())
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(i64::try_from(all.len()).unwrap())).unwrap()]
    }

    /// A sale around an instant: mostly of the last days, at times of long before or of a day to come.
    fn sale(&mut self, now: i64) -> Sale {
        let span = self.of(&[DAY, 3 * DAY, 10 * DAY, 70 * DAY, 200 * DAY, 480 * DAY]);
        let at = match self.below(8) {
            0 => now + self.below(4 * DAY),
            1 => now - 365 * DAY + self.below(40 * DAY),
            _ => now - self.below(span),
        };
        Sale {
            tenant: self.of(&["a", "b", "c"]),
            buyer: self.of(&[Some("x"), Some("y"), Some("z"), None]),
            currency: self.of(&["EUR", "USD"]),
            shop: self.of(&["n", "s"]),
            cents: i128::from(self.below(2000)) - 100,
            at,
        }
    }
}

struct World {
    contract: Contract,
    layout: Arc<RowLayout>,
    catalog: Arc<Catalog>,
    zones: BTreeMap<&'static str, Tz>,
    sales: BTreeMap<i64, Sale>,
}

impl World {
    fn new(zones: [Tz; 3]) -> World {
        let contract = Contract::parse(SALES).unwrap();
        let contracts = [contract.clone()];
        let file = ViewFile { name: "totals".into(), text: VIEW.into(), file: "totals.sql".into() };
        let views = accept(&[file], &contracts).unwrap();
        let own = |key: &str, text: &str| {
            let text = format!("key='{key}'\ntitle='T'\ngood='up'\n{text}");
            Definition::parse(&format!("{key}.toml"), &text).unwrap()
        };
        let mut definitions = vec![own(
            "some",
            "unit='count'\ncontract='sales'\ntime='at'\naggregate='count(*)'\n\
             filter=\"currency = 'EUR'\"\ngrains=['month']\nwindows=['last_24h','last_30d']",
        )];
        for (key, unit, value) in KPIS {
            let over = |dims: &str| {
                format!("unit='{unit}'\nview='totals'\nvalue='{value}'\ndims=[{dims}]")
            };
            definitions.push(own(key, &over("'currency'")));
            definitions.push(own(&format!("{key}_by_shop"), &over("'currency','shop'")));
        }
        let zones = BTreeMap::from([("a", zones[0]), ("b", zones[1]), ("c", zones[2])]);
        let settings = CalendarSettings {
            zone: "UTC".into(),
            zones: zones
                .iter()
                .map(|(own, zone)| ((*own).to_owned(), zone.name().into()))
                .collect(),
            shape: Shape::default(),
        };
        let catalog = Catalog::new(definitions, &contracts, views).unwrap();
        let catalog = catalog.with_calendar(Arc::new(Calendar::new(&settings).unwrap()));
        let layout = Arc::new(RowLayout::new(&contract.columns));
        World { contract, layout, catalog: Arc::new(catalog), zones, sales: BTreeMap::new() }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.catalog), std::slice::from_ref(&self.contract)).unwrap()
    }

    fn bytes(&self, id: i64, sale: &Sale) -> Vec<u8> {
        let mut builder = RowBuilder::default();
        builder.reset(self.layout.len());
        builder.set_bigint(0, id);
        builder.set_text(1, sale.tenant);
        if let Some(buyer) = sale.buyer {
            builder.set_text(2, buyer);
        }
        builder.set_text(3, sale.currency);
        builder.set_text(4, sale.shop);
        builder.set_decimal(5, sale.cents);
        builder.set_timestamp(6, Micros(sale.at));
        let mut bytes = Vec::new();
        builder.finish(&self.layout, &mut bytes);
        bytes
    }

    fn change(&mut self, dice: &mut Dice, now: i64) -> Delta {
        let mut delta = Delta::new(Arc::clone(&self.layout), RowKey::new(vec![0]));
        for _ in 0..dice.below(6) {
            let id = dice.below(30);
            let new = (dice.below(3) > 0).then(|| dice.sale(now));
            let old = match &new {
                Some(new) => self.sales.insert(id, new.clone()),
                None => self.sales.remove(&id),
            };
            let [old, new] = [&old, &new].map(|own| own.as_ref().map(|sale| self.bytes(id, sale)));
            let row = |bytes: &Option<Vec<u8>>| bytes.clone();
            let (old, new) = (row(&old), row(&new));
            delta.change(
                old.as_ref().map(|bytes| self.layout.row(bytes)),
                new.as_ref().map(|bytes| self.layout.row(bytes)),
            );
        }
        delta.consolidate();
        delta
    }

    /// Where a window lies, and the same before it and a year before.
    fn periods(&self, tenant: &str, window: Grain, now: i64) -> [Option<(i64, i64)>; 3] {
        if window == Grain::Last24Hours {
            let end = now - now.rem_euclid(HOUR) + HOUR;
            let last = DateTime::<Utc>::from_timestamp_micros(end - HOUR).unwrap();
            let before = earlier(last.date_naive()).and_time(last.time()).and_utc();
            let before = before.timestamp_micros() + HOUR;
            return [end, end - DAY, before].map(|end| Some((end - DAY, end)));
        }
        let zone = self.zones[tenant];
        let now = DateTime::<Utc>::from_timestamp_micros(now).unwrap();
        let today = now.with_timezone(&zone).date_naive();
        let midnight = |date: NaiveDate| {
            let local = zone.from_local_datetime(&date.and_time(NaiveTime::MIN));
            local.earliest().unwrap().timestamp_micros()
        };
        let to = |last: NaiveDate, days: u64| {
            Some((midnight(last + Days::new(1) - Days::new(days)), midnight(last + Days::new(1))))
        };
        let days = match window {
            Grain::Last7Days => 7,
            Grain::Last30Days => 30,
            Grain::Last90Days => 90,
            _ => {
                let first = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
                return [Some((midnight(first), midnight(today + Days::new(1)))), None, None];
            }
        };
        [to(today, days), to(today - Days::new(days), days), to(earlier(today), days)]
    }

    /// Every window with its row, by a fold over all sales.
    fn expected(&self, now: i64) -> BTreeMap<CellKey, (CellValue, Window)> {
        let mut windows = BTreeMap::new();
        for info in &self.catalog.infos() {
            let mut series: BTreeMap<(&str, String), Vec<&Sale>> = BTreeMap::new();
            for sale in
                self.sales.values().filter(|own| &*info.key != "some" || own.currency == "EUR")
            {
                let pairs = info.dims.iter().map(|dim| {
                    let value = if dim == "shop" { sale.shop } else { sale.currency };
                    format!("\"{dim}\":\"{value}\"")
                });
                let dims = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
                series.entry((sale.tenant, dims)).or_default().push(sale);
            }
            for grain in info.windows.iter() {
                let periods = self.zones.keys().map(|own| (*own, self.periods(own, grain, now)));
                let periods: BTreeMap<&str, _> = periods.collect();
                for ((tenant, dims), sales) in &series {
                    let (tenant, dims) = ((*tenant).into(), dims.as_str().into());
                    let (kpi, period_start) = (Arc::clone(&info.key), Micros(0));
                    let key = CellKey { kpi, tenant, dims, grain, period_start };
                    let own = window(&key, sales, periods[&*key.tenant]);
                    windows.extend(own.map(|own| (key, own)));
                }
            }
        }
        windows
    }
}

/// What a window of a series says, and its counterparts; nothing without a sale in it.
fn window(
    key: &CellKey,
    sales: &[&Sale],
    [own, previous, year]: [Option<(i64, i64)>; 3],
) -> Option<(CellValue, Window)> {
    let base = key.kpi.trim_end_matches("_by_shop");
    let (start, end) = own?;
    let counterpart = |period: Option<(i64, i64)>| {
        let (start, end) = period?;
        let value = value(base, sales, (start, end));
        Some(Counterpart { start: Micros(start), end: Micros(end), value })
    };
    let adds_up = ["average", "revenue", "sold", "some"].contains(&base);
    let window = Window {
        start: Micros(start),
        end: Micros(end),
        previous: counterpart(previous),
        year: counterpart(year).filter(|_| adds_up),
    };
    Some((value(base, sales, (start, end))?, window))
}

/// What a KPI says of sales within a period.
fn value(kpi: &str, sales: &[&Sale], (from, to): (i64, i64)) -> Option<CellValue> {
    let sales: Vec<_> = sales.iter().filter(|sale| (from..to).contains(&sale.at)).collect();
    let cents: Vec<i128> = sales.iter().map(|sale| sale.cents * 100_000_000).collect();
    let one = 10_000_000_000;
    let sold = i128::try_from(sales.len()).unwrap() * one;
    let buyers: BTreeSet<_> = sales.iter().filter_map(|sale| sale.buyer).collect();
    let buyers = i128::try_from(buyers.len()).unwrap() * one;
    let revenue = cents.iter().sum();
    let plain = |value: i128| CellValue {
        value: Some(value),
        numerator: None,
        denominator: None,
        status: Status::Ok,
    };
    let quotient = |below: i128| {
        let value = decimal::quotient(revenue, below);
        let status = if value.is_some() { Status::Ok } else { Status::NoData };
        CellValue { value, numerator: Some(revenue), denominator: Some(below), status }
    };
    let last = cents.iter().max()?;
    Some(match kpi {
        "average" => quotient(sold),
        "buyers" => plain(buyers),
        "largest" => plain(*last),
        "least" => plain(*cents.iter().min()?),
        "per_buyer" => quotient(buyers),
        "revenue" => plain(revenue),
        _ => plain(sold),
    })
}

/// The same date of the year before.
fn earlier(date: NaiveDate) -> NaiveDate {
    let same = date.with_year(date.year() - 1);
    same.unwrap_or_else(|| NaiveDate::from_ymd_opt(date.year() - 1, 2, 28).unwrap())
}

/// What a client knows who hears of every change, and what is in a table that is flushed at times.
#[derive(Default)]
struct Readers {
    heard: BTreeMap<CellKey, (CellValue, Option<Window>)>,
    table: BTreeMap<u32, CellRow>,
}

impl Readers {
    fn hear(&mut self, output: EpochOutput) {
        let is_window = |update: &KpiUpdate| update.key.grain.is_window();
        assert!(output.history.iter().all(|row| !row.key.grain.is_window()));
        assert!(output.updates.is_sorted_by(|a, b| a.key < b.key), "updates are in key order");
        for update in output.updates.into_iter().filter(is_window) {
            let window = update.window.map(|window| *window);
            assert_eq!(window.is_some(), update.value.is_some());
            match update.value {
                Some(value) => drop(self.heard.insert(update.key, (value, window))),
                None => drop(self.heard.remove(&update.key)),
            }
        }
    }

    fn flush(&mut self, engine: &mut Engine) {
        let (changed, frozen) = (engine.take_changed_slots(), engine.freeze());
        for slot in changed {
            match frozen.cell_row(slot) {
                Some(row) => drop(self.table.insert(slot, row)),
                None => drop(self.table.remove(&slot)),
            }
        }
        assert!(frozen.live_slots().eq(self.table.keys().copied()));
        let mut rows: Vec<CellRow> = self.table.values().cloned().collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        assert!(rows == engine.snapshot(), "the flushed table");
    }
}

fn windows(engine: &Engine) -> Vec<CellRow> {
    engine.snapshot().into_iter().filter(|row| row.key.grain.is_window()).collect()
}

fn check(world: &World, engine: &Engine, readers: &Readers, now: i64, what: &str) -> usize {
    let expected = world.expected(now);
    let told: BTreeMap<CellKey, Window> = engine.windows().into_iter().collect();
    let rows = windows(engine);
    for row in &rows {
        let Some((value, window)) = expected.get(&row.key) else {
            panic!("{what}: {:?} should not be there", row.key);
        };
        assert_eq!(row.value, *value, "{what}: {:?}", row.key);
        let lies = (row.period_start, row.period_end);
        assert_eq!(lies, (window.start, window.end), "{what}: {:?}", row.key);
        assert_eq!(told.get(&row.key), Some(window), "{what}: {:?}", row.key);
        let heard = Some((*value, Some(window.clone())));
        assert_eq!(readers.heard.get(&row.key).cloned(), heard, "{what}: {:?}", row.key);
    }
    assert_eq!((rows.len(), told.len()), (expected.len(), expected.len()), "{what}");
    assert_eq!(readers.heard.len(), expected.len(), "{what}: windows that a client knows");
    rows.len()
}

/// A second engine made from the rows and the saved state of the first.
fn restarted(world: &World, engine: &mut Engine) -> Engine {
    let saved = Saved::of(&engine.freeze().parts());
    let mut fresh = world.engine();
    fresh.load_state(&saved, &|_| true).unwrap();
    for (id, sale) in &world.sales {
        let bytes = world.bytes(*id, sale);
        fresh.rebuild(0, world.layout.row(&bytes)).unwrap();
    }
    fresh.finish_load();
    assert!(fresh.snapshot() == engine.snapshot(), "cells after a restart");
    assert_eq!(fresh.next_due(), engine.next_due(), "timers after a restart");
    assert!(Saved::of(&fresh.freeze().parts()) == saved, "state after a restart");
    fresh
}

fn epoch(engine: &mut Engine, stamp: &EpochStamp, delta: &Delta) -> EpochOutput {
    engine.begin_epoch(stamp);
    let wrong = engine.step_all(stamp, &[delta]);
    assert!(wrong.is_empty(), "{wrong:?}");
    engine.finish_epoch(stamp)
}

fn run(seed: u64, start: &str, zones: [Tz; 3]) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new(zones);
    let (mut engine, mut plain) = (world.engine(), world.engine());
    let (mut readers, mut checked) = (Readers::default(), 0);
    let mut clock = Micros::parse(start).unwrap().0;
    for id in 1..=60 {
        let what = format!("seed {seed}, epoch {id}");
        let wait = [1, 60_000_000, HOUR, 5 * HOUR, DAY, 2 * DAY, 8 * DAY, 29 * DAY, 100 * DAY];
        clock += dice.of(&wait) + dice.below(1000);
        if dice.below(3) == 0 {
            readers.hear(engine.tick(Micros(clock)));
            check(&world, &engine, &readers, clock, &what);
            clock += 1 + dice.below(HOUR);
        }
        let stamp = EpochStamp { id, clock: Micros(clock), quiet: false };
        let delta = world.change(&mut dice, clock);
        readers.hear(epoch(&mut engine, &stamp, &delta));
        epoch(&mut plain, &stamp, &delta);
        checked += check(&world, &engine, &readers, clock, &what);
        assert!(engine.snapshot() == plain.snapshot(), "{what}: ticks and restarts show");
        match dice.below(4) {
            0 => readers.flush(&mut engine),
            1 => {
                readers.flush(&mut engine);
                engine = restarted(&world, &mut engine);
            }
            _ => {}
        }
    }
    checked
}

#[test]
fn windows_are_a_fold_over_the_rows_in_them() {
    let utc = [Tz::UTC; 3];
    let zones = [Tz::Asia__Kolkata, Tz::Europe__Berlin, Tz::America__New_York];
    let mut checked = 0;
    for seed in 1..=4 {
        // Before a leap day, and before clocks are put on and back.
        for start in ["2024-02-26T20:10:00Z", "2026-03-27T22:59:59Z", "2026-10-24T12:00:00Z"] {
            checked += run(seed, start, if seed % 4 == 0 { utc } else { zones });
        }
    }
    assert!(checked > 50_000, "only {checked} windows were compared");
}

#[test]
fn a_boundary_moves_all_and_tells_of_some_at_a_time() {
    let mut world = World::new([Tz::UTC; 3]);
    let mut engine = world.engine();
    let start = Micros::parse("2026-05-05T12:00:00Z").unwrap().0;
    let mut delta = Delta::new(Arc::clone(&world.layout), RowKey::new(vec![0]));
    let shops: Vec<&'static str> = (0..700).map(|n| &*format!("s{n}").leak()).collect();
    for (id, shop) in (0..).zip(&shops) {
        let mut sale = Dice(7).sale(start);
        (sale.shop, sale.at, sale.currency) = (shop, start, "EUR");
        delta.change(None, Some(world.layout.row(&world.bytes(id, &sale))));
        world.sales.insert(id, sale);
    }
    delta.consolidate();
    let mut readers = Readers::default();
    let stamp = EpochStamp { id: 1, clock: Micros(start), quiet: false };
    readers.hear(epoch(&mut engine, &stamp, &delta));
    check(&world, &engine, &readers, start, "first");
    let midnight = start + 12 * HOUR;
    assert_eq!(engine.next_due(), Some(Micros(start + HOUR)), "windows of hours move first");
    let mut ticks = 0;
    while engine.next_due().is_some_and(|due| due <= Micros(midnight)) {
        let output = engine.tick(Micros(midnight + ticks));
        assert!(output.updates.len() <= SLICE);
        let moved = output.updates.iter().filter(|update| update.as_of == Micros(midnight));
        assert!(moved.count() > 0, "moved at the boundary, not when it is told");
        readers.hear(output);
        ticks += 1;
    }
    check(&world, &engine, &readers, midnight, "at midnight");
    assert_eq!(ticks, 2, "more than a slice moved");
}
