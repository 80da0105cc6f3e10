//! Sources of `kind = "file"`: from the lines to every table, at once, again, and killed on the way.

use harness::Options;
use harness::bronze::Epochs;
use serde_json::json;

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

#[test]
fn records_of_files_have_the_time_of_their_events() {
    let place = Place::new();
    let input = place.path("input");
    std::fs::create_dir_all(&input).unwrap();
    let path = input.display();
    place.configure(&format!(
        "[[sources]]\nkind = \"file\"\npath = \"{path}\"\ncontract = \"orders\"\n"
    ));
    #[allow(clippy::disallowed_methods, reason = "the records are of now")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    // One file an epoch: what its event says, what its source says, and nothing.
    let old = now - 3_600_000;
    let times = [(json!(now), json!(old)), (json!(null), json!(now)), (json!(null), json!(null))];
    for (number, (event, source)) in times.into_iter().enumerate() {
        let row = json!({
            "order_id": number.to_string(), "tenant_id": "t", "status": "paid", "amount": "1",
            "currency": "USD", "placed_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
        });
        let source = json!({ "lsn": 100, "ts_ms": source });
        let event = json!({ "op": "c", "after": row, "source": source, "ts_ms": event });
        std::fs::write(place.path(&format!("input/{number}.ndjson")), format!("{event}\n"))
            .unwrap();
        let done = place.succeeds(&["run", "--until-end"]);
        assert_eq!(
            done.stderr.contains("only teach what is usual"),
            number == 2,
            "{}",
            done.stderr
        );
    }
    let (mut epochs, mut quiet) = (Epochs::open(place.lake()).unwrap(), Vec::new());
    while let Some(records) = epochs.next_epoch().unwrap() {
        quiet.extend(records.iter().filter(|r| !r.is_control()).map(|record| record.quiet));
    }
    assert_eq!(quiet, [false, false, true]);
}
