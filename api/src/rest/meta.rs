//! `GET /api/v1/meta` and `/api/v1/status`: what there is, and how the pipeline is.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use schemas::watching::{DETECTORS, share};
use schemas::{Calendar, ChangeRule, Grain, KpiInfo, Watching, decimal};
use serde::Serialize;

use super::ask::{Ask, json, private};
use super::shapes::{GrainShape, UnitShape};
use crate::VERSION;
use crate::app::App;
use crate::claims::Tenants;
use crate::problem::Problem;
use crate::store::StreamPosition;

/// What there is to ask for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Meta {
    /// The version of the program.
    version: &'static str,
    /// The stream generation: epochs of different ones cannot be compared.
    #[schema(value_type = String)]
    generation: Arc<str>,
    /// The last epoch that is served.
    epoch: u64,
    /// Its clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether answers may be old or incomplete.
    degraded: bool,
    /// Why.
    reasons: Vec<String>,
    /// The tenants that the token may see.
    #[schema(value_type = Vec<String>)]
    tenants: Vec<Arc<str>>,
    /// How days are told apart, and weeks and years begin.
    calendar: CalendarAnswer,
    /// The KPIs, by key.
    kpis: Vec<Kpi>,
}

/// How days are told apart, and weeks and years begin.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Calendar)]
struct CalendarAnswer {
    /// The zone of tenants that have no other, by its name in the IANA database.
    zone: String,
    /// The zones of tenants that have another one, of those that the token may see.
    zones: BTreeMap<String, String>,
    /// What weeks begin with: `monday` or `sunday`.
    week_start: &'static str,
    /// The month that years begin with, from 1.
    #[schema(minimum = 1, maximum = 12)]
    fiscal_year_start: u8,
}

impl CalendarAnswer {
    fn new(calendar: &Calendar, tenants: &[Arc<str>]) -> CalendarAnswer {
        let own = calendar.zone();
        let zones = tenants.iter().map(|tenant| (tenant.to_string(), calendar.of(tenant).zone()));
        let others = zones.filter(|(_, zone)| *zone != own);
        CalendarAnswer {
            zone: own.to_owned(),
            zones: others.map(|(tenant, zone)| (tenant, zone.to_owned())).collect(),
            week_start: if calendar.shape().from_sunday { "sunday" } else { "monday" },
            fiscal_year_start: calendar.shape().year_from,
        }
    }
}

/// What a KPI is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Kpi {
    /// Its key.
    #[schema(value_type = String)]
    key: Arc<str>,
    /// Its name for people.
    title: String,
    /// One sentence on what it says.
    description: Option<String>,
    /// What its numbers are.
    #[schema(value_type = UnitShape)]
    unit: &'static str,
    /// Which direction is good news: `up` or `down`.
    good: &'static str,
    /// The group that pages show it in: `executive`, `finops`, `sales`, `customers`, `operations`, or one's own.
    #[schema(value_type = Option<String>)]
    group: Option<Arc<str>>,
    /// Whether it is a quotient of sums.
    is_ratio: bool,
    /// How its values go together: `flow` (they add up), `ratio` (by its parts), `distinct`, `extreme`, `percentile`,
    /// `stock` or `retention` (they do not add up).
    kind: &'static str,
    /// The names of its dimensions.
    dims: Vec<String>,
    /// The lengths of its periods.
    #[schema(value_type = Vec<GrainShape>)]
    grains: Vec<&'static str>,
    /// Its windows.
    #[schema(value_type = Vec<GrainShape>)]
    windows: Vec<&'static str>,
    /// The KPI whose cells this one splits up by more dimensions.
    #[schema(value_type = Option<String>)]
    breakdown_of: Option<Arc<str>>,
    /// The currency that all its money is in, of a converted KPI.
    #[schema(value_type = Option<String>)]
    currency: Option<Arc<str>>,
    anomaly: Anomaly,
}

/// How a KPI is watched.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Anomaly {
    /// Whether it is.
    enabled: bool,
    /// How surprising a value must be: `low`, `normal` or `high`.
    sensitivity: &'static str,
    /// Which deviations open an alert: `both`, `up` or `down`.
    direction: &'static str,
    /// The least deviation that opens one, where it is set: of what was expected, of a ratio in points.
    least_change: Option<String>,
    /// The same in the KPI's unit.
    least_impact: Option<String>,
    /// How long after its end a period is waited for, in hours, where it is set.
    lateness_hours: Option<i64>,
    /// The detectors that look at it.
    detectors: Vec<&'static str>,
    /// Its rules.
    rules: Vec<AnomalyRule>,
}

/// A step of a rule of a KPI.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct AnomalyRule {
    /// The name of its alerts.
    #[schema(value_type = String)]
    name: Arc<str>,
    /// What it compares with: `week_before`, `day_before` or `budget`.
    against: &'static str,
    /// How far above is too far.
    up: Option<String>,
    /// How far below.
    down: Option<String>,
    /// How bad that is.
    severity: &'static str,
    /// The KPI that says how much there should be, of a budget.
    #[schema(value_type = Option<String>)]
    budget: Option<Arc<str>>,
}

impl Anomaly {
    fn new(watching: &Watching) -> Anomaly {
        let rule = |rule: &ChangeRule| AnomalyRule {
            name: Arc::clone(&rule.name),
            against: rule.against.name(),
            up: rule.up.map(share),
            down: rule.down.map(share),
            severity: rule.severity.name(),
            budget: rule.budget.clone(),
        };
        Anomaly {
            enabled: watching.enabled,
            sensitivity: watching.sensitivity.name(),
            direction: watching.direction.name(),
            least_change: watching.least_change.map(share),
            least_impact: watching
                .least_impact
                .map(|own| decimal::format(own, decimal::VALUE_SCALE)),
            lateness_hours: watching.lateness,
            detectors: DETECTORS.into_iter().filter(|own| watching.has(own)).collect(),
            rules: watching.rules.iter().map(rule).collect(),
        }
    }
}

impl Kpi {
    fn new(info: &KpiInfo) -> Kpi {
        Kpi {
            key: Arc::clone(&info.key),
            title: info.title.clone(),
            description: info.description.clone(),
            unit: info.unit.name(),
            good: info.good.name(),
            group: info.group.clone(),
            is_ratio: info.is_ratio(),
            kind: info.kind.name(),
            dims: info.dims.clone(),
            grains: info.grains.iter().map(Grain::name).collect(),
            windows: info.windows.iter().map(Grain::name).collect(),
            breakdown_of: info.breakdown_of.clone(),
            currency: info.currency.clone(),
            anomaly: Anomaly::new(&info.watching),
        }
    }
}

/// What there is to ask for: KPIs, tenants, the epoch that is served.
#[utoipa::path(
    get,
    path = "/api/v1/meta",
    operation_id = "meta",
    responses((status = 200, description = "What there is", body = Meta)),
    security(("bearer" = [])),
)]
pub(crate) async fn meta(State(app): State<Arc<App>>, ask: Ask) -> Result<Response, Problem> {
    ask.query(&[])?;
    let troubles = app.health.report().troubles;
    let position = app.store.position().ok_or_else(Problem::recovering)?;
    let reasons = reasons(&app, troubles, &position);
    let state = reasons.join("\n");
    if let Some(unchanged) = ask.unchanged(&app, &state)? {
        return Ok(unchanged);
    }
    let tenants = match &ask.claims.tenants {
        Tenants::All => app.store.tenants(),
        Tenants::One(tenant) => vec![Arc::clone(tenant)],
    };
    let answer = Meta {
        version: VERSION,
        generation: Arc::clone(&position.generation),
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: !reasons.is_empty(),
        reasons,
        calendar: CalendarAnswer::new(&app.calendar, &tenants),
        tenants,
        kpis: app.store.kpis().iter().map(Kpi::new).collect(),
    };
    ask.answer(&position, &state, &answer)
}

/// Why answers at this position may be old or incomplete: what is wrong around the pipeline, then what
/// its epochs make doubtful.
pub(super) fn reasons(app: &App, troubles: Vec<String>, position: &StreamPosition) -> Vec<String> {
    let now = app.clock.now();
    let doubts = position.degraded.iter().map(|reason| reason.told(now));
    troubles.into_iter().chain(doubts).collect()
}

/// How the pipeline is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Status {
    /// The last epoch that is served.
    epoch: u64,
    /// Its clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether answers may be old or incomplete.
    degraded: bool,
    /// Why.
    reasons: Vec<String>,
    /// Records read since the start.
    events_total: u64,
    /// Epochs with records since the start.
    epochs_total: u64,
    /// Records that could not be decoded.
    dead_letters_total: u64,
    /// From a record's Kafka timestamp to the publication of its epoch, milliseconds: the median.
    freshness_p50_ms: Option<f64>,
    /// The same: what 99 % stay below.
    freshness_p99_ms: Option<f64>,
    /// How far every partition is behind.
    sources: Vec<Source>,
}

/// One partition of a source.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Source {
    /// The configured source.
    name: String,
    /// The topic.
    topic: String,
    /// The partition.
    partition: i32,
    /// Records that are there and not yet read.
    lag: i64,
}

/// How the pipeline is: epoch, freshness, lag.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    operation_id = "status",
    responses((status = 200, description = "The state now", body = Status)),
    security(("bearer" = [])),
)]
pub(crate) async fn status(State(app): State<Arc<App>>, ask: Ask) -> Result<Response, Problem> {
    ask.query(&[])?;
    let position = app.store.position().ok_or_else(Problem::recovering)?;
    let report = app.health.report();
    let reasons = reasons(&app, report.troubles, &position);
    let ms = |seconds: f64| (seconds * 1000.0).round();
    let source = |lag: crate::health::SourceLag| Source {
        name: lag.source,
        topic: lag.topic,
        partition: lag.partition,
        lag: lag.lag,
    };
    let answer = Status {
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: !reasons.is_empty(),
        reasons,
        events_total: report.events,
        epochs_total: report.epochs,
        dead_letters_total: report.dead_letters,
        freshness_p50_ms: report.freshness.map(|(p50, _)| ms(p50)),
        freshness_p99_ms: report.freshness.map(|(_, p99)| ms(p99)),
        sources: report.lag.into_iter().map(source).collect(),
    };
    // It changes without an epoch, so it has no tag.
    Ok(private(json(&answer)?))
}
