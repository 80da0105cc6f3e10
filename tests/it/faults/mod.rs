//! Bad input, damaged files, full disks: said by name, and never paid for with rows.

mod clock;
mod configuration;
mod damage;
mod disk;
mod output;
mod process;

use harness::Options;
use harness::workload::Produced;

use crate::support::stream::{append, log, options, records};
use crate::support::{Place, assert_clean};

/// Settings under which a small input makes many versions.
pub(crate) const MANY_VERSIONS: &str = "lake.flush_interval = \"30ms\"\n\
    lake.barrier_interval = \"100ms\"\nepoch.max_records = 100\n";

/// A lake that was fed in three runs, and the records that it holds.
fn fed(seed: u64) -> (Place, Vec<Produced>) {
    let place = Place::new();
    place.configure_files(MANY_VERSIONS);
    let records = records(&options(seed, 3_000));
    for part in records.chunks(1_000) {
        append(&place.path("input/a.ndjson"), part);
        place.succeeds(&["run", "--until-end"]);
    }
    assert_clean(place.lake(), Some(&log(&records)), &Options::default());
    (place, records)
}
