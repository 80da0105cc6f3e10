//! The page's list of alerts: who looks after one, until when it is muted, who was told, and saying so.

use std::time::Duration;

use serde_json::{Value, json};

use super::page::{pictures, sign_in};
use super::{get, mint};
use crate::on_call::{Shop, alerts, is_watched};
use crate::support::browser::{Browser, Page};
use crate::support::receivers::Webhook;
use crate::support::wait_until;

const SOON: Duration = Duration::from_secs(30);
const ITEM: &str = "document.querySelector('.alert.is-open')";

fn click(page: &mut Page, act: &str) {
    page.wait_until(&format!("{ITEM}?.querySelector('[data-act={act}]')"), SOON);
    page.eval(&format!("{ITEM}.querySelector('[data-act={act}]').click()"));
}

fn says(page: &mut Page, part: &str) {
    page.wait_until(&format!("{ITEM}?.textContent.includes({})", json!(part)), SOON);
}

#[test]
fn an_alert_is_acknowledged_and_muted_on_the_page_and_says_who_was_told() {
    let webhook = Webhook::start();
    let url = webhook.url();
    let mut shop = Shop::new(
        &["acme"],
        &format!("[[alerts.routes]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{url}\"\n"),
    );
    let (run, port) = shop.run();
    let token = mint(&shop.place, &["--sub", "kim"]);
    is_watched(port, &token, "acme");
    shop.spike("acme", "40", 10);
    wait_until("an alert is open", SOON, || !alerts(port, &token, "firing").is_empty());
    let browser = Browser::start();
    let mut page = browser.open(&format!("http://127.0.0.1:{port}/"), (1_440, 1_100), "");
    sign_in(&mut page, &token);
    click(&mut page, "acknowledge");
    page.wait_until(&format!("{ITEM}?.querySelector('[data-act=comment]')"), SOON);
    // What is typed outlives a list that is drawn anew.
    page.eval(&format!(
        "(() => {{ const input = {ITEM}.querySelector('[data-act=comment]'); input.focus(); \
         input.value = 'on it'; input.dispatchEvent(new Event('input', {{ bubbles: true }})); \
         document.querySelector('#alerts-scope').click(); }})()"
    ));
    page.wait_until(
        &format!("{ITEM}.querySelector('[data-act=comment]')?.value === 'on it'"),
        SOON,
    );
    page.screenshot(&pictures().join("alert-acknowledging.png"));
    click(&mut page, "submit");
    says(&mut page, "kim looks after it");
    says(&mut page, ": on it");
    says(&mut page, "open, acknowledged");
    let all = get(port, "/api/v1/alerts", &token);
    let by_kim = |alert: &&Value| alert["acknowledged_by"] == "kim";
    assert_eq!(all["alerts"].as_array().unwrap().iter().filter(by_kim).count(), 1, "{all}");
    click(&mut page, "told");
    says(&mut page, "hook: opened, delivered");
    page.screenshot(&pictures().join("alert-told.png"));
    click(&mut page, "mute");
    says(&mut page, "Nobody is told of");
    click(&mut page, "submit");
    says(&mut page, "muted until");
    page.screenshot(&pictures().join("alert-answered.png"));
    // Only a demo hands out tokens: asking for one is a 404 that the browser reports itself.
    let own: Vec<_> = page.errors.iter().filter(|error| !error.contains("status of 404")).collect();
    assert!(own.is_empty(), "{own:?}");

    // A token that may only read sees all of it, and no buttons.
    let mut page = browser.open(&format!("http://127.0.0.1:{port}/?theme=dark"), (390, 1_400), "");
    let reader = mint(&shop.place, &["--scope", "kpi:read", "--scope", "alerts:read"]);
    sign_in(&mut page, &reader);
    says(&mut page, "kim looks after it");
    let buttons =
        format!("{ITEM}.querySelectorAll('[data-act=acknowledge], [data-act=mute]').length");
    assert_eq!(page.eval(&buttons), json!(0));
    let wide = "document.documentElement.scrollWidth > innerWidth";
    assert_eq!(page.eval(wide), Value::Bool(false));
    page.eval("document.querySelector('.alerts-panel').scrollIntoView()");
    page.screenshot(&pictures().join("alert-read.png"));
    run.stops();
}
