//! What a run says of its sources: origins with what waits for somebody, topics that nobody has named a contract
//! for, topics that are not there, and decisions that changed nothing.

use std::fs::OpenOptions;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::live::{get, mint, port, ready};
use crate::support::services::{self, BROKERS, fresh_topic, script};
use crate::support::{Place, wait_until};

/// A change of an order of one shop.
pub(crate) fn change(shop: &str, topic: &str, offset: u64, lsn: u64, status: &str) -> String {
    let row = json!({
        "order_id": "a", "tenant_id": "", "status": status, "amount": "10", "currency": "USD",
        "placed_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
    });
    let source = json!({
        "name": shop, "db": "d", "schema": "public", "table": "orders", "lsn": lsn, "snapshot": "false",
        "ts_ms": 1_700_000_000_000_u64 + offset * 1_000, "sequence": format!("[\"{}\",\"{lsn}\"]", lsn - 1),
    });
    let value = json!({ "op": "u", "after": row, "source": source }).to_string();
    let line = json!({
        "topic": topic, "partition": 0, "offset": offset, "key": "{}", "value": value,
    });
    format!("{line}\n")
}

pub(crate) fn append(place: &Place, lines: &[String]) {
    let path = place.path("input/a.ndjson");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(lines.concat().as_bytes()).unwrap();
}

const TOPIC: &str = "shop.public.orders";

/// Changes of two servers, of which `us` goes back.
pub(crate) fn one_went_back() -> [String; 3] {
    [
        change("eu", TOPIC, 0, 100, "paid"),
        change("us", TOPIC, 1, 900, "payed"),
        change("us", TOPIC, 2, 50, "paid"),
    ]
}

/// The origins of orders, by name.
fn origins(tables: &Value) -> Vec<(String, Value)> {
    let orders = tables.as_array().unwrap().iter();
    let name = |table: &&Value| table["table"] == "orders" || table["contract"] == "orders";
    let orders = orders.clone().find(name).unwrap();
    let all = orders["origins"].as_array().unwrap().iter();
    all.map(|own| (own["origin"].as_str().unwrap().to_owned(), own.clone())).collect()
}

#[test]
fn origins_are_listed_with_what_waits_for_somebody() {
    let place = Place::new();
    place.configure_files("");
    append(&place, &one_went_back());
    place.weir(&["run", "--until-end"]).exits(1).says(&["is halted for us.d.public.orders"]);
    let listed = place.succeeds(&["sources", "list", "--json"]).json();
    let found = origins(&listed);
    assert_eq!(found.len(), 2, "{listed}");
    let (first, halted) = &found[0];
    assert_eq!((first.as_str(), &halted["status"]), ("us.d.public.orders", &json!("halted")));
    assert!(halted["why"].as_str().unwrap().contains("went back"), "{halted}");
    let (name, calm) = &found[1];
    assert_eq!((name.as_str(), &calm["why"]), ("eu.d.public.orders", &Value::Null));
    assert_eq!(calm["topics"], json!([{ "source": "file", "topic": TOPIC }]));
    assert!(calm["position"].as_str().unwrap().contains("99+100"), "{calm}");
    let text = place.succeeds(&["sources", "list"]).stdout;
    for part in
        ["eu.d.public.orders", "halted", "`payed`", "(did you mean `paid`?)", "an empty tenant"]
    {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }

    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let answer = get(port, "/api/v1/sources", &mint(&place, &[]));
    let live = origins(&answer["tables"]);
    assert_eq!(
        (live[0].1["status"].as_str(), live[0].1["lag"].as_i64()),
        (Some("halted"), Some(0))
    );
    assert_eq!(live[1].1["position"], calm["position"], "it is saved with the barrier");
    assert!(answer["tables"].to_string().contains("did you mean `paid`?"), "{answer}");
    run.stops();
    // What is not halted is not resumed: the decision is kept, and that is said.
    let first = place.succeeds(&["tables", "resume", "orders"]).stdout;
    assert!(!first.contains("was not halted"), "{first}");
    append(&place, &[change("us", TOPIC, 3, 60, "paid")]);
    place.succeeds(&["run", "--until-end"]);
    let second = place.succeeds(&["tables", "resume", "orders"]).stdout;
    assert!(second.contains("was not halted") && second.contains("nothing to resume"), "{second}");
}

#[test]
fn a_topic_without_a_contract_is_named_at_once_and_in_answers() {
    let place = Place::new();
    place.configure_files("");
    append(&place, &[change("eu", "shop.public.order", 0, 100, "paid")]);
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    run.wait_for("topic `shop.public.order` of source `file` has no contract", super::live::SOON);
    let meta = get(port, "/api/v1/meta", &mint(&place, &[]));
    assert_eq!(meta["degraded"], true);
    assert!(meta["reasons"].to_string().contains("name one under [sources.topics]"), "{meta}");
    run.stops();
}

#[test]
fn a_batch_says_which_topics_are_not_there_and_fails() {
    let held = services::kafka();
    let topic = format!("it-sources-{}", std::process::id());
    fresh_topic(&topic, 1);
    let place = Place::new();
    let missing = format!("{topic}-none");
    place.configure_kafka("", BROKERS, &[(&topic, "orders"), (&missing, "costs")]);
    let says = format!("topic `{missing}` of source `kafka` does not exist");
    place.weir(&["run", "--until-end"]).exits(1).says(&[&says, "nothing was read of it"]);
    place.configure_kafka("", BROKERS, &[(&topic, "orders")]);
    place.succeeds(&["run", "--until-end"]);
    script("kafka.sh", &["delete-topic", &topic]);
    drop(held);
}

#[test]
fn a_broker_that_is_away_makes_answers_degraded() {
    let place = Place::new();
    place.configure_kafka("", "127.0.0.1:1", &[("t", "orders")]);
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    run.wait_for("no connection to the broker", super::live::SOON);
    let meta = get(port, "/api/v1/meta", &mint(&place, &[]));
    assert!(meta["reasons"].to_string().contains("of source `kafka` is unreachable"), "{meta}");
    assert_eq!(get(port, "/api/v1/kpis", &mint(&place, &[]))["degraded"], true);
    run.stops();
}

#[test]
fn every_definition_that_is_refused_is_named() {
    let place = Place::new();
    let (contracts, kpis) = (place.path("contracts"), place.path("kpis"));
    place.configure_files(&format!(
        "contracts.definitions = {contracts:?}\ngold.definitions = {kpis:?}\n"
    ));
    for folder in [&contracts, &kpis] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let flow = |key: &str, contract: &str| {
        let text = format!(
            "key='{key}'\ntitle='T'\nunit='count'\ngood='up'\ncontract='{contract}'\ntime='placed_at'\n\
             aggregate='count(*)'\n"
        );
        std::fs::write(kpis.join(format!("{key}.toml")), text).unwrap();
    };
    flow("one", "order");
    flow("two", "orderz");
    std::fs::write(kpis.join("three.toml"), "key=").unwrap();
    let told = place.weir(&["check"]).exits(2).stdout;
    for part in ["one.toml", "two.toml", "three.toml"] {
        assert!(told.contains(part), "`{part}` is not in:\n{told}");
    }
    for name in ["a", "b"] {
        std::fs::write(contracts.join(format!("{name}.toml")), format!("name='{name}'")).unwrap();
    }
    let told = place.weir(&["check"]).exits(2).stdout;
    for part in ["a.toml", "b.toml", "three.toml"] {
        assert!(told.contains(part), "`{part}` is not in:\n{told}");
    }
}

#[test]
fn a_copy_of_a_lake_lies_beside_it() {
    let place = Place::new();
    place.configure_files("");
    append(&place, &[change("eu", TOPIC, 0, 100, "paid")]);
    place.succeeds(&["run", "--until-end"]);
    for inside in ["lake/copy", "lake/gold/../copy", "lake"] {
        let done = place.weir(&["tables", "export", "--to", inside]);
        assert_ne!(done.code, Some(0), "{inside}: {}", done.stdout);
        assert!(done.stderr.contains("lie in each other"), "{inside}: {}", done.stderr);
    }
    assert!(!place.path("lake/copy").exists());
    place.succeeds(&["tables", "export", "--to", "copy"]);
}

#[test]
fn a_topic_of_markers_feeds_no_table_and_what_is_none_can_be_dropped() {
    let place = Place::new();
    place.configure_files("lake.flush_interval = \"50ms\"\nlake.barrier_interval = \"200ms\"\n");
    let line = |offset: u64, value: &str| {
        let topic = "shop.transaction";
        let record = json!({
            "topic": topic, "partition": 0, "offset": offset, "key": null, "value": value,
        });
        format!("{record}\n")
    };
    let begin = r#"{"status":"BEGIN","id":"571:1","ts_ms":1700000000000,"event_count":null,"data_collections":null}"#;
    let end = r#"{"status":"END","id":"571:2","ts_ms":1700000000000,"event_count":1,"data_collections":[]}"#;
    append(&place, &[change("eu", TOPIC, 0, 100, "paid"), line(0, begin), line(1, end)]);
    place.succeeds(&["run", "--until-end"]);
    let proof = place.succeeds(&["verify"]).stdout;
    assert!(!proof.contains("shop.transaction"), "{proof}");
    append(&place, &[line(2, r#"{"hello":"world"}"#)]);
    let mut run = place.start(&["run"]);
    run.wait_for("topic `shop.transaction` of source `file` has no contract", super::live::SOON);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let is_told = || get(port, "/api/v1/meta", &token).to_string().contains("shop.transaction");
    assert!(is_told());
    let letter = "file/shop.transaction/0/2";
    wait_until("a barrier has it", super::live::SOON, || {
        let proof = place.succeeds(&["verify"]).stdout;
        proof.contains("`shop.transaction` feeds no table") && proof.contains("records: 1")
    });
    place.weir(&["dead-letters", "retry", letter, "--yes"]).exits(2).says(&["has no contract"]);
    let dropped = place.succeeds(&["dead-letters", "drop", letter, "--yes", "--json"]).json();
    assert_eq!(dropped["effect"], "taken", "{dropped}");
    let list = place.succeeds(&["dead-letters", "list", "--json"]).json();
    assert_eq!(list["total"], 0, "{list}");
    wait_until("answers say it no longer", super::live::SOON, || !is_told());
    run.stops();
    place.succeeds(&["verify", "--deep"]);
}
