//! Alerts end to end: records in Kafka, alerts over REST and in `gold/anomalies`, and what takes them
//! back.

use std::time::Duration;

use schemas::Micros;
use serde_json::{Value, json};

use super::{get, mint, port, ready};
use crate::support::services::{self, BROKERS, fresh_topic};
use crate::support::stream::Producer;
use crate::support::{Place, wait_until};

const DAY: i64 = 86_400_000_000;

fn now() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "the records are of today")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// A charge of a tenant for the day that starts at `start`.
fn charge(id: &str, start: i64, cost: &str, version: i64, snapshot: bool) -> Vec<u8> {
    let instant = |at: i64| Micros(at).to_string();
    let operation = if snapshot { "r" } else { "c" };
    let row = json!({
        "charge_id": id, "tenant_id": "acme", "service_name": "db", "charge_category": "Usage",
        "billed_cost": cost, "effective_cost": cost, "billing_currency": "USD",
        "resource_id": null, "charge_period_start": instant(start),
        "charge_period_end": instant(start + 3_600_000_000), "tags": null,
        "updated_at": instant(now()),
    });
    let source = json!({"connector": "postgresql", "name": "shop", "db": "shop", "schema": "public",
        "table": "costs", "lsn": version, "ts_ms": now() / 1_000,
        "snapshot": if snapshot { "true" } else { "false" }});
    json!({"op": operation, "before": null, "after": row, "source": source, "ts_ms": now() / 1_000})
        .to_string()
        .into_bytes()
}

fn send(topic: &str, charges: &[(&str, Vec<u8>)]) {
    let mut producer = Producer::new(topic);
    for (id, charge) in charges {
        producer.send(json!({ "charge_id": id }).to_string().as_bytes(), charge);
    }
    producer.finish();
}

/// The alerts of the rule, by state.
fn alerts(port: u16, token: &str, state: &str) -> Vec<Value> {
    let answer = get(port, &format!("/api/v1/alerts?state={state}"), token);
    let all = answer["alerts"].as_array().unwrap().iter();
    let of_rule = |alert: &&Value| alert["kpi"] == "total_cost" && alert["grain"] == "day";
    all.filter(of_rule).cloned().collect()
}

#[test]
fn a_cost_spike_opens_an_alert_and_its_correction_resolves_it() {
    let _held = services::kafka();
    let topic = format!("it-alerts-{}.costs", std::process::id());
    fresh_topic(&topic, 1);
    let place = Place::new();
    place.configure_kafka(
        "lake.flush_interval = \"100ms\"\nlake.barrier_interval = \"500ms\"\n",
        BROKERS,
        &[(&topic, "costs")],
    );
    let today = now() / DAY * DAY;
    // A week ago 100; today 100 as well: nothing to say. The snapshot teaches only.
    let names: Vec<String> = (0..9).map(|day| format!("c{day}")).collect();
    let charges = (0_i64..)
        .zip(&names)
        .map(|(day, name)| (name.as_str(), charge(name, today - day * DAY, "100", 1, true)));
    let history: Vec<(&str, Vec<u8>)> = charges.collect();
    send(&topic, &history);
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let path = "/api/v1/kpis?kpi=total_cost&grain=day&tenant=acme";
    wait_until("the snapshot is read", super::SOON, || {
        get(port, path, &token)["kpis"].as_array().is_some_and(|rows| !rows.is_empty())
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(alerts(port, &token, "all"), Vec::<Value>::new(), "a snapshot alerts nobody");

    send(&topic, &[("spike", charge("spike", today, "40", 10, false))]);
    wait_until("the spike is noticed", super::SOON, || !alerts(port, &token, "open").is_empty());
    let open = alerts(port, &token, "open");
    let alert = &open[0];
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((alert["value"].as_str(), alert["expected"].as_str()), (Some("140"), Some("100")));
    assert_eq!(alert["tenant"], "acme");
    let reason = alert["reason"].as_str().unwrap();
    assert!(reason.contains("acme") && reason.contains("40"), "{reason}");

    // Killed and started again, it is the same alert.
    let id = alert["id"].clone();
    run.kill();
    let mut run = place.start(&["run"]);
    let port = super::port(&mut run);
    ready(port);
    assert_eq!(alerts(port, &token, "open")[0]["id"], id);

    send(&topic, &[("spike", charge("spike", today, "5", 11, false))]);
    wait_until("the correction is noticed", super::SOON, || {
        alerts(port, &token, "open").is_empty()
    });
    let resolved = alerts(port, &token, "resolved");
    assert_eq!(resolved[0]["id"], id, "{resolved:?}");
    assert!(resolved[0]["resolved_at"].is_string(), "{resolved:?}");
    run.stops();
    let shown = place.succeeds(&["tables", "show", "gold/anomalies", "--json"]).json();
    assert!(shown.to_string().contains("anomaly_type"), "{shown}");
    place.succeeds(&["verify", "--deep"]);
}
