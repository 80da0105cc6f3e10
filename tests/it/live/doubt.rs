//! Changes that cannot be decoded: which numbers are in doubt, for how long, and what is said of it.

use std::fmt::Write as _;

use harness::event::Cell;
use harness::tables::read_silver;
use harness::{Options, check_lake};
use schemas::Contract;
use serde_json::{Value, json};

use super::{get, mint, port, ready};
use crate::support::http::request;
use crate::support::{Place, wait_until};

/// A change of an order of this currency, `amount` being whatever the source sends.
fn change(offset: u64, id: &str, currency: &str, amount: &Value) -> String {
    let mut row = json!({
        "order_id": id, "tenant_id": "t", "status": "paid", "currency": currency,
        "placed_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
    });
    match amount {
        // The column was renamed.
        Value::Null => row["total"] = json!("20"),
        amount => row["amount"] = amount.clone(),
    }
    let source = json!({
        "connector": "postgresql", "name": "shop", "db": "eu", "schema": "public", "table": "orders",
        "lsn": 100 + offset, "sequence": format!("[\"{}\",\"{}\"]", 99 + offset, 100 + offset),
        "ts_ms": 1_772_359_200_000 + offset, "snapshot": "false",
    });
    let value = json!({ "op": "u", "after": row, "source": source }).to_string();
    let key = json!({ "order_id": id }).to_string();
    let record = json!({
        "topic": "shop.public.orders", "partition": 0, "offset": offset, "key": key, "value": value,
    });
    format!("{record}\n")
}

fn append(place: &Place, lines: &str) {
    let path = place.path("input/a.ndjson");
    let mut text = std::fs::read_to_string(&path).unwrap_or_default();
    text.write_str(lines).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Value and status of a KPI of a day, by currency.
fn told(port: u16, token: &str, kpi: &str) -> Vec<[String; 2]> {
    let answer = get(port, &format!("/api/v1/kpis?kpi={kpi}&grain=day"), token);
    let text = |value: &Value| value.as_str().unwrap_or("null").to_owned();
    let one = |cell: &Value| [text(&cell["value"]), text(&cell["status"])];
    answer["kpis"].as_array().unwrap().iter().map(one).collect()
}

/// What `degraded` and the metrics of doubt are.
fn meta(port: u16, token: &str) -> (bool, String, [String; 2]) {
    let meta = get(port, "/api/v1/meta", token);
    let metrics = request("GET", port, "/metrics", None).body;
    let metric = |name: &str| {
        let start = format!("{name}{{contract=\"orders\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(start.as_str()));
        line.unwrap_or("none").to_owned()
    };
    let names = ["weir_rows_in_doubt", "weir_dead_letters_without_row"];
    (meta["degraded"] == true, meta["reasons"].to_string(), names.map(metric))
}

#[test]
fn a_renamed_column_puts_the_numbers_in_doubt_until_they_are_known_again() {
    let place = Place::new();
    place.configure_files("");
    let ten = json!("10");
    append(&place, &change(0, "1", "EUR", &ten));
    append(&place, &change(1, "2", "USD", &ten));
    append(&place, &change(2, "1", "EUR", &Value::Null));
    place.succeeds(&["run", "--until-end"]);
    let verify = place.succeeds(&["verify", "--json"]).json();
    assert_eq!(verify["failed"], 0, "{verify}");
    // The doubt is found again by the next run, which serves what it has.
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let doubted = [["10", "in_doubt"], ["10", "ok"]];
    assert_eq!(told(port, &token, "revenue_booked"), doubted);
    assert_eq!(told(port, &token, "average_order_value"), doubted, "a ratio, for either part");
    let cells = place.succeeds(&["kpis", "get", "revenue_booked", "--json"]).json();
    assert!(cells.to_string().contains(r#""status":"in_doubt""#), "{cells}");
    let (degraded, reasons, metrics) = meta(port, &token);
    assert!(!degraded, "a row says it: {reasons}");
    assert_eq!(metrics, ["1", "0"]);
    // A create of which nothing can be read has no row that would be in doubt.
    append(&place, &change(3, "3", "EUR", &json!("5.12345")));
    wait_until("answers are degraded", super::SOON, || meta(port, &token).0);
    let (_, reasons, metrics) = meta(port, &token);
    assert!(reasons.contains("table `orders`: 1 record could not be read"), "{reasons}");
    assert!(reasons.contains("/shop.public.orders/0/3: column `amount`"), "{reasons}");
    assert_eq!(metrics, ["1", "1"]);
    append(&place, &change(4, "3", "EUR", &json!("5")));
    append(&place, &change(5, "1", "EUR", &json!("20")));
    wait_until("all is known again", super::SOON, || {
        told(port, &token, "revenue_booked") == [["25", "ok"], ["10", "ok"]]
    });
    let (degraded, reasons, metrics) = meta(port, &token);
    assert_eq!((degraded, metrics), (false, ["0", "0"].map(str::to_owned)), "{reasons}");
    run.stops();
    place.succeeds(&["verify"]);
    let report = check_lake(place.lake(), None, &Options::default()).unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_renamed_optional_column_is_unknown_and_one_that_was_never_there_is_null() {
    let place = Place::new();
    place.configure_files("");
    let with = |offset, id, columns: &[(&str, &str)]| {
        let mut line: Value =
            serde_json::from_str(&change(offset, id, "EUR", &json!("10"))).unwrap();
        let mut event: Value = serde_json::from_str(line["value"].as_str().unwrap()).unwrap();
        columns.iter().for_each(|(name, value)| event["after"][name] = json!(value));
        line["value"] = event.to_string().into();
        format!("{line}\n")
    };
    append(&place, &with(0, "1", &[("channel", "web")]));
    append(&place, &with(1, "2", &[("channel", "app")]));
    append(&place, &with(2, "1", &[("sales_channel", "web")]));
    place.succeeds(&["run", "--until-end"]);
    let verify = place.succeeds(&["verify", "--json"]).json();
    assert_eq!(verify["failed"], 0, "{verify}");
    let text = include_str!("../../../schemas/contracts/tables/orders.toml");
    let contract = Contract::parse(text).unwrap();
    let channel = contract.column("channel").unwrap();
    let silver = read_silver(place.lake(), &contract).unwrap().unwrap();
    let channels: Vec<&Cell> = silver.rows.values().map(|row| &row.row[channel]).collect();
    assert_eq!(channels, [&Cell::Unknown, &Cell::Text("app".into())]);
    let check = place.succeeds(&["check", "--json"]).stdout;
    assert!(check.contains("shop.eu.public.orders has never sent"), "{check}");
    assert!(check.contains("`campaign`") && !check.contains("`channel`"), "{check}");
    // A contract that is configured and not in force has other columns in other places.
    let folder = place.path("contracts");
    std::fs::create_dir_all(&folder).unwrap();
    let wider =
        text.replacen("columns = [", "columns = [\n    { name = \"memo\", type = \"text\" },", 1);
    std::fs::write(folder.join("orders.toml"), wider).unwrap();
    place.configure_files(&format!("contracts.definitions = {folder:?}\n"));
    let check = place.succeeds(&["check", "--json"]).stdout;
    assert!(check.contains("`campaign`") && !check.contains("`channel`"), "{check}");
    place.configure_files("");
    let cells = place.succeeds(&["kpis", "get", "revenue_by_channel", "--grain", "day", "--json"]);
    let cells = cells.json().to_string();
    assert!(
        cells.contains(r#""status":"in_doubt""#) && cells.contains(r#""status":"ok""#),
        "{cells}"
    );
    let report = check_lake(place.lake(), None, &Options::default()).unwrap();
    assert!(report.is_clean(), "{report}");
    // Which channel the order is of, nobody knows: any cell by channel may lack it.
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let (degraded, reasons, _) = meta(port, &token);
    let says = "table `orders`: of 1 row the source never sent `channel`, so any cell of revenue_by_channel may lack";
    assert!(degraded && reasons.contains(says), "{reasons}");
    append(&place, &with(3, "1", &[("channel", "web"), ("recognized_at", "2026-03-01T10:00:00Z")]));
    append(&place, &with(4, "2", &[("channel", "app"), ("status", "recognized")]));
    wait_until("the time of recognition is asked for", super::SOON, || {
        let (_, reasons, _) = meta(port, &token);
        !reasons.contains("`channel`") && reasons.contains("never sent `recognized_at`")
    });
    let (_, reasons, _) = meta(port, &token);
    assert!(reasons.contains("revenue_recognized"), "{reasons}");
    append(&place, &with(5, "2", &[("channel", "app"), ("recognized_at", "2026-03-01T10:00:00Z")]));
    wait_until("every row has its place", super::SOON, || !meta(port, &token).0);
    run.stops();
}

#[test]
fn what_is_dropped_ends_the_doubt_and_stays_in_bronze() {
    let place = Place::new();
    place.configure_files("");
    append(&place, &change(0, "1", "EUR", &json!("10")));
    append(&place, &change(1, "1", "EUR", &Value::Null));
    append(&place, &change(2, "2", "EUR", &Value::Null));
    place.succeeds(&["run", "--until-end"]);
    let letters = |flags: &[&str]| {
        let arguments = [&["dead-letters", "list", "--json"], flags].concat();
        let list = place.succeeds(&arguments).json();
        let ids = list["dead_letters"].as_array().unwrap().clone();
        ids.iter().map(|letter| letter["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let ids = letters(&[]);
    assert_eq!(ids.len(), 2);
    let shown = place.succeeds(&["dead-letters", "show", &ids[0]]).stdout;
    for says in ["contract: orders", "column `amount` is missing", r#""total""#, "advice: "] {
        assert!(shown.contains(says), "{says} is not in\n{shown}");
    }
    place.weir(&["dead-letters", "show", "a/b/0/1"]).exits(2).says(&["a/b/0/1", "list"]);
    place.weir(&["dead-letters", "drop", &ids[0]]).exits(2).says(&["--yes"]);
    place.succeeds(&["dead-letters", "drop", &ids[0], "--dry-run"]);
    assert_eq!(letters(&[]).len(), 2, "nothing is done");
    // Nobody runs: it takes effect at the next start.
    place.succeeds(&["dead-letters", "drop", &ids[0], "--yes"]);
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    wait_until("the row is not in doubt", super::SOON, || {
        told(port, &token, "revenue_booked") == [["10", "ok"]]
    });
    assert!(meta(port, &token).0, "the other one has no row");
    place.succeeds(&["dead-letters", "drop", "--contract", "orders", "--yes"]);
    wait_until("nothing is degraded", super::SOON, || !meta(port, &token).0);
    assert_eq!(letters(&[]), [""; 0]);
    assert_eq!(letters(&["--all"]), ids);
    append(&place, &change(3, "1", "EUR", &Value::Null));
    wait_until("what comes later is in doubt again", super::SOON, || {
        told(port, &token, "revenue_booked") == [["10", "in_doubt"]]
    });
    run.stops();
    assert_eq!(letters(&[]).len(), 1);
    let clean = || {
        place.succeeds(&["verify"]);
        let report = check_lake(place.lake(), None, &Options::default()).unwrap();
        assert!(report.is_clean(), "{report}");
    };
    clean();
    // Everything once more from bronze.
    for folder in ["silver", "gold", "_weir/state", "_weir/ledger"] {
        std::fs::remove_dir_all(place.lake().join(folder)).unwrap();
    }
    place.succeeds(&["run", "--until-end"]);
    clean();
}

#[test]
fn a_line_of_a_file_that_cannot_be_read_at_all_degrades_answers() {
    let place = Place::new();
    for folder in ["contracts", "input"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    place.configure(&format!(
        "contracts.definitions = {:?}\n[[sources]]\nkind = \"file\"\npath = {:?}\ncontract = \"orders\"\n",
        place.path("contracts"),
        place.path("input"),
    ));
    let orders = include_str!("../../../schemas/contracts/tables/orders.toml");
    let csv = orders.replace("debezium-json", "csv");
    assert_ne!(csv, orders);
    std::fs::write(place.path("contracts/orders.toml"), csv).unwrap();
    let lines = "order_id,tenant_id,status,amount,currency,placed_at,updated_at\n\
                 1,t,paid,10,EUR,2026-03-01T10:00:00Z,2026-03-01T10:00:00Z\n2,t,paid\n";
    std::fs::write(place.path("input/b.csv"), lines).unwrap();
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["verify", "--deep"]);
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let (degraded, reasons, metrics) = meta(port, &token);
    assert!(
        degraded && reasons.contains("table `orders`: 1 record could not be read"),
        "{reasons}"
    );
    assert_eq!(metrics, ["0", "1"]);
    place.succeeds(&["dead-letters", "drop", "--contract", "orders", "--yes"]);
    wait_until("it is not missed any more", super::SOON, || !meta(port, &token).0);
    run.stops();
    place.succeeds(&["verify"]);
}
