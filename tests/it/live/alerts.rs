//! Alerts end to end: records in Kafka, alerts over REST and in `gold/anomalies`, and what takes them
//! back.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use harness::Options;
use harness::bronze::Epochs;
use schemas::Micros;
use serde_json::{Value, json};

use super::{get, mint, port, ready};
use crate::support::services::{self, BROKERS, fresh_topic};
use crate::support::stream::Producer;
use crate::support::{Place, assert_clean, wait_until};

const DAY: i64 = 86_400_000_000;

fn now() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "the records are of today")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// A charge of a tenant for the day that starts at `start`.
fn charge(id: &str, start: i64, cost: &str, version: i64, snapshot: bool) -> Vec<u8> {
    let instant = |at: i64| Micros(at).to_string();
    let operation = if snapshot { "r" } else { "c" };
    let row = json!({
        "charge_id": id, "tenant_id": "acme", "service_name": "db", "charge_category": "Usage",
        "billed_cost": cost, "effective_cost": cost, "billing_currency": "USD",
        "resource_id": null, "charge_period_start": instant(start),
        "charge_period_end": instant(start + 3_600_000_000), "tags": null,
        "updated_at": instant(now()),
    });
    let source = json!({"connector": "postgresql", "name": "shop", "db": "shop", "schema": "public",
        "table": "costs", "lsn": version, "ts_ms": now() / 1_000,
        "snapshot": if snapshot { "true" } else { "false" }});
    json!({"op": operation, "before": null, "after": row, "source": source, "ts_ms": now() / 1_000})
        .to_string()
        .into_bytes()
}

fn send(topic: &str, charges: &[(&str, Vec<u8>)]) {
    let mut producer = Producer::new(topic);
    for (id, charge) in charges {
        producer.send(json!({ "charge_id": id }).to_string().as_bytes(), charge);
    }
    producer.finish();
}

/// The alerts of the rule, by state.
fn alerts(port: u16, token: &str, state: &str) -> Vec<Value> {
    let answer = get(port, &format!("/api/v1/alerts?state={state}"), token);
    let all = answer["alerts"].as_array().unwrap().iter();
    let of_rule = |alert: &&Value| alert["kpi"] == "total_cost" && alert["grain"] == "day";
    all.filter(of_rule).cloned().collect()
}

#[test]
fn a_cost_spike_opens_an_alert_and_its_correction_resolves_it() {
    let _held = services::kafka();
    let topic = format!("it-alerts-{}.costs", std::process::id());
    fresh_topic(&topic, 1);
    let place = Place::new();
    place.configure_kafka(
        "lake.flush_interval = \"100ms\"\nlake.barrier_interval = \"500ms\"\n",
        BROKERS,
        &[(&topic, "costs")],
    );
    let today = now() / DAY * DAY;
    // A week ago 100; today 100 as well: nothing to say. The snapshot teaches only.
    let names: Vec<String> = (0..9).map(|day| format!("c{day}")).collect();
    let charges = (0_i64..)
        .zip(&names)
        .map(|(day, name)| (name.as_str(), charge(name, today - day * DAY, "100", 1, true)));
    let history: Vec<(&str, Vec<u8>)> = charges.collect();
    send(&topic, &history);
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let path = "/api/v1/kpis?kpi=total_cost&grain=day&tenant=acme";
    wait_until("the snapshot is read", super::SOON, || {
        get(port, path, &token)["kpis"].as_array().is_some_and(|rows| !rows.is_empty())
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(alerts(port, &token, "all"), Vec::<Value>::new(), "a snapshot alerts nobody");

    send(&topic, &[("spike", charge("spike", today, "40", 10, false))]);
    wait_until("the spike is noticed", super::SOON, || !alerts(port, &token, "firing").is_empty());
    let open = alerts(port, &token, "firing");
    let alert = &open[0];
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((alert["value"].as_str(), alert["expected"].as_str()), (Some("140"), Some("100")));
    assert_eq!(alert["tenant"], "acme");
    let reason = alert["reason"].as_str().unwrap();
    assert!(reason.contains("acme") && reason.contains("40"), "{reason}");

    // Killed and started again, it is the same alert.
    let id = alert["id"].clone();
    run.kill();
    let mut run = place.start(&["run"]);
    let port = super::port(&mut run);
    ready(port);
    assert_eq!(alerts(port, &token, "firing")[0]["id"], id);

    send(&topic, &[("spike", charge("spike", today, "5", 11, false))]);
    wait_until("the correction is noticed", super::SOON, || {
        alerts(port, &token, "firing").is_empty()
    });
    let resolved = alerts(port, &token, "resolved");
    assert_eq!(resolved[0]["id"], id, "{resolved:?}");
    assert!(resolved[0]["resolved_at"].is_string(), "{resolved:?}");
    run.stops();
    let shown = place.succeeds(&["tables", "show", "gold/anomalies", "--json"]).json();
    assert!(shown.to_string().contains("anomaly_type"), "{shown}");
    place.succeeds(&["verify", "--deep"]);
}

/// One file with the lines of a partition of a topic.
fn write(place: &Place, topic: &str, partition: i32, offset: i64, values: &[Vec<u8>]) {
    let line = |(offset, value): (i64, &Vec<u8>)| {
        let value: Value = serde_json::from_slice(value).unwrap();
        let (topic, timestamp) = (format!("shop.public.{topic}"), now() / 1_000);
        let line = json!({
            "topic": topic, "partition": partition, "offset": offset, "timestamp": timestamp, "key": "{}",
            "value": value.to_string(),
        });
        format!("{line}\n")
    };
    let lines: String = (offset..).zip(values).map(line).collect();
    let path = place.path(&format!("input/{topic}-{partition}-{offset:05}.ndjson"));
    std::fs::write(path, lines).unwrap();
}

/// Rows of a snapshot of orders, and of another shard of costs, for another tenant.
fn others(number: i64) -> [Vec<u8>; 2] {
    let row = json!({
        "order_id": number.to_string(), "tenant_id": "acme", "status": "paid", "amount": "1",
        "currency": "USD", "placed_at": Micros(now()).to_string(), "updated_at": Micros(now()).to_string(),
    });
    let source = json!({"connector": "postgresql", "name": "shop", "db": "shop", "schema": "public",
        "table": "orders", "lsn": 5, "ts_ms": now() / 1_000, "snapshot": "true"});
    let order = json!({"op": "r", "before": null, "after": row, "source": source}).to_string();
    let shard = charge(&format!("e{number}"), now() / DAY * DAY, "1", 5, true);
    let mut shard: Value = serde_json::from_slice(&shard).unwrap();
    (shard["source"]["db"], shard["after"]["tenant_id"]) = (json!("eu"), json!("other"));
    [order.into_bytes(), shard.to_string().into_bytes()]
}

/// A snapshot of other origins, ten rows a second of each, until it is over.
struct Snapshot<'a> {
    place: &'a Place,
    rows: AtomicI64,
    is_over: AtomicBool,
}

impl Snapshot<'_> {
    fn write(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.rows.fetch_add(1, Ordering::Relaxed);
            let [order, shard] = others(number);
            write(self.place, "orders", 0, number, &[order]);
            write(self.place, "costs", 1, number, &[shard]);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_snapshot_holds_back_the_alerts_of_what_it_feeds_alone() {
    let place = Place::new();
    place.configure_files("lake.flush_interval = \"100ms\"\nlake.barrier_interval = \"500ms\"\n");
    let today = now() / DAY * DAY;
    let names: Vec<String> = (0..9).map(|day| format!("c{day}")).collect();
    let history = (0_i64..).zip(&names);
    let history = history.map(|(day, name)| charge(name, today - day * DAY, "100", 1, true));
    let history: Vec<Vec<u8>> = history.collect();
    write(&place, "costs", 0, 0, &history);
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let value = |kpi: &str, tenant: &str| {
        let path = format!("/api/v1/kpis?kpi={kpi}&grain=day&tenant={tenant}");
        get(port, &path, &token)["kpis"][0]["value"].as_str().map(str::to_owned)
    };
    wait_until("the history is read", super::SOON, || value("total_cost", "acme").is_some());
    std::thread::sleep(Duration::from_secs(3));
    let snapshot =
        Snapshot { place: &place, rows: AtomicI64::new(0), is_over: AtomicBool::new(false) };
    let open = std::thread::scope(|scope| {
        scope.spawn(|| snapshot.write());
        wait_until("the snapshot is read", super::SOON, || {
            value("orders", "acme").is_some() && value("total_cost", "other").is_some()
        });
        write(&place, "costs", 0, 9, &[charge("spike", today, "40", 10, false)]);
        wait_until("the spike counts", super::SOON, || {
            value("total_cost", "acme").is_some_and(|value| value == "140")
        });
        let is_noticed = || !alerts(port, &token, "firing").is_empty();
        let begin = std::time::Instant::now();
        while !is_noticed() && begin.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let open = alerts(port, &token, "firing");
        std::thread::sleep(Duration::from_secs(1));
        snapshot.is_over.store(true, Ordering::Relaxed);
        open
    });
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((open[0]["value"].as_str(), &open[0]["tenant"]), (Some("140"), &json!("acme")));
    // It was no gap of the snapshot that let it through.
    let opened = Micros::parse(open[0]["opened_at"].as_str().unwrap()).unwrap().0;
    wait_until("the snapshot went on after it", super::SOON, || {
        quiet_clocks(&place).iter().any(|clock| *clock > opened)
    });
    let before = quiet_clocks(&place).into_iter().filter(|clock| *clock <= opened).max();
    assert!(before.is_some_and(|clock| opened - clock < 1_000_000), "{before:?} {opened}");

    // A snapshot of its own origin holds it back, until a second after.
    std::thread::sleep(Duration::from_secs(2));
    write(&place, "costs", 0, 10, &[charge("spike", today, "0", 11, false)]);
    wait_until("it is over", super::SOON, || alerts(port, &token, "firing").is_empty());
    for offset in 11..31 {
        let row = charge("c3", today - 3 * DAY, "100", 12, true);
        let spike = charge("spike", today, &format!("{offset}0"), offset, false);
        write(&place, "costs", 0, offset * 2, &[row, spike]);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(alerts(port, &token, "firing"), Vec::<Value>::new());
    }
    std::thread::sleep(Duration::from_secs(3));
    write(&place, "costs", 0, 99, &[charge("spike", today, "400", 99, false)]);
    wait_until("it is noticed", super::SOON, || !alerts(port, &token, "firing").is_empty());
    run.stops();
    assert_clean(place.lake(), None, &Options::default());
    place.succeeds(&["verify", "--deep"]);
}

/// Clocks of the epochs with quiet rows.
fn quiet_clocks(place: &Place) -> Vec<i64> {
    let mut clocks = Vec::new();
    let mut epochs = Epochs::open(place.lake()).unwrap();
    while let Some(records) = epochs.next_epoch().unwrap() {
        clocks.extend(records.iter().find(|record| record.quiet).map(|own| own.epoch_clock));
    }
    clocks
}
