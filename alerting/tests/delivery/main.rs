//! Alerts on their way to a receiver that misbehaves, over restarts and lost stores.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod digest;
mod quiet;
mod support;

use alerting::{Outbox, RouteSettings, State};
use schemas::{Alert, Severity};
use serde_json::{Value, json};

use support::{Answer, OK, Receiver, alert, holds, route, sqlite, start, tell};

use Severity::{Critical, Error};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_misbehaves_gets_everything_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let answers = [
        Answer::Reset,
        Answer::Status(500, ""),
        OK,
        Answer::Status(429, "retry-after: 1\r\n"),
        OK,
        Answer::Status(503, ""),
    ];
    let receiver = Receiver::start(&answers).await;
    let store = sqlite(folder.path());
    let alerting = start(&store, vec![route("hook", &receiver.url, "")]).await;
    let outbox = Outbox::open(&store).await.unwrap();
    let mut feed = Some(alerting.feed());
    tell(&mut feed, Vec::new(), true).await;
    tell(&mut feed, vec![alert("a", Error, true)], false).await;
    tell(&mut feed, vec![alert("a", Error, true)], false).await;
    holds(&outbox, 1).await;
    tell(&mut feed, vec![alert("a", Critical, true), alert("b", Error, true)], false).await;
    holds(&outbox, 3).await;
    tell(&mut feed, vec![alert("a", Critical, false)], false).await;
    receiver.has(4).await;
    let ids = receiver.ids();
    let of_a: Vec<&String> = ids.iter().filter(|id| id.starts_with("a.")).collect();
    assert_eq!(of_a, ["a.opened", "a.updated.critical", "a.resolved"]);
    assert_eq!(ids.len(), 4, "{ids:?}");
    let first: Value = serde_json::from_str(&receiver.seen.lock()[0].1).unwrap();
    assert_eq!((&first["type"], &first["alert"]["id"]), (&json!("alert.opened"), &json!("a")));
    alerting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_tell_what_is_missing_and_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let receiver = Receiver::start(&[]).await;
    let routes = vec![route("hook", &receiver.url, "")];
    let alerting = start(&store, routes.clone()).await;
    let mut feed = Some(alerting.feed());
    // A store that is new knows what is over.
    tell(&mut feed, vec![alert("old", Error, false), alert("a", Error, true)], true).await;
    receiver.has(1).await;
    alerting.stop().await;
    // Meanwhile `a` ended, `b` opened and ended, and nobody heard of it.
    let alerting = start(&store, routes.clone()).await;
    let mut feed = Some(alerting.feed());
    let all = vec![alert("old", Error, false), alert("a", Error, false), alert("b", Error, false)];
    tell(&mut feed, all.clone(), true).await;
    tell(&mut feed, all, true).await;
    receiver.has(4).await;
    alerting.stop().await;
    // A third start finds everything said; an alert that is not in the lake any more is withdrawn.
    let alerting = start(&store, routes.clone()).await;
    let mut feed = Some(alerting.feed());
    tell(&mut feed, vec![alert("c", Error, true)], true).await;
    receiver.has(5).await;
    tell(&mut feed, Vec::new(), true).await;
    receiver.has(6).await;
    let expected = ["a.opened", "a.resolved", "b.opened", "b.resolved", "c.opened", "c.withdrawn"];
    assert_eq!(receiver.ids(), expected);
    alerting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_heard_the_beginning_hears_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[]).await;
    let other = Receiver::start(&[]).await;
    let routes = vec![
        route("errors", &receiver.url, "match = { severity = ['error'] }"),
        route("others", &other.url, "match = { tenant = ['zeta'] }"),
    ];
    let alerting = start(&sqlite(folder.path()), routes).await;
    let mut feed = Some(alerting.feed());
    tell(&mut feed, vec![alert("a", Error, true)], true).await;
    receiver.has(1).await;
    tell(&mut feed, vec![alert("a", Critical, false)], false).await;
    receiver.has(3).await;
    assert_eq!(receiver.ids(), ["a.opened", "a.updated.critical", "a.resolved"]);
    assert_eq!(other.ids(), [""; 0]);
    alerting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_refuses_is_kept_as_refused_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let receiver = Receiver::start(&[Answer::Status(400, "")]).await;
    let alerting = start(&store, vec![route("hook", &receiver.url, "")]).await;
    let mut feed = Some(alerting.feed());
    tell(&mut feed, vec![alert("a", Error, true), alert("b", Error, true)], true).await;
    receiver.has(1).await;
    assert_eq!(receiver.ids(), ["b.opened"]);
    alerting.stop().await;
    let outbox = Outbox::open(&store).await.unwrap();
    let refused = outbox.list(10).await.unwrap().pop().unwrap();
    assert_eq!((refused.state, refused.attempts), (State::Refused, 1));
    assert_eq!(refused.error.unwrap(), "the receiver answers 400 Bad Request: why?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_is_one_that_receivers_check() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[]).await;
    let secret = format!("whsec_{}", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    std::fs::write(folder.path().join("secret"), format!("{secret}\n")).unwrap();
    let rest = format!("secret_file = '{}'", folder.path().join("secret").display());
    let alerting = start(&sqlite(folder.path()), vec![route("hook", &receiver.url, &rest)]).await;
    let mut feed = Some(alerting.feed());
    tell(&mut feed, vec![alert("a", Error, true)], true).await;
    receiver.has(1).await;
    let (headers, body) = receiver.seen.lock()[0].clone();
    let signer = standardwebhooks::Webhook::new(&secret).unwrap();
    let at = headers["webhook-timestamp"].parse().unwrap();
    let signature = signer.sign(&headers["webhook-id"], at, body.as_bytes()).unwrap();
    assert_eq!(headers["webhook-signature"], signature);
    let settings = toml::from_str::<RouteSettings>("name = 'x'\nkind = 'pagerduty'").unwrap();
    let refused = alerting::check(&[settings]).unwrap_err();
    assert!(refused.contains("[[alerts.routes]] `x`: needs its routing key"), "{refused}");
    alerting.stop().await;
}

/// An alert of the incident that `c` leads.
fn of_incident(id: &str, severity: Severity, is_open: bool) -> Alert {
    Alert { incident: "c".into(), ..alert(id, severity, is_open) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_incident_people_hear_once_and_of_what_is_worse() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[]).await;
    let alerting = start(&sqlite(folder.path()), vec![route("hook", &receiver.url, "")]).await;
    let mut feed = Some(alerting.feed());
    tell(&mut feed, Vec::new(), true).await;
    // `a` comes first by its id.
    let open = ["a", "b", "c"].map(|id| of_incident(id, Error, true));
    tell(&mut feed, open.to_vec(), false).await;
    receiver.has(1).await;
    tell(&mut feed, vec![of_incident("b", Critical, true)], false).await;
    receiver.has(2).await;
    // The one that leads is over, and then the rest of it.
    let over = vec![of_incident("c", Error, false), of_incident("b", Critical, false)];
    tell(&mut feed, over, false).await;
    receiver.has(3).await;
    tell(&mut feed, vec![of_incident("a", Error, false)], false).await;
    receiver.has(4).await;
    alerting.stop().await;
    assert_eq!(receiver.ids(), ["c.opened", "b.opened", "b.resolved", "c.resolved"]);
}

fn kinds_of(id: &str) -> Vec<String> {
    ["opened", "resolved"].map(|kind| format!("{id}.{kind}")).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_did_not_hear_of_an_incident_hears_of_its_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let (most, few) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let routes = vec![
        route("most", &most.url, "match = { severity = ['critical', 'error'] }"),
        route("few", &few.url, "match = { severity = ['error'] }"),
    ];
    let alerting = start(&sqlite(folder.path()), routes).await;
    let mut feed = Some(alerting.feed());
    let alerts = vec![of_incident("a", Error, true), of_incident("c", Critical, true)];
    tell(&mut feed, alerts, true).await;
    most.has(1).await;
    few.has(1).await;
    tell(&mut feed, vec![of_incident("c", Critical, false)], false).await;
    most.has(2).await;
    tell(&mut feed, vec![of_incident("a", Error, false)], false).await;
    few.has(2).await;
    alerting.stop().await;
    assert_eq!((most.ids(), few.ids()), (kinds_of("c"), kinds_of("a")));
}
