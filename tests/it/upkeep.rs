//! Upkeep from outside: merging, vacuum and history by command.

use harness::Options;

use crate::support::stream::{append, log, options, records};
use crate::support::{Place, assert_clean};

/// `(rows, files, bytes)` of a table as its log says.
fn listed(place: &Place, table: &str) -> (u64, u64, u64) {
    let tables = place.succeeds(&["tables", "list", "--json"]).json();
    let found = tables.as_array().unwrap().iter().find(|it| it["table"] == table).unwrap().clone();
    let number = |name: &str| found[name].as_u64().unwrap();
    (number("rows"), number("files"), number("bytes"))
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
    assert_eq!(before.1, 25);
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
