//! The page in a real browser, against REST of the process that serves it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Demo, get};
use crate::support::browser::{Browser, Page};
use crate::support::http::request;

const SOON: Duration = Duration::from_secs(30);
const SIZE: (u32, u32) = (1_440, 900);

const CONNECTION: &str = "document.querySelector('[data-testid=connection]').textContent";

/// The value that a card shows, as the page has it, and the same from REST, once they agree.
#[track_caller]
fn agree(page: &mut Page, demo: &Demo, tenant: &str, grain: &str, kpi: &str) -> String {
    let shown =
        format!("document.querySelector('[data-kpi={kpi}] [data-role=value]')?.dataset.raw");
    let path = format!("/api/v1/kpis?tenant={tenant}&grain={grain}&kpi={kpi}");
    let begin = std::time::Instant::now();
    loop {
        let shown = page.text(&shown);
        let answer = get(demo.port, &path, &demo.token);
        let rows = answer["kpis"].as_array().unwrap();
        if rows.iter().any(|row| row["value"] == Value::String(shown.clone())) {
            return shown;
        }
        assert!(begin.elapsed() < SOON, "{tenant} {grain} {kpi}: page {shown:?}, REST {rows:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("page")
}

#[test]
fn the_page_shows_rests_numbers_and_lives_through_a_restart() {
    let mut demo = Demo::start();
    let browser = Browser::start();
    let mut page = browser.open(&demo.url(""), SIZE, "");
    page.wait_until("document.querySelector('[data-testid=connection]')", SOON);
    page.wait_until(&format!("/live/i.test({CONNECTION})"), SOON);
    page.eval("window.loadedOnce = true");
    let meta = get(demo.port, "/api/v1/meta", &demo.token);
    let tenants = meta["tenants"].as_array().unwrap().clone();
    assert!(tenants.len() >= 3, "{meta}");
    for (tenant, grain) in [(0, "day"), (1, "hour"), (2, "month"), (1, "day")] {
        let tenant = tenants[tenant].as_str().unwrap();
        page.eval(&format!(
            "(() => {{ const select = document.querySelector('#tenant'); select.value = '{tenant}'; \
             select.dispatchEvent(new Event('change', {{ bubbles: true }})); \
             document.querySelector('[data-grain={grain}]').click(); }})()"
        ));
        page.wait_until(&format!("location.href.includes('{tenant}')"), SOON);
        for kpi in ["orders", "revenue_booked", "total_cost"] {
            agree(&mut page, &demo, tenant, grain, kpi);
        }
    }
    page.screenshot(&pictures().join("live.png"));

    demo.run.take().unwrap().kill();
    page.wait_until(&format!("!/^live/i.test({CONNECTION})"), SOON);
    page.wait_until("document.querySelector('[data-testid=freshness]').textContent.match(/stale|disconnected|reconnecting/i)", SOON);
    page.screenshot(&pictures().join("stale.png"));
    demo.run();
    page.wait_until(&format!("/live/i.test({CONNECTION})"), SOON);
    assert_eq!(page.eval("window.loadedOnce"), Value::Bool(true), "it was not loaded again");
    let tenant = tenants[1].as_str().unwrap();
    agree(&mut page, &demo, tenant, "day", "orders");
    // What failed while the server was away, or had not recovered yet, the browser reports itself.
    let away = ["net::ERR", "WebSocket", "status of 503"];
    let own = |error: &&String| !away.iter().any(|expected| error.contains(expected));
    let errors: Vec<_> = page.errors.iter().filter(own).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn without_its_socket_the_page_does_not_claim_to_be_live() {
    let demo = Demo::start();
    let browser = Browser::start();
    let blocked = "window.WebSocket = class extends EventTarget { \
                   constructor() { super(); setTimeout(() => { \
                   this.onerror?.(new Event('error')); this.onclose?.({ code: 1006, reason: '' }); \
                   this.dispatchEvent(new CloseEvent('close', { code: 1006 })); }, 10); } \
                   send() {} close() {} };";
    let mut page = browser.open(&demo.url(""), SIZE, blocked);
    page.wait_until("document.querySelector('[data-testid=connection]')", SOON);
    std::thread::sleep(Duration::from_secs(3));
    let state = page.text(CONNECTION);
    assert!(!state.to_lowercase().starts_with("live"), "{state}");
}

#[test]
fn the_page_and_its_session_are_for_loopback_names_only() {
    let demo = Demo::start();
    let page = request("GET", demo.port, "/", None);
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'"), "{policy}");
    let session = request("GET", demo.port, "/ui/session", None);
    assert_eq!(session.status, 200, "{session:?}");
    let token = session.json()["token"].as_str().unwrap().to_owned();
    get(demo.port, "/api/v1/meta", &token);
    let rebound = crate::support::http::with_host(demo.port, "/ui/session", "evil.example");
    assert!(rebound.status >= 400, "{rebound:?}");
}
