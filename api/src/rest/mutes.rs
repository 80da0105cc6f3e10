//! `/api/v1/mutes`: alerts of which nobody is told for a while.
//!
//! # Guarantees
//! - A mute of a token for one tenant concerns that tenant only, and is seen and ended by such tokens and by those for
//!   all tenants.
//! - 200 to a POST or DELETE means that the decision is on disk. It holds from the epoch that takes it on.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use schemas::answer::{MUTES_MAX, Mute, Muted, Unmute};
use schemas::{AlertMatch, Decision, Micros};
use serde::{Deserialize, Serialize};

use super::answers::{Decided, checked, decide, keep};
use super::ask::{Ask, body, json, private};
use super::shapes::SeverityShape;
use crate::app::App;
use crate::claims::{Claims, Refused, Scope, Tenants};
use crate::problem::Problem;
use crate::query::shown;

/// A mute to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMute {
    /// Which alerts; all that is named must hold, and `{}` means all.
    #[serde(rename = "match")]
    #[schema(value_type = MatchShape)]
    matching: AlertMatch,
    /// When it ends: RFC 3339.
    #[schema(format = DateTime)]
    until: String,
    /// Why.
    #[schema(max_length = 2_000)]
    comment: Option<String>,
}

/// Which alerts are meant: all that is named must hold. `*` at the end of a word stands for any rest.
#[derive(utoipa::ToSchema)]
#[schema(as = Match)]
#[expect(dead_code, reason = "the fields are read by the derived description only")]
pub(super) struct MatchShape {
    /// One of these severities.
    #[schema(required = false)]
    severity: Vec<SeverityShape>,
    /// Of one of these tenants.
    #[schema(required = false)]
    tenant: Vec<String>,
    /// Of one of these KPIs.
    #[schema(required = false)]
    kpi: Vec<String>,
    /// With one of these values of each of these dimensions.
    #[schema(required = false)]
    dims: BTreeMap<String, Vec<String>>,
}

/// A mute in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Mute)]
pub(super) struct MuteView {
    /// Its id, for its end.
    id: String,
    /// The only tenant that it concerns; null: all that it matches.
    tenant: Option<String>,
    /// Which alerts.
    #[serde(rename = "match")]
    #[schema(value_type = MatchShape)]
    matching: AlertMatch,
    /// When it ends.
    #[schema(format = DateTime)]
    until: String,
    /// Why.
    comment: Option<String>,
    /// Who made it.
    by: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

impl MuteView {
    fn new(id: &str, mute: &Mute, by: &str, at: Micros) -> MuteView {
        MuteView {
            id: id.to_owned(),
            tenant: mute.tenant.clone(),
            matching: mute.matching.clone(),
            until: mute.until.to_string(),
            comment: mute.comment.clone(),
            by: by.to_owned(),
            at: at.to_string(),
        }
    }
}

/// The mutes in force at an epoch.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Mutes {
    /// The epoch of the answer.
    epoch: u64,
    /// That epoch's clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Those that the token may see, by their ends.
    mutes: Vec<MuteView>,
}

/// The mutes in force.
#[utoipa::path(
    get,
    path = "/api/v1/mutes",
    operation_id = "mutes",
    responses((status = 200, description = "The mutes at an epoch", body = Mutes)),
    security(("bearer" = ["alerts:read"])),
)]
pub(crate) async fn mutes(State(app): State<Arc<App>>, ask: Ask) -> Result<Response, Problem> {
    // Whoever may make one may look at what there is.
    ask.claims
        .require(Scope::AlertsRead)
        .or_else(|refused| ask.claims.require(Scope::AlertsWrite).map_err(|_| refused))?;
    drop(ask.query(&[])?);
    if let Some(unchanged) = ask.unchanged(&app, "")? {
        return Ok(unchanged);
    }
    let (position, answers) = app.store.answers().ok_or_else(Problem::recovering)?;
    let seen = answers.mutes().filter(|(_, muted)| sees(&ask.claims, muted));
    let mut seen: Vec<_> = seen.collect();
    seen.sort_by_key(|(id, muted)| (muted.mute.until, Arc::clone(id)));
    let view = |(id, Muted { mute, said, .. }): (&Arc<str>, &Muted)| {
        MuteView::new(id, mute, &said.by, said.at)
    };
    let mutes = seen.into_iter().map(view).collect();
    let answer = Mutes { epoch: position.offset, as_of: position.as_of.to_string(), mutes };
    ask.answer(&position, "", &answer)
}

/// Keeps people from being told of some alerts until an instant.
///
/// 200 means that it is on disk; it holds from the epoch on that takes it.
#[utoipa::path(
    post,
    path = "/api/v1/mutes",
    operation_id = "mute",
    request_body = NewMute,
    responses((status = 200, description = "It is kept", body = MuteView)),
    security(("bearer" = ["alerts:write"])),
)]
pub(crate) async fn mute(
    State(app): State<Arc<App>>,
    ask: Ask,
    request: Request,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::AlertsWrite)?;
    drop(ask.query(&[])?);
    let NewMute { matching, until, comment } = body(request).await?;
    let tenant = bound(&ask.claims, &matching)?;
    let until = ahead(&until, app.clock.now())?;
    let (_, answers) = app.store.answers().ok_or_else(Problem::recovering)?;
    if answers.mutes().count() >= MUTES_MAX {
        let detail =
            format!("there are {MUTES_MAX} mutes in force; end some, or mute more at once by `*`");
        return Err(Problem::new(axum::http::StatusCode::CONFLICT, detail));
    }
    let mute = Mute { tenant, matching, until, comment: checked(comment)? };
    let id = keep(&app, &ask.claims, Decision::Mute(mute.clone())).await?;
    let answer = MuteView::new(&id, &mute, &ask.claims.subject, app.clock.now());
    Ok(private(json(&answer)?))
}

/// Ends a mute before its time.
///
/// 200 means that it is on disk; it holds from the epoch on that takes it.
#[utoipa::path(
    delete,
    path = "/api/v1/mutes/{id}",
    operation_id = "unmute",
    params(("id" = String, Path, description = "The mute.", min_length = 1, max_length = 256)),
    responses((status = 200, description = "It is kept", body = Decided)),
    security(("bearer" = ["alerts:write"])),
)]
pub(crate) async fn unmute(
    State(app): State<Arc<App>>,
    ask: Ask,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::AlertsWrite)?;
    drop(ask.query(&[])?);
    let Path(id) = id.map_err(|_| Problem::not_found("the mute's id is not UTF-8 text"))?;
    let (_, answers) = app.store.answers().ok_or_else(Problem::recovering)?;
    if !answers.mute(&id).is_some_and(|muted| sees(&ask.claims, muted)) {
        let detail =
            format!("there is no mute `{}` in force; /api/v1/mutes lists them", shown(&id));
        return Err(Problem::not_found(detail));
    }
    decide(&app, &ask.claims, Decision::Unmute(Unmute { mute: id })).await
}

/// Whether a token may see and end a mute.
fn sees(claims: &Claims, muted: &Muted) -> bool {
    match (&claims.tenants, &muted.mute.tenant) {
        (Tenants::All, _) => true,
        (Tenants::One(own), Some(tenant)) => **own == **tenant,
        (Tenants::One(_), None) => false,
    }
}

/// The tenant that a mute of this token is bound to; it must not be asked for others.
fn bound(claims: &Claims, matching: &AlertMatch) -> Result<Option<String>, Problem> {
    let Tenants::One(own) = &claims.tenants else { return Ok(None) };
    match matching.tenant.iter().find(|tenant| ***tenant != **own) {
        Some(other) => Err(Refused::Tenant(shown(other)).into()),
        None => Ok(Some(own.to_string())),
    }
}

fn ahead(until: &str, now: Micros) -> Result<Micros, Problem> {
    let bad = |why: &str| {
        let detail =
            format!("`until` is `{}`, {why}; write it as 2026-11-22T08:00:00Z", shown(until));
        Problem::bad_parameter("until", detail)
    };
    let until = Micros::parse(until).ok_or_else(|| bad("which is no instant"))?;
    if until <= now { Err(bad("which is over")) } else { Ok(until) }
}
