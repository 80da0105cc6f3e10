//! A working folder outside the lake: a run goes on from it, and one that is told another place is refused.

use std::path::Path;

use harness::Options;

use crate::kills::Kills;
use crate::support::stream::{append, log, options, records};
use crate::support::{Place, assert_clean, seeded};

const FILES: [&str; 3] = ["control.ndjson", "ledger", "state"];

fn configure(place: &Place, work: &Path) {
    let fast = "lake.flush_interval = \"50ms\"\nlake.barrier_interval = \"200ms\"\n";
    let work = work.display();
    place.configure_files(&format!("{fast}lake.work_dir = \"{work}\"\nepoch.max_records = 60\n"));
}

#[test]
fn a_killed_run_goes_on_from_a_working_folder_elsewhere() {
    let mut rng = seeded("kills with a working folder");
    let records = records(&options(76, 6_000));
    let place = Place::new();
    let work = place.path("work");
    configure(&place, &work);
    append(&place.path("input/a.ndjson"), &records);
    let mut kills = Kills::new(&mut rng, &place, &["run", "--until-end"], 300);
    let count = (0..6).take_while(|_| kills.once()).count();
    assert!(count > 0 && kills.committed > 0, "kills that hit nothing prove nothing");
    let done = place.succeeds(&["run", "--until-end"]);
    assert!(!done.stderr.contains("the ledger is not used"), "{}", done.stderr);
    for file in FILES {
        assert!(
            work.join(file).exists() && !place.lake().join("_weir").join(file).exists(),
            "{file}"
        );
    }
    let produced = log(&records);
    assert_clean(place.lake(), Some(&produced), &Options::default());
    let shown = place.succeeds(&["config", "show"]);
    assert!(shown.stdout.contains("work_dir"), "{}", shown.stdout);

    let checked = place.succeeds(&["check"]);
    for says in ["working folder", &work.display().to_string()] {
        assert!(checked.stdout.contains(says), "{}", checked.stdout);
    }

    // Whoever reads the lake is told by the lake.
    place.configure_files("");
    place.succeeds(&["verify"]);
    place.succeeds(&["contracts", "list"]);
    let refused = place.weir(&["run", "--until-end"]).exits(1);
    let checked = place.weir(&["check"]).exits(1);
    for says in ["control.ndjson", "/work", "lake.work_dir", "_weir"] {
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
        assert!(checked.stdout.contains(says), "{}", checked.stdout);
    }
    for file in FILES {
        std::fs::rename(work.join(file), place.lake().join("_weir").join(file)).unwrap();
    }
    let done = place.succeeds(&["run", "--until-end"]);
    assert!(!done.stderr.contains("the ledger is not used"), "{}", done.stderr);
    assert_clean(place.lake(), Some(&produced), &Options::default());
}
