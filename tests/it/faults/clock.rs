//! A machine whose clock is set wrong, and right again.
//!
//! The clock is the real one with seconds added that a file names: a library that is loaded before the C
//! library says so to the program, whose time since the start of the machine stays what it is.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use harness::Options;
use harness::bronze::Epochs;
use serde_json::json;

use crate::support::{Place, assert_clean, wait_until};

const SOON: Duration = Duration::from_secs(30);
const DAY_S: i64 = 86_400;

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, at);
    if (id == CLOCK_REALTIME && done == 0) {
        FILE *file = fopen(getenv("SECONDS_ADDED"), "r");
        long added = 0;
        if (file && fscanf(file, "%ld", &added) == 1) at->tv_sec += added;
        if (file) fclose(file);
    }
    return done;
}
"#;

/// A place whose programs see a clock that [`set`] sets.
fn place() -> Place {
    let place = Place::new();
    let (source, shim) = (place.path("clock.c"), place.path("clock.so"));
    std::fs::write(&source, SHIM).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(&source).arg("-ldl");
    assert!(cc.status().unwrap().success(), "a C compiler is needed, as for the build");
    let file: PathBuf = place.path("seconds");
    let place = place
        .with_variable("LD_PRELOAD", shim.to_str().unwrap())
        .with_variable("SECONDS_ADDED", file.to_str().unwrap());
    set(&place, 0);
    place.configure_files("lake.flush_interval = \"50ms\"\nlake.barrier_interval = \"200ms\"\n");
    place
}

fn set(place: &Place, seconds: i64) {
    let (file, fresh) = (place.path("seconds"), place.path("seconds.new"));
    std::fs::write(&fresh, seconds.to_string()).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

/// The present, in microseconds.
fn now() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "the product's clock is compared with this one")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// An order of today, a new one with each offset.
fn order(place: &Place, offset: i64) {
    let row = json!({
        "order_id": offset.to_string(), "tenant_id": "t", "status": "paid", "amount": "1",
        "currency": "USD", "placed_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
    });
    let source = json!({ "lsn": 100 + offset, "ts_ms": offset, "snapshot": "false" });
    let value = json!({ "op": "c", "after": row, "source": source }).to_string();
    let record = json!({
        "topic": "shop.public.orders", "partition": 0, "offset": offset, "timestamp": now() / 1_000,
        "key": "{}", "value": value,
    });
    let path = place.path(&format!("input/{offset:03}.ndjson"));
    std::fs::write(path, format!("{record}\n")).unwrap();
}

/// Clock and quiet bit of the epoch of each order.
fn epochs(place: &Place) -> Vec<(i64, bool)> {
    let Ok(mut epochs) = Epochs::open(place.lake()) else { return Vec::new() };
    let mut found = Vec::new();
    while let Some(records) = epochs.next_epoch().unwrap() {
        let events = records.iter().filter(|record| !record.is_control());
        found.extend(events.map(|record| (record.epoch_clock, record.quiet)));
    }
    found
}

fn assert_whole(place: &Place) {
    assert_clean(place.lake(), None, &Options::default());
    place.succeeds(&["verify"]);
}

#[test]
fn a_clock_that_jumps_is_not_followed_and_costs_nothing_afterwards() {
    let place = place();
    let mut run = place.start(&["run"]);
    let seconds = [0, DAY_S, DAY_S, 0, -DAY_S, 0];
    for (offset, added) in (0..).zip(seconds) {
        set(&place, added);
        if added != 0 && added != seconds[usize::try_from(offset - 1).unwrap()] {
            let says = if added > 0 { "was set ahead by" } else { "was set back by" };
            run.wait_while_running("the jump is said", SOON, |run| run.log().contains(says));
        }
        order(&place, offset);
        let count = usize::try_from(offset + 1).unwrap();
        run.wait_while_running("the order is in bronze", SOON, |_| epochs(&place).len() == count);
        let (clock, quiet) = *epochs(&place).last().unwrap();
        assert!(
            (clock - now()).abs() < 60_000_000,
            "{added}: {} s off",
            (clock - now()) / 1_000_000
        );
        assert!(!quiet, "{added}: a fresh order teaches only");
    }
    // The next jump is believed: somebody says so.
    set(&place, 2 * DAY_S);
    let said = || run.log().matches("was set ahead by").count();
    wait_until("the jump is said", SOON, || said() == 2);
    let decided = place.succeeds(&["clock", "accept", "--json"]).json();
    assert_eq!(decided["effect"], "taken", "{decided}");
    order(&place, 6);
    wait_until("the order is in bronze", SOON, || epochs(&place).len() == 7);
    let (clock, _) = epochs(&place)[6];
    assert!((clock - now() - 2 * DAY_S * 1_000_000).abs() < 60_000_000, "the clock is followed");
    run.stops();
    assert_whole(&place);
    ahead(&place);
}

/// The lake's time is two days ahead of a machine whose clock is right again.
fn ahead(place: &Place) {
    set(place, 0);
    let before = epochs(place)[6].0;
    let mut run = place.start(&["run"]);
    run.wait_while_running("that is said", SOON, |run| run.log().contains("weir clock accept"));
    order(place, 7);
    wait_until("the order is in bronze", SOON, || epochs(place).len() == 8);
    let (stands, quiet) = epochs(place)[7];
    assert!(stands - before < 60_000_000, "time stands still");
    assert!(!quiet, "the order is fresh, whatever the lake's time is");
    place.succeeds(&["clock", "accept"]);
    std::thread::sleep(Duration::from_secs(2));
    let goes_on = |offset: i64, count: usize| {
        order(place, offset);
        wait_until("the order is in bronze", SOON, || epochs(place).len() == count);
        let (clock, quiet) = epochs(place)[count - 1];
        assert!(clock - stands > 1_000_000 && clock - now() > DAY_S * 1_000_000, "time goes on");
        assert!(!quiet);
    };
    goes_on(8, 9);
    run.stops();
    let run = place.start(&["run"]);
    goes_on(9, 10);
    run.stops();
    assert_whole(place);
}
