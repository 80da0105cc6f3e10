//! `GET /api/v1/kpis`: current cells.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemas::{KpiInfo, Micros};
use serde::Serialize;

use super::POINTS_MAX;
use super::ask::Ask;
use super::shapes::KpisShape;
use crate::app::App;
use crate::claims::Scope;
use crate::problem::Problem;
use crate::query::Query;
use crate::store::{CellFilter, Periods, ServedCell};
use crate::wire;

const PARAMETERS: [&str; 5] = ["tenant", "grain", "kpi", "from", "to"];

#[derive(Serialize)]
struct Kpis<'a> {
    epoch: u64,
    as_of: String,
    degraded: bool,
    kpis: Vec<Shown<'a>>,
}

/// A cell, marked where its period has not begun.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    cell: wire::Cell<'a>,
    future: bool,
}

/// KPI values: without `from` and `to` the newest period of each series that has begun, else every
/// period of them. Of a window its only period. Without `grain`, those of the calendar.
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
    let periods = match (filter.from, filter.to) {
        (None, None) => Periods::Newest,
        _ => Periods::All,
    };
    let troubled = !app.health.report().troubles.is_empty();
    let state = if troubled { "degraded" } else { "" };
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    let read = app.store.cells(&filter, periods);
    let (position, cells) = read.ok_or_else(Problem::recovering)?;
    check_size(cells.len())?;
    let kpis = app.store.kpis();
    let answer = Kpis {
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        kpis: cells.iter().map(|cell| shown(cell, kpis, position.as_of)).collect(),
    };
    ask.answer(&position, state, &answer)
}

fn shown<'a>(cell: ServedCell<'a>, kpis: &[KpiInfo], as_of: Micros) -> Shown<'a> {
    let unit = wire::unit_of(kpis, &cell.series.kpi);
    let future = cell.period_start > as_of;
    Shown { cell: wire::Cell::served(cell, unit), future }
}

/// The part of a filter that all routes with cells share.
pub(super) fn filter(ask: &Ask, query: &Query) -> Result<CellFilter, Problem> {
    let (from, to) = query.span()?;
    let (tenant, grain) = (ask.claims.tenant(query.tenant()?)?, query.grain()?);
    if let Some(grain) = grain.filter(|grain| grain.is_window() && from.or(to).is_some()) {
        let detail = format!("`{grain}` is one period, which moves; leave `from` and `to` out");
        return Err(Problem::bad_parameter("grain", detail));
    }
    Ok(CellFilter { tenant, kpis: None, grain, from, to })
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
