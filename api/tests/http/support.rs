//! A small world to serve: two tenants, three KPIs, known cells and alerts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use api::{
    App, AppParts, Decisions, Deliveries, Delivery, DevKeys, Health, MintRequest, NotKept,
    PageSessions, Pending, Report, Scope, ServerLimits, SourceLag, Store, Tenants,
};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{MethodRouter, get};
use parking_lot::Mutex;
use schemas::civil::Shape;
use schemas::{
    Alert, Band, Bands, Calendar, CalendarSettings, CellKey, CellValue, Clock, Contribution,
    Decision, Forecast, Found, Good, Grain, KnownSeries, KpiHistory, KpiInfo, KpiProvenance,
    Micros, NotLedBack, PastCells, PastQuestion, Provenance, ProvenanceQuestion, Scored, Severity,
    Start, Status, Trial, Unit,
};
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const ONE: i128 = 10_000_000_000;

#[derive(Debug)]
pub(crate) struct TestClock(pub(crate) AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Debug, Default)]
pub(crate) struct TestHealth(pub(crate) Mutex<Report>);

impl Health for TestHealth {
    fn report(&self) -> Report {
        self.0.lock().clone()
    }
}

/// Rows of a history: what a cell said, and since when.
#[derive(Debug, Default)]
pub(crate) struct TestHistory(pub(crate) Mutex<Vec<(CellKey, CellValue, Micros)>>);

impl KpiHistory for TestHistory {
    fn cells_at(&self, at: Micros, question: &PastQuestion) -> Result<PastCells, String> {
        let rows = self.0.lock();
        let is_wanted = |key: &CellKey| {
            question.kpis.as_ref().is_none_or(|own| own.iter().any(|kpi| **kpi == *key.kpi))
                && question.tenant.as_ref().is_none_or(|own| **own == *key.tenant)
                && question.grain.is_none_or(|own| own == key.grain)
                && question.from.is_none_or(|from| from <= key.period_start)
                && question.last.is_none_or(|last| key.period_start <= last)
        };
        let mut newest: BTreeMap<CellKey, (Micros, CellValue)> = BTreeMap::new();
        for (key, value, since) in rows.iter().filter(|own| own.2 <= at && is_wanted(&own.0)) {
            let held = newest.entry(key.clone()).or_insert((*since, *value));
            if held.0 <= *since {
                *held = (*since, *value);
            }
        }
        let cells = newest.into_iter().map(|(key, (_, value))| (key, value)).collect();
        Ok(PastCells { epoch: 6, cells })
    }
}

/// What cells come from, or why that is not told; and what was asked.
pub(crate) struct TestProvenance {
    pub(crate) answer: Mutex<Result<Provenance, NotLedBack>>,
    pub(crate) asked: Mutex<Vec<(ProvenanceQuestion, usize)>>,
    /// As long as this is held, an answer waits.
    pub(crate) gate: Mutex<()>,
}

impl Default for TestProvenance {
    fn default() -> TestProvenance {
        let answer = Mutex::new(Ok(Provenance::default()));
        TestProvenance { answer, asked: Mutex::default(), gate: Mutex::default() }
    }
}

impl KpiProvenance for TestProvenance {
    fn provenance(
        &self,
        question: &ProvenanceQuestion,
        most: usize,
    ) -> Result<Provenance, NotLedBack> {
        self.asked.lock().push((question.clone(), most));
        drop(self.gate.lock());
        self.answer.lock().clone()
    }
}

/// Keeps decisions, or says that it does not.
#[derive(Debug, Default)]
pub(crate) struct TestDecisions(
    pub(crate) Mutex<Vec<(Decision, String)>>,
    pub(crate) Mutex<Option<NotKept>>,
);

impl Decisions for TestDecisions {
    fn keep(&self, decision: Decision, by: &str) -> Pending<'_, Result<String, NotKept>> {
        let by = by.to_owned();
        Box::pin(async move {
            if let Some(fails) = *self.1.lock() {
                return Err(fails);
            }
            let mut kept = self.0.lock();
            kept.push((decision, by));
            Ok(format!("d{}", kept.len()))
        })
    }
}

/// Of every alert one thing was told, which waits.
struct OneDelivery;

impl Deliveries for OneDelivery {
    fn of(&self, _alert: &str, _most: u32) -> Pending<'_, Option<Vec<Delivery>>> {
        let one = Delivery {
            route: "hook".into(),
            kind: "opened",
            state: "waiting",
            attempts: 3,
            made_at: at("2026-11-21T10:00:00Z"),
            quiet_until: Some(at("2026-11-22T06:00:00Z")),
            ended_at: None,
            error: Some("no answer".into()),
            silenced_by: vec!["s1".into()],
            inhibited_by: Vec::new(),
        };
        Box::pin(async move { Some(vec![one]) })
    }
}

/// Expects the point before, give or take one; nothing of the first point. A model is a number that is added.
pub(crate) struct PointBefore;

fn added(of: &KnownSeries<'_>) -> i128 {
    of.model.map_or(0, |model| model.parse::<i128>().unwrap() * ONE)
}

impl Bands for PointBefore {
    fn bands(&self, of: &KnownSeries<'_>, wanted: &[Micros]) -> Vec<Option<Band>> {
        let band = |wanted: &Micros| {
            let before = of.points.partition_point(|(start, _)| start < wanted).checked_sub(1)?;
            let expected = of.points[before].1.value? + added(of);
            Some(Band { expected, lower: expected - ONE, upper: expected + ONE })
        };
        wanted.iter().map(band).collect()
    }

    /// By the same band; a warning outside of it, and unknown where there is none.
    fn score(&self, trial: &Trial<'_>) -> Scored {
        let Trial { kpi, tenant, grain, points, model, .. } = *trial;
        let of = KnownSeries { kpi, tenant, grain, points, model };
        let band = self.bands(&of, &[trial.start]).pop().flatten();
        let is_outside = |band: &Band| trial.value < band.lower || trial.value > band.upper;
        let found = |band: &Band| Found {
            rule: "seasonal".into(),
            anomaly_type: if trial.value > band.upper { "spike" } else { "drop" },
            severity: Severity::Warning,
            expected: Some(band.expected),
            lower: Some(band.lower),
            upper: Some(band.upper),
            deviation: f64::INFINITY,
            reason: "it is outside".into(),
        };
        let found = band.iter().filter(|band| is_outside(band)).map(found).collect();
        let (statistics, is_judged) = (band.map(|_| [0.5, f64::INFINITY, 0.25]), band.is_some());
        let why = if is_judged { "it is inside" } else { "not learned yet" };
        Scored { band, statistics, found, is_judged, why: why.into() }
    }

    /// As the last point, give or take one, of the running period, and unknown how far off of the next.
    fn forecast(
        &self,
        of: &KnownSeries<'_>,
        grain: Grain,
        at: Micros,
    ) -> Result<[Forecast; 2], Arc<str>> {
        let last = of.points.last().and_then(|(_, cell)| cell.value);
        let expected = last.ok_or("it has no values")? + added(of);
        let (start, so_far) = (grain.start(at), Some(expected));
        let between = Some((expected - ONE, expected + ONE));
        let next = Forecast { start: grain.end(start), so_far: None, expected, between: None };
        Ok([Forecast { start, so_far, expected, between }, next])
    }
}

pub(crate) fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}

pub(crate) fn key(kpi: &str, tenant: &str, grain: Grain, start: &str) -> CellKey {
    CellKey {
        kpi: kpi.into(),
        tenant: tenant.into(),
        dims: r#"{"currency":"USD"}"#.into(),
        grain,
        period_start: at(start),
    }
}

pub(crate) fn value(mantissa: i128) -> CellValue {
    CellValue { value: Some(mantissa), numerator: None, denominator: None, status: Status::Ok }
}

/// A tenant of its own zone.
fn calendar() -> Calendar {
    let zones = [("t2".to_owned(), "Asia/Kolkata".to_owned())].into();
    let shape = Shape { from_sunday: false, year_from: 4 };
    Calendar::new(&CalendarSettings { zone: "UTC".to_owned(), zones, shape }).unwrap()
}

pub(crate) fn kpi(key: &str, unit: Unit) -> KpiInfo {
    KpiInfo {
        key: key.into(),
        title: key.replace('_', " "),
        description: Some("One sentence.".to_owned()),
        unit,
        good: Good::Up,
        group: None,
        kind: if unit == Unit::Ratio { schemas::KpiKind::Ratio } else { schemas::KpiKind::Flow },
        dims: vec!["currency".to_owned()],
        grains: schemas::Grains::ALL,
        windows: schemas::Grains::WINDOWS,
        breakdown_of: None,
        parts: Vec::new(),
        is_net: false,
        currency: None,
        watching: schemas::Watching::default(),
    }
}

pub(crate) fn alert(id: &str, tenant: &str, opened: &str, resolved: Option<&str>) -> Alert {
    Alert {
        id: id.into(),
        key: key("orders", tenant, Grain::Day, "2026-11-21"),
        incident: id.into(),
        rule: "seasonal".into(),
        anomaly_type: "spike".into(),
        severity: Severity::Warning,
        opened_at: at(opened),
        resolved_at: resolved.map(at),
        resolution: resolved.map(|_| "back to normal".into()),
        value: Some(9 * ONE),
        expected: Some(3 * ONE),
        lower: Some(2 * ONE),
        upper: Some(4 * ONE),
        deviation: 2.0,
        z_score: 6.5,
        p_value: 0.001,
        confidence: 0.999,
        reason: "orders are 9 where 3 were expected".into(),
        contributions: vec![Contribution {
            kpi: "orders_by_channel".into(),
            dims: r#"{"channel":null,"currency":"USD"}"#.into(),
            value: ONE / 2,
            expected: 0,
        }],
        epoch: 6,
    }
}

/// What is served at epoch 7, whose clock is 2026-11-21T10:00:00Z.
pub(crate) fn start() -> Start {
    let day =
        |kpi, tenant, start, mantissa| (key(kpi, tenant, Grain::Day, start), value(mantissa), 5);
    let no_data = CellValue { value: None, status: Status::NoData, ..value(0) };
    Start {
        generation: "g1".to_owned(),
        offset: 7,
        as_of: Some(at("2026-11-21T10:00:00Z")),
        cells: vec![
            day("revenue_booked", "t1", "2026-11-19", 12 * ONE + ONE / 2),
            day("revenue_booked", "t1", "2026-11-20", 20 * ONE),
            day("revenue_booked", "t1", "2026-11-21", -ONE / 4),
            day("orders", "t1", "2026-11-21", 42 * ONE),
            day("orders", "t2", "2026-11-21", 7 * ONE),
            (key("orders", "t1", Grain::Hour, "2026-11-21T09:00:00Z"), value(3 * ONE), 7),
            (key("gross_margin", "t1", Grain::Day, "2026-11-21"), no_data, 7),
        ],
        alerts: vec![
            alert("a1", "t1", "2026-11-21T08:00:00Z", None),
            alert("a2", "t1", "2026-11-20T08:00:00Z", Some("2026-11-20T09:00:00Z")),
            alert("b1", "t2", "2026-11-21T09:00:00Z", None),
        ],
        ..Start::default()
    }
}

/// A server without sockets, and what is behind it.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) router: Router,
    pub(crate) keys: Arc<DevKeys>,
    pub(crate) health: Arc<TestHealth>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) history: Arc<TestHistory>,
    pub(crate) provenance: Arc<TestProvenance>,
    pub(crate) decisions: Arc<TestDecisions>,
}

pub(crate) fn no_stream() -> MethodRouter<Arc<App>> {
    get(|| async { StatusCode::UPGRADE_REQUIRED })
}

impl World {
    pub(crate) fn new() -> World {
        let world = World::recovering(ServerLimits::default(), true);
        world.app.store.start(start());
        world
    }

    pub(crate) fn recovering(limits: ServerLimits, has_page: bool) -> World {
        let kpis = vec![
            kpi("gross_margin", Unit::Ratio),
            kpi("orders", Unit::Count),
            kpi("revenue_booked", Unit::Currency),
        ];
        World::of(kpis, limits, has_page)
    }

    pub(crate) fn of(kpis: Vec<KpiInfo>, limits: ServerLimits, has_page: bool) -> World {
        let clock = Arc::new(TestClock(AtomicI64::new(at("2026-11-21T10:00:00Z").0)));
        let dyn_clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
        let keys = Arc::new(DevKeys::with_secret(&[7; 32], Arc::clone(&dyn_clock)));
        let health = Arc::new(TestHealth::default());
        *health.0.lock() = Report {
            events: 100,
            epochs: 7,
            freshness: Some((0.1234, 1.5)),
            lag: vec![SourceLag {
                source: "kafka".to_owned(),
                topic: "shop.orders".to_owned(),
                partition: 3,
                lag: 12,
            }],
            ..Report::default()
        };
        let page = has_page.then(|| PageSessions {
            keys: Arc::clone(&keys),
            ttl: Duration::from_secs(600),
            origins: Vec::new(),
        });
        let history = Arc::new(TestHistory::default());
        let provenance = Arc::new(TestProvenance::default());
        let decisions = Arc::new(TestDecisions::default());
        let app = App::new(AppParts {
            store: Store::new(kpis),
            bands: Arc::new(PointBefore),
            calendar: Arc::new(calendar()),
            tokens: Arc::<DevKeys>::clone(&keys),
            health: Arc::<TestHealth>::clone(&health),
            clock: dyn_clock,
            history: Some(Arc::<TestHistory>::clone(&history)),
            provenance: Some(Arc::<TestProvenance>::clone(&provenance)),
            limits,
            page,
            decisions: Arc::<TestDecisions>::clone(&decisions),
            deliveries: Some(Arc::new(OneDelivery)),
        });
        let router = api::router(Arc::clone(&app), no_stream());
        World { app, router, keys, health, clock, history, provenance, decisions }
    }

    pub(crate) fn token(&self, tenant: &str, scopes: &[Scope]) -> String {
        let request = MintRequest {
            subject: "someone".to_owned(),
            tenants: if tenant == "*" { Tenants::All } else { Tenants::One(tenant.into()) },
            scopes: scopes.to_vec(),
            ttl: Duration::from_secs(3600),
        };
        self.keys.mint(&request).unwrap()
    }

    /// Asks with a token for tenant `t1`.
    pub(crate) async fn t1(&self, path: &str) -> Answer {
        let token = self.token("t1", &Scope::ALL);
        self.ask(path, &[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Asks with a token for all tenants.
    pub(crate) async fn all(&self, path: &str) -> Answer {
        let token = self.token("*", &Scope::ALL);
        self.ask(path, &[("authorization", &format!("Bearer {token}"))]).await
    }

    pub(crate) async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_body(method, path, headers, String::new()).await
    }

    pub(crate) async fn send_body(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "weir.example");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer { status, headers, text }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The answer, which must be a good one.
    pub(crate) fn good(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        self.json()
    }

    /// What a problem says, which must have this status.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["title"], self.status.canonical_reason().unwrap());
        problem["detail"].as_str().unwrap().to_owned()
    }
}
