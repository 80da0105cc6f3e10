//! Receivers, a clock and alerts, as the tests use them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alerting::{Alerting, Outbox, Parts, RouteSettings, Surroundings, Trouble, Words};
use parking_lot::Mutex;
use schemas::{Alert, CellKey, Clock, EpochStamp, Feed, Grain, Micros, Published, Severity, Start};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a receiver answers a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    /// With this status and header.
    Status(u16, &'static str),
    /// By closing the connection.
    Reset,
}

pub(crate) const OK: Answer = Answer::Status(200, "");

/// A request as a receiver saw it: header fields and body.
pub(crate) type Seen = (BTreeMap<String, String>, String);

/// An HTTP receiver that answers as it is told, one request after another, and well after that.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Receiver {
    pub(crate) async fn start(answers: &[Answer]) -> Receiver {
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
    pub(crate) fn ids(&self) -> Vec<String> {
        self.seen.lock().iter().map(|(headers, _)| headers["webhook-id"].clone()).collect()
    }

    pub(crate) async fn has(&self, count: usize) {
        within(Duration::from_secs(60), || self.seen.lock().len() >= count).await;
    }
}

/// Takes a whole request off the front.
pub(crate) fn request(bytes: &mut Vec<u8>) -> Option<Seen> {
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

pub(crate) async fn within(most: Duration, holds: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !holds() {
        assert!(begin.elapsed() < most, "it does not come true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) struct Wall;

impl Clock for Wall {
    fn now(&self) -> Micros {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Micros(i64::try_from(since.as_micros()).unwrap())
    }
}

/// A clock that shows what it is set to.
#[derive(Clone)]
pub(crate) struct Hands(Arc<Mutex<Micros>>);

impl Hands {
    pub(crate) fn at(text: &str) -> Hands {
        Hands(Arc::new(Mutex::new(Micros::parse(text).unwrap())))
    }

    pub(crate) fn set(&self, text: &str) {
        *self.0.lock() = Micros::parse(text).unwrap();
    }
}

impl Clock for Hands {
    fn now(&self) -> Micros {
        *self.0.lock()
    }
}

#[derive(Default)]
pub(crate) struct Around(Mutex<BTreeMap<String, String>>);

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

pub(crate) fn route(name: &str, url: &str, rest: &str) -> RouteSettings {
    let toml = format!("name = '{name}'\nkind = 'webhook'\nurl = '{url}'\n{rest}");
    toml::from_str(&toml).unwrap()
}

pub(crate) async fn start(store: &str, routes: Vec<RouteSettings>) -> Alerting {
    start_at(store, routes, Arc::new(Wall)).await
}

/// The same with another clock.
pub(crate) async fn start_at(
    store: &str,
    routes: Vec<RouteSettings>,
    clock: Arc<dyn Clock>,
) -> Alerting {
    let body =
        |alert: &Alert, _: &schemas::Answer| json!({"id": &*alert.id, "state": alert.is_open()});
    let words = Words { kpis: Vec::new().into(), public_url: None, body: Box::new(body) };
    let around = Arc::new(Around::default());
    let withdraw_after = Duration::from_millis(100);
    let parts = Parts { routes, heartbeat: None, withdraw_after, words, around, clock };
    Alerting::start(Outbox::open(store).await.unwrap(), parts).await.unwrap()
}

pub(crate) fn sqlite(folder: &Path) -> String {
    format!("sqlite://{}/alerts.sqlite?mode=rwc", folder.display())
}

pub(crate) fn alert(id: &str, severity: Severity, is_open: bool) -> Alert {
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
pub(crate) async fn tell(feed: &mut Option<Box<dyn Feed>>, alerts: Vec<Alert>, all: bool) {
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
                    models: Arc::default(),
                    degraded,
                });
            }
        }
        taken
    });
    *feed = Some(told.await.unwrap());
}

/// Waits until so many notices were written: states that nobody has looked at are one.
pub(crate) async fn holds(outbox: &Outbox, count: usize) {
    let begin = std::time::Instant::now();
    while outbox.list(10).await.unwrap().len() < count {
        assert!(begin.elapsed() < Duration::from_secs(60), "{count} notices are not written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
