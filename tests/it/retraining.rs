//! Models of detectors, from outside: trained on what came, tried, put in force by a decision, and the same in every
//! replay.

use serde_json::{Value, json};

use crate::on_call::{DAY, SOON, now};
use crate::support::Place;

/// Days that have come.
const DAYS: i64 = 400;

const BILLS: &str = r#"name = "bills"
format = "rows"
key = ["id"]
tenant = "shop"
columns = [
  { name = "id", type = "bigint" },
  { name = "shop", type = "text" },
  { name = "amount", type = "bigint" },
  { name = "at", type = "timestamp", unit = "ms" },
]
"#;
const BILLED: &str = r#"key = "billed"
title = "Billed"
unit = "count"
good = "down"
contract = "bills"
time = "at"
aggregate = "SUM(amount)"
grains = ["day"]
"#;

/// What a day comes to: near a thousand, and five times that on the first three days of a month.
fn amount(day: i64) -> i64 {
    let (_, _, of) = schemas::civil::date(day);
    let off = (day * 7_919).rem_euclid(101) - 50;
    (1_000 + off) * if of <= 3 { 5 } else { 1 }
}

/// A lake with a bill for each day that is over.
fn billed(before: &str) -> Place {
    let place = Place::new();
    let folder = place.path("definitions");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("bills.toml"), BILLS).unwrap();
    let kpis = place.path("kpis");
    std::fs::create_dir_all(&kpis).unwrap();
    std::fs::write(kpis.join("billed.toml"), BILLED).unwrap();
    let input = place.path("bills.ndjson");
    let today = now() / DAY;
    let line = |back: i64| {
        let day = today - back;
        let value =
            json!({"id": day, "shop": "acme", "amount": amount(day), "at": day * DAY / 1_000 + 1});
        let offset = DAYS - back;
        json!({"topic": "bills", "partition": 0, "offset": offset, "key": {"id": day}, "value": value})
    };
    let lines: String = (1..=DAYS).rev().map(|back| format!("{}\n", line(back))).collect();
    std::fs::write(&input, lines).unwrap();
    place.configure(&format!(
        "{before}\n[contracts]\ndefinitions = {folder:?}\n[gold]\ndefinitions = {kpis:?}\n\
         [[sources]]\nkind = \"file\"\npath = {input:?}\n[sources.topics]\n\"bills\" = \"bills\"\n"
    ));
    place.succeeds(&["run", "--until-end"]);
    place
}

fn tried(place: &Place) -> Value {
    let told = place.succeeds(&["retrain", "billed", "--dry-run", "--json"]).json();
    assert_eq!((&told["dry_run"], &told["kpis"][0]["kpi"]), (&json!(true), &json!("billed")));
    told["kpis"][0]["series"][0].clone()
}

#[test]
fn what_foresees_better_is_put_in_force_by_a_decision_and_replay_agrees() {
    let place = billed("");
    let own = tried(&place);
    assert_eq!((&own["is_better"], &own["buckets"]), (&json!(true), &json!(28)), "{own}");
    let error = |who: &str| own[who]["error"].as_f64().unwrap();
    assert!(error("challenger") < 0.8 * error("champion"), "{own}");
    assert_eq!(tried(&place), own, "it has changed nothing, and is the same again");

    let told = place.succeeds(&["retrain"]).stdout;
    assert!(told.contains("1 of 1 series foresee better"), "{told}");
    let log = place.succeeds(&["run", "--until-end"]).stderr;
    assert!(log.contains("for the KPI `billed` are in force: 1 of 1 series"), "{log}");
    place.succeeds(&["verify", "--deep"]);
    // It is kept over a restart, and is not news in it.
    let log = place.succeeds(&["run", "--until-end"]).stderr;
    assert!(!log.contains("are in force"), "{log}");
    place.succeeds(&["verify", "--deep"]);
}

#[test]
fn a_run_trains_by_itself_and_what_it_decides_is_in_bronze() {
    let place = billed("anomaly.retrain = \"1s\"");
    let mut run = place.start(&["run"]);
    run.wait_for("models are trained: 1 of 1 series", SOON);
    run.wait_for("are in force: 1 of 1 series", SOON);
    assert!(run.kill());
    let mut run = place.start(&["run"]);
    run.wait_for("listening on", SOON);
    run.stops();
    place.succeeds(&["verify", "--deep"]);
}

#[test]
fn what_cannot_be_trained_is_refused_with_what_to_do() {
    let place = Place::new();
    place.configure_files("");
    place.weir(&["retrain", "roy"]).exits(2).says(&["roy"]);
    place.weir(&["retrain"]).exits(2).says(&["lake"]);
    place.succeeds(&["run", "--until-end"]);
    place.weir(&["retrain"]).exits(2).says(&["nothing to train on"]);
}
