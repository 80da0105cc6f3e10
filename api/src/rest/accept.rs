//! What a client can read: the `Accept` header against the forms that answers have. Pure.
//!
//! # Guarantees
//! - A header that leaves all forms of a route out is refused, never answered with one of them; no header means
//!   anything goes, and JSON is given unless CSV is wanted more.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};

use crate::problem::Problem;
use crate::query::shown;

/// A media type as type and subtype.
type Media = (&'static str, &'static str);

/// The media type of every answer.
const JSON: Media = ("application", "json");
/// That of lists, too.
const CSV: Media = ("text", "csv");

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv,
}

/// Refuses a client that cannot read JSON.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let asked = asked(headers);
    if asked.trim().is_empty() || weight(&asked, JSON) > 0.0 {
        return Ok(());
    }
    Err(refused(&asked, "application/json, which is what this route answers"))
}

/// The form of a list that a client wants most.
pub(crate) fn form_of_list(headers: &HeaderMap) -> Result<Form, Problem> {
    let asked = asked(headers);
    let (json, csv) = (weight(&asked, JSON), weight(&asked, CSV));
    match () {
        () if asked.trim().is_empty() => Ok(Form::Json),
        () if csv > json => Ok(Form::Csv),
        () if json > 0.0 => Ok(Form::Json),
        () => {
            Err(refused(&asked, "application/json and text/csv, which are what this route answers"))
        }
    }
}

fn asked(headers: &HeaderMap) -> String {
    // What is not text names nothing that could be given.
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn refused(asked: &str, what: &str) -> Problem {
    let detail =
        format!("`Accept: {}` leaves out {what}; accept that, or send no `Accept`", shown(asked));
    Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
}

/// The weight that the most specific range gives a media type (RFC 9110, 12.5.1); 0 when none fits.
fn weight(ranges: &str, media: Media) -> f32 {
    let fitting = ranges.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let is = |own: &str, wanted: &str| own.eq_ignore_ascii_case(wanted);
        let specificity = match (kind, subtype) {
            ("*", "*") => 0,
            (kind, "*") if is(kind, media.0) => 1,
            (kind, subtype) if is(kind, media.0) && is(subtype, media.1) => 2,
            _ => return None,
        };
        let mut weights = parts.filter_map(|part| part.split_once('='));
        let weight =
            weights.find(|(name, _)| is(name.trim(), "q")).map(|(_, weight)| weight.trim());
        // One that is no number is none.
        let weight = weight.and_then(|weight| weight.parse::<f32>().ok()).unwrap_or(1.0);
        Some((specificity, weight))
    });
    let better =
        |a: (u8, f32), b: (u8, f32)| if a.0 > b.0 || (a.0 == b.0 && a.1 >= b.1) { a } else { b };
    fitting.reduce(better).map_or(0.0, |(_, weight)| weight)
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
    #[test]
    fn a_list_has_the_form_that_is_wanted_most() {
        for (accept, form) in [
            ("*/*", Some(Form::Json)),
            ("text/csv", Some(Form::Csv)),
            ("text/*", Some(Form::Csv)),
            ("Text/CSV; header=present", Some(Form::Csv)),
            ("text/csv, application/json", Some(Form::Json)),
            ("text/csv, */*;q=0.1", Some(Form::Csv)),
            ("text/csv;q=0.2, application/json;q=0.1", Some(Form::Csv)),
            ("text/csv;q=0.2, application/json", Some(Form::Json)),
            ("text/csv;q=0, */*", Some(Form::Json)),
            ("text/html,*/*;q=0.8", Some(Form::Json)),
            ("text/html", None),
            ("text/csv;q=0", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(form_of_list(&headers).ok(), form, "{accept}");
        }
        assert_eq!(form_of_list(&HeaderMap::new()).ok(), Some(Form::Json));
    }
}
