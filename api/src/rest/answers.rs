//! `POST /api/v1/alerts/{id}/acknowledge` and `/feedback`: what people say of an alert.
//!
//! # Guarantees
//! - An alert of another tenant is answered like one that does not exist.
//! - 200 means that the decision is on disk. It shows after the epoch that takes it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use schemas::Decision;
use schemas::answer::{Acknowledge, COMMENT_MAX, Feedback, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ask::{Ask, body, json, private};
use crate::app::App;
use crate::claims::{Claims, Scope};
use crate::problem::Problem;
use crate::query::shown;
use crate::store::{ServedAlert, StreamPosition};

/// What is said with an acknowledgement.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Acknowledgement)]
pub(super) struct AcknowledgeBody {
    /// What there is to say.
    #[schema(max_length = 2_000)]
    comment: Option<String>,
}

/// What somebody thinks of an alert.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Feedback)]
pub(super) struct FeedbackBody {
    /// Whether the alert was right.
    verdict: VerdictBody,
    /// What there is to say.
    #[schema(max_length = 2_000)]
    comment: Option<String>,
}

/// Whether an alert was right: `planned` when it was meant to be so.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Verdict)]
pub(super) enum VerdictBody {
    Yes,
    No,
    Planned,
}

/// A decision that is kept.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Decided {
    /// The decision: its key in the table of all records.
    decision: String,
}

/// Says that somebody looks after an alert: the subject of the token.
///
/// 200 means that it is on disk; it shows after the epoch that takes it.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/acknowledge",
    operation_id = "acknowledge",
    params(("id" = String, Path, description = "The alert.", min_length = 1, max_length = 256)),
    request_body = AcknowledgeBody,
    responses((status = 200, description = "It is kept", body = Decided)),
    security(("bearer" = ["alerts:write"])),
)]
pub(crate) async fn acknowledge(
    State(app): State<Arc<App>>,
    ask: Ask,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (alert, AcknowledgeBody { comment }) = asked(&app, &ask, id, request).await?;
    let comment = checked(comment)?;
    decide(&app, &ask.claims, Decision::Acknowledge(Acknowledge { alert, comment })).await
}

/// Says whether an alert was right.
///
/// 200 means that it is on disk; it shows after the epoch that takes it.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/feedback",
    operation_id = "feedback",
    params(("id" = String, Path, description = "The alert.", min_length = 1, max_length = 256)),
    request_body = FeedbackBody,
    responses((status = 200, description = "It is kept", body = Decided)),
    security(("bearer" = ["alerts:write"])),
)]
pub(crate) async fn feedback(
    State(app): State<Arc<App>>,
    ask: Ask,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (alert, FeedbackBody { verdict, comment }) = asked(&app, &ask, id, request).await?;
    let verdict = match verdict {
        VerdictBody::Yes => Verdict::Yes,
        VerdictBody::No => Verdict::No,
        VerdictBody::Planned => Verdict::Planned,
    };
    let comment = checked(comment)?;
    decide(&app, &ask.claims, Decision::Feedback(Feedback { alert, verdict, comment })).await
}

/// The alert of a path that the token may decide about, and what the body says of it.
async fn asked<T: DeserializeOwned>(
    app: &App,
    ask: &Ask,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<(String, T), Problem> {
    ask.claims.require(Scope::AlertsWrite)?;
    drop(ask.query(&[])?);
    let (_, alert) = alert(app, &ask.claims, id)?;
    Ok((alert.id.to_string(), body(request).await?))
}

/// The alert of a path, if the token may see it.
pub(super) fn alert(
    app: &App,
    claims: &Claims,
    id: Result<Path<String>, PathRejection>,
) -> Result<(StreamPosition, Arc<ServedAlert>), Problem> {
    let none = |id: &str| {
        Problem::not_found(format!(
            "there is no alert `{}`; /api/v1/alerts?state=all lists them",
            shown(id)
        ))
    };
    let Path(id) = id.map_err(|_| Problem::not_found("the alert's id is not UTF-8 text"))?;
    let (position, alert) = app.store.alert(&id).ok_or_else(Problem::recovering)?;
    let alert = alert.filter(|alert| claims.sees(&alert.key.tenant)).ok_or_else(|| none(&id))?;
    Ok((position, alert))
}

/// A comment that may be kept; one without words is none.
pub(super) fn checked(comment: Option<String>) -> Result<Option<String>, Problem> {
    let comment = comment.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    match comment {
        Some(text) if text.len() > COMMENT_MAX => Err(Problem::bad_parameter(
            "comment",
            format!("`comment` is longer than {COMMENT_MAX} bytes; say it in fewer"),
        )),
        comment => Ok(comment),
    }
}

/// Keeps a decision of whoever asks; its id.
pub(super) async fn keep(
    app: &App,
    claims: &Claims,
    decision: Decision,
) -> Result<String, Problem> {
    app.decisions
        .keep(decision, &claims.subject)
        .await
        .map_err(|e| Problem::not_now(e.to_string(), 1))
}

/// The same as an answer.
pub(super) async fn decide(
    app: &App,
    claims: &Claims,
    decision: Decision,
) -> Result<Response, Problem> {
    let decision = keep(app, claims, decision).await?;
    Ok(private(json(&Decided { decision })?))
}
