//! The page and the stream behind a real nginx, which names the address that it asks as `Host`.

use std::net::TcpListener;

use super::{get, mint, port, ready};
use crate::support::Place;
use crate::support::browser::Browser;
use crate::support::http::upgrade;
use crate::support::services::script;

/// The server that is stopped when the test ends.
struct Proxy {
    name: String,
    port: u16,
}

impl Proxy {
    /// A port that is free.
    fn new() -> Proxy {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Proxy { name: format!("it-{port}"), port }
    }

    fn start(&self, upstream: u16) {
        let (own, upstream) = (self.port.to_string(), upstream.to_string());
        script("nginx.sh", &["start", &self.name, &own, &upstream]);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        script("nginx.sh", &["stop", &self.name]);
    }
}

#[test]
fn behind_nginx_the_page_is_live_and_pages_of_others_may_not_connect() {
    let proxy = Proxy::new();
    let place = Place::new();
    let own = format!("http://127.0.0.1:{}", proxy.port);
    place.configure_files(&format!(
        "api.public_url = \"{own}/\"\napi.allowed_origins = [\"https://portal.example\"]\n"
    ));
    let mut run = place.start(&["run"]);
    let upstream = port(&mut run);
    ready(upstream);
    proxy.start(upstream);
    let token = mint(&place, &[]);
    get(proxy.port, "/api/v1/meta", &token);

    for (origin, expected) in [
        (Some(own.as_str()), 101),
        (Some("https://portal.example"), 101),
        (None, 101),
        (Some("https://evil.example"), 403),
        (Some("http://127.0.0.1:1"), 403),
    ] {
        let answer = upgrade(proxy.port, "/api/v1/stream", origin);
        assert_eq!(answer.status, expected, "{origin:?}: {answer:?}");
    }

    let browser = Browser::start();
    let mut page = browser.open(&format!("{own}/"), (1_440, 900), "");
    super::page::sign_in(&mut page, &token);
    super::page::stays_live(&mut page);
    assert!(page.errors.iter().all(|error| error.contains("status of 404")), "{:?}", page.errors);
}
