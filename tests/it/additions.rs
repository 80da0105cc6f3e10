//! Topics, tables and KPIs that are added to a lake: each is built, and nothing else is.

use std::fmt::Write as _;

use harness::Options;
use serde_json::{Value, json};

use crate::support::stream::{append, options, records};
use crate::support::{Done, Place, assert_clean, cells, definitions};

/// The KPI `refund_count` over refunds, or over another contract.
fn refund_kpi(contract: &str, time: &str) -> String {
    definitions::count_of("refund_count", contract, time, "")
}

/// Said of a start that lost what was computed or published before.
const LOSSES: [&str; 3] =
    ["no barrier is whole", "new stream generation", "written by another release"];

/// A place whose source knows these topics beside those of orders and costs.
fn configure(place: &Place, more: &str) {
    for folder in ["contracts", "kpis"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    let (contracts, kpis) = (place.path("contracts"), place.path("kpis"));
    place.configure_files(&format!(
        "contracts.definitions = {contracts:?}\ngold.definitions = {kpis:?}\n"
    ));
    let file = place.path("weir.toml");
    let text = std::fs::read_to_string(&file).unwrap() + more;
    std::fs::write(file, text).unwrap();
}

/// Refunds, every third of them changed once and every fifth deleted, and how many are left.
fn refunds(topic: &str, from: u32, to: u32) -> (String, usize) {
    let (mut lines, mut left, mut offset) = (String::new(), 0, from * 3);
    let mut push = |id: u32, op: &str, lsn: u32| {
        let row = json!({
            "refund_id": id.to_string(), "tenant_id": "t", "amount": format!("{id}.5"),
            "made_at": "2026-03-01T10:00:00Z",
        });
        let (before, after) = if op == "d" { (row, Value::Null) } else { (Value::Null, row) };
        let source = json!({ "lsn": lsn, "ts_ms": 1_700_000_000_000_u64 + u64::from(lsn) });
        let value = json!({ "op": op, "before": before, "after": after, "source": source });
        let key = json!({ "refund_id": id.to_string() }).to_string();
        let record = json!({
            "topic": topic, "partition": 0, "offset": offset, "key": key, "value": value.to_string(),
        });
        writeln!(lines, "{record}").unwrap();
        offset += 1;
    };
    for id in from..to {
        push(id, "c", id * 3 + 1);
        if id % 3 == 0 {
            push(id, "u", id * 3 + 2);
        }
        if id % 5 == 0 {
            push(id, "d", id * 3 + 3);
        } else {
            left += 1;
        }
    }
    (lines, left)
}

fn run(place: &Place) -> Done {
    place.succeeds(&["run", "--until-end"])
}

#[track_caller]
fn loses_nothing(done: Done) -> Done {
    for said in LOSSES {
        assert!(!done.stderr.contains(said), "`{said}`:\n{}", done.stderr);
    }
    done
}

/// The day values of the KPI that was added.
fn refund_count(place: &Place) -> Value {
    let answer =
        place.succeeds(&["kpis", "get", "refund_count", "--grain", "day", "--json"]).json();
    let rows = crate::surface::rows(&answer);
    rows.iter().map(|row| row["value"].clone()).collect()
}

#[test]
fn a_table_that_is_added_is_built_alone_from_records_that_came_before_it() {
    let place = Place::new();
    configure(&place, "");
    append(&place.path("input/a.ndjson"), &records(&options(71, 4_000)));
    let (lines, left) = refunds("shop.public.refunds", 0, 300);
    let count = lines.lines().count();
    std::fs::write(place.path("input/b.ndjson"), lines).unwrap();
    run(&place);
    let before = cells(place.lake());

    // A contract and its topic: its records are in bronze, as records of no contract.
    let made_at = "{ name = \"made_at\", type = \"timestamp\" },\n";
    let contract = definitions::refunds("decimal(18,4)", made_at);
    std::fs::write(place.path("contracts/refunds.toml"), contract).unwrap();
    configure(&place, "\"shop.public.refunds\" = \"refunds\"\n");
    let done = loses_nothing(run(&place));
    let done =
        done.says(&["silver/refunds; all other tables are loaded", &format!("records={count} ")]);
    assert!(!done.stderr.contains("silver/orders"), "{}", done.stderr);
    assert_eq!(cells(place.lake()), before);
    place.succeeds(&["verify", "--deep"]);
    assert_clean(place.lake(), None, &Options::default());

    // A KPI over it: from its rows, which are there.
    std::fs::write(place.path("kpis/refund_count.toml"), refund_kpi("refunds", "made_at")).unwrap();
    let done = run(&place);
    assert!(!done.stderr.contains("built from bronze"), "{}", done.stderr);
    assert_eq!(refund_count(&place), json!([left.to_string()]));
    assert_eq!(cells(place.lake()), before);
    place.succeeds(&["verify"]);

    // Nothing was added, then a topic without records: nothing is built.
    for topic in ["", "\"shop.public.refunds_old\" = \"refunds\"\n"] {
        configure(&place, &format!("\"shop.public.refunds\" = \"refunds\"\n{topic}"));
        let done = loses_nothing(run(&place));
        assert!(!done.stderr.contains("built from bronze"), "{topic}: {}", done.stderr);
    }
    let (lines, more) = refunds("shop.public.refunds_old", 1_000, 1_100);
    std::fs::write(place.path("input/c.ndjson"), lines).unwrap();
    let done = loses_nothing(run(&place));
    assert!(!done.stderr.contains("built from bronze"), "{}", done.stderr);
    assert_eq!(refund_count(&place), json!([(left + more).to_string()]));
    place.succeeds(&["verify"]);

    // The same from nothing.
    let fresh = Place::new();
    for folder in ["input", "contracts", "kpis"] {
        crate::support::copy(&place.path(folder), &fresh.path(folder));
    }
    configure(
        &fresh,
        "\"shop.public.refunds\" = \"refunds\"\n\"shop.public.refunds_old\" = \"refunds\"\n",
    );
    run(&fresh);
    assert_eq!(cells(fresh.lake()), before);
    assert_eq!(refund_count(&fresh), refund_count(&place));
}

#[test]
fn a_kpi_that_is_taken_away_takes_nothing_with_it() {
    let place = Place::new();
    configure(&place, "");
    append(&place.path("input/a.ndjson"), &records(&options(72, 4_000)));
    std::fs::write(place.path("kpis/refund_count.toml"), refund_kpi("orders", "placed_at"))
        .unwrap();
    run(&place);
    let before = cells(place.lake());
    std::fs::remove_file(place.path("kpis/refund_count.toml")).unwrap();
    let done = run(&place);
    for said in ["no barrier is whole", "built from bronze", "replayed bronze"] {
        assert!(!done.stderr.contains(said), "`{said}`:\n{}", done.stderr);
    }
    assert_eq!(cells(place.lake()), before);
    place.succeeds(&["verify", "--deep"]);
}
