//! The page in a real browser, against REST of the process that serves it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Demo, get, mint, port, ready};
use crate::support::Place;
use crate::support::browser::{Browser, Page};
use crate::support::http::request;
use crate::support::stream::options;

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

pub(super) fn pictures() -> PathBuf {
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
    for (tenant, grain) in [
        (0, "day"),
        (1, "hour"),
        (2, "month"),
        (1, "week"),
        (0, "quarter"),
        (2, "year"),
        (1, "day"),
    ] {
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

/// Signs in with a token.
pub(super) fn sign_in(page: &mut Page, token: &str) {
    page.wait_until("document.querySelector('#sign-in')?.hidden === false", SOON);
    page.eval(&format!(
        "document.querySelector('#sign-in-token').value = '{token}'; \
         document.querySelector('#sign-in-form').requestSubmit()"
    ));
}

/// For longer than the page waits before it calls numbers old, it calls them live.
#[track_caller]
pub(super) fn stays_live(page: &mut Page) {
    page.wait_until(&format!("/^live/i.test({CONNECTION})"), SOON);
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(14) {
        let state = page.text("document.querySelector('[data-testid=freshness]').textContent");
        assert!(state.starts_with("live"), "{state} after {:?}", begin.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
}

const CHANGES: &str =
    "[...document.querySelectorAll('[data-role=change]')].map(c => c.textContent)";

#[test]
fn a_lake_that_is_empty_or_quiet_is_live_and_has_all_its_words() {
    let place = Place::new();
    place.configure_files("lake.flush_interval = \"100ms\"\n");
    std::fs::create_dir_all(place.path("input")).unwrap();
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let browser = Browser::start();
    let url = format!("http://127.0.0.1:{port}/");
    let mut page = browser.open(&url, SIZE, "");
    sign_in(&mut page, "a.forged.token");
    page.wait_until(
        "/not accepted/.test(document.querySelector('#sign-in-why').textContent)",
        SOON,
    );
    sign_in(&mut page, &token);
    stays_live(&mut page);
    let alerts = page.text("document.querySelector('#alerts').textContent");
    assert!(alerts.contains("Nothing is watched yet"), "{alerts}");
    page.screenshot(&pictures().join("empty.png"));

    let hour = options(1, 1).now.to_string();
    let lines: String = (0..100).map(|number| order(number, "1.00", &hour)).collect();
    std::fs::write(place.path("input/a.ndjson"), lines).unwrap();
    page.wait_until("!/no tenant/.test(document.querySelector('#tenant').value)", SOON);
    stays_live(&mut page);
    // Opened when nothing changes any more, every card still says how it compares.
    let asked = "?tenant=nobody&grain=decade&kpi=joy";
    let mut page = browser.open(&format!("{url}{asked}"), SIZE, "");
    sign_in(&mut page, &token);
    page.wait_until(
        &format!("{CHANGES}.length === 6 && {CHANGES}.every(text => text !== '')"),
        SOON,
    );
    let notice = page.text("document.querySelector('[data-testid=notice]').innerText");
    for word in ["nobody", "decade", "joy"] {
        assert!(notice.contains(word), "{notice}");
    }
    page.screenshot(&pictures().join("quiet.png"));
    numbers_and_windows_are_as_written(&mut page);
}

/// The page's own modules, in a browser.
fn numbers_and_windows_are_as_written(page: &mut Page) {
    let range = |grain: &str, window: &str| {
        let iso = "(at => at === null ? null : new Date(at).toISOString().slice(0, 13))";
        format!(
            "import('/ui/view.js').then(({{ rangeOf }}) => {{ const r = rangeOf({{ grain: '{grain}', \
             window: '{window}' }}, Date.UTC(2026, 10, 21, 15, 30), null); \
             return [r.before, r.start, r.running].map({iso}).join(' '); }})"
        )
    };
    for (grain, window, expected) in [
        ("day", "7d", "2026-11-08T00 2026-11-15T00 2026-11-21T00"),
        ("hour", "24h", "2026-11-19T16 2026-11-20T16 2026-11-21T15"),
        ("hour", "7d", "2026-11-07T16 2026-11-14T16 2026-11-21T15"),
        ("week", "30d", "2026-09-28T00 2026-10-26T00 2026-11-16T00"),
        ("month", "90d", "2026-06-01T00 2026-09-01T00 2026-11-01T00"),
    ] {
        assert_eq!(page.text(&range(grain, window)), expected, "{grain} {window}");
    }
    for (call, expected) in [
        ("short('0.41', 'ratio', null)", "41.0\u{a0}%"),
        ("unbroken('a is 39 % above')", "a is 39\u{a0}% above"),
        ("short('82751.7', 'currency', 'USD', true)", "$82.8K"),
    ] {
        let code = format!("import('/ui/format.js').then((f) => f.{call})");
        assert_eq!(page.text(&code), expected, "{call}");
    }
    for (change, share, before, unit, expected) in [
        ("58", "'0.058'", "1000", "count", "+5.8\u{a0}% good"),
        ("-58", "'-0.058'", "1000", "count", "\u{2212}5.8\u{a0}% bad"),
        ("0", "'0'", "10", "count", "0.0\u{a0}% flat"),
        ("3", "null", "0", "count", "new good"),
        ("12.5", "null", "-4", "count", "+12.5 good"),
        ("0.031", "'0.5'", "0.062", "ratio", "+3.1\u{a0}pp good"),
    ] {
        let told =
            format!("change: '{change}', change_ratio: {share}, previous: {{ value: '{before}' }}");
        let code = format!(
            "import('/ui/format.js').then(({{ changeOf }}) => {{ const own = changeOf({{ {told} }}, '{unit}', \
             'up'); return own.words + ' ' + own.tone; }})"
        );
        assert_eq!(page.text(&code), expected, "{told}");
    }
}

/// One line of the file source: an order of the tenant `tomorrow`.
fn order(number: u32, amount: &str, placed_at: &str) -> String {
    let row = serde_json::json!({
        "order_id": format!("o{number}"), "tenant_id": "tomorrow", "customer_id": "c1", "status": "paid",
        "amount": amount, "currency": "USD", "channel": "web", "placed_at": placed_at,
        "updated_at": "2026-01-05T10:00:00Z",
    });
    let source = serde_json::json!({"lsn": 100 + number, "ts_ms": 1_000});
    let value = serde_json::json!({"op": "c", "before": null, "after": row, "source": source});
    let key = format!("{{\"order_id\":\"o{number}\"}}");
    let line = serde_json::json!({
        "topic": "shop.public.orders", "partition": 0, "offset": number, "key": key,
        "value": value.to_string(),
    });
    format!("{line}\n")
}

#[test]
fn a_row_of_the_future_is_no_headline() {
    let place = Place::new();
    place.configure_files("lake.flush_interval = \"100ms\"\n");
    let hour = options(1, 1).now.to_string();
    let mut lines: String = (0..100).map(|number| order(number, "1.00", &hour)).collect();
    lines.push_str(&order(100, "3.00", "2099-01-01T00:00:00Z"));
    std::fs::write(place.path("input/a.ndjson"), lines).unwrap();
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let path = "/api/v1/kpis?tenant=tomorrow&grain=hour&kpi=orders";
    let served = |path: &str| get(port, path, &token)["kpis"].as_array().unwrap().len();
    crate::support::wait_until("both periods are served", SOON, || {
        served(&format!("{path}&from=2000-01-01&to=2100-01-01")) == 2
    });
    let newest = get(port, path, &token);
    let newest_one = &newest["kpis"][0];
    assert_eq!((&newest_one["value"], &newest_one["future"]), (&"100".into(), &false.into()));
    let later = get(port, &format!("{path}&from=2098-01-01"), &token);
    let later = &later["kpis"][0];
    assert_eq!((&later["value"], &later["future"]), (&"1".into(), &true.into()));
    let browser = Browser::start();
    let url = format!(
        "http://127.0.0.1:{port}/?tenant=tomorrow&grain=hour&window=24h&show=grain&kpi=orders"
    );
    let mut page = browser.open(&url, SIZE, "");
    sign_in(&mut page, &token);
    page.wait_until(&format!("/^live/i.test({CONNECTION})"), SOON);
    let card = "document.querySelector('[data-kpi=orders] [data-role=value]').dataset";
    page.wait_until(&format!("{card}.raw === '100'"), SOON);
    let period = page.text(&format!("{card}.period"));
    assert_eq!(period, newest["kpis"][0]["period_start"].as_str().unwrap().replace('Z', ".000Z"));
    // The table beside the chart has what the chart's axis has.
    page.eval("document.querySelector('#table-toggle').click()");
    let rows =
        "[...document.querySelectorAll('#chart-rows tr')].map(row => row.innerText).join(';')";
    let rows = page.text(rows);
    assert!(rows.contains("100") && !rows.contains("2099"), "{rows}");
    page.screenshot(&pictures().join("future.png"));
    run.stops();
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

#[test]
fn a_topic_that_stays_late_is_named_until_it_stops() {
    let place = Place::new();
    place.configure_files("");
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let held = || {
        let status = get(port, "/api/v1/status", &token);
        let reasons = status["reasons"].to_string();
        let is_held = reasons.contains("alerts are held back: topic `shop.public.orders`");
        assert_eq!(status["degraded"], is_held, "{status}");
        is_held
    };
    let begin = std::time::Instant::now();
    let mut number = 0;
    // Orders without a time, several a second: nothing of them is news.
    while !held() {
        assert!(begin.elapsed() < Duration::from_secs(90), "it was not said");
        let line = order(number, "1.00", "2026-01-05T10:00:00Z");
        std::fs::write(place.path(&format!("input/{number:04}.ndjson")), line).unwrap();
        number += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(begin.elapsed() > Duration::from_secs(55), "a short backlog is nothing to speak of");
    crate::support::wait_until("it is over", SOON, || !held());
    run.stops();
    place.succeeds(&["verify"]);
}
