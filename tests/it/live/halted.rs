//! A table whose source went back says so everywhere, for as long as it stands still.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use super::{get, mint, port, ready};
use crate::support::{Place, wait_until};

/// One change of the only row: an amount at a log position and a time of the source.
fn change(offset: u64, amount: u32, lsn: u64, ms: u64, snapshot: &str) -> String {
    let row = json!({
        "order_id": "a", "tenant_id": "t", "status": "paid", "amount": amount.to_string(),
        "currency": "USD", "placed_at": "2026-03-01T10:00:00Z",
        "updated_at": "2026-03-01T10:00:00Z",
    });
    let places = format!("[\"{}\",\"{lsn}\"]", lsn - 1);
    let source = json!({ "lsn": lsn, "sequence": places, "ts_ms": ms, "snapshot": snapshot });
    let op = if snapshot == "false" { "u" } else { "r" };
    let value = json!({ "op": op, "after": row, "source": source }).to_string();
    let record = json!({
        "topic": "shop.public.orders", "partition": 0, "offset": offset, "key": "{}", "value": value,
    });
    format!("{record}\n")
}

fn append(place: &Place, lines: &str) {
    let path = place.path("input/a.ndjson");
    let mut text = std::fs::read_to_string(&path).unwrap_or_default();
    text.write_str(lines).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_halted_table_says_so_until_a_snapshot_starts_it_again() {
    let place = Place::new();
    place.configure_files("");
    append(&place, &change(0, 1, 100, 1_700_000_000_000, "false"));
    append(&place, &change(1, 2, 50, 1_700_000_100_000, "false"));
    place.weir(&["run", "--until-end"]).exits(1).says(&["`orders` is halted", "new snapshot"]);
    // Found by the next run, too, which serves what it has.
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    run.wait_for("`orders` is halted", super::SOON);
    let token = mint(&place, &[]);
    let status = get(port, "/api/v1/meta", &token);
    assert_eq!(status["degraded"], true, "{status}");
    assert!(status["reasons"].to_string().contains("`orders` is halted"), "{status}");
    let answer = get(port, "/api/v1/kpis?kpi=revenue_booked&grain=day", &token);
    assert_eq!((&answer["degraded"], &answer["kpis"][0]["value"]), (&json!(true), &json!("1")));
    append(&place, &change(2, 3, 60, 1_700_000_200_000, "last"));
    // Beside threads that want every core, an answer is never healthy before its value is the new one.
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let begin = Instant::now();
                while !over.load(Ordering::Relaxed) && begin.elapsed() < super::SOON {
                    std::hint::spin_loop();
                }
            });
        }
        wait_until("the snapshot starts the table again", super::SOON, || {
            let answer = get(port, "/api/v1/kpis?kpi=revenue_booked&grain=day", &token);
            let healthy = answer["degraded"] == false;
            let ended = healthy || answer["kpis"][0]["value"] == "3";
            over.store(ended, Ordering::Relaxed);
            assert!(!healthy || answer["kpis"][0]["value"] == "3", "{answer}");
            healthy
        });
    });
    assert_eq!(get(port, "/api/v1/meta", &token)["degraded"], false);
    run.stops();
}
