//! Tests of the module `generator`.

mod tables;

use std::collections::{BTreeMap, HashMap};

use schemas::Grain;
use serde_json::Value;

use super::incidents::IncidentKind;
use super::world::HOUR;
use super::*;

/// FNV-1a of the first 20,000 records of seed 7.
const GOLDEN: u64 = 0x2faf_a82a_e9ad_1fb7;

/// A record with its own bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    lane: (&'static str, i32),
    offset: i64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: Micros,
    at: Micros,
}

fn own(event: Event<'_>) -> Owned {
    Owned {
        lane: (event.topic, event.partition),
        offset: event.offset,
        key: event.key.to_vec(),
        value: event.value.map(<[u8]>::to_vec),
        timestamp: event.timestamp,
        at: event.at,
    }
}

fn start() -> Micros {
    Micros::parse("2026-03-04T18:17:23.456789Z").unwrap()
}

fn config(history_days: u32) -> GeneratorConfig {
    GeneratorConfig { history_days, ..GeneratorConfig::new(7, start()) }
}

fn take(generator: &mut Generator, count: usize) -> Vec<Owned> {
    (0..count).map(|_| own(generator.next())).collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

fn money(value: &Value, field: &str) -> f64 {
    text(value, field).parse().unwrap()
}

fn micros(value: &Value, field: &str) -> i64 {
    Micros::parse(text(value, field)).unwrap().0
}

#[test]
fn content_depends_on_the_seed_and_not_on_the_rate() {
    let usual = take(&mut Generator::new(config(3)), 20_000);
    let fast = GeneratorConfig { rate: 50_000.0, ..config(3) };
    let fast = take(&mut Generator::new(fast), 20_000);
    let strip = |records: &[Owned]| -> Vec<Owned> {
        records.iter().map(|r| Owned { at: Micros(0), ..r.clone() }).collect()
    };
    assert!(strip(&usual) == strip(&fast));
    let other = take(&mut Generator::new(GeneratorConfig { seed: 8, ..config(3) }), 20_000);
    assert!(strip(&usual) != strip(&other));

    let live = usual.iter().zip(&fast).filter(|(usual, _)| usual.timestamp >= start());
    for (usual, fast) in live {
        assert_eq!(usual.at, usual.timestamp);
        let expected = (usual.at.0 - start().0) / 250;
        assert!((fast.at.0 - start().0 - expected).abs() <= 1);
    }
    assert!(usual.windows(2).all(|pair| pair[0].at <= pair[1].at), "due order");
}

#[test]
fn the_bytes_of_a_seed_never_change() {
    let mut generator = Generator::new(config(3));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for _ in 0..20_000 {
        let event = generator.next();
        for byte in event.key.iter().chain(event.value.unwrap_or_default()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(hash, GOLDEN, "recorded demo runs can no longer be compared");
}

#[test]
fn resuming_and_random_access_give_the_sequence() {
    let config = GeneratorConfig { partitions: 3, ..config(2) };
    let all = take(&mut Generator::new(config), 24_000);
    let mut lanes: BTreeMap<(String, i32), Vec<Owned>> = BTreeMap::new();
    for record in &all {
        let lane = lanes.entry((record.lane.0.to_owned(), record.lane.1)).or_default();
        assert_eq!(record.offset, lane.len() as i64, "offsets are dense");
        lane.push(record.clone());
    }
    assert_eq!(lanes.len(), 3 * Table::ALL.len());

    let mut cold = Generator::new(config);
    let mut warm = Generator::new(config);
    take(&mut warm, 24_000);
    for (n, ((topic, partition), records)) in lanes.iter().enumerate() {
        for at in [records.len() - 1, 0, (17 * n + 5) % records.len(), records.len() / 2] {
            let offset = at as i64;
            for generator in [&mut cold, &mut warm] {
                let found = generator.record(topic, *partition, offset).map(own);
                assert_eq!(found.as_ref(), Some(&records[at]));
            }
        }
    }
    assert_eq!(own(cold.next()), all[0], "random access does not move the reader");
    assert!(cold.record("elsewhere", 0, 0).is_none());
    assert!(cold.record(Table::Orders.topic(), 3, 0).is_none());
    assert!(cold.record(Table::Orders.topic(), 0, -1).is_none());

    for round in 0..6_usize {
        let from: BTreeMap<(String, i32), i64> = lanes
            .iter()
            .enumerate()
            .filter(|(n, _)| round == 0 || n % 6 != round)
            .map(|(n, (lane, records))| (lane.clone(), (records.len() * (round + n) / 13) as i64))
            .collect();
        let wanted = |r: &&Owned| {
            r.offset >= from.get(&(r.lane.0.to_owned(), r.lane.1)).copied().unwrap_or(0)
        };
        let expected: Vec<Owned> = all.iter().filter(wanted).cloned().collect();
        let resumed = take(&mut Generator::resume(config, &from), expected.len());
        assert!(resumed == expected, "round {round}");
    }
}

#[test]
fn every_record_is_a_legal_debezium_change() {
    let mut rows: HashMap<Vec<u8>, Value> = HashMap::new();
    let mut lane_of: HashMap<Vec<u8>, (&'static str, i32)> = HashMap::new();
    let mut last_gone = vec![];
    let (mut lsn, mut live) = (0, HashMap::<String, u32>::new());
    let mut generator = Generator::new(config(10));
    for record in take(&mut generator, 150_000) {
        assert_eq!(*lane_of.entry(record.key.clone()).or_insert(record.lane), record.lane);
        let Some(value) = record.value else {
            assert_eq!(last_gone, record.key, "a tombstone follows its delete");
            continue;
        };
        let value = json(&value);
        let (source, op) = (&value["source"], text(&value, "op"));
        assert!(source["lsn"].as_i64() > Some(lsn));
        lsn = source["lsn"].as_i64().unwrap();
        assert_eq!(text(source, "sequence"), format!("[\"{lsn}\",\"{lsn}\"]"));
        assert_eq!(value["ts_us"].as_i64(), Some(record.timestamp.0));
        assert_eq!(source["ts_us"].as_i64(), Some(record.timestamp.0 - 3000));
        assert_eq!(format!("demo.public.{}", text(source, "table")), record.lane.0);
        if record.timestamp >= start() {
            *live.entry(op.to_owned()).or_default() += 1;
        }
        let after = value["after"].clone();
        match op {
            "c" => assert!(rows.insert(record.key, after).is_none(), "inserted once"),
            "u" => legal_update(&rows.insert(record.key, after.clone()).unwrap(), &after),
            "d" => {
                assert!(rows.remove(&record.key).is_some(), "deletes what exists");
                last_gone = record.key;
            }
            _ => panic!("unexpected op {op}"),
        }
    }
    let total = f64::from(live.values().sum::<u32>());
    let share = |op: &str| f64::from(live[op]) / total;
    assert!((0.25..0.33).contains(&share("c")), "{live:?}");
    assert!((0.65..0.73).contains(&share("u")), "{live:?}");
    assert!((0.01..0.03).contains(&share("d")), "{live:?}");
}

fn legal_update(old: &Value, new: &Value) {
    assert!(micros(new, "updated_at") > micros(old, "updated_at"));
    for field in ["charge_period_start", "order_id", "started_at", "opened_at", "signed_up_at"] {
        assert_eq!(old[field], new[field]);
    }
    let Some(from) = old["status"].as_str().filter(|_| old["placed_at"].is_string()) else {
        return;
    };
    let next = match from {
        "placed" => vec!["placed", "paid", "cancelled"],
        "paid" => vec!["paid", "shipped", "recognized", "cancelled"],
        "shipped" => vec!["shipped", "recognized", "cancelled"],
        "recognized" => vec!["recognized", "refunded"],
        other => vec![other],
    };
    let to = text(new, "status");
    assert!(next.contains(&to), "{from} -> {to}");
    let recognized = matches!(to, "recognized" | "refunded");
    assert_eq!(new["recognized_at"].is_string(), recognized);
    for field in ["tenant_id", "currency", "placed_at", "channel"] {
        assert_eq!(old[field], new[field]);
    }
}

/// The last state of every row after `count` records.
fn table(config: GeneratorConfig, count: usize) -> Vec<Value> {
    let mut rows: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
    let mut generator = Generator::new(config);
    for _ in 0..count {
        let event = generator.next();
        let after = event.value.map_or(Value::Null, |value| json(value)["after"].clone());
        if after.is_null() {
            rows.remove(event.key);
        } else {
            rows.insert(event.key.to_vec(), after);
        }
    }
    rows.into_values().collect()
}

#[test]
fn tenants_differ_in_size_and_follow_the_week() {
    let rows = table(config(28), 80_000);
    let orders: Vec<&Value> = rows.iter().filter(|row| row["placed_at"].is_string()).collect();
    let share = |tenant: &str| {
        let count = orders.iter().filter(|row| text(row, "tenant_id") == tenant).count();
        count as f64 / orders.len() as f64
    };
    assert!((0.35..0.46).contains(&share("tenant-01")), "{}", share("tenant-01"));
    assert!(share("tenant-02") > share("tenant-06") * 2.0);
    let currencies = |tenant: &str| {
        let mut all: Vec<&str> = orders
            .iter()
            .filter(|row| text(row, "tenant_id") == tenant)
            .map(|row| text(row, "currency"))
            .collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    };
    assert_eq!([currencies("tenant-01"), currencies("tenant-03")], [1, 2]);
    // tenant-01 lives at UTC-5: busy in its evening, asleep at 08 UTC.
    let at = |hour: i64| {
        let placed = |row: &&&Value| micros(row, "placed_at") / HOUR % 24 == hour;
        orders.iter().filter(|row| text(row, "tenant_id") == "tenant-01").filter(placed).count()
    };
    assert!(at(0) > at(8) * 2, "{} {}", at(0), at(8));
}

#[test]
fn the_cost_of_an_hour_is_the_same_metered_or_billed() {
    for (rate, count) in [(2.0, 14_400), (20.0, 110_000)] {
        let begin = Grain::Hour.start(start());
        let config = GeneratorConfig { start: begin, business_rate: rate, rate, ..config(0) };
        let world = World::new(config.seed, begin.0, 6);
        let rows = table(config, count);
        for tenant in 0..3 {
            let expected: i64 = (0..world.tenants[tenant].services)
                .map(|service| world.cost(tenant, service, begin.0 / HOUR))
                .sum();
            let metered: f64 = rows
                .iter()
                .filter(|row| text(row, "tenant_id") == world.tenants[tenant].name)
                .filter(|row| text(row, "charge_id").starts_with("cm-"))
                .filter(|row| micros(row, "charge_period_start") / HOUR == begin.0 / HOUR)
                .map(|row| money(row, "effective_cost"))
                .sum();
            let ratio = metered * 1e10 / expected as f64;
            assert!((0.88..1.14).contains(&ratio), "rate {rate} tenant {tenant}: {ratio}");
        }
    }
}

#[test]
fn incidents_show_in_the_events() {
    let config = GeneratorConfig { business_rate: 5.0, rate: 5.0, ..config(2) };
    let mut generator = Generator::new(config);
    let until = start().plus(2 * HOUR);
    let incidents = generator.incidents(until);
    // Four in the first 12 minutes, then one in each quarter of an hour.
    assert_eq!(incidents.len(), 4 + 8);
    assert_eq!(incidents[0].kind, IncidentKind::CostSpike);
    assert!(incidents[0].start.0 - start().0 <= 30_000_000);
    assert!(incidents.windows(2).all(|pair| pair[0].end < pair[1].start));

    let mut rows: HashMap<Vec<u8>, Value> = HashMap::new();
    let (mut extra, mut cancelled, mut repriced) = (HashMap::new(), 0, 0);
    loop {
        let event = generator.next();
        if event.timestamp >= until {
            break;
        }
        let Some(value) = event.value else { continue };
        let (at, after) = (event.timestamp, json(value)["after"].clone());
        let old = rows.insert(event.key.to_vec(), after.clone()).unwrap_or_default();
        let now = incidents.iter().find(|i| i.start <= at && at < i.end);
        let Some(now) = now.filter(|now| now.tenant == text(&after, "tenant_id")) else { continue };
        let (was, is) = (text(&old, "status"), text(&after, "status"));
        match now.kind {
            IncidentKind::CostSpike => {
                if Some(text(&after, "service_name")) == now.service && old.is_null() {
                    *extra.entry(now.start).or_insert(0.0) += money(&after, "effective_cost");
                }
            }
            IncidentKind::OrderDrop if Some(text(&after, "channel")) == now.channel => {
                assert!(!old.is_null(), "no orders in {now:?}");
                cancelled += usize::from(was != is && is == "cancelled");
            }
            IncidentKind::OrderDrop => {}
            IncidentKind::PaymentOutage => assert!(was != "placed" || is != "paid", "{now:?}"),
            IncidentKind::DiscountError if !is.is_empty() && !old.is_null() => {
                repriced += usize::from(money(&after, "amount") < money(&old, "amount") / 8.0);
            }
            IncidentKind::DiscountError => {}
        }
    }
    let world = World::new(config.seed, start().0, 6);
    for spike in incidents.iter().filter(|i| i.kind == IncidentKind::CostSpike) {
        let tenant = world.tenants.iter().position(|t| t.name == spike.tenant).unwrap();
        let service = world::SERVICES.iter().position(|s| Some(s.0) == spike.service).unwrap();
        let hour = world.cost(tenant, service, spike.start.0 / HOUR) as f64 / 1e10;
        assert!(extra[&spike.start] > hour * 1.9, "{spike:?} {}", extra[&spike.start]);
    }
    assert!(cancelled >= 3, "{cancelled} cancelled");
    assert!(repriced >= 10, "{repriced} repriced");
}

#[test]
fn odd_configurations_still_give_records() {
    for (tenants, history_days, partitions, rate) in
        [(0, 0, 0, 0.0), (1, 0, 7, f64::NAN), (200, 1, 1, 1e9), (3, 2, 500, 0.5)]
    {
        let config = GeneratorConfig {
            tenants,
            history_days,
            partitions,
            rate,
            business_rate: rate,
            ..config(0)
        };
        for record in take(&mut Generator::new(config), 3_000) {
            assert!(record.value.is_none_or(|value| json(&value).is_object()));
        }
    }
}
