//! The page: files that the binary carries, and the token that a demo hands to it.
//!
//! # Guarantees
//! - A token is handed out only to a page of this server: the `Host` header must be a name of the
//!   loopback interface, so that no other name that points here gets one, and a browser that says
//!   that another site asks is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderValue, ORIGIN};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::VERSION;
use crate::app::App;
use crate::auth::MintRequest;
use crate::claims::{Scope, Tenants};
use crate::problem::Problem;
use crate::rest::ask::is_held;

include!(concat!(env!("OUT_DIR"), "/ui.rs"));

/// A file of the page.
#[derive(Debug)]
struct PageFile {
    bytes: &'static [u8],
    content_type: &'static str,
    tag: String,
}

static PAGE: LazyLock<BTreeMap<&'static str, PageFile>> = LazyLock::new(|| {
    let file = |&(path, bytes): &(&'static str, &'static [u8])| {
        let digest = Sha256::digest(bytes);
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        (path, PageFile { bytes, content_type: content_type(path), tag: format!("\"{hex}\"") })
    };
    FILES.iter().map(file).collect()
});

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn serve(path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some(file) = PAGE.get(path) else {
        return Err(Problem::not_found("the page has no such file"));
    };
    let mut response = if is_held(headers, &file.tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, file.content_type)], file.bytes).into_response()
    };
    let headers = response.headers_mut();
    // Names stay the same from version to version, so a copy is asked about before it is used.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&file.tag) {
        headers.insert(ETAG, tag);
    }
    Ok(response)
}

/// `GET /`.
pub(crate) async fn index(headers: HeaderMap) -> Result<Response, Problem> {
    serve("index.html", &headers)
}

/// `GET /ui/{path}`.
pub(crate) async fn file(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(path) = path.map_err(|_| Problem::not_found("the page has no such file"))?;
    serve(&path, &headers)
}

/// The answer of `/ui/session`.
#[derive(Debug, Serialize)]
struct Session {
    token: String,
    expires_in_s: u64,
    version: &'static str,
}

/// `GET /ui/session`: a token for the page, where that is enabled.
pub(crate) async fn session(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(page) = &app.page else {
        let detail = "this server hands out no tokens; ask the one who runs it for one";
        return Err(Problem::not_found(detail));
    };
    if !is_own_page(&headers, &page.origins) {
        let detail = "a token is handed only to the page of this server, opened as http://127.0.0.1, \
                      http://localhost or an origin that [api] public_url or allowed_origins names";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let request = MintRequest {
        subject: "page".to_owned(),
        tenants: Tenants::All,
        scopes: Scope::ALL.to_vec(),
        ttl: page.ttl,
    };
    let token = page.keys.mint(&request).map_err(|error| {
        tracing::error!(%error, "cannot make a token for the page");
        let detail = "a token cannot be made; the log of the server says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let session = Session { token, expires_in_s: page.ttl.as_secs(), version: VERSION };
    let mut response = axum::Json(session).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whether a request comes from a page that this server gave to a browser on this machine or under one of
/// `origins`, or from a program on this machine.
fn is_own_page(headers: &HeaderMap, origins: &[String]) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next().and_then(|host| host.to_str().ok()) else { return false };
    let is_same_site =
        text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let is_named = |origin: &str| origins.iter().any(|own| own.eq_ignore_ascii_case(origin));
    let is_same_origin = text(ORIGIN.as_str())
        .is_none_or(|origin| origin == format!("http://{host}") || is_named(origin));
    let is_own_host = is_loopback_name(host)
        || ["https", "http"].iter().any(|s| is_named(&format!("{s}://{host}")));
    hosts.next().is_none() && is_own_host && is_same_site && is_same_origin
}

fn is_loopback_name(host: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let known = ["localhost", "127.0.0.1", "[::1]"];
    known.iter().any(|name| match host.strip_prefix(name) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(is_port),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn only_the_own_page_on_the_loopback_interface_gets_a_token() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:65535", "[::1]"] {
            assert!(is_own_page(&headers(&[("host", host)]), &[]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "localhost:x",
            "evil.example:8080",
            "127.0.0.1:80:80",
            "",
            "localhost@evil",
            "10.0.0.1:8080",
        ] {
            assert!(!is_own_page(&headers(&[("host", host)]), &[]), "{host}");
        }
        assert!(!is_own_page(&headers(&[]), &[]));
        assert!(!is_own_page(&headers(&[("host", "localhost"), ("host", "localhost")]), &[]));
        let from = |site| headers(&[("host", "localhost:80"), ("sec-fetch-site", site)]);
        assert!(is_own_page(&from("same-origin"), &[]) && is_own_page(&from("none"), &[]));
        assert!(!is_own_page(&from("cross-site"), &[]) && !is_own_page(&from("same-site"), &[]));
        let origin = |origin| headers(&[("host", "localhost:80"), ("origin", origin)]);
        assert!(is_own_page(&origin("http://localhost:80"), &[]));
        assert!(
            !is_own_page(&origin("http://evil.example"), &[]) && !is_own_page(&origin("null"), &[])
        );
    }

    #[test]
    fn a_page_behind_a_proxy_gets_a_token_under_the_origins_that_are_named() {
        let own = ["https://weir.example:8443".to_owned()];
        let asked = |host, origin| {
            let pairs = [("host", host), ("origin", origin), ("sec-fetch-site", "same-origin")];
            is_own_page(&headers(&pairs), &own)
        };
        // The proxy passes the name on, or names the address that it asks.
        assert!(asked("weir.example:8443", "https://weir.example:8443"));
        assert!(asked("127.0.0.1:8080", "https://weir.example:8443"));
        assert!(!asked("weir.example", "https://weir.example:8443"), "another port");
        assert!(!asked("127.0.0.1:8080", "https://weir.example"));
        assert!(!asked("evil.example", "https://weir.example:8443"));
    }

    #[test]
    fn browsers_are_told_what_a_file_is() {
        assert_eq!(content_type("vendor/chart.min.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("style.css"), "text/css; charset=utf-8");
        assert_eq!(content_type("LICENSE"), "application/octet-stream");
    }
}
