//! All routes, and what every request and answer has to keep to.
//!
//! # Guarantees
//! - Whatever is asked, the answer is made here: unknown paths, methods, and requests beyond the
//!   limits are problems too.
//! - A body is read up to its limit and for a moment only.
//! - Every answer carries the headers that keep browsers from doing more with it than is meant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{StatusCode, Uri, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use futures::StreamExt;
use tokio::time::timeout;

use crate::app::App;
use crate::problem::Problem;
use crate::query::shown;
use crate::{page, probes, rest};

/// Bytes of an address.
const URI_MAX: usize = 8 << 10;
/// Bytes of all headers together.
const HEADERS_MAX: usize = 16 << 10;
/// Bytes of a request's body.
const BODY_MAX: u64 = 64 << 10;
/// Bytes of a body of unknown length that are read: a client that is still sending when the connection
/// is closed may not see the answer.
const DRAINED_MAX: u64 = 1 << 20;
/// How long such a body is waited for.
const BODY_WAIT: Duration = Duration::from_secs(1);

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
    let detail = "this route does not take that method: most are only read, by GET; the header `Allow` says which";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

async fn every_request(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match admitted(request).await {
        Err(problem) => problem.into_response(),
        Ok(request) => next.run(request).await,
    };
    add_headers(response.headers_mut());
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    app.metrics.answered(route, response.status().as_u16(), began.elapsed());
    response
}

/// The request, if it keeps to the rules that all routes share.
async fn admitted(request: Request) -> Result<Request, Problem> {
    if let Some(problem) = too_large(request.uri(), request.headers()) {
        return Err(problem);
    }
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        let detail = format!("there are {hosts} `Host` headers; HTTP/1.1 asks for one");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    if !request.headers().contains_key(TRANSFER_ENCODING) {
        return Ok(request);
    }
    // Its length is told by nothing but itself.
    let (parts, body) = request.into_parts();
    let mut chunks = body.into_data_stream();
    let (mut length, mut read) = (0, Vec::new());
    let count = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            length += chunk.len() as u64;
            if length > DRAINED_MAX {
                break;
            }
            if length <= BODY_MAX {
                read.extend_from_slice(&chunk);
            }
        }
    };
    drop(timeout(BODY_WAIT, count).await);
    if length > BODY_MAX {
        Err(body_too_large())
    } else {
        Ok(Request::from_parts(parts, Body::from(read)))
    }
}

fn body_too_large() -> Problem {
    let detail = format!("the body is larger than {BODY_MAX} bytes; no route reads so much");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
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
    (body > BODY_MAX).then(body_too_large)
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
