//! Sources of `kind = "file"`: from the lines to every table, at once, again, and killed on the way.

use harness::Options;

use crate::kills::Kills;
use crate::support::stream::{append, log, options, records};
use crate::support::{Place, assert_clean, cells, seeded};

#[test]
fn lines_become_bronze_silver_and_gold_once() {
    let records = records(&options(11, 20_500));
    let place = Place::new();
    place.configure_files("");
    append(&place.path("input/a.ndjson.gz"), &records[..10_000]);
    append(&place.path("input/b.ndjson"), &records[10_000..20_000]);
    place.succeeds(&["run", "--until-end"]);
    let produced = log(&records[..20_000]);
    let report = assert_clean(place.lake(), Some(&produced), &Options::default());
    println!("files: {report}");
    assert!(report.dead_letters > 10, "poison is in the stream");
    assert!(report.duplicates + report.stale > 0, "redeliveries are in the stream");
    assert!(report.silver_rows > 1_000 && report.cells > 1_000 && report.history_rows > 1_000);
    place.succeeds(&["verify"]);
    let letters = place.succeeds(&["dead-letters", "list", "--json"]).json();
    assert_eq!(crate::surface::rows(&letters).len() as u64, report.dead_letters);

    let before = cells(place.lake());
    place.succeeds(&["run", "--until-end"]);
    let again = assert_clean(place.lake(), Some(&produced), &Options::default());
    assert_eq!(again.bronze.records, report.bronze.records, "a second run reads nothing twice");
    assert_eq!(cells(place.lake()), before);

    append(&place.path("input/b.ndjson"), &records[20_000..]);
    place.succeeds(&["run", "--until-end"]);
    let more = assert_clean(place.lake(), Some(&log(&records)), &Options::default());
    assert_eq!(more.bronze.records, 20_500);
    place.succeeds(&["verify"]);
}

#[test]
fn a_run_that_is_killed_and_restarted_ends_where_an_undisturbed_one_does() {
    const FAST: &str = "lake.flush_interval = \"50ms\"\nlake.barrier_interval = \"200ms\"\n\
                        epoch.max_records = 60\n";
    let mut rng = seeded("kills on files");
    let records = records(&options(12, 20_000));
    let (calm, killed) = (Place::new(), Place::new());
    for place in [&calm, &killed] {
        place.configure_files(FAST);
        append(&place.path("input/a.ndjson"), &records);
    }
    calm.succeeds(&["run", "--until-end"]);
    let mut kills = Kills::new(&mut rng, &killed, &["run", "--until-end"], 300);
    let count = (0..15).take_while(|_| kills.once()).count();
    println!("files: {count} kills, {} of them after bronze had advanced", kills.committed);
    assert!(kills.committed > 0, "kills that hit nothing prove nothing");
    killed.succeeds(&["run", "--until-end"]);
    let produced = log(&records);
    let report = assert_clean(killed.lake(), Some(&produced), &Options::default());
    println!("files, killed: {report}");
    assert_clean(calm.lake(), Some(&produced), &Options::default());
    assert_eq!(cells(killed.lake()), cells(calm.lake()));
    killed.succeeds(&["verify"]);
}
