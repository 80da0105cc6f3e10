//! A digest a day, over restarts and a receiver that fails at first.

use std::sync::Arc;
use std::time::Duration;

use alerting::{Outbox, State};
use schemas::Severity::{Error, Info, Warning};
use serde_json::Value;

use crate::support::{Answer, Hands, Receiver, Seen, alert, holds, route, sqlite, start_at, tell};

/// What a digest was told: its id, and how many alerts it counts.
fn digests(receiver: &Receiver) -> Vec<(String, u64)> {
    let seen = receiver.seen.lock();
    let digest = |(headers, body): &Seen| {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["type"], "digest", "{body}");
        (headers["webhook-id"].clone(), body["digest"]["alerts"].as_u64().unwrap())
    };
    seen.iter().map(digest).collect()
}

/// Longer than the keeper and a courier sleep.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(2_500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_pages_nobody_is_told_once_a_day_whatever_happens() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let receiver = Receiver::start(&[Answer::Status(503, "")]).await;
    let hands = Hands::at("2026-11-29T10:00:00Z");
    let routes = vec![route("daily", &receiver.url, "digest = '08:00'")];
    let run = || start_at(&store, routes.clone(), Arc::new(hands.clone()));
    let alerting = run().await;
    let outbox = Outbox::open(&store).await.unwrap();
    let mut feed = Some(alerting.feed());
    tell(&mut feed, Vec::new(), true).await;
    let all = vec![alert("a", Info, true), alert("b", Warning, true), alert("c", Error, true)];
    tell(&mut feed, all.clone(), false).await;
    holds(&outbox, 2).await;
    tell(&mut feed, vec![alert("a", Info, false)], false).await;
    holds(&outbox, 3).await;
    assert!(outbox.list(10).await.unwrap().iter().all(|own| own.state == State::Collected));
    alerting.stop().await;
    // Nothing of it is due before its time, whoever starts.
    hands.set("2026-11-30T07:59:59Z");
    let alerting = run().await;
    a_while().await;
    assert!(digests(&receiver).is_empty());
    hands.set("2026-11-30T08:00:00Z");
    a_while().await;
    assert!(digests(&receiver).is_empty(), "the receiver fails at first");
    hands.set("2026-11-30T08:00:10Z");
    receiver.has(1).await;
    alerting.stop().await;
    // Started again on that day, and on the next, when there is nothing to tell.
    for instant in ["2026-11-30T08:00:11Z", "2026-11-30T23:00:00Z", "2026-12-01T08:00:00Z"] {
        hands.set(instant);
        let alerting = run().await;
        a_while().await;
        alerting.stop().await;
    }
    let first = ("digest.daily.2026-11-30".to_owned(), 2);
    assert_eq!(digests(&receiver), vec![first], "a and b, once");
    // Down for two days, one digest tells of both.
    let alerting = run().await;
    let mut feed = Some(alerting.feed());
    let d = alert("d", Info, true);
    tell(&mut feed, [all, vec![d]].concat(), true).await;
    holds(&outbox, 6).await;
    alerting.stop().await;
    hands.set("2026-12-03T12:00:00Z");
    let alerting = run().await;
    receiver.has(2).await;
    alerting.stop().await;
    let (id, alerts) = digests(&receiver).pop().unwrap();
    assert_eq!((id.as_str(), alerts), ("digest.daily.2026-12-03", 2), "a again, and d");
}

#[test]
fn a_route_that_cannot_bring_a_digest_is_refused() {
    for (rest, says) in [
        (
            "kind = 'alertmanager'\nurl = 'http://127.0.0.1:1'\ndigest = '08:00'",
            "kind `alertmanager`",
        ),
        ("kind = 'log'\ndigest = '8'", "digest: `8`"),
        (
            "kind = 'log'\ndigest = '08:00'\nquiet = { from = '22:00', to = '07:00' }",
            "leave one out",
        ),
    ] {
        let settings = toml::from_str(&format!("name = 'x'\n{rest}")).unwrap();
        let refused = alerting::check(&[settings]).unwrap_err();
        assert!(refused.contains("[[alerts.routes]] `x`") && refused.contains(says), "{refused}");
    }
    let wrong = "name = 'x'\nkind = 'log'\ndigest = { time = '08:00' }";
    let refused = toml::from_str::<alerting::RouteSettings>(wrong).unwrap_err().to_string();
    assert!(refused.contains("Europe/Berlin"), "{refused}");
}
