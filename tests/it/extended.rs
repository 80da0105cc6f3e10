//! Contracts that read more than before: their tables go on with the rows that they have, each read by the version of
//! its epoch, and nothing is built again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use harness::event::Cell;
use harness::tables::read_silver;
use schemas::Contract;
use serde_json::{Value, json};

use crate::sources::append;
use crate::support::{Done, Place, bronze_records, definitions, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// 2026-03-01T10:00:00Z in milliseconds.
const TEN: u64 = 1_772_359_200_000;

/// A contract of visits: how `at` is read, further columns, and what else it says.
fn visits(at: &str, more: &str, says: &str) -> String {
    format!(
        "name = \"visits\"\nformat = \"debezium-json\"\nkey = [\"visit_id\"]\ntenant = \"tenant_id\"\n{says}columns = [\n\
         {{ name = \"visit_id\", type = \"text\", required = true }},\n{{ name = \"tenant_id\", type = \"text\" }},\n\
         {{ name = \"at\", type = \"timestamp\", required = true{at} }},\n{more}]\n"
    )
}

const MORE: &str = "{ name = \"note\", type = \"text\" },\n{ name = \"score\", type = \"bigint\", from = \"points\" },\n";
const MILLIS: &str = ", unit = \"ms\"";

struct Lake {
    place: Place,
    contract: String,
}

impl Lake {
    fn new() -> Lake {
        let place = Place::new();
        for folder in ["contracts", "kpis", "input"] {
            std::fs::create_dir_all(place.path(folder)).unwrap();
        }
        let kpi = definitions::count_of("visits_made", "visits", "at", "");
        std::fs::write(place.path("kpis/visits_made.toml"), kpi).unwrap();
        Lake { place, contract: String::new() }
    }

    fn says(&mut self, contract: &str) {
        contract.clone_into(&mut self.contract);
        std::fs::write(self.place.path("contracts/visits.toml"), contract).unwrap();
    }

    fn configure(&self, lake: &str, topic: &str) {
        let path = |name: &str| self.place.path(name);
        self.place.configure(&format!(
            "{lake}contracts.definitions = {:?}\ngold.definitions = {:?}\n[[sources]]\nkind = \"file\"\n\
             path = {:?}\n[sources.topics]\n\"shop.public.visits\" = {topic}\n",
            path("contracts"),
            path("kpis"),
            path("input")
        ));
    }

    /// Runs to the end; nothing is built from bronze, and nobody is sent away.
    #[track_caller]
    fn goes_on(&self) -> Done {
        let done = self.place.succeeds(&["run", "--until-end"]);
        for said in ["built from bronze", "no barrier is whole", "new stream generation"] {
            assert!(!done.stderr.contains(said), "`{said}`:\n{}", done.stderr);
        }
        self.is_clean();
        done
    }

    #[track_caller]
    fn is_clean(&self) {
        self.place.succeeds(&["verify", "--deep"]);
    }

    /// By visit its cells behind the tenant; `?` is unknown.
    fn rows(&self) -> BTreeMap<String, Vec<String>> {
        rows(self.place.lake(), &self.contract)
    }

    fn letters(&self) -> usize {
        let letters = self.place.succeeds(&["dead-letters", "list", "--json"]).json();
        crate::surface::rows(&letters).len()
    }

    fn counted(&self) -> Value {
        let all = ["kpis", "get", "visits_made", "--grain", "month", "--json"];
        let found = self.place.succeeds(&all).json();
        crate::surface::rows(&found)[0]["value"].clone()
    }
}

fn rows(lake: &Path, contract: &str) -> BTreeMap<String, Vec<String>> {
    let contract = Contract::parse(contract).unwrap();
    let table = read_silver(lake, &contract).unwrap().unwrap();
    let text = |cell: &Cell| match cell {
        Cell::Null => "null".to_owned(),
        Cell::Unknown => "?".to_owned(),
        Cell::Text(text) => text.clone(),
        Cell::Whole(number) => number.to_string(),
        Cell::Time(at) => (at / 1_000_000 - 1_772_359_200).to_string(),
        other => panic!("{other:?}"),
    };
    let one = |row: &[Cell]| (text(&row[0]), row[2..].iter().map(text).collect());
    table.rows.values().map(|silver| one(&silver.row)).collect()
}

fn expected(rows: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
    rows.iter().map(|(visit, of)| ((*visit).to_owned(), cells(of))).collect()
}

/// A visit, where its record lies, and when it was, as events say it.
fn visit(id: &str, (partition, offset): (i32, u64), lsn: u64, at: &Value, more: &Value) -> String {
    let mut row = json!({ "visit_id": id, "tenant_id": "t", "at": at });
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let source = json!({
        "connector": "postgresql", "name": "shop", "db": "eu", "schema": "public", "table": "visits", "lsn": lsn,
        "sequence": format!("[\"{}\",\"{lsn}\"]", lsn - 1), "ts_ms": TEN + lsn, "snapshot": "false",
    });
    let value = json!({ "op": "u", "after": row, "source": source }).to_string();
    let record = json!({
        "topic": "shop.public.visits", "partition": partition, "offset": offset,
        "key": json!({ "visit_id": id }).to_string(), "value": value,
    });
    format!("{record}\n")
}

#[test]
fn columns_and_units_come_without_a_rebuild_and_each_record_is_read_by_the_contract_of_its_epoch() {
    let mut lake = Lake::new();
    lake.configure("", "\"visits\"");
    lake.says(&visits("", "", ""));
    let (text, millis) = (json!("2026-03-01T10:00:01Z"), json!(TEN + 2_000));
    append(
        &lake.place,
        &[
            visit("1", (0, 0), 10, &text, &json!({ "note": "n1", "points": 1 })),
            visit("2", (0, 1), 20, &millis, &json!({ "note": "n2", "points": 2 })),
        ],
    );
    lake.goes_on();
    assert_eq!((lake.rows(), lake.letters()), (expected(&[("1", &["1"])]), 1));

    // Two columns more, and a unit.
    lake.says(&visits(MILLIS, MORE, ""));
    append(
        &lake.place,
        &[
            visit("3", (0, 2), 30, &millis, &json!({ "note": "n3", "points": 3 })),
            visit(
                "4",
                (0, 3),
                40,
                &text,
                &json!({ "note": null, "points": "__debezium_unavailable_value" }),
            ),
            visit("5", (0, 4), 50, &text, &json!({ "points": 5 })),
        ],
    );
    lake.goes_on()
        .says(&["the contract `visits` is put in force", "which dead letters it can read"]);
    let three: &[&str] = &["2", "n3", "3"];
    // A value that was not sent, and a column that events have had before.
    let (four, five): (&[&str], &[&str]) = (&["1", "null", "?"], &["1", "?", "5"]);
    let one: &[&str] = &["1", "null", "null"];
    let held = expected(&[("1", one), ("3", three), ("4", four), ("5", five)]);
    assert_eq!((lake.rows(), lake.letters(), lake.counted()), (held.clone(), 1, json!("4")));

    // Everything again from bronze: the same.
    std::fs::remove_dir_all(lake.place.path("lake/silver")).unwrap();
    std::fs::remove_dir_all(lake.place.path("lake/_weir/state")).unwrap();
    lake.place.succeeds(&["run", "--until-end"]);
    assert_eq!((lake.rows(), lake.letters()), (held, 1));
    lake.is_clean();

    // The letter is read by the contract in force, and what comes of the others has what it has.
    lake.place.succeeds(&["dead-letters", "retry", "--contract", "visits", "--yes"]);
    append(&lake.place, &[visit("1", (0, 5), 60, &text, &json!({ "note": "new", "points": 6 }))]);
    lake.goes_on();
    let (one, two): (&[&str], &[&str]) = (&["1", "new", "6"], &["2", "n2", "2"]);
    let all = expected(&[("1", one), ("2", two), ("3", three), ("4", four), ("5", five)]);
    assert_eq!((lake.rows(), lake.letters(), lake.counted()), (all, 0, json!("5")));
}

#[test]
fn a_field_that_was_renamed_is_read_on_and_another_edition_reads_everything_anew() {
    let mut lake = Lake::new();
    lake.configure("", "\"visits\"");
    let note = |from: &str| format!("{{ name = \"note\", type = \"text\"{from} }},\n");
    lake.says(&visits("", &note(""), ""));
    let at = json!("2026-03-01T10:00:00Z");
    append(&lake.place, &[visit("1", (0, 0), 10, &at, &json!({ "note": "old" }))]);
    lake.goes_on();
    lake.says(&visits("", &note(", from = \"remark\""), ""));
    append(&lake.place, &[visit("2", (0, 1), 20, &at, &json!({ "remark": "new" }))]);
    lake.goes_on();
    assert_eq!(lake.rows(), expected(&[("1", &["0", "old"]), ("2", &["0", "new"])]));

    // By the newest contract alone the old event has no such field.
    lake.says(&visits("", &note(", from = \"remark\""), "edition = 2\n"));
    lake.place.succeeds(&["run", "--until-end"]).says(&["built from bronze", "silver/visits"]);
    assert_eq!(lake.rows(), expected(&[("1", &["0", "null"]), ("2", &["0", "new"])]));
    lake.is_clean();

    // Back: a contract that was in force before reads everything by itself, and the newer event lacks what the older has.
    lake.says(&visits("", &note(""), ""));
    lake.place.succeeds(&["run", "--until-end"]).says(&["built from bronze"]);
    assert_eq!(lake.rows(), expected(&[("1", &["0", "old"]), ("2", &["0", "?"])]));
    lake.is_clean();
}

#[test]
fn what_a_kill_left_unflushed_is_read_by_the_contracts_of_its_epochs() {
    let mut lake = Lake::new();
    lake.configure(
        "lake.barrier_interval = \"1h\"\nlake.flush_interval = \"50ms\"\n",
        "\"visits\"",
    );
    lake.says(&visits("", "", ""));
    let at = json!("2026-03-01T10:00:00Z");
    let more = |note: &str, points: u32| json!({ "note": note, "points": points });
    append(&lake.place, &[visit("1", (0, 0), 10, &at, &more("n1", 1))]);
    lake.goes_on();
    let column = "{ name = \"note\", type = \"text\" },\n";
    for (number, columns) in [(2_u32, ""), (3, column), (4, MORE)] {
        lake.says(&visits("", columns, ""));
        let before = bronze_records(lake.place.lake());
        let weir = lake.place.start(&["run"]);
        let id = number.to_string();
        let line = visit(
            &id,
            (0, u64::from(number) - 1),
            10 * u64::from(number),
            &at,
            &more(&format!("n{id}"), number),
        );
        append(&lake.place, &[line]);
        wait_until("bronze", SOON, || bronze_records(lake.place.lake()) > before);
        assert!(weir.kill());
    }
    lake.goes_on();
    let all = expected(&[
        ("1", &["0", "null", "null"]),
        ("2", &["0", "null", "null"]),
        ("3", &["0", "n3", "null"]),
        ("4", &["0", "n4", "4"]),
    ]);
    assert_eq!(lake.rows(), all);

    // A column less, not yet flushed, and then as it was: whatever was read meanwhile, the last one reads all.
    lake.says(&visits("", column, ""));
    let before = bronze_records(lake.place.lake());
    let weir = lake.place.start(&["run"]);
    append(&lake.place, &[visit("5", (0, 4), 50, &at, &more("n5", 5))]);
    wait_until("bronze", SOON, || bronze_records(lake.place.lake()) > before);
    assert!(weir.kill());
    lake.says(&visits("", MORE, ""));
    lake.place.succeeds(&["run", "--until-end"]);
    lake.is_clean();
    let rows = lake.rows();
    let ids: Vec<&str> = rows.keys().map(String::as_str).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
    assert_eq!(rows["4"], ["0", "n4", "null"], "a record of before the column came again");
}

#[test]
fn a_placeholder_is_read_anew_because_it_was_taken_for_a_value() {
    let mut lake = Lake::new();
    lake.configure("", "\"visits\"");
    lake.says(&visits("", "{ name = \"note\", type = \"text\" },\n", ""));
    let at = json!("2026-03-01T10:00:00Z");
    append(&lake.place, &[visit("1", (0, 0), 10, &at, &json!({ "note": "__gone" }))]);
    lake.goes_on();
    assert_eq!(lake.rows(), expected(&[("1", &["0", "__gone"])]));
    lake.configure("", "{ contract = \"visits\", placeholder = \"__gone\" }");
    lake.place.succeeds(&["run", "--until-end"]).says(&["built from bronze", "silver/visits"]);
    assert_eq!(lake.rows(), expected(&[("1", &["0", "?"])]));
    lake.is_clean();
}
