//! `GET /api/v1/kpis`: current cells.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::POINTS_MAX;
use super::ask::Ask;
use super::shapes::KpisShape;
use crate::app::App;
use crate::claims::Scope;
use crate::problem::Problem;
use crate::query::Query;
use crate::store::Filter;
use crate::wire;

const PARAMETERS: [&str; 5] = ["tenant", "grain", "kpi", "from", "to"];

#[derive(Serialize)]
struct Kpis<'a> {
    epoch: u64,
    as_of: String,
    degraded: bool,
    kpis: Vec<wire::Cell<'a>>,
}

/// KPI values: without `from` and `to` the newest period of each series, else every period of them.
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
    let newest_only = filter.from.is_none() && filter.to.is_none();
    let troubled = !app.health.report().troubles.is_empty();
    let state = if troubled { "degraded" } else { "" };
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    check_size(app.store.count(&filter, newest_only))?;
    let read = app.store.cells(&filter, newest_only);
    let (position, cells) = read.ok_or_else(Problem::recovering)?;
    let kpis = app.store.kpis();
    let cell = |(key, value)| wire::Cell::new(key, value, wire::unit_of(kpis, &key.kpi));
    let answer = Kpis {
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        kpis: cells.iter().map(|(key, value)| cell((key, value))).collect(),
    };
    ask.answer(&position, state, &answer)
}

/// The part of a filter that all routes with cells share.
pub(super) fn filter(ask: &Ask, query: &Query) -> Result<Filter, Problem> {
    let (from, to) = query.span()?;
    let tenant = ask.claims.tenant(query.tenant()?)?;
    Ok(Filter { tenant, kpis: None, grain: query.grain()?, from, to })
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
