//! Windows from outside: the table, the command and REST, over rows that come, change and go, against sums by
//! hand.

use std::time::{SystemTime, UNIX_EPOCH};

use schemas::Micros;
use serde_json::{Value, json};

use super::{SOON, get, mint, port, ready};
use crate::support::http::request;
use crate::support::{Place, wait_until};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// How long ago orders were placed: each is one of windows that the ones after it are not of. The last is of a
/// day to come.
const PLACED: [i64; 7] =
    [0, 26 * HOUR, 8 * DAY, 32 * DAY, 95 * DAY, 20_000 * DAY, -(2 * DAY + 3 * HOUR)];
/// Windows with how many days they have, but for that of hours.
const WINDOWS: [(&str, Option<i64>); 5] = [
    ("last_24h", None),
    ("last_7d", Some(7)),
    ("last_30d", Some(30)),
    ("last_90d", Some(90)),
    ("all", Some(i64::MAX)),
];

#[expect(clippy::disallowed_methods, reason = "the process under test reads the same clock")]
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// Where a window lies at an instant.
fn period(days: Option<i64>, now: i64) -> (i64, i64) {
    let end = |unit: i64| (now.div_euclid(unit) + 1) * unit;
    match days {
        None => (end(HOUR) - DAY, end(HOUR)),
        Some(i64::MAX) => (0, end(DAY)),
        Some(days) => (end(DAY) - days * DAY, end(DAY)),
    }
}

fn line(offset: usize, id: usize, row: Option<(i64, i64)>) -> String {
    let id = format!("o{id}");
    let after = row.map(|(amount, at)| {
        json!({
            "order_id": id, "tenant_id": "t", "status": "paid", "amount": amount.to_string(),
            "currency": "EUR", "placed_at": Micros(at).to_string(),
            "updated_at": "2026-01-01T00:00:00Z",
        })
    });
    let source = json!({"lsn": 100 + offset, "ts_ms": 1_000});
    let before = after.is_none().then(|| json!({"order_id": id}));
    let op = if after.is_some() { "u" } else { "d" };
    let value = json!({"op": op, "before": before, "after": after, "source": source}).to_string();
    let record = json!({
        "topic": "shop.public.orders", "partition": 0, "offset": offset,
        "key": json!({"order_id": id}).to_string(), "value": value,
    });
    format!("{record}\n")
}

/// Window, start, end and value of the only row of each window that there is.
fn by_hand(orders: &[(i64, i64)], now: i64) -> Vec<[String; 4]> {
    let mut rows = Vec::new();
    for (window, days) in WINDOWS {
        let (start, end) = period(days, now);
        let own: Vec<i64> =
            orders.iter().filter(|own| (start..end).contains(&own.1)).map(|own| own.0).collect();
        if !own.is_empty() {
            let sum = own.iter().sum::<i64>().to_string();
            let [start, end] = [start, end].map(|at| Micros(at).to_string());
            rows.push([window.to_owned(), start, end, sum]);
        }
    }
    rows
}

fn told(cells: &Value) -> Vec<[String; 4]> {
    let text = |cell: &Value, name: &str| cell[name].as_str().unwrap().to_owned();
    let one = |cell: &Value| {
        ["grain", "period_start", "period_end", "value"].map(|name| text(cell, name))
    };
    cells.as_array().unwrap().iter().map(one).collect()
}

/// What the table says is the sum by hand, at the instant that it is of.
fn table_is_as_by_hand(place: &Place, orders: &[(i64, i64)]) {
    place.succeeds(&["run", "--until-end"]);
    let mut rows = Vec::new();
    let mut clock = 0;
    for (window, _) in WINDOWS {
        let asked = ["kpis", "get", "revenue_booked", "--grain", window, "--json"];
        let answer = place.succeeds(&asked).json();
        clock = Micros::parse(answer["as_of"].as_str().unwrap()).unwrap().0;
        rows.extend(told(&answer["cells"]));
    }
    assert_eq!(rows, by_hand(orders, clock));
    place.succeeds(&["verify"]);
    let all = place.succeeds(&["kpis", "get", "revenue_booked", "--json"]).json();
    let is_window = |cell: &Value| cell["grain"].as_str().unwrap().starts_with("last_");
    assert!(!all["cells"].as_array().unwrap().iter().any(is_window), "without being asked for");
}

#[test]
fn windows_are_sums_by_hand_wherever_they_are_asked_for() {
    let place = Place::new();
    place.configure_files("");
    let now = now();
    let amounts = (0..).map(|power| 10_i64.pow(power));
    let mut orders: Vec<(i64, i64)> = amounts.zip(PLACED.map(|ago| now - ago)).collect();
    let lines: String =
        orders.iter().enumerate().map(|(id, own)| line(id, id, Some(*own))).collect();
    std::fs::write(place.path("input/a.ndjson"), lines).unwrap();
    table_is_as_by_hand(&place, &orders);

    // One goes, one is another amount, and one is another day's.
    orders[4].0 = 7_000_000;
    orders[2].1 = now;
    let changes = [line(7, 4, Some(orders[4])), line(8, 2, Some(orders[2])), line(9, 1, None)];
    std::fs::write(place.path("input/b.ndjson"), changes.concat()).unwrap();
    orders.remove(1);
    table_is_as_by_hand(&place, &orders);

    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let ask = |window: &str| {
        get(port, &format!("/api/v1/kpis?kpi=revenue_booked&grain={window}"), &token)
    };
    wait_until("windows are served", SOON, || {
        let mut rows = Vec::new();
        for (window, _) in WINDOWS {
            rows.extend(told(&ask(window)["kpis"]));
        }
        // Windows move while they are asked for, at most once.
        let now = Micros::parse(ask("all")["as_of"].as_str().unwrap()).unwrap().0;
        rows == by_hand(&orders, now)
    });
    for (path, says) in [
        ("/api/v1/kpis/revenue_booked/series?grain=last_7d", "`last_7d` has no history"),
        ("/api/v1/kpis?grain=all&from=2026-01-01", "`all` is one period, which moves"),
        ("/api/v1/kpis?grain=last_8d", "or a window, last_24h, last_7d, last_30d, last_90d or all"),
    ] {
        let answer = request("GET", port, path, Some(&token));
        assert_eq!(answer.status, 400, "{path}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{path}: {detail}");
    }
    let meta = get(port, "/api/v1/meta", &token);
    let kpis = meta["kpis"].as_array().unwrap();
    let windows = WINDOWS.map(|(window, _)| window);
    assert!(kpis.iter().any(|kpi| kpi["windows"] == json!(windows)), "{meta}");
    run.stops();
}
