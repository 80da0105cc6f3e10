//! `GET /api/v1/kpis/{kpi}/forecast`: what the running period and the next one will come to.
//!
//! # Guarantees
//! - It follows from the cells of one epoch, and as of its clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemas::{CellValue, Forecast, Grain, KnownSeries, Micros};
use serde::Serialize;
use serde_json::value::RawValue;

use super::accept::Form;
use super::ask::{Ask, in_turn};
use super::kpis::{filter, state_of};
use super::shapes::{Dims, GrainShape, UnitShape};
use crate::app::App;
use crate::claims::Scope;
use crate::problem::Problem;
use crate::query::{DIM, find};
use crate::store::{Periods, SeriesName, ServedCell, Snapshot, StreamPosition};
use crate::wire;

const PARAMETERS: [&str; 3] = ["tenant", "grain", DIM];
/// Series of one answer: a model is taught for each.
const SERIES_MAX: usize = 100;
/// Of so many values nine are within what is told.
const WITHIN: f64 = 0.9;

/// What a KPI will come to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Forecasts {
    /// The KPI.
    #[schema(value_type = String)]
    kpi: Arc<str>,
    /// The tenant that was asked for, or that the token is for; null when there may be several.
    #[schema(value_type = Option<String>)]
    tenant: Option<Arc<str>>,
    /// The length of the periods.
    #[schema(value_type = GrainShape)]
    grain: &'static str,
    /// What the numbers are.
    #[schema(value_type = UnitShape)]
    unit: &'static str,
    /// The epoch of the answer.
    epoch: u64,
    /// That epoch's clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether the answer may be old or incomplete; `/api/v1/status` says why.
    degraded: bool,
    /// The share of periods that were between `lower` and `upper`, forecast as far ahead at earlier instants.
    within: f64,
    /// One for each tenant and dimensions, in that order.
    series: Vec<OneForecast>,
}

/// One tenant and one set of dimensions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OneForecast {
    /// The tenant.
    #[schema(value_type = String)]
    tenant: Arc<str>,
    /// The dimensions.
    #[schema(value_type = Dims)]
    dims: Box<RawValue>,
    /// The running period and the next one; none where nothing can be said.
    periods: Vec<ForecastPeriod>,
    /// Why nothing can be said; null where something is.
    #[schema(value_type = Option<String>)]
    why: Option<Arc<str>>,
}

/// What one period will come to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ForecastPeriod {
    /// Where it starts.
    #[schema(format = DateTime)]
    period_start: String,
    /// Where it ends.
    #[schema(format = DateTime)]
    period_end: String,
    /// What it says now; null of a period that has not begun.
    so_far: Option<String>,
    /// What it will say when it is over.
    expected: String,
    /// The least that is likely; null where too little was learned to say it.
    lower: Option<String>,
    /// The most that is likely.
    upper: Option<String>,
}

/// What the running period and the next one will come to.
///
/// Of sums: what is over, and what is expected of the days to come. Hours to quarters; of what does not add up, hours
/// and days. At most 100 series in one answer.
#[utoipa::path(
    get,
    path = "/api/v1/kpis/{kpi}/forecast",
    operation_id = "forecast",
    params(
        ("kpi" = String, Path, description = "The KPI's key.", min_length = 1, max_length = 256),
        super::document::ForecastQuery,
    ),
    responses((status = 200, description = "The forecasts at an epoch", body = Forecasts)),
    security(("bearer" = ["kpi:read"])),
)]
pub(crate) async fn forecast(
    State(app): State<Arc<App>>,
    ask: Ask,
    kpi: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::KpiRead)?;
    let mut filter = filter(&app, &ask, &ask.query(&PARAMETERS)?)?;
    let Path(kpi) = kpi.map_err(|_| Problem::not_found("the KPI's key is not UTF-8 text"))?;
    let info = find(app.store.kpis(), &kpi)?.clone();
    let grain = filter.grain.unwrap_or(Grain::Month);
    if grain.is_window() || grain > Grain::Quarter {
        let detail = format!("`{grain}` is not forecast; use hour, day, week, month or quarter");
        return Err(Problem::bad_parameter("grain", detail));
    }
    filter.kpis = Some(BTreeSet::from([Arc::clone(&info.key)]));
    // What is longer than a day is made of days.
    filter.grain = Some(grain.min(Grain::Day));
    let troubled = !app.health.report().troubles.is_empty();
    let state = state_of(troubled, Form::Json);
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    let read = app.store.cells(&filter, Periods::All);
    let (position, cells) = read.ok_or_else(Problem::recovering)?;
    let count = cells.series().count();
    if count > SERIES_MAX {
        let detail = format!(
            "this would forecast {count} series, and one answer has at most {SERIES_MAX}; narrow it \
             by tenant and dim.NAME"
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let own = Arc::clone(&app);
    let work = move || {
        let answer = Forecasts {
            tenant: filter.tenant.clone(),
            grain: grain.name(),
            unit: info.unit.name(),
            epoch: position.offset,
            as_of: position.as_of.to_string(),
            degraded: troubled || !position.degraded.is_empty(),
            within: WITHIN,
            series: forecasts(&own, grain, &position, &cells),
            kpi: info.key,
        };
        ask.answer(&position, state, &answer)
    };
    in_turn(&app, work).await?
}

fn forecasts(
    app: &App,
    grain: Grain,
    position: &StreamPosition,
    snapshot: &Snapshot,
) -> Vec<OneForecast> {
    let one = |(name, cells): (&SeriesName, Vec<ServedCell<'_>>)| {
        let points: Vec<(Micros, CellValue)> =
            cells.iter().map(|cell| (cell.period_start, cell.value)).collect();
        // What is longer than a day is made of days.
        let basis = grain.min(Grain::Day);
        let of = KnownSeries {
            kpi: &name.kpi,
            tenant: &name.tenant,
            grain: basis,
            points: &points,
            model: snapshot.model_of(name, basis),
        };
        let told = app.bands.forecast(&of, grain, position.as_of);
        let periods = app.calendar.of(&name.tenant);
        let period = |own: Forecast| ForecastPeriod {
            period_start: own.start.to_string(),
            period_end: periods.end(grain, own.start).to_string(),
            so_far: own.so_far.map(wire::decimal),
            expected: wire::decimal(own.expected),
            lower: own.between.map(|(low, _)| wire::decimal(low)),
            upper: own.between.map(|(_, high)| wire::decimal(high)),
        };
        let (periods, why) = match told {
            Ok(both) => (both.into_iter().map(period).collect(), None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let dims = RawValue::from_string(name.dims.to_string()).ok()?;
        Some(OneForecast { tenant: Arc::clone(&name.tenant), dims, periods, why })
    };
    snapshot.series().filter_map(one).collect()
}
