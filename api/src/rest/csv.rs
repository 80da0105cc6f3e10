//! Lists as CSV (RFC 4180): one header, one row a value. Pure.
//!
//! # Guarantees
//! - Numbers are the exact decimals of the JSON form. A field without a value is empty, and an empty text is quoted.
//! - A text that a spreadsheet would take for a formula begins with an apostrophe, as OWASP advises: what sources
//!   send is never computed.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemas::KpiInfo;

use crate::store::StreamPosition;

/// What spreadsheets take for the beginning of a formula, in both widths.
const FORMULAS: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// One field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    /// What a source or a definition may have written.
    Text(&'a str),
    /// A number, an instant or a word of ours.
    Plain(&'a str),
    /// Nothing.
    None,
}

impl<'a> Field<'a> {
    /// A number or an instant, if there is one.
    pub(super) fn plain(text: Option<&'a str>) -> Field<'a> {
        text.map_or(Field::None, Field::Plain)
    }
}

/// Rows as text.
#[derive(Debug, Default)]
pub(super) struct Csv {
    text: String,
}

impl Csv {
    /// Adds a row.
    pub(super) fn row<'a>(&mut self, fields: impl IntoIterator<Item = Field<'a>>) {
        for (at, field) in fields.into_iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            match field {
                Field::None => {}
                Field::Plain(text) => self.text.push_str(text),
                Field::Text(text) => self.push(text),
            }
        }
        self.text.push_str("\r\n");
    }

    fn push(&mut self, text: &str) {
        let is_formula = text.starts_with(FORMULAS);
        if !text.is_empty() && !is_formula && !text.contains(['"', ',', '\r', '\n']) {
            return self.text.push_str(text);
        }
        self.text.push('"');
        if is_formula {
            self.text.push('\'');
        }
        self.text.push_str(&text.replace('"', "\"\""));
        self.text.push('"');
    }

    /// The answer, as a file of this name.
    pub(super) fn answer(
        self,
        name: &str,
        position: &StreamPosition,
        next: Option<&str>,
    ) -> Response {
        let mut response = (StatusCode::OK, self.text).into_response();
        let headers = response.headers_mut();
        let kind = "text/csv; charset=utf-8; header=present";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let told = [
            (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
            (HeaderName::from_static("weir-epoch"), position.offset.to_string()),
            (HeaderName::from_static("weir-as-of"), position.as_of.to_string()),
            (HeaderName::from_static("weir-next"), next.unwrap_or_default().to_owned()),
        ];
        for (name, value) in told.into_iter().filter(|(_, value)| !value.is_empty()) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// The dimensions of some KPIs, which are columns.
pub(super) fn dims_of(kpis: &[KpiInfo], takes: impl Fn(&KpiInfo) -> bool) -> BTreeSet<&str> {
    kpis.iter().filter(|kpi| takes(kpi)).flat_map(|kpi| &kpi.dims).map(String::as_str).collect()
}

/// The names of columns: those of dimensions between others.
pub(super) fn header(before: &[&str], dims: &BTreeSet<&str>, after: &[&str]) -> Vec<String> {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let dims = dims.iter().map(|name| format!("dim.{name}"));
    own(before).into_iter().chain(dims).chain(own(after)).collect()
}

/// The values of a series' dimensions, by name.
pub(super) fn values_of(dims: &str) -> BTreeMap<String, Option<String>> {
    serde_json::from_str(dims).unwrap_or_default()
}

/// Those values as fields of the columns.
pub(super) fn fields_of<'a>(
    columns: &'a BTreeSet<&str>,
    values: &'a BTreeMap<String, Option<String>>,
) -> impl Iterator<Item = Field<'a>> {
    columns.iter().map(|name| match values.get(*name) {
        Some(Some(text)) => Field::Text(text),
        _ => Field::None,
    })
}
