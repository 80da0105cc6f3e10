//! `GET /api/v1/kpis/{kpi}/series`: one KPI over time, with what was expected.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use schemas::{CellValue, Grain, KnownSeries, KpiInfo, Micros};
use serde::Serialize;
use serde_json::value::RawValue;

use super::accept::Form;
use super::ask::{ListAsk, in_turn};
use super::csv::{self, Csv, Field};
use super::kpis::{COMPARED_COLUMNS, check_size, compared_fields, filter, state_of};
use super::shapes::{Dims, GrainShape, PointShape, UnitShape};
use crate::app::App;
use crate::claims::Scope;
use crate::compare::Comparison;
use crate::earlier::Against;
use crate::problem::Problem;
use crate::query::{DIM, find};
use crate::store::{
    CellFilter, History, Periods, SeriesName, ServedCell, Snapshot, StreamPosition,
};
use crate::wire;

const PARAMETERS: [&str; 6] = ["tenant", "grain", "from", "to", DIM, "compare"];

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
    #[schema(value_type = Vec<PointShape>)]
    points: Vec<Point>,
}

/// One period: a [`PointShape`].
#[derive(Debug, Serialize)]
struct Point {
    period_start: String,
    value: Option<String>,
    status: &'static str,
    closed: bool,
    future: bool,
    expected: Option<String>,
    lower: Option<String>,
    upper: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<Arc<str>>,
    /// With `compare` only.
    #[serde(flatten)]
    compared: Option<wire::ComparedView>,
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
    responses((status = 200, description = "The points at an epoch", content(
        (Series = "application/json"), (String = "text/csv"),
    ))),
    security(("bearer" = ["kpi:read"])),
)]
pub(crate) async fn series(
    State(app): State<Arc<App>>,
    ListAsk(ask, form): ListAsk,
    kpi: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::KpiRead)?;
    let query = ask.query(&PARAMETERS)?;
    let mut filter = filter(&app, &ask, &query)?;
    let Path(kpi) = kpi.map_err(|_| Problem::not_found("the KPI's key is not UTF-8 text"))?;
    let info = find(app.store.kpis(), &kpi)?;
    let against = query.compare()?;
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
    let state = state_of(troubled, form);
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    // What was expected of a period depends on those before it.
    let whole = CellFilter { from: None, to: None, ..filter.clone() };
    let read = app.store.cells_and_history(&whole, Periods::All);
    let (position, cells, history) = read.ok_or_else(Problem::recovering)?;
    check_size(cells.iter().filter(|cell| filter.takes_period(cell.period_start)).count())?;
    let (info, own) = (info.clone(), Arc::clone(&app));
    let work = move || {
        let by = against.map(|against| (against, &history));
        let answer = answer(&own, &filter, &info, &position, (&cells, by), troubled);
        if form == Form::Csv {
            let csv = table(&answer, &info, against.is_some());
            let answer = csv.answer("series", &position, None);
            return Ok(ask.tagged(&position, state, answer));
        }
        ask.answer(&position, state, &answer)
    };
    in_turn(&app, work).await?
}

/// Points as rows.
fn table(series: &Series, info: &KpiInfo, is_compared: bool) -> Csv {
    let dims: BTreeSet<&str> = info.dims.iter().map(String::as_str).collect();
    let compared = COMPARED_COLUMNS.get(..if is_compared { COMPARED_COLUMNS.len() } else { 0 });
    let own = ["value", "unit", "status", "closed", "future", "expected", "lower", "upper"];
    let after = [&own, compared.unwrap_or_default()].concat();
    let header = csv::header(&["tenant", "kpi", "grain", "period_start"], &dims, &after);
    let mut csv = Csv::default();
    csv.row(header.iter().map(|name| Field::Text(name)));
    let word = |is: bool| Field::Plain(if is { "true" } else { "false" });
    for one in &series.series {
        let values = csv::values_of(one.dims.get());
        for point in &one.points {
            let before = [Field::Text(&one.tenant), Field::Text(&series.kpi)];
            let period = [Field::Plain(series.grain), Field::Plain(&point.period_start)];
            let value = [Field::plain(point.value.as_deref()), Field::Plain(series.unit)];
            let state = [Field::Plain(point.status), word(point.closed), word(point.future)];
            let bands = [&point.expected, &point.lower, &point.upper];
            let bands = bands.map(|band| Field::plain(band.as_deref()));
            let own = before.into_iter().chain(period).chain(csv::fields_of(&dims, &values));
            let own = own.chain(value).chain(state).chain(bands);
            csv.row(own.chain(point.compared.iter().flat_map(compared_fields)));
        }
    }
    csv
}

fn answer(
    app: &App,
    filter: &CellFilter,
    info: &KpiInfo,
    position: &StreamPosition,
    (snapshot, by): (&Snapshot, Option<(Against, &History)>),
    troubled: bool,
) -> Series {
    let grain = filter.grain.unwrap_or(Grain::Day);
    let one = |(name, cells): (&SeriesName, Vec<ServedCell<'_>>)| {
        let points: Vec<(Micros, CellValue)> =
            cells.iter().map(|cell| (cell.period_start, cell.value)).collect();
        let wanted = points.iter().map(|(start, _)| *start);
        let wanted: Vec<Micros> = wanted.filter(|start| filter.takes_period(*start)).collect();
        let (tenant, model) = (&*name.tenant, snapshot.model_of(name, grain));
        let known = KnownSeries { kpi: &info.key, tenant, grain, points: &points, model };
        let bands = app.bands.bands(&known, &wanted);
        let periods = app.calendar.of(&name.tenant);
        let compared = |start, value: CellValue| {
            let (against, history) = by?;
            let (kind, as_of) = (Some(info.kind), position.as_of);
            let comparison = Comparison { against, history, periods, kind, as_of };
            Some(wire::ComparedView::new(comparison.of(name, (grain, start), value.value, None)))
        };
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
                planned: periods.planned(grain, start).cloned(),
                compared: compared(start, value),
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
        unit: info.unit.name(),
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        series: snapshot.series().filter_map(one).collect(),
        kpi: Arc::clone(&info.key),
    }
}
