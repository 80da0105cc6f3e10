//! Upkeep from outside: what a lake keeps after many runs and many flushes, and backups of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use harness::Options;
use harness::tables::{read_current, read_history};

use crate::support::stream::{append, log, options, records};
use crate::support::{Place, assert_clean, cells, log_entries};

/// Bytes and number of the data files of a table on disk.
fn on_disk(folder: &Path) -> (u64, usize) {
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("_delta_log") {
            let below = on_disk(&path);
            (bytes, files) = (bytes + below.0, files + below.1);
        } else if path.extension().is_some_and(|it| it == "parquet") {
            (bytes, files) = (bytes + fs::metadata(path).unwrap().len(), files + 1);
        }
    }
    (bytes, files)
}

/// `(rows, files, bytes)` of a table as its log says.
fn listed(place: &Place, table: &str) -> (u64, u64, u64) {
    let tables = place.succeeds(&["tables", "list", "--json"]).json();
    let found = tables.as_array().unwrap().iter().find(|it| it["table"] == table).unwrap().clone();
    let number = |name: &str| found[name].as_u64().unwrap();
    (number("rows"), number("files"), number("bytes"))
}

#[test]
fn forty_runs_leave_one_copy() {
    let records = records(&options(21, 4_000));
    let place = Place::new();
    place.configure_files("lake.vacuum_after = \"0s\"\n");
    for (run, part) in records.chunks(100).enumerate() {
        append(&place.path("input/a.ndjson"), part);
        place.succeeds(&["run", "--until-end"]);
        assert!(run < 40);
    }
    assert_clean(place.lake(), Some(&log(&records)), &Options::default());
    place.succeeds(&["verify"]);
    for table in ["silver/orders", "gold/kpi_current", "gold/anomalies"] {
        let live = listed(&place, table).2;
        let (bytes, files) = on_disk(&place.lake().join(table));
        // The last three barriers may still be recovered to: a run makes one or two.
        assert!(bytes <= live * 4 + 65_536, "{table}: {bytes} bytes in {files} files, {live} live");
    }
    let files = listed(&place, "bronze/changes").1;
    assert!(files < 24, "bronze has {files} files");
}

#[test]
fn by_hand_it_is_done_only_when_asked() {
    let records = records(&options(23, 2_000));
    let place = Place::new();
    place.configure_files("lake.compact = false\nlake.vacuum_after = \"0s\"\n");
    for part in records.chunks(80) {
        append(&place.path("input/a.ndjson"), part);
        place.succeeds(&["run", "--until-end"]);
    }
    let before = listed(&place, "bronze/changes");
    assert!(before.1 >= 25, "a run commits once or more");
    place.weir(&["tables", "compact"]).exits(2).says(&["--yes"]);
    place.weir(&["tables", "compact", "bronze/chanes"]).exits(2).says(&["bronze/changes"]);
    place.succeeds(&["tables", "compact", "--dry-run"]);
    assert_eq!(listed(&place, "bronze/changes"), before);
    let done = place.succeeds(&["tables", "compact", "bronze/changes", "--yes", "--json"]).json();
    assert!(done[0]["merged_files"].as_u64().unwrap() > 15, "{done}");
    let after = listed(&place, "bronze/changes");
    assert!(after.0 == before.0 && after.1 < 10, "{after:?}");
    place.succeeds(&["verify", "--deep"]);
    place.succeeds(&["tables", "vacuum", "--yes"]);
    place.succeeds(&["tables", "repair", "--dry-run"]);
    let history = place.succeeds(&["tables", "history", "bronze/changes", "--json"]).json();
    assert_eq!(history[0]["operation"], "OPTIMIZE");
    assert_clean(place.lake(), Some(&log(&records)), &Options::default());
    place.succeeds(&["run", "--until-end"]);
}

/// Every restatement that a run leaves due is made before it ends.
#[test]
fn the_history_of_a_batch_ends_at_the_current_values() {
    let records = records(&options(24, 6_000));
    let place = Place::new();
    place.configure_files("");
    let mut checked = 0;
    for part in records.chunks(2_000) {
        append(&place.path("input/a.ndjson"), part);
        place.succeeds(&["run", "--until-end"]);
        let mut newest = BTreeMap::new();
        for row in read_history(place.lake()).unwrap().unwrap().rows {
            let told = newest.entry(row.cell.clone()).or_insert((row.as_of, row.value));
            if row.as_of >= told.0 {
                *told = (row.as_of, row.value);
            }
        }
        for (cell, (value, ..)) in read_current(place.lake()).unwrap().unwrap().rows {
            let told = newest.get(&cell).map(|(_, value)| *value);
            assert_eq!(told, Some(value), "{cell:?}");
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked} cells prove nothing");
}

#[test]
fn a_table_that_cannot_be_opened_is_repaired_from_bronze() {
    let place = Place::new();
    place.configure_files("");
    append(&place.path("input/a.ndjson"), &records(&options(25, 2_000)));
    place.succeeds(&["run", "--until-end"]);
    let before = cells(place.lake());
    let repair = |arguments: &[&str], code: i32| {
        let all = [&["tables", "repair", "--json"], arguments].concat();
        let done = place.weir(&all).exits(code).json();
        let objects = done.as_array().unwrap().iter();
        objects.map(|it| (text(&it["table"]), text(&it["state"]))).collect::<BTreeMap<_, _>>()
    };
    assert!(repair(&[], 0).values().all(|state| state == "whole"));

    // Not the newest entry, which a crash may tear: one that nothing can do without.
    let entries = log_entries(place.lake(), "silver/orders");
    assert!(entries.len() > 1);
    fs::write(&entries[0], "{ no entry").unwrap();
    place.weir(&["verify"]).exits(1);
    let found = repair(&["--dry-run"], 0);
    assert_eq!(found["silver/orders"], "built again from bronze at the next run");
    assert_eq!(found.values().filter(|state| *state == "whole").count() + 1, found.len());
    assert!(entries[0].exists(), "nothing was asked for");
    assert_eq!(repair(&[], 2), found);
    assert_eq!(repair(&["silver/orders", "--yes"], 0).len(), 1);
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(cells(place.lake()), before);
    place.succeeds(&["verify", "--deep"]);

    // One byte of every file, those that are live among them.
    for file in data_files(&place.lake().join("silver/costs")) {
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    let found = repair(&["--yes"], 0);
    assert_eq!(found["silver/costs"], "built again from bronze at the next run");
    assert_eq!(found.values().filter(|state| *state == "whole").count() + 1, found.len());
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(cells(place.lake()), before);
    place.succeeds(&["verify", "--deep"]);

    // Nothing makes bronze again.
    fs::write(&log_entries(place.lake(), "bronze/changes")[0], "{ no entry").unwrap();
    let found = repair(&["--yes"], 1);
    assert_eq!(found["bronze/changes"], "needs a backup");
    assert!(place.lake().join("bronze/changes/_delta_log").exists());
}

fn data_files(table: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(table).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "parquet")).collect()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}
