//! Bounds on connections, subscriptions and messages.

use schemas::Start;
use serde_json::json;

use super::support::{ALL, Server, quick};
use crate::stream::StreamLimits;

#[tokio::test]
async fn an_upgrade_is_refused_before_anything_is_served() {
    let server = Server::recovering(quick()).await;
    assert_eq!(server.upgrade(&[]).await.err(), Some(503));
    server.store.start(Start { generation: "g1".into(), ..Start::default() });
    server.connect(ALL).await;
    assert_eq!(server.streams.counters().refused.get(&503), Some(&1));
}

#[tokio::test]
async fn an_upgrade_must_come_from_here_and_ask_for_this() {
    let server = Server::start(quick()).await;
    let own = format!("http://{}", server.address);
    for (headers, expected) in [
        (vec![("origin", "https://evil.example")], Some(403)),
        (vec![("origin", own.as_str())], None),
        (vec![("sec-websocket-protocol", "chat, kpi.v1")], None),
        (vec![("sec-websocket-protocol", "chat")], Some(400)),
        (vec![("authorization", "Bearer forged")], Some(401)),
        (vec![("authorization", "Bearer down")], Some(503)),
    ] {
        let answer = server.upgrade(&headers).await.err();
        assert_eq!(answer, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn connections_are_bounded() {
    let limits = StreamLimits { connections: 6, unauthenticated: 2, per_subject: 2, ..quick() };
    let server = Server::start(limits).await;
    let strangers = [server.upgrade(&[]).await.unwrap(), server.upgrade(&[]).await.unwrap()];
    assert_eq!(server.upgrade(&[]).await.err(), Some(503), "two may be unknown");
    let header = ("authorization", "Bearer ann * kpi:read 60");
    let known =
        [server.upgrade(&[header]).await.unwrap(), server.upgrade(&[header]).await.unwrap()];
    assert_eq!(server.upgrade(&[header]).await.err(), Some(503), "two of one subject");
    drop(strangers);
    server.wait_for("strangers leave", |streams| streams.connections() == 2).await;
    let mut third = server.upgrade(&[]).await.unwrap();
    third.say(&json!({"type": "connect", "token": ALL})).await;
    assert_eq!(third.hear_close().await.0, 4429, "it says who it is too late for a 503");
    drop(known);
    server.wait_for("all leave", |streams| streams.connections() == 0).await;
    server.connect(ALL).await;
}

#[tokio::test]
async fn subscriptions_and_filters_are_bounded() {
    let limits = StreamLimits { subscriptions: 3, cohorts: 3, ..quick() };
    let server = Server::start(limits).await;
    let mut client = server.connect(ALL).await;
    for (id, grain) in [(1, "day"), (2, "hour"), (3, "month")] {
        client.subscribe(id, json!({"grain": grain})).await;
    }
    let mut other = server.connect(ALL).await;
    other.subscribe(1, json!({"grain": "day"})).await;
    other.say(&json!({"type": "subscribe", "id": 2, "channel": "kpi"})).await;
    assert_eq!(other.hear("error").await["code"], "too_many");
    assert_eq!(other.hear_close().await.0, 4429, "a fourth filter");
    client
        .say(&json!({"type": "subscribe", "id": 4, "channel": "kpi", "filter": {"grain": "day"}}))
        .await;
    assert_eq!(client.hear_close().await.0, 4429, "a fourth subscription");
    drop((client, other));
    server.wait_for("they leave", |streams| streams.connections() == 0).await;
    let mut next = server.connect(ALL).await;
    next.subscribe(1, json!({})).await;
}

#[tokio::test]
async fn messages_are_bounded() {
    let limits = StreamLimits { message_burst: 20, messages_per_second: 1, ..quick() };
    let server = Server::start(limits).await;
    let mut client = server.connect(ALL).await;
    for _ in 0..30 {
        client.say(&json!({})).await;
    }
    assert_eq!(client.hear_close().await.0, 4429);
}
