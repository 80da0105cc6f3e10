//! Clients that read slowly or not at all: how much is under way to them, and what becomes of them.

use std::time::Duration;

use serde_json::json;

use super::history::many;
use super::support::{ALL, Heard, Server, quick};
use crate::stream::StreamLimits;

/// What a client that reads nothing may have under way, both ends and the hub's last frame counted.
const UNDER_WAY: u64 = 600_000;

#[tokio::test(flavor = "multi_thread")]
async fn little_is_under_way_to_a_client_that_does_not_read() {
    let limits = StreamLimits { send_timeout: Duration::from_secs(60), ..quick() };
    let server = Server::start(limits).await;
    let mut client = server.connect(ALL).await;
    client.subscribe(1, json!({})).await;
    // One that reads shows that every epoch was made into frames.
    let mut witness = server.connect(ALL).await;
    witness.subscribe(1, json!({})).await;
    let before = server.streams.counters().bytes;
    let mut witnessed = 0;
    for round in 1..=100_u32 {
        server.publish(many(400, round));
        loop {
            let Heard::Frame(frame) = witness.next().await else { panic!("closed") };
            witnessed += frame.to_string().len() as u64;
            if frame["offset"] == round && frame["more"] != true {
                break;
            }
        }
    }
    let sent = server.streams.counters().bytes - before - witnessed;
    assert!(sent < UNDER_WAY, "{sent} bytes were sent to a client that takes none");
    // What it reads then is at most that, and the newest.
    let last = server.history.lock().last;
    let mut read = 0;
    loop {
        let Heard::Frame(frame) = client.next().await else { panic!("closed") };
        read += frame.to_string().len() as u64;
        if frame["offset"] == last {
            break;
        }
    }
    assert!(read < 2 * UNDER_WAY, "{read} bytes to the newest value");
    assert!(server.streams.counters().conflated > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_that_takes_frames_is_not_called_mute() {
    let limits = StreamLimits {
        ping_interval: Duration::from_millis(100),
        pong_timeout: Duration::from_millis(300),
        ..quick()
    };
    let server = Server::start(limits).await;
    let mut client = server.connect(ALL).await;
    client.subscribe(1, json!({})).await;
    let publishing = async {
        for round in 1..=400 {
            server.publish(many(400, round));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // An answer to a sign of life comes when the client has read what stands before it.
    let reading = async {
        let begin = tokio::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(3_500) {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let heard = client.next().await;
            assert!(matches!(heard, Heard::Frame(_)), "{heard:?} after {:?}", begin.elapsed());
        }
    };
    tokio::join!(publishing, reading);
}

#[tokio::test]
async fn the_clock_of_progress_goes_on_while_nothing_changes() {
    let server = Server::start(quick()).await;
    let mut client = server.connect(ALL).await;
    // Of a lake without a single epoch.
    client.subscribe(1, json!({})).await;
    let clock = |second: u32| format!("2026-11-21T10:00:{second:02}Z");
    let mut expect = async |second: u32, offset: u64| loop {
        let Heard::Frame(frame) = client.next().await else { panic!("closed") };
        if frame["type"] == "progress" && frame["as_of"] == clock(second) {
            assert_eq!((&frame["watermark"], &frame["offset"]), (&frame["as_of"], &json!(offset)));
            break;
        }
        assert!(frame["as_of"].as_str().unwrap() < clock(second).as_str(), "{frame}");
    };
    for second in [1, 2] {
        server.store.idle(schemas::Micros::parse(&clock(second)).unwrap());
        expect(second, 0).await;
    }
}
