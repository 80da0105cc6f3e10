//! The page's panel of sources: what waits for somebody is said beside its title, and in words below it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::page::sign_in;
use super::{mint, port, ready};
use crate::sources::{append, one_went_back};
use crate::support::Place;
use crate::support::browser::Browser;

const SOON: Duration = Duration::from_secs(30);
const ROWS: &str = "[...document.querySelectorAll('#sources-body tr[data-origin]')]";

#[test]
fn the_panel_says_which_origins_wait_and_why() {
    let place = Place::new();
    place.configure_files("");
    append(&place, &one_went_back());
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    run.wait_for("is halted for us.d.public.orders", super::SOON);
    let token = mint(&place, &[]);
    let browser = Browser::start();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    for (width, height, theme) in [
        (1_440, 1_400, "light"),
        (1_440, 1_400, "dark"),
        (390, 2_400, "light"),
        (390, 2_400, "dark"),
    ] {
        let url = format!("http://127.0.0.1:{port}/?theme={theme}");
        let mut page = browser.open(&url, (width, height), "");
        sign_in(&mut page, &token);
        let words = "document.querySelector('#sources-words').textContent";
        page.wait_until(&format!("{words} === '1 waits for you'"), SOON);
        page.eval("document.querySelector('#sources').open = true");
        page.wait_until(&format!("{ROWS}.length === 2"), SOON);
        let shown = page.text("document.querySelector('#sources-body').textContent");
        for part in [
            "us.d.public.orders",
            "halted",
            "went back",
            "eu.d.public.orders",
            "did you mean `paid`?",
        ] {
            assert!(shown.contains(part), "`{part}` is not in {shown}");
        }
        // No title of a card is cut, and nothing makes the page wider than the window.
        let cut = "[...document.querySelectorAll('.card-head h3')].some(h => h.scrollWidth > h.clientWidth)";
        assert_eq!(page.eval(cut), Value::Bool(false), "{width}");
        let wide = "document.documentElement.scrollWidth > innerWidth";
        assert_eq!(page.eval(wide), Value::Bool(false), "{width}");
        page.screenshot(&folder.join(format!("sources-{width}-{theme}.png")));
    }
    // A token for one tenant sees no panel.
    let mut page = browser.open(&format!("http://127.0.0.1:{port}/"), (1_440, 900), "");
    sign_in(&mut page, &mint(&place, &["--tenant", "default"]));
    page.wait_until("document.querySelector('[data-kpi=orders]')", SOON);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(page.eval("document.querySelector('#sources').hidden"), Value::Bool(true));
}
