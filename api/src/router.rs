//! All routes, and what every request and answer has to keep to.
//!
//! # Guarantees
//! - Whatever is asked, the answer is made here: unknown paths, methods, and requests beyond the
//!   limits are problems too.
//! - Every answer carries the headers that keep browsers from doing more with it than is meant.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use crate::app::App;
use crate::problem::Problem;
use crate::query::shown;
use crate::{page, probes, rest};

/// Bytes of an address.
const URI_MAX: usize = 8 << 10;
/// Bytes of all headers together.
const HEADERS_MAX: usize = 16 << 10;
/// Bytes of a request's body, of which no route makes any use.
const BODY_MAX: u64 = 64 << 10;

/// What a page of this server may load: its own files, and nothing may put it into a frame.
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'self'; object-src 'none'";

/// All routes over the state. `stream` answers `GET /api/v1/stream`.
pub fn router(app: Arc<App>, stream: MethodRouter<Arc<App>>) -> Router {
    let (rest, _) = rest::documented().split_for_parts();
    rest.route("/api/v1/openapi.json", get(rest::document::openapi))
        .route("/api/v1/stream", stream)
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
        .route("/", get(page::index))
        .route("/ui/session", get(page::session))
        .route("/ui/{*path}", get(page::file))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(Arc::clone(&app), every_request))
        .with_state(app)
}

async fn unknown_path(uri: Uri) -> Problem {
    let path = shown(uri.path());
    Problem::not_found(format!(
        "there is nothing at `{path}`; /api/v1/openapi.json lists all routes"
    ))
}

async fn unknown_method() -> Problem {
    let detail = "this route is only read: use GET";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

async fn every_request(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match too_large(request.uri(), request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    add_headers(response.headers_mut());
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    app.metrics.answered(route, response.status().as_u16(), began.elapsed());
    response
}

fn too_large(uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > URI_MAX {
        let detail = format!("the address is longer than {URI_MAX} bytes; ask for fewer KPIs");
        return Some(Problem::new(StatusCode::URI_TOO_LONG, detail));
    }
    let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if sizes.sum::<usize>() > HEADERS_MAX {
        let detail = format!("the headers are larger than {HEADERS_MAX} bytes; send fewer cookies");
        return Some(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
    }
    let body = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
    (body > BODY_MAX).then(|| {
        let detail = format!("the body is larger than {BODY_MAX} bytes; no route reads one");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })
}

fn add_headers(headers: &mut HeaderMap) {
    let fixed: [(HeaderName, &'static str); 4] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
