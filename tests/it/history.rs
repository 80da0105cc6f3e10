//! The KPI history of the binary: closed once, once a minute, and complete after a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use harness::Options;
use harness::history::HistoryRow;
use harness::tables::{read_all_history, read_current, read_history};
use serde_json::json;

use crate::support::{Place, assert_clean, definitions};

const MINUTE: i64 = 60_000_000;

/// A line of the only order: placed then, at this amount.
fn order(offset: i64, placed_at: &str, amount: i64, timestamp_ms: Option<i64>) -> String {
    let row = json!({
        "order_id": "a", "tenant_id": "t", "status": "paid", "amount": amount.to_string(),
        "currency": "USD", "placed_at": placed_at, "updated_at": placed_at,
    });
    line("shop.public.orders", offset, &row, timestamp_ms)
}

/// A line of the only charge.
fn charge(offset: i64, start: &str, cost: i64, timestamp_ms: Option<i64>) -> String {
    let row = json!({
        "charge_id": "c", "tenant_id": "t", "service_name": "s", "charge_category": "Usage",
        "billed_cost": cost.to_string(), "effective_cost": cost.to_string(), "billing_currency": "USD",
        "charge_period_start": start, "charge_period_end": start, "updated_at": start,
    });
    line("shop.public.costs", offset, &row, timestamp_ms)
}

fn line(topic: &str, offset: i64, row: &serde_json::Value, timestamp_ms: Option<i64>) -> String {
    let source = json!({ "lsn": 100 + offset, "snapshot": "false" });
    let value = json!({ "op": "u", "after": row, "source": source }).to_string();
    let record = json!({
        "topic": topic, "partition": 0, "offset": offset, "timestamp": timestamp_ms,
        "key": "{}", "value": value,
    });
    format!("{record}\n")
}

fn append(place: &Place, file: &str, lines: &str) {
    let path = place.path(file);
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

fn history(place: &Place) -> Vec<HistoryRow> {
    let mut rows = read_history(place.lake()).unwrap().unwrap().rows;
    rows.sort_by(|a, b| (&a.cell, a.as_of, a.restatement).cmp(&(&b.cell, b.as_of, b.restatement)));
    rows
}

fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "records come on the product's clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// The newest row of each cell is its current value; nothing is closed twice.
fn assert_whole(place: &Place) {
    let rows = history(place);
    let mut newest = BTreeMap::new();
    let mut closed = BTreeSet::new();
    for row in &rows {
        newest.insert(&row.cell, row.value);
        assert_eq!(row.restatement, closed.contains(&row.cell), "{row:?}");
        if row.closed {
            closed.insert(&row.cell);
        }
    }
    let current = read_current(place.lake()).unwrap().unwrap().rows;
    for (cell, (value, ..)) in &current {
        assert_eq!(newest.get(cell), Some(value), "{cell:?}");
    }
    assert_clean(place.lake(), None, &Options::default());
    place.succeeds(&["verify"]);
}

#[test]
fn a_past_year_is_closed_once_and_then_restated() {
    let place = Place::new();
    place.configure_files("");
    for (offset, amount) in (0..).zip([10, 20, 30]) {
        append(&place, "input/a.ndjson", &order(offset, "2025-03-01T10:00:00Z", amount, None));
        let done = place.succeeds(&["run", "--until-end"]);
        done.says(&["only teach what is usual"]);
        assert_whole(&place);
    }
    let rows = history(&place);
    let restated = rows.iter().filter(|row| row.restatement).count();
    let cells: BTreeSet<_> = rows.iter().map(|row| &row.cell).collect();
    // Of the KPIs of an order, by six grains, all but the number of orders change twice.
    assert_eq!(rows.len() - restated, cells.len(), "closed once");
    assert_eq!(restated, 2 * (cells.len() - 6), "restated at each change");
}

#[test]
fn after_a_batch_the_history_has_the_last_value() {
    let place = Place::new();
    place.configure_files("epoch.max_records = 1\n");
    let running = "2099-01-01T00:00:00Z";
    // Live and quiet changes of running and of closed cells, one an epoch.
    for (offset, at) in (0..8).zip([running, "2026-03-01T10:00:00Z"].into_iter().cycle()) {
        let timestamp = (offset % 4 < 2).then(now_ms);
        let lines =
            order(offset, at, 100 - offset, timestamp) + &charge(offset, at, offset, timestamp);
        append(&place, "input/a.ndjson", &lines);
    }
    place.succeeds(&["run", "--until-end"]);
    assert_whole(&place);
    let before = history(&place);
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(history(&place), before, "nothing is left for the next start");
}

#[test]
fn a_topic_that_lags_by_a_minute_writes_a_row_a_minute() {
    let place = Place::new();
    place.configure_files("lake.barrier_interval = \"500ms\"\n");
    std::fs::create_dir_all(place.path("input")).unwrap();
    let run = place.start(&["run"]);
    let running = "2099-01-01T00:00:00Z";
    for offset in 0..60 {
        let mut lines = order(offset, running, 10 + offset, Some(now_ms()));
        write!(lines, "{}", charge(offset, running, offset, Some(now_ms() - 61_000))).unwrap();
        append(&place, "input/a.ndjson", &lines);
        std::thread::sleep(Duration::from_millis(150));
    }
    run.stops();
    let rows = history(&place);
    let mut last = BTreeMap::new();
    for row in &rows {
        let before = last.insert(&row.cell, row.as_of);
        let waited = before.is_none_or(|before| row.as_of - before >= MINUTE);
        assert!(row.closed || waited, "a second row within the minute: {row:?}");
    }
    assert!(last.len() >= 12, "{} cells", last.len());
    assert_clean(place.lake(), None, &Options::default());
    place.succeeds(&["verify"]);
}

/// A line of an order that was placed then.
fn placed(offset: i64, order: &str, status: &str, placed_at: &str) -> String {
    let row = json!({
        "order_id": order, "tenant_id": "t", "status": status, "amount": "1",
        "currency": "USD", "placed_at": placed_at, "updated_at": placed_at,
    });
    line("shop.public.orders", offset, &row, None)
}

/// What the history says of the days of a KPI: start, value, closed, restatement, and when.
fn days_of(place: &Place, kpi: &str) -> Vec<(String, Option<i128>, bool, bool, i64)> {
    let rows = read_all_history(place.lake()).unwrap().unwrap().rows;
    let own = rows.iter().filter(|row| row.cell.kpi == kpi && row.cell.grain == "day");
    let mut told: Vec<_> = own
        .map(|row| {
            let (start, value) = (schemas::Micros(row.cell.start).to_string(), row.value.value);
            let value = value.map(|value| value / 10_i128.pow(10));
            (start, value, row.closed, row.restatement, row.as_of)
        })
        .collect();
    told.sort_by(|a, b| (&a.0, a.4).cmp(&(&b.0, b.4)));
    told
}

#[test]
fn a_changed_definition_restates_what_was_closed_when_it_comes_into_force() {
    let place = Place::new();
    let folder = place.path("kpis");
    std::fs::create_dir_all(&folder).unwrap();
    let define = |status: &str| {
        let more = format!("filter = \"status = '{status}'\"\n");
        let text = definitions::count_of("own", "orders", "placed_at", &more);
        std::fs::write(folder.join("own.toml"), text).unwrap();
    };
    place.configure_files(&format!("gold.definitions = {folder:?}\n"));
    let (both, paid_only) = ("2025-03-01T10:00:00Z", "2025-04-01T10:00:00Z");
    let running = "2099-01-01T10:00:00Z";
    let orders = [
        ("a", "paid", both),
        ("b", "placed", both),
        ("c", "placed", both),
        ("d", "paid", paid_only),
        ("e", "paid", running),
    ];
    let lines = (0..).zip(orders).map(|(at, (id, status, day))| placed(at, id, status, day));
    append(&place, "input/a.ndjson", &lines.collect::<String>());
    define("paid");
    place.succeeds(&["run", "--until-end"]);
    let first = days_of(&place, "own");
    let said: Vec<_> =
        first.iter().map(|(_, value, closed, again, _)| (*value, *closed, *again)).collect();
    assert_eq!(said, [(Some(1), true, false), (Some(1), true, false), (Some(1), false, false)]);

    define("placed");
    let before = now_ms() * 1_000;
    place.succeeds(&["run", "--until-end"]);
    let told = days_of(&place, "own");
    let (since, old): (Vec<_>, Vec<_>) = told.into_iter().partition(|row| row.4 >= before);
    assert_eq!(old, first, "what was said before stays, and nothing is dated back");
    let said = since.iter().map(|(day, value, closed, again, _)| (&**day, *value, *closed, *again));
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            ("2025-03-01T00:00:00Z", Some(2), true, true),
            ("2025-04-01T00:00:00Z", None, true, true),
            ("2099-01-01T00:00:00Z", None, false, false),
        ]
    );
    place.succeeds(&["verify"]);
}
