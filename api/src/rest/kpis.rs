//! `GET /api/v1/kpis`: current cells.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemas::Micros;
use serde::Serialize;

use super::POINTS_MAX;
use super::ask::{Ask, in_turn};
use super::shapes::KpisShape;
use crate::app::App;
use crate::claims::Scope;
use crate::compare::{Against, Comparison};
use crate::problem::Problem;
use crate::query::Query;
use crate::store::{CellFilter, History, Periods, ServedCell, StreamPosition};
use crate::wire;

const PARAMETERS: [&str; 6] = ["tenant", "grain", "kpi", "from", "to", "compare"];

#[derive(Serialize)]
struct Kpis<'a> {
    epoch: u64,
    as_of: String,
    degraded: bool,
    kpis: Vec<Shown<'a>>,
}

/// A cell, marked where its period has not begun, with what it is compared with, if that was asked for.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    cell: wire::Cell<'a>,
    future: bool,
    #[serde(flatten)]
    compared: Option<wire::ComparedView>,
}

/// KPI values: without `from` and `to` the newest period of each series that has begun, else every
/// period of them.
///
/// Ordered by tenant, KPI, dimensions, grain and period. At most 100,000 values in one answer.
#[utoipa::path(
    get,
    path = "/api/v1/kpis",
    operation_id = "kpis",
    params(super::document::KpisQuery),
    responses((status = 200, description = "The values at an epoch", body = KpisShape)),
    security(("bearer" = ["kpi:read"])),
)]
pub(crate) async fn kpis(State(app): State<Arc<App>>, ask: Ask) -> Result<Response, Problem> {
    ask.claims.require(Scope::KpiRead)?;
    let query = ask.query(&PARAMETERS)?;
    let mut filter = filter(&ask, &query)?;
    filter.kpis = query.kpis(app.store.kpis())?;
    let against = query.compare()?;
    let periods = match (filter.from, filter.to) {
        (None, None) => Periods::Newest,
        _ => Periods::All,
    };
    let troubled = !app.health.report().troubles.is_empty();
    let state = if troubled { "degraded" } else { "" };
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    let Some(against) = against else {
        let read = app.store.cells(&filter, periods);
        let (position, cells) = read.ok_or_else(Problem::recovering)?;
        check_size(cells.len())?;
        let shown = |cell| shown(&app, cell, position.as_of, None);
        let answer = answer(&position, troubled, cells.iter().map(shown).collect());
        return ask.answer(&position, state, &answer);
    };
    let read = app.store.cells_and_history(&filter, periods);
    let (position, cells, history) = read.ok_or_else(Problem::recovering)?;
    check_size(cells.len())?;
    let own = Arc::clone(&app);
    let work = move || {
        let by = Some((against, &history));
        let shown = |cell| shown(&own, cell, position.as_of, by);
        let answer = answer(&position, troubled, cells.iter().map(shown).collect());
        ask.answer(&position, state, &answer)
    };
    in_turn(&app, work).await?
}

fn answer<'a>(position: &StreamPosition, troubled: bool, kpis: Vec<Shown<'a>>) -> Kpis<'a> {
    Kpis {
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        kpis,
    }
}

fn shown<'a>(
    app: &App,
    cell: ServedCell<'a>,
    as_of: Micros,
    by: Option<(Against, &History)>,
) -> Shown<'a> {
    let info = app.store.kpi(&cell.series.kpi);
    let compared = by.map(|(against, history)| {
        let periods = app.calendar.of(&cell.series.tenant);
        let kind = info.map(|info| info.kind);
        let comparison = Comparison { against, history, periods, kind, as_of };
        let place = (cell.grain, cell.period_start);
        wire::ComparedView::new(comparison.of(cell.series, place, cell.value.value))
    });
    let unit = wire::unit_of(app.store.kpis(), &cell.series.kpi);
    let name = wire::CellName::served(cell);
    let future = cell.period_start > as_of;
    Shown { cell: wire::Cell::new(name, &cell.value, unit), future, compared }
}

/// The part of a filter that all routes with cells share.
pub(super) fn filter(ask: &Ask, query: &Query) -> Result<CellFilter, Problem> {
    let (from, to) = query.span()?;
    let tenant = ask.claims.tenant(query.tenant()?)?;
    Ok(CellFilter { tenant, kpis: None, grain: query.grain()?, from, to })
}

/// Refuses an answer that would be too long.
pub(super) fn check_size(points: usize) -> Result<(), Problem> {
    if points <= POINTS_MAX {
        return Ok(());
    }
    let detail = format!(
        "this would answer {points} values, and one answer has at most {POINTS_MAX}; narrow it by \
         tenant, kpi, grain, from and to"
    );
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}
