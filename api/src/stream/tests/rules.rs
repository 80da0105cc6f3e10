//! Every rule of the protocol that ends a connection, and those that keep it.

use std::time::Duration;

use schemas::Start;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::support::{ALL, Heard, Server, quick};
use crate::stream::StreamLimits;

fn subscribe(id: u64) -> Value {
    json!({"type": "subscribe", "id": id, "channel": "kpi"})
}

#[tokio::test]
async fn what_is_no_message_closes_and_says_why() {
    let server = Server::start(quick()).await;
    let mut witness = server.connect(ALL).await;
    witness.subscribe(1, json!({})).await;
    for (message, word) in [
        (Message::text("nonsense"), "no JSON object"),
        (Message::text("[1]"), "no JSON object"),
        (Message::text(r#"{"type":"dance"}"#), "the type `dance` is unknown"),
        (Message::text(r#"{"type":"unsubscribe","id":1,"why":2}"#), "unknown field `why`"),
        (Message::text(r#"{"type":"subscribe","id":1.5,"channel":"kpi"}"#), "a whole number"),
        (Message::text(" ".repeat(70_000)), "longer than 64 KiB"),
        (Message::binary(vec![1, 2, 3]), "binary"),
    ] {
        let mut client = server.connect(ALL).await;
        client.say_raw(message.clone()).await;
        let (code, reason) = client.hear_close().await;
        assert_eq!(code, 4400, "{reason}");
        assert!(reason.contains(word) && reason.len() <= 123, "{reason}");
    }
    server.publish_one(1);
    assert_eq!(witness.hear("kpi_update").await["offset"], 1);
}

#[tokio::test]
async fn tokens_are_asked_for_and_checked() {
    let limits = StreamLimits { connect_timeout: Duration::from_millis(200), ..quick() };
    let server = Server::start(limits).await;
    let mut silent = server.upgrade(&[]).await.unwrap();
    assert_eq!(silent.hear_close().await.0, 4408);
    for (frame, code) in [
        (json!({"type": "connect", "token": "forged"}), 4401),
        (json!({"type": "connect", "token": "down"}), 4013),
        (subscribe(1), 4400),
        (json!({"type": "refresh", "token": ALL}), 4400),
    ] {
        let mut client = server.upgrade(&[]).await.unwrap();
        client.say(&frame).await;
        let (own, reason) = client.hear_close().await;
        assert_eq!(own, code, "{frame}: {reason}");
        assert!(!reason.contains("forged"), "{reason}");
    }
    let header = ("authorization", "Bearer ann * kpi:read 60");
    let mut client = server.upgrade(&[header]).await.unwrap();
    let connected = client.hear("connected").await;
    assert!(connected["token_ttl_s"].as_u64().unwrap().abs_diff(60) <= 1, "{connected}");
    client.subscribe(1, json!({})).await;
}

#[tokio::test]
async fn what_a_token_does_not_allow_closes() {
    let server = Server::start(quick()).await;
    for (token, frame) in [
        (
            "bob t1 kpi:read 60",
            json!({"type": "subscribe", "id": 4, "channel": "kpi", "filter": {"tenant": "t2"}}),
        ),
        ("bob t1 kpi:read 60", json!({"type": "subscribe", "id": 4, "channel": "alerts"})),
        ("bob * alerts:read 60", json!({"type": "subscribe", "id": 4, "channel": "kpi"})),
    ] {
        let mut client = server.connect(token).await;
        client.say(&frame).await;
        let error = client.hear("error").await;
        assert_eq!((&error["id"], &error["code"]), (&json!(4), &json!("forbidden")));
        assert_eq!(client.hear_close().await.0, 4403, "{frame}");
    }
}

#[tokio::test]
async fn ids_are_used_once_at_a_time() {
    let server = Server::start(quick()).await;
    let mut client = server.connect(ALL).await;
    client.subscribe(1, json!({})).await;
    client.say(&json!({"type": "unsubscribe", "id": 1})).await;
    client.say(&json!({"type": "unsubscribe", "id": 77})).await;
    client.subscribe(1, json!({"kpi": "orders"})).await;
    client
        .say(&json!({"type": "subscribe", "id": 2, "channel": "kpi", "filter": {"kpi": "joy"}}))
        .await;
    let error = client.hear("error").await;
    assert_eq!(error["code"], "unknown_kpi");
    client.subscribe(2, json!({})).await;
    server.publish_one(1);
    let mut ids = [client.hear("kpi_update").await, client.hear("kpi_update").await]
        .map(|frame| frame["id"].as_u64().unwrap());
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    client.say(&subscribe(1)).await;
    assert_eq!(client.hear("error").await["code"], "duplicate_id");
    assert_eq!(client.hear_close().await.0, 4409);
}

#[tokio::test]
async fn the_mute_are_closed_and_those_who_answer_are_not() {
    let limits = StreamLimits {
        ping_interval: Duration::from_millis(150),
        pong_timeout: Duration::from_millis(150),
        ..quick()
    };
    let server = Server::start(limits).await;
    let mut mute = server.connect(ALL).await;
    mute.is_mute = true;
    let mut lively = server.connect(ALL).await;
    lively.subscribe(1, json!({})).await;
    let lively = tokio::spawn(async move {
        let until = tokio::time::Instant::now() + Duration::from_millis(1_000);
        while tokio::time::Instant::now() < until {
            let Heard::Frame(_) = lively.next().await else { panic!("closed") };
        }
    });
    assert_eq!(mute.hear_close().await.0, 4009);
    lively.await.unwrap();
}

#[tokio::test]
async fn tokens_expire_unless_they_are_replaced() {
    let limits = StreamLimits { expiry_grace: Duration::from_millis(100), ..quick() };
    let server = Server::start(limits).await;
    let mut expiring = server.connect("ann * kpi:read 0.4").await;
    let mut renewed = server.connect("ann * kpi:read 0.4").await;
    renewed.say(&json!({"type": "refresh", "token": "ann * kpi:read 60"})).await;
    let refreshed = renewed.hear("refreshed").await;
    assert!(refreshed["token_ttl_s"].as_u64().unwrap() >= 59, "{refreshed}");
    assert_eq!(expiring.hear_close().await.0, 4401);
    renewed.say(&json!({"type": "refresh", "token": "down"})).await;
    assert_eq!(renewed.hear("error").await["code"], "unavailable");
    renewed.subscribe(1, json!({})).await;
    renewed.say(&json!({"type": "refresh", "token": "forged"})).await;
    assert_eq!(renewed.hear_close().await.0, 4401);
}

#[tokio::test]
async fn a_new_token_must_allow_what_runs() {
    let server = Server::start(quick()).await;
    for (filter, token, expected) in [
        (json!({"tenant": "t1"}), "ann t1 kpi:read 60", None),
        (json!({"tenant": "t1"}), "ann t2 kpi:read 60", Some("error")),
        (json!({"tenant": "t1"}), "ann t1 alerts:read 60", Some("error")),
        (json!({}), "ann t1 kpi:read 60", Some("error")),
        (json!({"tenant": "t1"}), "eve * kpi:read 60", Some("")),
    ] {
        let mut client = server.connect(ALL).await;
        client.subscribe(5, filter.clone()).await;
        client.say(&json!({"type": "refresh", "token": token})).await;
        let Some(kind) = expected else {
            client.hear("refreshed").await;
            continue;
        };
        if kind == "error" {
            assert_eq!(client.hear("error").await["id"], 5);
        }
        assert_eq!(client.hear_close().await.0, 4403, "{filter} {token}");
    }
}

#[tokio::test]
async fn a_client_goes_on_where_it_was_if_that_is_known() {
    let server = Server::start(quick()).await;
    for number in 1..=5 {
        server.publish_one(number);
    }
    let since = |generation: &str, offset: u64| {
        let mut frame = subscribe(1);
        frame["since"] = json!({"generation": generation, "offset": offset});
        frame
    };
    for (frame, updates) in [(since("g1", 3), 1), (since("g1", 5), 0), (since("g1", 0), 1)] {
        let mut client = server.connect(ALL).await;
        client.say(&frame).await;
        let subscribed = client.hear("subscribed").await;
        assert_eq!(subscribed["recovered"], true);
        assert_eq!(subscribed["offset"], frame["since"]["offset"]);
        for _ in 0..updates {
            let update = client.hear("kpi_update").await;
            assert_eq!(
                (&update["offset"], &update["upserts"][0]["value"]),
                (&json!(5), &json!("2.5"))
            );
        }
        let Heard::Frame(progress) = client.next().await else { panic!("closed") };
        assert_eq!((&progress["type"], &progress["offset"]), (&json!("progress"), &json!(5)));
        assert_eq!(progress["watermark"], progress["as_of"]);
        assert_eq!(progress["reasons"], json!(["source `a` is \"slow\""]));
        assert_eq!(progress["degraded"], true);
    }
    for frame in [since("g0", 3), since("g1", 6)] {
        let mut client = server.connect(ALL).await;
        client.say(&frame).await;
        let subscribed = client.hear("subscribed").await;
        assert_eq!((&subscribed["recovered"], &subscribed["offset"]), (&json!(false), &json!(0)));
        assert_eq!(client.hear("snapshot").await["offset"], 5);
    }
}

#[tokio::test]
async fn a_rebuilt_store_sends_everybody_back_to_the_start() {
    let server = Server::start(quick()).await;
    server.publish_one(1);
    let mut client = server.connect(ALL).await;
    client.subscribe(1, json!({})).await;
    server.store.start(Start { generation: "g2".into(), offset: 40, ..Start::default() });
    assert_eq!(client.hear_close().await.0, 4010);
}

#[tokio::test]
async fn a_stop_sends_what_there_is_and_says_when_to_come_again() {
    let server = Server::start(quick()).await;
    let mut client = server.connect(ALL).await;
    client.subscribe(1, json!({})).await;
    let mut unknown = server.upgrade(&[]).await.unwrap();
    server.publish_one(1);
    server.publish_one(2);
    let begin = std::time::Instant::now();
    let streams = std::sync::Arc::clone(&server.streams);
    let stop = tokio::spawn(async move { streams.shutdown().await });
    let (mut offset, mut after) = (0, None);
    loop {
        match client.next().await {
            Heard::Frame(frame) if frame["type"] == "disconnect" => {
                assert_eq!(frame["code"], 4012);
                after = frame["reconnect_after_ms"].as_u64();
            }
            Heard::Frame(frame) => offset = frame["offset"].as_u64().unwrap(),
            Heard::Closed(code, _) => break assert_eq!(code, 4012),
            Heard::Gone => panic!("gone"),
        }
    }
    assert_eq!(offset, 2);
    assert!((100..=10_000).contains(&after.unwrap()));
    assert_eq!(unknown.hear_close().await.0, 4012);
    stop.await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(server.upgrade(&[]).await.err(), Some(503));
}
