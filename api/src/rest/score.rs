//! `POST /api/v1/anomalies/score`: what the detector would say of a value.
//!
//! # Guarantees
//! - Nothing is stored or learned, and nothing of the running detector is waited for: the model is taught for the answer
//!   from the cells that are served.
//! - A series of another tenant is answered like one that does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use schemas::decimal::{VALUE_SCALE, parse};
use schemas::{CellValue, Found, Grain, KpiInfo, Micros, Scored, Trial};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ask::{Ask, body, in_turn, json, private};
use super::shapes::{Dims, GrainShape, SeverityShape, UnitShape};
use crate::app::App;
use crate::claims::Scope;
use crate::problem::Problem;
use crate::query::{find, parse_instant, shown};
use crate::store::{CellFilter, Periods, SeriesName, Snapshot, StreamPosition};
use crate::wire;

/// Dimensions of series that a problem names.
const NAMED: usize = 3;

/// A value to be scored.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScoreRequest)]
pub(super) struct ScoreBody {
    /// The KPI's key.
    #[schema(min_length = 1, max_length = 256)]
    kpi: String,
    /// The tenant; needed where the token is for several.
    #[schema(min_length = 1, max_length = 256)]
    tenant: Option<String>,
    /// The dimensions of the series, null for none; needed where the KPI has several series of the tenant.
    dims: Option<BTreeMap<String, Option<String>>>,
    /// `hour` or `day`.
    grain: String,
    /// The period that holds this instant, RFC 3339 in UTC, or that begins on this date of the tenant; the running one
    /// without it.
    period_start: Option<String>,
    /// The value, as if the period were over with it: a decimal, as text or as a number.
    #[schema(value_type = String, pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    value: Number,
}

/// A decimal as people send it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Plain(serde_json::Number),
}

impl Number {
    fn text(&self) -> String {
        match self {
            Number::Text(text) => text.trim().to_owned(),
            Number::Plain(number) => number.to_string(),
        }
    }
}

/// What the detector says of a value.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Score {
    /// The KPI.
    #[schema(value_type = String)]
    kpi: Arc<str>,
    /// The tenant.
    #[schema(value_type = String)]
    tenant: Arc<str>,
    /// The dimensions.
    #[schema(value_type = Dims)]
    dims: Box<RawValue>,
    /// The length of the period.
    #[schema(value_type = GrainShape)]
    grain: &'static str,
    /// Where the period starts.
    #[schema(format = DateTime)]
    period_start: String,
    /// What the numbers are.
    #[schema(value_type = UnitShape)]
    unit: &'static str,
    /// The value that was sent.
    value: String,
    /// The epoch of the answer.
    epoch: u64,
    /// That epoch's clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether the answer may be old or incomplete; `/api/v1/status` says why.
    degraded: bool,
    /// What is expected; null while too little was learned.
    expected: Option<String>,
    /// The least that is normal.
    lower: Option<String>,
    /// The most that is normal.
    upper: Option<String>,
    /// (value - expected) / |expected|; of a number without a unit value - expected.
    deviation: Option<f64>,
    /// Distance from what is expected in robust standard deviations.
    z_score: Option<f64>,
    /// How likely so large a distance is by chance.
    p_value: Option<f64>,
    /// `anomalous`, `normal`, or `unknown` where no rule could judge it.
    #[schema(value_type = VerdictShape)]
    verdict: &'static str,
    /// Whether an alert would open, were none open yet.
    opens: bool,
    /// How much it would matter.
    #[schema(value_type = Option<SeverityShape>)]
    severity: Option<&'static str>,
    /// The rule that would open it; the worst of them.
    rule: Option<String>,
    /// `spike` or `drop`.
    anomaly_type: Option<&'static str>,
    /// One plain sentence: what is wrong, or why nothing is, or is known.
    reason: String,
    /// What each rule finds wrong, the worst first.
    findings: Vec<Finding>,
}

/// The words of a verdict.
#[derive(utoipa::ToSchema)]
#[schema(as = ScoreVerdict, rename_all = "lowercase")]
#[expect(dead_code, reason = "the variants are read by the derived description only")]
pub(super) enum VerdictShape {
    Anomalous,
    Normal,
    Unknown,
}

/// What a rule finds wrong with a value.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ScoreFinding)]
struct Finding {
    /// The rule.
    rule: String,
    /// How much it matters.
    #[schema(value_type = SeverityShape)]
    severity: &'static str,
    /// `spike` or `drop`.
    anomaly_type: &'static str,
    /// What the rule expects.
    expected: Option<String>,
    /// The least that is normal by it.
    lower: Option<String>,
    /// The most that is normal by it.
    upper: Option<String>,
    /// As above, of what the rule expects; null when it is not finite.
    deviation: Option<f64>,
    /// One plain sentence.
    reason: String,
}

impl Finding {
    fn new(own: &Found) -> Finding {
        Finding {
            rule: own.rule.to_string(),
            severity: own.severity.name(),
            anomaly_type: own.anomaly_type,
            expected: own.expected.map(wire::decimal),
            lower: own.lower.map(wire::decimal),
            upper: own.upper.map(wire::decimal),
            deviation: finite(own.deviation),
            reason: own.reason.to_string(),
        }
    }
}

fn finite(own: f64) -> Option<f64> {
    own.is_finite().then_some(own)
}

/// What is asked.
struct Asked {
    info: KpiInfo,
    tenant: Arc<str>,
    grain: Grain,
    start: Micros,
    value: i128,
}

/// What the detector would say of a value, without storing or learning it.
///
/// By the model as the cells that are served teach it. A series that is not there is a 404; one that too little was
/// learned of is `unknown`, with why.
#[utoipa::path(
    post,
    path = "/api/v1/anomalies/score",
    operation_id = "score",
    request_body = ScoreBody,
    responses((status = 200, description = "What would be said at an epoch", body = Score)),
    security(("bearer" = ["alerts:read"])),
)]
pub(crate) async fn score(
    State(app): State<Arc<App>>,
    ask: Ask,
    request: Request,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::AlertsRead)?;
    drop(ask.query(&[])?);
    let body: ScoreBody = body(request).await?;
    let tenant = ask.claims.tenant(body.tenant.as_deref())?.ok_or_else(|| {
        Problem::bad_parameter("tenant", "the token is for several tenants; say which by `tenant`")
    })?;
    let info = find(app.store.kpis(), &body.kpi)?.clone();
    let position = app.store.position().ok_or_else(Problem::recovering)?;
    let asked = asked(&app, &body, (info, tenant), position.as_of)?;
    let budget = asked.info.watching.budgets().next().cloned();
    let filter = CellFilter {
        tenant: Some(Arc::clone(&asked.tenant)),
        kpis: Some(BTreeSet::from_iter(
            [Arc::clone(&asked.info.key)].into_iter().chain(budget.clone()),
        )),
        grain: Some(asked.grain),
        ..CellFilter::default()
    };
    let read = app.store.cells(&filter, Periods::All);
    let (position, cells) = read.ok_or_else(Problem::recovering)?;
    let troubled = !app.health.report().troubles.is_empty();
    let own = Arc::clone(&app);
    let work = move || {
        let series = chosen(&cells, &asked, body.dims.as_ref())?;
        let answer =
            answer(&own, &asked, (&series, budget.as_deref()), (&position, &cells), troubled);
        Ok(private(json(&answer)?))
    };
    in_turn(&app, work).await?
}

/// What a body asks for.
fn asked(
    app: &App,
    body: &ScoreBody,
    (info, tenant): (KpiInfo, Arc<str>),
    as_of: Micros,
) -> Result<Asked, Problem> {
    let grain = Grain::parse(&body.grain).filter(|own| !own.is_window() && !own.is_long());
    let grain = grain.ok_or_else(|| {
        let detail = format!(
            "`grain` is `{}`; hours and days are judged: use hour or day",
            shown(&body.grain)
        );
        Problem::bad_parameter("grain", detail)
    })?;
    let periods = app.calendar.of(&tenant);
    let start = match body.period_start.as_deref() {
        None => periods.start(grain, as_of),
        Some(text) => start(periods, grain, text).ok_or_else(|| {
            let detail = format!(
                "`period_start` is `{}`; use RFC 3339 or a date, such as 2026-11-21",
                shown(text)
            );
            Problem::bad_parameter("period_start", detail)
        })?,
    };
    let text = body.value.text();
    let value = parse(text.as_bytes(), VALUE_SCALE).ok_or_else(|| {
        let detail = format!(
            "`value` is `{}`, which is no decimal of at most 10 places; write it as 140.5",
            shown(&text)
        );
        Problem::bad_parameter("value", detail)
    })?;
    Ok(Asked { info, tenant, grain, start, value })
}

/// Where the period starts that holds an instant, or begins on a date of the tenant.
fn start(periods: &schemas::Periods, grain: Grain, text: &str) -> Option<Micros> {
    let at = parse_instant(text)?;
    let is_instant = text.contains(['T', 't']) || grain == Grain::Hour;
    Some(periods.start(grain, if is_instant { at } else { periods.midnight(at.day()) }))
}

/// The series that is meant.
fn chosen(
    cells: &Snapshot,
    asked: &Asked,
    dims: Option<&BTreeMap<String, Option<String>>>,
) -> Result<SeriesName, Problem> {
    let all = cells.series().map(|(name, _)| name).filter(|name| name.kpi == asked.info.key);
    let all: Vec<&SeriesName> = all.collect();
    let known = || {
        let named: Vec<&str> = all.iter().take(NAMED).map(|name| &*name.dims).collect();
        format!("{} of {} series: {}", named.len(), all.len(), named.join(", "))
    };
    let (kpi, tenant, grain) = (&asked.info.key, shown(&asked.tenant), asked.grain);
    let Some(dims) = dims else {
        return match all[..] {
            [] => Err(none(asked)),
            [one] => Ok(one.clone()),
            _ => {
                let detail = format!(
                    "`{kpi}` of `{tenant}` has several series by {grain}; say which by `dims`, {}",
                    known()
                );
                Err(Problem::bad_parameter("dims", detail))
            }
        };
    };
    let is_asked = |name: &&&SeriesName| {
        let own: BTreeMap<String, Option<String>> =
            serde_json::from_str(&name.dims).unwrap_or_default();
        own == *dims
    };
    match all.iter().find(is_asked) {
        Some(name) => Ok((*name).clone()),
        None if all.is_empty() => Err(none(asked)),
        None => Err(Problem::not_found(format!(
            "`{kpi}` of `{tenant}` has no series by {grain} with these `dims`; there are {}",
            known()
        ))),
    }
}

fn none(asked: &Asked) -> Problem {
    Problem::not_found(format!(
        "there is no series of `{}` of tenant `{}` by {}; /api/v1/kpis lists what there is",
        asked.info.key,
        shown(&asked.tenant),
        asked.grain
    ))
}

fn answer(
    app: &App,
    asked: &Asked,
    (series, budget): (&SeriesName, Option<&str>),
    (position, cells): (&StreamPosition, &Snapshot),
    troubled: bool,
) -> Score {
    let of = |kpi: &str| {
        let is_own =
            |(name, _): &(&SeriesName, Vec<_>)| *name.kpi == *kpi && name.dims == series.dims;
        cells.series().find(is_own).map(|(_, cells)| cells).unwrap_or_default()
    };
    let points: Vec<(Micros, CellValue)> =
        of(&series.kpi).iter().map(|cell| (cell.period_start, cell.value)).collect();
    let is_asked = |cell: &&crate::store::ServedCell<'_>| cell.period_start == asked.start;
    let budget = budget.and_then(|kpi| of(kpi).iter().find(is_asked).map(|cell| cell.value));
    let scored = app.bands.score(&Trial {
        kpi: &series.kpi,
        tenant: &series.tenant,
        dims: &series.dims,
        grain: asked.grain,
        start: asked.start,
        value: asked.value,
        as_of: position.as_of,
        points: &points,
        model: cells.model_of(series, asked.grain),
        budget,
    });
    let Scored { band, statistics, found, is_judged, why } = scored;
    let worst = found.first();
    let [deviation, z, p] = statistics.map_or([None; 3], |own| own.map(finite));
    Score {
        kpi: Arc::clone(&series.kpi),
        tenant: Arc::clone(&series.tenant),
        dims: RawValue::from_string(series.dims.to_string()).unwrap_or_default(),
        grain: asked.grain.name(),
        period_start: asked.start.to_string(),
        unit: asked.info.unit.name(),
        value: wire::decimal(asked.value),
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        expected: band.map(|own| wire::decimal(own.expected)),
        lower: band.map(|own| wire::decimal(own.lower)),
        upper: band.map(|own| wire::decimal(own.upper)),
        deviation,
        z_score: z,
        p_value: p,
        verdict: match (worst.is_some(), is_judged) {
            (true, _) => "anomalous",
            (false, true) => "normal",
            (false, false) => "unknown",
        },
        opens: worst.is_some(),
        severity: worst.map(|own| own.severity.name()),
        rule: worst.map(|own| own.rule.to_string()),
        anomaly_type: worst.map(|own| own.anomaly_type),
        reason: worst.map_or_else(|| why.to_string(), |own| own.reason.to_string()),
        findings: found.iter().map(Finding::new).collect(),
    }
}
