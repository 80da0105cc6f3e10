//! Values beside those of the period before and of a year before, against a model that adds up rows.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use api::ServerLimits;
use schemas::{CellKey, CellValue, EpochId, Grain, KpiKind, Micros, Start, Status, Unit};
use serde_json::Value;

use crate::support::{ONE, World, at, kpi, value};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// Of tenants: UTC, and India, where days begin at half an hour.
const ZONES: [(&str, i64); 2] = [("t1", 0), ("t2", 5 * HOUR + HOUR / 2)];
const NOW: &str = "2026-11-21T10:30:00Z";
const GRAINS: [Grain; 6] =
    [Grain::Hour, Grain::Day, Grain::Week, Grain::Month, Grain::Quarter, Grain::Year];

/// A row: when, how much, by whom.
#[derive(Debug, Clone, Copy)]
struct Row {
    tenant: usize,
    at: i64,
    amount: i64,
    buyer: u64,
}

/// Numbers that are always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 16).unwrap() % end
    }
}

fn rows() -> Vec<Row> {
    let (mut random, now) = (Random(7), at(NOW).0);
    let mut rows = Vec::new();
    for number in 0..2_000 {
        // Most are of the last weeks, some nearly two years old.
        let back = [20, 90, 700][number % 3] * DAY;
        let at = now - random.below(back);
        let (tenant, amount) = (usize::from(random.below(2) == 1), random.below(9) - 2);
        rows.push(Row { tenant, at, amount, buyer: random.below(30).unsigned_abs() });
    }
    rows
}

/// 2023-01-01, counted from 1970-01-01.
const FIRST: i64 = 19_358;

/// Year, month and day of a day.
fn date(day: i64) -> (i64, i64, i64) {
    static DATES: LazyLock<Vec<(i64, i64, i64)>> = LazyLock::new(|| {
        let months = (2023..2028).flat_map(|year| (1..=12).map(move |month| (year, month)));
        let days = |(year, month)| (1..=length(year, month)).map(move |day| (year, month, day));
        months.flat_map(days).collect()
    });
    DATES[usize::try_from(day - FIRST).unwrap()]
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn length(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The first day of a period of days that a day is in; years begin in April, weeks on Monday.
fn first(grain: Grain, mut day: i64) -> i64 {
    let is_first = |day: i64| match (grain, date(day)) {
        (Grain::Week, _) => (day + 3) % 7 == 0,
        (Grain::Month, (_, _, 1)) => true,
        (Grain::Quarter, (_, month, 1)) => month % 3 == 1,
        (Grain::Year, (_, 4, 1)) => true,
        (grain, _) => grain == Grain::Day,
    };
    while !is_first(day) {
        day -= 1;
    }
    day
}

/// Start and end of the period that an instant is in.
fn period(grain: Grain, zone: i64, at: i64) -> (i64, i64) {
    if grain == Grain::Hour {
        let start = at - at % HOUR;
        return (start, start + HOUR);
    }
    let start = first(grain, (at + zone) / DAY);
    let mut end = start + 1;
    while first(grain, end) == start {
        end += 1;
    }
    (start * DAY - zone, end * DAY - zone)
}

/// The counterpart of a period: start, end, and where it ends when nothing is cut.
fn counterpart(grain: Grain, zone: i64, start: i64, of_year: bool) -> Option<(i64, i64, i64)> {
    let (now, (_, end)) = (at(NOW).0, period(grain, zone, start));
    let day_before = |day: i64| {
        let (year, month, of_month) = date(day);
        let found = (day - 366..=day - 365).find(|day| date(*day) == (year - 1, month, of_month));
        found.map(|found| found - day)
    };
    let inside = match (of_year, grain) {
        (false, _) => start - 1,
        (true, Grain::Hour) => start + day_before(start.div_euclid(DAY))? * DAY,
        (true, Grain::Day) => start + day_before((start + zone).div_euclid(DAY))? * DAY,
        (true, Grain::Week) => start - 364 * DAY,
        (true, _) => start + day_before((start + zone) / DAY)? * DAY,
    };
    let (from, to) = period(grain, zone, inside);
    let unit = if grain == Grain::Day { HOUR } else { DAY };
    let is_running = start <= now && now < end && grain != Grain::Hour;
    let begun = (now - start).div_euclid(unit) + 1;
    Some((from, if is_running { to.min(from + begun * unit) } else { to }, to))
}

/// What a KPI says of rows: value, numerator, denominator.
fn said(key: &str, rows: &[Row]) -> [Option<i128>; 3] {
    let sum = |rows: &mut dyn Iterator<Item = &Row>| {
        rows.map(|row| i128::from(row.amount)).sum::<i128>() * ONE
    };
    let all = sum(&mut rows.iter());
    let buyers: BTreeSet<u64> = rows.iter().map(|row| row.buyer).collect();
    let buyers = i128::try_from(buyers.len()).unwrap() * ONE;
    let ratio = |above: i128, below: i128| {
        let value = (below != 0).then(|| half_even(above, below));
        [value, Some(above), Some(below)]
    };
    match key {
        "orders" => [Some(all), None, None],
        "buyers" => [Some(buyers), None, None],
        "margin" => ratio(sum(&mut rows.iter().filter(|row| row.buyer % 2 == 0)), all),
        _ => ratio(all, buyers),
    }
}

/// A quotient of ten digits, to the nearest, and of two to the even one.
fn half_even(above: i128, below: i128) -> i128 {
    let (sign, above, below) = ((above < 0) != (below < 0), above.abs() * ONE, below.abs());
    let (whole, rest) = (above / below, above % below);
    let up = 2 * rest > below || (2 * rest == below && whole % 2 == 1);
    let rounded = whole + i128::from(up);
    if sign { -rounded } else { rounded }
}

fn of(rows: &[Row], tenant: usize, from: i64, to: i64) -> Vec<Row> {
    let own = rows.iter().filter(|row| row.tenant == tenant && from <= row.at && row.at < to);
    own.copied().collect()
}

/// The value of a counterpart by its rows.
fn expected(
    key: &str,
    rows: &[Row],
    tenant: usize,
    grain: Grain,
    span: (i64, i64, i64),
) -> Option<i128> {
    let (from, to, whole) = span;
    let all = of(rows, tenant, from, whole);
    if all.is_empty() {
        return None;
    }
    if to == whole {
        return said(key, &all)[0];
    }
    let is_made_of_hours = from % HOUR == 0;
    match key {
        _ if grain == Grain::Day && !is_made_of_hours => None,
        "orders" | "margin" => said(key, &of(rows, tenant, from, to))[0],
        // Buyers who come back are counted once a month, and every day: only without them do days make it up.
        "per_buyer" => {
            let unit = if grain == Grain::Day { HOUR } else { DAY };
            let parts: BTreeSet<(i64, u64)> =
                all.iter().map(|row| ((row.at - from) / unit, row.buyer)).collect();
            let buyers: BTreeSet<u64> = all.iter().map(|row| row.buyer).collect();
            let cut = of(rows, tenant, from, to);
            (parts.len() == buyers.len() && !cut.is_empty()).then(|| said(key, &cut)[0])?
        }
        _ => None,
    }
}

fn cells(rows: &[Row]) -> Vec<(CellKey, CellValue, EpochId)> {
    let mut cells = Vec::new();
    for (tenant, (name, zone)) in ZONES.into_iter().enumerate() {
        for grain in GRAINS {
            let own = rows.iter().filter(|row| row.tenant == tenant);
            let spans: BTreeSet<_> = own.map(|row| period(grain, zone, row.at)).collect();
            for (from, to) in spans {
                for key in ["buyers", "margin", "orders", "per_buyer"] {
                    let [number, numerator, denominator] = said(key, &of(rows, tenant, from, to));
                    let status = if number.is_some() { Status::Ok } else { Status::NoData };
                    let held = CellValue { value: number, numerator, denominator, status };
                    let (kpi, tenant) = (key.into(), name.into());
                    let dims = "{}".into();
                    let period_start = Micros(from);
                    cells.push((CellKey { kpi, tenant, dims, grain, period_start }, held, 3));
                }
            }
        }
    }
    cells
}

fn world(rows: &[Row]) -> World {
    let buyers = schemas::KpiInfo { kind: KpiKind::Distinct, ..kpi("buyers", Unit::Count) };
    let ratio = |key| kpi(key, Unit::Ratio);
    let kpis = vec![buyers, ratio("margin"), kpi("orders", Unit::Count), ratio("per_buyer")];
    let world = World::of(kpis, ServerLimits::default(), false);
    let (generation, as_of) = ("g1".to_owned(), Some(at(NOW)));
    world.app.store.start(Start {
        generation,
        offset: 7,
        as_of,
        cells: cells(rows),
        ..Start::default()
    });
    world
}

fn number(value: &Value) -> Option<i128> {
    let text = value.as_str()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: i128 = format!("{whole}{fraction:0<10}").parse().unwrap();
    Some(digits)
}

/// Checks one item that was compared; whether its counterpart was cut and has a value.
fn check(
    rows: &[Row],
    item: &Value,
    (key, tenant, grain): (&str, &str, Grain),
    of_year: bool,
) -> (bool, bool) {
    let place = ZONES.iter().position(|(name, _)| *name == tenant).unwrap();
    let start = at(item["period_start"].as_str().unwrap()).0;
    let Some(span) = counterpart(grain, ZONES[place].1, start, of_year) else {
        assert!(item["previous"].is_null() && item["change"].is_null(), "{item}");
        return (false, false);
    };
    let (from, to, whole) = span;
    let previous = &item["previous"];
    let bounds = [&previous["period_start"], &previous["period_end"]];
    let bounds = bounds.map(|bound| at(bound.as_str().unwrap()).0);
    assert_eq!(bounds, [from, to], "{tenant} {grain} {item}");
    let before = expected(key, rows, place, grain, span);
    assert_eq!(number(&previous["value"]), before, "{key} {tenant} {grain} {item}");
    let change = number(&item["value"]).zip(before).map(|(now, before)| now - before);
    assert_eq!(number(&item["change"]), change, "{item}");
    let base = before.filter(|base| *base > 0);
    let ratio = change.zip(base).map(|(change, base)| half_even(change, base));
    assert_eq!(number(&item["change_ratio"]), ratio, "{item}");
    (to != whole, before.is_some())
}

#[tokio::test]
async fn every_value_is_held_against_the_rows_of_its_counterpart() {
    let rows = rows();
    let world = world(&rows);
    let (mut whole, mut cut) = (0, 0);
    for (word, of_year) in [("previous", false), ("year", true)] {
        for from in ["", "&from=2024-01-01"] {
            let path = format!("/api/v1/kpis?compare={word}{from}");
            let answer = world.all(&path).await.good();
            for item in answer["kpis"].as_array().unwrap() {
                let text = |name: &str| item[name].as_str().unwrap();
                let grain = Grain::parse(text("grain")).unwrap();
                let told = check(&rows, item, (text("kpi"), text("tenant"), grain), of_year);
                whole += usize::from(told == (false, true));
                cut += usize::from(told == (true, true));
            }
        }
    }
    assert!(whole > 2_000 && cut >= 20, "{whole} whole and {cut} cut counterparts");
    let path = "/api/v1/kpis/margin/series?grain=month&compare=year&tenant=t2";
    let answer = world.all(path).await.good();
    let points = answer["series"][0]["points"].as_array().unwrap();
    assert!(points.len() > 12);
    for point in points {
        check(&rows, point, ("margin", "t2", Grain::Month), true);
    }
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_there_and_what_is_wrong_is_refused() {
    let world = World::new();
    let plain = world.t1("/api/v1/kpis").await.good();
    assert!(plain["kpis"][0].get("previous").is_none());
    for route in ["kpis", "kpis/orders/series"] {
        let path = format!("/api/v1/{route}?compare=month");
        let detail = world.t1(&path).await.problem(400);
        assert!(detail.contains("`compare` is `month`; use previous or year"), "{detail}");
    }
}

#[tokio::test]
async fn a_base_that_is_not_above_zero_gives_no_ratio() {
    for (before, now, change) in [(0, 5, "5"), (-4, 5, "9"), (-4, -6, "-2")] {
        let world = World::new();
        let day = |day: &str, number: i64| {
            let key = crate::support::key("orders", "t1", Grain::Day, day);
            (key, value(i128::from(number) * ONE), 1)
        };
        let mut start = crate::support::start();
        start.cells = vec![day("2026-11-17", before), day("2026-11-18", now)];
        world.app.store.start(start);
        let path = "/api/v1/kpis/orders/series?compare=previous";
        let answer = world.t1(path).await.good();
        let points = &answer["series"][0]["points"];
        assert!(points[0]["previous"]["value"].is_null(), "nothing is known of the day before");
        assert_eq!(points[1]["change"], change);
        assert!(points[1]["change_ratio"].is_null(), "{points}");
    }
}
