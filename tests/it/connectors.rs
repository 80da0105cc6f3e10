//! What connectors of other databases and settings send, and the configuration that says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use harness::tables::read_silver;
use schemas::Contract;
use serde_json::{Value, json};

use crate::support::Place;

/// A table as Oracle has it: names in capitals, numbers as scale and bytes, instants in milliseconds.
const CHARGES: &str = r#"
name = "charges"
format = "debezium-json"
key = ["charge_id"]
tenant = "tenant_id"
columns = [
  { name = "charge_id", type = "bigint", required = true, from = "CHARGE_ID" },
  { name = "tenant_id", type = "text", from = "TENANT" },
  { name = "note", type = "text", from = "NOTE" },
  { name = "paid_at", type = "timestamp", from = "PAID_AT", unit = "ms" },
  { name = "seen_at", type = "timestamp", from = "SEEN_AT" },
]
"#;

fn number(bytes: &str) -> Value {
    json!({ "scale": 0, "value": bytes })
}

fn charge(id: &str, note: &str, paid_at: i64) -> Value {
    json!({ "CHARGE_ID": number(id), "TENANT": "acme", "NOTE": note, "PAID_AT": paid_at, "SEEN_AT": null })
}

fn lines() -> String {
    let mut seen = charge("Aw==", "x", 0);
    seen["SEEN_AT"] = json!(1_767_323_045_123_456_i64);
    let changes = [
        ("c", "AQ==", charge("AQ==", "a long text", 1_767_323_045_123)),
        ("c", "Ag==", charge("Ag==", "x", 1_767_323_045_123)),
        ("d", "Ag==", Value::Null),
        ("u", "AQ==", charge("AQ==", "__gone", 1_767_323_045_999)),
        ("c", "Aw==", seen),
    ];
    let mut lines = String::new();
    for (offset, (op, id, after)) in changes.into_iter().enumerate() {
        let source = json!({ "connector": "oracle", "ts_ms": 1_767_323_046_000_i64 });
        let value = json!({ "before": null, "after": after, "source": source, "op": op });
        let key = json!({ "CHARGE_ID": number(id) });
        let line = json!({
            "topic": "ORCL.SHOP.CHARGES", "partition": 0, "offset": offset, "key": key, "value": value,
        });
        writeln!(lines, "{line}").unwrap();
    }
    lines
}

fn configure(place: &Place, mapping: &str) {
    let (contracts, input) = (place.path("contracts"), place.path("input.ndjson"));
    place.configure(&format!(
        "contracts.definitions = \"{}\"\n[[sources]]\nkind = \"file\"\npath = \"{}\"\n[sources.topics]\n\
         \"ORCL.SHOP.CHARGES\" = {mapping}\n",
        contracts.display(),
        input.display()
    ));
}

/// Key to note and instant of payment, as silver has them.
fn silver(place: &Place) -> BTreeMap<String, String> {
    let contract = Contract::parse(CHARGES).unwrap();
    let rows = read_silver(place.lake(), &contract).unwrap().unwrap().rows;
    let shown =
        |(key, row): (String, harness::fold::SilverRow)| (key, format!("{:?}", &row.row[2..4]));
    rows.into_iter().map(shown).collect()
}

#[test]
fn a_contract_and_a_mapping_say_how_a_connector_writes() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("contracts")).unwrap();
    std::fs::write(place.path("contracts/charges.toml"), CHARGES).unwrap();
    std::fs::write(place.path("input.ndjson"), lines()).unwrap();
    configure(&place, "{ contract = \"charges\", placeholdr = \"__gone\" }");
    place.weir(&["run", "--until-end"]).exits(2).says(&["did you mean `placeholder`?"]);

    configure(&place, "{ contract = \"charges\", placeholder = \"__gone\" }");
    place.succeeds(&["run", "--until-end"]);
    let expected = |note: &str, millis: i64| {
        let cells = format!("[Text({note:?}), Time({})]", millis * 1000);
        BTreeMap::from([("1 of ORCL.SHOP.CHARGES".to_owned(), cells)])
    };
    assert_eq!(silver(&place), expected("a long text", 1_767_323_045_999));
    place.succeeds(&["verify"]);
    let dead = place.succeeds(&["dead-letters", "list", "--json"]).json();
    assert_eq!(dead["total"], 1, "{dead}");
    let dead = dead.to_string();
    assert!(dead.contains("`seen_at`") && dead.contains("time.precision.mode"), "{dead}");

    // Another placeholder, and another unit: the table is built again from bronze, and nothing is read.
    configure(&place, "\"charges\"");
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(silver(&place), expected("__gone", 1_767_323_045_999));
    let seconds = CHARGES.replace("unit = \"ms\"", "unit = \"us\"");
    std::fs::write(place.path("contracts/charges.toml"), seconds).unwrap();
    place.succeeds(&["run", "--until-end"]);
    let micros = "[Text(\"__gone\"), Time(1767323045999)]".to_owned();
    assert_eq!(silver(&place), BTreeMap::from([("1 of ORCL.SHOP.CHARGES".to_owned(), micros)]));
    place.succeeds(&["verify"]);
}
