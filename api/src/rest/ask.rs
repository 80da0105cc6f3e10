//! What every request of the REST routes has in common: who asks, and what the client has already.
//!
//! # Guarantees
//! - No route runs before its token is checked and its subject's rate is, nor for a client that cannot
//!   read its answer.
//! - An answer that has not changed since the client's copy is a 304 without being computed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::accept::{self, Form};
use crate::app::App;
use crate::claims::{AuthError, Claims, Tenants};
use crate::problem::Problem;
use crate::query::Query;
use crate::store::StreamPosition;

/// Bytes of a body; larger ones do not come this far.
const BODY_MAX: usize = 64 << 10;
/// How long a body is waited for.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// A request whose token is valid.
#[derive(Debug)]
pub(crate) struct Ask {
    /// What the token says.
    pub(crate) claims: Claims,
    uri: Uri,
    headers: HeaderMap,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Ask, Problem> {
        let ask = Ask::admitted(parts, app).await?;
        accept::check(&parts.headers)?;
        Ok(ask)
    }
}

/// The same of a list, and its form.
#[derive(Debug)]
pub(crate) struct ListAsk(pub(crate) Ask, pub(crate) Form);

impl FromRequestParts<Arc<App>> for ListAsk {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<ListAsk, Problem> {
        let ask = Ask::admitted(parts, app).await?;
        Ok(ListAsk(ask, accept::form_of_list(&parts.headers)?))
    }
}

/// The token of an `Authorization` header, if there is one.
///
/// # Errors
/// When there is such a header and it holds no bearer token.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = |what: &str| Err(AuthError::Invalid(what.to_owned()));
    if values.next().is_some() {
        return wrong("there is more than one `Authorization` header; send one");
    }
    let Ok(value) = value.to_str() else {
        return wrong("the `Authorization` header is not plain text");
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => wrong("the `Authorization` header must be `Bearer <token>`"),
    }
}

impl Ask {
    async fn admitted(parts: &Parts, app: &Arc<App>) -> Result<Ask, Problem> {
        let token = bearer(&parts.headers)?.ok_or(AuthError::Missing)?;
        let claims = app.tokens.check(token).await?;
        app.rates.take(&claims.subject).map_err(Problem::too_many)?;
        Ok(Ask { claims, uri: parts.uri.clone(), headers: parts.headers.clone() })
    }

    /// The query string, of which these parameters are understood.
    pub(crate) fn query(&self, known: &[&'static str]) -> Result<Query, Problem> {
        Query::parse(self.uri.query(), known)
    }

    /// What is asked, and for whom, but for some parameters, in short.
    pub(crate) fn question(&self, without: &[&str]) -> String {
        let raw = self.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(raw.as_bytes());
        let mut pairs: Vec<_> = pairs.filter(|(name, _)| !without.contains(&&**name)).collect();
        pairs.sort_unstable();
        let pairs = pairs.iter().flat_map(|(name, value)| [&**name, &**value]);
        short_hash([self.uri.path(), self.tenants()].into_iter().chain(pairs))
    }

    fn tenants(&self) -> &str {
        match &self.claims.tenants {
            Tenants::All => "*",
            Tenants::One(tenant) => tenant,
        }
    }

    /// The version of the answer at a position. `state` is what else the answer depends on.
    pub(crate) fn tag(&self, position: &StreamPosition, state: &str) -> String {
        let offset = position.offset.to_string();
        let query = self.uri.query().unwrap_or_default();
        let parts = [&*position.generation, &offset, self.uri.path(), query, self.tenants(), state];
        format!("W/\"{}\"", short_hash(parts.into_iter()))
    }

    /// A 304, when the client's copy is the answer at the store's position.
    pub(crate) fn unchanged(&self, app: &App, state: &str) -> Result<Option<Response>, Problem> {
        let position = app.store.position().ok_or_else(Problem::recovering)?;
        if !self.headers.contains_key(IF_NONE_MATCH) {
            return Ok(None);
        }
        let tag = self.tag(&position, state);
        let held = is_held(&self.headers, &tag);
        Ok(held.then(|| with_tag(StatusCode::NOT_MODIFIED.into_response(), &tag)))
    }

    /// The answer made at a position.
    pub(crate) fn answer<T: Serialize>(
        &self,
        position: &StreamPosition,
        state: &str,
        answer: &T,
    ) -> Result<Response, Problem> {
        Ok(self.tagged(position, state, json(answer)?))
    }

    /// An answer of another form.
    pub(crate) fn tagged(
        &self,
        position: &StreamPosition,
        state: &str,
        answer: Response,
    ) -> Response {
        with_tag(answer, &self.tag(position, state))
    }
}

/// A hash of texts in 32 hexadecimal digits.
fn short_hash<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Lengths keep neighbouring parts apart.
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the client holds the version with this tag. Tags are compared weakly, as RFC 9110 asks.
pub(crate) fn is_held(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = tag.trim_start_matches("W/");
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut held = values.flat_map(|value| value.split(',')).map(str::trim);
    held.any(|held| held == "*" || held.trim_start_matches("W/") == opaque)
}

fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    private(response)
}

/// Computes an answer that takes a while: few at the same time, and none where others are answered.
pub(crate) async fn in_turn<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let turn = Arc::clone(&app.series_turns).acquire_owned().await;
    let work = move || {
        let done = work();
        // The turn ends when the work does, also when the client has gone.
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "computing an answer failed");
        let detail = "the answer cannot be computed; the log of the server says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })
}

/// Marks an answer as one that only its client may keep, and must ask about before using again.
pub(crate) fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("authorization, accept"));
    response
}

/// What the body of a request says; one that is empty says `{}`.
pub(crate) async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let read = axum::body::to_bytes(request.into_body(), BODY_MAX);
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let read = tokio::time::timeout(BODY_WAIT, read).await;
    let read = read.map_err(|_| bad("the body did not arrive within 10 s".to_owned()))?;
    let bytes = read.map_err(|_| bad("the body could not be read to its end".to_owned()))?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|error| {
        bad(format!(
            "the body is not what this route takes: {error}; /api/v1/openapi.json has its form"
        ))
    })
}

/// An answer as JSON.
pub(crate) fn json<T: Serialize>(answer: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        let detail = "the answer cannot be written as JSON; the log of the server says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let header = |value: &&str| (AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        values.iter().map(header).collect()
    }

    #[test]
    fn only_one_bearer_token_is_taken() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Ok(Some("abc")));
        assert_eq!(bearer(&headers(&["bearer abc"])), Ok(Some("abc")));
        assert_eq!(bearer(&headers(&[])), Ok(None));
        for wrong in [&["Basic abc"][..], &["Bearerabc"], &["Bearer a", "Bearer b"]] {
            assert!(bearer(&headers(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn tags_are_compared_weakly() {
        let held = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            is_held(&HeaderMap::from_iter([(IF_NONE_MATCH, value)]), "W/\"a1\"")
        };
        assert!(held("W/\"a1\"") && held("\"a1\"") && held("\"x\", W/\"a1\"") && held("*"));
        assert!(!held("\"a\"") && !held("a1"));
    }
}
