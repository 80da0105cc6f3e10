//! Compared cells followed by their changes, beside snapshots taken anew: rows come and go, and time passes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::ws::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::civil::Shape;
use schemas::{
    Calendar, CalendarSettings, CellKey, CellValue, EpochStamp, Grain, KpiUpdate, Micros,
    Published, SeriesId, Start, Status, decimal,
};
use serde_json::{Value, json};

use super::history::{self, TENANTS, kpis};
use super::support::{ALL, Server, quick};
use crate::earlier::Against;
use crate::store::{CellFilter, Store};
use crate::stream::bulk::{self, Bulk};
use crate::stream::page::Channel;

const ONE: i128 = 10_i128.pow(decimal::VALUE_SCALE);
const MINUTE: i64 = 60_000_000;

fn calendar() -> Arc<Calendar> {
    let zones = [("t1".to_owned(), "Europe/Berlin".to_owned())].into();
    let shape = Shape { from_sunday: true, year_from: 4 };
    Arc::new(Calendar::new(&CalendarSettings { zone: "UTC".to_owned(), zones, shape }).unwrap())
}

/// Cells by their names, as a client holds them.
type Held = BTreeMap<String, Value>;

fn apply(held: &mut Held, bulk: &Bulk) {
    let name = |cell: &Value| {
        let parts = ["kpi", "tenant", "dims", "grain", "period_start"].map(|part| &cell[part]);
        serde_json::to_string(&parts).unwrap()
    };
    for page in &bulk.pages {
        let Message::Text(text) = page.message(1) else { panic!("not text") };
        let page: Value = serde_json::from_str(&text).unwrap();
        for cell in page["upserts"].as_array().unwrap() {
            held.insert(name(cell), cell.clone());
        }
        for cell in page["deletes"].as_array().into_iter().flatten() {
            held.remove(&name(cell));
        }
    }
}

/// Sums of rows by cell.
#[derive(Default)]
struct World {
    rows: Vec<(usize, Micros, i64)>,
    cells: BTreeMap<(usize, Grain, Micros), (i64, i64)>,
    epoch: u64,
}

impl World {
    /// Adds a row, or takes it away.
    fn put(&mut self, calendar: &Calendar, row: (usize, Micros, i64), sign: i64) {
        let (tenant, at, amount) = row;
        if sign > 0 {
            self.rows.push(row);
        }
        for grain in Grain::ALL {
            let start = calendar.of(TENANTS[tenant]).start(grain, at);
            let cell = self.cells.entry((tenant, grain, start)).or_default();
            *cell = (cell.0 + sign, cell.1 + sign * amount);
        }
    }

    /// Adds, takes away or moves some rows, and tells the store which cells changed.
    fn step(&mut self, store: &Store, calendar: &Calendar, clock: Micros, random: &mut StdRng) {
        self.epoch += 1;
        let before = self.cells.clone();
        for _ in 0..random.random_range(0..3) {
            if self.rows.len() >= 40 {
                let row = self.rows.swap_remove(random.random_range(0..40));
                self.put(calendar, row, -1);
                // To a day beside it: longer periods often stay as they are.
                if random.random_bool(0.7) {
                    let days = [-1, 1][random.random_range(0..2)];
                    self.put(calendar, (row.0, row.1.plus(days * 1440 * MINUTE), row.2), 1);
                }
                continue;
            }
            let back = [3, 40, 800][random.random_range(0..3)] * 1440 * MINUTE;
            let at = clock.plus(-random.random_range(-MINUTE * 600..back));
            let row = (random.random_range(0..2), at, random.random_range(1..9));
            self.put(calendar, row, 1);
        }
        let touched = self.cells.iter().filter(|(cell, sums)| before.get(cell) != Some(sums));
        let of_cell = |(&(tenant, grain, period_start), &(rows, sum)): (
            &(usize, Grain, Micros),
            &(i64, i64),
        )| {
            let number = |number: i64| Some(i128::from(number) * ONE);
            let flow = CellValue {
                value: number(sum),
                numerator: None,
                denominator: None,
                status: Status::Ok,
            };
            let value = decimal::quotient(i128::from(sum), i128::from(rows));
            let ratio = CellValue {
                value,
                numerator: number(sum),
                denominator: number(rows),
                status: Status::Ok,
            };
            [("margin", 0, ratio), ("orders", 1, flow)].map(|(kpi, place, value)| KpiUpdate {
                key: CellKey {
                    kpi: kpi.into(),
                    tenant: TENANTS[tenant].into(),
                    dims: "{\"currency\":\"EUR\"}".into(),
                    grain,
                    period_start,
                },
                series: SeriesId { kpi: place, series: u32::try_from(tenant).unwrap() },
                value: (rows > 0).then_some(value),
                epoch: self.epoch,
                as_of: clock,
                window: None,
            })
        };
        let cells = touched.flat_map(of_cell).collect();
        let stamp = EpochStamp { id: self.epoch, clock, quiet: false };
        store.publish(&Published {
            stamp,
            cells,
            alerts: Vec::new(),
            answers: Arc::default(),
            models: Arc::default(),
            degraded: Arc::default(),
        });
    }
}

/// A client: its filter, what it holds, and the epoch of that.
struct Follower {
    filter: CellFilter,
    held: Held,
    at: u64,
}

fn followers() -> Vec<Follower> {
    let mut all = Vec::new();
    for against in Against::ALL {
        let every = CellFilter { against: Some(against), ..CellFilter::default() };
        let month = CellFilter { grain: Some(Grain::Month), ..every.clone() };
        let day =
            CellFilter { grain: Some(Grain::Day), tenant: Some("t1".into()), ..every.clone() };
        let late = CellFilter { from: Micros::parse("2026-10-20"), ..every.clone() };
        for filter in [every, month, day, late] {
            all.push(Follower { filter, held: Held::new(), at: 0 });
        }
    }
    all
}

#[test]
fn what_changes_leads_to_what_a_snapshot_says() {
    let mut random = StdRng::seed_from_u64(3);
    let calendar = calendar();
    let store = Store::with_calendar(kpis(), Arc::clone(&calendar));
    // Over the day of 25 hours in Berlin.
    let mut clock = Micros::parse("2026-10-24T20:00:00Z").unwrap();
    store.start(Start { generation: "g1".into(), as_of: Some(clock), ..Start::default() });
    let (mut world, mut followers) = (World::default(), followers());
    let (mut compared, mut with_value, mut idle) = (0, 0, 0);
    for _ in 0..500 {
        let passed = [1, 1, 1, 7, 61, 1_500][random.random_range(0..6)];
        clock = clock.plus(passed * MINUTE);
        world.step(&store, &calendar, clock, &mut random);
        // That time goes on without an epoch moves nothing.
        store.idle(clock.plus(random.random_range(0..90) * MINUTE));
        for Follower { filter, held, at } in &mut followers {
            if random.random_bool(0.4) {
                continue;
            }
            let missed = bulk::missed(&store, Channel::Kpi, filter, *at).unwrap();
            apply(held, &missed);
            *at = missed.to.offset;
            let mut fresh = Held::new();
            apply(&mut fresh, &bulk::snapshot(&store, Channel::Kpi, filter).unwrap());
            assert_eq!(*held, fresh, "{filter:?} at {at}, {clock}");
            compared += 1;
            with_value += fresh.values().filter(|cell| !cell["change"].is_null()).count();
            idle += usize::from(missed.pages.is_empty());
        }
    }
    assert!(
        compared > 2_000 && with_value > 10_000 && idle > 100,
        "{compared} {with_value} {idle}"
    );
}

#[tokio::test]
async fn a_client_hears_of_a_cell_when_its_counterpart_changes() {
    let server = Server::start(quick()).await;
    let day = |back| history::key("orders", "t1", "EUR", Grain::Day, back);
    server.publish(vec![(day(2), Some(history::value(2))), (day(1), Some(history::value(3)))]);
    let mut client = server.connect(ALL).await;
    let filter = json!({"grain": "day", "compare": "previous"});
    let snapshot = client.subscribe(1, filter.clone()).await;
    assert_eq!(snapshot["upserts"][0]["change"], Value::Null);
    assert_eq!(snapshot["upserts"][1]["change"], "0.5");
    assert_eq!(snapshot["upserts"][1]["previous"]["value"], "1");
    let mut plain = server.connect(ALL).await;
    let snapshot = plain.subscribe(1, json!({"grain": "day"})).await;
    assert!(snapshot["upserts"][1].get("previous").is_none());
    server.publish(vec![(day(2), Some(history::value(4)))]);
    let update = client.hear("kpi_update").await;
    let upserts = update["upserts"].as_array().unwrap();
    let changes: Vec<&Value> = upserts.iter().map(|cell| &cell["change"]).collect();
    assert_eq!(changes, [&Value::Null, &json!("-0.5")], "the cell and the one after it");
    let update = plain.hear("kpi_update").await;
    assert_eq!(update["upserts"].as_array().unwrap().len(), 1);
    // What is missed comes, with what is held against it.
    server.publish(vec![(day(2), None)]);
    let mut again = server.connect(ALL).await;
    let since = json!({"generation": "g1", "offset": 2});
    let wish =
        json!({"type": "subscribe", "id": 1, "channel": "kpi", "filter": filter, "since": since});
    again.say(&wish).await;
    assert_eq!(again.hear("subscribed").await["recovered"], true);
    let update = again.hear("kpi_update").await;
    assert_eq!(update["upserts"][0]["previous"]["value"], Value::Null);
    assert_eq!(update["deletes"].as_array().unwrap().len(), 1);
}
