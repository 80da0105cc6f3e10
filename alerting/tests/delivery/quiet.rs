//! Notices that come at night, over a restart, until the morning.

use std::sync::Arc;
use std::time::Duration;

use alerting::{Outbox, State};
use schemas::Severity::{Critical, Error, Warning};

use crate::support::{Hands, Receiver, alert, holds, route, sqlite, start_at, tell};

const NIGHT: &str = "quiet = { from = '22:00', to = '07:00', except = ['critical'] }";

/// What became of each notice, the oldest first.
async fn states(outbox: &Outbox) -> Vec<(String, State)> {
    let found = outbox.list(100).await.unwrap().into_iter().rev();
    found.map(|own| (own.notice.id, own.state)).collect()
}

async fn become_so(outbox: &Outbox, wanted: &[(&str, State)]) {
    let begin = std::time::Instant::now();
    loop {
        let found = states(outbox).await;
        let found: Vec<_> = found.iter().map(|(id, state)| (id.as_str(), *state)).collect();
        if found == wanted {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{found:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

use State::{Delivered, Skipped, Waiting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_opens_at_night_is_told_in_the_morning_if_it_still_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let receiver = Receiver::start(&[]).await;
    let hands = Hands::at("2026-11-20T23:00:00Z");
    let routes = vec![route("hook", &receiver.url, NIGHT)];
    let alerting = start_at(&store, routes.clone(), Arc::new(hands.clone())).await;
    let outbox = Outbox::open(&store).await.unwrap();
    let mut feed = Some(alerting.feed());
    tell(&mut feed, Vec::new(), true).await;
    let opened = vec![alert("a", Error, true), alert("b", Error, true), alert("c", Critical, true)];
    tell(&mut feed, opened, false).await;
    receiver.has(1).await;
    become_so(&outbox, &[("a.opened", Waiting), ("b.opened", Waiting), ("c.opened", Delivered)])
        .await;
    let now = schemas::Clock::now(&hands);
    let waits = outbox.of_alert("a", 1).await.unwrap()[0].quiet_until(now).unwrap();
    assert_eq!(waits.to_string(), "2026-11-21T07:00:00Z");
    tell(&mut feed, vec![alert("b", Error, false)], false).await;
    let over = [
        ("a.opened", Waiting),
        ("b.opened", Skipped),
        ("c.opened", Delivered),
        ("b.resolved", Skipped),
    ];
    become_so(&outbox, &over).await;
    alerting.stop().await;
    // A restart at night wakes nobody.
    hands.set("2026-11-21T06:59:59Z");
    let alerting = start_at(&store, routes, Arc::new(hands.clone())).await;
    let mut feed = Some(alerting.feed());
    let all = vec![alert("a", Error, true), alert("b", Error, false), alert("c", Critical, true)];
    tell(&mut feed, all, true).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(receiver.ids(), ["c.opened"]);
    hands.set("2026-11-21T07:00:00Z");
    receiver.has(2).await;
    tell(&mut feed, vec![alert("a", Error, false)], false).await;
    receiver.has(3).await;
    alerting.stop().await;
    assert_eq!(receiver.ids(), ["c.opened", "a.opened", "a.resolved"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_critical_at_night_is_told_at_once_and_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let receiver = Receiver::start(&[]).await;
    let clock = Arc::new(Hands::at("2026-11-20T23:00:00Z"));
    let alerting = start_at(&store, vec![route("hook", &receiver.url, NIGHT)], clock).await;
    let outbox = Outbox::open(&store).await.unwrap();
    let mut feed = Some(alerting.feed());
    tell(&mut feed, Vec::new(), true).await;
    tell(&mut feed, vec![alert("a", Warning, true)], false).await;
    holds(&outbox, 1).await;
    tell(&mut feed, vec![alert("a", Critical, true)], false).await;
    receiver.has(2).await;
    tell(&mut feed, vec![alert("a", Critical, false)], false).await;
    receiver.has(3).await;
    alerting.stop().await;
    assert_eq!(receiver.ids(), ["a.opened", "a.updated.critical", "a.resolved"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_what_was_told_waits_but_not_where_something_goes_on_until_it_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let (chat, pager) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    let settings = format!(
        "name = 'pager'\nkind = 'pagerduty'\nurl = '{}'\nsecret_file = '{}'\n{NIGHT}",
        pager.url,
        key.display()
    );
    let routes = vec![route("chat", &chat.url, NIGHT), toml::from_str(&settings).unwrap()];
    let hands = Hands::at("2026-11-20T21:59:00Z");
    let alerting = start_at(&store, routes, Arc::new(hands.clone())).await;
    let mut feed = Some(alerting.feed());
    tell(&mut feed, vec![alert("a", Error, true)], true).await;
    chat.has(1).await;
    pager.has(1).await;
    hands.set("2026-11-20T22:00:00Z");
    tell(&mut feed, vec![alert("a", Error, false)], false).await;
    pager.has(2).await;
    assert_eq!(chat.ids(), ["a.opened"]);
    hands.set("2026-11-21T07:00:00Z");
    chat.has(2).await;
    alerting.stop().await;
    assert_eq!(chat.ids(), ["a.opened", "a.resolved"]);
}
