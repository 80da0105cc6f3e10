//! Errors as `application/problem+json` (RFC 9457).
//!
//! # Guarantees
//! - Every problem says what failed, where, and what to do, and nothing about the inside of the
//!   process: no path, no stack, no token.

use std::borrow::Cow;

use axum::Json;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::claims::{AuthError, Refused};

/// The media type of errors.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What a client asked that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says which kind of problem it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What failed, where, and what to do.
    pub detail: String,
    /// Which parameter, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>)]
    pub parameter: Option<Cow<'static, str>>,
    #[serde(skip)]
    #[schema(ignore)]
    extra: Extra,
}

/// A header that goes with a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extra {
    None,
    RetryAfter(u32),
    Challenge(&'static str),
    Allow(&'static str),
}

impl Problem {
    /// A problem of this status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.into(),
            parameter: None,
            extra: Extra::None,
        }
    }

    /// A query parameter that cannot be understood.
    pub fn bad_parameter(parameter: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail).about(parameter)
    }

    /// The same problem, of a parameter.
    #[must_use]
    pub fn about(self, parameter: impl Into<Cow<'static, str>>) -> Problem {
        Problem { parameter: Some(parameter.into()), ..self }
    }

    /// Nothing is there under that name.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// A method that the route does not take.
    pub(crate) fn not_allowed(allow: &'static str, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail);
        Problem { extra: Extra::Allow(allow), ..problem }
    }

    /// Nothing can be served at the moment; ask again after some seconds.
    pub fn not_now(detail: impl Into<String>, retry_after_s: u32) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        Problem { extra: Extra::RetryAfter(retry_after_s), ..problem }
    }

    /// More requests than the token may make.
    pub fn too_many(retry_after_s: u32) -> Problem {
        let detail = format!(
            "this token has made too many requests; go on in {retry_after_s} s, or follow \
             /api/v1/stream instead of asking again"
        );
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        Problem { extra: Extra::RetryAfter(retry_after_s), ..problem }
    }

    /// Before the pipeline has recovered.
    pub fn recovering() -> Problem {
        let detail = "the pipeline is still recovering, so there is nothing to serve yet; \
                      /readyz says why, and answers 200 when it is over";
        Problem::not_now(detail, 1)
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Problem {
        let challenge = match &error {
            AuthError::Missing => "Bearer realm=\"weir\"",
            AuthError::Invalid(_) => "Bearer realm=\"weir\", error=\"invalid_token\"",
            AuthError::Unavailable(_) => return Problem::not_now(error.to_string(), 5),
        };
        let problem = Problem::new(StatusCode::UNAUTHORIZED, error.to_string());
        Problem { extra: Extra::Challenge(challenge), ..problem }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let advice = match &refused {
            Refused::Tenant(_) => "leave `tenant` out to see what it is for",
            Refused::AllTenants => "ask for a token with the claim `tenants: all`",
            Refused::Scope(_) => "ask for a token with that scope",
        };
        Problem::new(StatusCode::FORBIDDEN, format!("{refused}; {advice}"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let extra = self.extra;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match extra {
            Extra::None => {}
            Extra::RetryAfter(seconds) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Extra::Allow(methods) => {
                headers.insert(ALLOW, HeaderValue::from_static(methods));
            }
            Extra::Challenge(challenge) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        response
    }
}
