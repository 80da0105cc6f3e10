//! A process that has more memory than it may: it reads no further, says so, and loses nothing; a batch
//! ends.

use std::time::Duration;

use harness::Options;

use super::{mint, port};
use crate::support::http::try_request;
use crate::support::stream::{append, log, options, records};
use crate::support::{Place, assert_clean, bronze_records, wait_until};

#[test]
fn polling_stops_beyond_the_memory_limit_and_nothing_is_lost() {
    let place = Place::new();
    place.configure_files("lake.memory_limit = \"1MiB\"\n");
    let records = records(&options(74, 2_000));
    append(&place.path("input/a.ndjson"), &records);
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    run.wait_for("`lake.memory_limit` is 1 MiB", super::SOON);
    let token = mint(&place, &[]);
    wait_until("answers are degraded", super::SOON, || {
        let answer = try_request("GET", port, "/api/v1/meta", Some(&token));
        answer.is_ok_and(|answer| answer.status == 200 && answer.body.contains("lake.memory_limit"))
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(bronze_records(place.lake()), 0, "nothing was polled");
    run.stops();
    place.configure_files("");
    place.succeeds(&["run", "--until-end"]);
    assert_clean(place.lake(), Some(&log(&records)), &Options::default());
}

#[test]
fn a_batch_that_may_not_have_more_memory_ends_and_names_the_setting() {
    let place = Place::new();
    place.configure_files("lake.memory_limit = \"1MiB\"\n");
    let records = records(&options(75, 200));
    append(&place.path("input/a.ndjson"), &records);
    let done = place.weir(&["run", "--until-end"]).exits(1);
    for says in ["the end was not reached", "`lake.memory_limit` is 1 MiB", "raise the setting"] {
        assert!(done.stderr.contains(says), "{}", done.stderr);
    }
    place.configure_files("");
    place.succeeds(&["run", "--until-end"]);
    assert_clean(place.lake(), Some(&log(&records)), &Options::default());
}
