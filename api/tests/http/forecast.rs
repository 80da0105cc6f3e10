//! Forecasts: their shape, whose they are, and what is refused.

use std::sync::Arc;

use api::Scope;
use schemas::{EpochStamp, Grain, ModelsInForce, Published};
use serde_json::{Value, json};

use crate::support::{World, at, key};

#[tokio::test]
async fn the_running_period_and_the_next_one_are_forecast() {
    let world = World::new();
    let answer = world.t1("/api/v1/kpis/revenue_booked/forecast?grain=month").await.good();
    assert_eq!(
        answer,
        json!({
            "kpi": "revenue_booked", "tenant": "t1", "grain": "month", "unit": "currency",
            "epoch": 7, "as_of": "2026-11-21T10:00:00Z", "degraded": false, "within": 0.9,
            "series": [{
                "tenant": "t1", "dims": {"currency": "USD"}, "why": null,
                "periods": [
                    {
                        "period_start": "2026-11-01T00:00:00Z", "period_end": "2026-12-01T00:00:00Z",
                        "so_far": "-0.25", "expected": "-0.25", "lower": "-1.25", "upper": "0.75",
                    },
                    {
                        "period_start": "2026-12-01T00:00:00Z", "period_end": "2027-01-01T00:00:00Z",
                        "so_far": null, "expected": "-0.25", "lower": null, "upper": null,
                    },
                ],
            }],
        })
    );
    // A month without saying so; hours from hours.
    assert_eq!(world.t1("/api/v1/kpis/revenue_booked/forecast").await.good(), answer);
    let hours = world.t1("/api/v1/kpis/orders/forecast?grain=hour").await.good();
    let periods = &hours["series"][0]["periods"];
    assert_eq!(periods[0]["expected"], "3");
    assert_eq!(periods[1]["period_start"], "2026-11-21T11:00:00Z");
    // No value, and why.
    let nothing = world.t1("/api/v1/kpis/gross_margin/forecast?grain=day").await.good();
    let told = &nothing["series"][0];
    assert_eq!((&told["periods"], &told["why"]), (&json!([]), &json!("it has no values")));
}

#[tokio::test]
async fn a_forecast_is_of_the_tokens_tenant_and_of_periods_that_can_be_forecast() {
    let world = World::new();
    let tenants = |answer: &Value| -> Vec<String> {
        let series = answer["series"].as_array().unwrap().iter();
        series.map(|own| own["tenant"].as_str().unwrap().to_owned()).collect()
    };
    let path = "/api/v1/kpis/orders/forecast?grain=day";
    assert_eq!(tenants(&world.t1(path).await.good()), ["t1"]);
    assert_eq!(tenants(&world.all(path).await.good()), ["t1", "t2"]);
    let others = format!("{path}&tenant=t2");
    world.t1(&others).await.problem(403);
    assert_eq!(tenants(&world.all(&others).await.good()), ["t2"]);
    let bearer = format!("Bearer {}", world.token("t1", &[Scope::AlertsRead]));
    world.ask(path, &[("authorization", &bearer)]).await.problem(403);
    for grain in ["year", "last_7d", "all"] {
        let path = format!("/api/v1/kpis/orders/forecast?grain={grain}");
        let detail = world.t1(&path).await.problem(400);
        assert!(detail.contains(grain) && detail.contains("quarter"), "{detail}");
    }
    world.t1("/api/v1/kpis/order/forecast").await.problem(404);
    world.t1("/api/v1/kpis/orders/forecast?from=2026-11-01").await.problem(400);
    let narrow = world.t1(&format!("{path}&dim.currency=EUR")).await.good();
    assert_eq!(narrow["series"], json!([]));
}

#[tokio::test]
async fn models_in_force_reach_forecasts_bands_and_scores_with_the_epoch_that_puts_them_there() {
    let world = World::new();
    let told = async || {
        let forecast = async |grain: &str| {
            let path = format!("/api/v1/kpis/revenue_booked/forecast?grain={grain}");
            let answer = world.t1(&path).await.good();
            answer["series"][0]["periods"][0]["expected"].clone()
        };
        let bands = world.t1("/api/v1/kpis/revenue_booked/series?grain=day").await.good();
        let asked = json!({"kpi": "revenue_booked", "grain": "day", "period_start": "2026-11-21", "value": 1});
        let bearer = format!("Bearer {}", world.token("t1", &[Scope::AlertsRead]));
        let bearer = [("authorization", &*bearer)];
        let score = world.send_body("POST", "/api/v1/anomalies/score", &bearer, asked.to_string());
        let orders = world.t1("/api/v1/kpis/orders/forecast?grain=hour").await.good();
        [
            forecast("day").await,
            forecast("month").await,
            bands["series"][0]["points"][2]["expected"].clone(),
            score.await.good()["expected"].clone(),
            orders["series"][0]["periods"][0]["expected"].clone(),
        ]
    };
    assert_eq!(told().await, ["-0.25", "-0.25", "20", "20", "3"]);
    let mut models = ModelsInForce::default();
    let day = |kpi, tenant| key(kpi, tenant, Grain::Day, "2026-11-01");
    models.put(day("revenue_booked", "t1"), Some("100".into()));
    models.put(day("orders", "t1"), Some("100".into()));
    let publish = |id: u64, models: ModelsInForce| {
        let clock = at("2026-11-21T10:01:00Z");
        world.app.store.publish(&Published {
            stamp: EpochStamp { id, clock, quiet: false },
            cells: Vec::new(),
            alerts: Vec::new(),
            answers: Arc::default(),
            models: Arc::new(models),
            degraded: Arc::default(),
        });
    };
    publish(8, models.clone());
    // Days have one, and what is made of days; hours have none.
    assert_eq!(told().await, ["99.75", "99.75", "120", "120", "3"]);
    models.put(day("revenue_booked", "t1"), None);
    publish(9, models);
    assert_eq!(told().await, ["-0.25", "-0.25", "20", "20", "3"]);
}
