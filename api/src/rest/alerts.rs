//! `GET /api/v1/alerts`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::ALERTS_MAX;
use super::ask::Ask;
use super::shapes::AlertsShape;
use crate::app::App;
use crate::claims::Scope;
use crate::problem::Problem;
use crate::wire;

#[derive(Serialize)]
struct Alerts<'a> {
    epoch: u64,
    as_of: String,
    degraded: bool,
    alerts: Vec<wire::AlertView<'a>>,
    more: bool,
}

/// Alerts, those that opened last first: open ones, and those resolved within thirty days.
///
/// At most 10,000 in one answer; `more` says that there are others.
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    operation_id = "alerts",
    params(super::document::AlertsQuery),
    responses((status = 200, description = "The alerts at an epoch", body = AlertsShape)),
    security(("bearer" = ["alerts:read"])),
)]
pub(crate) async fn alerts(State(app): State<Arc<App>>, ask: Ask) -> Result<Response, Problem> {
    ask.claims.require(Scope::AlertsRead)?;
    let query = ask.query(&["state", "tenant"])?;
    let tenant = ask.claims.tenant(query.tenant()?)?;
    let wanted = query.word("state", &["open", "resolved", "all"])?.unwrap_or("open");
    let troubled = !app.health.report().troubles.is_empty();
    let state = if troubled { "degraded" } else { "" };
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    let read = app.store.alerts(tenant.as_ref(), None);
    let (position, mut alerts) = read.ok_or_else(Problem::recovering)?;
    alerts.retain(|alert| wanted == "all" || alert.is_open() == (wanted == "open"));
    alerts.sort_unstable_by(|a, b| (b.opened_at, &a.id).cmp(&(a.opened_at, &b.id)));
    let answer = Alerts {
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        alerts: alerts.iter().take(ALERTS_MAX).map(|alert| wire::AlertView::new(alert)).collect(),
        more: alerts.len() > ALERTS_MAX,
    };
    ask.answer(&position, state, &answer)
}
