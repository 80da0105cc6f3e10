//! Values that are scored: by whom, of which tenants, and what is refused.

use api::Scope;
use serde_json::{Value, json};

use crate::support::{Answer, ONE, World, key, start, value};

const ROUTE: &str = "/api/v1/anomalies/score";

async fn send(world: &World, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    world.send_body("POST", ROUTE, &[("authorization", &bearer)], body.to_string()).await
}

async fn t1(world: &World, body: &Value) -> Answer {
    send(world, &world.token("t1", &[Scope::AlertsRead]), body).await
}

fn body(value: &Value) -> Value {
    let day = "2026-11-21";
    json!({"kpi": "revenue_booked", "grain": "day", "period_start": day, "value": value})
}

#[tokio::test]
async fn a_value_is_scored_by_the_points_before_it() {
    let world = World::new();
    // Twenty the day before, give or take one; the day itself has another value.
    let normal = t1(&world, &body(&json!("20.5"))).await.good();
    let spike = t1(&world, &body(&json!(22))).await.good();
    let drop = t1(&world, &body(&json!("-30.25"))).await.good();
    let told = |own: &Value| {
        let fields = ["verdict", "opens", "severity", "rule", "anomaly_type", "reason", "value"];
        fields.map(|field| own[field].clone())
    };
    let seen = ["normal", "it is inside", "20.5"].map(Value::from);
    let [verdict, reason, own] = seen;
    let none = Value::Null;
    assert_eq!(
        told(&normal),
        [verdict, json!(false), none.clone(), none.clone(), none, reason, own]
    );
    let found = |kind: &str, value: &str| {
        [
            json!("anomalous"),
            json!(true),
            json!("warning"),
            json!("seasonal"),
            json!(kind),
            json!("it is outside"),
            json!(value),
        ]
    };
    assert_eq!(told(&spike), found("spike", "22"));
    assert_eq!(told(&drop), found("drop", "-30.25"));
    for answer in [&normal, &spike, &drop] {
        let band = [&answer["expected"], &answer["lower"], &answer["upper"]];
        assert_eq!(band, [&json!("20"), &json!("19"), &json!("21")]);
        assert_eq!((&answer["epoch"], &answer["unit"]), (&json!(7), &json!("currency")));
        assert_eq!(answer["period_start"], "2026-11-21T00:00:00Z");
        assert_eq!((&answer["deviation"], &answer["p_value"]), (&json!(0.5), &json!(0.25)));
        assert_eq!(answer["z_score"], Value::Null, "what is not finite is no number of JSON");
    }
    assert_eq!(spike["findings"][0]["expected"], "20");
    // The running day without `period_start`, and unknown where nothing was before.
    let mut running = body(&json!("20"));
    running.as_object_mut().unwrap().remove("period_start");
    assert_eq!(t1(&world, &running).await.good()["period_start"], "2026-11-21T00:00:00Z");
    let first = json!({"kpi": "revenue_booked", "grain": "day", "period_start": "2026-11-19T07:00:00Z", "value": "1"});
    let first = t1(&world, &first).await.good();
    let nothing = (&first["verdict"], &first["opens"], &first["expected"], &first["reason"]);
    assert_eq!(
        nothing,
        (&json!("unknown"), &json!(false), &Value::Null, &json!("not learned yet"))
    );
    assert_eq!(first["period_start"], "2026-11-19T00:00:00Z");
}

#[tokio::test]
async fn nobody_scores_against_series_of_others_or_without_the_scope() {
    let world = World::new();
    let mut cases = 0;
    for asked in [None, Some("t1"), Some("t2"), Some("t9")] {
        for tenant in ["t1", "t2", "*", "nobody"] {
            for scopes in 0..8_usize {
                let held: Vec<Scope> = (0..3)
                    .filter(|bit| scopes & (1 << bit) != 0)
                    .map(|bit| Scope::ALL[bit])
                    .collect();
                let body = json!({"kpi": "orders", "grain": "day", "value": "1", "tenant": asked});
                let of = asked.or((tenant != "*").then_some(tenant));
                let expected = match of {
                    _ if !held.contains(&Scope::AlertsRead) => 403,
                    None => 400,
                    Some(of) if tenant != "*" && of != tenant => 403,
                    // The others have no orders.
                    Some("t1" | "t2") => 200,
                    Some(_) => 404,
                };
                let answer = send(&world, &world.token(tenant, &held), &body).await;
                let case = format!("{tenant} with {held:?} asks for {asked:?}: {answer:?}");
                assert_eq!(answer.status.as_u16(), expected, "{case}");
                cases += 1;
                if expected == 200 {
                    assert_eq!(answer.json()["tenant"].as_str(), of, "{case}");
                } else {
                    answer.problem(expected);
                }
            }
        }
    }
    assert_eq!(cases, 4 * 4 * 8);
    world.send_body("POST", ROUTE, &[], String::new()).await.problem(401);
    assert!(world.decisions.0.lock().is_empty(), "nothing is decided");
    assert_eq!(world.app.store.position().unwrap().offset, 7, "nothing is published");
}

#[tokio::test]
async fn a_series_is_named_by_its_dimensions() {
    let world = World::new();
    let mut started = start();
    let mut euro = key("orders", "t1", schemas::Grain::Day, "2026-11-20");
    euro.dims = r#"{"currency":null}"#.into();
    started.cells.push((euro, value(5 * ONE), 5));
    world.app.store.start(started);
    let ask = |dims: Value| json!({"kpi": "orders", "grain": "day", "value": 5, "dims": dims});
    let said = t1(&world, &ask(Value::Null)).await.problem(400);
    assert!(said.contains("several series") && said.contains(r#"{"currency":"USD"}"#), "{said}");
    let found = t1(&world, &ask(json!({"currency": null}))).await.good();
    assert_eq!((&found["dims"], &found["expected"]), (&json!({"currency": null}), &json!("5")));
    let found = t1(&world, &ask(json!({"currency": "USD"}))).await.good();
    assert_eq!(found["verdict"], "unknown");
    for dims in [json!({}), json!({"currency": "EUR"}), json!({"currency": "USD", "x": "y"})] {
        let said = t1(&world, &ask(dims)).await.problem(404);
        assert!(said.contains("no series by day with these `dims`"), "{said}");
    }
    let hour = json!({"kpi": "revenue_booked", "grain": "hour", "value": 5});
    let said = t1(&world, &hour).await.problem(404);
    assert!(said.contains("no series of `revenue_booked` of tenant `t1` by hour"), "{said}");
}

#[tokio::test]
async fn what_is_not_understood_is_refused_with_what_to_do() {
    let world = World::new();
    for (change, status, says) in [
        (json!({"kpi": "revenue_boked"}), 404, "`revenue_booked`"),
        (json!({"grain": "week"}), 400, "use hour or day"),
        (json!({"grain": "last_24h"}), 400, "use hour or day"),
        (json!({"value": "much"}), 400, "no decimal"),
        (json!({"value": null}), 400, "the body is not what this route takes"),
        (json!({"period_start": "yesterday"}), 400, "use RFC 3339"),
        (json!({"dimensions": {}}), 400, "unknown field `dimensions`"),
        (json!({"tenant": "t2"}), 403, "not for tenant `t2`"),
    ] {
        let mut body = body(&json!("20"));
        for (name, value) in change.as_object().unwrap() {
            body[name.as_str()] = value.clone();
        }
        let said = t1(&world, &body).await.problem(status);
        assert!(said.contains(says), "{change}: {said}");
    }
    let bearer = format!("Bearer {}", world.token("t1", &Scope::ALL));
    let answer = world
        .send_body(
            "POST",
            &format!("{ROUTE}?tenant=t1"),
            &[("authorization", &bearer)],
            "{}".into(),
        )
        .await;
    answer.problem(400);
}
