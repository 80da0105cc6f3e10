//! What all tests need: a lake with its configuration, the binary as a child, services, streams.

pub(crate) mod browser;
pub(crate) mod definitions;
pub(crate) mod http;
pub(crate) mod receivers;
pub(crate) mod sales;
pub(crate) mod services;
pub(crate) mod stream;
pub(crate) mod weir;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::tables::{Table, read_current};
use harness::{Log, Options, Report, check_lake};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub(crate) use weir::{Done, Place, Weir};

/// Waits until `what` holds.
///
/// # Panics
/// When it does not hold within `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < limit, "waited {} s in vain until {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
    begin.elapsed()
}

/// A seed: `WEIR_SEED`, or one that is printed so that a failure can be run again.
pub(crate) fn seeded(test: &str) -> StdRng {
    let given = std::env::var("WEIR_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("{test}: WEIR_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Checks the lake against the oracle and, when given, against the log that was produced.
///
/// # Panics
/// When anything is wrong; the message is the whole report.
pub(crate) fn assert_clean(lake: &Path, expected: Option<&Log>, options: &Options) -> Report {
    let report = check_lake(lake, expected, options).unwrap();
    assert!(report.is_clean(), "{}:\n{report}", lake.display());
    report
}

/// The final values of every cell, without the epochs that wrote them, in a stable order.
pub(crate) fn cells(lake: &Path) -> Vec<String> {
    let table: Table<_> = read_current(lake).unwrap().expect("gold/kpi_current is there");
    table.rows.iter().map(|(id, (value, ..))| format!("{id:?} {value:?}")).collect()
}

/// The entries of a table's log, oldest first.
pub(crate) fn log_entries(lake: &Path, table: &str) -> Vec<PathBuf> {
    let folder = lake.join(table).join("_delta_log");
    let Ok(listing) = std::fs::read_dir(&folder) else { return Vec::new() };
    let paths = listing.filter_map(|entry| Some(entry.ok()?.path()));
    let is_entry = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "json")
            && path.file_stem().is_some_and(|stem| stem.len() == 20)
    };
    let mut entries: Vec<PathBuf> = paths.filter(is_entry).collect();
    entries.sort();
    entries
}

/// How many records bronze holds; 0 before there is a bronze.
pub(crate) fn bronze_records(lake: &Path) -> u64 {
    harness::audit::audit(lake, None).map_or(0, |audit| audit.records)
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
