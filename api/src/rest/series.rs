//! `GET /api/v1/kpis/{kpi}/series`: one KPI over time, with what was expected.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemas::{CellValue, Grain, Micros, Unit};
use serde::Serialize;
use serde_json::value::RawValue;

use super::ask::Ask;
use super::kpis::{check_size, filter};
use super::shapes::{Dims, GrainShape, StatusShape, UnitShape};
use crate::app::App;
use crate::claims::Scope;
use crate::problem::Problem;
use crate::query::find;
use crate::store::{CellFilter, Periods, SeriesName, ServedCell, Snapshot, StreamPosition};
use crate::wire;

const PARAMETERS: [&str; 4] = ["tenant", "grain", "from", "to"];

/// One KPI over time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Series {
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
    /// One for each tenant and dimensions, in that order.
    series: Vec<OneSeries>,
}

/// One tenant and one set of dimensions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OneSeries {
    /// The tenant.
    #[schema(value_type = String)]
    tenant: Arc<str>,
    /// The dimensions.
    #[schema(value_type = Dims)]
    dims: Box<RawValue>,
    /// Ascending by period.
    points: Vec<Point>,
}

/// One period.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Point {
    /// Where the period starts.
    #[schema(format = DateTime)]
    period_start: String,
    /// The value; null unless the status is `ok` or `in_doubt`.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    value: Option<String>,
    /// Whether there is a value.
    #[schema(value_type = StatusShape)]
    status: &'static str,
    /// Whether the period had ended at the answer's clock.
    closed: bool,
    /// Whether the period had not begun at the answer's clock: its rows are dated later.
    future: bool,
    /// What was expected; null while that cannot be said.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    expected: Option<String>,
    /// The least that is normal.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    lower: Option<String>,
    /// The most that is normal.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    upper: Option<String>,
}

/// One KPI over time, with what was expected of each period.
///
/// At most 100,000 points in one answer.
#[utoipa::path(
    get,
    path = "/api/v1/kpis/{kpi}/series",
    operation_id = "series",
    params(
        ("kpi" = String, Path, description = "The KPI's key.", min_length = 1, max_length = 256),
        super::document::SeriesQuery,
    ),
    responses((status = 200, description = "The points at an epoch", body = Series)),
    security(("bearer" = ["kpi:read"])),
)]
pub(crate) async fn series(
    State(app): State<Arc<App>>,
    ask: Ask,
    kpi: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::KpiRead)?;
    let query = ask.query(&PARAMETERS)?;
    let mut filter = filter(&ask, &query)?;
    let Path(kpi) = kpi.map_err(|_| Problem::not_found("the KPI's key is not UTF-8 text"))?;
    let info = find(app.store.kpis(), &kpi)?;
    filter.kpis = Some(BTreeSet::from([Arc::clone(&info.key)]));
    if let Some(grain) = filter.window() {
        let detail = format!(
            "`{grain}` has no history; ask /api/v1/kpis for its value, or for a series by {}",
            Grain::names()
        );
        return Err(Problem::bad_parameter("grain", detail));
    }
    filter.grain = Some(filter.grain.unwrap_or(Grain::Day));
    let troubled = !app.health.report().troubles.is_empty();
    let state = if troubled { "degraded" } else { "" };
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    // What was expected of a period depends on those before it.
    let whole = CellFilter { from: None, to: None, ..filter.clone() };
    let read = app.store.cells(&whole, Periods::All);
    let (position, cells) = read.ok_or_else(Problem::recovering)?;
    check_size(cells.iter().filter(|cell| filter.takes_period(cell.period_start)).count())?;
    let (key, unit) = (Arc::clone(&info.key), info.unit);
    let turn = Arc::clone(&app.series_turns).acquire_owned().await;
    let work = move || {
        let answer = answer(&app, &filter, (key, unit), &position, &cells, troubled);
        // The turn ends when the work does, also when the client has gone.
        drop(turn);
        (position, answer)
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "computing what was expected of a series failed");
        let detail = "what was expected cannot be computed; the log of the server says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let (position, answer) = done;
    ask.answer(&position, state, &answer)
}

fn answer(
    app: &App,
    filter: &CellFilter,
    (kpi, unit): (Arc<str>, Unit),
    position: &StreamPosition,
    cells: &Snapshot,
    troubled: bool,
) -> Series {
    let grain = filter.grain.unwrap_or(Grain::Day);
    let one = |(name, cells): (&SeriesName, Vec<ServedCell<'_>>)| {
        let points: Vec<(Micros, CellValue)> =
            cells.iter().map(|cell| (cell.period_start, cell.value)).collect();
        let wanted = points.iter().map(|(start, _)| *start);
        let wanted: Vec<Micros> = wanted.filter(|start| filter.takes_period(*start)).collect();
        let bands = app.bands.bands((&kpi, &name.tenant), grain, &points, &wanted);
        let periods = app.calendar.of(&name.tenant);
        let values = points.iter().filter(|(start, _)| filter.takes_period(*start));
        let point = |(&(start, value), band): (&(Micros, CellValue), _)| {
            let band: Option<schemas::Band> = band;
            Point {
                period_start: start.to_string(),
                value: value.value.map(wire::decimal),
                status: value.status.name(),
                closed: periods.end(grain, start) <= position.as_of,
                future: start > position.as_of,
                expected: band.map(|band| wire::decimal(band.expected)),
                lower: band.map(|band| wire::decimal(band.lower)),
                upper: band.map(|band| wire::decimal(band.upper)),
            }
        };
        let bands = bands.into_iter().chain(std::iter::repeat(None));
        let points: Vec<Point> = values.zip(bands).map(point).collect();
        let dims = RawValue::from_string(name.dims.to_string()).ok()?;
        let tenant = Arc::clone(&name.tenant);
        (!points.is_empty()).then_some(OneSeries { tenant, dims, points })
    };
    Series {
        tenant: filter.tenant.clone(),
        grain: grain.name(),
        unit: unit.name(),
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        series: cells.series().filter_map(one).collect(),
        kpi,
    }
}
