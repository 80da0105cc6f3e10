//! The page's cards: value and change are those of REST, of one window or one bucket, and no label is cut.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::page::pictures;
use super::{Demo, get};
use crate::support::browser::{Browser, Page};

const SOON: Duration = Duration::from_secs(30);
const WINDOWS: [(&str, &str); 5] = [
    ("24h", "last_24h"),
    ("7d", "last_7d"),
    ("30d", "last_30d"),
    ("90d", "last_90d"),
    ("all", "all"),
];

fn card(kpi: &str) -> String {
    format!("document.querySelector('[data-kpi={kpi}]')")
}

/// What a card says: of which window or grain, from when, the value, the value before and the change.
fn shown(page: &mut Page, kpi: &str) -> String {
    let card = card(kpi);
    page.text(&format!(
        "(() => {{ const value = {card}?.querySelector('[data-role=value]')?.dataset ?? {{}}; \
         const change = {card}?.querySelector('[data-role=change]')?.dataset ?? {{}}; \
         return [value.grain, value.period, value.raw, change.previous, change.raw].join(' '); }})()"
    ))
}

/// The same by REST.
fn told(demo: &Demo, query: &str, currency: &str) -> String {
    let answer = get(demo.port, &format!("/api/v1/kpis?{query}&compare=previous"), &demo.token);
    let rows = answer["kpis"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some(row) = rows.iter().find(|row| row["dims"]["currency"] == currency) else {
        return String::new();
    };
    let start = text(&row["period_start"]).replace('Z', ".000Z");
    let own = [&row["value"], &row["previous"]["value"], &row["change"]].map(text);
    format!("{} {start} {}", text(&row["grain"]), own.join(" "))
}

/// A card says what REST says, once both are of one epoch.
#[track_caller]
fn agree(page: &mut Page, demo: &Demo, query: &str, kpi: &str) -> String {
    let begin = Instant::now();
    loop {
        // Another tenant's currency is known when its series are.
        let currency = page.text("new URLSearchParams(location.search).get('currency')");
        let before = told(demo, query, &currency);
        let shown = shown(page, kpi);
        if shown == before || shown == told(demo, query, &currency) {
            return shown;
        }
        assert!(begin.elapsed() < SOON, "{query}: the card says {shown:?}, REST {before:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn click(page: &mut Page, selector: &str) {
    page.wait_until(&format!("document.querySelector('{selector}')"), SOON);
    page.eval(&format!("document.querySelector('{selector}').click()"));
}

/// What is wider than its box, of cards that have their numbers.
const CUT: &str = "[...document.querySelectorAll('.kpi :is(h3, p, .card-pick, .card-value, .card-unit, .card-bucket)')]\
                   .filter(own => own.scrollWidth > own.clientWidth + 1 && getComputedStyle(own).display !== 'inline')\
                   .map(own => own.textContent).join('; ')";

#[test]
fn a_card_is_what_rest_says_of_its_window_and_no_label_is_cut() {
    let demo = Demo::start();
    let browser = Browser::start();
    let mut page = browser.open(&demo.url("?grain=hour&window=7d"), (1_440, 900), "");
    page.wait_until("document.querySelector('.kpi:not(.is-loading)')", SOON);
    let meta = get(demo.port, "/api/v1/meta", &demo.token);
    let tenant = meta["tenants"][1].as_str().unwrap().to_owned();
    page.eval(&format!(
        "(() => {{ const select = document.querySelector('#tenant'); select.value = '{tenant}'; \
         select.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    ));
    page.wait_until(&format!("location.href.includes('{tenant}')"), SOON);
    for (window, name) in WINDOWS {
        click(&mut page, &format!("[data-window=\"{window}\"]"));
        for kpi in ["revenue_booked", "orders", "gross_margin"] {
            let query = format!("tenant={tenant}&grain={name}&kpi={kpi}");
            let said = agree(&mut page, &demo, &query, kpi);
            assert!(said.starts_with(name), "{said}");
        }
        // Ten days of history are enough to compare a day, and not for two weeks.
        let words = format!("{}.querySelector('[data-role=change]')", card("orders"));
        let (expected, tip) = match window {
            "24h" => ("%", "against"),
            "all" => ("all time", "nothing before all time"),
            _ => ("no comparison yet", "does not reach back"),
        };
        page.wait_until(&format!("{words}.textContent.includes('{expected}')"), SOON);
        let title = page.text(&format!("{words}.parentElement.title"));
        assert!(title.contains(tip) || window == "90d" || window == "30d", "{window}: {title}");
    }
    for grain in ["day", "month"] {
        click(&mut page, &format!("[data-grain={grain}]"));
        for kpi in ["revenue_booked", "roi"] {
            let query = format!("tenant={tenant}&grain={grain}&kpi={kpi}");
            agree(&mut page, &demo, &query, kpi);
        }
    }
    // A part of an hour is not held against a whole one.
    click(&mut page, "[data-grain=hour]");
    page.wait_until(
        &format!(
            "/^hour /.test({}.querySelector('[data-role=change]').textContent)",
            card("orders")
        ),
        SOON,
    );
    assert_eq!(page.text(&format!("{}.querySelector('.arrow').textContent", card("orders"))), "");
    a_kpi_without_windows_is_shown_by_its_grain(&mut page, &demo, &meta, &tenant);
    groups_and_choice(&mut page, &meta);
    files_are_those_of_rest(&mut page, &tenant);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    for (size, name) in [((1_440, 1_400), "wide"), ((390, 2_400), "narrow")] {
        for group in [""].into_iter().chain(groups_of(&meta)) {
            let url = demo.url(&format!("?grain=day&window=30d&group={group}"));
            let mut page = browser.open(&url, size, "");
            page.wait_until("document.querySelectorAll('.kpi').length > 0", SOON);
            page.wait_until("document.querySelectorAll('.kpi.is-loading').length === 0", SOON);
            assert_eq!(page.text(CUT), "", "{group} at {size:?}");
            let is_wide = page.eval("document.documentElement.scrollWidth > innerWidth");
            assert_eq!(is_wide, Value::Bool(false), "{group} at {size:?}");
            page.screenshot(&pictures().join(format!("cards-{name}-{group}.png")));
        }
    }
}

fn a_kpi_without_windows_is_shown_by_its_grain(
    page: &mut Page,
    demo: &Demo,
    meta: &Value,
    tenant: &str,
) {
    let has_none = |kpi: &&Value| {
        kpi["windows"].as_array().unwrap().is_empty()
            && kpi["dims"] == serde_json::json!(["currency"])
            && kpi["grains"].as_array().is_none_or(|grains| grains.contains(&"day".into()))
    };
    let Some(kpi) = meta["kpis"].as_array().unwrap().iter().find(has_none) else { return };
    let (key, group) = (kpi["key"].as_str().unwrap(), kpi["group"].as_str().unwrap());
    click(page, &format!("[data-group={group}]"));
    click(page, "[data-show=window]");
    click(page, "[data-window=\"7d\"]");
    let shown = format!("{}.querySelector('[data-role=value]')?.dataset.grain", card(key));
    page.wait_until(
        &format!("{}?.matches(':not(.is-loading)') && {shown} === 'day'", card(key)),
        SOON,
    );
    let title = page.text(&format!("{}.querySelector('.card-bucket').title", card(key)));
    assert!(title.contains("has no window of 7 d, so it is shown by day"), "{title}");
    agree(page, demo, &format!("tenant={tenant}&grain=day&kpi={key}"), key);
}

/// The groups of what is served, in no order.
fn groups_of(meta: &Value) -> impl Iterator<Item = &str> {
    let groups = meta["kpis"].as_array().unwrap().iter().filter_map(|kpi| kpi["group"].as_str());
    groups.collect::<std::collections::BTreeSet<_>>().into_iter()
}

fn groups_and_choice(page: &mut Page, meta: &Value) {
    let cards = "[...document.querySelectorAll('.kpi')].map(own => own.dataset.kpi).join()";
    for group in groups_of(meta) {
        click(page, &format!("[data-group={group}]"));
        let own = meta["kpis"].as_array().unwrap().iter().filter(|kpi| kpi["group"] == group);
        let keys: Vec<&str> = own.map(|kpi| kpi["key"].as_str().unwrap()).collect();
        assert_eq!(page.text(cards), keys.join(","), "{group}");
    }
    click(page, "#groups button");
    let before = page.text(cards);
    assert_eq!(before.split(',').count(), 6, "{before}");
    for kpi in ["average_order_value", "revenue_by_channel"] {
        page.eval(&format!("document.querySelector('#chooser input[value={kpi}]').click()"));
    }
    page.eval("document.querySelector('#chooser input[value=roi]').click()");
    let chosen = format!("{},average_order_value,revenue_by_channel", before.replace(",roi", ""));
    assert_eq!(page.text(cards), chosen);
    assert_eq!(page.text("new URLSearchParams(location.search).get('cards')"), chosen);
    let part = format!("{}.querySelector('.card-bucket').textContent", card("revenue_by_channel"));
    page.wait_until(&format!("{part}.includes(' \u{b7} ')"), SOON);
    page.eval("document.querySelector('#chooser-reset').click()");
    assert_eq!(page.text(cards), before);
}

fn files_are_those_of_rest(page: &mut Page, tenant: &str) {
    page.eval(
        "window.saved = []; URL.createObjectURL = (blob) => { blob.text().then(text => saved.push(text)); return 'blob:x'; }; \
         HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; }",
    );
    click(page, "[data-window=\"7d\"]");
    for (button, name, header) in [
        ("#cards-csv", format!("{tenant}-overview-last_7d.csv"), "tenant,kpi,grain,period_start"),
        ("#chart-csv", format!("{tenant}-"), "tenant,kpi,grain,period_start"),
    ] {
        page.eval("saved.length = 0");
        click(page, button);
        page.wait_until("saved.length === 1", SOON);
        let own = page.text("savedAs");
        assert!(own.starts_with(&name), "{own}");
        let text = page.text("saved[0]");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with(header) && lines[0].contains("previous_value"),
            "{}",
            lines[0]
        );
        assert!(
            lines.len() > 3 && lines[1..].iter().all(|line| line.starts_with(tenant)),
            "{text}"
        );
    }
}
