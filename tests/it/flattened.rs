//! Change events that a transform has flattened: the same rows and cells as from the events themselves.

use std::collections::BTreeMap;

use harness::Options;
use harness::event::Row;
use harness::tables::read_silver;
use harness::workload::Produced;
use schemas::Contract;
use serde_json::{Map, Value, json};

use crate::support::stream::{append, options, records};
use crate::support::{Place, assert_clean, cells};

/// A contract that comes with Weir, for rows without an envelope.
fn contract(name: &str) -> String {
    let mut built_in = schemas::contract::built_in().into_iter();
    let (_, text) = built_in.find(|(file, _)| *file == format!("{name}.toml")).unwrap();
    text.replace("\"debezium-json\"", "\"debezium-flat\"")
}

/// What `ExtractNewRecordState` makes of an event, with `delete.tombstone.handling.mode` as
/// `rewrite-with-tombstone` and the whole source block in `add.fields`. `None` of what is no event.
fn flattened(record: &Produced) -> Option<Produced> {
    let mut flat = record.clone();
    let Some(value) = &record.value else { return Some(flat) };
    let document: Value = serde_json::from_slice(value).ok()?;
    let wrapped = document.get("payload").is_some();
    let event = if wrapped { &document["payload"] } else { &document };
    let op = event.get("op")?.as_str().filter(|op| ["c", "u", "r", "d"].contains(op))?;
    let side = if op == "d" { "before" } else { "after" };
    let mut row: Map<String, Value> = event[side].as_object()?.clone();
    row.insert("__op".into(), json!(op));
    row.insert("__deleted".into(), json!(if op == "d" { "true" } else { "false" }));
    for (name, field) in event["source"].as_object()? {
        row.insert(format!("__source_{name}"), field.clone());
    }
    let mut value = Value::Object(row);
    if wrapped {
        let sides = document["schema"]["fields"].as_array()?;
        let fields = sides.iter().find(|field| field["field"] == "after")?["fields"].clone();
        value = json!({"schema": {"type": "struct", "fields": fields}, "payload": value});
    }
    flat.value = Some(value.to_string().into_bytes());
    Some(flat)
}

/// Silver's rows: what the row is, and the change that made it so.
fn silver(place: &Place, name: &str) -> BTreeMap<String, (Row, String)> {
    let contract = Contract::parse(&contract(name)).unwrap();
    let table = read_silver(place.lake(), &contract).unwrap().unwrap();
    let row = |(id, row): (String, harness::fold::SilverRow)| (id, (row.row, row.position));
    table.rows.into_iter().map(row).collect()
}

#[test]
fn rows_and_cells_are_those_of_the_events() {
    let both = records(&options(41, 6_000)).into_iter();
    let (events, rows): (Vec<_>, Vec<_>) =
        both.filter_map(|record| Some((record.clone(), flattened(&record)?))).unzip();
    let (whole, flat) = (Place::new(), Place::new());
    whole.configure_files("");
    append(&whole.path("input/a.ndjson"), &events);
    whole.succeeds(&["run", "--until-end"]);
    assert_clean(whole.lake(), None, &Options::default());

    // Without the setting, each row is a dead letter that names it.
    flat.configure_files("");
    append(&flat.path("input/a.ndjson"), &rows);
    flat.succeeds(&["run", "--until-end"]);
    let letters = flat.succeeds(&["dead-letters", "list", "--json"]).json();
    let letters = crate::surface::rows(&letters).clone();
    assert!(!letters.is_empty());
    for letter in &letters {
        let error = letter["reason"].as_str().unwrap_or_default();
        assert!(error.contains("format = \"debezium-flat\"") || error.contains("key"), "{letter}");
    }
    assert!(silver_is_empty(&flat, "orders"));

    let folder = flat.path("contracts");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["orders", "costs"] {
        std::fs::write(folder.join(format!("{name}.toml")), contract(name)).unwrap();
    }
    flat.configure_files(&format!("contracts.definitions = \"{}\"\n", folder.display()));
    flat.succeeds(&["check"]);
    flat.succeeds(&["run", "--until-end"]);
    flat.succeeds(&["verify"]);
    for name in ["orders", "costs"] {
        let (expected, found) = (silver(&whole, name), silver(&flat, name));
        assert!(expected.len() > 100, "{name}");
        assert_eq!(found.len(), expected.len(), "{name}");
        for (id, row) in &expected {
            assert_eq!(found.get(id), Some(row), "{name} {id}");
        }
    }
    assert_eq!(cells(flat.lake()), cells(whole.lake()));
}

fn silver_is_empty(place: &Place, name: &str) -> bool {
    silver(place, name).is_empty()
}

#[test]
fn a_null_value_is_a_delete_where_the_transform_drops_the_event() {
    let place = Place::new();
    let folder = place.path("contracts");
    std::fs::create_dir_all(&folder).unwrap();
    let text = "name = \"notes\"\nformat = \"debezium-flat\"\nkey = [\"id\"]\ntenant = \"tenant\"\n\
                columns = [{ name = \"id\", type = \"bigint\" }, { name = \"tenant\", type = \"text\" }]";
    std::fs::write(folder.join("notes.toml"), text).unwrap();
    std::fs::create_dir_all(place.path("input")).unwrap();
    let line = |offset: i64, key: Value, value: Value| {
        json!({"topic": "t", "partition": 0, "offset": offset, "key": key, "value": value})
            .to_string()
    };
    let row = |id: i64| json!({"id": id, "tenant": "a"});
    let lines = [
        line(0, json!({"id": 1}), row(1)),
        line(1, json!({"id": 2}), row(2)),
        line(2, json!({"id": 3}), row(3)),
        line(3, json!({"id": 1}), Value::Null),
        line(4, json!({"id": 3}), json!({"id": 3, "tenant": "a", "__deleted": "true"})),
        line(5, json!({"id": 3}), Value::Null),
        line(6, json!({"id": 3}), row(3)),
        line(7, Value::Null, Value::Null),
    ];
    std::fs::write(place.path("input/a.ndjson"), lines.join("\n") + "\n").unwrap();
    place.configure(&format!(
        "contracts.definitions = \"{}\"\n[[sources]]\nkind = \"file\"\npath = \"{}\"\n\
         [sources.topics]\nt = \"notes\"\n",
        folder.display(),
        place.path("input").display()
    ));
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["verify"]);
    let table = read_silver(place.lake(), &Contract::parse(text).unwrap()).unwrap().unwrap();
    assert_eq!(table.rows.keys().collect::<Vec<_>>(), ["2 of t", "3 of t"]);
    let letters = place.succeeds(&["dead-letters", "list", "--json"]).json();
    let [letter] = crate::surface::rows(&letters).as_slice() else { panic!("{letters}") };
    assert!(letter["reason"].as_str().unwrap().contains("a null value deletes a row"), "{letter}");
}
