//! The channel of alerts.

use schemas::{Alert, EpochStamp, Grain, Severity};
use serde_json::{Value, json};

use super::history::{clock, key};
use super::support::{ALL, Client, Server, quick};
use crate::stream::StreamLimits;

const DAY_US: i64 = 86_400_000_000;

fn alert(id: &str, tenant: &str, epoch: u64) -> Alert {
    Alert {
        id: id.into(),
        key: key("orders", tenant, "EUR", Grain::Day, 0),
        incident: id.into(),
        rule: "seasonal".into(),
        anomaly_type: "drop".into(),
        severity: Severity::Error,
        opened_at: clock(epoch),
        resolved_at: None,
        resolution: None,
        value: Some(10_000_000_000),
        expected: Some(20_000_000_000),
        lower: None,
        upper: None,
        deviation: -0.5,
        z_score: -8.0,
        p_value: 1e-9,
        confidence: 1.0 - 1e-9,
        reason: "fewer than usual".into(),
        contributions: Vec::new(),
        epoch,
    }
}

fn resolved(alert: Alert, epoch: u64, days_ago: i64) -> Alert {
    let at = clock(epoch).plus(-days_ago * DAY_US);
    Alert { resolved_at: Some(at), epoch, ..alert }
}

fn apply(server: &Server, epoch: u64, alerts: &[Alert]) {
    let stamp = EpochStamp { id: epoch, clock: clock(epoch), quiet: false };
    server.store.apply(&stamp, &[], alerts);
}

fn wish(since: Option<u64>) -> Value {
    let mut frame = json!({"type": "subscribe", "id": 2, "channel": "alerts"});
    if let Some(offset) = since {
        frame["since"] = json!({"generation": "g1", "offset": offset});
    }
    frame
}

fn ids(snapshot: &Value) -> Vec<&str> {
    snapshot["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["id"].as_str().unwrap())
        .collect()
}

async fn hear_alert(client: &mut Client) -> (u64, String, String, bool) {
    let frame = client.hear("anomaly_alert").await;
    assert_eq!(frame["id"], 2);
    let text = |field: &str| frame["alert"][field].as_str().unwrap().to_owned();
    (frame["offset"].as_u64().unwrap(), text("id"), text("state"), frame["more"] == true)
}

#[tokio::test]
async fn alerts_come_in_order_and_bounded_by_the_tenant() {
    let server = Server::start(quick()).await;
    let old = alert("old", "t1", 1);
    apply(&server, 1, &[resolved(old, 1, 2), resolved(alert("late", "t1", 1), 1, 0)]);
    apply(&server, 2, &[alert("a", "t1", 2), alert("b", "t2", 2)]);
    let mut all = server.connect(ALL).await;
    all.say(&wish(None)).await;
    let snapshot = all.hear("snapshot").await;
    assert_eq!(ids(&snapshot), ["late", "a", "b"], "not what was resolved two days ago");
    assert_eq!((&snapshot["offset"], &snapshot["more"]), (&json!(2), &json!(false)));
    let mut one = server.connect("bob t1 alerts:read 60").await;
    one.say(&wish(None)).await;
    assert_eq!(ids(&one.hear("snapshot").await), ["late", "a"]);
    apply(&server, 3, &[]);
    apply(&server, 4, &[alert("c", "t2", 4), resolved(alert("a", "t1", 2), 4, 0)]);
    assert_eq!(hear_alert(&mut all).await, (4, "a".into(), "resolved".into(), true));
    assert_eq!(hear_alert(&mut all).await, (4, "c".into(), "firing".into(), false));
    assert_eq!(hear_alert(&mut one).await, (4, "a".into(), "resolved".into(), false));
}

#[tokio::test]
async fn alerts_go_on_after_a_break_unless_there_are_too_many() {
    let limits = StreamLimits { alerts_behind: 3, ..quick() };
    let server = Server::start(limits).await;
    for epoch in 1..=5 {
        apply(&server, epoch, &[alert(&format!("a{epoch}"), "t1", epoch)]);
    }
    let mut near = server.connect(ALL).await;
    near.say(&wish(Some(3))).await;
    assert_eq!(near.hear("subscribed").await["recovered"], true);
    assert_eq!(hear_alert(&mut near).await.1, "a4");
    assert_eq!(hear_alert(&mut near).await.1, "a5");
    let mut far = server.connect(ALL).await;
    far.say(&wish(Some(1))).await;
    assert_eq!(far.hear("subscribed").await["recovered"], false);
    assert_eq!(ids(&far.hear("snapshot").await).len(), 5);
    let storm: Vec<Alert> = (0..4).map(|n| alert(&format!("s{n}"), "t1", 6)).collect();
    apply(&server, 6, &storm);
    assert_eq!(near.hear_close().await.0, 4008, "alerts are not left out in silence");
}
