//! The serving half from outside: REST, tokens, alerts and the page of a running process.

mod alert_panel;
mod alerts;
mod cards;
mod contract;
mod doubt;
mod halted;
mod memory;
mod page;
mod panel;
mod past;
mod proxy;
mod rest;
mod shop;
mod stream;
mod windows;
mod zones;

use std::time::Duration;

use serde_json::Value;

use crate::support::http::{Answer, request, try_request};
use crate::support::{Place, Weir, wait_until};

pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The port a run says that it listens on.
pub(crate) fn port(run: &mut Weir) -> u16 {
    const SAYS: &str = "listening on http://127.0.0.1:";
    run.wait_for(SAYS, SOON);
    let log = run.log();
    let rest = log.split(SAYS).nth(1).unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Waits until a run serves.
pub(crate) fn ready(port: u16) {
    wait_until("the process is ready", SOON, || {
        try_request("GET", port, "/readyz", None).is_ok_and(|answer| answer.status == 200)
    });
}

/// A development token from the command line.
pub(crate) fn mint(place: &Place, arguments: &[&str]) -> String {
    let arguments = [&["token", "mint"], arguments].concat();
    place.succeeds(&arguments).stdout.trim().to_owned()
}

/// A GET that must answer 200.
#[track_caller]
pub(crate) fn get(port: u16, path: &str, token: &str) -> Value {
    let answer: Answer = request("GET", port, path, Some(token));
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// Tenants of a demo.
const TENANTS: usize = 6;

/// A demo on a port that stays the same over restarts.
struct Demo {
    place: Place,
    port: u16,
    token: String,
    days: u32,
    run: Option<Weir>,
}

impl Demo {
    fn start() -> Demo {
        Demo::start_with(10)
    }

    /// A demo with so many days of history, and of what there is little of six times as many.
    fn start_with(days: u32) -> Demo {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let (place, token) = (Place::new(), String::new());
        let mut demo = Demo { place, port, token, days, run: None };
        demo.run();
        demo.token = std::fs::read_to_string(demo.place.path("token")).unwrap().trim().to_owned();
        // A page knows the tenants that there were when it was opened.
        wait_until("tenants are known", SOON, || {
            let meta = get(demo.port, "/api/v1/meta", &demo.token);
            meta["tenants"].as_array().is_some_and(|tenants| tenants.len() == TENANTS)
        });
        demo
    }

    fn run(&mut self) {
        let (lake, token) = (self.place.path("demo"), self.place.path("token"));
        let days = self.days.to_string();
        let listen = format!("127.0.0.1:{}", self.port);
        let run = self.place.start(&[
            "demo",
            "--listen",
            &listen,
            "--lake",
            &lake.display().to_string(),
            "--token-file",
            &token.display().to_string(),
            "--history-days",
            &days,
            "--seed",
            "7",
        ]);
        self.run = Some(run);
        ready(self.port);
    }

    fn url(&self, rest: &str) -> String {
        format!("http://127.0.0.1:{}/{rest}", self.port)
    }
}
