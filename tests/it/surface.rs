//! Commands that people and scripts rely on: what they print, and how they exit.

use serde_json::Value;

use harness::{Options, check_lake};

use crate::support::Place;
use crate::support::stream::{append, options, records};

/// The rows of a `--json` answer: a list, or an object that has one.
pub(crate) fn rows(answer: &Value) -> &Vec<Value> {
    let inner = answer.as_object().and_then(|fields| fields.values().find_map(Value::as_array));
    answer.as_array().or(inner).unwrap_or_else(|| panic!("no list in {answer}"))
}

/// The tenant of a row.
pub(crate) fn tenant(row: &Value) -> String {
    let tenant = row.get("tenant").or_else(|| row.get("tenant_id"));
    tenant.and_then(Value::as_str).unwrap_or_else(|| panic!("no tenant in {row}")).to_owned()
}

fn has(row: &Value, names: &[&str]) {
    for name in names {
        assert!(row.get(name).is_some(), "`{name}` is not in {row}");
    }
}

#[test]
fn contracts_are_listed_and_shown() {
    let place = Place::new();
    let list = place.succeeds(&["contracts", "list"]).stdout;
    assert!(list.contains("orders") && list.contains("costs"), "{list}");
    let list = place.succeeds(&["contracts", "list", "--json"]).json();
    assert!(rows(&list).len() >= 2);
    let shown = place.succeeds(&["contracts", "show", "orders"]).stdout;
    for column in ["order_id", "tenant_id", "amount", "decimal(18,4)", "placed_at", "updated_at"] {
        assert!(shown.contains(column), "{column} is not in\n{shown}");
    }
    let shown = place.succeeds(&["contracts", "show", "costs", "--json"]).json();
    assert!(shown.to_string().contains("effective_cost"), "{shown}");
    place.weir(&["contracts", "show", "order"]).exits(2).says(&["order", "orders"]);
}

#[test]
fn usage_errors_exit_with_2() {
    let place = Place::new();
    for arguments in [&["rum"][..], &["run", "--until-the-end"], &["kpis", "show"], &[]] {
        let done = place.weir(arguments).exits(2);
        assert!(done.stdout.is_empty(), "{}", done.stdout);
    }
    place.succeeds(&["--help"]);
    let version = place.succeeds(&["--version"]).stdout;
    assert!(version.starts_with("weir "), "{version}");
    place.weir(&["run"]).exits(2).says(&["sources"]);
}

#[test]
fn config_show_names_origins_and_hides_secrets() {
    let place = Place::new().with_variable("WEIR__EPOCH__MAX_RECORDS", "77");
    place.configure_kafka("epoch.linger = \"20ms\"\n", "broker:9092", &[("t", "orders")]);
    let path = place.path("weir.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("[sources.librdkafka]\n\"sasl.password\" = \"hush-hush\"\n");
    std::fs::write(&path, text).unwrap();
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = place.succeeds(arguments).stdout;
        assert!(!shown.contains("hush-hush"), "{shown}");
        assert!(shown.contains("***"), "{shown}");
        let origin = |key: &str, origin: &str| {
            let near = |line: &str| line.contains(key) && line.contains(origin);
            let flat = shown.replace("\n    ", " ");
            assert!(flat.lines().any(near), "{key} from {origin} is not in\n{shown}");
        };
        origin("epoch.max_records", "WEIR__EPOCH__MAX_RECORDS");
        origin("epoch.linger", "weir.toml");
        origin("epoch.max_bytes", "default");
    }
}

#[test]
fn the_lake_is_looked_at_with_commands() {
    let place = Place::new();
    place.configure_files("");
    append(&place.path("input/a.ndjson"), &records(&options(41, 3_000)));
    place.succeeds(&["run", "--until-end"]);
    let report = check_lake(place.lake(), None, &Options::default()).unwrap();

    kpis(&place, report.cells);
    tables(&place, report.bronze.records + report.bronze.decisions);
    let letters = place.succeeds(&["dead-letters", "list", "--json"]).json();
    assert_eq!(rows(&letters).len() as u64, report.dead_letters);
    rows(&letters).iter().for_each(|row| has(row, &["topic", "partition", "offset", "reason"]));
    let text = place.succeeds(&["dead-letters", "list"]).stdout;
    assert!(text.contains("shop.public.orders"), "{text}");
    let proof = place.succeeds(&["verify"]).stdout;
    assert!(proof.contains("bronze") && proof.contains("silver"), "{proof}");

    // The same on a copy, offline and without a configuration.
    let copy = Place::new();
    crate::support::copy(place.lake(), copy.lake());
    let lake = copy.lake().display().to_string();
    copy.succeeds(&["verify", "--lake", &lake]);
    copy.weir(&["verify", "--lake", "/nonexistent"]).says(&["/nonexistent"]);
}

fn kpis(place: &Place, expected: u64) {
    let list = place.succeeds(&["kpis", "list"]).stdout;
    for (kpi, _) in harness::kpis::UNITS {
        assert!(list.contains(kpi), "{kpi} is not in\n{list}");
        let shown = place.succeeds(&["kpis", "show", kpi]).stdout;
        assert!(shown.contains(kpi), "{shown}");
    }
    // Beside these the seven that are over columns which the shop does not send, and have no cell, and those that the
    // oracle leaves alone.
    let in_force = harness::kpis::UNITS.len() + 7 + harness::kpis::LEFT_ALONE.len();
    assert_eq!(rows(&place.succeeds(&["kpis", "list", "--json"]).json()).len(), in_force);
    place.weir(&["kpis", "show", "revenu"]).exits(2).says(&["revenu"]);
    place.weir(&["kpis", "get", "revenu"]).exits(2).says(&["revenu"]);
    let mut count = 0;
    for (kpi, unit) in harness::kpis::UNITS {
        let answer = place.succeeds(&["kpis", "get", kpi, "--json"]).json();
        assert_eq!(answer["kpi"], kpi);
        has(&answer, &["epoch", "as_of"]);
        for row in rows(&answer) {
            has(row, &["dims", "grain", "period_start", "value", "status"]);
            assert_eq!(row["unit"], unit);
        }
        count += rows(&answer).len() as u64;
        for window in schemas::Grain::WINDOWS.map(schemas::Grain::name) {
            let arguments = ["kpis", "get", kpi, "--grain", window, "--json"];
            count += rows(&place.succeeds(&arguments).json()).len() as u64;
        }
    }
    assert_eq!(count, expected, "`kpis get` gives every cell");
    let arguments = ["kpis", "get", "orders", "--tenant", "tenant-1", "--grain", "day", "--json"];
    let some = place.succeeds(&arguments).json();
    assert!(!rows(&some).is_empty());
    for row in rows(&some) {
        assert_eq!(tenant(row), "tenant-1");
        assert_eq!(row["grain"], "day");
    }
    for json in [&["--json"][..], &[]] {
        let unknown = [&["kpis", "get", "orders", "--tenant", "tenant-x"][..], json].concat();
        let said = place.weir(&unknown).exits(2).says(&["no tenant `tenant-x`", "`tenant-1`"]);
        assert_eq!(said.stdout, "");
    }
    let arguments = [
        "kpis",
        "get",
        "orders",
        "--from",
        "2000-01-01T00:00:00Z",
        "--to",
        "2000-02-01T00:00:00Z",
        "--json",
    ];
    assert!(rows(&place.succeeds(&arguments).json()).is_empty());
}

fn tables(place: &Place, records: u64) {
    let list = place.succeeds(&["tables", "list", "--json"]).json();
    for name in
        ["bronze/changes", "silver/orders", "silver/costs", "gold/kpi_current", "gold/kpi_history"]
    {
        let is_it = |row: &&Value| row.to_string().contains(&format!("\"{name}\""));
        let row = rows(&list).iter().find(is_it);
        let row = row.unwrap_or_else(|| panic!("{name} is not in {list}"));
        has(row, &["rows", "files", "bytes", "version", "epoch"]);
        if name == "bronze/changes" {
            assert_eq!(row["rows"], records);
        }
        assert!(place.succeeds(&["tables", "list"]).stdout.contains(name));
        place.succeeds(&["tables", "show", name]);
    }
    place.weir(&["tables", "show", "silver/order"]).says(&["silver/order"]);
}
