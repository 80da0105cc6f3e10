//! `/healthz`, `/readyz` and `/metrics`: for machines that watch the process; no token.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::App;
use crate::metrics::OPENMETRICS;
use crate::problem::Problem;

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

/// The process lives and answers.
pub(crate) async fn healthz() -> Response {
    ([(CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

/// Whether requests should be sent here: recovery is over and the pipeline has nothing against it.
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let mut reasons = app.health.report().unready;
    if app.store.position().is_none() && reasons.is_empty() {
        reasons.push("the pipeline is recovering".to_owned());
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, axum::Json(Readiness { ready, reasons })).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What happens inside, as OpenMetrics text.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text = app.metrics.text().map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written as text")
    })?;
    Ok(([(CONTENT_TYPE, OPENMETRICS), (CACHE_CONTROL, "no-store")], text).into_response())
}
