//! `as_of` of a running process: what a cell said before it changed is still told.

use std::time::Duration;

use schemas::Micros;
use serde_json::{Value, json};

use super::{get, mint, port, ready};
use crate::support::http::request;
use crate::support::stream::options;
use crate::support::{Place, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// One line of the file source: an order of a day that is over.
fn order(offset: u32, amount: &str, placed_at: &str) -> String {
    let row = json!({
        "order_id": "o1", "tenant_id": "t", "status": "paid", "amount": amount, "currency": "EUR",
        "channel": "web", "placed_at": placed_at, "updated_at": placed_at,
    });
    let source = json!({"lsn": 100 + offset, "ts_ms": 1_000});
    let value = json!({"op": "u", "before": null, "after": row, "source": source});
    let line = json!({
        "topic": "shop.public.orders", "partition": 0, "offset": offset,
        "key": "{\"order_id\":\"o1\"}", "value": value.to_string(),
    });
    format!("{line}\n")
}

#[test]
fn what_a_cell_said_is_told_after_it_has_changed() {
    let place = Place::new();
    place.configure_files("lake.flush_interval = \"100ms\"\n");
    let days_ago = |days: i64| Micros(options(1, 1).now.0 - days * 86_400_000_000).to_string();
    let placed = days_ago(3);
    std::fs::write(place.path("input/a.ndjson"), order(0, "5", &placed)).unwrap();
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let asked = "/api/v1/kpis?tenant=t&grain=day&kpi=revenue_booked";
    let value = |path: &str| -> (Value, String) {
        let answer = get(port, path, &token);
        (answer["kpis"][0]["value"].clone(), answer["as_of"].as_str().unwrap().to_owned())
    };
    let mut reached = String::new();
    let mut becomes = |amount: &str| {
        wait_until(&format!("history says {amount}"), SOON, || {
            let (now, as_of) = value(asked);
            let (then, _) = value(&format!("{asked}&as_of={as_of}"));
            reached = as_of;
            now == amount && then == amount
        });
        reached.clone()
    };
    let first = becomes("5");
    std::fs::write(place.path("input/b.ndjson"), order(1, "8", &placed)).unwrap();
    let second = becomes("8");
    assert!(first < second);
    for (as_of, expected) in
        [(&first, json!("5")), (&second, json!("8")), (&days_ago(1), Value::Null)]
    {
        let answer = get(port, &format!("{asked}&as_of={as_of}"), &token);
        let cell = &answer["kpis"][0];
        assert_eq!((&cell["value"], &answer["as_of"]), (&expected, &json!(as_of)), "{answer}");
        let status = if expected.is_null() { "no_data" } else { "ok" };
        assert_eq!(cell["status"], status, "{answer}");
    }
    let none = get(port, &format!("{asked}&as_of={}", days_ago(10)), &token);
    assert_eq!(none["kpis"], json!([]), "its day had not begun");
    let window = format!("{}&as_of={first}", asked.replace("grain=day", "grain=last_7d"));
    assert_eq!(request("GET", port, &window, Some(&token)).status, 400);
    run.stops();
}
