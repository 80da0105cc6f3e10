//! Kafka as it misbehaves: away, without the topic, with another topic of the same name.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use harness::Options;

use crate::support::services::{self, BROKERS, fresh_topic, script};
use crate::support::stream::{options, produce, read_topics, records};
use crate::support::{Place, assert_clean, bronze_records};

const FAST: &str = "lake.flush_interval = \"100ms\"\nlake.barrier_interval = \"500ms\"\n";
const SOON: Duration = Duration::from_secs(30);

/// The name of a topic of this run.
fn topic(name: &str, table: &str) -> String {
    format!("it-{name}-{}.{table}", std::process::id())
}

fn check_options(topics: &[(&str, &str)]) -> Options {
    let topics: BTreeMap<_, _> =
        topics.iter().map(|(topic, contract)| ((*topic).into(), (*contract).into())).collect();
    Options { topics, bronze_only: false }
}

#[test]
fn nobody_listens_at_the_broker() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let brokers = format!("127.0.0.1:{port}");
    let place = Place::new();
    place.configure_kafka("", &brokers, &[("shop.public.orders", "orders")]);
    let mut run = place.start(&["run"]);
    run.wait_for(&brokers, SOON);
    run.wait_for("waiting for it", SOON);
    std::thread::sleep(Duration::from_secs(3));
    assert!(run.is_running(), "{}", run.log());
    let done = run.stops();
    assert!(done.stderr.lines().count() < 40, "it says so too often:\n{}", done.stderr);
    place.weir(&["check"]).exits(3);
    place.weir(&["run", "--until-end"]).exits(3).says(&[&brokers]);
}

#[test]
fn a_broker_that_is_away_at_the_start_and_goes_away_later_is_waited_for() {
    let held = services::kafka();
    let (orders, costs) = (topic("away", "orders"), topic("away", "costs"));
    let topics = [(orders.as_str(), "orders"), (costs.as_str(), "costs")];
    fresh_topic(&orders, 4);
    fresh_topic(&costs, 4);
    let records = records(&options(21, 4_000));
    let name = |of: &str| topic("away", of.rsplit('.').next().unwrap());
    produce(&records[..2_000], name);
    let place = Place::new();
    place.configure_kafka(FAST, BROKERS, &topics);

    script("kafka.sh", &["stop"]);
    let mut run = place.start(&["run"]);
    run.wait_for("no connection to the broker", SOON);
    script("kafka.sh", &["start"]);
    let lake = place.lake();
    run.wait_while_running("the first records are in bronze", SOON, |_| {
        bronze_records(lake) == 2_000
    });
    script("kafka.sh", &["kill"]);
    std::thread::sleep(Duration::from_secs(2));
    script("kafka.sh", &["start"]);
    produce(&records[2_000..], name);
    run.wait_while_running("the others are in bronze", SOON, |_| bronze_records(lake) == 4_000);
    run.stops();
    let expected = read_topics(&[&orders, &costs]);
    assert_clean(lake, Some(&expected), &check_options(&topics));
    place.succeeds(&["check"]);
    for topic in [&orders, &costs] {
        script("kafka.sh", &["delete-topic", topic]);
    }
    drop(held);
}

#[test]
fn a_topic_that_is_missing_is_read_once_it_is_there() {
    let held = services::kafka();
    let (orders, costs) = (topic("late", "orders"), topic("late", "costs"));
    let topics = [(orders.as_str(), "orders"), (costs.as_str(), "costs")];
    fresh_topic(&costs, 4);
    let records = records(&options(22, 2_000));
    let place = Place::new();
    place.configure_kafka(FAST, BROKERS, &topics);
    let check = place.weir(&["check"]);
    assert!(check.stdout.contains(&orders), "{}", check.stdout);
    assert!(check.stdout.contains("does not exist"), "{}", check.stdout);
    let mut run = place.start(&["run"]);
    run.wait_for(&format!("topic `{orders}` does not exist"), SOON);
    fresh_topic(&orders, 4);
    produce(&records, |of| topic("late", of.rsplit('.').next().unwrap()));
    let lake = place.lake();
    run.wait_while_running("all is in bronze", SOON, |_| bronze_records(lake) == 2_000);
    run.stops();
    let expected = read_topics(&[&orders, &costs]);
    assert_clean(lake, Some(&expected), &check_options(&topics));
    for topic in [&orders, &costs] {
        script("kafka.sh", &["delete-topic", topic]);
    }
    drop(held);
}

#[test]
fn a_topic_that_was_created_again_is_said_and_read_from_its_start() {
    let held = services::kafka();
    let (orders, costs) = (topic("again", "orders"), topic("again", "costs"));
    let topics = [(orders.as_str(), "orders"), (costs.as_str(), "costs")];
    let name = |of: &str| topic("again", of.rsplit('.').next().unwrap());
    let place = Place::new();
    place.configure_kafka(FAST, BROKERS, &topics);
    // The source goes on while the topic begins anew.
    let records = records(&options(23, 2_500));
    let mut said = String::new();
    for records in [&records[..1_500], &records[1_500..]] {
        for topic in [&orders, &costs] {
            fresh_topic(topic, 4);
        }
        produce(records, name);
        said.push_str(&place.succeeds(&["run", "--until-end"]).stderr);
    }
    for topic in [&orders, &costs] {
        let text = format!("topic `{topic}` was deleted and created again");
        assert!(said.contains(&text), "`{text}` is not in:\n{said}");
    }
    // No expected log: the same coordinates exist in both lives.
    let report = assert_clean(place.lake(), None, &check_options(&topics));
    assert_eq!(report.bronze.records, 2_500, "both lives are in bronze");
    place.succeeds(&["verify"]);
    for topic in [&orders, &costs] {
        script("kafka.sh", &["delete-topic", topic]);
    }
    drop(held);
}

#[test]
fn recorded_epochs_wait_for_their_broker_and_for_a_signal() {
    let held = services::kafka();
    let (orders, costs) = (topic("tail", "orders"), topic("tail", "costs"));
    let topics = [(orders.as_str(), "orders"), (costs.as_str(), "costs")];
    for topic in [&orders, &costs] {
        fresh_topic(topic, 4);
    }
    let records = records(&options(24, 2_000));
    produce(&records, |of| topic("tail", of.rsplit('.').next().unwrap()));
    let late = "lake.flush_interval = \"1h\"\n";
    let place = Place::new();
    place.configure_kafka(late, BROKERS, &topics);
    let ledger = place.lake().join("_weir").join("ledger");
    let recorded = || {
        let files = std::fs::read_dir(&ledger).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>()
    };
    let mut run = place.start(&["run"]);
    let (mut before, mut since) = (0, std::time::Instant::now());
    run.wait_while_running("the ledger is full and rests", SOON, |_| {
        let now = recorded();
        if now != before {
            (before, since) = (now, std::time::Instant::now());
        }
        now > 1_000 && since.elapsed() > Duration::from_secs(2)
    });
    run.kill();
    assert_eq!(bronze_records(place.lake()), 0, "the records are in the tail only");

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    place.configure_kafka(late, &format!("127.0.0.1:{port}"), &topics);
    let done = place.weir(&["run", "--until-end"]).exits(3);
    done.says(&["reading records again", "got no answer in time"]);
    let mut run = place.start(&["run"]);
    run.wait_for("needed to recover", SOON);
    let (done, took) = run.stop();
    let done = done.exits(0).says(&["stopped before recovery was complete"]);
    assert!(took < Duration::from_secs(5), "{took:?}\n{}", done.stderr);

    place.configure_kafka(late, BROKERS, &topics);
    let done = place.succeeds(&["run", "--until-end"]);
    assert!(!done.stderr.contains("new stream generation"), "{}", done.stderr);
    let expected = read_topics(&[&orders, &costs]);
    assert_clean(place.lake(), Some(&expected), &check_options(&topics));
    for topic in [&orders, &costs] {
        script("kafka.sh", &["delete-topic", topic]);
    }
    drop(held);
}
