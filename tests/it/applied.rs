//! Definitions that are changed, and KPIs that are computed anew, in a process that goes on: what is served meanwhile,
//! what wrong files do, and kills around it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::stream::{Figures, follow};
use harness::{Options, stream};
use rand::Rng;
use serde_json::{Value, json};

use crate::audited::damage;
use crate::live::{SOON, get, mint, port, ready};
use crate::support::http::{request, try_request};
use crate::support::stream::{append as stream_of, options, records};
use crate::support::{Place, Weir, assert_clean, definitions, seeded, wait_until};

const FAST: &str = "lake.flush_interval = \"50ms\"\nlake.barrier_interval = \"200ms\"\n\
                    audit.interval = \"0s\"\n";

/// Where the KPIs are asked for, whatever the day.
const ALL_DAYS: &str = "grain=day&from=2026-01-01&to=2027-01-01";

/// Orders of three statuses in turn.
const STATUSES: [&str; 3] = ["paid", "placed", "cancelled"];

/// Kills of one test.
const KILLS: u64 = 8;

/// Orders with these numbers, all of one tenant and day.
fn append(place: &Place, numbers: std::ops::Range<usize>) {
    let mut lines = String::new();
    for number in numbers {
        let row = json!({
            "order_id": number.to_string(), "tenant_id": "t", "amount": "1", "currency": "USD",
            "status": STATUSES[number % 3], "placed_at": "2026-03-01T10:00:00Z",
            "updated_at": "2026-03-01T10:00:00Z",
        });
        let source = json!({ "lsn": number + 1, "ts_ms": 1_772_360_000_000_u64 + number as u64 });
        let value = json!({ "op": "c", "after": row, "source": source }).to_string();
        let key = json!({ "order_id": number.to_string() }).to_string();
        let topic = "shop.public.orders";
        let record =
            json!({ "topic": topic, "partition": 0, "offset": number, "key": key, "value": value });
        writeln!(lines, "{record}").unwrap();
    }
    let path = place.path("input/a.ndjson");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

/// How many of the first `all` orders have one of these statuses: the plain count.
fn count(all: usize, statuses: &[&str]) -> usize {
    (0..all).filter(|number| statuses.contains(&STATUSES[number % 3])).count()
}

/// The file of a KPI that counts orders of these statuses.
fn define(place: &Place, key: &str, statuses: &[&str]) {
    let list: Vec<String> = statuses.iter().map(|status| format!("'{status}'")).collect();
    let more = format!("filter = \"status IN ({})\"\n", list.join(", "));
    let text = definitions::count_of(key, "orders", "placed_at", &more);
    std::fs::write(place.path("kpis").join(format!("{key}.toml")), text).unwrap();
}

fn place() -> Place {
    let place = Place::new();
    let folder = place.path("kpis");
    std::fs::create_dir_all(&folder).unwrap();
    place.configure_files(&format!("{FAST}gold.definitions = {folder:?}\n"));
    place
}

fn start(place: &Place) -> (Weir, u16, String) {
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    (run, port, mint(place, &[]))
}

/// The values in an answer of REST.
fn values(answer: &Value) -> Vec<String> {
    let rows = answer["kpis"].as_array().unwrap_or_else(|| panic!("{answer}"));
    rows.iter().map(|row| row["value"].as_str().unwrap_or("none").to_owned()).collect()
}

fn value(port: u16, token: &str, key: &str) -> Vec<String> {
    values(&get(port, &format!("/api/v1/kpis?kpi={key}&{ALL_DAYS}"), token))
}

fn waits_for(port: u16, token: &str, key: &str, expected: usize) {
    let what = format!("`{key}` is {expected}");
    wait_until(&what, SOON, || value(port, token, key) == [expected.to_string()]);
}

fn apply(place: &Place) -> Value {
    place.succeeds(&["kpis", "apply", "--yes", "--json"]).json()
}

fn generation(port: u16, token: &str) -> String {
    get(port, "/api/v1/meta", token)["generation"].as_str().unwrap().to_owned()
}

/// Asks for a KPI until `stop`: every answer must be whole. The different values, in the order in which they came.
fn ask(port: u16, token: &str, key: &str, stop: &AtomicBool) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let path = format!("/api/v1/kpis?kpi={key}&{ALL_DAYS}");
        let answer = try_request("GET", port, &path, Some(token)).expect("nobody is refused");
        assert_eq!(answer.status, 200, "{answer:?}");
        let now = values(&answer.json());
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    seen
}

/// A client of the stream that compares what it holds with REST.
fn follower(port: u16, token: &str, key: &str, stop: &AtomicBool) -> Figures {
    let options = stream::Options {
        kpi: Some(key.to_owned()),
        patience: Duration::from_secs(60),
        compare_every: Some(Duration::from_millis(200)),
        ..stream::Options::new(&format!("127.0.0.1:{port}"), token)
    };
    follow(&options, stop).unwrap()
}

/// Requests that the process has counted.
fn answered(port: u16) -> u64 {
    let text = request("GET", port, "/metrics", None).body;
    let own = text.lines().filter(|line| line.starts_with("weir_http_requests_total"));
    own.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn changed_definitions_come_into_force_in_the_running_process() {
    let place = place();
    let statuses = |wide: bool| if wide { &["paid", "placed"][..] } else { &["paid"][..] };
    define(&place, "my_orders", statuses(false));
    define(&place, "old_orders", &["cancelled"]);
    append(&place, 0..301);
    let (mut run, port, token) = start(&place);
    waits_for(port, &token, "my_orders", count(301, statuses(false)));
    waits_for(port, &token, "old_orders", count(301, &["cancelled"]));
    let (pid, before) = (run.pid(), generation(port, &token));

    define(&place, "my_orders", statuses(true));
    define(&place, "new_orders", &["placed"]);
    std::fs::remove_file(place.path("kpis/old_orders.toml")).unwrap();
    wait_until("the old one is in the table", SOON, || {
        let told = place.succeeds(&["kpis", "apply", "--dry-run", "--json"]).json();
        let change = |own: &Value| format!("{} {}", own["name"].as_str().unwrap(), own["change"]);
        let changes: Vec<String> = told.as_array().unwrap().iter().map(change).collect();
        let expected = ["my_orders \"changed\"", "new_orders \"new\"", "old_orders \"removed\""];
        changes == expected && !told.to_string().contains("its 0 cells")
    });
    place.weir(&["kpis", "apply"]).exits(2).says(&["nothing was changed", "--yes"]);
    assert_eq!(generation(port, &token), before, "nothing was decided");

    let stop = Arc::new(AtomicBool::new(false));
    let requests = answered(port);
    let (seen, figures) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(port, &token, "my_orders", &stop));
        let following = scope.spawn(|| follower(port, &token, "my_orders", &stop));
        std::thread::sleep(Duration::from_millis(500));
        let told = apply(&place);
        assert_eq!(told["effect"], "taken", "{told}");
        assert!(
            told["note"].as_str().unwrap().contains("is in force, as of the barrier"),
            "{told}"
        );
        waits_for(port, &token, "my_orders", count(301, statuses(true)));
        std::thread::sleep(Duration::from_millis(1_500));
        stop.store(true, Ordering::SeqCst);
        (asking.join().unwrap(), following.join().unwrap())
    });
    let told = |wide| vec![count(301, statuses(wide)).to_string()];
    assert_eq!(seen, [told(false), told(true)], "the old value, then the new one");
    println!("{figures}");
    assert!(figures.compared > 2 && figures.lost == 1 && figures.restarted == 1, "{figures}");
    assert!(run.is_running() && run.pid() == pid);
    assert!(answered(port) > requests, "what is counted goes on");
    assert_ne!(generation(port, &token), before, "other numbers are another life of the stream");
    waits_for(port, &token, "new_orders", count(301, &["placed"]));
    let gone = request("GET", port, "/api/v1/kpis?kpi=old_orders", Some(&token));
    assert_eq!(gone.status, 404, "{gone:?}");
    let meta = get(port, "/api/v1/meta", &token);
    wait_until("nothing is doubtful", SOON, || {
        get(port, "/api/v1/meta", &token)["degraded"] == false
    });
    assert!(!meta["kpis"].to_string().contains("old_orders"));

    // What comes from now on counts by the new definitions.
    append(&place, 301..400);
    waits_for(port, &token, "my_orders", count(400, statuses(true)));
    run.stops();
    place.succeeds(&["verify", "--deep"]);
    assert_clean(place.lake(), None, &Options::default());
    let left = place.weir(&["kpis", "get", "old_orders"]).exits(2);
    left.says(&["no KPI `old_orders`"]);
    // The next start has nothing to put in force.
    let done = place.succeeds(&["run", "--until-end"]);
    assert!(!done.stderr.contains("is put in force"), "{}", done.stderr);
}

#[test]
fn wrong_files_end_no_run_and_what_was_in_force_stays_so() {
    let place = place();
    define(&place, "my_orders", &["paid"]);
    append(&place, 0..30);
    let (mut run, port, token) = start(&place);
    waits_for(port, &token, "my_orders", count(30, &["paid"]));
    let file = place.path("kpis/my_orders.toml");
    let wrong = std::fs::read_to_string(&file).unwrap().replace("status IN", "statu IN");
    std::fs::write(&file, wrong).unwrap();
    let refused = place.weir(&["kpis", "apply", "--yes"]).exits(2);
    refused.says(&["my_orders.toml", "statu"]);

    // Somebody has decided all the same, before the file was wrong say.
    let control = place.lake().join("_weir/control.ndjson");
    let mut text = std::fs::read_to_string(&control).unwrap();
    let value = json!({ "v": 1, "id": "x", "at": "2030-01-01T00:00:00Z", "by": "test",
                        "kind": "definitions.apply", "body": {} });
    let line = json!({ "topic": "_weir.control", "partition": 0, "offset": 4_000_000_000_000_000_i64,
                       "timestamp": 1_772_360_000_000_i64, "key": "x", "value": value.to_string() });
    writeln!(text, "{line}").unwrap();
    std::fs::write(&control, text).unwrap();
    run.wait_for("changed definitions are not in force, and those from before are", SOON);
    let reasons = || get(port, "/api/v1/meta", &token)["reasons"].to_string();
    wait_until("answers say so", SOON, || reasons().contains("my_orders.toml"));
    assert_eq!(request("GET", port, "/readyz", None).status, 200, "it may be asked all the same");
    append(&place, 30..60);
    waits_for(port, &token, "my_orders", count(60, &["paid"]));
    assert!(!run.log().contains("the run ends for another one"), "{}", run.log());

    // Settings of the process stay; others are taken up.
    define(&place, "my_orders", &["placed", "paid"]);
    let configuration = place.path("weir.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::write(&configuration, text.replace("127.0.0.1:0", "127.0.0.1:1")).unwrap();
    // On a busy machine it may still be waiting when the command ends.
    assert_ne!(apply(&place)["effect"], "at_next_start");
    waits_for(port, &token, "my_orders", count(60, &["placed", "paid"]));
    wait_until("answers say so no longer", SOON, || reasons() == "[]");
    let said = "api.listen: what the files say of it by now is not used before a restart";
    assert!(run.log().contains(said), "{}", run.log());
    run.stops();
    place.succeeds(&["verify", "--deep"]);
}

#[test]
fn a_reload_loses_and_doubles_nothing_under_kills() {
    let mut rng = seeded("kills around reloads");
    let place = place();
    let of =
        |round: u64| if round.is_multiple_of(2) { &["paid"][..] } else { &["placed", "paid"][..] };
    define(&place, "my_orders", of(1));
    append(&place, 0..100);
    place.succeeds(&["run", "--until-end"]);
    let mut reloaded = 0;
    for round in 0..KILLS {
        let mut run = place.start(&["run"]);
        ready(port(&mut run));
        define(&place, "my_orders", of(round));
        let from = 100 + 50 * usize::try_from(round).unwrap();
        append(&place, from..from + 50);
        let command = place.start(&["kpis", "apply", "--yes"]);
        run.wait_for("are to be read again", SOON);
        std::thread::sleep(Duration::from_millis(rng.random_range(0..900)));
        reloaded += u32::from(run.log().contains("another run serves"));
        assert!(run.kill(), "ended by itself");
        command.wait(SOON).exits(0);
    }
    println!("{reloaded} of {KILLS} kills came after the reload");
    place.succeeds(&["run", "--until-end"]);
    let all = 100 + 50 * usize::try_from(KILLS).unwrap();
    let answer = place.succeeds(&["kpis", "get", "my_orders", "--grain", "day", "--json"]).json();
    let rows = crate::surface::rows(&answer);
    assert_eq!(rows.len(), 1, "{answer}");
    assert_eq!(rows[0]["value"], count(all, of(KILLS - 1)).to_string());
    place.succeeds(&["verify", "--deep"]);
    assert_clean(place.lake(), None, &Options::default());
}

/// Damages the file of current values: the KPI's numbers in it are others.
fn damage_current(place: &Place, kpi: &str) {
    let table = place.lake().join("gold/kpi_current");
    let files = std::fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|own| own == "parquet"));
    assert!(files.filter(|path| damage(path, kpi)).count() > 0, "nothing was damaged");
}

#[test]
fn a_kpi_is_computed_anew_by_decision() {
    let place = place();
    define(&place, "my_orders", &["paid"]);
    stream_of(&place.path("input/a.ndjson"), &records(&options(75, 1_500)));
    place.weir(&["kpis", "backfill", "orders", "--yes"]).exits(2).says(&["lake"]);
    place.succeeds(&["run", "--until-end"]);
    place.weir(&["kpis", "backfill", "order"]).exits(2).says(&["did you mean `orders`?"]);
    let told = place.succeeds(&["kpis", "backfill", "orders", "--dry-run", "--json"]).json();
    assert!(told["cells"].as_u64().unwrap() >= 6, "{told}");
    place.weir(&["kpis", "backfill", "orders"]).exits(2).says(&["nothing was changed"]);

    // Nobody runs: the next run of any kind does it, and ends as it always does.
    damage_current(&place, "orders");
    place.weir(&["verify"]).exits(1);
    let told = place.succeeds(&["kpis", "backfill", "orders", "--yes", "--json"]).json();
    assert_eq!(told["effect"], "at_next_start", "{told}");
    let done = place.succeeds(&["run", "--until-end"]);
    done.says(&["the KPI `orders` is computed anew from silver, as was decided"]);
    place.succeeds(&["verify", "--deep"]);
    let done = place.succeeds(&["run", "--until-end"]);
    assert!(!done.stderr.contains("computed anew from silver"), "once: {}", done.stderr);

    // Weir runs: it goes on in the same process, and a file that has changed and was not applied stays so.
    let (mut run, port, token) = start(&place);
    let (pid, before) = (run.pid(), generation(port, &token));
    define(&place, "my_orders", &["placed"]);
    damage_current(&place, "orders");
    let stop = Arc::new(AtomicBool::new(false));
    let seen = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(port, &token, "my_orders", &stop));
        let told = place.succeeds(&["kpis", "backfill", "orders", "--yes", "--json"]).json();
        assert_eq!(told["effect"], "taken", "{told}");
        let note = told["note"].as_str().unwrap();
        assert!(note.contains("it is computed anew, as of the barrier"), "{told}");
        run.wait_for("another run serves", SOON);
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::SeqCst);
        asking.join().unwrap()
    });
    assert_eq!(seen.len(), 1, "one answer, whatever the file says by now: {seen:?}");
    assert!(!seen[0].is_empty());
    assert!(run.log().contains("the KPI `orders` is computed anew from silver"), "{}", run.log());
    assert_eq!(run.pid(), pid);
    assert_ne!(generation(port, &token), before, "whoever heard wrong numbers gets all of them");
    run.stops();
    place.succeeds(&["verify", "--deep"]);
}
