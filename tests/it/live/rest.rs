//! REST against the tables and the command line, tokens against tenants.

use std::collections::BTreeMap;

use harness::kpis::LEFT_ALONE;
use harness::tables::{Table, read_current};
use serde_json::Value;

use super::{get, mint, port, ready};
use crate::support::http::request;
use crate::support::stream::{append, options, records};
use crate::support::{Place, Weir, bronze_records, wait_until};

const RECORDS: usize = 8_000;

/// A run over files that has read everything.
fn served(place: &Place, seed: u64) -> (Weir, u16) {
    place.configure_files("lake.flush_interval = \"100ms\"\nlake.barrier_interval = \"500ms\"\n");
    append(&place.path("input/a.ndjson"), &records(&options(seed, RECORDS as u64)));
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    wait_until("everything is in bronze", super::SOON, || {
        bronze_records(place.lake()) == RECORDS as u64
    });
    (run, port)
}

/// Cells as text: kpi, tenant, dims, grain, period start; value and status.
type Cells = BTreeMap<String, (Option<String>, String)>;

fn cells(answer: &Value) -> Cells {
    let text = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    let rows = answer["kpis"].as_array().unwrap().iter().map(|row| {
        let key = ["kpi", "tenant", "grain", "period_start"].map(|name| text(row, name).unwrap());
        let key = format!("{} {}", key.join(" "), row["dims"]);
        (key, (text(row, "value"), text(row, "status").unwrap()))
    });
    rows.collect()
}

#[test]
fn rest_says_what_the_tables_say() {
    let place = Place::new();
    let (run, port) = served(&place, 51);
    let token = mint(&place, &[]);
    let all = "/api/v1/kpis?from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z";
    let answer = get(port, all, &token);
    assert!(answer["epoch"].as_u64().unwrap() > 0, "{answer}");
    let mut found = cells(&answer);
    let is_judged = |cell: &str| !LEFT_ALONE.iter().any(|kpi| cell.starts_with(&format!("{kpi} ")));
    found.retain(|cell, _| is_judged(cell));
    run.stops();
    // The same, from the files of the table.
    let table: Table<_> = read_current(place.lake()).unwrap().unwrap();
    assert_eq!(found.len(), table.rows.len());
    let dims = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
    for (id, (value, ..)) in &table.rows {
        let start = schemas::Micros(id.start).to_string();
        let key =
            format!("{} {} {} {start} {}", id.kpi, id.tenant, id.grain.name(), dims(&id.dims));
        let (served, status) = found.get(&key).unwrap_or_else(|| panic!("no {key}"));
        let expected = value.value.map(|mantissa| {
            let text = schemas::decimal::format(mantissa, schemas::decimal::VALUE_SCALE);
            let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
            text.trim_end_matches('.').to_owned()
        });
        assert_eq!((served, &**status), (&expected, value.status), "{key}");
    }
}

#[test]
fn tokens_bound_what_is_seen_and_a_restart_keeps_the_generation() {
    let place = Place::new();
    let (run, port_before) = served(&place, 52);
    let everything = mint(&place, &[]);
    let newest = get(port_before, "/api/v1/kpis?grain=day", &everything);
    let tenants: std::collections::BTreeSet<String> =
        newest["kpis"].as_array().unwrap().iter().map(|r| text(&r["tenant"])).collect();
    assert!(tenants.len() > 2, "{tenants:?}");
    let (mine, other) = (tenants.first().unwrap(), tenants.last().unwrap());
    let own = mint(&place, &["--tenant", mine, "--scope", "kpi:read"]);
    let seen = get(port_before, "/api/v1/kpis?grain=day", &own);
    assert!(seen["kpis"].as_array().unwrap().iter().all(|row| text(&row["tenant"]) == *mine));
    let of = |path: &str, token: Option<&str>| request("GET", port_before, path, token);
    let foreign = of(&format!("/api/v1/kpis?tenant={other}"), Some(&own));
    assert_eq!(foreign.status, 403, "{foreign:?}");
    assert_eq!(foreign.header("content-type"), Some("application/problem+json"));
    assert_eq!(of("/api/v1/alerts", Some(&own)).status, 403, "the scope alerts:read is missing");
    assert_eq!(of("/api/v1/kpis", None).status, 401);
    assert_eq!(of("/api/v1/kpis", Some("nonsense")).status, 401);
    let expired = mint(&place, &["--ttl", "1s"]);
    let bad = of("/api/v1/kpis?grain=decade", Some(&everything));
    assert_eq!((bad.status, bad.body.contains("hour, day")), (400, true), "{bad:?}");
    let metrics = of("/metrics", None).body;
    assert!(metrics.contains("weir_events"), "{metrics}");
    assert!(tenants.iter().all(|tenant| !metrics.contains(tenant.as_str())), "{metrics}");

    let generation = text(&get(port_before, "/api/v1/meta", &everything)["generation"]);
    run.stops();
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let meta = get(port, "/api/v1/meta", &everything);
    assert_eq!(text(&meta["generation"]), generation, "a restart is no new generation");
    // The leeway for clocks that differ is 30 s.
    std::thread::sleep(std::time::Duration::from_secs(32));
    assert_eq!(request("GET", port, "/api/v1/kpis", Some(&expired)).status, 401);
    run.stops();
}

#[test]
fn development_keys_stay_on_loopback() {
    let place = Place::new();
    place.configure_files("");
    let listen = ("WEIR__API__LISTEN", "0.0.0.0:0");
    let place = place.with_variable(listen.0, listen.1);
    std::fs::create_dir_all(place.path("input")).unwrap();
    place.weir(&["run"]).exits(2).says(&["0.0.0.0", "[auth]", "jwks_url"]);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
