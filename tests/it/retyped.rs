//! A column that gets another type: which records are dead letters by it, and how a run counts them.

use serde_json::json;

use crate::support::Place;

fn contract(place: &Place, kind: &str) {
    let text = format!(
        "name = \"parts\"\nformat = \"rows\"\nkey = [\"id\"]\ntenant = \"shop\"\ncolumns = [\n\
         {{ name = \"id\", type = \"bigint\" }},\n{{ name = \"shop\", type = \"text\" }},\n\
         {{ name = \"code\", type = \"{kind}\" }},\n]\n"
    );
    std::fs::create_dir_all(place.path("contracts")).unwrap();
    std::fs::write(place.path("contracts/parts.toml"), text).unwrap();
}

fn parts(place: &Place, codes: &[(&str, &str)]) {
    let line = |(offset, (id, code)): (usize, &(&str, &str))| {
        let value = json!({ "id": id, "shop": "acme", "code": code });
        let record = json!({
            "topic": "parts", "partition": 0, "offset": offset, "key": { "id": id }, "value": value,
        });
        format!("{record}\n")
    };
    let lines: String = codes.iter().enumerate().map(line).collect();
    std::fs::write(place.path("parts.ndjson"), lines).unwrap();
}

/// How many records a run to the end says that it has made dead letters.
fn counted(place: &Place) -> String {
    let log = place.succeeds(&["run", "--until-end"]).stderr;
    let (_, rest) = log.split_once("dead_letters=").unwrap_or_else(|| panic!("{log}"));
    rest.chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn a_run_counts_what_it_makes_a_dead_letter() {
    let place = Place::new();
    let (contracts, input) = (place.path("contracts"), place.path("parts.ndjson"));
    contract(&place, "text");
    place.configure(&format!(
        "contracts.definitions = {contracts:?}\n[[sources]]\nkind = \"file\"\npath = {input:?}\n\
         [sources.topics]\n\"parts\" = \"parts\"\n"
    ));
    // The last one has no key that can be read.
    let mut all = vec![("1", "10"), ("2", "x"), ("3", "y"), ("four", "40")];
    parts(&place, &all);
    assert_eq!(counted(&place), "1");
    assert_eq!(counted(&place), "0");
    // Of those that are there two are no numbers, and of those that come one.
    contract(&place, "bigint");
    all.extend([("5", "50"), ("6", "z")]);
    parts(&place, &all);
    assert_eq!(counted(&place), "3");
    assert_eq!(counted(&place), "0");
    place.succeeds(&["verify", "--deep"]);
    // What is built again reads all of them again: those that bronze knows of are counted no second time.
    std::fs::remove_dir_all(place.path("lake/silver")).unwrap();
    std::fs::remove_dir_all(place.path("lake/_weir/state")).unwrap();
    assert_eq!(counted(&place), "2", "those two were none when they were read");
}
