//! Decisions of people: `weir tables resume` beside a running Weir, without one, and under kills.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::bronze::Epochs;
use harness::tables::read_silver;
use harness::{Options, check_lake};
use schemas::Contract;
use serde_json::{Value, json};

use crate::kills::Kills;
use crate::support::{Place, cells, copy, seeded, wait_until};

const SOON: Duration = Duration::from_secs(30);

const FAST: &str = "lake.flush_interval = \"50ms\"\nlake.barrier_interval = \"200ms\"\n";

/// Kills of one test.
const KILLS: u64 = 12;

/// A change of the only row, by a source that goes back with every one of them: after the first, each halts
/// the table, and each resumption lets one in.
fn going_back(number: u64) -> String {
    let row = json!({
        "order_id": "a", "tenant_id": "t", "status": "paid", "amount": number.to_string(),
        "currency": "USD", "placed_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
    });
    let (lsn, ms) = (1_000_000 - number, 1_700_000_000_000 + number * 1_000);
    let places = format!("[\"{}\",\"{lsn}\"]", lsn - 1);
    let source = json!({ "lsn": lsn, "sequence": places, "ts_ms": ms, "snapshot": "false" });
    let value = json!({ "op": "u", "after": row, "source": source }).to_string();
    let record = json!({
        "topic": "shop.public.orders", "partition": 0, "offset": number, "key": "{}", "value": value,
    });
    format!("{record}\n")
}

fn append(place: &Place, numbers: std::ops::Range<u64>) {
    let mut lines = String::new();
    numbers.for_each(|number| lines.write_str(&going_back(number)).unwrap());
    let path = place.path("input/a.ndjson");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

/// The answer of `weir tables resume orders`.
fn resume(place: &Place) -> Value {
    place.succeeds(&["tables", "resume", "orders", "--json"]).json()
}

/// How often each decision is in bronze, and the epoch of its first time.
fn decisions(lake: &Path) -> BTreeMap<String, (usize, i64)> {
    let mut found = BTreeMap::new();
    let mut epochs = Epochs::open(lake).unwrap();
    while let Some(records) = epochs.next_epoch().unwrap() {
        for record in records.iter().filter(|record| record.is_control()) {
            let id = String::from_utf8(record.key.clone().unwrap()).unwrap();
            found.entry(id).or_insert((0, record.epoch)).0 += 1;
        }
    }
    found
}

/// The only row of silver: what it holds, and the change that wrote it.
fn order(lake: &Path) -> (String, String) {
    order_of(lake, "columns = [")
}

/// The same, of a contract whose columns begin like this.
fn order_of(lake: &Path, columns: &str) -> (String, String) {
    let text = include_str!("../../schemas/contracts/tables/orders.toml");
    let contract = Contract::parse(&text.replacen("columns = [", columns, 1)).unwrap();
    let table = read_silver(lake, &contract).unwrap().unwrap();
    assert_eq!(table.rows.len(), 1);
    let row = table.rows.into_values().next().unwrap();
    (format!("{row:?}"), row.position)
}

/// Whether the row is the one that this change wrote.
fn is_at(place: &Place, number: u64) -> bool {
    order(place.lake()).1.ends_with(&format!("/0/{number}"))
}

/// The oracle folds bronze with its decisions; silver must agree in rows, positions and epochs.
fn assert_clean(lake: &Path) {
    let report = check_lake(lake, None, &Options::default()).unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_halted_table_is_resumed_beside_a_running_weir_and_without_one() {
    let place = Place::new();
    place.configure_files(FAST);
    append(&place, 0..2);
    place.weir(&["tables", "resume", "orders"]).exits(2).says(&["lake"]);
    place.weir(&["run", "--until-end"]).exits(1).says(&["weir tables resume orders"]);
    let unknown = place.weir(&["tables", "resume", "order"]).exits(2);
    unknown.says(&["silver/order", "did you mean `silver/orders`?"]);
    place.weir(&["tables", "resume", "gold/kpi_current"]).exits(2).says(&["no silver table"]);

    // Nobody runs: it takes effect at the next start, before any other record.
    let later = resume(&place);
    assert_eq!((&later["effect"], &later["epoch"]), (&json!("at_next_start"), &Value::Null));
    append(&place, 2..4);
    let mut run = place.start(&["run"]);
    run.wait_while_running("the table goes on", SOON, |run| run.log().contains("is resumed"));
    run.wait_while_running("the next change is in silver", SOON, |_| is_at(&place, 2));

    // Weir runs: the command says in which epoch it took effect.
    let now = resume(&place);
    assert_eq!(now["effect"], "taken", "{now}");
    let held = decisions(place.lake());
    assert_eq!(held[now["id"].as_str().unwrap()], (1, now["epoch"].as_i64().unwrap()));
    append(&place, 4..6);
    wait_until("the next change is in silver", SOON, || is_at(&place, 4));
    assert_eq!(resume(&place)["effect"], "taken");
    // A second one in a row has nothing to resume.
    resume(&place);
    run.wait_while_running("that is said", SOON, |run| run.log().contains("nothing to resume"));
    run.stops();
    assert_clean(place.lake());
    place.succeeds(&["verify", "--deep"]);
    // Decisions are no records that anybody sent.
    let report = check_lake(place.lake(), None, &Options::default()).unwrap();
    // Four resumptions, the definitions of the first start, and the end of that batch.
    assert_eq!((report.bronze.records, report.bronze.decisions), (6, 6));
    let letters = place.succeeds(&["dead-letters", "list", "--json"]).json();
    assert_eq!(crate::surface::rows(&letters).len(), 0);
    built_alone_it_is_resumed_as_it_was(&place);
}

/// Another contract has the table folded from bronze by itself, with the decisions about it.
#[track_caller]
fn built_alone_it_is_resumed_as_it_was(place: &Place) {
    let at = order(place.lake()).1;
    let folder = place.path("contracts");
    std::fs::create_dir_all(&folder).unwrap();
    let contract = include_str!("../../schemas/contracts/tables/orders.toml");
    let wider = "columns = [\n    { name = \"memo\", type = \"text\" },";
    std::fs::write(folder.join("orders.toml"), contract.replacen("columns = [", wider, 1)).unwrap();
    place.configure_files(&format!("{FAST}contracts.definitions = {folder:?}\n"));
    let done = place.weir(&["run", "--until-end"]);
    done.says(&["silver/orders; all other tables are loaded"]);
    assert_eq!(order_of(place.lake(), wider).1, at);
    place.succeeds(&["verify", "--deep"]);
}

#[test]
fn what_this_version_does_not_know_is_kept_and_nothing_else() {
    let place = Place::new();
    place.configure_files(FAST);
    append(&place, 0..2);
    place.weir(&["run", "--until-end"]).exits(1);
    let file = place.lake().join("_weir/control.ndjson");
    let mut text = std::fs::read_to_string(&file).unwrap();
    let line = |offset: i64, value: Value| {
        let (topic, timestamp) = ("_weir.control", 1_700_000_000_000_i64);
        json!({ "topic": topic, "partition": 0, "offset": offset, "timestamp": timestamp,
                "key": offset.to_string(), "value": value })
    };
    let of = |version: u32, kind: &str| {
        json!({ "v": version, "id": "x", "at": "2030-01-01T00:00:00Z", "by": "test", "kind": kind,
                "body": { "table": "orders" } })
    };
    let later = 4_000_000_000_000_000;
    let unknown = [of(1, "table.paint"), of(2, "table.resume")];
    for (offset, value) in (later..).zip(unknown) {
        writeln!(text, "{}", line(offset, value)).unwrap();
    }
    writeln!(text, "{}", line(later + 2, json!("no decision"))).unwrap();
    // Cut off by a crash: the next decision blanks it.
    text.push_str("{\"topic\":\"_weir.con");
    std::fs::write(&file, text).unwrap();
    let said = place.weir(&["run", "--until-end"]).exits(1).stderr;
    for says in ["`table.paint` of version 1", "`table.resume` of version 2", "orders` is halted"] {
        assert!(said.contains(says), "`{says}` is not in:\n{said}");
    }
    let letters = place.succeeds(&["dead-letters", "list", "--json"]).json();
    assert_eq!(crate::surface::rows(&letters).len(), 1, "{letters}");
    resume(&place);
    append(&place, 2..3);
    place.succeeds(&["run", "--until-end"]);
    assert!(is_at(&place, 2));
    assert_clean(place.lake());
    place.succeeds(&["verify", "--deep"]);
    // A lost file loses nothing that was read, and the next decision counts all the same.
    std::fs::remove_file(&file).unwrap();
    append(&place, 3..4);
    place.weir(&["run", "--until-end"]).exits(1);
    assert_eq!(resume(&place)["effect"], "at_next_start");
}

#[test]
fn decisions_under_kills_are_taken_once_and_replay_agrees() {
    let mut rng = seeded("decisions under kills");
    let place = Place::new();
    place.configure_files(FAST);
    append(&place, 0..1);
    place.succeeds(&["run", "--until-end"]);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(1));
    let mut acknowledged = Vec::new();
    let mut kills = Kills::new(&mut rng, &place, &["run"], 1_500);
    std::thread::scope(|scope| {
        let deciding = scope.spawn(|| {
            let mut ids = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                ids.push(resume(&place)["id"].as_str().unwrap().to_owned());
                let from = sent.fetch_add(2, Ordering::SeqCst);
                append(&place, from..from + 2);
            }
            ids
        });
        for _ in 0..KILLS {
            assert!(kills.once(), "ended by itself");
        }
        stop.store(true, Ordering::SeqCst);
        acknowledged = deciding.join().unwrap();
    });
    println!("{} decisions, {} kills after a commit", acknowledged.len(), kills.committed);
    assert!(kills.committed > 0 && acknowledged.len() > 3, "nothing was hit");
    place.weir(&["run", "--until-end"]);
    let held = decisions(place.lake());
    for id in &acknowledged {
        assert_eq!(held.get(id).map(|(times, _)| *times), Some(1), "decision {id}");
    }
    assert!(held.values().all(|(times, _)| *times == 1), "{held:?}");
    assert_clean(place.lake());
    place.succeeds(&["verify", "--deep"]);

    // Everything once more from bronze, and from the ledger's tail too.
    let replayed = Place::new();
    replayed.configure_files(FAST);
    copy(place.lake(), replayed.lake());
    copy(&place.path("input"), &replayed.path("input"));
    for folder in ["silver", "gold", "_weir/state", "_weir/ledger"] {
        std::fs::remove_dir_all(replayed.lake().join(folder)).unwrap();
    }
    replayed.weir(&["run", "--until-end"]);
    assert_eq!(order(replayed.lake()), order(place.lake()));
    assert_eq!(cells(replayed.lake()), cells(place.lake()));
    assert_clean(replayed.lake());
}
