//! Tenants in zones: over the long day of Berlin, with weeks from Sunday and years from April.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use harness::stream::{Options, follow};
use serde_json::{Value, json};

use super::page::{pictures, sign_in};
use super::{SOON, get, mint, port, ready};
use crate::support::browser::{Browser, Page};
use crate::support::{Place, wait_until};

const SETTINGS: &str = "[time]\nweek_start = \"sunday\"\nfiscal_year_start = 4\n[time.zones]\n\
                        berlin = \"Europe/Berlin\"\nkolkata = \"Asia/Kolkata\"\n";

/// Tenant, amount and instant of orders around the end of 2026-10-25 in both zones, at 1 each, then 10, and so on.
const ORDERS: [(&str, i64, &str); 8] = [
    // The day of Berlin from 22:00Z to 23:00Z, 25 hours.
    ("berlin", 1, "2026-10-24T21:59:59Z"),
    ("berlin", 10, "2026-10-24T22:00:00Z"),
    ("berlin", 100, "2026-10-25T22:59:59Z"),
    ("berlin", 1_000, "2026-10-25T23:00:00Z"),
    // That of Kolkata from 18:30Z to 18:30Z, within one hour of UTC.
    ("kolkata", 1, "2026-10-24T18:29:59Z"),
    ("kolkata", 10, "2026-10-24T18:30:00Z"),
    ("kolkata", 100, "2026-10-25T18:29:59Z"),
    ("utc", 1, "2026-10-25T23:59:59Z"),
];

/// Tenant, grain, start and end of the period, and what the orders in it amount to: all that there is of these grains.
const BY_HAND: [(&str, &str, &str, &str, i64); 21] = [
    ("berlin", "day", "2026-10-23T22:00:00Z", "2026-10-24T22:00:00Z", 1),
    ("berlin", "day", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 110),
    ("berlin", "day", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z", 1_000),
    // Sunday the 25th is the first day of a week.
    ("berlin", "week", "2026-10-17T22:00:00Z", "2026-10-24T22:00:00Z", 1),
    ("berlin", "week", "2026-10-24T22:00:00Z", "2026-10-31T23:00:00Z", 1_110),
    ("berlin", "month", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", 1_111),
    ("berlin", "quarter", "2026-09-30T22:00:00Z", "2026-12-31T23:00:00Z", 1_111),
    ("berlin", "year", "2026-03-31T22:00:00Z", "2027-03-31T22:00:00Z", 1_111),
    ("kolkata", "day", "2026-10-23T18:30:00Z", "2026-10-24T18:30:00Z", 1),
    ("kolkata", "day", "2026-10-24T18:30:00Z", "2026-10-25T18:30:00Z", 110),
    ("kolkata", "week", "2026-10-17T18:30:00Z", "2026-10-24T18:30:00Z", 1),
    ("kolkata", "week", "2026-10-24T18:30:00Z", "2026-10-31T18:30:00Z", 110),
    ("kolkata", "month", "2026-09-30T18:30:00Z", "2026-10-31T18:30:00Z", 111),
    ("kolkata", "quarter", "2026-09-30T18:30:00Z", "2026-12-31T18:30:00Z", 111),
    ("kolkata", "year", "2026-03-31T18:30:00Z", "2027-03-31T18:30:00Z", 111),
    ("kolkata", "hour", "2026-10-24T18:00:00Z", "2026-10-24T19:00:00Z", 11),
    ("utc", "day", "2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z", 1),
    ("utc", "week", "2026-10-25T00:00:00Z", "2026-11-01T00:00:00Z", 1),
    ("utc", "month", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", 1),
    ("utc", "quarter", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z", 1),
    ("utc", "year", "2026-04-01T00:00:00Z", "2027-04-01T00:00:00Z", 1),
];

/// What the page shows of a tenant's newest period of a grain: where it starts, its value, its name, and the zone.
const SHOWN: [(&str, &str, &str, &str, &str, &str); 4] = [
    ("berlin", "day", "2026-10-25T23:00:00.000Z", "1000", "Oct 26", "Europe/Berlin"),
    ("berlin", "week", "2026-10-24T22:00:00.000Z", "1110", "W44 Oct 25", "Europe/Berlin"),
    ("kolkata", "quarter", "2026-09-30T18:30:00.000Z", "111", "FY27 Q3", "Asia/Kolkata"),
    ("utc", "year", "2026-04-01T00:00:00.000Z", "1", "FY27", "UTC"),
];

/// Waits until the card shows that.
fn page_shows(page: &mut Page, [period, value, name, zone]: [&str; 4]) {
    let card = "document.querySelector('[data-kpi=revenue_booked]')";
    let shown = format!("{card}?.querySelector('[data-role=value]')?.dataset");
    page.wait_until(&format!("{shown}?.period === '{period}'"), SOON);
    assert_eq!(page.text(&format!("{shown}.raw")), value);
    assert_eq!(page.text(&format!("{card}.querySelector('.card-bucket').textContent")), name);
    let about = page.text("document.querySelector('#chart-about').textContent");
    assert!(about.ends_with(zone), "{about}");
}

/// One line of the file source.
fn order(number: usize, (tenant, amount, placed_at): (&str, i64, &str)) -> String {
    let id = format!("o{number}");
    let row = json!({
        "order_id": id, "tenant_id": tenant, "status": "paid", "amount": amount.to_string(), "currency": "EUR",
        "placed_at": placed_at, "updated_at": "2026-10-26T10:00:00Z",
    });
    let source = json!({"lsn": 100 + number, "ts_ms": 1_000});
    let value = json!({"op": "c", "before": null, "after": row, "source": source}).to_string();
    let record = json!({
        "topic": "shop.public.orders", "partition": 0, "offset": number,
        "key": json!({"order_id": id}).to_string(), "value": value,
    });
    format!("{record}\n")
}

type Cell = [String; 4];

/// Cells of answers as text: tenant, grain, `starts`, and value.
fn told(cells: &Value, field: &str) -> BTreeSet<Cell> {
    let text = |cell: &Value, name: &str| cell[name].as_str().unwrap().to_owned();
    let one = |cell: &Value| ["tenant", "grain", field, "value"].map(|name| text(cell, name));
    cells.as_array().unwrap().iter().map(one).collect()
}

/// The same by hand, of the tenants and grains that all periods are listed of.
fn by_hand(is_end: bool) -> BTreeSet<Cell> {
    let cells = BY_HAND.into_iter().map(|(tenant, grain, start, end, value)| {
        [tenant, grain, if is_end { end } else { start }, &value.to_string()].map(str::to_owned)
    });
    cells.collect()
}

/// Those of them that the table by hand speaks of.
fn spoken_of(cells: BTreeSet<Cell>) -> BTreeSet<Cell> {
    let is_spoken_of = |[tenant, grain, start, _]: &Cell| {
        grain != "hour" || (tenant == "kolkata" && start.starts_with("2026-10-24"))
    };
    cells.into_iter().filter(is_spoken_of).collect()
}

#[test]
fn every_layer_has_the_periods_of_the_tenants_zones() {
    let place = Place::new();
    place.configure_files(SETTINGS);
    let lines: String = (0..).zip(ORDERS).map(|(number, of)| order(number, of)).collect();
    std::fs::write(place.path("input/a.ndjson"), lines).unwrap();
    let check = place.succeeds(&["check"]).stdout;
    for says in ["berlin in Europe/Berlin", "weeks from Sunday", "years from month 4"] {
        assert!(check.contains(says), "{check}");
    }
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["verify"]);
    let table = place.succeeds(&["kpis", "get", "revenue_booked", "--json"]).json();
    assert_eq!(spoken_of(told(&table["cells"], "period_start")), by_hand(false));
    let ends: BTreeSet<Cell> = told(&table["cells"], "period_end");
    assert!(ends.is_superset(&by_hand(true)), "{ends:?}");

    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    let token = mint(&place, &[]);
    let asked = "/api/v1/kpis?kpi=revenue_booked&from=2025-01-01&to=2028-01-01";
    wait_until("the cells are served", SOON, || {
        !get(port, asked, &token)["kpis"].as_array().unwrap().is_empty()
    });
    assert_eq!(spoken_of(told(&get(port, asked, &token)["kpis"], "period_start")), by_hand(false));
    // Of days of Berlin the one with the greatest change: the 26th, beside the 25 hours of the 25th.
    let asked = format!(
        "{asked}&grain=day&dim.currency=EUR&tenant=berlin&compare=previous&sort=-change&limit=1"
    );
    let first = get(port, &asked, &token);
    let day = &first["kpis"][0];
    let before = json!({"period_start": "2026-10-24T22:00:00Z", "period_end": "2026-10-25T23:00:00Z", "value": "110"});
    assert_eq!((&day["value"], &day["previous"]), (&json!("1000"), &before));
    assert_eq!((&day["change"], &day["change_ratio"]), (&json!("890"), &json!("8.0909090909")));
    let next = get(port, &format!("{asked}&cursor={}", first["next"].as_str().unwrap()), &token);
    assert_eq!(next["kpis"][0]["change"], "109");
    let meta = get(port, "/api/v1/meta", &token);
    assert_eq!(meta["calendar"]["zones"]["kolkata"], "Asia/Kolkata");
    assert_eq!(meta["calendar"]["week_start"], "sunday");
    // The stream holds what REST says, by every grain.
    let options = Options::new(&format!("127.0.0.1:{port}"), &token);
    let figures = follow(&options, &AtomicBool::new(true)).unwrap();
    assert!(figures.compared > 0 && figures.cells > 60, "{figures}");
    let browser = Browser::start();
    for (tenant, grain, period, value, name, zone) in SHOWN {
        let asked =
            format!("tenant={tenant}&grain={grain}&window=all&show=grain&kpi=revenue_booked");
        let mut page = browser.open(&format!("http://127.0.0.1:{port}/?{asked}"), (1_440, 900), "");
        sign_in(&mut page, &token);
        page_shows(&mut page, [period, value, name, zone]);
        page.screenshot(&pictures().join(format!("zones-{tenant}-{grain}.png")));
    }
    run.stops();

    // Another zone builds the cells anew, and nothing else.
    place.configure_files(&SETTINGS.replace("Asia/Kolkata", "UTC"));
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["verify"]);
    let table =
        place.succeeds(&["kpis", "get", "revenue_booked", "--grain", "day", "--json"]).json();
    let days = told(&table["cells"], "period_start");
    let moved = |start: &str, value: &str| {
        days.contains(&["kolkata", "day", start, value].map(str::to_owned))
    };
    assert!(
        moved("2026-10-24T00:00:00Z", "11") && moved("2026-10-25T00:00:00Z", "100"),
        "{days:?}"
    );
    let berlin = |cells: BTreeSet<Cell>| {
        cells.into_iter().filter(|cell| cell[0] == "berlin" && cell[1] == "day").collect::<Vec<_>>()
    };
    assert_eq!(berlin(days), berlin(by_hand(false)));
}

#[test]
fn a_zone_that_does_not_exist_is_refused_with_the_nearest() {
    let place = Place::new();
    for (settings, says) in [
        ("time.zone = \"Europe/Berln\"\n", "did you mean `Europe/Berlin`?"),
        ("[time.zones]\nshop = \"Mars/Base\"\n", "`time.zones.shop`"),
        ("time.fiscal_year_start = 13\n", "use 1 to 12"),
        ("time.week_start = \"friday\"\n", "monday"),
        ("time.zome = \"UTC\"\n", "did you mean `zone`?"),
    ] {
        place.configure_files(settings);
        place.weir(&["config", "show"]).exits(2).says(&[says]);
    }
}
