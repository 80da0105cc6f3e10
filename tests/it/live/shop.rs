//! The demo's shop: every contract that is built in has rows, every KPI has a value, and rows say the same of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use harness::event::Cell;
use harness::tables::read_silver;
use schemas::Contract;
use serde_json::Value;

use super::{Demo, get};
use crate::support::http::request;
use crate::support::wait_until;

/// As long as reading the history may take beside other tests.
const HISTORY: Duration = Duration::from_secs(240);

/// Rows of silver by their columns.
type Rows = Vec<BTreeMap<String, Cell>>;

fn silver(lake: &Path, name: &str, text: &str) -> Rows {
    let contract = Contract::parse(text).unwrap();
    let table = read_silver(lake, &contract).unwrap();
    let table = table.unwrap_or_else(|| panic!("there is no table silver/{name}"));
    let names: Vec<String> = contract.columns.iter().map(|own| own.name.clone()).collect();
    let row = |cells: &Vec<Cell>| names.iter().cloned().zip(cells.iter().cloned()).collect();
    table.rows.values().map(|own| row(&own.row)).collect()
}

fn text(row: &BTreeMap<String, Cell>, column: &str) -> Option<String> {
    match &row[column] {
        Cell::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn units(row: &BTreeMap<String, Cell>, column: &str) -> i128 {
    let Cell::Decimal(units) = row[column] else { panic!("{column} of {row:?}") };
    units
}

#[test]
fn every_table_is_filled_every_kpi_has_a_value_and_rows_agree() {
    // What is left of a year ago has a value where there is more than a year.
    let mut demo = Demo::start_with(67);
    let meta = get(demo.port, "/api/v1/meta", &demo.token);
    let all: BTreeSet<String> = meta["kpis"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kpi| kpi["key"].as_str().unwrap().to_owned())
        .collect();
    assert!(all.len() > 60, "{all:?}");
    let without = || {
        let answer = get(demo.port, "/api/v1/kpis", &demo.token);
        let cells = answer["kpis"].as_array().unwrap();
        let valued = cells.iter().filter(|cell| cell["value"].is_string());
        let valued: BTreeSet<&str> = valued.map(|cell| cell["kpi"].as_str().unwrap()).collect();
        let left = all.iter().filter(|kpi| !valued.contains(kpi.as_str()));
        left.cloned().collect::<Vec<String>>()
    };
    let begin = std::time::Instant::now();
    while !without().is_empty() {
        assert!(begin.elapsed() < HISTORY, "KPIs without a value: {:?}", without());
        std::thread::sleep(Duration::from_millis(500));
    }
    wait_until("the running hour is served", HISTORY, || {
        let served = get(demo.port, "/api/v1/kpis?grain=hour&kpi=total_cost", &demo.token);
        let hour = served["as_of"].as_str().unwrap().split(':').next().unwrap();
        let cells = served["kpis"].as_array().unwrap();
        cells.iter().any(|cell| cell["period_start"].as_str().unwrap().starts_with(hour))
    });
    a_cell_leads_back(&demo);
    demo.run.take().unwrap().stops();
    let lake = demo.place.path("demo");
    rows_agree(&lake);
    // Every KPI again, by every period: more than a minute of work, longer on a busy machine.
    let verify = ["verify", "--lake", &lake.display().to_string()];
    demo.place.start(&verify).wait(Duration::from_secs(600)).exits(0);
}

/// The newest charges of the live part lead back to their records, and so do cells over views.
fn a_cell_leads_back(demo: &Demo) {
    let path = "/api/v1/kpis/total_cost/explain?tenant=tenant-01&grain=day&limit=5";
    // What is served is some seconds ahead of the tables, and at first there are none.
    let mut answer = Value::Null;
    wait_until("the cell is flushed", HISTORY, || {
        let told = request("GET", demo.port, path, Some(&demo.token));
        answer = if told.status == 200 { told.json() } else { Value::Null };
        answer["groups"][0]["status"] == "ok"
    });
    let [group] = &answer["groups"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&group["value"], &group["status"]), (&group["parts"][0]["sum"], &"ok".into()));
    for row in answer["rows"].as_array().unwrap() {
        assert_eq!(row["records"][0]["topic"], "demo.public.costs", "{row}");
    }
    let path = "/api/v1/kpis/revenue_by_category/explain?tenant=tenant-01&grain=month&limit=10000";
    let answer = get(demo.port, path, &demo.token);
    let groups = answer["groups"].as_array().unwrap();
    assert!(!groups.is_empty(), "{answer}");
    for group in groups {
        assert_eq!((&group["value"], &group["status"]), (&group["parts"][0]["sum"], &"ok".into()));
    }
    for row in answer["rows"].as_array().unwrap() {
        let topic = |of: &Value| of["records"][0]["topic"].as_str().unwrap().to_owned();
        let topics: Vec<String> = row["inputs"].as_array().unwrap().iter().map(topic).collect();
        assert_eq!(topics, ["demo.public.order_items", "demo.public.orders"], "{row}");
    }
}

fn rows_agree(lake: &Path) {
    let mut tables: BTreeMap<String, Rows> = BTreeMap::new();
    for (file, text) in schemas::contract::all_that_come() {
        let name = file.trim_end_matches(".toml").to_owned();
        let rows = silver(lake, &name, text);
        assert!(!rows.is_empty(), "silver/{name} is empty");
        tables.insert(name, rows);
    }
    assert_eq!(tables.len(), 11, "{:?}", tables.keys());
    let customers: BTreeSet<String> =
        tables["customers"].iter().filter_map(|row| text(row, "customer_id")).collect();
    for (name, column) in [
        ("orders", "customer_id"),
        ("subscriptions", "customer_id"),
        ("opportunities", "customer_id"),
        ("activity", "user_id"),
        ("runs", "user_id"),
    ] {
        let strange = tables[name]
            .iter()
            .filter_map(|row| text(row, column))
            .find(|own| !customers.contains(own));
        assert_eq!(strange, None, "{name}.{column} is nobody");
    }
    let mut lines: BTreeMap<String, i128> = BTreeMap::new();
    for row in &tables["order_items"] {
        let sum = units(row, "quantity") * units(row, "unit_price");
        assert_eq!(sum % 10_000, 0);
        *lines.entry(text(row, "order_id").unwrap()).or_default() += sum / 10_000;
    }
    // The stop may come between an order and its lines.
    let amounts: BTreeMap<String, i128> = tables["orders"]
        .iter()
        .map(|row| (text(row, "order_id").unwrap(), units(row, "amount")))
        .collect();
    let named: BTreeSet<&String> = amounts.keys().chain(lines.keys()).collect();
    let wrong: Vec<_> =
        named.into_iter().filter(|order| amounts.get(*order) != lines.get(*order)).collect();
    assert!(amounts.len() > 1_000 && wrong.len() <= 1, "lines do not add up: {wrong:?}");
    let billed: BTreeSet<_> = tables["costs"]
        .iter()
        .map(|row| (text(row, "tenant_id"), text(row, "service_name")))
        .collect();
    for row in &tables["budgets"] {
        let of = (text(row, "tenant_id"), text(row, "service_name"));
        assert!(billed.contains(&of), "a budget of what costs nothing: {of:?}");
    }
}
