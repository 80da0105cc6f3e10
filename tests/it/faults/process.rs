//! Two processes on one lake, and signals.

use std::time::{Duration, Instant};

use harness::Options;

use super::MANY_VERSIONS;
use crate::support::stream::{append, log, options, records};
use crate::support::{Place, assert_clean, bronze_records};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_second_process_waits_ten_seconds_and_says_who_holds_the_lake() {
    let place = Place::new();
    place.configure_files("");
    append(&place.path("input/a.ndjson"), &records(&options(61, 500)));
    let mut first = place.start(&["run"]);
    let lake = place.lake();
    first.wait_while_running("the records are in bronze", SOON, |_| bronze_records(lake) == 500);
    let begin = Instant::now();
    let second = place.weir(&["run", "--until-end"]).exits(1);
    let took = begin.elapsed();
    second.says(&[&first.pid().to_string(), "in use"]);
    assert!((9..16).contains(&took.as_secs()), "{took:?}");
    assert!(first.is_running());

    // One that is let in meanwhile gets it.
    let waiting = place.start(&["run", "--until-end"]);
    std::thread::sleep(Duration::from_secs(1));
    first.stops();
    waiting.wait(SOON).exits(0);
}

#[test]
fn a_signal_ends_a_run_under_load_within_three_seconds() {
    let records = records(&options(62, 30_000));
    let place = Place::new();
    place.configure_files(MANY_VERSIONS);
    append(&place.path("input/a.ndjson"), &records);
    let lake = place.lake();
    for signal in ["TERM", "INT"] {
        let before = bronze_records(lake);
        let mut run = place.start(&["run"]);
        run.wait_while_running("bronze grows", SOON, |_| bronze_records(lake) > before);
        let begin = Instant::now();
        crate::support::weir::signal(signal, run.pid());
        let done = run.wait(SOON).exits(0);
        assert!(begin.elapsed() < crate::support::weir::STOP, "{:?}", begin.elapsed());
        let report = assert_clean(lake, None, &Options::default());
        println!("SIG{signal}: {} of 30000 records, {:?}", report.bronze.records, begin.elapsed());
        assert!(report.notes.is_empty(), "all tables stand at bronze's epoch: {report}\n{done:?}");
        place.succeeds(&["verify"]);
    }
    place.succeeds(&["run", "--until-end"]);
    assert_clean(lake, Some(&log(&records)), &Options::default());
}

#[test]
fn commands_read_beside_a_live_run() {
    let place = Place::new();
    place.configure_files(MANY_VERSIONS);
    let records = records(&options(63, 6_000));
    let input = place.path("input/a.ndjson");
    append(&input, &records[..1_000]);
    let mut run = place.start(&["run"]);
    let lake = place.lake();
    run.wait_while_running("bronze grows", SOON, |_| bronze_records(lake) > 0);
    for part in records[1_000..].chunks(1_000) {
        append(&input, part);
        place.succeeds(&["verify"]);
        place.succeeds(&["tables", "list"]);
        place.succeeds(&["kpis", "get", "orders"]);
    }
    run.wait_while_running("all is in bronze", SOON, |_| bronze_records(lake) == 6_000);
    run.stops();
    assert_clean(lake, Some(&log(&records)), &Options::default());
}

#[test]
fn a_signal_ends_the_wait_for_the_lake_and_for_the_port() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    place.configure_files("");
    let text = std::fs::read_to_string(place.path("weir.toml")).unwrap();
    let text = text.replace("127.0.0.1:0", &address.to_string());
    std::fs::write(place.path("weir.toml"), text).unwrap();
    for signal in ["TERM", "INT"] {
        // The first waits for the port, the second for the lake that the first holds.
        let mut port = place.start(&["run"]);
        port.wait_for("is in use; trying", SOON);
        let mut lake = place.start(&["run", "--until-end"]);
        lake.wait_for("is in use by process", SOON);
        for waiting in [lake, port] {
            let begin = Instant::now();
            crate::support::weir::signal(signal, waiting.pid());
            waiting.wait(SOON).exits(0);
            assert!(begin.elapsed() < crate::support::weir::STOP, "{:?}", begin.elapsed());
        }
    }
}
