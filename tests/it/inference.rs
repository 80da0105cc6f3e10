//! `weir contracts infer`: what is proposed is accepted as it is, and reads the records it came from.

use std::path::Path;

use serde_json::Value;

use crate::support::stream::{append, options, records};
use crate::support::{Place, services};

/// Puts a proposal in force and runs over the source.
fn accepted(place: &Place, text: &str, source: &str) {
    let folder = place.path("contracts");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("proposed.toml"), text).unwrap();
    place.configure(&format!("contracts.definitions = {folder:?}\n{source}"));
    place.succeeds(&["check"]);
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["verify"]);
}

fn file(path: &Path, contract: &str) -> String {
    format!("[[sources]]\nkind = \"file\"\npath = {path:?}\ncontract = \"{contract}\"\n")
}

fn letters(place: &Place) -> Vec<Value> {
    crate::surface::rows(&place.succeeds(&["dead-letters", "list", "--json"]).json()).clone()
}

#[test]
fn a_file_of_rows_needs_no_more_than_its_proposal() {
    let place = Place::new();
    let path = place.path("bills.csv");
    let mut text = "Id,Cost,At,Account\n".to_owned();
    for id in 0..300 {
        text += &format!("c{id},{}.25,2024-09-{:02}T00:00:00Z,a{}\n", id, id % 28 + 1, id % 3);
    }
    std::fs::write(&path, text).unwrap();
    let proposed = place.succeeds(&["contracts", "infer", path.to_str().unwrap()]).stdout;
    assert!(
        proposed.contains("format = \"csv\"") && proposed.contains("key = [\"id\"]"),
        "{proposed}"
    );
    assert!(proposed.contains("type = \"decimal(11,2)\", from = \"Cost\""), "{proposed}");
    accepted(&place, &proposed, &file(&path, "bills"));
    assert_eq!(letters(&place), [Value::Null; 0]);
    let none = place.weir(&["contracts", "infer", "none.csv"]).exits(2);
    assert!(none.stderr.contains("none.csv"), "{}", none.stderr);
}

#[test]
fn lines_of_two_topics_need_the_name_of_one() {
    let place = Place::new();
    let path = place.path("input/a.ndjson");
    append(&path, &records(&options(51, 3_000)));
    let named = path.to_str().unwrap();
    let refused = place.weir(&["contracts", "infer", named]).exits(2);
    assert!(
        refused.stderr.contains("shop.public.orders") && refused.stderr.contains("--topic"),
        "{}",
        refused.stderr
    );
    let infer = ["contracts", "infer", named, "--topic", "shop.public.orders", "--records", "3000"];
    let proposed = place.succeeds(&infer).stdout;
    for says in [
        "name = \"orders\"",
        "debezium-json",
        "key = [\"order_id\"]  # as the message keys",
        "tenant = \"tenant_id\"",
    ] {
        assert!(proposed.contains(says), "{proposed}");
    }
    let source = format!(
        "[[sources]]\nkind = \"file\"\npath = {:?}\n[sources.topics]\n\"shop.public.orders\" = \"orders\"\n",
        path
    );
    accepted(&place, &proposed, &source);
}

#[test]
fn a_topic_is_read_from_its_beginning_and_nothing_is_committed() {
    let _held = services::kafka();
    let topic = format!("it-infer-{}.orders", std::process::id());
    services::fresh_topic(&topic, 2);
    let produced = records(&options(52, 500));
    crate::support::stream::produce(&produced, |_| topic.clone());
    let place = Place::new();
    place.configure_kafka("", services::BROKERS, &[(&topic, "orders")]);
    let proposed =
        place.succeeds(&["contracts", "infer", "--topic", &topic, "--records", "50"]).stdout;
    assert!(
        proposed.contains("format = \"debezium-json\"") && proposed.contains("as the message keys"),
        "{proposed}"
    );
}
