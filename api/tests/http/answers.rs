//! What people say of alerts: who may, of which tenants, and what is kept of it.

use std::sync::Arc;

use api::Scope;
use schemas::answer::{Acknowledge, Answers, Feedback, Mute, Verdict};
use schemas::{AlertMatch, ControlRecord, Decision, EpochStamp, Published, Severity};
use serde_json::{Value, json};

use crate::support::{Answer, World, at};

/// A world in which `m1` mutes tenant `t1` and `m2` all tenants, since epoch 8.
fn world() -> World {
    let world = World::new();
    let mute = |tenant: Option<&str>| {
        let (tenant, until) = (tenant.map(str::to_owned), at("2026-11-22T00:00:00Z"));
        let matching = AlertMatch { severity: vec![Severity::Critical], ..AlertMatch::default() };
        Decision::Mute(Mute { tenant, matching, until, comment: None })
    };
    said(&world, 8, &[("m1", mute(Some("t1"))), ("m2", mute(None))]);
    world
}

/// Publishes an epoch with these decisions.
fn said(world: &World, epoch: u64, decisions: &[(&str, Decision)]) {
    let stamp = EpochStamp { id: epoch, clock: at("2026-11-21T10:01:00Z"), quiet: false };
    let mut answers = (*world.app.store.answers().unwrap().1).clone();
    for (id, decision) in decisions {
        let (id, by, decision) = ((*id).to_owned(), "kim".to_owned(), decision.clone());
        answers.take(&ControlRecord { id, at: at("2026-11-21T10:00:30Z"), by, decision }, &stamp);
    }
    let (cells, alerts, degraded) = (Vec::new(), Vec::new(), Arc::default());
    let answers: Arc<Answers> = Arc::new(answers);
    world.app.store.publish(&Published {
        stamp,
        cells,
        alerts,
        answers,
        models: Arc::default(),
        degraded,
    });
}

async fn send(world: &World, token: &str, (method, path, body): (&str, &str, &str)) -> Answer {
    let bearer = format!("Bearer {token}");
    world.send_body(method, path, &[("authorization", &bearer)], body.to_owned()).await
}

const MUTE: &str =
    r#"{"match": {"kpi": ["orders*"]}, "until": "2026-11-22T00:00:00Z", "comment": "sale"}"#;

/// Every route that decides, and one that reads the same; of tenant `t1` where it is of one.
const ROUTES: [(&str, &str, &str); 7] = [
    ("POST", "/api/v1/alerts/a1/acknowledge", r#"{"comment": "on it"}"#),
    ("POST", "/api/v1/alerts/a1/feedback", r#"{"verdict": "no"}"#),
    ("POST", "/api/v1/mutes", MUTE),
    ("DELETE", "/api/v1/mutes/m1", ""),
    ("DELETE", "/api/v1/mutes/m2", ""),
    ("GET", "/api/v1/mutes", ""),
    ("GET", "/api/v1/alerts/a1", ""),
];

#[tokio::test]
async fn nobody_decides_about_alerts_of_others_or_without_the_scope() {
    let world = world();
    let (mut cases, mut kept) = (0, 0);
    for route in ROUTES {
        let (method, path, _) = route;
        for tenant in ["t1", "t2", "*", "nobody"] {
            for scopes in 0..8_usize {
                let has = |bit: usize| scopes & (1 << bit) != 0;
                let held: Vec<Scope> =
                    (0..3).filter(|bit| has(*bit)).map(|bit| Scope::ALL[bit]).collect();
                let (reads, writes) =
                    (held.contains(&Scope::AlertsRead), held.contains(&Scope::AlertsWrite));
                let may = match (method, path) {
                    ("GET", "/api/v1/mutes") => reads || writes,
                    ("GET", _) => reads,
                    _ => writes,
                };
                let is_seen = match path {
                    "/api/v1/mutes" => true,
                    "/api/v1/mutes/m2" => tenant == "*",
                    _ => tenant == "*" || tenant == "t1",
                };
                let expected = if !may {
                    403
                } else if is_seen {
                    200
                } else {
                    404
                };
                let before = world.decisions.0.lock().len();
                let answer = send(&world, &world.token(tenant, &held), route).await;
                let case = format!("{method} {path} of {tenant} with {held:?}: {answer:?}");
                assert_eq!(answer.status.as_u16(), expected, "{case}");
                let decides = method != "GET" && expected == 200;
                assert_eq!(world.decisions.0.lock().len() - before, usize::from(decides), "{case}");
                cases += 1;
                kept += usize::from(decides);
            }
        }
        let none = world.send_body(method, path, &[], String::new()).await;
        none.problem(401);
    }
    assert_eq!((cases, kept), (7 * 4 * 8, (2 + 2 + 4 + 2 + 1) * 4));
}

#[tokio::test]
async fn what_is_kept_is_what_was_said_and_by_whom() {
    let world = world();
    let token = world.token("t1", &[Scope::AlertsWrite]);
    for route in &ROUTES[..4] {
        send(&world, &token, *route).await.good();
    }
    // Without words, and with an empty body.
    send(&world, &token, ("POST", "/api/v1/alerts/a1/acknowledge", "")).await.good();
    send(&world, &token, ("POST", "/api/v1/alerts/a1/acknowledge", r#"{"comment": " "}"#))
        .await
        .good();
    let kept = std::mem::take(&mut *world.decisions.0.lock());
    assert!(kept.iter().all(|(_, by)| by == "someone"), "{kept:?}");
    let acknowledge = |comment: Option<&str>| {
        Decision::Acknowledge(Acknowledge {
            alert: "a1".into(),
            comment: comment.map(str::to_owned),
        })
    };
    let no = Feedback { alert: "a1".into(), verdict: Verdict::No, comment: None };
    let mute = Mute {
        tenant: Some("t1".into()),
        matching: AlertMatch { kpi: vec!["orders*".into()], ..AlertMatch::default() },
        until: at("2026-11-22T00:00:00Z"),
        comment: Some("sale".into()),
    };
    let decisions: Vec<Decision> = kept.into_iter().map(|(decision, _)| decision).collect();
    assert_eq!(
        decisions[..3],
        [acknowledge(Some("on it")), Decision::Feedback(no), Decision::Mute(mute)]
    );
    assert_eq!(decisions[4..], [acknowledge(None), acknowledge(None)]);
}

#[tokio::test]
async fn a_mute_is_of_the_tokens_tenant_whatever_it_asks_for() {
    let world = world();
    let body = |tenant: &str| {
        json!({"match": {"tenant": [tenant]}, "until": "2026-11-22T00:00:00Z"}).to_string()
    };
    let own = world.token("t1", &Scope::ALL);
    for (tenant, status) in [("t1", 200), ("t2", 403), ("*", 403), ("t*", 403)] {
        let answer = send(&world, &own, ("POST", "/api/v1/mutes", &body(tenant))).await;
        assert_eq!(answer.status.as_u16(), status, "{tenant}: {answer:?}");
    }
    let all = world.token("*", &Scope::ALL);
    let made = send(&world, &all, ("POST", "/api/v1/mutes", &body("t*"))).await.good();
    assert_eq!((&made["tenant"], &made["match"]["tenant"]), (&Value::Null, &json!(["t*"])));
    let bound = |(decision, _): &(Decision, String)| match decision {
        Decision::Mute(mute) => mute.tenant.clone(),
        other => panic!("{other:?}"),
    };
    let tenants: Vec<_> = world.decisions.0.lock().iter().map(bound).collect();
    assert_eq!(tenants, [Some("t1".to_owned()), None]);
    let ids = |answer: Value| -> Vec<String> {
        let all = answer["mutes"].as_array().unwrap().clone();
        all.iter().map(|mute| mute["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(world.t1("/api/v1/mutes").await.good()), ["m1"]);
    assert_eq!(ids(world.all("/api/v1/mutes").await.good()), ["m1", "m2"]);
}

#[tokio::test]
async fn bodies_that_are_not_understood_decide_nothing() {
    let world = world();
    let token = world.token("*", &Scope::ALL);
    let long = json!({"comment": "x".repeat(2_001)}).to_string();
    for (path, body, says) in [
        ("/api/v1/alerts/a1/acknowledge", "{", "the body is not what this route takes"),
        ("/api/v1/alerts/a1/acknowledge", r#"{"coment": "a"}"#, "unknown field `coment`"),
        ("/api/v1/alerts/a1/acknowledge", long.as_str(), "longer than 2000 bytes"),
        ("/api/v1/alerts/a1/acknowledge?tenant=t1", "", "tenant"),
        ("/api/v1/alerts/a1/feedback", "", "missing field `verdict`"),
        ("/api/v1/alerts/a1/feedback", r#"{"verdict": "maybe"}"#, "unknown variant `maybe`"),
        ("/api/v1/mutes", r#"{"until": "2026-11-22T00:00:00Z"}"#, "missing field `match`"),
        ("/api/v1/mutes", r#"{"match": {}, "until": "tomorrow"}"#, "no instant"),
        ("/api/v1/mutes", r#"{"match": {}, "until": "2026-11-21T10:00:00Z"}"#, "which is over"),
        ("/api/v1/mutes", r#"{"match": {"kpis": []}, "until": "2026-11-22T00:00:00Z"}"#, "`kpis`"),
    ] {
        let said = send(&world, &token, ("POST", path, body)).await.problem(400);
        assert!(said.contains(says), "{path} {body}: {said}");
    }
    let gone =
        send(&world, &token, ("POST", "/api/v1/alerts/zz/acknowledge", "")).await.problem(404);
    assert!(gone.contains("there is no alert `zz`"), "{gone}");
    assert!(world.decisions.0.lock().is_empty());
    *world.decisions.1.lock() = Some(api::NotKept::Nothing);
    let said = send(&world, &token, ROUTES[0]).await.problem(503);
    assert!(said.contains("nothing is decided"), "{said}");
}

#[tokio::test]
async fn what_was_said_shows_after_its_epoch() {
    let world = world();
    let alert = |answer: Value| {
        let all = answer["alerts"].as_array().unwrap().clone();
        all.into_iter().find(|alert| alert["id"] == "a1").unwrap()
    };
    let before = alert(world.t1("/api/v1/alerts").await.good());
    let fields = ["acknowledged_by", "acknowledged_at", "feedback", "muted_until"];
    assert!(fields.iter().all(|field| before[*field].is_null()), "{before}");
    assert_eq!(before["muted"], false);
    let acknowledge = Acknowledge { alert: "a1".into(), comment: Some("on it".into()) };
    let planned = Feedback { alert: "a1".into(), verdict: Verdict::Planned, comment: None };
    let mute = Mute {
        tenant: Some("t1".into()),
        matching: AlertMatch::default(),
        until: at("2026-11-23T00:00:00Z"),
        comment: None,
    };
    said(
        &world,
        9,
        &[
            ("x", Decision::Acknowledge(acknowledge)),
            ("y", Decision::Feedback(planned)),
            ("z", Decision::Mute(mute)),
        ],
    );
    let after = alert(world.t1("/api/v1/alerts").await.good());
    assert_eq!(after["state"], "firing", "none of it is a state");
    assert_eq!(
        (&after["acknowledged_by"], &after["acknowledged_comment"]),
        (&json!("kim"), &json!("on it"))
    );
    assert_eq!(after["acknowledged_at"], "2026-11-21T10:00:30Z");
    assert_eq!(after["feedback"]["verdict"], "planned");
    assert_eq!(
        (&after["muted"], &after["muted_until"]),
        (&json!(true), &json!("2026-11-23T00:00:00Z"))
    );
    let changed = world.app.store.alerts(None, Some(8)).unwrap().1;
    let ids: Vec<&str> = changed.iter().map(|alert| &*alert.id).collect();
    assert_eq!(
        ids,
        ["a1", "a2"],
        "the stream is told of those that it changes, and not of other tenants'"
    );
}

#[tokio::test]
async fn an_alert_says_what_was_told_of_it() {
    let world = World::new();
    let answer = world.t1("/api/v1/alerts/a1").await.good();
    assert_eq!((&answer["alert"]["id"], &answer["epoch"]), (&json!("a1"), &json!(7)));
    let told = json!([{
        "route": "hook", "kind": "opened", "state": "waiting", "attempts": 3, "error": "no answer",
        "made_at": "2026-11-21T10:00:00Z", "ended_at": null,
        "quiet_until": "2026-11-22T06:00:00Z", "silenced_by": ["s1"], "inhibited_by": [],
    }]);
    assert_eq!(answer["deliveries"], told);
    let said = world.t1("/api/v1/alerts/b1").await.problem(404);
    let none = world.t1("/api/v1/alerts/b9").await.problem(404);
    assert_eq!(said.replace("b1", "b9"), none, "an alert of others is none");
}
