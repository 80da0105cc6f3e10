//! What a client can read: the `Accept` header against the one form that answers have. Pure.
//!
//! # Guarantees
//! - A header that leaves JSON out is refused, never answered with JSON; no header means anything goes.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};

use crate::problem::Problem;
use crate::query::shown;

/// The media type of every answer, as type and subtype.
const ANSWER: (&str, &str) = ("application", "json");

/// Refuses a client that cannot read JSON.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let mut asked = String::new();
    for value in headers.get_all(ACCEPT) {
        // What is not text names nothing that could be given.
        let Ok(value) = value.to_str() else { continue };
        asked.push_str(if asked.is_empty() { "" } else { "," });
        asked.push_str(value);
    }
    if asked.trim().is_empty() || takes_json(&asked) {
        return Ok(());
    }
    let detail = format!(
        "`Accept: {}` leaves out application/json, which is what this route answers; accept that, \
         or send no `Accept`",
        shown(&asked)
    );
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail))
}

/// Whether the most specific range that fits JSON wants it (RFC 9110, 12.5.1).
fn takes_json(ranges: &str) -> bool {
    let fitting = ranges.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let is = |own: &str, wanted: &str| own.eq_ignore_ascii_case(wanted);
        let specificity = match (kind, subtype) {
            ("*", "*") => 0,
            (kind, "*") if is(kind, ANSWER.0) => 1,
            (kind, subtype) if is(kind, ANSWER.0) && is(subtype, ANSWER.1) => 2,
            _ => return None,
        };
        let mut weights = parts.filter_map(|part| part.split_once('='));
        let weight =
            weights.find(|(name, _)| is(name.trim(), "q")).map(|(_, weight)| weight.trim());
        let is_wanted = weight.is_none_or(|weight| weight.parse::<f32>() != Ok(0.0));
        Some((specificity, is_wanted))
    });
    fitting.max().is_some_and(|(_, is_wanted)| is_wanted)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_client_that_cannot_read_json_is_told() {
        for (accepts, is_answered) in [
            (&[][..], true),
            (&[""], true),
            (&["*/*"], true),
            (&["application/json"], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&["application/*;q=0.1"], true),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], true),
            (&["text/csv", "application/json;q=0.5"], true),
            (&["text/csv, */*;q=0.001"], true),
            (&["text/csv"], false),
            (&["text/*"], false),
            (&["json"], false),
            (&["application/problem+json"], false),
            (&["application/json;q=0"], false),
            (&["*/*, application/json;q=0.0"], false),
            (&["application/json, application/*;q=0"], true),
        ] {
            let value = |text: &&str| (ACCEPT, HeaderValue::from_str(text).unwrap());
            let headers: HeaderMap = accepts.iter().map(value).collect();
            assert_eq!(check(&headers).is_ok(), is_answered, "{accepts:?}");
        }
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/csv"))]);
        let problem = check(&headers).unwrap_err();
        assert_eq!(problem.status, 406);
        assert!(problem.detail.contains("`Accept: text/csv`"), "{}", problem.detail);
    }
}
