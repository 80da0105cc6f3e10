//! What a lake keeps while it is written: a soak, and backups of a lake in use.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::Options;

use crate::support::services::{self, BROKERS, fresh_topic};
use crate::support::stream::{Producer, options, produce, read_topics, records};
use crate::support::{Place, assert_clean, bronze_records, cells};

/// Commits often, and keeps next to nothing of the past.
const BRIEF: &str = "lake.flush_interval = \"20ms\"\nlake.barrier_interval = \"100ms\"\n\
                     lake.vacuum_after = \"1s\"\nlake.log_retention = \"1s\"\n";
/// Unless more are asked for, the soak ends after this long.
const SMOKE: Duration = Duration::from_secs(50);

fn topic(name: &str, table: &str) -> String {
    format!("it-{name}-{}.{table}", std::process::id())
}

#[test]
fn a_backup_of_a_running_lake_is_a_lake() {
    let _held = services::kafka();
    let name = |of: &str| topic("backup", of.rsplit('.').next().unwrap());
    let (orders, costs) = (topic("backup", "orders"), topic("backup", "costs"));
    let topics = [(orders.as_str(), "orders"), (costs.as_str(), "costs")];
    fresh_topic(&orders, 2);
    fresh_topic(&costs, 2);
    let records = records(&options(22, 4_000));
    let (place, other) = (Place::new(), Place::new());
    place.configure_kafka(BRIEF, BROKERS, &topics);
    other.configure_kafka(BRIEF, BROKERS, &topics);
    produce(&records[..3_000], name);
    let mut run = place.start(&["run"]);
    // As early as can be: before silver is there.
    run.wait_while_running("records are in bronze", Duration::from_secs(60), |_| {
        bronze_records(place.lake()) > 0
    });
    let copy = place.path("copy");
    let from = copy.to_str().unwrap();
    place.succeeds(&["tables", "export", "--to", from]);
    place.weir(&["tables", "vacuum", "--yes"]).exits(1).says(&["in use"]);
    produce(&records[3_000..], name);
    run.stops();
    place.succeeds(&["verify", "--deep", "--lake", from]);
    other.weir(&["tables", "restore", "--from", from]).exits(2).says(&["--yes"]);
    other.succeeds(&["tables", "restore", "--from", from, "--yes"]);
    other.weir(&["tables", "restore", "--from", from, "--yes"]).exits(1).says(&["already"]);
    other.succeeds(&["verify", "--deep"]);
    // The copy goes on where it was taken.
    for place in [&other, &place] {
        place.succeeds(&["run", "--until-end"]);
        assert_eq!(bronze_records(place.lake()), 4_000);
        place.succeeds(&["verify"]);
    }
    assert_eq!(cells(other.lake()), cells(place.lake()));
    let produced = read_topics(&[&orders, &costs]);
    let topics = topics.iter().map(|(topic, of)| ((*topic).to_owned(), (*of).to_owned())).collect();
    assert_clean(place.lake(), Some(&produced), &Options { topics, bronze_only: false });
}

/// What is left of `WEIR_SOAK_FLUSHES` commits of bronze does not grow with their number.
#[test]
fn many_flushes_leave_a_small_lake() {
    let _held = services::kafka();
    let asked: Option<u64> = std::env::var("WEIR_SOAK_FLUSHES").ok().map(|it| it.parse().unwrap());
    let flushes = asked.unwrap_or(900);
    let orders = topic("soak", "orders");
    fresh_topic(&orders, 1);
    let place = Place::new();
    place.configure_kafka(BRIEF, BROKERS, &[(&orders, "orders")]);
    let bronze = place.lake().join("bronze/changes");
    let mut run = place.start(&["run"]);
    let mut producer = Producer::new(&orders);
    let mut soak = Soak { curve: String::new(), files: 0, logs: 0 };
    let (begun, mut id, mut flushed) = (Instant::now(), 0_u64, 0);
    let mut next = flushes / 20;
    while flushed < flushes && (asked.is_some() || begun.elapsed() < SMOKE) {
        for _ in 0..10 {
            id += 1;
            producer
                .send(format!("{{\"order_id\":\"{id}\"}}").as_bytes(), order(id % 500).as_bytes());
            std::thread::sleep(Duration::from_millis(25));
        }
        assert!(run.is_running(), "{}", run.log());
        flushed = newest(&bronze);
        if flushed >= next {
            next = flushed + flushes / 20;
            soak.look(&place, flushed, run.pid());
        }
    }
    producer.finish();
    run.stops();
    println!("flushes files log bytes rss open_ms\n{}", soak.curve);
    // Two checkpoints, what came since the older of them, and their seals; files of a minute.
    assert!(flushed > 450, "{flushed} flushes prove nothing");
    assert!(soak.logs < 3 * 200 + 50, "{} files of the log\n{}", soak.logs, soak.curve);
    assert!(soak.files < 2_500, "{} data files\n{}", soak.files, soak.curve);
    place.succeeds(&["verify"]);
}

struct Soak {
    curve: String,
    files: usize,
    logs: usize,
}

impl Soak {
    fn look(&mut self, place: &Place, flushed: u64, pid: u32) {
        let bronze = place.lake().join("bronze/changes");
        let at = Instant::now();
        place.succeeds(&["tables", "list"]);
        let open = at.elapsed().as_millis();
        let (files, logs) = (data_files(&bronze), count(&bronze.join("_delta_log")));
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let rss = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap().trim();
        let (files, bytes) = files;
        writeln!(self.curve, "{flushed} {files} {logs} {bytes} {rss} {open}").unwrap();
        (self.files, self.logs) = (self.files.max(files), self.logs.max(logs));
    }
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// The newest version of a table.
fn newest(table: &Path) -> u64 {
    let Ok(listed) = fs::read_dir(table.join("_delta_log")) else { return 0 };
    let names = listed.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter_map(|it| it.strip_suffix(".json")?.parse().ok()).max().unwrap_or(0)
}

/// Data files of bronze on disk, which vacuum may be deleting, and their bytes.
fn data_files(table: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    for day in fs::read_dir(table).unwrap().map(|it| it.unwrap().path()) {
        let is_day = day.file_name().unwrap().to_string_lossy().starts_with("day=");
        for file in fs::read_dir(&day).unwrap().filter(|_| is_day) {
            files += 1;
            bytes += file.unwrap().metadata().map_or(0, |it| it.len());
        }
    }
    (files, bytes)
}

fn order(id: u64) -> String {
    format!(
        "{{\"op\":\"u\",\"before\":null,\"after\":{{\"order_id\":\"{id}\",\"tenant_id\":\"a\",\
         \"status\":\"placed\",\"amount\":\"1.00\",\"currency\":\"USD\",\
         \"placed_at\":\"2026-11-28T07:00:00Z\",\"updated_at\":\"2026-11-28T07:00:00Z\"}}}}"
    )
}
