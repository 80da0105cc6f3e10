//! `GET /api/v1/alerts`, and `/api/v1/alerts/{id}` with what was told of one.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;

use super::ALERTS_MAX;
use super::ask::{Ask, json, private};
use super::shapes::{AlertsShape, OneAlertShape};
use crate::app::App;
use crate::claims::Scope;
use crate::decisions::Delivery;
use crate::problem::Problem;
use crate::wire;

/// The words of `state`. `open` is an old one for `firing`. None is `pending`: an alert fires as soon as it is there;
/// and none is served that is `withdrawn`: its row is not in the lake any more, as those who were told of it hear.
const STATES: [&str; 6] = ["firing", "resolved", "withdrawn", "pending", "all", "open"];

fn is_wanted(alert: &schemas::Alert, wanted: &str) -> bool {
    match wanted {
        "all" => true,
        "open" => alert.is_open(),
        state => alert.state() == state,
    }
}

#[derive(Serialize)]
struct Alerts<'a> {
    epoch: u64,
    as_of: String,
    degraded: bool,
    alerts: Vec<wire::AlertView<'a>>,
    more: bool,
}

/// Alerts, those that opened last first: firing ones, and those resolved within thirty days.
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
    let wanted = query.word("state", &STATES)?.unwrap_or("firing");
    let troubled = !app.health.report().troubles.is_empty();
    let state = if troubled { "degraded" } else { "" };
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    let read = app.store.alerts(tenant.as_ref(), None);
    let (position, mut alerts) = read.ok_or_else(Problem::recovering)?;
    alerts.retain(|alert| is_wanted(alert, wanted));
    alerts.sort_unstable_by(|a, b| (b.opened_at, &a.id).cmp(&(a.opened_at, &b.id)));
    let answer = Alerts {
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        alerts: alerts
            .iter()
            .take(ALERTS_MAX)
            .map(|alert| wire::AlertView::new(&alert.alert, &alert.answer))
            .collect(),
        more: alerts.len() > ALERTS_MAX,
    };
    ask.answer(&position, state, &answer)
}

/// Things that were told of an alert in one answer.
const DELIVERIES_MAX: u32 = 100;

#[derive(Serialize)]
struct OneAlert<'a> {
    epoch: u64,
    as_of: String,
    degraded: bool,
    alert: wire::AlertView<'a>,
    deliveries: Option<Vec<DeliveryView>>,
}

#[derive(Serialize)]
struct DeliveryView {
    route: String,
    kind: &'static str,
    state: &'static str,
    attempts: u32,
    made_at: String,
    quiet_until: Option<String>,
    ended_at: Option<String>,
    error: Option<String>,
    silenced_by: Vec<String>,
    inhibited_by: Vec<String>,
}

impl DeliveryView {
    fn new(told: Delivery) -> DeliveryView {
        DeliveryView {
            route: told.route,
            kind: told.kind,
            state: told.state,
            attempts: told.attempts,
            made_at: told.made_at.to_string(),
            quiet_until: told.quiet_until.map(|at| at.to_string()),
            ended_at: told.ended_at.map(|at| at.to_string()),
            error: told.error,
            silenced_by: told.silenced_by,
            inhibited_by: told.inhibited_by,
        }
    }
}

/// One alert, and what was told of it by which route.
///
/// The newest 100 of what was told. That changes without an epoch, so the answer has no `ETag`.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/{id}",
    operation_id = "alert",
    params(("id" = String, Path, description = "The alert.", min_length = 1, max_length = 256)),
    responses((status = 200, description = "The alert at an epoch", body = OneAlertShape)),
    security(("bearer" = ["alerts:read"])),
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    ask: Ask,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::AlertsRead)?;
    drop(ask.query(&[])?);
    let (position, alert) = super::answers::alert(&app, &ask.claims, id)?;
    let told = match &app.deliveries {
        Some(deliveries) => deliveries.of(&alert.id, DELIVERIES_MAX).await,
        None => Some(Vec::new()),
    };
    let troubled = !app.health.report().troubles.is_empty();
    let answer = OneAlert {
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: troubled || !position.degraded.is_empty(),
        alert: wire::AlertView::new(&alert.alert, &alert.answer),
        deliveries: told.map(|told| told.into_iter().map(DeliveryView::new).collect()),
    };
    Ok(private(json(&answer)?))
}
