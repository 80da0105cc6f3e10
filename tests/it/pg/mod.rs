//! From rows in PostgreSQL to KPI cells: the real path, disturbed on the way, compared with SQL.
//!
//! # Guarantees
//! - Every cell of every KPI and grain is compared with what PostgreSQL computes from its own rows.
//! - Weir, Connect and Kafka are each killed or restarted between transactions.

mod transactions;
mod whole;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::kpis::CellValue;
use harness::tables::{read_current, read_silver};
use harness::{Options, numbers};
use schemas::Contract;

use crate::support::services::{self, BROKERS, script, sql};
use crate::support::{Place, Weir, assert_clean, seeded, wait_until};
use transactions::{KINDS, Shop};

const NAME: &str = "it-exact";
const PORT: &str = "18085";
const DATABASE: &str = "weir_it";
const ORDERS: &str = "itexact.public.orders";
const COSTS: &str = "itexact.public.costs";

/// Rows that come last, enough of them to reach every partition.
const LAST_ROWS: i64 = 40;

/// Each kind of change happens at least this often, or the comparison proves too little.
const EACH_KIND: u64 = 50;

#[test]
fn every_cell_equals_what_postgres_computes() {
    let held = services::kafka();
    let begin = Instant::now();
    let mut shop = Shop::new(seeded("PostgreSQL"));
    prepare(&mut shop);
    let place = Place::new();
    let before = "lake.flush_interval = \"200ms\"\nlake.barrier_interval = \"1s\"\n";
    place.configure_kafka(before, BROKERS, &[(ORDERS, "orders"), (COSTS, "costs")]);

    let mut weir = place.start(&["run"]);
    for batch in 0..40 {
        sql(DATABASE, &shop.batch(60));
        weir = disturb(batch, weir, &place);
    }
    sql(DATABASE, &shop.last_rows(LAST_ROWS));
    wait_until("the last rows are in silver", Duration::from_secs(90), || {
        last_rows_are_there(&place)
    });
    assert!(weir.is_running(), "{}", weir.log());
    weir.stops();
    // The last rows are there, so Connect has sent all: read what the other partitions still have.
    place.succeeds(&["run", "--until-end"]);

    let compared = compare(&place);
    for kind in KINDS {
        println!("{kind:<24}{:>6}", shop.count(kind));
    }
    println!("{compared} cells equal; {:?} in all", begin.elapsed());
    for kind in KINDS {
        assert!(shop.count(kind) >= EACH_KIND, "too few of `{kind}`");
    }
    assert!(compared >= 2_000, "{compared} cells");
    let topics = [(ORDERS.into(), "orders".into()), (COSTS.into(), "costs".into())].into();
    let report = assert_clean(place.lake(), None, &Options { topics, bronze_only: false });
    println!("{report}");
    place.succeeds(&["verify"]);
    script("connect.sh", &["forget", NAME]);
    drop(held);
}

/// An empty database with some rows, whose snapshot the connector then takes.
fn prepare(shop: &mut Shop) {
    script("postgres.sh", &["start"]);
    script("connect.sh", &["forget", NAME]);
    sql("postgres", &format!("drop database if exists {DATABASE} with (force)"));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/sql/shop.sql");
    script("postgres.sh", &["load", DATABASE, root]);
    for topic in [ORDERS, COSTS] {
        services::fresh_topic(topic, 4);
    }
    sql(DATABASE, &shop.first_rows(300));
    let connector = script("connect.sh", &["render", "shop", "NAME=it-exact", "PREFIX=itexact"]);
    let connector = connector.replace("\"shop\"", &format!("\"{DATABASE}\""));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), connector).unwrap();
    script("connect.sh", &["start", NAME, PORT, &file.path().display().to_string()]);
}

/// What goes wrong after which batch.
fn disturb(batch: u32, weir: Weir, place: &Place) -> Weir {
    match batch {
        5 | 14 | 23 | 32 => {
            weir.kill();
            return place.start(&["run"]);
        }
        10 => drop(script("connect.sh", &["restart", NAME])),
        18 => drop(script("kafka.sh", &["restart"])),
        26 => {
            script("connect.sh", &["kill", NAME]);
            script("connect.sh", &["restart", NAME]);
        }
        _ => {}
    }
    weir
}

fn last_rows_are_there(place: &Place) -> bool {
    ["orders", "costs"].iter().all(|name| {
        let text = match *name {
            "orders" => include_str!("../../../schemas/contracts/tables/orders.toml"),
            _ => include_str!("../../../schemas/contracts/tables/costs.toml"),
        };
        let contract = Contract::parse(text).unwrap();
        let Ok(Some(silver)) = read_silver(place.lake(), &contract) else { return false };
        let last = silver.rows.keys().filter(|key| transactions::is_last(key)).count();
        i64::try_from(last).unwrap() == LAST_ROWS
    })
}

/// kpi, tenant, dims, grain, start.
type Cell = (String, String, String, String, i64);

/// Compares every cell; returns how many there are.
fn compare(place: &Place) -> usize {
    let expected = computed_by_postgres();
    let table = read_current(place.lake()).unwrap().unwrap();
    let left = harness::kpis::LEFT_ALONE;
    let unknown: Vec<_> =
        table.unknown_kpis.iter().filter(|kpi| !left.contains(&kpi.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let found: BTreeMap<Cell, CellValue> = table
        .rows
        .iter()
        .map(|(id, (value, ..))| {
            let (kpi, grain) = (id.kpi.to_owned(), id.grain.to_string());
            ((kpi, id.tenant.to_string(), id.dims.to_string(), grain, id.start), *value)
        })
        .collect();
    let mut wrong = Vec::new();
    for (cell, value) in &expected {
        if found.get(cell) != Some(value) {
            wrong.push(format!("{cell:?}: {:?}, PostgreSQL has {value:?}", found.get(cell)));
        }
    }
    for (cell, value) in found.iter().filter(|(cell, _)| !expected.contains_key(*cell)) {
        wrong.push(format!("{cell:?}: {value:?}, PostgreSQL has no such cell"));
    }
    let some = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} cells differ:\n{some}", wrong.len(), expected.len());
    for (kpi, _) in harness::kpis::UNITS {
        for grain in schemas::Grain::ALL.map(schemas::Grain::name) {
            assert!(
                expected.keys().any(|c| c.0 == kpi && c.3 == grain),
                "no cells of {kpi}/{grain}"
            );
        }
    }
    expected.len()
}

fn computed_by_postgres() -> BTreeMap<Cell, CellValue> {
    let answer = sql(DATABASE, include_str!("cells.sql"));
    let number = |text: &str| {
        let whole = || numbers::parse(text, 38, numbers::SCALE).unwrap();
        (!text.is_empty()).then(whole)
    };
    let mut cells = BTreeMap::new();
    for line in answer.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kpi, tenant, dims, grain, start, value, above, below, status] = fields[..] else {
            panic!("{line}");
        };
        let (value, numerator, denominator) = (number(value), number(above), number(below));
        let status = if status == "ok" { "ok" } else { "no_data" };
        let value = CellValue { value, numerator, denominator, status };
        let start = start.parse().unwrap();
        cells.insert((kpi.into(), tenant.into(), dims.into(), grain.into(), start), value);
    }
    cells
}
