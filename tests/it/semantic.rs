//! The file that says what the KPIs and views in force are: written with the lake, and again when they change.

use serde_json::{Value, json};

use crate::support::stream::{append, options, records};
use crate::support::{Place, definitions};

fn file(place: &Place) -> Value {
    let text = std::fs::read_to_string(place.lake().join("gold/_metrics.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn title(place: &Place) -> Value {
    let file = file(place);
    let mut kpis = file["kpis"].as_array().unwrap().iter();
    kpis.find(|kpi| kpi["key"] == "own").map_or(Value::Null, |kpi| kpi["title"].clone())
}

#[test]
fn the_semantic_file_follows_the_definitions_in_force() {
    let place = Place::new();
    let folder = place.path("gold");
    std::fs::create_dir_all(&folder).unwrap();
    place.configure_files(&format!("gold.definitions = {folder:?}\n"));
    append(&place.path("input/a.ndjson"), &records(&options(41, 2_000)));
    place.succeeds(&["run", "--until-end"]);
    assert_eq!((&file(&place)["format"], title(&place)), (&json!(1), Value::Null));
    let own = definitions::count_of("own", "orders", "placed_at", "");
    std::fs::write(folder.join("own.toml"), &own).unwrap();
    place.succeeds(&["run", "--until-end"]);
    let first = title(&place);
    assert!(first.is_string(), "{first}");
    // What says nothing else of numbers is another text all the same.
    let renamed = own.replace(first.as_str().unwrap(), "Renamed");
    assert_ne!(renamed, own);
    std::fs::write(folder.join("own.toml"), renamed).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(title(&place), "Renamed");
    std::fs::remove_file(place.lake().join("gold/_metrics.json")).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(title(&place), "Renamed", "what is gone is made again");
    std::fs::remove_file(folder.join("own.toml")).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(title(&place), Value::Null);
    place.succeeds(&["verify"]);
}
