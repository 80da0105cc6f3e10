//! Alerts on their way to a receiver that misbehaves, over restarts and lost stores.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alerting::{Alerting, Outbox, Parts, RouteSettings, State, Surroundings, Trouble, Words};
use parking_lot::Mutex;
use schemas::{Alert, CellKey, Clock, EpochStamp, Feed, Grain, Micros, Published, Severity, Start};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a receiver answers a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    /// With this status and header.
    Status(u16, &'static str),
    /// By closing the connection.
    Reset,
}

const OK: Answer = Answer::Status(200, "");

/// A request as a receiver saw it: header fields and body.
type Seen = (BTreeMap<String, String>, String);

/// An HTTP receiver that answers as it is told, one request after another, and well after that.
#[derive(Clone)]
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Receiver {
    async fn start(answers: &[Answer]) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let answers: Vec<Answer> = answers.iter().rev().copied().collect();
        let receiver =
            Receiver { url, seen: Arc::default(), answers: Arc::new(Mutex::new(answers)) };
        let served = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                tokio::spawn(async move { served.serve(stream).await });
            }
        });
        receiver
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            let mut part = [0; 4096];
            let Ok(read @ 1..) = stream.read(&mut part).await else { return };
            bytes.extend_from_slice(&part[..read]);
            let Some(seen) = request(&mut bytes) else { continue };
            let answer = self.answers.lock().pop().unwrap_or(OK);
            if answer == OK {
                self.seen.lock().push(seen);
            }
            let Answer::Status(status, header) = answer else { return };
            let text = format!("HTTP/1.1 {status} X\r\n{header}content-length: 4\r\n\r\nwhy?");
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// The ids that were taken, in order.
    fn ids(&self) -> Vec<String> {
        self.seen.lock().iter().map(|(headers, _)| headers["webhook-id"].clone()).collect()
    }

    async fn has(&self, count: usize) {
        within(Duration::from_secs(60), || self.seen.lock().len() >= count).await;
    }
}

/// Takes a whole request off the front.
fn request(bytes: &mut Vec<u8>) -> Option<Seen> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> =
        fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let body = bytes.get(end..end + length)?.to_vec();
    bytes.drain(..end + length);
    Some((headers, String::from_utf8(body).unwrap()))
}

async fn within(most: Duration, holds: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !holds() {
        assert!(begin.elapsed() < most, "it does not come true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Micros {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Micros(i64::try_from(since.as_micros()).unwrap())
    }
}

#[derive(Default)]
struct Around(Mutex<BTreeMap<String, String>>);

impl Surroundings for Around {
    fn troubles(&self) -> Vec<Trouble> {
        Vec::new()
    }

    fn set(&self, key: &str, trouble: Option<&str>) {
        let mut held = self.0.lock();
        match trouble {
            Some(text) => held.insert(key.to_owned(), text.to_owned()),
            None => held.remove(key),
        };
    }
}

fn route(name: &str, url: &str, rest: &str) -> RouteSettings {
    let toml = format!("name = '{name}'\nkind = 'webhook'\nurl = '{url}'\n{rest}");
    toml::from_str(&toml).unwrap()
}

async fn start(store: &str, routes: Vec<RouteSettings>) -> Alerting {
    let body =
        |alert: &Alert, _: &schemas::Answer| json!({"id": &*alert.id, "state": alert.is_open()});
    let words = Words { kpis: Vec::new(), public_url: None, body: Box::new(body) };
    let around = Arc::new(Around::default());
    let withdraw_after = Duration::from_millis(100);
    let clock = Arc::new(Wall);
    let parts = Parts { routes, heartbeat: None, withdraw_after, words, around, clock };
    Alerting::start(Outbox::open(store).await.unwrap(), parts).await.unwrap()
}

fn sqlite(folder: &Path) -> String {
    format!("sqlite://{}/alerts.sqlite?mode=rwc", folder.display())
}

fn alert(id: &str, severity: Severity, is_open: bool) -> Alert {
    Alert {
        id: id.into(),
        key: CellKey {
            kpi: "revenue".into(),
            tenant: "acme".into(),
            dims: "{}".into(),
            grain: Grain::Hour,
            period_start: Micros(0),
        },
        incident: id.into(),
        rule: "seasonal".into(),
        anomaly_type: "drop".into(),
        severity,
        opened_at: Micros(1),
        resolved_at: (!is_open).then_some(Micros(2)),
        resolution: None,
        value: None,
        expected: None,
        lower: None,
        upper: None,
        deviation: 0.0,
        z_score: 0.0,
        p_value: 0.0,
        confidence: 1.0,
        reason: "less than expected".into(),
        contributions: Vec::new(),
        epoch: 1,
    }
}

/// Tells a feed that these alerts changed, or that they are all there are; from a thread of its own, as a run does.
async fn tell(feed: &mut Option<Box<dyn Feed>>, alerts: Vec<Alert>, all: bool) {
    let mut taken = feed.take().unwrap();
    let told = tokio::task::spawn_blocking(move || {
        match all {
            true => taken.start(Start { alerts, ..Start::default() }),
            false => {
                let stamp = EpochStamp { id: 2, clock: Micros(0), quiet: false };
                let degraded = Arc::from([]);
                taken.epoch(&Published {
                    stamp,
                    cells: Vec::new(),
                    alerts,
                    answers: Arc::default(),
                    degraded,
                });
            }
        }
        taken
    });
    *feed = Some(told.await.unwrap());
}

/// Waits until so many notices were written: states that nobody has looked at are one.
async fn holds(outbox: &Outbox, count: usize) {
    let begin = std::time::Instant::now();
    while outbox.list(10).await.unwrap().len() < count {
        assert!(begin.elapsed() < Duration::from_secs(60), "{count} notices are not written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

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
