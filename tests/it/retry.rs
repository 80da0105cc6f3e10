//! Dead letters that are read again: by a contract that allows more, and where a value has become known.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::Options;
use harness::event::Cell;
use harness::tables::read_silver;
use rand::Rng;
use schemas::Contract;
use serde_json::{Value, json};

use crate::kills::Kills;
use crate::sources::append;
use crate::support::{Place, assert_clean, cells, seeded, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// Starts of one test.
const STARTS: u64 = 15;

/// Kills of one test.
const KILLS: u64 = 10;

const FAST: &str = "lake.flush_interval = \"50ms\"\nlake.barrier_interval = \"200ms\"\n";

/// A change of an order: where its record lies, where it stands in the source, and what is not as usual.
fn change(key: &str, (partition, offset): (i32, u64), lsn: u64, more: &Value) -> String {
    let mut row = json!({
        "order_id": key, "tenant_id": "t", "status": "paid", "amount": "10", "currency": "EUR",
        "placed_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
    });
    for (name, value) in more.as_object().unwrap() {
        row[name] = value.clone();
    }
    let source = json!({
        "connector": "postgresql", "name": "shop", "db": "eu", "schema": "public", "table": "orders",
        "lsn": lsn, "sequence": format!("[\"{}\",\"{lsn}\"]", lsn - 1), "ts_ms": 1_772_359_200_000 + lsn,
        "snapshot": "false",
    });
    let value = json!({ "op": "u", "after": row, "source": source }).to_string();
    let record = json!({
        "topic": "shop.public.orders", "partition": partition, "offset": offset,
        "key": json!({ "order_id": key }).to_string(), "value": value,
    });
    format!("{record}\n")
}

const ORDERS: &str = include_str!("../../schemas/contracts/tables/orders.toml");

/// The contract of orders with these values of `status`, in a folder of its own.
fn contract(place: &Place, values: &str) {
    let own = ORDERS.replace("\"refunded\"] }", values);
    assert_ne!(own, ORDERS);
    std::fs::create_dir_all(place.path("contracts")).unwrap();
    std::fs::write(place.path("contracts/orders.toml"), own).unwrap();
}

/// `check` and `sources list` count dead letters and rows in doubt, and say what to do.
#[track_caller]
fn what_waits_is_told(place: &Place, letters: u64, rows: u64) {
    let records = if letters == 1 { "1 record of" } else { &format!("{letters} records of") };
    let dead = format!("{records} topic `shop.public.orders` could not be decoded");
    let doubt =
        "1 row is in doubt, of shop.eu.public.orders: the newest change could not be decoded of 1";
    for command in [["check"].as_slice(), &["sources", "list"]] {
        let said = place.succeeds(command).stdout;
        for says in [&dead, "`weir dead-letters list --topic shop.public.orders --json`"] {
            assert!(said.contains(says), "{says}: {said}");
        }
        let is_told = said.contains(doubt) && said.contains("retry --contract orders --dry-run");
        assert_eq!(is_told, rows > 0, "{said}");
    }
    let list = place.succeeds(&["sources", "list", "--json"]).json();
    let orders = list.as_array().unwrap().iter().find(|own| own["table"] == "orders").unwrap();
    assert_eq!(orders["dead_letters"][0]["dead_letters"], letters, "{orders}");
    let in_doubt = &orders["origins"][0]["in_doubt"];
    assert_eq!(in_doubt, &json!({ "dead_letter": rows, "unknown": 0 }), "{orders}");
}

/// The ids of the letters that are listed with these flags.
fn letters(place: &Place, flags: &[&str]) -> Vec<String> {
    let arguments = [&["dead-letters", "list", "--json"], flags].concat();
    let list = place.succeeds(&arguments).json();
    let ids = list["dead_letters"].as_array().unwrap().iter();
    ids.map(|letter| letter["id"].as_str().unwrap().to_owned()).collect()
}

/// Key, status, amount and position of every order in silver.
fn orders(lake: &Path) -> Vec<[String; 4]> {
    let contract = Contract::parse(ORDERS).unwrap();
    let silver = read_silver(lake, &contract).unwrap().unwrap();
    let of = |cell: &Cell| match cell {
        Cell::Text(text) => text.clone(),
        other => format!("{other:?}"),
    };
    let column = |name: &str| contract.column(name).unwrap();
    let (key, status, amount) = (column("order_id"), column("status"), column("amount"));
    let rows = silver.rows.values();
    let one = |row: &harness::fold::SilverRow| {
        let cells = &row.row;
        [of(&cells[key]), of(&cells[status]), of(&cells[amount]), row.position.clone()]
    };
    let mut all: Vec<_> = rows.map(one).collect();
    all.sort();
    all
}

fn statuses(lake: &Path) -> Vec<[String; 2]> {
    orders(lake).into_iter().map(|[key, status, ..]| [key, status]).collect()
}

fn pairs(pairs: &[[&str; 2]]) -> Vec<[String; 2]> {
    pairs.iter().map(|pair| pair.map(str::to_owned)).collect()
}

/// Everything once more from bronze; the rows and cells are the same.
fn assert_rebuilt(place: &Place) {
    let before = (orders(place.lake()), cells(place.lake()));
    for folder in ["silver", "gold", "_weir/state", "_weir/ledger"] {
        std::fs::remove_dir_all(place.lake().join(folder)).unwrap();
    }
    place.succeeds(&["run", "--until-end"]);
    assert_eq!((orders(place.lake()), cells(place.lake())), before);
    place.succeeds(&["verify", "--deep"]);
}

#[test]
fn what_a_contract_allows_now_is_read_again_and_nothing_is_built_for_it() {
    let place = Place::new();
    let folder = place.path("contracts");
    place.configure_files(&format!("{FAST}contracts.definitions = {folder:?}\n"));
    contract(&place, "\"refunded\"], strict = true }");
    let canceled = json!({ "status": "canceled" });
    append(
        &place,
        &[
            change("a", (0, 0), 100, &json!({})),
            change("a", (0, 1), 110, &canceled),
            change("b", (0, 2), 120, &canceled),
            change("c", (0, 3), 130, &canceled),
            change("c", (0, 4), 140, &json!({ "status": "placed" })),
            change("d", (0, 5), 150, &json!({ "status": "never" })),
        ],
    );
    place.succeeds(&["run", "--until-end"]);
    let ids = letters(&place, &[]);
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(statuses(place.lake()), pairs(&[["a", "paid"], ["c", "placed"]]));
    what_waits_is_told(&place, 4, 1);
    place
        .weir(&["dead-letters", "retry", &ids[0], "--yes"])
        .exits(2)
        .says(&["none of them can be"]);

    // Allowed from here on: that builds nothing, and what was a dead letter stays one.
    contract(&place, "\"refunded\", \"canceled\"], strict = true }");
    let all = ["dead-letters", "retry", "--contract", "orders"];
    place.weir(&[&all[..], &["--yes"]].concat()).exits(2).says(&["not the one in force"]);
    let mut run = place.start(&["run"]);
    run.wait_for("contract `orders` is put in force", SOON);
    assert!(run.log().contains(&format!("the newest {}: ", ids[3])), "{}", run.log());
    wait_until("it is in force", SOON, || {
        place.weir(&[&all[..], &["--dry-run"]].concat()).code == Some(0)
    });
    let dry = place.succeeds(&[&all[..], &["--dry-run", "--json"]].concat()).json();
    assert_eq!((&dry["readable"], &dry["total"]), (&json!(3), &json!(4)), "{dry}");
    assert!(dry.to_string().contains("`never` is not one of"), "{dry}");
    place.weir(&all).exits(2).says(&["--yes"]);
    assert_eq!(letters(&place, &[]), ids);

    // One of them, beside a running Weir.
    let one = place.succeeds(&["dead-letters", "retry", &ids[0], "--yes", "--json"]).json();
    assert_eq!(one["effect"], "taken", "{one}");
    assert_eq!(letters(&place, &[]), ids[1..]);
    wait_until("its row is as it says", SOON, || {
        statuses(place.lake()) == pairs(&[["a", "canceled"], ["c", "placed"]])
    });
    // A later change, then all others, then the power goes.
    append(&place, &[change("b", (0, 6), 160, &json!({ "status": "refunded" }))]);
    wait_until("the later change is in silver", SOON, || statuses(place.lake()).len() == 3);
    let rest = place.succeeds(&[&all[..], &["--yes"]].concat());
    for says in
        ["2 dead letters of table `orders`", "not tried, because the contract cannot read them: 1"]
    {
        assert!(rest.stdout.contains(says), "{}", rest.stdout);
    }
    assert!(!run.log().contains("built"), "{}", run.log());
    assert!(run.kill());
    let again = place.succeeds(&["run", "--until-end"]);
    assert!(!again.stderr.contains("built"), "{}", again.stderr);
    let expected = pairs(&[["a", "canceled"], ["b", "refunded"], ["c", "placed"]]);
    assert_eq!(statuses(place.lake()), expected, "never as the newest");
    assert_eq!(letters(&place, &[]), ids[3..]);
    assert_eq!(letters(&place, &["--all"]), ids);
    what_waits_is_told(&place, 1, 0);
    place.succeeds(&["verify", "--deep"]);
    assert_rebuilt(&place);
    assert_eq!(letters(&place, &[]), ids[3..]);
}

#[test]
fn what_waits_for_a_start_is_judged_by_what_that_start_puts_in_force() {
    let place = Place::new();
    let folder = place.path("contracts");
    let start = |before: &str| {
        place.configure_files(&format!("{before}{FAST}contracts.definitions = {folder:?}\n"));
        place.succeeds(&["run", "--until-end"])
    };
    let (tight, loose) =
        ("\"refunded\"], strict = true }", "\"refunded\", \"canceled\"], strict = true }");
    place.configure_files("");
    contract(&place, tight);
    let canceled = json!({ "status": "canceled" });
    let keys = ["a", "b", "c"];
    let changes = (0..).zip(keys).map(|(at, key)| change(key, (0, at), 100 + 10 * at, &canceled));
    append(&place, &changes.collect::<Vec<_>>());
    start("");
    let ids = letters(&place, &[]);
    assert_eq!(ids.len(), keys.len());
    // Allowed, read again by decisions that wait, and refused again: more decisions than one poll takes.
    contract(&place, loose);
    start("");
    for id in &ids[..2] {
        let kept = place.succeeds(&["dead-letters", "retry", id, "--yes", "--json"]).json();
        assert_eq!(kept["effect"], "at_next_start", "{kept}");
    }
    contract(&place, tight);
    start("epoch.max_records = 2\n");
    assert_eq!(statuses(place.lake()), pairs(&[]));
    assert_eq!(letters(&place, &[]), ids);
    place.succeeds(&["verify", "--deep"]);
    // The other way round: what a start allows is read by it.
    contract(&place, loose);
    start("");
    let all = ["dead-letters", "retry", "--contract", "orders", "--yes", "--json"];
    assert_eq!(place.succeeds(&all).json()["effect"], "at_next_start");
    start("epoch.max_records = 2\n");
    assert_eq!(statuses(place.lake()), keys.map(|key| [key.to_owned(), "canceled".to_owned()]));
    place.succeeds(&["verify", "--deep"]);
    assert_rebuilt(&place);
}

#[test]
fn a_value_that_has_become_known_completes_its_letter_and_the_oracle_agrees() {
    let place = Place::new();
    place.configure_files(FAST);
    let left_out = json!({ "amount": "__debezium_unavailable_value", "status": "refunded" });
    append(
        &place,
        &[
            change("a", (0, 0), 300, &left_out),
            change("b", (0, 1), 310, &left_out),
            change("a", (1, 0), 200, &json!({ "amount": "7" })),
        ],
    );
    place.succeeds(&["run", "--until-end"]);
    let ids = letters(&place, &[]);
    assert_eq!(ids.len(), 2);
    let clean = || {
        place.succeeds(&["verify", "--deep"]);
        assert_clean(place.lake(), None, &Options::default());
    };
    clean();
    // Nobody runs: it takes effect at the next start. What nobody has sent is not known for `b`.
    let all = ["dead-letters", "retry", "--contract", "orders", "--yes", "--json"];
    assert_eq!(place.succeeds(&all).json()["effect"], "at_next_start");
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(statuses(place.lake()), pairs(&[["a", "refunded"]]));
    let listed = place.succeeds(&["dead-letters", "list", "--json"]).json();
    assert_eq!(letters(&place, &[]), ids[1..], "{listed}");
    clean();
    // Deletes, and the same letters once more: nothing comes back.
    append(&place, &[change("b", (1, 1), 250, &json!({ "amount": "8" }))]);
    place.succeeds(&["run", "--until-end"]);
    clean();
    place.succeeds(&["dead-letters", "retry", "--contract", "orders", "--yes"]);
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(statuses(place.lake()), pairs(&[["a", "refunded"], ["b", "refunded"]]));
    assert_eq!(letters(&place, &[]), [""; 0]);
    clean();
    assert_rebuilt(&place);
    clean();
}

/// A letter that leaves its amount out, and the older change that has it, which comes later.
fn letter_and_value(number: u64) -> [String; 2] {
    let key = format!("k{number:06}");
    let left_out = json!({ "amount": "__debezium_unavailable_value", "status": "refunded" });
    let lsn = 1_000 + 10 * number;
    let value = json!({ "amount": number.to_string() });
    [change(&key, (0, number), lsn, &left_out), change(&key, (1, number), lsn - 5, &value)]
}

#[test]
fn letters_read_again_under_kills_are_as_if_nothing_had_been_killed() {
    let mut rng = seeded("letters read again under kills");
    let place = Place::new();
    place.configure_files(FAST);
    append(&place, &[change("first", (0, 0), 500, &json!({}))]);
    place.succeeds(&["run", "--until-end"]);
    let stop = AtomicBool::new(false);
    let mut kills = Kills::new(&mut rng, &place, &["run"], 1_500);
    let retry = || place.weir(&["dead-letters", "retry", "--contract", "orders", "--yes"]);
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut number = 1;
            while !stop.load(Ordering::SeqCst) {
                let [letter, value] = letter_and_value(number);
                append(&place, &[letter]);
                retry();
                append(&place, &[value]);
                number += 1;
            }
            number
        });
        for _ in 0..KILLS {
            assert!(kills.once(), "ended by itself");
        }
        stop.store(true, Ordering::SeqCst);
        sending.join().unwrap()
    });
    assert!(kills.committed > 0 && sent > 3, "nothing was hit");
    // More than one decision carries.
    let many: Vec<String> = (sent..sent + 300).flat_map(letter_and_value).collect();
    append(&place, &many);
    place.succeeds(&["run", "--until-end"]);
    retry().exits(0);
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(letters(&place, &[]), [""; 0]);
    let told = orders(place.lake()).into_iter().filter(|[key, ..]| key.starts_with('k'));
    let told: Vec<_> = told.map(|[key, status, amount, _]| (key, status, amount)).collect();
    let last = |number: u64| {
        let amount = format!("{:?}", Cell::Decimal(i128::from(number) * 10_000));
        (format!("k{number:06}"), "refunded".to_owned(), amount)
    };
    assert_eq!(
        told,
        (1..sent + 300).map(last).collect::<Vec<_>>(),
        "the letter, with the value before it"
    );
    let clean = || {
        let proof = place.succeeds(&["verify", "--deep", "--json"]).json();
        let checks = proof["checks"].as_array().unwrap();
        assert!(checks.iter().any(|check| check["check"] == "letters"), "{proof}");
        assert_clean(place.lake(), None, &Options::default());
    };
    clean();
    assert_rebuilt(&place);
    clean();
}

#[test]
fn a_letter_that_no_source_has_sent_is_noticed() {
    let place = Place::new();
    place.configure_files(FAST);
    let left_out = json!({ "amount": "__debezium_unavailable_value" });
    append(&place, &[change("a", (0, 0), 300, &left_out), change("a", (1, 0), 200, &json!({}))]);
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["dead-letters", "retry", "--contract", "orders", "--yes"]);
    let file = place.lake().join("_weir/control.ndjson");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("paid"));
    std::fs::write(&file, text.replace("paid", "sold")).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(statuses(place.lake()), pairs(&[["a", "sold"]]));
    let proof = place.weir(&["verify", "--json"]).exits(1).json();
    let checks = proof["checks"].as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| check["status"] == "failed").collect();
    assert!(failed.len() == 1 && failed[0]["check"] == "letters", "{failed:?}");
}

/// What happens to one of twenty orders, in one of two partitions: sometimes out of order, sometimes after the
/// source went back, sometimes to all of them.
fn anything(rng: &mut impl Rng, offsets: &mut [u64; 2], lsn: &mut u64) -> String {
    let lane = rng.random_range(0..2_usize);
    offsets[lane] += 1;
    let place = (i32::try_from(lane).unwrap(), offsets[lane]);
    *lsn += 10;
    let at = if rng.random_bool(0.3) { *lsn - rng.random_range(11..60) } else { *lsn };
    let key = format!("k{}", rng.random_range(0..20));
    let more = match rng.random_range(0..10) {
        0..5 => json!({ "amount": at.to_string() }),
        5..9 => json!({ "amount": "__debezium_unavailable_value", "status": "refunded" }),
        _ => json!({ "amount": "1.23456" }),
    };
    let mut line: Value = serde_json::from_str(&change(&key, place, at, &more)).unwrap();
    let mut event: Value = serde_json::from_str(line["value"].as_str().unwrap()).unwrap();
    match rng.random_range(0..60) {
        0..9 => {
            (event["op"], event["after"]) = (json!("d"), Value::Null);
            event["before"] = json!({ "order_id": key });
        }
        9 => {
            (event["op"], event["after"]) = (json!("t"), Value::Null);
            line["key"] = Value::Null;
        }
        // A lower place at a later time: the origin halts, if the order is held.
        10 => event["source"]["ts_ms"] = json!(1_772_459_200_000_u64 + *lsn),
        _ => {}
    }
    line["value"] = event.to_string().into();
    format!("{line}\n")
}

#[test]
fn whatever_happens_between_letters_and_retries_three_folds_agree() {
    let mut rng = seeded("letters, retries and all else");
    let place = Place::new();
    place.configure_files(FAST);
    let (mut offsets, mut lsn) = ([0, 0], 1_000);
    for _ in 0..STARTS {
        let lines: Vec<String> = (0..rng.random_range(2..9))
            .map(|_| anything(&mut rng, &mut offsets, &mut lsn))
            .collect();
        append(&place, &lines);
        // A halted table ends a batch run with an error, and the lake is as good as any.
        drop(place.weir(&["run", "--until-end"]));
        if rng.random_bool(0.3) {
            place.weir(&["tables", "resume", "orders"]);
        }
        match rng.random_range(0..6) {
            0..4 => {
                let listed = letters(&place, &[]);
                for id in listed.iter().filter(|_| rng.random_bool(0.6)) {
                    place.weir(&["dead-letters", "retry", id, "--yes"]);
                }
            }
            4 => {
                place.weir(&["dead-letters", "retry", "--contract", "orders", "--yes"]);
            }
            _ => {
                let listed = letters(&place, &[]);
                for id in listed.iter().take(1) {
                    place.weir(&["dead-letters", "drop", id, "--yes"]);
                }
            }
        }
    }
    drop(place.weir(&["run", "--until-end"]));
    let listed = place.succeeds(&["dead-letters", "list", "--all", "--json"]).json();
    let is_read = |letter: &&Value| letter["read"] == true;
    let read = listed["dead_letters"].as_array().unwrap().iter().filter(is_read).count();
    assert!(read > 2, "{read} were read again");
    let clean = || {
        let proof = place.succeeds(&["verify", "--json"]).json();
        assert_eq!(proof["failed"], 0, "{proof}");
        assert_clean(place.lake(), None, &Options::default());
        (orders(place.lake()), cells(place.lake()))
    };
    let before = clean();
    println!(
        "{} orders, {read} letters read again, {} still listed",
        before.0.len(),
        letters(&place, &[]).len()
    );
    for folder in ["silver", "gold", "_weir/state", "_weir/ledger"] {
        std::fs::remove_dir_all(place.lake().join(folder)).unwrap();
    }
    drop(place.weir(&["run", "--until-end"]));
    assert_eq!(clean(), before);
}
