//! Shapes and values of the answers, their errors, and copies that clients keep.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::{Scope, ServerLimits};
use schemas::{CellKey, EpochStamp, Grain, KpiUpdate, Micros, Published, SeriesId};
use serde_json::{Value, json};

use crate::support::{ONE, World, at, key, start, value};

fn column(rows: &Value, name: &str) -> Vec<String> {
    let text = |row: &Value| row[name].as_str().unwrap_or("null").to_owned();
    rows.as_array().unwrap().iter().map(text).collect()
}

#[tokio::test]
async fn kpis_are_the_newest_of_each_series_with_exact_values() {
    let answer = World::new().t1("/api/v1/kpis").await.good();
    let cell = |kpi: &str, grain: &str, start: &str, value: Value, unit: &str, status: &str| {
        json!({
            "kpi": kpi, "tenant": "t1", "dims": {"currency": "USD"}, "grain": grain,
            "period_start": start, "value": value, "unit": unit, "status": status,
            "future": false,
        })
    };
    let midnight = "2026-11-21T00:00:00Z";
    assert_eq!(
        answer,
        json!({
            "epoch": 7, "as_of": "2026-11-21T10:00:00Z", "degraded": false, "next": null,
            "kpis": [
                cell("gross_margin", "day", midnight, Value::Null, "ratio", "no_data"),
                cell("orders", "hour", "2026-11-21T09:00:00Z", json!("3"), "count", "ok"),
                cell("orders", "day", midnight, json!("42"), "count", "ok"),
                cell("revenue_booked", "day", midnight, json!("-0.25"), "currency", "ok"),
            ],
        })
    );
}

#[tokio::test]
async fn a_period_that_has_not_begun_is_not_the_newest() {
    let world = World::new();
    let key = key("revenue_booked", "t1", Grain::Day, "2099-01-01T00:00:00Z");
    let series = SeriesId { kpi: 2, series: 0 };
    let clock = at("2026-11-21T10:00:01Z");
    let update =
        KpiUpdate { key, series, value: Some(value(ONE)), epoch: 8, as_of: clock, window: None };
    let stamp = EpochStamp { id: 8, clock, quiet: false };
    let (cells, degraded) = (vec![update], Arc::default());
    world.app.store.publish(&Published {
        stamp,
        cells,
        alerts: Vec::new(),
        answers: Arc::default(),
        models: Arc::default(),
        degraded,
    });
    let starts = async |query: &str| {
        let path = format!("/api/v1/kpis?kpi=revenue_booked&grain=day{query}");
        column(&world.t1(&path).await.good()["kpis"], "period_start")
    };
    assert_eq!(starts("").await, ["2026-11-21T00:00:00Z"]);
    assert_eq!(starts("&from=2027-01-01").await, ["2099-01-01T00:00:00Z"]);
    let all = world.t1("/api/v1/kpis?kpi=revenue_booked&grain=day&to=2100-01-01").await.good();
    let series = world.t1("/api/v1/kpis/revenue_booked/series").await.good();
    for cells in [&all["kpis"], &series["series"][0]["points"]] {
        let marked = cells.as_array().unwrap().iter().filter(|cell| cell["future"] == true);
        let marked: Vec<_> = marked.map(|cell| cell["period_start"].as_str().unwrap()).collect();
        assert_eq!(marked, ["2099-01-01T00:00:00Z"], "those that begin later are marked");
    }
}

#[tokio::test]
async fn only_lists_of_values_are_answered_otherwise_than_as_json() {
    let world = World::new();
    let token = format!("Bearer {}", world.token("t1", &Scope::ALL));
    for route in ["alerts", "meta", "status"] {
        let path = format!("/api/v1/{route}");
        let ask = |accept| [("authorization", &*token), ("accept", accept)];
        let detail = world.ask(&path, &ask("text/csv")).await.problem(406);
        assert!(detail.contains("`Accept: text/csv`"), "{detail}");
        world.ask(&path, &ask("text/csv, */*;q=0.1")).await.good();
    }
}

#[tokio::test]
async fn kpis_are_narrowed_by_every_parameter() {
    let world = World::new();
    let starts = async |query: &str| {
        let answer = world.all(&format!("/api/v1/kpis?{query}")).await.good();
        column(&answer["kpis"], "period_start")
    };
    let day = |day: u32| format!("2026-11-{day}T00:00:00Z");
    assert_eq!(starts("kpi=revenue_booked&from=2026-11-19").await, [day(19), day(20), day(21)]);
    let between = "kpi=revenue_booked&from=2026-11-20T00:00:00Z&to=2026-11-21";
    assert_eq!(starts(between).await, [day(20)], "from is inclusive, to is not");
    assert_eq!(starts("kpi=revenue_booked&to=2026-11-20").await, [day(19)]);
    assert!(starts("from=2026-11-21&to=2026-11-21").await.is_empty());
    assert!(starts("tenant=nobody").await.is_empty());
    assert_eq!(starts("grain=hour").await, ["2026-11-21T09:00:00Z"]);
    assert_eq!(starts("kpi=orders,gross_margin&tenant=t1&grain=day").await.len(), 2);
    assert_eq!(starts("kpi=orders&kpi=gross_margin&tenant=t1&grain=day").await.len(), 2);
    let tenants = world.all("/api/v1/kpis?kpi=orders&grain=day").await.good();
    assert_eq!(column(&tenants["kpis"], "tenant"), ["t1", "t2"]);
}

#[tokio::test]
async fn a_series_has_values_bands_and_closed_periods() {
    let path = "/api/v1/kpis/revenue_booked/series?from=2026-11-20";
    let answer = World::new().t1(path).await.good();
    let point = |start: &str, value: &str, closed: bool, expected: [&str; 3]| {
        let [expected, lower, upper] = expected;
        json!({
            "period_start": start, "value": value, "status": "ok", "closed": closed,
            "future": false,
            "expected": expected, "lower": lower, "upper": upper,
        })
    };
    assert_eq!(
        answer,
        json!({
            "kpi": "revenue_booked", "tenant": "t1", "grain": "day", "unit": "currency",
            "epoch": 7, "as_of": "2026-11-21T10:00:00Z", "degraded": false,
            "series": [{
                "tenant": "t1", "dims": {"currency": "USD"},
                "points": [
                    // The band of the first point comes from one that is not in the answer.
                    point("2026-11-20T00:00:00Z", "20", true, ["12.5", "11.5", "13.5"]),
                    point("2026-11-21T00:00:00Z", "-0.25", false, ["20", "19", "21"]),
                ],
            }],
        })
    );
    let first = World::new().t1("/api/v1/kpis/revenue_booked/series?to=2026-11-20").await.good();
    assert_eq!(first["series"][0]["points"][0]["expected"], Value::Null);
    let both = World::new().all("/api/v1/kpis/orders/series").await.good();
    assert_eq!(both["tenant"], Value::Null);
    assert_eq!(column(&both["series"], "tenant"), ["t1", "t2"]);
    let none = World::new().t1("/api/v1/kpis/orders/series?grain=month").await.good();
    assert_eq!(none["series"], json!([]));
}

#[tokio::test]
async fn alerts_are_open_ones_unless_others_are_asked_for() {
    let world = World::new();
    let ids = async |query: &str| {
        column(&world.all(&format!("/api/v1/alerts{query}")).await.good()["alerts"], "id")
    };
    assert_eq!(ids("").await, ["b1", "a1"], "the last one to open comes first");
    assert_eq!(ids("?state=firing&tenant=t1").await, ["a1"]);
    assert_eq!(ids("?state=open&tenant=t1").await, ["a1"], "the old word");
    assert_eq!(ids("?state=withdrawn").await, [""; 0]);
    assert_eq!(ids("?state=pending").await, [""; 0]);
    assert_eq!(ids("?state=resolved").await, ["a2"]);
    assert_eq!(ids("?state=all").await, ["b1", "a1", "a2"]);
    let own = world.t1("/api/v1/alerts?state=all").await.good();
    assert_eq!(column(&own["alerts"], "id"), ["a1", "a2"]);
    assert_eq!((&own["epoch"], &own["more"]), (&json!(7), &json!(false)));
    let alert = &own["alerts"][1];
    assert_eq!(alert["state"], "resolved");
    assert_eq!(alert["resolved_at"], "2026-11-20T09:00:00Z");
    assert_eq!((&alert["value"], &alert["upper"]), (&json!("9"), &json!("4")));
    assert_eq!(alert["dims"], json!({"currency": "USD"}));
}

#[tokio::test]
async fn meta_and_status_say_what_there_is() {
    let world = World::new();
    let meta = world.all("/api/v1/meta").await.good();
    assert_eq!((&meta["generation"], &meta["epoch"]), (&json!("g1"), &json!(7)));
    assert_eq!(meta["tenants"], json!(["t1", "t2"]));
    let calendar = |zones: Value| json!({"zone": "UTC", "zones": zones, "week_start": "monday", "fiscal_year_start": 4});
    assert_eq!(meta["calendar"], calendar(json!({"t2": "Asia/Kolkata"})));
    let own = world.t1("/api/v1/meta").await.good();
    assert_eq!(own["tenants"], json!(["t1"]));
    assert_eq!(own["calendar"], calendar(json!({})), "the zones of others are nobody's business");
    assert_eq!(column(&meta["kpis"], "key"), ["gross_margin", "orders", "revenue_booked"]);
    assert_eq!(
        meta["kpis"][0],
        json!({
            "key": "gross_margin", "title": "gross margin", "description": "One sentence.",
            "unit": "ratio", "good": "up", "group": null, "is_ratio": true, "kind": "ratio", "dims": ["currency"],
            "grains": ["hour", "day", "week", "month", "quarter", "year"], "breakdown_of": null,
            "currency": null,
            "windows": ["last_24h", "last_7d", "last_30d", "last_90d", "all"],
            "anomaly": {
                "enabled": true, "sensitivity": "normal", "direction": "both", "least_change": null,
                "least_impact": null, "lateness_hours": null, "rules": [],
                "detectors": ["seasonal", "change_week_before", "change_day_before", "change_budget"],
            },
        })
    );
    let status = world.t1("/api/v1/status").await.good();
    assert_eq!(status["freshness_p50_ms"], json!(123.0));
    assert_eq!(status["freshness_p99_ms"], json!(1500.0));
    assert_eq!(status["events_total"], 100);
    let source = json!({"name": "kafka", "topic": "shop.orders", "partition": 3, "lag": 12});
    assert_eq!(status["sources"], json!([source]));
    world.health.0.lock().troubles = vec!["the broker is away".to_owned()];
    let status = world.t1("/api/v1/status").await.good();
    assert_eq!(status["degraded"], true);
    assert_eq!(status["reasons"], json!(["the broker is away"]));
    for path in ["kpis", "kpis/orders/series", "alerts", "meta"] {
        let answer = world.t1(&format!("/api/v1/{path}")).await.good();
        assert_eq!(answer["degraded"], true, "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_says_where_and_what_to_do() {
    let world = World::new();
    for (path, status, expected) in [
        ("/api/v1/kpis?kpi=ordres", 404, "did you mean `orders`?"),
        ("/api/v1/kpis/ordres/series", 404, "did you mean `orders`?"),
        ("/api/v1/kpis/%ff/series", 404, "UTF-8"),
        ("/api/v1/kpis?kpi=", 400, "separated by commas"),
        ("/api/v1/kpis?grain=decade", 400, "hour, day, week, month, quarter or year"),
        ("/api/v1/kpis?from=soon", 400, "RFC 3339"),
        ("/api/v1/kpis?from=2026-11-20T14:00:00", 400, "RFC 3339"),
        ("/api/v1/kpis?to=2026-11-20%2014:00:00Z", 400, "RFC 3339"),
        ("/api/v1/kpis?from=2026-11-21&to=2026-11-20", 400, "later than `to`"),
        ("/api/v1/kpis/orders/series?from=2026-11-21&to=2026-11-20", 400, "later than `to`"),
        ("/api/v1/kpis?tennant=t1", 400, "did you mean `tenant`?"),
        ("/api/v1/kpis/orders/series?kpi=orders", 400, "there is no parameter `kpi`"),
        ("/api/v1/alerts?state=closed", 400, "firing or resolved"),
        ("/api/v1/meta?x=1", 400, "takes none"),
        ("/api/v1/nothing", 404, "openapi.json"),
        ("/nothing", 404, "openapi.json"),
        ("/api/v1/kpis?tenant=t2", 403, "tenant `t2`"),
    ] {
        let detail = world.t1(path).await.problem(status);
        assert!(detail.contains(expected), "{path}: {detail}");
    }
    let many = |separator: &str| vec!["orders"; 101].join(separator);
    let detail = world.t1(&format!("/api/v1/kpis?kpi={}", many(","))).await.problem(400);
    assert!(detail.contains("more than 100"), "{detail}");
    world.t1(&format!("/api/v1/kpis?kpi={}", many("&kpi="))).await.problem(400);
    for (query, parameter) in [
        ("grain=decade", "grain"),
        ("from=2026-11-21&to=2026-11-20", "from"),
        ("kpi=joy", "kpi"),
        ("tennant=t1", "tennant"),
        ("a%0d%0ab=1", "ab"),
    ] {
        let problem = world.t1(&format!("/api/v1/kpis?{query}")).await.json();
        assert_eq!(problem["parameter"], parameter, "{query}: {problem}");
    }
    let refused = world.send("POST", "/api/v1/kpis", &[]).await;
    assert!(refused.problem(405).contains("GET"));
    assert_eq!(refused.header("allow"), "GET,HEAD");
    let long = format!("/api/v1/kpis?tenant={}", "x".repeat(8192));
    world.t1(&long).await.problem(414);
    let cookies = "x".repeat(20_000);
    world.ask("/healthz", &[("cookie", &cookies)]).await.problem(431);
    world.ask("/healthz", &[("content-length", "70000")]).await.problem(413);
}

#[tokio::test]
async fn tokens_are_asked_for_and_checked() {
    let world = World::new();
    let missing = world.ask("/api/v1/kpis", &[]).await;
    assert!(missing.problem(401).contains("Authorization: Bearer"));
    assert_eq!(missing.header("www-authenticate"), "Bearer realm=\"weir\"");
    let wrong = world.ask("/api/v1/kpis", &[("authorization", "Bearer x.y.z")]).await;
    let detail = wrong.problem(401);
    assert!(wrong.header("www-authenticate").ends_with("error=\"invalid_token\""));
    assert!(!detail.contains("x.y.z"), "a token is never repeated: {detail}");
    world.ask("/api/v1/kpis", &[("authorization", "Basic dTpw")]).await.problem(401);
    let query = format!("/api/v1/kpis?token={}", world.token("t1", &Scope::ALL));
    world.ask(&query, &[]).await.problem(401);
    let bearer = format!("Bearer {}", world.token("t1", &Scope::ALL));
    world.clock.0.fetch_add(3_629_000_000, Ordering::SeqCst);
    assert_eq!(world.ask("/api/v1/kpis", &[("authorization", &bearer)]).await.status, 200);
    world.clock.0.fetch_add(1_000_000, Ordering::SeqCst);
    let expired = world.ask("/api/v1/kpis", &[("authorization", &bearer)]).await;
    assert!(expired.problem(401).contains("expired"));
}

#[tokio::test]
async fn nothing_is_served_before_recovery_is_over() {
    let world = World::recovering(ServerLimits::default(), false);
    for path in ["kpis", "kpis/orders/series", "alerts", "meta", "status"] {
        let answer = world.t1(&format!("/api/v1/{path}")).await;
        assert!(answer.problem(503).contains("recovering"), "{path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let ready = world.ask("/readyz", &[]).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json(), json!({"ready": false, "reasons": ["the pipeline is recovering"]}));
    assert_eq!(world.ask("/healthz", &[]).await.status, 200);
    world.app.store.start(start());
    assert_eq!(world.ask("/readyz", &[]).await.json(), json!({"ready": true, "reasons": []}));
    // What is slight degrades answers, and keeps nobody away.
    world.health.0.lock().troubles = vec!["no source".to_owned()];
    assert_eq!(world.ask("/readyz", &[]).await.status, 200);
    world.health.0.lock().unready = vec!["no source".to_owned()];
    let not_ready = world.ask("/readyz", &[]).await;
    assert_eq!(
        (not_ready.status.as_u16(), &not_ready.json()["reasons"]),
        (503, &json!(["no source"]))
    );
}

#[tokio::test]
async fn copies_are_good_until_the_next_epoch() {
    let world = World::new();
    let token = format!("Bearer {}", world.token("t1", &Scope::ALL));
    let path = "/api/v1/kpis?grain=day";
    let with = |tag: String| [("authorization", token.clone()), ("if-none-match", tag)];
    let ask = async |path: &str, tag: &str| {
        let [a, b] = with(tag.to_owned());
        world.ask(path, &[(a.0, &a.1), (b.0, &b.1)]).await
    };
    let first = ask(path, "\"other\"").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let tag = first.header("etag").to_owned();
    let again = ask(path, &tag).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), tag);
    assert_eq!(ask("/api/v1/kpis?grain=hour", &tag).await.status, 200, "another question");
    let all = format!("Bearer {}", world.token("*", &Scope::ALL));
    let other = world.ask(path, &[("authorization", &all), ("if-none-match", &tag)]).await;
    assert_eq!(other.status, 200, "another token's tenants");
    world.health.0.lock().troubles = vec!["old".to_owned()];
    assert_eq!(ask(path, &tag).await.status, 200, "a degraded answer differs");
    world.health.0.lock().troubles.clear();
    assert_eq!(ask(path, &tag).await.status, 304);
    let update = KpiUpdate {
        key: key("orders", "t1", Grain::Day, "2026-11-21"),
        series: SeriesId { kpi: 1, series: 0 },
        value: Some(value(43 * ONE)),
        epoch: 8,
        as_of: at("2026-11-21T10:00:01Z"),
        window: None,
    };
    let stamp = EpochStamp { id: 8, clock: update.as_of, quiet: false };
    let (cells, alerts) = (vec![update], Vec::new());
    world.app.store.publish(&Published {
        stamp,
        cells,
        alerts,
        answers: Arc::default(),
        models: Arc::default(),
        degraded: Arc::default(),
    });
    let next = ask(path, &tag).await;
    assert_eq!((next.status.as_u16(), &next.json()["epoch"]), (200, &json!(8)));
    assert_eq!(next.json()["kpis"][1]["value"], "43");
    ask("/api/v1/kpis?grain=decade", "*").await.problem(400);
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let world = World::new();
    let hour = |number: i64| {
        let key = key("orders", "big", Grain::Hour, "1990-01-01");
        let period_start = Micros(key.period_start.0 + number * 3_600_000_000);
        (CellKey { period_start, ..key }, value(ONE), 1)
    };
    let mut fresh = start();
    fresh.cells.extend((0..100_001).map(hour));
    world.app.store.start(fresh);
    for path in [
        "/api/v1/kpis/orders/series?grain=hour&tenant=big",
        "/api/v1/kpis?kpi=orders&grain=hour&tenant=big&from=1980-01-01",
    ] {
        let detail = world.all(path).await.problem(400);
        assert!(detail.contains("100001") && detail.contains("narrow"), "{detail}");
    }
    let path = "/api/v1/kpis/orders/series?grain=hour&tenant=big&from=1990-01-01T01:00:00Z";
    let answer = world.all(path).await.good();
    assert_eq!(answer["series"][0]["points"].as_array().unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_subject_that_asks_too_much_is_slowed_down() {
    let limits = ServerLimits { requests_per_s: 1, requests_burst: 3, ..ServerLimits::default() };
    let world = World::recovering(limits, false);
    world.app.store.start(start());
    for _ in 0..3 {
        assert_eq!(world.t1("/api/v1/meta").await.status, 200);
    }
    let refused = world.t1("/api/v1/meta").await;
    refused.problem(429);
    assert!(["1", "2"].contains(&refused.header("retry-after")));
    assert_eq!(world.ask("/healthz", &[]).await.status, 200, "probes have no subject");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.t1("/api/v1/meta").await.status, 200);
}

#[tokio::test]
async fn metrics_are_named_and_tell_no_tenant() {
    let world = World::new();
    world.t1("/api/v1/kpis?tenant=t1").await;
    world.t1("/api/v1/kpis/orders/series").await;
    world.ask("/nowhere/t1", &[]).await;
    let answer = world.ask("/metrics", &[]).await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let lines: Vec<&str> = answer.text.lines().collect();
    for expected in [
        "weir_events_total 100",
        "weir_epochs_total 7",
        "weir_epoch_published 7",
        "weir_cells 7",
        "weir_freshness_seconds{quantile=\"0.5\"} 0.1234",
        "weir_freshness_seconds{quantile=\"0.99\"} 1.5",
        "weir_source_lag_records{source=\"kafka\",topic=\"shop.orders\",partition=\"3\"} 12",
        "weir_alerts_open{severity=\"warning\"} 2",
        "weir_alerts_open{severity=\"critical\"} 0",
        "weir_http_requests_total{route=\"/api/v1/kpis\",status=\"200\"} 1",
        "weir_http_requests_total{route=\"/api/v1/kpis/{kpi}/series\",status=\"200\"} 1",
        "weir_http_requests_total{route=\"other\",status=\"404\"} 1",
        "weir_http_request_seconds_count{route=\"/api/v1/kpis\"} 1",
        "weir_ready 1",
        "weir_degraded 0",
    ] {
        assert!(lines.contains(&expected), "{expected} is not in\n{}", answer.text);
    }
    let rss = lines.iter().find_map(|l| l.strip_prefix("weir_process_resident_memory_bytes "));
    assert!(rss.unwrap().parse::<u64>().unwrap() > 1 << 20);
    assert!(!answer.text.contains("t1"), "{}", answer.text);
    let samples = lines.iter().filter(|line| !line.starts_with('#'));
    assert!(samples.clone().all(|line| line.starts_with("weir_")), "{}", answer.text);
}

#[tokio::test]
async fn every_answer_keeps_browsers_in_bounds() {
    let world = World::new();
    for path in ["/", "/healthz", "/api/v1/kpis", "/nothing", "/api/v1/openapi.json"] {
        let answer = world.ask(path, &[("origin", "https://evil.example")]).await;
        assert!(answer.header("content-security-policy").starts_with("default-src 'self'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("access-control-allow-origin"), "", "no other origin may read");
    }
}
